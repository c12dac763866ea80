// RUN: tfc-opt %s -p canonicalize | filecheck %s

// A gate that waits for nothing is its value; a join of one token is the token.
// CHECK-LABEL: func.func @gates
// CHECK-SAME:  (%[[X:.*]]: tensor<2xf32>, %[[T:.*]]: !tfc.control)
// CHECK-NEXT:    %[[G:.*]] = tfc.gate %[[X]] after %[[T]]
// CHECK-NEXT:    func.return %[[X]], %[[G]]
func.func @gates(%x : tensor<2xf32>, %t : !tfc.control) -> (tensor<2xf32>, tensor<2xf32>) {
  %a = tfc.gate %x : tensor<2xf32> -> tensor<2xf32>
  %j = tfc.join %t : !tfc.control -> !tfc.control
  %k = tfc.join %j, %t : !tfc.control, !tfc.control -> !tfc.control
  %b = tfc.gate %x after %k : tensor<2xf32>, !tfc.control -> tensor<2xf32>
  func.return %a, %b : tensor<2xf32>, tensor<2xf32>
}

// A read of which only the token is used only orders: the write follows what the read followed.
// CHECK-LABEL: func.func @unused_read
// CHECK-SAME:  (%[[X:.*]]: tensor<2xf32>, %[[T:.*]]: !tfc.control)
// CHECK-NEXT:    %[[V:.*]] = tfc.variable "v"
// CHECK-NEXT:    %[[U:.*]] = tfc.assign set %[[V]], %[[X]] after %[[T]]
// CHECK-NEXT:    func.return %[[U]]
func.func @unused_read(%x : tensor<2xf32>, %t : !tfc.control) -> !tfc.control {
  %v = tfc.variable "v" of tensor<2xf32> : !tfc.resource<tensor<2xf32>>
  %y, %s = tfc.read %v after %t : !tfc.resource<tensor<2xf32>>, !tfc.control -> tensor<2xf32>, !tfc.control
  %u = tfc.assign set %v, %x after %s : !tfc.resource<tensor<2xf32>>, tensor<2xf32>, !tfc.control -> !tfc.control
  func.return %u : !tfc.control
}

// A read whose value is used stays.
// CHECK-LABEL: func.func @used_read
// CHECK:         tfc.read
func.func @used_read() -> tensor<2xf32> {
  %v = tfc.variable "v" of tensor<2xf32> : !tfc.resource<tensor<2xf32>>
  %y, %s = tfc.read %v : !tfc.resource<tensor<2xf32>> -> tensor<2xf32>, !tfc.control
  func.return %y : tensor<2xf32>
}
