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

// What an operation becomes runs where it did, inside of loops, too.
// CHECK-LABEL: func.func @on_a_device
// CHECK:         tfc.while
// CHECK:         tfc.compare {{.*}} {tfc.device = "/device:GPU:0"}
// CHECK:         tfc.merge_runs {{.*}} {tfc.device = "/device:GPU:0"}
func.func @on_a_device(%x : tensor<2x5xi32>) -> tensor<2x5xi64> {
  %y = tfc.argsort %x along 1 {tfc.device = "/device:GPU:0"} : tensor<2x5xi32> -> tensor<2x5xi64>
  func.return %y : tensor<2x5xi64>
}
