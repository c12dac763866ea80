// RUN: tfc-opt %s --verify-diagnostics --split-input-file | filecheck %s

// Reductions: each constraint of their docstrings, broken once.

// An axis is reduced once.
// CHECK: error: 'tfc.reduce' (C1): expected distinct axes below 2, got [1, 1]
func.func @reduce_c1(%a0: tensor<4x5xf32>) {
  %1 = tfc.reduce sum %a0 over [1, 1] : tensor<4x5xf32> -> tensor<4xf32>
  func.return
}

// -----

// A sum of truth values is written as a cast and a sum.
// CHECK: error: 'tfc.reduce' (C2): expected elements that sum takes, got i1
func.func @reduce_c2(%a0: tensor<4x5xi1>) {
  %1 = tfc.reduce sum %a0 over [1] : tensor<4x5xi1> -> tensor<4xi1>
  func.return
}

// -----

// There is no axis 2 in two dims.
// CHECK: error: 'tfc.mean' (C1): expected distinct axes below 2, got [2]
func.func @mean_c1(%a0: tensor<4x5xf32>) {
  %1 = tfc.mean %a0 over [2] : tensor<4x5xf32> -> tensor<4xf32>
  func.return
}

// -----

// Truth values have no mean.
// CHECK: error: 'tfc.mean' (C2): expected elements of numbers, got i1
func.func @mean_c2(%a0: tensor<4x5xi1>) {
  %1 = tfc.mean %a0 over [1] : tensor<4x5xi1> -> tensor<4xi1>
  func.return
}

// -----

// Nothing is the largest of nothing.
// CHECK: error: 'tfc.arg_reduce' (C1): expected an axis below 2 that is not empty, got 1
func.func @arg_reduce_c1(%a0: tensor<4x0xf32>) {
  %1 = tfc.arg_reduce max %a0 along 1 as i64 : tensor<4x0xf32> -> tensor<4xi64>
  func.return
}

// -----

// An index is a whole number.
// CHECK: error: 'tfc.arg_reduce' (C2): expected an integer type, got f32
func.func @arg_reduce_c2(%a0: tensor<4x5xf32>) {
  %1 = tfc.arg_reduce max %a0 along 1 as f32 : tensor<4x5xf32> -> tensor<4xf32>
  func.return
}

// -----

// One entry for each dim.
// CHECK: error: 'tfc.window_reduce' (C1): expected 1 entries each, got [2, 1, 1, 1, 1]
func.func @window_reduce_c1(%a0: tensor<5xf32>) {
  %1 = tfc.window_reduce max %a0 window [2, 2] strides [1] dilations [1] low [0] high [0] : tensor<5xf32> -> tensor<4xf32>
  func.return
}

// -----

// A window of 7 does not fit into 5.
// CHECK: error: 'tfc.window_reduce' (C2): expected windows that fit into [5], got [[7], [1], [1], [0], [0]]
func.func @window_reduce_c2(%a0: tensor<5xf32>) {
  %1 = tfc.window_reduce max %a0 window [7] strides [1] dilations [1] low [0] high [0] : tensor<5xf32> -> tensor<4xf32>
  func.return
}

// -----

// Products of windows have no use.
// CHECK: error: 'tfc.window_reduce' (C3): expected sum, max or min of numbers, got prod of f32
func.func @window_reduce_c3(%a0: tensor<5xf32>) {
  %1 = tfc.window_reduce prod %a0 window [2] strides [1] dilations [1] low [0] high [0] : tensor<5xf32> -> tensor<4xf32>
  func.return
}

// -----

// One entry for each dim.
// CHECK: error: 'tfc.window_arg_max' (C1): expected 1 entries each, got [1, 1, 1, 0, 1]
func.func @window_arg_max_c1(%a0: tensor<5xf32>) {
  %1 = tfc.window_arg_max %a0 window [2] strides [1] dilations [1] low [] high [0] : tensor<5xf32> -> tensor<4xi64>
  func.return
}

// -----

// Windows move on.
// CHECK: error: 'tfc.window_arg_max' (C2): expected windows, strides, dilations >= 1, padding >= 0, got [[2], [0], [1], [0], [0]]
func.func @window_arg_max_c2(%a0: tensor<5xf32>) {
  %1 = tfc.window_arg_max %a0 window [2] strides [0] dilations [1] low [0] high [0] : tensor<5xf32> -> tensor<4xi64>
  func.return
}

// -----

// A window of padding alone has no largest element.
// CHECK: error: 'tfc.window_arg_max' (C3): expected numbers, and padding below the window, got [[2], [1], [1], [2], [0]]
func.func @window_arg_max_c3(%a0: tensor<5xf32>) {
  %1 = tfc.window_arg_max %a0 window [2] strides [1] dilations [1] low [2] high [0] : tensor<5xf32> -> tensor<6xi64>
  func.return
}

// -----

// There is no axis 1 in one dim.
// CHECK: error: 'tfc.cumulative' (C1): expected an axis below 1, got 1
func.func @cumulative_c1(%a0: tensor<5xf32>) {
  %1 = tfc.cumulative sum %a0 along 1 : tensor<5xf32> -> tensor<5xf32>
  func.return
}

// -----

// Running maxima are not there yet.
// CHECK: error: 'tfc.cumulative' (C2): expected sum or prod of numbers, got max of f32
func.func @cumulative_c2(%a0: tensor<5xf32>) {
  %1 = tfc.cumulative max %a0 along 0 : tensor<5xf32> -> tensor<5xf32>
  func.return
}
