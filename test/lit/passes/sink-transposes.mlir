// RUN: tfc-opt %s -p sink-transposes,fold-constants,canonicalize | filecheck %s

// Between two convolutions of a channels-first network nothing is transposed: neither the bias,
// nor the skip connection, nor the pooling cares.
// CHECK-LABEL: func.func @block
// CHECK-SAME:  (%[[X:.*]]: tensor<1x2x4x4xf32>, %[[W:.*]]: tensor<1x1x2x2xf32>, %[[B:.*]]: tensor<2xf32>)
// CHECK-NEXT:    %[[T:.*]] = tfc.transpose %[[X]] by [0, 2, 3, 1]
// CHECK-NEXT:    %[[C:.*]] = tfc.convolution %[[T]]
// CHECK-NEXT:    %[[BB:.*]] = tfc.broadcast %[[B]] to [1, 4, 4, 2] at [3]
// CHECK-NEXT:    %[[S:.*]] = tfc.add %[[C]], %[[BB]]
// CHECK-NEXT:    %[[R:.*]] = tfc.relu %[[S]]
// CHECK-NEXT:    %[[P:.*]] = tfc.window_reduce max %[[R]] window [1, 3, 3, 1]
// CHECK-NEXT:    %[[D:.*]] = tfc.convolution %[[P]]
// CHECK-NEXT:    %[[A:.*]] = tfc.add %[[D]], %[[R]]
// CHECK-NEXT:    %[[M:.*]] = tfc.reduce sum %[[A]] over [1, 2]
// CHECK-NEXT:    func.return %[[M]]
func.func @block(%x : tensor<1x2x4x4xf32>, %w : tensor<1x1x2x2xf32>, %b : tensor<2xf32>) -> tensor<1x2xf32> {
  %t = tfc.transpose %x by [0, 2, 3, 1] : tensor<1x2x4x4xf32> -> tensor<1x4x4x2xf32>
  %c = tfc.convolution %t, %w strides [1, 1] dilations [1, 1] low [0, 0] high [0, 0] groups 1 : tensor<1x4x4x2xf32>, tensor<1x1x2x2xf32> -> tensor<1x4x4x2xf32>
  %u = tfc.transpose %c by [0, 3, 1, 2] : tensor<1x4x4x2xf32> -> tensor<1x2x4x4xf32>
  %bb = tfc.broadcast %b to [1, 2, 4, 4] at [1] : tensor<2xf32> -> tensor<1x2x4x4xf32>
  %s = tfc.add %u, %bb : tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32> -> tensor<1x2x4x4xf32>
  %r = tfc.relu %s : tensor<1x2x4x4xf32> -> tensor<1x2x4x4xf32>
  %p = tfc.window_reduce max %r window [1, 1, 3, 3] strides [1, 1, 1, 1] dilations [1, 1, 1, 1] low [0, 0, 1, 1] high [0, 0, 1, 1] : tensor<1x2x4x4xf32> -> tensor<1x2x4x4xf32>
  %v = tfc.transpose %p by [0, 2, 3, 1] : tensor<1x2x4x4xf32> -> tensor<1x4x4x2xf32>
  %d = tfc.convolution %v, %w strides [1, 1] dilations [1, 1] low [0, 0] high [0, 0] groups 1 : tensor<1x4x4x2xf32>, tensor<1x1x2x2xf32> -> tensor<1x4x4x2xf32>
  %e = tfc.transpose %d by [0, 3, 1, 2] : tensor<1x4x4x2xf32> -> tensor<1x2x4x4xf32>
  %a = tfc.add %e, %r : tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32> -> tensor<1x2x4x4xf32>
  %m = tfc.reduce sum %a over [2, 3] : tensor<1x2x4x4xf32> -> tensor<1x2xf32>
  func.return %m : tensor<1x2xf32>
}

// Dense blocks concatenate channels, wherever they lie; slices of them come back.
// CHECK-LABEL: func.func @concat
// CHECK-SAME:  (%[[X:.*]]: tensor<1x4x4x2xf32>, %[[Y:.*]]: tensor<1x4x4x3xf32>)
// CHECK-NEXT:    %[[C:.*]] = tfc.concat %[[X]], %[[Y]] along 3
// CHECK-NEXT:    %[[S:.*]] = tfc.slice %[[C]] from [0, 0, 0, 1] sizes [1, 4, 4, 2]
// CHECK-NEXT:    func.return %[[S]]
func.func @concat(%x : tensor<1x4x4x2xf32>, %y : tensor<1x4x4x3xf32>) -> tensor<1x4x4x2xf32> {
  %u = tfc.transpose %x by [0, 3, 1, 2] : tensor<1x4x4x2xf32> -> tensor<1x2x4x4xf32>
  %v = tfc.transpose %y by [0, 3, 1, 2] : tensor<1x4x4x3xf32> -> tensor<1x3x4x4xf32>
  %c = tfc.concat %u, %v along 1 : tensor<1x2x4x4xf32>, tensor<1x3x4x4xf32> -> tensor<1x5x4x4xf32>
  %s = tfc.slice %c from [0, 1, 0, 0] sizes [1, 2, 4, 4] strides [1, 1, 1, 1] : tensor<1x5x4x4xf32> -> tensor<1x2x4x4xf32>
  %t = tfc.transpose %s by [0, 2, 3, 1] : tensor<1x2x4x4xf32> -> tensor<1x4x4x2xf32>
  func.return %t : tensor<1x4x4x2xf32>
}

// A channel shuffle moves channels once, and the image not at all.
// CHECK-LABEL: func.func @shuffle
// CHECK-SAME:  (%[[X:.*]]: tensor<1x5x5x6xf32>)
// CHECK-NEXT:    %[[A:.*]] = tfc.reshape %[[X]] to [1, 5, 5, 2, 3]
// CHECK-NEXT:    %[[T:.*]] = tfc.transpose %[[A]] by [0, 1, 2, 4, 3]
// CHECK-NEXT:    %[[B:.*]] = tfc.reshape %[[T]] to [1, 5, 5, 6]
// CHECK-NEXT:    func.return %[[B]]
func.func @shuffle(%x : tensor<1x5x5x6xf32>) -> tensor<1x5x5x6xf32> {
  %a = tfc.transpose %x by [0, 3, 1, 2] : tensor<1x5x5x6xf32> -> tensor<1x6x5x5xf32>
  %b = tfc.reshape %a to [1, 2, 3, 5, 5] : tensor<1x6x5x5xf32> -> tensor<1x2x3x5x5xf32>
  %c = tfc.transpose %b by [0, 2, 1, 3, 4] : tensor<1x2x3x5x5xf32> -> tensor<1x3x2x5x5xf32>
  %d = tfc.reshape %c to [1, 6, 5, 5] : tensor<1x3x2x5x5xf32> -> tensor<1x6x5x5xf32>
  %e = tfc.transpose %d by [0, 2, 3, 1] : tensor<1x6x5x5xf32> -> tensor<1x5x5x6xf32>
  func.return %e : tensor<1x5x5x6xf32>
}

// The heads of an attention are read where they are: a contraction names its dims.
// CHECK-LABEL: func.func @attention
// CHECK-SAME:  (%[[Q:.*]]: tensor<2x8x4x16xf32>, %[[K:.*]]: tensor<2x8x4x16xf32>)
// CHECK-NEXT:    %[[D:.*]] = tfc.dot %[[Q]], %[[K]] batch [0, 2], [0, 2] contract [3], [3]
// CHECK-NEXT:    func.return %[[D]]
func.func @attention(%q : tensor<2x8x4x16xf32>, %k : tensor<2x8x4x16xf32>) -> tensor<2x4x8x8xf32> {
  %a = tfc.transpose %q by [0, 2, 1, 3] : tensor<2x8x4x16xf32> -> tensor<2x4x8x16xf32>
  %b = tfc.transpose %k by [0, 2, 3, 1] : tensor<2x8x4x16xf32> -> tensor<2x4x16x8xf32>
  %d = tfc.dot %a, %b batch [0, 1], [0, 1] contract [3], [2] : tensor<2x4x8x16xf32>, tensor<2x4x16x8xf32> -> tensor<2x4x8x8xf32>
  func.return %d : tensor<2x4x8x8xf32>
}

// A result of the function has the order that it says: one transpose is written, at the end.
// CHECK-LABEL: func.func @result
// CHECK-SAME:  (%[[X:.*]]: tensor<3x5xf32>)
// CHECK-NEXT:    %[[E:.*]] = tfc.exp %[[X]]
// CHECK-NEXT:    %[[T:.*]] = tfc.transpose %[[E]] by [1, 0]
// CHECK-NEXT:    func.return %[[T]]
func.func @result(%x : tensor<3x5xf32>) -> tensor<5x3xf32> {
  %t = tfc.transpose %x by [1, 0] : tensor<3x5xf32> -> tensor<5x3xf32>
  %e = tfc.exp %t : tensor<5x3xf32> -> tensor<5x3xf32>
  func.return %e : tensor<5x3xf32>
}

// Two inputs in different orders: one of them must move, and nothing is gained by moving the other.
// CHECK-LABEL: func.func @mixed
// CHECK-SAME:  (%[[X:.*]]: tensor<3x5xf32>, %[[Y:.*]]: tensor<5x3xf32>)
// CHECK-NEXT:    %[[T:.*]] = tfc.transpose %[[X]] by [1, 0]
// CHECK-NEXT:    tfc.add %[[T]], %[[Y]]
func.func @mixed(%x : tensor<3x5xf32>, %y : tensor<5x3xf32>) -> tensor<5x3xf32> {
  %t = tfc.transpose %x by [1, 0] : tensor<3x5xf32> -> tensor<5x3xf32>
  %e = tfc.add %t, %y : tensor<5x3xf32>, tensor<5x3xf32> -> tensor<5x3xf32>
  func.return %e : tensor<5x3xf32>
}

// What moves to the end stays on the device of the value.
// CHECK-LABEL: func.func @device
// CHECK-NEXT:    %[[E:.*]] = tfc.exp %{{.*}} {tfc.device = "/device:GPU:0"}
// CHECK-NEXT:    tfc.transpose %[[E]] by [1, 0] {tfc.device = "/device:GPU:0"}
func.func @device(%x : tensor<3x5xf32>) -> tensor<5x3xf32> {
  %t = tfc.transpose %x by [1, 0] {tfc.device = "/device:GPU:0"} : tensor<3x5xf32> -> tensor<5x3xf32>
  %e = tfc.exp %t {tfc.device = "/device:GPU:0"} : tensor<5x3xf32> -> tensor<5x3xf32>
  func.return %e : tensor<5x3xf32>
}

// So does one of an argument.
// CHECK-LABEL: func.func @argument
// CHECK-NEXT:    tfc.transpose %{{.*}} by [1, 0] {tfc.device = "/device:GPU:0"}
func.func @argument(%x : tensor<3x5xf32> {tfc.device = "/device:GPU:0"}) -> tensor<5x3xf32> {
  %t = tfc.transpose %x by [1, 0] {tfc.device = "/device:GPU:0"} : tensor<3x5xf32> -> tensor<5x3xf32>
  func.return %t : tensor<5x3xf32>
}
