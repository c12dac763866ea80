// RUN: tfc-opt %s -p prune | filecheck %s
// REQUIRES: lit

// A chain that nobody needs goes, and the variable that only it reads; arguments stay.
// CHECK-LABEL: func.func @dead
// CHECK-SAME:  (%[[X:.*]]: tensor<2xf32>, %{{.*}}: tensor<2xf32>)
// CHECK-NEXT:    func.return %[[X]]
func.func @dead(%x : tensor<2xf32>, %unused : tensor<2xf32>) -> tensor<2xf32> {
  %v = tfc.variable "v" of tensor<2xf32> : !tfc.resource<tensor<2xf32>>
  %y, %s = tfc.read %v : !tfc.resource<tensor<2xf32>> -> tensor<2xf32>, !tfc.control
  %a = tfc.neg %y : tensor<2xf32> -> tensor<2xf32>
  %b = tfc.add %a, %x : tensor<2xf32>, tensor<2xf32> -> tensor<2xf32>
  func.return %x : tensor<2xf32>
}

// An assignment is seen by the next run, and what it needs is needed.
// CHECK-LABEL: func.func @assigned
// CHECK:         tfc.variable
// CHECK:         tfc.neg
// CHECK:         tfc.assign
func.func @assigned(%x : tensor<2xf32>) {
  %v = tfc.variable "v" of tensor<2xf32> : !tfc.resource<tensor<2xf32>>
  %a = tfc.neg %x : tensor<2xf32> -> tensor<2xf32>
  %u = tfc.assign set %v, %a : !tfc.resource<tensor<2xf32>>, tensor<2xf32> -> !tfc.control
  func.return
}
