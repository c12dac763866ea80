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

// It is the only assignment: the value read before is the one that is added to.
// CHECK-LABEL: func.func @known_value
// CHECK-NEXT:    tfc.variable
// CHECK-NEXT:    %[[OLD:.*]], %[[READ:.*]] = tfc.read
// CHECK-NEXT:    %[[D:.*]] = tfc.neg %[[OLD]]
// CHECK-NEXT:    %[[NEW:.*]] = tfc.sub %[[OLD]], %[[D]]
// CHECK-NEXT:    tfc.assign set %{{.*}}, %[[NEW]] after %[[READ]]
func.func @known_value() -> !tfc.control {
  %v = tfc.variable "v" of tensor<4xf32> : !tfc.resource<tensor<4xf32>>
  %r, %t = tfc.read %v : !tfc.resource<tensor<4xf32>> -> tensor<4xf32>, !tfc.control
  %d = tfc.neg %r : tensor<4xf32> -> tensor<4xf32>
  %u = tfc.assign sub %v, %d after %t : !tfc.resource<tensor<4xf32>>, tensor<4xf32>, !tfc.control -> !tfc.control
  func.return %u : !tfc.control
}

// Between the read and the second update there is the first: the variable is read again.
// CHECK-LABEL: func.func @changed_since
// CHECK:         tfc.read
// CHECK:         tfc.read
// CHECK:         tfc.assign set
// CHECK:         tfc.read
// CHECK:         tfc.assign set
func.func @changed_since(%x : tensor<4xf32>) -> (tensor<4xf32>, !tfc.control) {
  %v = tfc.variable "v" of tensor<4xf32> : !tfc.resource<tensor<4xf32>>
  %r, %t = tfc.read %v : !tfc.resource<tensor<4xf32>> -> tensor<4xf32>, !tfc.control
  %u = tfc.assign add %v, %x after %t : !tfc.resource<tensor<4xf32>>, tensor<4xf32>, !tfc.control -> !tfc.control
  %w = tfc.assign add %v, %x after %u : !tfc.resource<tensor<4xf32>>, tensor<4xf32>, !tfc.control -> !tfc.control
  func.return %r, %w : tensor<4xf32>, !tfc.control
}
