// RUN: tfc-opt %s -p expand-updates | filecheck %s

// Adding to a variable is a read, a sum and an assignment, each after the tokens of the update.
// CHECK-LABEL: func.func @add
// CHECK-SAME:  (%[[X:.*]]: tensor<4xf32>, %[[T:.*]]: !tfc.control)
// CHECK-NEXT:    %[[V:.*]] = tfc.variable "v"
// CHECK-NEXT:    %[[OLD:.*]], %[[READ:.*]] = tfc.read %[[V]] after %[[T]]
// CHECK-NEXT:    %[[NEW:.*]] = tfc.add %[[OLD]], %[[X]]
// CHECK-NEXT:    %[[DONE:.*]] = tfc.assign set %[[V]], %[[NEW]] after %[[T]], %[[READ]]
// CHECK-NEXT:    func.return %[[DONE]]
func.func @add(%x : tensor<4xf32>, %t : !tfc.control) -> !tfc.control {
  %v = tfc.variable "v" of tensor<4xf32> : !tfc.resource<tensor<4xf32>>
  %u = tfc.assign add %v, %x after %t : !tfc.resource<tensor<4xf32>>, tensor<4xf32>, !tfc.control -> !tfc.control
  func.return %u : !tfc.control
}

// A plain assignment stays.
// CHECK-LABEL: func.func @set
// CHECK-NEXT:    tfc.variable
// CHECK-NEXT:    tfc.assign set
// CHECK-NEXT:    func.return
func.func @set(%x : tensor<4xf32>) -> !tfc.control {
  %v = tfc.variable "v" of tensor<4xf32> : !tfc.resource<tensor<4xf32>>
  %u = tfc.assign set %v, %x : !tfc.resource<tensor<4xf32>>, tensor<4xf32> -> !tfc.control
  func.return %u : !tfc.control
}
