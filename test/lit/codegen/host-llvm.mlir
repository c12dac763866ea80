// RUN: tfc-opt %s -t llvm --cpu=x86-64 | filecheck %s

kernel.func @step(%x : memref<?xf32>, %y : memref<?xf32>, %n : index)
    attributes {dims = ["n"], grid = "4*n", grain = 16 : i64, target = "cpu"} {
}

// The C interface of a model with a named dim: the dim is checked, the arena grows on demand, the
// kernel gets its pointers and the dim, and the pool its grid and grain.
// CHECK-LABEL: define i32 @model_abi()
// CHECK:       @model_manifest = constant
// CHECK-LABEL: define ptr @model_error(i32 %code)
// CHECK-LABEL: define i32 @model_create(ptr %out, i32 %given)
// CHECK:         call i32 @tfc_missing()
// CHECK:         call i32 @tfc_pool_acquire(
// CHECK-LABEL: define void @model_destroy(ptr %model)
// CHECK-LABEL: define i64 @model_arena_size(ptr %dims)
// CHECK-LABEL: define i32 @model_run(ptr %model, ptr %inputs, ptr %outputs, ptr %dims)
// CHECK:         ret i32 -1
// CHECK:         ret i32 -200
// CHECK:         call i32 @tfc_allocate(
// CHECK:         store ptr %{{.*}}, ptr %args
// CHECK:         call void @tfc_share(ptr %model, ptr @step, ptr %args, i64 %{{.*}}, i64 16, i32 %threads)
// CHECK:         ret i32 0
host.program @model attributes {dims = ["n"],
    inputs = [#host.port<"x", tensor<?x4xf32, #tfc.dims<["n", ""]>>>],
    outputs = [#host.port<"y", tensor<?x4xf32, #tfc.dims<["n", ""]>>>], arena = "64*n"} {
  %x = host.input 0 : memref<?xf32>
  %y = host.output 0 : memref<?xf32>
  %t = host.buffer "16*n" at "0" : memref<?xf32>
  host.launch @step reads(%x) writes(%t) : memref<?xf32> -> memref<?xf32>
  host.launch @step reads(%t) writes(%y) : memref<?xf32> -> memref<?xf32>
}
