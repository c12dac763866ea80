// RUN: tfc-opt %s --verify-diagnostics --split-input-file | filecheck %s

// Layers: each constraint of their docstrings, broken once.

// A softmax needs fractions.
// CHECK: error: 'tfc.softmax' (C1): expected elements of floating point, got i32
func.func @softmax_c1(%a0: tensor<4x5xi32>) {
  %1 = tfc.softmax %a0 along 1 : tensor<4x5xi32> -> tensor<4x5xi32>
  func.return
}

// -----

// There is no axis 2 in two dims.
// CHECK: error: 'tfc.softmax' (C2): expected an axis below 2, got 2
func.func @softmax_c2(%a0: tensor<4x5xf32>) {
  %1 = tfc.softmax %a0 along 2 : tensor<4x5xf32> -> tensor<4x5xf32>
  func.return
}

// -----

// So does its logarithm.
// CHECK: error: 'tfc.log_softmax' (C1): expected elements of floating point, got i32
func.func @log_softmax_c1(%a0: tensor<4x5xi32>) {
  %1 = tfc.log_softmax %a0 along 1 : tensor<4x5xi32> -> tensor<4x5xi32>
  func.return
}

// -----

// Axes count from 0.
// CHECK: error: 'tfc.log_softmax' (C2): expected an axis below 2, got -1
func.func @log_softmax_c2(%a0: tensor<4x5xf32>) {
  %1 = tfc.log_softmax %a0 along -1 : tensor<4x5xf32> -> tensor<4x5xf32>
  func.return
}

// -----

// Whole numbers have no unit variance.
// CHECK: error: 'tfc.layer_norm' (C1): expected elements of floating point, got i32
func.func @layer_norm_c1(%a0: tensor<4x5xi32>, %a1: tensor<5xi32>) {
  %2 = tfc.layer_norm %a0 scale %a1 from 1 epsilon 1.000000e-05 : tensor<4x5xi32> scale tensor<5xi32> -> tensor<4x5xi32>
  func.return
}

// -----

// There is no axis 2 in two dims.
// CHECK: error: 'tfc.layer_norm' (C2): expected an axis below 2, got 2
func.func @layer_norm_c2(%a0: tensor<4x5xf32>, %a1: tensor<5xf32>) {
  %2 = tfc.layer_norm %a0 scale %a1 from 2 epsilon 1.000000e-05 : tensor<4x5xf32> scale tensor<5xf32> -> tensor<4x5xf32>
  func.return
}

// -----

// The scale has the normalised extents.
// CHECK: error: 'tfc.layer_norm' (C3): expected tensor<5xf32>, got tensor<4xf32>
func.func @layer_norm_c3(%a0: tensor<4x5xf32>, %a1: tensor<4xf32>) {
  %2 = tfc.layer_norm %a0 scale %a1 from 1 epsilon 1.000000e-05 : tensor<4x5xf32> scale tensor<4xf32> -> tensor<4x5xf32>
  func.return
}

// -----

// Whole numbers have no unit variance.
// CHECK: error: 'tfc.batch_norm' (C1): expected elements of floating point, got i32
func.func @batch_norm_c1(%a0: tensor<4x5xi32>, %a1: tensor<5xi32>, %a2: tensor<5xi32>, %a3: tensor<5xi32>, %a4: tensor<5xi32>) {
  %5 = tfc.batch_norm %a0 scale %a1 bias %a2 mean %a3 variance %a4 along 1 epsilon 1.000000e-03 : tensor<4x5xi32>, tensor<5xi32>, tensor<5xi32>, tensor<5xi32>, tensor<5xi32> -> tensor<4x5xi32>
  func.return
}

// -----

// There is no axis 2 in two dims.
// CHECK: error: 'tfc.batch_norm' (C2): expected an axis below 2, got 2
func.func @batch_norm_c2(%a0: tensor<4x5xf32>, %a1: tensor<5xf32>, %a2: tensor<5xf32>, %a3: tensor<5xf32>, %a4: tensor<5xf32>) {
  %5 = tfc.batch_norm %a0 scale %a1 bias %a2 mean %a3 variance %a4 along 2 epsilon 1.000000e-03 : tensor<4x5xf32>, tensor<5xf32>, tensor<5xf32>, tensor<5xf32>, tensor<5xf32> -> tensor<4x5xf32>
  func.return
}

// -----

// One mean for each channel.
// CHECK: error: 'tfc.batch_norm' (C3): expected tensor<5xf32>, got tensor<4xf32>
func.func @batch_norm_c3(%a0: tensor<4x5xf32>, %a1: tensor<5xf32>, %a2: tensor<5xf32>, %a3: tensor<4xf32>, %a4: tensor<5xf32>) {
  %5 = tfc.batch_norm %a0 scale %a1 bias %a2 mean %a3 variance %a4 along 1 epsilon 1.000000e-03 : tensor<4x5xf32>, tensor<5xf32>, tensor<5xf32>, tensor<4xf32>, tensor<5xf32> -> tensor<4x5xf32>
  func.return
}

// -----

// Powers need fractions.
// CHECK: error: 'tfc.lrn' (C1): expected elements of floating point, got i32
func.func @lrn_c1(%a0: tensor<4x5xi32>) {
  %1 = tfc.lrn %a0 along 1 size 5 alpha 1.000000e-01 beta 5.000000e-01 bias 1.000000e+00 : tensor<4x5xi32> -> tensor<4x5xi32>
  func.return
}

// -----

// At least the element itself is a neighbour.
// CHECK: error: 'tfc.lrn' (C2): expected a size of at least 1, got 0
func.func @lrn_c2(%a0: tensor<4x5xf32>) {
  %1 = tfc.lrn %a0 along 1 size 0 alpha 1.000000e-01 beta 5.000000e-01 bias 1.000000e+00 : tensor<4x5xf32> -> tensor<4x5xf32>
  func.return
}

// -----

// There is no axis 2 in two dims.
// CHECK: error: 'tfc.bias_add' (C1): expected numbers, an axis below 2, got f32, 2
func.func @bias_add_c1(%a0: tensor<4x5xf32>, %a1: tensor<5xf32>) {
  %2 = tfc.bias_add %a0, %a1 along 2 : tensor<4x5xf32>, tensor<5xf32> -> tensor<4x5xf32>
  func.return
}

// -----

// One bias for each channel.
// CHECK: error: 'tfc.bias_add' (C2): expected tensor<5xf32>, got tensor<4xf32>
func.func @bias_add_c2(%a0: tensor<4x5xf32>, %a1: tensor<4xf32>) {
  %2 = tfc.bias_add %a0, %a1 along 1 : tensor<4x5xf32>, tensor<4xf32> -> tensor<4x5xf32>
  func.return
}

// -----

// One entry for each dim.
// CHECK: error: 'tfc.average_pool' (C1): expected 1 entries each, got [2, 1, 2, 1, 1]
func.func @average_pool_c1(%a0: tensor<5xf32>) {
  %1 = tfc.average_pool %a0 window [2, 2] strides [1] low [0] high [0] include_pad : tensor<5xf32> -> tensor<4xf32>
  func.return
}

// -----

// A window of 7 does not fit into 5.
// CHECK: error: 'tfc.average_pool' (C2): expected windows that fit into [5], got [[7], [1], [1], [0], [0]]
func.func @average_pool_c2(%a0: tensor<5xf32>) {
  %1 = tfc.average_pool %a0 window [7] strides [1] low [0] high [0] include_pad : tensor<5xf32> -> tensor<4xf32>
  func.return
}

// -----

// Means of whole numbers lose their fraction.
// CHECK: error: 'tfc.average_pool' (C3): expected elements of floating point, got i32
func.func @average_pool_c3(%a0: tensor<5xi32>) {
  %1 = tfc.average_pool %a0 window [2] strides [1] low [0] high [0] include_pad : tensor<5xi32> -> tensor<4xi32>
  func.return
}

// -----

// Between whole numbers there is nothing.
// CHECK: error: 'tfc.resize_bilinear' (C1): expected elements of floating point, got i32
func.func @resize_bilinear_c1(%a0: tensor<1x2x2x3xi32>) {
  %1 = tfc.resize_bilinear %a0 to 4, 4 : tensor<1x2x2x3xi32> -> tensor<1x4x4x3xi32>
  func.return
}

// -----

// An image has a size.
// CHECK: error: 'tfc.resize_bilinear' (C2): expected four dims and static sizes >= 1, got tensor<1x2x2x3xf32> to [0, 4]
func.func @resize_bilinear_c2(%a0: tensor<1x2x2x3xf32>) {
  %1 = tfc.resize_bilinear %a0 to 0, 4 : tensor<1x2x2x3xf32> -> tensor<1x4x4x3xf32>
  func.return
}

// -----

// Two rules cannot hold at once.
// CHECK: error: 'tfc.resize_bilinear' (C3): expected align_corners or half_pixel, got both
func.func @resize_bilinear_c3(%a0: tensor<1x2x2x3xf32>) {
  %1 = tfc.resize_bilinear %a0 to 4, 4 align_corners half_pixel : tensor<1x2x2x3xf32> -> tensor<1x4x4x3xf32>
  func.return
}

// -----

// A class is a whole number.
// CHECK: error: 'tfc.one_hot' (C1): expected integers, an axis up to 1, a depth >= 0, got f32, 0, 3
func.func @one_hot_c1(%a0: tensor<4xf32>, %a1: tensor<f32>, %a2: tensor<f32>) {
  %3 = tfc.one_hot %a0, %a1, %a2 depth 3 along 0 : tensor<4xf32>, tensor<f32>, tensor<f32> -> tensor<3x4xf32>
  func.return
}

// -----

// Both values are single elements.
// CHECK: error: 'tfc.one_hot' (C2): expected single elements of one type, got tensor<1xf32> and tensor<f32>
func.func @one_hot_c2(%a0: tensor<4xi64>, %a1: tensor<1xf32>, %a2: tensor<f32>) {
  %3 = tfc.one_hot %a0, %a1, %a2 depth 3 along 0 : tensor<4xi64>, tensor<1xf32>, tensor<f32> -> tensor<3x4xf32>
  func.return
}

// -----

// Logits need fractions.
// CHECK: error: 'tfc.sparse_softmax_cross_entropy' (C1): expected floats of rank 1 or more, got tensor<4x5xi32>
func.func @sparse_softmax_cross_entropy_c1(%a0: tensor<4x5xi32>, %a1: tensor<4xi64>) {
  %2 = tfc.sparse_softmax_cross_entropy %a0, %a1 : tensor<4x5xi32>, tensor<4xi64> -> tensor<4xi32>
  func.return
}

// -----

// One label for each row.
// CHECK: error: 'tfc.sparse_softmax_cross_entropy' (C2): expected integers of shape [4], got tensor<5xi64>
func.func @sparse_softmax_cross_entropy_c2(%a0: tensor<4x5xf32>, %a1: tensor<5xi64>) {
  %2 = tfc.sparse_softmax_cross_entropy %a0, %a1 : tensor<4x5xf32>, tensor<5xi64> -> tensor<4xf32>
  func.return
}

// -----

// Half of an odd number is no whole one.
// CHECK: error: 'tfc.l2_loss' (C1): expected elements of floating point, got i32
func.func @l2_loss_c1(%a0: tensor<5xi32>) {
  %1 = tfc.l2_loss %a0 : tensor<5xi32> -> tensor<i32>
  func.return
}

// -----

// Operands have one type.
// CHECK: error: 'tfc.add_n' (C1): expected tensor<5xf32>, got tensor<4xf32>
func.func @add_n_c1(%a0: tensor<5xf32>, %a1: tensor<4xf32>) {
  %2 = tfc.add_n %a0, %a1 : tensor<5xf32>, tensor<4xf32> -> tensor<5xf32>
  func.return
}
