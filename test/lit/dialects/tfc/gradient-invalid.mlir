// RUN: tfc-opt %s --verify-diagnostics --split-input-file | filecheck %s

// Gradients: each constraint of their docstrings, broken once.

// There is no axis 2 in two dims.
// CHECK: error: 'tfc.bias_add_grad' (C1): expected numbers and an axis below 2, got f32, 2
func.func @bias_add_grad_c1(%a0: tensor<4x5xf32>) {
  %1 = tfc.bias_add_grad %a0 along 2 : tensor<4x5xf32> -> tensor<5xf32>
  func.return
}

// -----

// A gradient has the type of its value.
// CHECK: error: 'tfc.relu_grad' (C1): expected tensor<5xf32> of floats, got tensor<4xf32>
func.func @relu_grad_c1(%a0: tensor<5xf32>, %a1: tensor<4xf32>) {
  %2 = tfc.relu_grad %a0, %a1 : tensor<5xf32>, tensor<4xf32> -> tensor<5xf32>
  func.return
}

// -----

// A gradient has the type of its value.
// CHECK: error: 'tfc.rsqrt_grad' (C1): expected tensor<5xf32> of floats, got tensor<5xf64>
func.func @rsqrt_grad_c1(%a0: tensor<5xf32>, %a1: tensor<5xf64>) {
  %2 = tfc.rsqrt_grad %a0, %a1 : tensor<5xf32>, tensor<5xf64> -> tensor<5xf32>
  func.return
}

// -----

// One entry for each dim.
// CHECK: error: 'tfc.window_unpool' (C1): expected 1 entries each, got [1, 1, 1, 1, 2]
func.func @window_unpool_c1(%a0: tensor<4xi64>, %a1: tensor<4xf32>) {
  %2 = tfc.window_unpool %a0, %a1 to [5] window [2] strides [1] dilations [1] low [0] high [0, 0] : tensor<4xi64>, tensor<4xf32> -> tensor<5xf32>
  func.return
}

// -----

// Windows move on.
// CHECK: error: 'tfc.window_unpool' (C2): expected windows, strides, dilations >= 1, padding >= 0, got [[2], [0], [1], [0], [0]]
func.func @window_unpool_c2(%a0: tensor<4xi64>, %a1: tensor<4xf32>) {
  %2 = tfc.window_unpool %a0, %a1 to [5] window [2] strides [0] dilations [1] low [0] high [0] : tensor<4xi64>, tensor<4xf32> -> tensor<5xf32>
  func.return
}

// -----

// One place for each window.
// CHECK: error: 'tfc.window_unpool' (C3): expected shape [4], got tensor<3xi64>
func.func @window_unpool_c3(%a0: tensor<3xi64>, %a1: tensor<4xf32>) {
  %2 = tfc.window_unpool %a0, %a1 to [5] window [2] strides [1] dilations [1] low [0] high [0] : tensor<3xi64>, tensor<4xf32> -> tensor<5xf32>
  func.return
}

// -----

// One entry for each dim.
// CHECK: error: 'tfc.max_pool_grad' (C1): expected 1 entries each, got [2, 1, 2, 1, 1]
func.func @max_pool_grad_c1(%a0: tensor<5xf32>, %a1: tensor<4xf32>, %a2: tensor<4xf32>) {
  %3 = tfc.max_pool_grad %a0, %a1, %a2 window [2, 2] strides [1] low [0] high [0] : tensor<5xf32>, tensor<4xf32>, tensor<4xf32> -> tensor<5xf32>
  func.return
}

// -----

// A window of 7 does not fit into 5.
// CHECK: error: 'tfc.max_pool_grad' (C2): expected windows that fit into [5], got [[7], [1], [1], [0], [0]]
func.func @max_pool_grad_c2(%a0: tensor<5xf32>, %a1: tensor<4xf32>, %a2: tensor<4xf32>) {
  %3 = tfc.max_pool_grad %a0, %a1, %a2 window [7] strides [1] low [0] high [0] : tensor<5xf32>, tensor<4xf32>, tensor<4xf32> -> tensor<5xf32>
  func.return
}

// -----

// One gradient for each window.
// CHECK: error: 'tfc.max_pool_grad' (C3): expected tensor<4xf32>, got tensor<5xf32>
func.func @max_pool_grad_c3(%a0: tensor<5xf32>, %a1: tensor<4xf32>, %a2: tensor<5xf32>) {
  %3 = tfc.max_pool_grad %a0, %a1, %a2 window [2] strides [1] low [0] high [0] : tensor<5xf32>, tensor<4xf32>, tensor<5xf32> -> tensor<5xf32>
  func.return
}

// -----

// No operand is converted silently.
// CHECK: error: 'tfc.conv_backprop_input' (C1): expected one element type of floats, got f32 and f64
func.func @conv_backprop_input_c1(%a0: tensor<3x3x4x6xf32>, %a1: tensor<1x6x6x6xf64>) {
  %2 = tfc.conv_backprop_input %a0, %a1 to [1, 8, 8, 4] strides [1, 1] dilations [1, 1] low [0, 0] high [0, 0] groups 1 : tensor<3x3x4x6xf32>, tensor<1x6x6x6xf64> -> tensor<1x8x8x4xf32>
  func.return
}

// -----

// A filter of 3 on 8 has 6 places, not 5.
// CHECK: error: 'tfc.conv_backprop_input' (C2): expected tensor<1x6x6x6xf32>, got tensor<1x5x6x6xf32>
func.func @conv_backprop_input_c2(%a0: tensor<3x3x4x6xf32>, %a1: tensor<1x5x6x6xf32>) {
  %2 = tfc.conv_backprop_input %a0, %a1 to [1, 8, 8, 4] strides [1, 1] dilations [1, 1] low [0, 0] high [0, 0] groups 1 : tensor<3x3x4x6xf32>, tensor<1x5x6x6xf32> -> tensor<1x8x8x4xf32>
  func.return
}

// -----

// How far the gradient is spread must be known.
// CHECK: error: 'tfc.conv_backprop_input' (C3): expected static padding, got [1, h, 8, 4] from tensor<1x?x6x6xf32, #tfc.dims<["", "(h-3)//2+1", "", ""]>>
func.func @conv_backprop_input_c3(%a0: tensor<3x3x4x6xf32>, %a1: tensor<1x?x6x6xf32, #tfc.dims<["", "(h-3)//2+1", "", ""]>>) {
  %2 = tfc.conv_backprop_input %a0, %a1 to [1, "h", 8, 4] strides [2, 1] dilations [1, 1] low [0, 0] high [0, 0] groups 1 : tensor<3x3x4x6xf32>, tensor<1x?x6x6xf32, #tfc.dims<["", "(h-3)//2+1", "", ""]>> -> tensor<1x?x8x4xf32, #tfc.dims<["", "h", "", ""]>>
  func.return
}

// -----

// No operand is converted silently.
// CHECK: error: 'tfc.conv_backprop_filter' (C1): expected one element type of floats, got f32 and f64
func.func @conv_backprop_filter_c1(%a0: tensor<1x8x8x4xf32>, %a1: tensor<1x6x6x6xf64>) {
  %2 = tfc.conv_backprop_filter %a0, %a1 to [3, 3, 4, 6] strides [1, 1] dilations [1, 1] low [0, 0] high [0, 0] groups 1 : tensor<1x8x8x4xf32>, tensor<1x6x6x6xf64> -> tensor<3x3x4x6xf32>
  func.return
}

// -----

// A filter of 3 on 8 has 6 places, not 5.
// CHECK: error: 'tfc.conv_backprop_filter' (C2): expected tensor<1x6x6x6xf32>, got tensor<1x5x6x6xf32>
func.func @conv_backprop_filter_c2(%a0: tensor<1x8x8x4xf32>, %a1: tensor<1x5x6x6xf32>) {
  %2 = tfc.conv_backprop_filter %a0, %a1 to [3, 3, 4, 6] strides [1, 1] dilations [1, 1] low [0, 0] high [0, 0] groups 1 : tensor<1x8x8x4xf32>, tensor<1x5x6x6xf32> -> tensor<3x3x4x6xf32>
  func.return
}

// -----

// The gradient takes the place of a filter, whose size is static.
// CHECK: error: 'tfc.conv_backprop_filter' (C3): expected static spatial dims of g, got tensor<1x?x6x6xf32, #tfc.dims<["", "h-2", "", ""]>>
func.func @conv_backprop_filter_c3(%a0: tensor<1x?x8x4xf32, #tfc.dims<["", "h", "", ""]>>, %a1: tensor<1x?x6x6xf32, #tfc.dims<["", "h-2", "", ""]>>) {
  %2 = tfc.conv_backprop_filter %a0, %a1 to [3, 3, 4, 6] strides [1, 1] dilations [1, 1] low [0, 0] high [0, 0] groups 1 : tensor<1x?x8x4xf32, #tfc.dims<["", "h", "", ""]>>, tensor<1x?x6x6xf32, #tfc.dims<["", "h-2", "", ""]>> -> tensor<3x3x4x6xf32>
  func.return
}

// -----

// One id for each row.
// CHECK: error: 'tfc.segment_sum' (C1): expected integers of a shape that begins [4, 5], got tensor<5xi64>
func.func @segment_sum_c1(%a0: tensor<4x5xf32>, %a1: tensor<5xi64>) {
  %2 = tfc.segment_sum %a0, %a1 count [3] : tensor<4x5xf32>, tensor<5xi64> -> tensor<3x5xf32>
  func.return
}

// -----

// Truth values have no sum.
// CHECK: error: 'tfc.segment_sum' (C2): expected elements of numbers, got i1
func.func @segment_sum_c2(%a0: tensor<4x5xi1>, %a1: tensor<4xi64>) {
  %2 = tfc.segment_sum %a0, %a1 count [3] : tensor<4x5xi1>, tensor<4xi64> -> tensor<3x5xi1>
  func.return
}
