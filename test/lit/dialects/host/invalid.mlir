// RUN: tfc-opt %s --verify-diagnostics --split-input-file | filecheck %s

// CHECK: 'host.output' (C1): expected a position below 0, got 0
host.program @program_c1 {
  %y = host.output 0 : memref<4xf32>
}

// -----

// CHECK: 'host.launch' (C2): there is no kernel @absent
host.program @program_c2 {
  %t = host.buffer "16" : memref<4xf32>
  host.launch @absent reads() writes(%t) : -> memref<4xf32>
}

// -----

// CHECK: 'host.launch' (C2): @fill takes buffers of f64; got f32
kernel.func @fill(%y : memref<4xf64>) attributes {dims = [], grid = "1", grain = 1 : i64, target = "cpu"} {
}
host.program @program_c2_elements {
  %t = host.buffer "16" : memref<4xf32>
  host.launch @fill reads() writes(%t) : -> memref<4xf32>
}

// -----

// CHECK: 'host.launch' (C3): @step takes buffers of one device; got those of the host, GPU:0
kernel.func @step(%x : memref<4xf32>, %y : memref<4xf32>)
    attributes {dims = [], grid = "1", block = 32 : i64, target = "gpu"} {
}
host.program @program_c3 {
  %a = host.buffer "16" : memref<4xf32>
  %b = host.buffer "16" on "GPU:0" : memref<4xf32>
  host.launch @step reads(%a) writes(%b) : memref<4xf32> -> memref<4xf32>
}

// -----

// CHECK: 'host.launch' (C3): @fill takes buffers of the host; got those of GPU:1
kernel.func @fill(%y : memref<4xf32>) attributes {dims = [], grid = "1", grain = 1 : i64, target = "cpu"} {
}
host.program @program_c3_cpu {
  %a = host.buffer "16" on "GPU:1" : memref<4xf32>
  host.launch @fill reads() writes(%a) : -> memref<4xf32>
}

// -----

// CHECK: 'host.row' (C4): expected a buffer in the host's memory, got one of GPU:0
host.program @program_c4 {
  %x = host.buffer "64" on "GPU:0" : memref<16xf32>
  %i = host.buffer "8" on "GPU:0" : memref<1xi64>
  %y = host.row %x at %i below "4" rows of "16", "no such row" : memref<16xf32>, memref<1xi64> -> memref<4xf32>
}
