// RUN: tfc-opt %s -p split-reductions,fuse | filecheck %s

// What is reduced is computed in the kernel of the first step: the differences are not stored.
// CHECK-LABEL: func.func @loss
// CHECK:         %[[P:.*]] = tfc.fusion "nest"(%{{.*}}, %{{.*}}) : {{.*}} -> tensor<64xf32> {
// CHECK:           tfc.sub
// CHECK:           tfc.mul
// CHECK:           tfc.reshape
// CHECK:           tfc.reduce
// CHECK:         tfc.fusion "nest"(%[[P]]) :
func.func @loss(%x : tensor<1048576xf32>, %y : tensor<1048576xf32>) -> tensor<f32> {
  %d = tfc.sub %x, %y : tensor<1048576xf32>, tensor<1048576xf32> -> tensor<1048576xf32>
  %q = tfc.mul %d, %d : tensor<1048576xf32>, tensor<1048576xf32> -> tensor<1048576xf32>
  %s = tfc.reduce sum %q over [0] : tensor<1048576xf32> -> tensor<f32>
  func.return %s : tensor<f32>
}
