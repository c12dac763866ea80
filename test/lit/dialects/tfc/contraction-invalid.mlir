// RUN: tfc-opt %s --verify-diagnostics --split-input-file | filecheck %s

// Contractions: each constraint of their docstrings, broken once.

// Contracted dims come in pairs.
// CHECK: error: 'tfc.dot' (C1): expected distinct dims below 2, in pairs, got ([], [], [1], [])
func.func @dot_c1(%a0: tensor<4x5xf32>, %a1: tensor<5x6xf32>) {
  %2 = tfc.dot %a0, %a1 batch [], [] contract [1], [] : tensor<4x5xf32>, tensor<5x6xf32> -> tensor<4x6xf32>
  func.return
}

// -----

// 5 elements against 7.
// CHECK: error: 'tfc.dot' (C2): expected dim 1 of x = dim 0 of y, got 5 and 7
func.func @dot_c2(%a0: tensor<4x5xf32>, %a1: tensor<7x6xf32>) {
  %2 = tfc.dot %a0, %a1 batch [], [] contract [1], [0] : tensor<4x5xf32>, tensor<7x6xf32> -> tensor<4x6xf32>
  func.return
}

// -----

// No operand is converted silently.
// CHECK: error: 'tfc.dot' (C3): expected one element type of numbers, got f32 and f16
func.func @dot_c3(%a0: tensor<4x5xf32>, %a1: tensor<5x6xf16>) {
  %2 = tfc.dot %a0, %a1 batch [], [] contract [1], [0] : tensor<4x5xf32>, tensor<5x6xf16> -> tensor<4x6xf32>
  func.return
}

// -----

// One stride for each spatial dim.
// CHECK: error: 'tfc.convolution' (C1): expected one rank and 2 entries each, got tensor<3x3x4x6xf32> and [1, 2, 2, 2]
func.func @convolution_c1(%a0: tensor<1x8x8x4xf32>, %a1: tensor<3x3x4x6xf32>) {
  %2 = tfc.convolution %a0, %a1 strides [1] dilations [1, 1] low [0, 0] high [0, 0] groups 1 : tensor<1x8x8x4xf32>, tensor<3x3x4x6xf32> -> tensor<1x6x6x6xf32>
  func.return
}

// -----

// Four channels do not make three groups.
// CHECK: error: 'tfc.convolution' (C2): expected groups that divide 4 and 6, got 3 of 4
func.func @convolution_c2(%a0: tensor<1x8x8x4xf32>, %a1: tensor<3x3x4x6xf32>) {
  %2 = tfc.convolution %a0, %a1 strides [1, 1] dilations [1, 1] low [0, 0] high [0, 0] groups 3 : tensor<1x8x8x4xf32>, tensor<3x3x4x6xf32> -> tensor<1x6x6x6xf32>
  func.return
}

// -----

// A dilated filter of 9 does not fit into 8.
// CHECK: error: 'tfc.convolution' (C3): expected a filter that fits into [8, 8], got [3, 3]
func.func @convolution_c3(%a0: tensor<1x8x8x4xf32>, %a1: tensor<3x3x4x6xf32>) {
  %2 = tfc.convolution %a0, %a1 strides [1, 1] dilations [4, 1] low [0, 0] high [0, 0] groups 1 : tensor<1x8x8x4xf32>, tensor<3x3x4x6xf32> -> tensor<1x6x6x6xf32>
  func.return
}

// -----

// No operand is converted silently.
// CHECK: error: 'tfc.convolution' (C4): expected one element type of numbers, got f32 and f64
func.func @convolution_c4(%a0: tensor<1x8x8x4xf32>, %a1: tensor<3x3x4x6xf64>) {
  %2 = tfc.convolution %a0, %a1 strides [1, 1] dilations [1, 1] low [0, 0] high [0, 0] groups 1 : tensor<1x8x8x4xf32>, tensor<3x3x4x6xf64> -> tensor<1x6x6x6xf32>
  func.return
}

// -----

// No operand is converted silently.
// CHECK: error: 'tfc.contract' (C1): expected the element type f32, got f64 and f32
func.func @contract_c1(%a0: tensor<3x5xf32>, %a1: tensor<5x6xf64>) {
  %2 = tfc.contract %a0, %a1, 4 over <"row 3 x=5 y=6", "depth 5 x=1 w=6", "panel 2 w=4 y=4", "column 6 w=1 y=1"> : tensor<3x5xf32>, tensor<5x6xf64> -> tensor<3x6xf32>
  func.return
}

// -----

// A panel has a column at least.
// CHECK: error: 'tfc.contract' (C2): expected lanes >= 1, got 0
func.func @contract_c2(%a0: tensor<3x5xf32>, %a1: tensor<5x6xf32>) {
  %2 = tfc.contract %a0, %a1, 0 over <"row 3 x=5 y=6", "depth 5 x=1 w=6", "panel 2 w=4 y=4", "column 6 w=1 y=1"> : tensor<3x5xf32>, tensor<5x6xf32> -> tensor<3x6xf32>
  func.return
}

// -----

// Only factors of f32 have bits to lose.
// CHECK: error: 'tfc.contract' (C3): expected tf32 of f32, got f64
func.func @contract_c3(%a0: tensor<3x5xf64>, %a1: tensor<5x6xf64>) {
  %2 = tfc.contract %a0, %a1, 4 over <"row 3 x=5 y=6", "depth 5 x=1 w=6", "panel 2 w=4 y=4", "column 6 w=1 y=1"> precision "tf32" : tensor<3x5xf64>, tensor<5x6xf64> -> tensor<3x6xf64>
  func.return
}

// -----

// Padding is of every dim.
// CHECK: error: 'tfc.contract' (C4): expected 2 numbers from 0 on, got (1,)
func.func @contract_c4(%a0: tensor<3x5xf32>, %a1: tensor<5x6xf32>) {
  %2 = tfc.contract %a0, %a1, 4 over <"row 3 x=5 y=6", "depth 5 x=1 w=6", "panel 2 w=4 y=4", "column 6 w=1 y=1"> low [1] : tensor<3x5xf32>, tensor<5x6xf32> -> tensor<3x6xf32>
  func.return
}

// -----

// Only packed panels have a last one of their own.
// CHECK: error: 'tfc.contract' (C5): expected a last panel of 2 to 3 packed lanes, got 2
func.func @contract_c5(%a0: tensor<3x5xf32>, %a1: tensor<5x6xf32>) {
  %2 = tfc.contract %a0, %a1, 4 over <"row 3 x=5 y=6", "depth 5 x=1 w=4", "panel 2 w=20 y=4", "column 6 w=1 y=1"> last 2 : tensor<3x5xf32>, tensor<5x6xf32> -> tensor<3x6xf32>
  func.return
}

// -----

// All columns of the last panel are stored.
// CHECK: error: 'tfc.contract' (C5): expected a last panel of 3 to 3 packed lanes, got 2
func.func @contract_c5_too_few(%a0: tensor<3x5xf32>, %a1: tensor<30xf32>) {
  %2 = tfc.contract %a0, %a1, 4 over <"row 3 x=5 y=7", "depth 5 x=1 w=4", "panel 2 w=20 y=4", "column 7 w=1 y=1"> packed last 2 : tensor<3x5xf32>, tensor<30xf32> -> tensor<3x7xf32>
  func.return
}
