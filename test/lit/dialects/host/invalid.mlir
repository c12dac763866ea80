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
