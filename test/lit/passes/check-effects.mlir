// RUN: tfc-opt %s -p check-effects --verify-diagnostics --split-input-file --print-debuginfo | filecheck %s

// What one access gives to another orders them: by its token, or by its value.
// CHECK-LABEL: func.func @ordered
func.func @ordered(%x : tensor<2xf32>) -> !tfc.control {
  %v = tfc.variable "v" of tensor<2xf32> : !tfc.resource<tensor<2xf32>>
  %a, %r = tfc.read %v : !tfc.resource<tensor<2xf32>> -> tensor<2xf32>, !tfc.control
  %b = tfc.add %a, %x : tensor<2xf32>, tensor<2xf32> -> tensor<2xf32>
  %s = tfc.assign set %v, %b : !tfc.resource<tensor<2xf32>>, tensor<2xf32> -> !tfc.control
  %c, %q = tfc.read %v after %s : !tfc.resource<tensor<2xf32>>, !tfc.control -> tensor<2xf32>, !tfc.control
  func.return %q : !tfc.control
}

// Two reads need no order.
// CHECK-LABEL: func.func @reads
func.func @reads() -> (tensor<2xf32>, tensor<2xf32>) {
  %v = tfc.variable "v" of tensor<2xf32> : !tfc.resource<tensor<2xf32>>
  %a, %r = tfc.read %v : !tfc.resource<tensor<2xf32>> -> tensor<2xf32>, !tfc.control
  %b, %q = tfc.read %v : !tfc.resource<tensor<2xf32>> -> tensor<2xf32>, !tfc.control
  func.return %a, %b : tensor<2xf32>, tensor<2xf32>
}

// -----

// All handles of one name are one variable; the nodes and their lines are told.
// CHECK: model.py:9: error: two accesses to the variable 'v' have no order: 'one' adds to it, 'two' replaces it
// CHECK: model.py:8
// CHECK: model.py:9
// CHECK: missing: 'one' before 'two', or the other way
// CHECK: help: `with tf.control_dependencies(['one']): ... v.assign(...)` comes after 'one'; or run them apart
func.func @writes(%x : tensor<2xf32>) -> (!tfc.control, !tfc.control) {
  %v = tfc.variable "v" of tensor<2xf32> : !tfc.resource<tensor<2xf32>>
  %w = tfc.variable "v" of tensor<2xf32> : !tfc.resource<tensor<2xf32>>
  %s = tfc.assign add %v, %x : !tfc.resource<tensor<2xf32>>, tensor<2xf32> -> !tfc.control loc("one"("model.py":8:1))
  %t = tfc.assign set %w, %x : !tfc.resource<tensor<2xf32>>, tensor<2xf32> -> !tfc.control loc("two"("model.py":9:1))
  func.return %s, %t : !tfc.control, !tfc.control
}

// -----

// A branch that assigns is an assignment of the whole `tfc.if`.
// CHECK: error: two accesses to the variable 'v' have no order
// CHECK: help: let one of them take the token of the other: `after %token`
func.func @branch(%p : tensor<i1>, %x : tensor<2xf32>) -> (tensor<2xf32>, tensor<2xf32>) {
  %v = tfc.variable "v" of tensor<2xf32> : !tfc.resource<tensor<2xf32>>
  %a, %r = tfc.read %v : !tfc.resource<tensor<2xf32>> -> tensor<2xf32>, !tfc.control
  %y = tfc.if %p(%x) : (tensor<2xf32>) -> (tensor<2xf32>) {
  ^bb0(%x0 : tensor<2xf32>):
    %u = tfc.variable "v" of tensor<2xf32> : !tfc.resource<tensor<2xf32>>
    %s = tfc.assign set %u, %x0 : !tfc.resource<tensor<2xf32>>, tensor<2xf32> -> !tfc.control
    tfc.yield %x0 : tensor<2xf32>
  } else {
  ^bb1(%x1 : tensor<2xf32>):
    tfc.yield %x1 : tensor<2xf32>
  }
  func.return %a, %y : tensor<2xf32>, tensor<2xf32>
}

// -----

// Within one branch the same rule holds.
// CHECK: error: two accesses to the variable 'v' have no order
func.func @inside(%p : tensor<i1>, %x : tensor<2xf32>) -> (tensor<2xf32>) {
  %y = tfc.if %p(%x) : (tensor<2xf32>) -> (tensor<2xf32>) {
  ^bb0(%x0 : tensor<2xf32>):
    %u = tfc.variable "v" of tensor<2xf32> : !tfc.resource<tensor<2xf32>>
    %a, %r = tfc.read %u : !tfc.resource<tensor<2xf32>> -> tensor<2xf32>, !tfc.control
    %s = tfc.assign set %u, %x0 : !tfc.resource<tensor<2xf32>>, tensor<2xf32> -> !tfc.control
    tfc.yield %a : tensor<2xf32>
  } else {
  ^bb1(%x1 : tensor<2xf32>):
    tfc.yield %x1 : tensor<2xf32>
  }
  func.return %y : tensor<2xf32>
}
