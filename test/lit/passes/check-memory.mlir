// RUN: not tfc-opt %s -p 'assign-buffers,check-memory{memory-limit=512}' 2>&1 | filecheck %s
// RUN: tfc-opt %s -p 'assign-buffers,check-memory{memory-limit=1024}' | filecheck %s --check-prefix FITS

kernel.func @step(%x : memref<256xf32>, %y : memref<256xf32>)
    attributes {dims = [], grid = "1", block = 32 : i64, target = "gpu"} {
}

// The memory of each device has to be within the limit.
// CHECK:      a run needs 1,024 bytes of memory of GPU:0 at once, and 512 are allowed; there are then
// CHECK-NEXT: 1,024 bytes, made by
// FITS:       arenas = {"GPU:0" = "1024"}
host.program @devices attributes {inputs = [#host.port<"x", tensor<256xf32>>], outputs = [#host.port<"y", tensor<256xf32>>]} {
  %x = host.input 0 : memref<256xf32>
  %a = host.buffer "1024" on "GPU:0" : memref<256xf32>
  %y = host.output 0 : memref<256xf32>
  host.copy %x to %a, "1024" : memref<256xf32>, memref<256xf32>
  host.launch @step reads(%a) writes(%a) : memref<256xf32> -> memref<256xf32>
  host.copy %a to %y, "1024" : memref<256xf32>, memref<256xf32>
}
