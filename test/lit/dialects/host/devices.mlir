// RUN: tfc-opt %s | tfc-opt - | filecheck %s

kernel.func @step(%x : memref<4xf32>, %y : memref<4xf32>)
    attributes {dims = [], grid = "1", block = 32 : i64, target = "gpu"} {
}

// What lies in the memory of a device says so.
// CHECK-LABEL: host.program @model
// CHECK-SAME:    arena = "0", arenas = {"GPU:0" = "256"}, weights = 64 : i64}
// CHECK:         host.variable 0 on "GPU:0" : memref<4xf32>
// CHECK:         host.constant <"[1.0, 2.0, 3.0, 4.0]" : tensor<4xf32>> on "GPU:0" at 0 : memref<4xf32>
// CHECK:         %[[T:.*]] = host.buffer "16" on "GPU:0" at "0" : memref<4xf32>
// CHECK:         host.launch @step reads(%{{.*}}) writes(%[[T]])
// CHECK-NEXT:    host.copy %[[T]] to
host.program @model attributes {dims = [], inputs = [],
    outputs = [#host.port<"y", tensor<4xf32>>],
    variables = [#host.port<"v", tensor<4xf32>>], arena = "0", arenas = {"GPU:0" = "256"}, weights = 64 : i64} {
  %v = host.variable 0 on "GPU:0" : memref<4xf32>
  %y = host.output 0 : memref<4xf32>
  %w = host.constant <"[1.0, 2.0, 3.0, 4.0]" : tensor<4xf32>> on "GPU:0" at 0 : memref<4xf32>
  %t = host.buffer "16" on "GPU:0" at "0" : memref<4xf32>
  host.launch @step reads(%w) writes(%t) : memref<4xf32> -> memref<4xf32>
  host.copy %t to %y, "16" : memref<4xf32>, memref<4xf32>
  host.launch @step reads(%t) writes(%v) : memref<4xf32> -> memref<4xf32>
}

// So do inputs and outputs that the caller gives on a device.
// CHECK-LABEL: host.program @there
// CHECK:         host.input 0 on "GPU:0" : memref<4xf32>
// CHECK:         host.output 0 on "GPU:0" : memref<4xf32>
host.program @there attributes {dims = [], inputs = [#host.port<"x", tensor<4xf32>>],
    outputs = [#host.port<"y", tensor<4xf32>>], arena = "0", weights = 0 : i64} {
  %x = host.input 0 on "GPU:0" : memref<4xf32>
  %y = host.output 0 on "GPU:0" : memref<4xf32>
  host.launch @step reads(%x) writes(%y) : memref<4xf32> -> memref<4xf32>
}
