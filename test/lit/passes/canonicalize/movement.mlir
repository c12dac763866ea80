// RUN: tfc-opt %s -p canonicalize | filecheck %s

// Two rotations of three axes make the third rotation; a third one makes none.
// CHECK-LABEL: func.func @transposes
// CHECK-SAME:  (%[[X:.*]]: tensor<2x3x5xf32>)
// CHECK-NEXT:    %[[Y:.*]] = tfc.transpose %[[X]] by [2, 0, 1]
// CHECK-NEXT:    func.return %[[Y]], %[[X]]
func.func @transposes(%x : tensor<2x3x5xf32>) -> (tensor<5x2x3xf32>, tensor<2x3x5xf32>) {
  %a = tfc.transpose %x by [1, 2, 0] : tensor<2x3x5xf32> -> tensor<3x5x2xf32>
  %b = tfc.transpose %a by [1, 2, 0] : tensor<3x5x2xf32> -> tensor<5x2x3xf32>
  %c = tfc.transpose %b by [1, 2, 0] : tensor<5x2x3xf32> -> tensor<2x3x5xf32>
  func.return %b, %c : tensor<5x2x3xf32>, tensor<2x3x5xf32>
}

// Reshapes compose, and one to the same shape goes away.
// CHECK-LABEL: func.func @reshapes
// CHECK-SAME:  (%[[X:.*]]: tensor<6x4xf32>)
// CHECK-NEXT:    %[[Y:.*]] = tfc.reshape %[[X]] to [2, 12]
// CHECK-NEXT:    func.return %[[Y]], %[[X]]
func.func @reshapes(%x : tensor<6x4xf32>) -> (tensor<2x12xf32>, tensor<6x4xf32>) {
  %a = tfc.reshape %x to [24] : tensor<6x4xf32> -> tensor<24xf32>
  %b = tfc.reshape %a to [2, 12] : tensor<24xf32> -> tensor<2x12xf32>
  %c = tfc.reshape %b to [6, 4] : tensor<2x12xf32> -> tensor<6x4xf32>
  func.return %b, %c : tensor<2x12xf32>, tensor<6x4xf32>
}

// Two extents that are not known may differ: the reshape stays. One name is one extent.
// CHECK-LABEL: func.func @unknown_extents
// CHECK-SAME:  (%[[X:.*]]: tensor<?x4xf32>, %[[Y:.*]]: tensor<?x4xf32, #tfc.dims<["n", ""]>>)
// CHECK-NEXT:    %[[A:.*]] = tfc.reshape %[[X]]
// CHECK-NEXT:    func.return %[[A]], %[[Y]]
func.func @unknown_extents(%x : tensor<?x4xf32>, %y : tensor<?x4xf32, #tfc.dims<["n", ""]>>)
    -> (tensor<?x4xf32>, tensor<?x4xf32, #tfc.dims<["n", ""]>>) {
  %a = tfc.reshape %x to ["__unknown__", 4] : tensor<?x4xf32> -> tensor<?x4xf32>
  %b = tfc.reshape %y to ["n", 4] : tensor<?x4xf32, #tfc.dims<["n", ""]>> -> tensor<?x4xf32, #tfc.dims<["n", ""]>>
  func.return %a, %b : tensor<?x4xf32>, tensor<?x4xf32, #tfc.dims<["n", ""]>>
}

// A bias brought to rank four by a reshape is broadcast from its one dim.
// CHECK-LABEL: func.func @bias
// CHECK-SAME:  (%[[B:.*]]: tensor<8xf32>)
// CHECK-NEXT:    %[[Y:.*]] = tfc.broadcast %[[B]] to [2, 8, 5, 5] at [1]
// CHECK-NEXT:    func.return %[[Y]]
func.func @bias(%b : tensor<8xf32>) -> tensor<2x8x5x5xf32> {
  %a = tfc.reshape %b to [1, 8, 1, 1] : tensor<8xf32> -> tensor<1x8x1x1xf32>
  %y = tfc.broadcast %a to [2, 8, 5, 5] at [0, 1, 2, 3] : tensor<1x8x1x1xf32> -> tensor<2x8x5x5xf32>
  func.return %y : tensor<2x8x5x5xf32>
}

// Elements are computed before they are repeated.
// CHECK-LABEL: func.func @compute_before_broadcast
// CHECK-SAME:  (%[[X:.*]]: tensor<8xf32>, %[[Y:.*]]: tensor<8xf32>)
// CHECK:         %[[C:.*]] = tfc.constant splat 3.0 : tensor<8xf32>
// CHECK:         %[[D:.*]] = tfc.div %[[X]], %[[C]] : tensor<8xf32>
// CHECK:         %[[S:.*]] = tfc.add %[[D]], %[[Y]] : tensor<8xf32>
// CHECK-NEXT:    %[[B:.*]] = tfc.broadcast %[[S]] to [4, 8] at [1]
// CHECK-NEXT:    func.return %[[B]]
func.func @compute_before_broadcast(%x : tensor<8xf32>, %y : tensor<8xf32>) -> tensor<4x8xf32> {
  %c = tfc.constant splat 3.0 : tensor<4x8xf32>
  %u = tfc.broadcast %x to [4, 8] at [1] : tensor<8xf32> -> tensor<4x8xf32>
  %v = tfc.broadcast %y to [4, 8] at [1] : tensor<8xf32> -> tensor<4x8xf32>
  %d = tfc.div %u, %c : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<4x8xf32>
  %s = tfc.add %d, %v : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<4x8xf32>
  func.return %s : tensor<4x8xf32>
}

// A row and a column meet in a full tensor: nothing may happen.
// CHECK-LABEL: func.func @outer_sum
// CHECK:         tfc.broadcast
// CHECK:         tfc.broadcast
// CHECK:         tfc.add {{.*}} -> tensor<4x4xf32>
func.func @outer_sum(%x : tensor<4xf32>, %y : tensor<4xf32>) -> tensor<4x4xf32> {
  %u = tfc.broadcast %x to [4, 4] at [1] : tensor<4xf32> -> tensor<4x4xf32>
  %v = tfc.broadcast %y to [4, 4] at [0] : tensor<4xf32> -> tensor<4x4xf32>
  %s = tfc.add %u, %v : tensor<4x4xf32>, tensor<4x4xf32> -> tensor<4x4xf32>
  func.return %s : tensor<4x4xf32>
}

// Slices compose; a slice of a concatenation reads the part that it lies in.
// CHECK-LABEL: func.func @slices
// CHECK-SAME:  (%[[X:.*]]: tensor<9xf32>, %[[Y:.*]]: tensor<9xf32>)
// CHECK-NEXT:    %[[A:.*]] = tfc.slice %[[X]] from [3] sizes [2] strides [4]
// CHECK-NEXT:    %[[B:.*]] = tfc.slice %[[Y]] from [2] sizes [3] strides [1]
// CHECK-NEXT:    func.return %[[A]], %[[B]]
func.func @slices(%x : tensor<9xf32>, %y : tensor<9xf32>) -> (tensor<2xf32>, tensor<3xf32>) {
  %a = tfc.slice %x from [1] sizes [4] strides [2] : tensor<9xf32> -> tensor<4xf32>
  %b = tfc.slice %a from [1] sizes [2] strides [2] : tensor<4xf32> -> tensor<2xf32>
  %c = tfc.concat %x, %y along 0 : tensor<9xf32>, tensor<9xf32> -> tensor<18xf32>
  %d = tfc.slice %c from [11] sizes [3] strides [1] : tensor<18xf32> -> tensor<3xf32>
  func.return %b, %d : tensor<2xf32>, tensor<3xf32>
}

// One that reaches into both parts stays.
// CHECK-LABEL: func.func @slice_across
// CHECK:         tfc.concat
// CHECK:         tfc.slice
func.func @slice_across(%x : tensor<9xf32>, %y : tensor<9xf32>) -> tensor<3xf32> {
  %c = tfc.concat %x, %y along 0 : tensor<9xf32>, tensor<9xf32> -> tensor<18xf32>
  %d = tfc.slice %c from [8] sizes [3] strides [1] : tensor<18xf32> -> tensor<3xf32>
  func.return %d : tensor<3xf32>
}

// Gathering a row by a constant is a slice.
// CHECK-LABEL: func.func @gather
// CHECK-SAME:  (%[[X:.*]]: tensor<4x6xf32>)
// CHECK:         %[[S:.*]] = tfc.slice %[[X]] from [2, 0] sizes [1, 6] strides [1, 1]
// CHECK-NEXT:    %[[R:.*]] = tfc.reshape %[[S]] to [6]
func.func @gather(%x : tensor<4x6xf32>) -> tensor<6xf32> {
  %i = tfc.constant 2 : tensor<i64>
  %a = tfc.gather %x at %i along 0 batch 0 : tensor<4x6xf32>, tensor<i64> -> tensor<6xf32>
  func.return %a : tensor<6xf32>
}

// Zeros around the input of a convolution, or least values around that of a maximum, are its padding.
// CHECK-LABEL: func.func @padding
// CHECK-SAME:  (%[[X:.*]]: tensor<1x4x4x2xf32>, %[[W:.*]]: tensor<3x3x2x2xf32>)
// CHECK-NEXT:    tfc.convolution %[[X]], %[[W]] strides [1, 1] dilations [1, 1] low [1, 2] high [1, 0]
// CHECK-NEXT:    tfc.window_reduce max %[[X]] {{.*}} low [0, 1, 1, 0] high [0, 0, 0, 0]
func.func @padding(%x : tensor<1x4x4x2xf32>, %w : tensor<3x3x2x2xf32>) -> (tensor<1x4x4x2xf32>, tensor<1x2x2x2xf32>) {
  %z = tfc.constant 0.0 : tensor<f32>
  %m = tfc.constant -inf : tensor<f32>
  %a = tfc.pad %x with %z low [0, 1, 1, 0] high [0, 1, 0, 0] interior [0, 0, 0, 0] : tensor<1x4x4x2xf32>, tensor<f32> -> tensor<1x6x5x2xf32>
  %b = tfc.convolution %a, %w strides [1, 1] dilations [1, 1] low [0, 1] high [0, 0] groups 1 : tensor<1x6x5x2xf32>, tensor<3x3x2x2xf32> -> tensor<1x4x4x2xf32>
  %c = tfc.pad %x with %m low [0, 1, 1, 0] high [0, 0, 0, 0] interior [0, 0, 0, 0] : tensor<1x4x4x2xf32>, tensor<f32> -> tensor<1x5x5x2xf32>
  %d = tfc.window_reduce max %c window [1, 2, 2, 1] strides [1, 2, 2, 1] dilations [1, 1, 1, 1] low [0, 0, 0, 0] high [0, 0, 0, 0] : tensor<1x5x5x2xf32> -> tensor<1x2x2x2xf32>
  func.return %b, %d : tensor<1x4x4x2xf32>, tensor<1x2x2x2xf32>
}

// A reduction over extents of 1 is a reshape; two of one kind are one where nothing is rounded.
// CHECK-LABEL: func.func @reductions
// CHECK-SAME:  (%[[X:.*]]: tensor<4x1x6xf32>)
// CHECK-NEXT:    %[[R:.*]] = tfc.reshape %[[X]] to [4, 6]
// CHECK-NEXT:    %[[M:.*]] = tfc.reduce max %[[X]] over [0, 2]
// CHECK:         tfc.reduce sum
// CHECK:         tfc.reduce sum
func.func @reductions(%x : tensor<4x1x6xf32>) -> (tensor<4x6xf32>, tensor<1xf32>, tensor<1xf32>) {
  %r = tfc.reduce sum %x over [1] : tensor<4x1x6xf32> -> tensor<4x6xf32>
  %a = tfc.reduce max %x over [0] : tensor<4x1x6xf32> -> tensor<1x6xf32>
  %m = tfc.reduce max %a over [1] : tensor<1x6xf32> -> tensor<1xf32>
  %b = tfc.reduce sum %x over [0] : tensor<4x1x6xf32> -> tensor<1x6xf32>
  %s = tfc.reduce sum %b over [1] : tensor<1x6xf32> -> tensor<1xf32>
  func.return %r, %m, %s : tensor<4x6xf32>, tensor<1xf32>, tensor<1xf32>
}
