// RUN: tfc-opt %s --verify-diagnostics --split-input-file | filecheck %s

// CHECK: 'kernel.thread': expected a kernel for gpu, got one for cpu
kernel.func @thread_on_cpu() attributes {dims = [], grid = "1", grain = 1 : i64, target = "cpu"} {
  %t = kernel.thread
}

// -----

// CHECK: 'kernel.func': 'block' and 'shared' are of kernels for gpu
kernel.func @block_on_cpu() attributes {dims = [], grid = "1", grain = 1 : i64, target = "cpu", block = 32 : i64} {
  %c0 = arith.constant 0 : index
}

// -----

// CHECK: 'kernel.func': expected whole warps of 32 as 'block', 1024 threads at most, got 48
kernel.func @half_a_warp() attributes {dims = [], grid = "1", grain = 1 : i64, target = "gpu", block = 48 : i64} {
  %c0 = arith.constant 0 : index
}

// -----

// CHECK: 'kernel.func': expected 'shared' of 65536 where above 49152, got 0
kernel.func @not_asked_for() attributes {dims = [], grid = "1", grain = 1 : i64, target = "gpu", block = 32 : i64} {
  %all = kernel.shared : memref<16384xf32>
}

// -----

// CHECK: 'kernel.shared': expected a flat buffer of static size, got memref<?xf32>
kernel.func @unknown_size() attributes {dims = [], grid = "1", grain = 1 : i64, target = "gpu", block = 32 : i64} {
  %some = kernel.shared : memref<?xf32>
}

// -----

// CHECK: 'kernel.shuffle': expected one of ('xor', 'down', 'up', 'index'), got left
kernel.func @kind(%n : index) attributes {dims = ["n"], grid = "1", grain = 1 : i64, target = "gpu", block = 32 : i64} {
  %x = kernel.shuffle "left" %n, %n : index -> index
}
