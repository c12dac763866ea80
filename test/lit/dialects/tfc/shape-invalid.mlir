// RUN: tfc-opt %s --verify-diagnostics --split-input-file | filecheck %s

// Operations that move elements: each constraint of their docstrings, broken once.

// No element is lost or made up.
// CHECK: error: 'tfc.reshape' (C1): expected 6 elements, got 7
func.func @reshape_c1(%a0: tensor<2x3xf32>) {
  %1 = tfc.reshape %a0 to [7] : tensor<2x3xf32> -> tensor<6xf32>
  func.return
}

// -----

// Axis 0 appears twice.
// CHECK: error: 'tfc.transpose' (C1): expected a permutation of [0, 1], got [0, 0]
func.func @transpose_c1(%a0: tensor<2x3xf32>) {
  %1 = tfc.transpose %a0 by [0, 0] : tensor<2x3xf32> -> tensor<3x2xf32>
  func.return
}

// -----

// Dims of the operand keep their order.
// CHECK: error: 'tfc.broadcast' (C1): expected 2 increasing dims below 2, got [1, 0]
func.func @broadcast_c1(%a0: tensor<2x3xf32>) {
  %1 = tfc.broadcast %a0 to [2, 3] at [1, 0] : tensor<2x3xf32> -> tensor<2x3xf32>
  func.return
}

// -----

// Only an extent of 1 stretches.
// CHECK: error: 'tfc.broadcast' (C2): expected extent 1 or 4, got 2
func.func @broadcast_c2(%a0: tensor<2x3xf32>) {
  %1 = tfc.broadcast %a0 to [4, 3] at [0, 1] : tensor<2x3xf32> -> tensor<2x3xf32>
  func.return
}

// -----

// One start for each dim.
// CHECK: error: 'tfc.slice' (C1): expected 2 of each, got [1, 2, 2]
func.func @slice_c1(%a0: tensor<4x5xf32>) {
  %1 = tfc.slice %a0 from [0] sizes [2, 2] strides [1, 1] : tensor<4x5xf32> -> tensor<2x2xf32>
  func.return
}

// -----

// A stride is at least 1; tfc.reverse goes backwards.
// CHECK: error: 'tfc.slice' (C2): expected starts and sizes >= 0, strides >= 1, got (0, 1), (2, 2), [1, -1]
func.func @slice_c2(%a0: tensor<4x5xf32>) {
  %1 = tfc.slice %a0 from [0, 1] sizes [2, 2] strides [1, -1] : tensor<4x5xf32> -> tensor<2x2xf32>
  func.return
}

// -----

// The last element would be number 6 of 5.
// CHECK: error: 'tfc.slice' (C3): expected an end of at most 5 in dim 1, got 6
func.func @slice_c3(%a0: tensor<4x5xf32>) {
  %1 = tfc.slice %a0 from [0, 1] sizes [2, 5] strides [1, 1] : tensor<4x5xf32> -> tensor<2x2xf32>
  func.return
}

// -----

// An axis is turned once.
// CHECK: error: 'tfc.reverse' (C1): expected distinct axes below 2, got [0, 0]
func.func @reverse_c1(%a0: tensor<4x5xf32>) {
  %1 = tfc.reverse %a0 along [0, 0] : tensor<4x5xf32> -> tensor<4x5xf32>
  func.return
}

// -----

// Padding is not negative; tfc.slice cuts off.
// CHECK: error: 'tfc.pad' (C1): expected 2 amounts >= 0, got [[-1, 0], [1, 1], [0, 0]]
func.func @pad_c1(%a0: tensor<4x5xf32>, %a1: tensor<f32>) {
  %2 = tfc.pad %a0 with %a1 low [-1, 0] high [1, 1] interior [0, 0] : tensor<4x5xf32>, tensor<f32> -> tensor<5x6xf32>
  func.return
}

// -----

// What is put around is of the elements' type.
// CHECK: error: 'tfc.pad' (C2): expected tensor<f32>, got tensor<f64>
func.func @pad_c2(%a0: tensor<4x5xf32>, %a1: tensor<f64>) {
  %2 = tfc.pad %a0 with %a1 low [0, 0] high [1, 1] interior [0, 0] : tensor<4x5xf32>, tensor<f64> -> tensor<5x6xf32>
  func.return
}

// -----

// There is no axis 2 in two dims.
// CHECK: error: 'tfc.concat' (C1): expected an axis of the operands, got 2 of [2, 2]
func.func @concat_c1(%a0: tensor<4x5xf32>, %a1: tensor<4x5xf32>) {
  %2 = tfc.concat %a0, %a1 along 2 : tensor<4x5xf32>, tensor<4x5xf32> -> tensor<4x10xf32>
  func.return
}

// -----

// All other extents are equal.
// CHECK: error: 'tfc.concat' (C2): expected tensor<4x5xf32> but for dim 1, got tensor<3x5xf32>
func.func @concat_c2(%a0: tensor<4x5xf32>, %a1: tensor<3x5xf32>) {
  %2 = tfc.concat %a0, %a1 along 1 : tensor<4x5xf32>, tensor<3x5xf32> -> tensor<4x10xf32>
  func.return
}

// -----

// A band has two dims.
// CHECK: error: 'tfc.band_part' (C1): expected two dims or more, got tensor<5xf32>
func.func @band_part_c1(%a0: tensor<5xf32>) {
  %1 = tfc.band_part %a0 lower 0 upper 0 : tensor<5xf32> -> tensor<5xf32>
  func.return
}

// -----

// Positions are whole numbers.
// CHECK: error: 'tfc.gather' (C1): expected indices of integers, got tensor<3xf32>
func.func @gather_c1(%a0: tensor<4x5xf32>, %a1: tensor<3xf32>) {
  %2 = tfc.gather %a0 at %a1 along 0 batch 0 : tensor<4x5xf32>, tensor<3xf32> -> tensor<3x5xf32>
  func.return
}

// -----

// There is no axis 2 in two dims.
// CHECK: error: 'tfc.gather' (C2): expected 0 <= batch_dims <= 1 and batch_dims <= axis < 2, got 0 and 2
func.func @gather_c2(%a0: tensor<4x5xf32>, %a1: tensor<3xi64>) {
  %2 = tfc.gather %a0 at %a1 along 2 batch 0 : tensor<4x5xf32>, tensor<3xi64> -> tensor<3x5xf32>
  func.return
}

// -----

// Batch dims go together.
// CHECK: error: 'tfc.gather' (C3): expected batch dims [4], got [3]
func.func @gather_c3(%a0: tensor<4x5xf32>, %a1: tensor<3x3xi64>) {
  %2 = tfc.gather %a0 at %a1 along 1 batch 1 : tensor<4x5xf32>, tensor<3x3xi64> -> tensor<4x3xf32>
  func.return
}

// -----

// One position for each element, so one rank.
// CHECK: error: 'tfc.gather_elements' (C1): expected integers of rank 2, got tensor<3xi64>
func.func @gather_elements_c1(%a0: tensor<4x5xf32>, %a1: tensor<3xi64>) {
  %2 = tfc.gather_elements %a0 at %a1 along 1 : tensor<4x5xf32>, tensor<3xi64> -> tensor<4x3xf32>
  func.return
}

// -----

// Row 4 of the positions has no row of elements.
// CHECK: error: 'tfc.gather_elements' (C2): expected an axis and extents within [4, 5], got 1 and [5, 3]
func.func @gather_elements_c2(%a0: tensor<4x5xf32>, %a1: tensor<5x3xi64>) {
  %2 = tfc.gather_elements %a0 at %a1 along 1 : tensor<4x5xf32>, tensor<5x3xi64> -> tensor<4x3xf32>
  func.return
}

// -----

// The rank of the result is known, so the list's length is.
// CHECK: error: 'tfc.dynamic_reshape' (C1): expected tensor<n x i64> with a static number of entries, got tensor<?xi64>
func.func @dynamic_reshape_c1(%a0: tensor<4x5xf32>, %a1: tensor<?xi64>) {
  %2 = tfc.dynamic_reshape %a0 to %a1 : tensor<4x5xf32>, tensor<?xi64> -> tensor<?x?xf32>
  func.return
}

// -----

// A shape is a list.
// CHECK: error: 'tfc.dynamic_broadcast' (C1): expected tensor<n x i64> with a static number of entries, got tensor<2x2xi64>
func.func @dynamic_broadcast_c1(%a0: tensor<4x5xf32>, %a1: tensor<2x2xi64>) {
  %2 = tfc.dynamic_broadcast %a0 to %a1 : tensor<4x5xf32>, tensor<2x2xi64> -> tensor<?x?xf32>
  func.return
}

// -----

// One limit for each dim.
// CHECK: error: 'tfc.dynamic_slice' (C1): expected tensor<n x i64> with 2 of entries, got tensor<1xi64>
func.func @dynamic_slice_c1(%a0: tensor<4x5xf32>, %a1: tensor<2xi64>, %a2: tensor<1xi64>, %a3: tensor<2xi64>) {
  %4 = tfc.dynamic_slice %a0 from %a1 to %a2 by %a3 : tensor<4x5xf32>, tensor<2xi64>, tensor<1xi64>, tensor<2xi64> -> tensor<?x?xf32>
  func.return
}

// -----

// One amount for each dim.
// CHECK: error: 'tfc.dynamic_pad' (C1): expected tensor<n x i64> with 2 of entries, got tensor<3xi64>
func.func @dynamic_pad_c1(%a0: tensor<4x5xf32>, %a1: tensor<f32>, %a2: tensor<2xi64>, %a3: tensor<3xi64>) {
  %4 = tfc.dynamic_pad %a0 with %a1 low %a2 high %a3 : tensor<4x5xf32>, tensor<f32>, tensor<2xi64>, tensor<3xi64> -> tensor<?x?xf32>
  func.return
}

// -----

// What is put around is one element.
// CHECK: error: 'tfc.dynamic_pad' (C2): expected tensor<f32>, got tensor<2xf32>
func.func @dynamic_pad_c2(%a0: tensor<4x5xf32>, %a1: tensor<2xf32>, %a2: tensor<2xi64>, %a3: tensor<2xi64>) {
  %4 = tfc.dynamic_pad %a0 with %a1 low %a2 high %a3 : tensor<4x5xf32>, tensor<2xf32>, tensor<2xi64>, tensor<2xi64> -> tensor<?x?xf32>
  func.return
}
