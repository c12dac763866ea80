// RUN: tfc-opt %s -t ptx --cpu sm_90 | filecheck %s

// The blocks of the grid go over the range together; shuffles and barriers are instructions.
// CHECK:       .target sm_90
// CHECK-LABEL: .visible .entry sums(
// CHECK-DAG:     mov.u32 %{{.*}}, %ctaid.x;
// CHECK-DAG:     .shared .align 128 .b8 sums_{{.*}}[8];
// CHECK:         mov.u32 %{{.*}}, %nctaid.x;
// CHECK:         shfl.sync.bfly.b32
// CHECK:         st.shared.b32
// CHECK:         bar.sync 0;
// CHECK:         ld.shared
kernel.func @sums(%x : memref<?xf32>, %y : memref<?xf32>, %n : index)
    attributes {dims = ["n"], grid = "n", grain = 1 : i64, target = "gpu", block = 64 : i64} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c16 = arith.constant 16 : index
  kernel.parallel %row to %n {
    %t = kernel.thread
    %part = kernel.shared : memref<2xf32>
    %mine = kernel.load %x[%t] : memref<?xf32>, f32
    %other = kernel.shuffle "xor" %mine, %c16 : f32 -> f32
    kernel.store %other, %part[%c0] : f32, memref<2xf32>
    kernel.barrier
    %a = kernel.load %part[%c1] : memref<2xf32>, f32
    kernel.store %a, %y[%row] : f32, memref<?xf32>
    kernel.barrier
  }
}

// Of 64 bits two words are moved, of 8 a whole one.
// CHECK-LABEL: .visible .entry widths(
// CHECK:         shfl.sync.down.b32
// CHECK:         shfl.sync.down.b32
// CHECK:         shfl.sync.idx.b32
kernel.func @widths(%x : memref<?xf64>, %b : memref<?xi8>, %y : memref<?xf64>, %c : memref<?xi8>)
    attributes {dims = [], grid = "1", grain = 1 : i64, target = "gpu", block = 32 : i64} {
  %t = kernel.thread
  %c1 = arith.constant 1 : index
  %v = kernel.load %x[%t] : memref<?xf64>, f64
  %w = kernel.shuffle "down" %v, %c1 : f64 -> f64
  kernel.store %w, %y[%t] : f64, memref<?xf64>
  %d = kernel.load %b[%t] : memref<?xi8>, i8
  %e = kernel.shuffle "index" %d, %c1 : i8 -> i8
  kernel.store %e, %c[%t] : i8, memref<?xi8>
}

// A failed check leaves its code unless another was there first.
// CHECK-LABEL: .visible .entry checked(
// CHECK:         setp
// CHECK:         atom.relaxed.gpu.global.cas.b32
kernel.func @checked(%n : index)
    attributes {dims = ["n"], grid = "1", grain = 1 : i64, target = "gpu", block = 32 : i64} {
  %t = kernel.thread
  %inside = arith.cmpi ult, %t, %n : index
  kernel.check %inside, "outside" : i1
}

// Which threads of a warp a condition holds for.
// CHECK-LABEL: .visible .entry ballot(
// CHECK:         vote.sync.ballot.b32
kernel.func @ballot(%x : memref<?xi32>, %n : index)
    attributes {dims = ["n"], grid = "1", grain = 1 : i64, target = "gpu", block = 32 : i64} {
  %t = kernel.thread
  %inside = arith.cmpi ult, %t, %n : index
  %all = kernel.ballot %inside
  kernel.store %all, %x[%t] : i32, memref<?xi32>
}
