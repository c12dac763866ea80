// RUN: tfc-opt %s -p 'pack-contractions{cpu=x86-64-v4},transpose-results' | filecheck %s

// The heads of an attention are written side by side.
// CHECK-LABEL: func.func @heads
// CHECK:         %[[Y:.*]] = tfc.contract {{.*}}"batch 3 {{.*}} y=64", "row 5 {{.*}} y=192"{{.*}}"column 64 {{.*}}y=1"{{.*}} -> tensor<5x3x64xf32>
// CHECK-NOT:     tfc.transpose
// CHECK:         func.return
func.func @heads(%x : tensor<3x5x7xf32>, %w : tensor<3x7x64xf32>) -> tensor<5x3x64xf32> {
  %y = tfc.dot %x, %w batch [0], [0] contract [2], [1] : tensor<3x5x7xf32>, tensor<3x7x64xf32> -> tensor<3x5x64xf32>
  %t = tfc.transpose %y by [1, 0, 2] : tensor<3x5x64xf32> -> tensor<5x3x64xf32>
  func.return %t : tensor<5x3x64xf32>
}

// Columns must stay side by side: a transpose of the last dim stays.
// CHECK-LABEL: func.func @columns
// CHECK:         tfc.transpose
func.func @columns(%x : tensor<5x7xf32>, %w : tensor<7x64xf32>) -> tensor<64x5xf32> {
  %y = tfc.dot %x, %w batch [], [] contract [1], [0] : tensor<5x7xf32>, tensor<7x64xf32> -> tensor<5x64xf32>
  %t = tfc.transpose %y by [1, 0] : tensor<5x64xf32> -> tensor<64x5xf32>
  func.return %t : tensor<64x5xf32>
}

// Who else wants the result in the old order gets it: the transpose stays.
// CHECK-LABEL: func.func @two_users
// CHECK:         tfc.transpose {{.*}} by [1, 0, 2]
func.func @two_users(%x : tensor<3x5x7xf32>, %w : tensor<3x7x64xf32>) -> (tensor<5x3x64xf32>, tensor<3x5x64xf32>) {
  %y = tfc.dot %x, %w batch [0], [0] contract [2], [1] : tensor<3x5x7xf32>, tensor<3x7x64xf32> -> tensor<3x5x64xf32>
  %t = tfc.transpose %y by [1, 0, 2] : tensor<3x5x64xf32> -> tensor<5x3x64xf32>
  func.return %t, %y : tensor<5x3x64xf32>, tensor<3x5x64xf32>
}
