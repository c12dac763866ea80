// RUN: tfc-opt %s | filecheck %s

// The sum of a row of 1024 by 64 threads: each its own part, a warp by shuffles, two warps through shared memory.
// CHECK-LABEL: kernel.func @row_sums
// CHECK-SAME:    attributes {dims = ["n"], grid = "n", grain = 1 : i64, target = "gpu", block = 64 : i64}
// CHECK:         %[[T:.*]] = kernel.thread
// CHECK:         %[[PART:.*]] = kernel.shared : memref<2xf32>
// CHECK:         kernel.shuffle "xor" %{{.*}}, %{{.*}} : f32 -> f32
// CHECK:         kernel.barrier
kernel.func @row_sums(%x : memref<?xf32>, %y : memref<?xf32>, %n : index)
    attributes {dims = ["n"], grid = "n", grain = 1 : i64, target = "gpu", block = 64 : i64} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %c32 = arith.constant 32 : index
  %c64 = arith.constant 64 : index
  %c1024 = arith.constant 1024 : index
  %zero = arith.constant 0.0 : f32
  kernel.parallel %row to %n {
    %t = kernel.thread
    %part = kernel.shared : memref<2xf32>
    %first = arith.muli %row, %c1024 : index
    %mine = scf.for %i = %t to %c1024 step %c64 iter_args(%sum = %zero) -> (f32) {
      %at = arith.addi %first, %i : index
      %v = kernel.load %x[%at] : memref<?xf32>, f32
      %more = arith.addf %sum, %v : f32
      scf.yield %more : f32
    }
    %c16 = arith.constant 16 : index
    %other = kernel.shuffle "xor" %mine, %c16 : f32 -> f32
    %both = arith.addf %mine, %other : f32
    %warp = arith.divui %t, %c32 : index
    %lane = arith.remui %t, %c32 : index
    %head = arith.cmpi eq, %lane, %c0 : index
    scf.if %head {
      kernel.store %both, %part[%warp] : f32, memref<2xf32>
    }
    kernel.barrier
    %a = kernel.load %part[%c0] : memref<2xf32>, f32
    %b = kernel.load %part[%c1] : memref<2xf32>, f32
    %total = arith.addf %a, %b : f32
    kernel.store %total, %y[%row] : f32, memref<?xf32>
    kernel.barrier
  }
}

// More shared memory than a block has without asking.
// CHECK-LABEL: kernel.func @large
// CHECK-SAME:    block = 32 : i64, shared = 65536 : i64
kernel.func @large() attributes {dims = [], grid = "1", grain = 1 : i64, target = "gpu", block = 32 : i64, shared = 65536 : i64} {
  %all = kernel.shared : memref<16384xf32>
}
