// RUN: tfc-opt %s | tfc-opt | filecheck %s

// A branch: both regions take what stands in brackets, and yield the results.
// CHECK-LABEL: func.func @branch
// CHECK:         %{{.*}} = tfc.if %p(%x) : (tensor<3xf32>) -> tensor<3xf32> {
// CHECK-NEXT:    ^bb0(%[[A:.*]]: tensor<3xf32>):
// CHECK-NEXT:      tfc.yield %[[A]] : tensor<3xf32>
// CHECK-NEXT:    } else {
// CHECK-NEXT:    ^bb0(%[[B:.*]]: tensor<3xf32>):
// CHECK-NEXT:      %[[N:.*]] = tfc.neg %[[B]] : tensor<3xf32> -> tensor<3xf32>
// CHECK-NEXT:      tfc.yield %[[N]] : tensor<3xf32>
// CHECK-NEXT:    }
func.func @branch(%p : tensor<i1>, %x : tensor<3xf32>) -> tensor<3xf32> {
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

// A loop carries tensors and tokens; what it only reads stands after "with".
// CHECK-LABEL: func.func @loop
// CHECK:         %{{.*}}, %{{.*}}, %{{.*}} = tfc.while(%zero, %rows, %t) with(%n) : (tensor<i32>, tensor<4xf32>, !tfc.control), (tensor<i32>) -> (tensor<i32>, tensor<4xf32>, !tfc.control) {
// CHECK:           tfc.yield %{{.*}} : tensor<i1>
// CHECK-NEXT:    } do {
// CHECK:           tfc.update_row %{{.*}} at %{{.*}} with %{{.*}} : tensor<4xf32>, tensor<i32>, tensor<f32> -> tensor<4xf32>
// CHECK-NEXT:      tfc.print ["row ", "\0A"](%{{.*}}) shows 3 after %{{.*}} : (tensor<i32>), !tfc.control -> !tfc.control
func.func @loop(%n : tensor<i32>, %rows : tensor<4xf32>) -> (tensor<4xf32>, !tfc.control) {
  %zero = tfc.constant 0 : tensor<i32>
  %t = tfc.join -> !tfc.control
  %i, %r, %u = tfc.while (%zero, %rows, %t) with (%n) : (tensor<i32>, tensor<4xf32>, !tfc.control), (tensor<i32>) -> (tensor<i32>, tensor<4xf32>, !tfc.control) {
  ^bb0(%i0 : tensor<i32>, %r0 : tensor<4xf32>, %t0 : !tfc.control, %n0 : tensor<i32>):
    %p = tfc.compare lt %i0, %n0 : tensor<i32>, tensor<i32> -> tensor<i1>
    tfc.yield %p : tensor<i1>
  } do {
  ^bb0(%i0 : tensor<i32>, %r0 : tensor<4xf32>, %t0 : !tfc.control, %n0 : tensor<i32>):
    %v = tfc.constant 2.0 : tensor<f32>
    %one = tfc.constant 1 : tensor<i32>
    %i1 = tfc.add %i0, %one : tensor<i32>, tensor<i32> -> tensor<i32>
    %r1 = tfc.update_row %r0 at %i0 with %v : tensor<4xf32>, tensor<i32>, tensor<f32> -> tensor<4xf32>
    %t1 = tfc.print ["row ", "\n"] (%i0) shows 3 after %t0 : (tensor<i32>), !tfc.control -> !tfc.control
    tfc.yield %i1, %r1, %t1 : tensor<i32>, tensor<4xf32>, !tfc.control
  }
  func.return %r, %u : tensor<4xf32>, !tfc.control
}

// A check: what it shows, and what has happened before.
// CHECK-LABEL: func.func @check
// CHECK:         %[[T:.*]] = tfc.assert %p, ["not so: ", ""](%x) shows 2 : (tensor<3xf32>) -> !tfc.control
// CHECK-NEXT:    %[[U:.*]] = tfc.assert %p, ["never"]() shows 3 after %[[T]] : (), !tfc.control -> !tfc.control
func.func @check(%p : tensor<i1>, %x : tensor<3xf32>) -> !tfc.control {
  %t = tfc.assert %p, ["not so: ", ""] (%x) shows 2 : (tensor<3xf32>) -> !tfc.control
  %u = tfc.assert %p, ["never"] () shows 3 after %t : (), !tfc.control -> !tfc.control
  func.return %u : !tfc.control
}
