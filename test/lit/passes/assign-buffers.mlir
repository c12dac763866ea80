// RUN: tfc-opt %s -p assign-buffers --split-input-file | filecheck %s

kernel.func @step(%x : memref<256xf32>, %y : memref<256xf32>)
    attributes {dims = [], grid = "1", grain = 1 : i64, target = "cpu"} {
}

// Of a chain two buffers are there at once; the result goes to the caller without a copy.
// CHECK-LABEL: host.program @chain
// CHECK-SAME:    arena = "2048"
// CHECK:         %[[X:.*]] = host.input 0
// CHECK:         %[[A:.*]] = host.buffer "1024" at "0"
// CHECK:         %[[B:.*]] = host.buffer "1024" at "1024"
// CHECK:         %[[C:.*]] = host.buffer "1024" at "0"
// CHECK:         %[[Y:.*]] = host.output 0
// CHECK:         host.launch @step reads(%[[X]]) writes(%[[A]])
// CHECK-NEXT:    host.launch @step reads(%[[A]]) writes(%[[B]])
// CHECK-NEXT:    host.launch @step reads(%[[B]]) writes(%[[C]])
// CHECK-NEXT:    host.launch @step reads(%[[C]]) writes(%[[Y]])
// CHECK-NOT:     host.copy
host.program @chain attributes {inputs = [#host.port<"x", tensor<256xf32>>], outputs = [#host.port<"y", tensor<256xf32>>]} {
  %x = host.input 0 : memref<256xf32>
  %a = host.buffer "1024" : memref<256xf32>
  host.launch @step reads(%x) writes(%a) : memref<256xf32> -> memref<256xf32>
  %b = host.buffer "1024" : memref<256xf32>
  host.launch @step reads(%a) writes(%b) : memref<256xf32> -> memref<256xf32>
  %c = host.buffer "1024" : memref<256xf32>
  host.launch @step reads(%b) writes(%c) : memref<256xf32> -> memref<256xf32>
  %d = host.buffer "1024" : memref<256xf32>
  host.launch @step reads(%c) writes(%d) : memref<256xf32> -> memref<256xf32>
  %y = host.output 0 : memref<256xf32>
  host.copy %d to %y, "1024" : memref<256xf32>, memref<256xf32>
}

// -----

kernel.func @step(%x : memref<256xf32>, %y : memref<256xf32>)
    attributes {dims = [], grid = "1", grain = 1 : i64, target = "cpu", in_place = array<i64: 0, 1>} {
}

// A kernel that may work in place does: no memory but the caller's is needed.
// CHECK-LABEL: host.program @in_place
// CHECK-SAME:    arena = "0"
// CHECK:         %[[X:.*]] = host.input 0
// CHECK:         %[[Y:.*]] = host.output 0
// CHECK:         host.launch @step reads(%[[X]]) writes(%[[Y]])
// CHECK-NEXT:    host.launch @step reads(%[[Y]]) writes(%[[Y]])
host.program @in_place attributes {inputs = [#host.port<"x", tensor<256xf32>>], outputs = [#host.port<"y", tensor<256xf32>>]} {
  %x = host.input 0 : memref<256xf32>
  %a = host.buffer "1024" : memref<256xf32>
  host.launch @step reads(%x) writes(%a) : memref<256xf32> -> memref<256xf32>
  %b = host.buffer "1024" : memref<256xf32>
  host.launch @step reads(%a) writes(%b) : memref<256xf32> -> memref<256xf32>
  %y = host.output 0 : memref<256xf32>
  host.copy %b to %y, "1024" : memref<256xf32>, memref<256xf32>
}

// -----

kernel.func @update(%v : memref<4xf32>, %x : memref<4xf32>, %y : memref<4xf32>)
    attributes {dims = [], grid = "1", grain = 1 : i64, target = "cpu", in_place = array<i64: 0, 2>} {
}

// The old value of the variable is returned: it is not overwritten before it has been copied.
// CHECK-LABEL: host.program @old_value
// CHECK:         %[[V:.*]] = host.variable 0
// CHECK:         %[[T:.*]] = host.buffer "16" at "0"
// CHECK:         %[[Y:.*]] = host.output 0
// CHECK:         host.launch @update reads(%[[V]], %{{.*}}) writes(%[[T]])
// CHECK-NEXT:    host.copy %[[V]] to %[[Y]]
// CHECK-NEXT:    host.copy %[[T]] to %[[V]]
host.program @old_value attributes {inputs = [#host.port<"x", tensor<4xf32>>], outputs = [#host.port<"y", tensor<4xf32>>], variables = [#host.port<"v", tensor<4xf32>>]} {
  %x = host.input 0 : memref<4xf32>
  %v = host.variable 0 : memref<4xf32>
  %t = host.buffer "16" : memref<4xf32>
  host.launch @update reads(%v, %x) writes(%t) : memref<4xf32>, memref<4xf32> -> memref<4xf32>
  %y = host.output 0 : memref<4xf32>
  host.copy %v to %y, "16" : memref<4xf32>, memref<4xf32>
  host.copy %t to %v, "16" : memref<4xf32>, memref<4xf32>
}

// -----

kernel.func @grow(%x : memref<?xf32>, %y : memref<?xf32>, %n : index)
    attributes {dims = ["n"], grid = "n", grain = 1 : i64, target = "cpu"} {
}

// Sizes and offsets are functions of the named dims.
// CHECK-LABEL: host.program @symbolic
// CHECK-SAME:    arena = "512*n"
// CHECK:         host.buffer "256*n" at "0"
// CHECK:         host.buffer "256*n" at "256*n"
host.program @symbolic attributes {dims = ["n"], inputs = [#host.port<"x", tensor<?x64xf32, #tfc.dims<["n", ""]>>>], outputs = [#host.port<"y", tensor<?x64xf32, #tfc.dims<["n", ""]>>>]} {
  %x = host.input 0 : memref<?xf32>
  %y = host.output 0 : memref<?xf32>
  %a = host.buffer "256*n" : memref<?xf32>
  %b = host.buffer "256*n" : memref<?xf32>
  host.launch @grow reads(%x) writes(%a) : memref<?xf32> -> memref<?xf32>
  host.launch @grow reads(%a) writes(%b) : memref<?xf32> -> memref<?xf32>
  host.launch @grow reads(%b) writes(%y) : memref<?xf32> -> memref<?xf32>
}

// -----

kernel.func @step(%x : memref<256xf32>, %y : memref<256xf32>)
    attributes {dims = [], grid = "1", block = 32 : i64, target = "gpu", in_place = array<i64: 0, 1>} {
}

// Each memory has an arena, and a copy between two of them stays: here and back, and what is between in place.
// CHECK-LABEL: host.program @devices
// CHECK-SAME:    arena = "0", arenas = {"GPU:0" = "1024", "GPU:1" = "1024"}
// CHECK:         %[[X:.*]] = host.input 0
// CHECK:         %[[B:.*]] = host.buffer "1000" on "GPU:0" at "0"
// CHECK:         %[[C:.*]] = host.buffer "1000" on "GPU:1" at "0"
// CHECK:         %[[Y:.*]] = host.output 0
// CHECK:         host.copy %[[X]] to %[[B]]
// CHECK-NEXT:    host.launch @step reads(%[[B]]) writes(%[[B]])
// CHECK-NEXT:    host.copy %[[B]] to %[[C]]
// CHECK-NEXT:    host.copy %[[C]] to %[[Y]]
host.program @devices attributes {inputs = [#host.port<"x", tensor<250xf32>>], outputs = [#host.port<"y", tensor<250xf32>>]} {
  %x = host.input 0 : memref<256xf32>
  %a = host.buffer "1000" on "GPU:0" : memref<256xf32>
  %b = host.buffer "1000" on "GPU:0" : memref<256xf32>
  %c = host.buffer "1000" on "GPU:1" : memref<256xf32>
  %y = host.output 0 : memref<256xf32>
  host.copy %x to %a, "1000" : memref<256xf32>, memref<256xf32>
  host.launch @step reads(%a) writes(%b) : memref<256xf32> -> memref<256xf32>
  host.copy %b to %c, "1000" : memref<256xf32>, memref<256xf32>
  host.copy %c to %y, "1000" : memref<256xf32>, memref<256xf32>
}
