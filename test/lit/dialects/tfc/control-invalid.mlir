// RUN: tfc-opt %s --verify-diagnostics --split-input-file | filecheck %s

// Branches, loops and messages: each constraint of their docstrings, broken once.

// A region ends with what it gives.
// CHECK: Operation tfc.neg terminates block in single-block region but is not a terminator
func.func @if_c1(%p : tensor<i1>, %x : tensor<3xf32>) {
  %r = tfc.if %p (%x) : (tensor<3xf32>) -> tensor<3xf32> {
  ^bb0(%a : tensor<3xf32>):
    %n = tfc.neg %a : tensor<3xf32> -> tensor<3xf32>
  } else {
  ^bb0(%a : tensor<3xf32>):
    tfc.yield %a : tensor<3xf32>
  }
  func.return
}

// -----

// A region takes all inputs.
// CHECK: 'tfc.if' (C2): expected region arguments (tensor<3xf32>), got ()
func.func @if_c2(%p : tensor<i1>, %x : tensor<3xf32>) {
  %r = tfc.if %p (%x) : (tensor<3xf32>) -> tensor<3xf32> {
  ^bb0(%a : tensor<3xf32>):
    tfc.yield %a : tensor<3xf32>
  } else {
    %c = tfc.constant splat 1.0 : tensor<3xf32>
    tfc.yield %c : tensor<3xf32>
  }
  func.return
}

// -----

// Both ways lead to the same types.
// CHECK: 'tfc.if' (C3): expected yields of (tensor<3xf32>), got (tensor<3xi32>)
func.func @if_c3(%p : tensor<i1>, %x : tensor<3xf32>, %y : tensor<3xi32>) {
  %r = tfc.if %p (%x, %y) : (tensor<3xf32>, tensor<3xi32>) -> tensor<3xf32> {
  ^bb0(%a : tensor<3xf32>, %b : tensor<3xi32>):
    tfc.yield %a : tensor<3xf32>
  } else {
  ^bb0(%a : tensor<3xf32>, %b : tensor<3xi32>):
    tfc.yield %b : tensor<3xi32>
  }
  func.return
}

// -----

// CHECK: Operation tfc.identity terminates block in single-block region but is not a terminator
func.func @while_c1(%p : tensor<i1>) {
  %r = tfc.while (%p) with () : (tensor<i1>), () -> (tensor<i1>) {
  ^bb0(%a : tensor<i1>):
    tfc.yield %a : tensor<i1>
  } do {
  ^bb0(%a : tensor<i1>):
    %b = tfc.identity %a : tensor<i1> -> tensor<i1>
  }
  func.return
}

// -----

// CHECK: 'tfc.while' (C2): expected region arguments (tensor<i1>, tensor<2xf32>), got (tensor<i1>, tensor<3xf32>)
func.func @while_c2(%p : tensor<i1>, %x : tensor<2xf32>) {
  %r = tfc.while (%p) with (%x) : (tensor<i1>), (tensor<2xf32>) -> (tensor<i1>) {
  ^bb0(%a : tensor<i1>, %b : tensor<3xf32>):
    tfc.yield %a : tensor<i1>
  } do {
  ^bb0(%a : tensor<i1>, %b : tensor<2xf32>):
    tfc.yield %a : tensor<i1>
  }
  func.return
}

// -----

// One truth value decides.
// CHECK: 'tfc.while' (C3): expected a condition that yields tensor<i1>, got (tensor<2xi1>)
func.func @while_c3(%p : tensor<2xi1>) {
  %r = tfc.while (%p) with () : (tensor<2xi1>), () -> (tensor<2xi1>) {
  ^bb0(%a : tensor<2xi1>):
    tfc.yield %a : tensor<2xi1>
  } do {
  ^bb0(%a : tensor<2xi1>):
    tfc.yield %a : tensor<2xi1>
  }
  func.return
}

// -----

// The next round begins with what this one gives.
// CHECK: 'tfc.while' (C4): expected a body that yields (tensor<i1>, tensor<2xf32>), got (tensor<i1>)
func.func @while_c4(%p : tensor<i1>, %x : tensor<2xf32>) {
  %r:2 = tfc.while (%p, %x) with () : (tensor<i1>, tensor<2xf32>), () -> (tensor<i1>, tensor<2xf32>) {
  ^bb0(%a : tensor<i1>, %b : tensor<2xf32>):
    tfc.yield %a : tensor<i1>
  } do {
  ^bb0(%a : tensor<i1>, %b : tensor<2xf32>):
    tfc.yield %a : tensor<i1>
  }
  func.return
}

// -----

// CHECK: 'tfc.update_row' (C1): expected an index that is one integer, got tensor<1xi32>
func.func @update_row_c1(%x : tensor<3x2xf32>, %i : tensor<1xi32>, %v : tensor<2xf32>) {
  %r = tfc.update_row %x at %i with %v : tensor<3x2xf32>, tensor<1xi32>, tensor<2xf32> -> tensor<3x2xf32>
  func.return
}

// -----

// CHECK: 'tfc.update_row' (C2): expected one row of tensor<3x2xf32>, got tensor<3xf32>
func.func @update_row_c2(%x : tensor<3x2xf32>, %i : tensor<i32>, %v : tensor<3xf32>) {
  %r = tfc.update_row %x at %i with %v : tensor<3x2xf32>, tensor<i32>, tensor<3xf32> -> tensor<3x2xf32>
  func.return
}

// -----

// CHECK: 'tfc.assert' (C1): expected 2 texts, got 1
func.func @assert_c1(%p : tensor<i1>, %x : tensor<3x2xf32>) {
  %t = tfc.assert %p, ["x"] (%x) shows 3 : (tensor<3x2xf32>) -> !tfc.control
  func.return
}

// -----

// CHECK: 'tfc.print' (C1): expected 2 texts, got 1
func.func @print_c1(%x : tensor<3x2xf32>) {
  %t = tfc.print ["x"] (%x) shows 3 : (tensor<3x2xf32>) -> !tfc.control
  func.return
}
