// RUN: tfc-opt %s -t llvm --cpu x86-64-v4 | filecheck %s
// RUN: tfc-opt %s -t llvm --cpu x86-64 | filecheck %s --check-prefix BASE

// Masked memory is an instruction where the target has one, else a loop over the valid lanes.
// CHECK-LABEL: define hidden void @masked
// CHECK:         icmp slt <16 x i8> <i8 0, i8 1
// CHECK:         call <16 x float> @llvm.masked.load.v16f32.p0(ptr align 4
// CHECK:         call void @llvm.masked.store.v16f32.p0(
// BASE-LABEL: define hidden void @masked
// BASE-NOT:     llvm.masked
// BASE:         phi i64 [ 0,
// BASE:         load float
// BASE:         phi i64 [ 0,
// BASE:         store float
kernel.func @masked(%x: memref<?xf32>, %n: index) attributes {dims = ["n"], grid = "1", grain = 1} {
  %c0 = arith.constant 0 : index
  %m = kernel.mask %n : vector<16xi1>
  %v = kernel.load %x[%c0] mask %m : vector<16xi1> : memref<?xf32>, vector<16xf32>
  kernel.store %v, %x[%n] mask %m : vector<16xi1> : vector<16xf32>, memref<?xf32>
}

// Lanes two apart are two loads that stay inside the extent of the lanes, and a shuffle each.
// CHECK-LABEL: define hidden void @strided
// CHECK:         %[[A:.*]] = load <4 x float>, ptr %[[X:.*]], align 4
// CHECK:         %[[AT:.*]] = getelementptr inbounds float, ptr %[[X]], i64 3
// CHECK-NEXT:    %[[B:.*]] = load <4 x float>, ptr %[[AT]], align 4
// CHECK-NEXT:    %[[P:.*]] = shufflevector <4 x float> %[[A]], <4 x float> %[[B]], <4 x i32> <i32 0, i32 2, i32 5, i32 7>
kernel.func @strided(%x: memref<?xf32>) attributes {dims = [], grid = "1", grain = 1} {
  %c0 = arith.constant 0 : index
  %c2 = arith.constant 2 : index
  %v = kernel.load %x[%c0] lanes %c2 : memref<?xf32>, vector<4xf32>
  kernel.store %v, %x[%c0] : vector<4xf32>, memref<?xf32>
}

// One element in every lane is one scalar load.
// CHECK-LABEL: define hidden void @spread
// CHECK:         load float, ptr
// CHECK-NEXT:    insertelement <16 x float> poison
// CHECK-NEXT:    shufflevector {{.*}} zeroinitializer
kernel.func @spread(%x: memref<?xf32>) attributes {dims = [], grid = "1", grain = 1} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %v = kernel.load %x[%c1] lanes %c0 : memref<?xf32>, vector<16xf32>
  kernel.store %v, %x[%c0] : vector<16xf32>, memref<?xf32>
}

// Half floats are converted by an instruction, or by integer arithmetic; never by a call.
// CHECK-LABEL: define hidden void @half
// CHECK:         fpext <8 x half>
// BASE-LABEL: define hidden void @half
// BASE-NOT:     half>
// BASE:         fmul <8 x float> %{{.*}}, splat (float 0x46F0000000000000)
kernel.func @half(%x: memref<?xf16>, %y: memref<?xf32>) attributes {dims = [], grid = "1", grain = 1} {
  %c0 = arith.constant 0 : index
  %v = kernel.load %x[%c0] : memref<?xf16>, vector<8xf16>
  %w = arith.extf %v : vector<8xf16> to vector<8xf32>
  kernel.store %w, %y[%c0] : vector<8xf32>, memref<?xf32>
}
