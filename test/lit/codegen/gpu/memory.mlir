// RUN: tfc-opt %s -t llvm --cpu sm_80 | filecheck %s
// RUN: tfc-opt %s -t ptx --cpu sm_80 | filecheck %s --check-prefix PTX

// Lanes that are aligned are one access, others one each; what nobody writes comes through the cache for constants.
// CHECK-LABEL: define ptx_kernel void @twice
// CHECK-SAME:    (ptr addrspace(1) noalias align 16 %a0, ptr addrspace(1) noalias align 16 %a1, i64 %a2, ptr addrspace(1) align 4 %status) nounwind "nvvm.reqntid"="64"
// CHECK:         load <4 x float>, ptr addrspace(1) %{{.*}}, align 16, !invariant.load
// CHECK:         store <4 x float> %{{.*}}, ptr addrspace(1) %{{.*}}, align 16
// PTX-LABEL: .visible .entry twice(
// PTX:         .reqntid 64
// PTX:         ld.global.nc.v4.b32
// PTX:         st.global.v4.b32
kernel.func @twice(%x : memref<?xf32>, %y : memref<?xf32>, %n : index)
    attributes {dims = ["n"], grid = "n", grain = 1 : i64, target = "gpu", block = 64 : i64} {
  %c64 = arith.constant 64 : index
  %c4 = arith.constant 4 : index
  kernel.parallel %b to %n {
    %t = kernel.thread
    %first = arith.muli %b, %c64 : index
    %number = arith.addi %first, %t : index
    %at = arith.muli %number, %c4 : index
    %v = kernel.load %x[%at] {aligned} : memref<?xf32>, vector<4xf32>
    %w = arith.addf %v, %v : vector<4xf32>
    kernel.store %w, %y[%at] {aligned} : vector<4xf32>, memref<?xf32>
  }
}

// A result that takes an operand's place is no constant; a lane that a mask leaves out is not touched.
// CHECK-LABEL: define ptx_kernel void @masked
// CHECK-SAME:    (ptr addrspace(1) align 16 %a0, ptr addrspace(1) align 16 %a1, i64 %a2
// CHECK:         icmp slt i64 0, %a2
// CHECK:         icmp slt i64 1, %a2
// CHECK:         br i1
// CHECK:         load float, ptr addrspace(1) %{{.*}}, align 4, !dbg
// CHECK:         phi float
kernel.func @masked(%x : memref<?xf32>, %y : memref<?xf32>, %n : index)
    attributes {dims = ["n"], grid = "1", grain = 1 : i64, target = "gpu", block = 32 : i64, in_place = array<i64: 0, 1>} {
  %c0 = arith.constant 0 : index
  %mask = kernel.mask %n : vector<2xi1>
  %v = kernel.load %x[%c0] mask %mask : vector<2xi1> : memref<?xf32>, vector<2xf32>
  kernel.store %v, %y[%c0] mask %mask : vector<2xi1> : vector<2xf32>, memref<?xf32>
}

// Truths are bytes, of which any but 0 is true; halves are computed in f32.
// CHECK-LABEL: define ptx_kernel void @types
// CHECK:         load i8
// CHECK:         icmp ne i8
// CHECK:         load i16
// CHECK:         fpext half
// CHECK:         fptrunc float
kernel.func @types(%p : memref<?xi1>, %x : memref<?xf16>, %y : memref<?xf16>)
    attributes {dims = [], grid = "1", grain = 1 : i64, target = "gpu", block = 32 : i64} {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %c = kernel.load %p[%c0] : memref<?xi1>, i1
  %h = kernel.load %x[%c0] : memref<?xf16>, f16
  %v = kernel.cast "extf", %h : f16 -> f32
  %w = kernel.select %c, %v, %zero : i1, f32, f32 -> f32
  %n = kernel.cast "truncf", %w : f32 -> f16
  kernel.store %n, %y[%c0] : f16, memref<?xf16>
}
