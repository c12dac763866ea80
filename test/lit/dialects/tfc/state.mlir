// RUN: tfc-opt %s | filecheck %s

// Tokens order what is done to a variable; they may be left out, or be many.
// CHECK-LABEL: func.func @update
// CHECK-SAME:  (%[[D:.*]]: tensor<2xf32>) -> (tensor<2xf32>, !tfc.control)
// CHECK-NEXT:    %[[H:.*]] = tfc.variable "w" of tensor<2xf32> : !tfc.resource<tensor<2xf32>>
// CHECK-NEXT:    %[[X:.*]], %[[R:.*]] = tfc.read %[[H]] : !tfc.resource<tensor<2xf32>> -> tensor<2xf32>, !tfc.control
// CHECK-NEXT:    %[[A:.*]] = tfc.assign add %[[H]], %[[D]] after %[[R]] : !tfc.resource<tensor<2xf32>>, tensor<2xf32>, !tfc.control -> !tfc.control
// CHECK-NEXT:    %[[J:.*]] = tfc.join %[[R]], %[[A]] : !tfc.control, !tfc.control -> !tfc.control
// CHECK-NEXT:    %[[N:.*]] = tfc.join -> !tfc.control
// CHECK-NEXT:    %[[G:.*]] = tfc.gate %[[X]] after %[[J]], %[[N]] : tensor<2xf32>, !tfc.control, !tfc.control -> tensor<2xf32>
// CHECK-NEXT:    func.return %[[G]], %[[J]]
func.func @update(%d : tensor<2xf32>) -> (tensor<2xf32>, !tfc.control) {
  %h = tfc.variable "w" of tensor<2xf32> : !tfc.resource<tensor<2xf32>>
  %x, %r = tfc.read %h : !tfc.resource<tensor<2xf32>> -> tensor<2xf32>, !tfc.control
  %a = tfc.assign add %h, %d after %r : !tfc.resource<tensor<2xf32>>, tensor<2xf32>, !tfc.control -> !tfc.control
  %j = tfc.join %r, %a : !tfc.control, !tfc.control -> !tfc.control
  %n = tfc.join -> !tfc.control
  %g = tfc.gate %x after %j, %n : tensor<2xf32>, !tfc.control, !tfc.control -> tensor<2xf32>
  func.return %g, %j : tensor<2xf32>, !tfc.control
}
