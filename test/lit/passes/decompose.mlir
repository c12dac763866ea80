// RUN: tfc-opt %s -p decompose | filecheck %s
// RUN: tfc-opt %s -p 'decompose{keep=softmax}' | filecheck %s --check-prefix=KEEP
// REQUIRES: lit

// A composite becomes primitives, and theirs in turn; where it came from is kept.
// CHECK-LABEL: func.func @softmax
// CHECK-NOT:     tfc.softmax
// CHECK:         tfc.reduce max
// CHECK:         tfc.exp
// CHECK:         tfc.reduce sum
// CHECK:         tfc.div
// CHECK-NOT:     tfc.relu
// KEEP-LABEL:  func.func @softmax
// KEEP:          tfc.softmax
// KEEP-NOT:      tfc.relu
func.func @softmax(%x : tensor<4x8xf32>) -> tensor<4x8xf32> {
  %y = tfc.softmax %x along 1 : tensor<4x8xf32> -> tensor<4x8xf32>
  %z = tfc.relu %y : tensor<4x8xf32> -> tensor<4x8xf32>
  func.return %z : tensor<4x8xf32>
}
