// RUN: tfc-opt %s | tfc-opt - | filecheck %s

kernel.func @scale(%x : memref<?xf32>, %w : memref<4xf32>, %y : memref<?xf32>, %n : index)
    attributes {dims = ["n"], grid = "n", grain = 1 : i64, target = "cpu"} {
}

// Every operation prints as it is read.
// CHECK-LABEL: host.program @model attributes {dims = ["n"]
// CHECK-SAME:    inputs = [#host.port<"x", tensor<?x4xf32, #tfc.dims<["n", ""]>>>]
// CHECK-SAME:    variables = [#host.port<"v", tensor<4xf32>>]
// CHECK-SAME:    arena = "16*n", weights = 64 : i64}
// CHECK-NEXT:    %[[X:.*]] = host.input 0 : memref<?xf32>
// CHECK-NEXT:    %[[V:.*]] = host.variable 0 : memref<4xf32>
// CHECK-NEXT:    %[[Y:.*]] = host.output 0 : memref<?xf32>
// CHECK-NEXT:    %[[W:.*]] = host.constant <"[1.0, 2.0, 3.0, 4.0]" : tensor<4xf32>> at 0 : memref<4xf32>
// CHECK-NEXT:    %[[T:.*]] = host.buffer "16*n" at "0" : memref<?xf32>
// CHECK-NEXT:    %{{.*}} = host.buffer "8" : memref<1xf64>
// CHECK-NEXT:    %[[I:.*]] = host.view %[[T]] at "0" : memref<?xf32> -> memref<?xi32>
// CHECK-NEXT:    host.launch @scale reads(%[[X]], %[[W]]) writes(%[[T]]) : memref<?xf32>, memref<4xf32> -> memref<?xf32>
// CHECK-NEXT:    host.copy %[[T]] to %[[Y]], "16*n" : memref<?xf32>, memref<?xf32>
host.program @model attributes {dims = ["n"],
    inputs = [#host.port<"x", tensor<?x4xf32, #tfc.dims<["n", ""]>>>],
    outputs = [#host.port<"y", tensor<?x4xf32, #tfc.dims<["n", ""]>>>],
    variables = [#host.port<"v", tensor<4xf32>>], arena = "16*n", weights = 64 : i64} {
  %x = host.input 0 : memref<?xf32>
  %v = host.variable 0 : memref<4xf32>
  %y = host.output 0 : memref<?xf32>
  %w = host.constant <"[1.0, 2.0, 3.0, 4.0]" : tensor<4xf32>> at 0 : memref<4xf32>
  %t = host.buffer "16*n" at "0" : memref<?xf32>
  %u = host.buffer "8" : memref<1xf64>
  %i = host.view %t at "0" : memref<?xf32> -> memref<?xi32>
  host.launch @scale reads(%x, %w) writes(%t) : memref<?xf32>, memref<4xf32> -> memref<?xf32>
  host.copy %t to %y, "16*n" : memref<?xf32>, memref<?xf32>
}
