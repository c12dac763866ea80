// RUN: tfc-opt %s -p "decompose,canonicalize,find-attention{gpu=sm_90},fuse" --split-input-file | filecheck %s
// RUN: tfc-opt %s -p "decompose,canonicalize,find-attention{gpu=sm_75},fuse" --split-input-file | filecheck %s --check-prefix SMALL

// One kernel; on a GPU whose blocks have no room for it, several.
// CHECK-LABEL: func.func @main
// CHECK:         tfc.fusion "attention"
// CHECK:           tfc.attention
// CHECK-NOT:     tfc.dot
// SMALL-LABEL: func.func @main
// SMALL-NOT:     tfc.attention
func.func @main(%q: tensor<4x64x128xf32>, %k: tensor<4x96x128xf32>, %v: tensor<4x96x128xf32>) -> tensor<4x64x128xf32> {
  %s = tfc.dot %q, %k batch [0], [0] contract [2], [2] {tfc.device = "/device:GPU:0"} : tensor<4x64x128xf32>, tensor<4x96x128xf32> -> tensor<4x64x96xf32>
  %p = tfc.softmax %s along 2 {tfc.device = "/device:GPU:0"} : tensor<4x64x96xf32> -> tensor<4x64x96xf32>
  %y = tfc.dot %p, %v batch [0], [0] contract [2], [1] {tfc.device = "/device:GPU:0"} : tensor<4x64x96xf32>, tensor<4x96x128xf32> -> tensor<4x64x128xf32>
  func.return %y : tensor<4x64x128xf32>
}

// -----

// Few rows would be few blocks; few scores stay in the caches of a CPU.
// CHECK-LABEL: func.func @main
// CHECK-NOT:     tfc.attention
func.func @main(%q: tensor<4x1x64xf32>, %k: tensor<4x96x64xf32>, %v: tensor<4x96x64xf32>, %r: tensor<2x100x64xf32>) -> (tensor<4x1x64xf32>, tensor<2x100x64xf32>) {
  %s = tfc.dot %q, %k batch [0], [0] contract [2], [2] {tfc.device = "/device:GPU:0"} : tensor<4x1x64xf32>, tensor<4x96x64xf32> -> tensor<4x1x96xf32>
  %p = tfc.softmax %s along 2 {tfc.device = "/device:GPU:0"} : tensor<4x1x96xf32> -> tensor<4x1x96xf32>
  %y = tfc.dot %p, %v batch [0], [0] contract [2], [1] {tfc.device = "/device:GPU:0"} : tensor<4x1x96xf32>, tensor<4x96x64xf32> -> tensor<4x1x64xf32>
  %a = tfc.dot %r, %r batch [0], [0] contract [2], [2] {tfc.device = "/device:CPU:0"} : tensor<2x100x64xf32>, tensor<2x100x64xf32> -> tensor<2x100x100xf32>
  %b = tfc.softmax %a along 2 {tfc.device = "/device:CPU:0"} : tensor<2x100x100xf32> -> tensor<2x100x100xf32>
  %z = tfc.dot %b, %r batch [0], [0] contract [2], [1] {tfc.device = "/device:CPU:0"} : tensor<2x100x100xf32>, tensor<2x100x64xf32> -> tensor<2x100x64xf32>
  func.return %y, %z : tensor<4x1x64xf32>, tensor<2x100x64xf32>
}
