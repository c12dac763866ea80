// RUN: tfc-opt %s --verify-diagnostics --split-input-file | filecheck %s

// CHECK: 'kernel.copy_async': expected (4, 8, 16) bytes, got 12
kernel.func @three(%x : memref<?xf32>, %n : index) attributes {dims = ["n"], grid = "1", grain = 1 : i64, target = "gpu", block = 32 : i64} {
  %tile = kernel.shared : memref<32xf32>
  kernel.copy_async 3 of %x[%n] to %tile[%n] : memref<?xf32>, memref<32xf32>
}

// -----

// CHECK: 'kernel.copy_async': expected elements of f32, got i32
kernel.func @kinds(%x : memref<?xf32>, %n : index) attributes {dims = ["n"], grid = "1", grain = 1 : i64, target = "gpu", block = 32 : i64} {
  %tile = kernel.shared : memref<32xi32>
  kernel.copy_async 4 of %x[%n] to %tile[%n] : memref<?xf32>, memref<32xi32>
}

// -----

// CHECK: 'kernel.load_matrix': expected a vector of 1, 2 or 4 i32, got vector<3xi32>
kernel.func @count(%n : index) attributes {dims = ["n"], grid = "1", grain = 1 : i64, target = "gpu", block = 32 : i64} {
  %tile = kernel.shared : memref<640xbf16>
  %a = kernel.load_matrix %tile[%n] : memref<640xbf16>, vector<3xi32>
}

// -----

// CHECK: 'kernel.mma': expected sums of vector<4xi32>, got vector<4xf32>
kernel.func @sums(%a : vector<4xi32>, %b : vector<2xi32>, %c : vector<4xf32>) attributes {dims = [], grid = "1", grain = 1 : i64, target = "gpu", block = 32 : i64} {
  %d = kernel.mma "s8" %a, %b, %c : vector<4xi32>, vector<2xi32>, vector<4xf32> -> vector<4xf32>
}

// -----

// CHECK: 'kernel.wait_async': expected a kernel for gpu, got one for cpu
kernel.func @cpu() attributes {dims = [], grid = "1", grain = 1 : i64, target = "cpu"} {
  kernel.wait_async 0
}

// -----

// CHECK: 'kernel.join': expected two of f32, got index
kernel.func @join(%x : f32, %n : index) attributes {dims = [], grid = "1", grain = 1 : i64, target = "cpu"} {
  %j = kernel.join %x, %n : f32, index -> vector<2xf32>
}
