// RUN: tfc-opt %s --verify-diagnostics --split-input-file | filecheck %s

// Random numbers: each constraint of their docstrings, broken once.

// A key has two words.
// CHECK: error: 'tfc.philox' (C1): expected tensor<2xui32>, got tensor<4xui32>
func.func @philox_c1(%a0: tensor<4xui32>, %a1: tensor<4xui32>) {
  %2 = tfc.philox %a0, %a1 to [3] : tensor<4xui32>, tensor<4xui32> -> tensor<3xui32>
  func.return
}

// -----

// A counter has four words.
// CHECK: error: 'tfc.random_uniform' (C1): expected tensor<4xui32>, got tensor<4xi32>
func.func @random_uniform_c1(%a0: tensor<2xui32>, %a1: tensor<4xi32>) {
  %2 = tfc.random_uniform %a0, %a1 to [3] of f32 : tensor<2xui32>, tensor<4xi32> -> tensor<3xf32>
  func.return
}

// -----

// Whole numbers in [0, 1) are all 0.
// CHECK: error: 'tfc.random_uniform' (C3): expected an element type of floats, got i32
func.func @random_uniform_c3(%a0: tensor<2xui32>, %a1: tensor<4xui32>) {
  %2 = tfc.random_uniform %a0, %a1 to [3] of i32 : tensor<2xui32>, tensor<4xui32> -> tensor<3xi32>
  func.return
}

// -----

// CHECK: 'tfc.philox' (C2): expected a stride of at least 0, and rows, got -1 and [2, 3]
func.func @philox_c2(%a0: tensor<2xui32>, %a1: tensor<4xui32>) {
  %r = tfc.philox %a0, %a1 to [2, 3] stride -1 : tensor<2xui32>, tensor<4xui32> -> tensor<2x3xui32>
  func.return
}

// -----

// CHECK: 'tfc.random_uniform' (C2): expected a stride of at least 0, and rows, got 4 and []
func.func @random_uniform_c2(%a0: tensor<2xui32>, %a1: tensor<4xui32>) {
  %r = tfc.random_uniform %a0, %a1 to [] stride 4 of f32 : tensor<2xui32>, tensor<4xui32> -> tensor<f32>
  func.return
}
