// RUN: tfc-opt %s -p split-reductions --split-input-file | filecheck %s

// A long row is cut into pieces, so that threads have something to share.
// CHECK-LABEL: func.func @loss
// CHECK:         %[[P:.*]] = tfc.reshape %{{.*}} to [64, 16384]
// CHECK-NEXT:    %[[Q:.*]] = tfc.reduce sum %[[P]] over [1]
// CHECK-NEXT:    tfc.reduce sum %[[Q]] over [0]
func.func @loss(%x : tensor<1048576xf32>) -> tensor<f32> {
  %y = tfc.reduce sum %x over [0] : tensor<1048576xf32> -> tensor<f32>
  func.return %y : tensor<f32>
}

// -----

// The gradient of a bias: rows are cut, columns stay vectors.
// CHECK-LABEL: func.func @bias
// CHECK:         tfc.reshape %{{.*}} to [64, 64, 768]
// CHECK-NEXT:    tfc.reduce sum %{{.*}} over [1] : tensor<64x64x768xf32> -> tensor<64x768xf32>
// CHECK-NEXT:    tfc.reduce sum %{{.*}} over [0] : tensor<64x768xf32> -> tensor<768xf32>
func.func @bias(%x : tensor<4096x768xf32>) -> tensor<768xf32> {
  %y = tfc.reduce sum %x over [0] : tensor<4096x768xf32> -> tensor<768xf32>
  func.return %y : tensor<768xf32>
}

// -----

// Where an axis is of the right size already, nothing is reshaped.
// CHECK-LABEL: func.func @axis
// CHECK-NOT:     tfc.reshape
// CHECK:         tfc.reduce max %{{.*}} over [1, 2] : tensor<100x100x100xf32> -> tensor<100xf32>
func.func @axis(%x : tensor<100x100x100xf32>) -> tensor<f32> {
  %y = tfc.reduce max %x over [0, 1, 2] : tensor<100x100x100xf32> -> tensor<f32>
  func.return %y : tensor<f32>
}

// -----

// A prime is padded with what changes nothing; halves are added in f32 and rounded once.
// CHECK-LABEL: func.func @prime
// CHECK:         tfc.cast %{{.*}} to f32
// CHECK:         tfc.pad
// CHECK:         tfc.reshape %{{.*}} to [61, 16394]
// CHECK:         tfc.cast %{{.*}} to f16
func.func @prime(%x : tensor<1000003xf16>) -> tensor<f16> {
  %y = tfc.reduce sum %x over [0] : tensor<1000003xf16> -> tensor<f16>
  func.return %y : tensor<f16>
}

// -----

// Enough rows for all threads, and short inputs, stay as they are.
// CHECK-LABEL: func.func @enough
// CHECK-COUNT-2: tfc.reduce
// CHECK-NOT:     tfc.reduce
func.func @enough(%x : tensor<64x16384xf32>, %z : tensor<1000xf32>) -> (tensor<64xf32>, tensor<f32>) {
  %y = tfc.reduce sum %x over [1] : tensor<64x16384xf32> -> tensor<64xf32>
  %s = tfc.reduce sum %z over [0] : tensor<1000xf32> -> tensor<f32>
  func.return %y, %s : tensor<64xf32>, tensor<f32>
}

// -----

// A GPU has more to keep busy: 24 blocks of columns become 384.
// CHECK-LABEL: func.func @bias_on_gpu
// CHECK:         tfc.reshape %{{.*}} to [16, 256, 768]
// CHECK-NEXT:    tfc.reduce sum %{{.*}} over [1] {tfc.device = "/device:GPU:0"}
// CHECK-NEXT:    tfc.reduce sum %{{.*}} over [0] {tfc.device = "/device:GPU:0"}
func.func @bias_on_gpu(%x : tensor<4096x768xf32>) -> tensor<768xf32> {
  %y = tfc.reduce sum %x over [0] {tfc.device = "/device:GPU:0"} : tensor<4096x768xf32> -> tensor<768xf32>
  func.return %y : tensor<768xf32>
}
