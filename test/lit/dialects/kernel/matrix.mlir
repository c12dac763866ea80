// RUN: tfc-opt %s | filecheck %s

// A step of a product of bf16: rows come into shared memory beside other work, the matrix units read them there.
// CHECK-LABEL: kernel.func @step
// CHECK:         kernel.copy_async 8 of %{{.*}}[%{{.*}}] to %{{.*}}[%{{.*}}] if %{{.*}} : memref<?xbf16>, memref<640xbf16>
// CHECK:         kernel.copy_async 8 of %{{.*}}[%{{.*}}] to %{{.*}}[%{{.*}}] : memref<?xbf16>, memref<640xbf16>
// CHECK:         kernel.commit_async
// CHECK:         kernel.wait_async 0
// CHECK:         kernel.load_matrix %{{.*}}[%{{.*}}] : memref<640xbf16>, vector<4xi32>
// CHECK:         kernel.load_matrix %{{.*}}[%{{.*}}] transposed : memref<640xbf16>, vector<2xi32>
// CHECK:         kernel.mma "bf16" %{{.*}}, %{{.*}}, %{{.*}} : vector<4xi32>, vector<2xi32>, vector<4xf32> -> vector<4xf32>
kernel.func @step(%x : memref<?xbf16>, %y : memref<?xf32>, %n : index)
    attributes {dims = ["n"], grid = "1", grain = 1 : i64, target = "gpu", block = 32 : i64} {
  %c8 = arith.constant 8 : index
  %zero = arith.constant dense<0.0> : vector<4xf32>
  %t = kernel.thread
  %tile = kernel.shared : memref<640xbf16>
  %at = arith.muli %t, %c8 : index
  %inside = arith.cmpi slt, %at, %n : index
  kernel.copy_async 8 of %x[%at] to %tile[%at] if %inside : memref<?xbf16>, memref<640xbf16>
  kernel.copy_async 8 of %x[%at] to %tile[%at] : memref<?xbf16>, memref<640xbf16>
  kernel.commit_async
  kernel.wait_async 0
  kernel.barrier
  %a = kernel.load_matrix %tile[%at] : memref<640xbf16>, vector<4xi32>
  %b = kernel.load_matrix %tile[%at] transposed : memref<640xbf16>, vector<2xi32>
  %c = kernel.mma "bf16" %a, %b, %zero : vector<4xi32>, vector<2xi32>, vector<4xf32> -> vector<4xf32>
  kernel.store %c, %y[%at] : vector<4xf32>, memref<?xf32>
}

// CHECK-LABEL: kernel.func @rounded
// CHECK:         kernel.join %{{.*}}, %{{.*}} : f32, f32 -> vector<2xf32>
// CHECK:         kernel.round_tf32 %{{.*}} : vector<2xf32> -> vector<2xi32>
kernel.func @rounded(%x : memref<?xf32>, %y : memref<?xi32>) attributes {dims = [], grid = "1", grain = 1 : i64, target = "gpu", block = 32 : i64} {
  %t = kernel.thread
  %v = kernel.load %x[%t] : memref<?xf32>, f32
  %pair = kernel.join %v, %v : f32, f32 -> vector<2xf32>
  %r = kernel.round_tf32 %pair : vector<2xf32> -> vector<2xi32>
  kernel.store %r, %y[%t] : vector<2xi32>, memref<?xi32>
}
