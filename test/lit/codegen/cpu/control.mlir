// RUN: tfc-opt %s -t llvm --cpu x86-64-v4 | filecheck %s

// A loop is rotated: tested once before it and at its end, with a phi for each carried value.
// Constants are literals.
// CHECK-LABEL: define hidden void @sum(ptr %args, i64 %lo, i64 %hi)
// CHECK:         %[[X:.*]] = load ptr, ptr %args, align 8, !noundef
// CHECK:         %[[N:.*]] = load i64, ptr
// CHECK-NEXT:    %[[SOME:.*]] = icmp slt i64 0, %[[N]]
// CHECK-NEXT:    br i1 %[[SOME]], label %[[LOOP:.*]], label %[[DONE:.*]]
// CHECK-NEXT:  [[LOOP]]:
// CHECK-NEXT:    %[[I:.*]] = phi i64 [ 0, %entry ], [ %[[NEXT:.*]], %[[LOOP]] ]
// CHECK-NEXT:    %[[A:.*]] = phi float [ 0x3FF0000000000000, %entry ], [ %[[B:.*]], %[[LOOP]] ]
// CHECK-NEXT:    %[[AT:.*]] = getelementptr inbounds float, ptr %[[X]], i64 %[[I]]
// CHECK-NEXT:    %[[V:.*]] = load float, ptr %[[AT]], align 4
// CHECK-NEXT:    %[[B]] = fadd float %[[A]], %[[V]]
// CHECK-NEXT:    %[[NEXT]] = add nsw i64 %[[I]], 1
// CHECK-NEXT:    %[[MORE:.*]] = icmp slt i64 %[[NEXT]], %[[N]]
// CHECK-NEXT:    br i1 %[[MORE]], label %[[LOOP]], label %[[DONE]]
// CHECK-NEXT:  [[DONE]]:
// CHECK-NEXT:    phi float [ 0x3FF0000000000000, %entry ], [ %[[B]], %[[LOOP]] ]
kernel.func @sum(%x: memref<?xf32>, %n: index) attributes {dims = ["n"], grid = "1", grain = 1} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %one = arith.constant 1.0 : f32
  %s = scf.for %i = %c0 to %n step %c1 iter_args(%a = %one) -> (f32) {
    %v = kernel.load %x[%i] : memref<?xf32>, f32
    %b = arith.addf %a, %v : f32
    scf.yield %b : f32
  }
  kernel.store %s, %x[%c0] : f32, memref<?xf32>
}

// A loop that runs once is its body; index arithmetic on constants is done here.
// CHECK-LABEL: define hidden void @once
// CHECK-NOT:     phi
// CHECK:         getelementptr inbounds float, ptr %{{.*}}, i64 12
// CHECK:         ret void
kernel.func @once(%x: memref<?xf32>) attributes {dims = [], grid = "1", grain = 1} {
  %c0 = arith.constant 0 : index
  %c3 = arith.constant 3 : index
  %c4 = arith.constant 4 : index
  scf.for %i = %c3 to %c4 step %c4 {
    %o = arith.muli %i, %c4 : index
    %v = kernel.load %x[%o] : memref<?xf32>, f32
    kernel.store %v, %x[%c0] : f32, memref<?xf32>
  }
}

// The parallel loop runs over the part that the caller gives.
// CHECK-LABEL: define hidden void @part
// CHECK:         icmp slt i64 %lo, %hi
// CHECK:         phi i64 [ %lo, %entry ]
// CHECK:         icmp slt i64 %{{.*}}, %hi
kernel.func @part(%x: memref<?xf32>, %n: index) attributes {dims = ["n"], grid = "n", grain = 1} {
  %z = arith.constant 0.0 : f32
  kernel.parallel %i to %n {
    kernel.store %z, %x[%i] : f32, memref<?xf32>
  }
}

// A check branches out of the way, and does not replace an earlier error.
// CHECK-LABEL: define hidden void @check
// CHECK:         %[[SLOT:.*]] = getelementptr inbounds i64, ptr %args, i64 1
// CHECK-NEXT:    %[[STATUS:.*]] = load ptr, ptr %[[SLOT]], align 8
// CHECK:         %[[ALL:.*]] = call i1 @llvm.vector.reduce.and.v8i1(<8 x i1>
// CHECK:         %[[FAILED:.*]] = xor i1 %[[ALL]], true
// CHECK:         br i1 %[[FAILED]], label %[[THEN:.*]], label %{{.*}}, !prof !0
// CHECK:       [[THEN]]:
// CHECK:         cmpxchg ptr %[[STATUS]], i32 0, i32 1 monotonic monotonic
kernel.func @check(%x: memref<?xi1>) attributes {dims = [], grid = "1", grain = 1} {
  %c0 = arith.constant 0 : index
  %v = kernel.load %x[%c0] : memref<?xi1>, vector<8xi1>
  kernel.check %v, "a lane is false" : vector<8xi1>
}
