// RUN: tfc-opt %s --verify-diagnostics --split-input-file | filecheck %s

// Attention: each constraint of its docstring, broken once.

// Shares of what is seen are fractions.
// CHECK: error: 'tfc.attention' (C1): expected one element type of floating point, got i32, i32, i32
func.func @attention_c1(%q: tensor<5x4xi32>, %k: tensor<7x4xi32>) {
  %y = tfc.attention %q [0, 1], %k [0, 1], %k [0, 1] to [0, 1] scale 1.0 : tensor<5x4xi32>, tensor<7x4xi32>, tensor<7x4xi32> -> tensor<5x4xi32>
  func.return
}

// -----

// A list names each dim once.
// CHECK: error: 'tfc.attention' (C2): expected tensors and permutations of 2 dims, got {{.*}}[0, 0]
func.func @attention_c2(%q: tensor<5x4xf32>, %k: tensor<7x4xf32>) {
  %y = tfc.attention %q [0, 1], %k [0, 0], %k [0, 1] to [0, 1] scale 1.0 : tensor<5x4xf32>, tensor<7x4xf32>, tensor<7x4xf32> -> tensor<5x4xf32>
  func.return
}

// -----

// 7 keys have no 6 values.
// CHECK: error: 'tfc.attention' (C3): expected equal extents, got [5, 4], [7, 4] and [6, 4]
func.func @attention_c3(%q: tensor<5x4xf32>, %k: tensor<7x4xf32>, %v: tensor<6x4xf32>) {
  %y = tfc.attention %q [0, 1], %k [0, 1], %v [0, 1] to [0, 1] scale 1.0 : tensor<5x4xf32>, tensor<7x4xf32>, tensor<6x4xf32> -> tensor<5x4xf32>
  func.return
}

// -----

// A mask is of rows and keys.
// CHECK: error: 'tfc.attention' (C4): expected a mask of bools or floats that fits [5, 7], got tensor<7x5xf32>
func.func @attention_c4(%q: tensor<5x4xf32>, %k: tensor<7x4xf32>, %m: tensor<7x5xf32>) {
  %y = tfc.attention %q [0, 1], %k [0, 1], %k [0, 1] to [0, 1] mask %m scale 1.0 : tensor<5x4xf32>, tensor<7x4xf32>, tensor<7x4xf32> mask tensor<7x5xf32> -> tensor<5x4xf32>
  func.return
}
