// RUN: tfc-opt %s -p simplify-control,canonicalize | filecheck %s

// A branch that is decided is the operations of one way.
// CHECK-LABEL: func.func @decided
// CHECK-NEXT:    %[[N:.*]] = tfc.neg %x
// CHECK-NEXT:    func.return %[[N]]
func.func @decided(%x : tensor<3xf32>) -> tensor<3xf32> {
  %p = tfc.constant false : tensor<i1>
  %r = tfc.if %p (%x) : (tensor<3xf32>) -> tensor<3xf32> {
  ^bb0(%a : tensor<3xf32>):
    tfc.yield %a : tensor<3xf32>
  } else {
  ^bb0(%a : tensor<3xf32>):
    %n = tfc.neg %a : tensor<3xf32> -> tensor<3xf32>
    tfc.yield %n : tensor<3xf32>
  }
  func.return %r : tensor<3xf32>
}

// Results that nobody uses, arguments that nobody reads or that come twice, and constants go.
// CHECK-LABEL: func.func @smaller
// CHECK-NEXT:    %[[R:.*]] = tfc.if %p(%x) : (tensor<3xf32>) -> tensor<3xf32> {
// CHECK-NEXT:    ^bb0(%[[A:.*]]: tensor<3xf32>):
// CHECK-NEXT:      %[[C:.*]] = tfc.constant splat 2.0
// CHECK-NEXT:      %[[S:.*]] = tfc.mul %[[A]], %[[C]]
// CHECK-NEXT:      tfc.yield %[[S]]
// CHECK-NEXT:    } else {
// CHECK-NEXT:    ^bb0(%[[B:.*]]: tensor<3xf32>):
// CHECK-NEXT:      tfc.yield %[[B]]
// CHECK-NEXT:    }
// CHECK-NEXT:    func.return %[[R]], %x
func.func @smaller(%p : tensor<i1>, %x : tensor<3xf32>) -> (tensor<3xf32>, tensor<3xf32>) {
  %two = tfc.constant splat 2.0 : tensor<3xf32>
  %r:3 = tfc.if %p (%x, %x, %two, %x) : (tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>) -> (tensor<3xf32>, tensor<3xf32>, tensor<3xf32>) {
  ^bb0(%a : tensor<3xf32>, %b : tensor<3xf32>, %c : tensor<3xf32>, %d : tensor<3xf32>):
    %s = tfc.mul %a, %c : tensor<3xf32>, tensor<3xf32> -> tensor<3xf32>
    tfc.yield %s, %s, %a : tensor<3xf32>, tensor<3xf32>, tensor<3xf32>
  } else {
  ^bb0(%a : tensor<3xf32>, %b : tensor<3xf32>, %c : tensor<3xf32>, %d : tensor<3xf32>):
    tfc.yield %b, %b, %b : tensor<3xf32>, tensor<3xf32>, tensor<3xf32>
  }
  func.return %r#0, %r#2 : tensor<3xf32>, tensor<3xf32>
}

// A value that is handed on as it is, one that only feeds itself, and a constant: two values are carried
// no more. The effect of a loop stays.
// CHECK-LABEL: func.func @carried
// CHECK:         %[[I:.*]], %[[Y:.*]] = tfc.while(%{{.*}}, %x) with(%w, %n) : (tensor<i32>, tensor<3xf32>), (tensor<3xf32>, tensor<i32>)
// CHECK:           %[[ONE:.*]] = tfc.constant 1
// CHECK-NEXT:      %[[I1:.*]] = tfc.add %{{.*}}, %[[ONE]]
// CHECK-NEXT:      %[[Y1:.*]] = tfc.add
// CHECK-NEXT:      tfc.yield %[[I1]], %[[Y1]]
// CHECK:         func.return %[[Y]], %w
func.func @carried(%n : tensor<i32>, %x : tensor<3xf32>, %w : tensor<3xf32>) -> (tensor<3xf32>, tensor<3xf32>) {
  %zero = tfc.constant 0 : tensor<i32>
  %one = tfc.constant 1 : tensor<i32>
  %i, %y, %ww, %d = tfc.while (%zero, %x, %w, %zero) with (%n, %one) : (tensor<i32>, tensor<3xf32>, tensor<3xf32>, tensor<i32>), (tensor<i32>, tensor<i32>) -> (tensor<i32>, tensor<3xf32>, tensor<3xf32>, tensor<i32>) {
  ^bb0(%i0 : tensor<i32>, %y0 : tensor<3xf32>, %w0 : tensor<3xf32>, %d0 : tensor<i32>, %n0 : tensor<i32>, %o : tensor<i32>):
    %p = tfc.compare lt %i0, %n0 : tensor<i32>, tensor<i32> -> tensor<i1>
    tfc.yield %p : tensor<i1>
  } do {
  ^bb0(%i0 : tensor<i32>, %y0 : tensor<3xf32>, %w0 : tensor<3xf32>, %d0 : tensor<i32>, %n0 : tensor<i32>, %o : tensor<i32>):
    %i1 = tfc.add %i0, %o : tensor<i32>, tensor<i32> -> tensor<i32>
    %d1 = tfc.add %d0, %i0 : tensor<i32>, tensor<i32> -> tensor<i32>
    %y1 = tfc.add %y0, %w0 : tensor<3xf32>, tensor<3xf32> -> tensor<3xf32>
    tfc.yield %i1, %y1, %w0, %d1 : tensor<i32>, tensor<3xf32>, tensor<3xf32>, tensor<i32>
  }
  func.return %y, %ww : tensor<3xf32>, tensor<3xf32>
}

// The condition is false for the first values: nothing turns.
// CHECK-LABEL: func.func @never
// CHECK-NEXT:    func.return %x
func.func @never(%x : tensor<3xf32>) -> tensor<3xf32> {
  %four = tfc.constant 4 : tensor<i32>
  %i, %y = tfc.while (%four, %x) with () : (tensor<i32>, tensor<3xf32>), () -> (tensor<i32>, tensor<3xf32>) {
  ^bb0(%i0 : tensor<i32>, %y0 : tensor<3xf32>):
    %n = tfc.constant 4 : tensor<i32>
    %p = tfc.compare lt %i0, %n : tensor<i32>, tensor<i32> -> tensor<i1>
    tfc.yield %p : tensor<i1>
  } do {
  ^bb0(%i0 : tensor<i32>, %y0 : tensor<3xf32>):
    %y1 = tfc.add %y0, %y0 : tensor<3xf32>, tensor<3xf32> -> tensor<3xf32>
    tfc.yield %i0, %y1 : tensor<i32>, tensor<3xf32>
  }
  func.return %y : tensor<3xf32>
}

// A loop that does something to a variable stays, with what that needs.
// CHECK-LABEL: func.func @effect
// CHECK:         %{{.*}}, %[[T:.*]] = tfc.while(%{{.*}}, %{{.*}}) with(%x)
// CHECK:           tfc.assign add
// CHECK:         func.return %[[T]]
func.func @effect(%x : tensor<3xf32>) -> !tfc.control {
  %zero = tfc.constant 0 : tensor<i32>
  %s = tfc.join -> !tfc.control
  %i, %t = tfc.while (%zero, %s) with (%x) : (tensor<i32>, !tfc.control), (tensor<3xf32>) -> (tensor<i32>, !tfc.control) {
  ^bb0(%i0 : tensor<i32>, %t0 : !tfc.control, %x0 : tensor<3xf32>):
    %n = tfc.constant 4 : tensor<i32>
    %p = tfc.compare lt %i0, %n : tensor<i32>, tensor<i32> -> tensor<i1>
    tfc.yield %p : tensor<i1>
  } do {
  ^bb0(%i0 : tensor<i32>, %t0 : !tfc.control, %x0 : tensor<3xf32>):
    %one = tfc.constant 1 : tensor<i32>
    %i1 = tfc.add %i0, %one : tensor<i32>, tensor<i32> -> tensor<i32>
    %v = tfc.variable "v" of tensor<3xf32> : !tfc.resource<tensor<3xf32>>
    %t1 = tfc.assign add %v, %x0 after %t0 : !tfc.resource<tensor<3xf32>>, tensor<3xf32>, !tfc.control -> !tfc.control
    tfc.yield %i1, %t1 : tensor<i32>, !tfc.control
  }
  func.return %t : !tfc.control
}

// A counter is known in the end, where nothing else ends the loop.
// CHECK-LABEL: func.func @counted
// CHECK:         %[[N:.*]] = tfc.constant 7 : tensor<i32>
// CHECK:         func.return %[[N]]
func.func @counted(%x : tensor<3xf32>) -> (tensor<i32>, tensor<3xf32>) {
  %start = tfc.constant 1 : tensor<i32>
  %i, %y = tfc.while (%start, %x) with () : (tensor<i32>, tensor<3xf32>), () -> (tensor<i32>, tensor<3xf32>) {
  ^bb0(%i0 : tensor<i32>, %y0 : tensor<3xf32>):
    %n = tfc.constant 6 : tensor<i32>
    %p = tfc.compare lt %i0, %n : tensor<i32>, tensor<i32> -> tensor<i1>
    tfc.yield %p : tensor<i1>
  } do {
  ^bb0(%i0 : tensor<i32>, %y0 : tensor<3xf32>):
    %two = tfc.constant 2 : tensor<i32>
    %i1 = tfc.add %i0, %two : tensor<i32>, tensor<i32> -> tensor<i32>
    %y1 = tfc.add %y0, %y0 : tensor<3xf32>, tensor<3xf32> -> tensor<3xf32>
    tfc.yield %i1, %y1 : tensor<i32>, tensor<3xf32>
  }
  func.return %i, %y : tensor<i32>, tensor<3xf32>
}
