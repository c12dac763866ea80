// RUN: tfc-opt %s -p hoist | filecheck %s

// What is the same in each turn is computed once; a broadcast costs nothing where it is.
// CHECK-LABEL: func.func @same
// CHECK:         %[[E:.*]] = tfc.exp %w
// CHECK-NEXT:    tfc.while({{.*}}) with(%{{.*}}) : {{.*}}, (tensor<3xf32>)
// CHECK:         } do {
// CHECK:           %[[B:.*]] = tfc.broadcast %{{.*}} to [2, 3] at [1]
// CHECK-NEXT:      tfc.add %{{.*}}, %[[B]]
func.func @same(%x : tensor<2x3xf32>, %w : tensor<3xf32>, %p : tensor<i1>) -> tensor<2x3xf32> {
  %i, %y = tfc.while (%p, %x) with (%w) : (tensor<i1>, tensor<2x3xf32>), (tensor<3xf32>) -> (tensor<i1>, tensor<2x3xf32>) {
  ^bb0(%i0 : tensor<i1>, %y0 : tensor<2x3xf32>, %w0 : tensor<3xf32>):
    tfc.yield %i0 : tensor<i1>
  } do {
  ^bb0(%i0 : tensor<i1>, %y0 : tensor<2x3xf32>, %w0 : tensor<3xf32>):
    %e = tfc.exp %w0 : tensor<3xf32> -> tensor<3xf32>
    %b = tfc.broadcast %e to [2, 3] at [1] : tensor<3xf32> -> tensor<2x3xf32>
    %y1 = tfc.add %y0, %b : tensor<2x3xf32>, tensor<2x3xf32> -> tensor<2x3xf32>
    %f = tfc.not %i0 : tensor<i1> -> tensor<i1>
    tfc.yield %f, %y1 : tensor<i1>, tensor<2x3xf32>
  }
  func.return %y : tensor<2x3xf32>
}

// The products of rows are the rows of one product. A row that the values choose stays where it is.
// CHECK-LABEL: func.func @rows
// CHECK:         %[[P:.*]] = tfc.dot %x, %w batch [], [] contract [2], [0] : tensor<5x2x3xf32>, tensor<3x4xf32> -> tensor<5x2x4xf32>
// CHECK:         } do {
// CHECK:           %[[R:.*]] = tfc.gather %{{.*}} at %{{.*}} along 0 batch 0 : tensor<5x2x4xf32>, tensor<i32> -> tensor<2x4xf32>
// CHECK:           tfc.dot %{{.*}}, %{{.*}} batch [], [] contract [1], [0] : tensor<2x3xf32>
func.func @rows(%x : tensor<5x2x3xf32>, %w : tensor<3x4xf32>, %s : tensor<2x4xf32>) -> tensor<2x4xf32> {
  %zero = tfc.constant 0 : tensor<i32>
  %i, %k, %y = tfc.while (%zero, %zero, %s) with (%x, %w) : (tensor<i32>, tensor<i32>, tensor<2x4xf32>), (tensor<5x2x3xf32>, tensor<3x4xf32>) -> (tensor<i32>, tensor<i32>, tensor<2x4xf32>) {
  ^bb0(%i0 : tensor<i32>, %k0 : tensor<i32>, %y0 : tensor<2x4xf32>, %x0 : tensor<5x2x3xf32>, %w0 : tensor<3x4xf32>):
    %n = tfc.constant 5 : tensor<i32>
    %p = tfc.compare lt %i0, %n : tensor<i32>, tensor<i32> -> tensor<i1>
    tfc.yield %p : tensor<i1>
  } do {
  ^bb0(%i0 : tensor<i32>, %k0 : tensor<i32>, %y0 : tensor<2x4xf32>, %x0 : tensor<5x2x3xf32>, %w0 : tensor<3x4xf32>):
    %one = tfc.constant 1 : tensor<i32>
    %two = tfc.constant 2 : tensor<i32>
    %r = tfc.gather %x0 at %i0 along 0 batch 0 : tensor<5x2x3xf32>, tensor<i32> -> tensor<2x3xf32>
    %d = tfc.dot %r, %w0 batch [], [] contract [1], [0] : tensor<2x3xf32>, tensor<3x4xf32> -> tensor<2x4xf32>
    %q = tfc.gather %x0 at %k0 along 0 batch 0 : tensor<5x2x3xf32>, tensor<i32> -> tensor<2x3xf32>
    %e = tfc.dot %q, %w0 batch [], [] contract [1], [0] : tensor<2x3xf32>, tensor<3x4xf32> -> tensor<2x4xf32>
    %s1 = tfc.add %d, %e : tensor<2x4xf32>, tensor<2x4xf32> -> tensor<2x4xf32>
    %y1 = tfc.add %y0, %s1 : tensor<2x4xf32>, tensor<2x4xf32> -> tensor<2x4xf32>
    %i1 = tfc.add %i0, %one : tensor<i32>, tensor<i32> -> tensor<i32>
    %k1 = tfc.rem %k0, %two : tensor<i32>, tensor<i32> -> tensor<i32>
    tfc.yield %i1, %k1, %y1 : tensor<i32>, tensor<i32>, tensor<2x4xf32>
  }
  func.return %y : tensor<2x4xf32>
}

// What may fail is not done for a loop that may never turn; a variable is read before.
// CHECK-LABEL: func.func @stays
// CHECK:         %[[V:.*]], %{{.*}} = tfc.read
// CHECK:         tfc.while({{.*}}) with({{.*}})
// CHECK:         } do {
// CHECK:           tfc.gather
// CHECK-NOT:       tfc.read
// CHECK:           tfc.yield
func.func @stays(%p : tensor<i1>, %x : tensor<3xf32>, %k : tensor<i32>) -> tensor<f32> {
  %z = tfc.constant 0.0 : tensor<f32>
  %i, %y = tfc.while (%p, %z) with (%x, %k) : (tensor<i1>, tensor<f32>), (tensor<3xf32>, tensor<i32>) -> (tensor<i1>, tensor<f32>) {
  ^bb0(%i0 : tensor<i1>, %y0 : tensor<f32>, %x0 : tensor<3xf32>, %k0 : tensor<i32>):
    tfc.yield %i0 : tensor<i1>
  } do {
  ^bb0(%i0 : tensor<i1>, %y0 : tensor<f32>, %x0 : tensor<3xf32>, %k0 : tensor<i32>):
    %g = tfc.gather %x0 at %k0 along 0 batch 0 : tensor<3xf32>, tensor<i32> -> tensor<f32>
    %h = tfc.variable "v" of tensor<f32> : !tfc.resource<tensor<f32>>
    %v, %t = tfc.read %h : !tfc.resource<tensor<f32>> -> tensor<f32>, !tfc.control
    %s = tfc.add %g, %v : tensor<f32>, tensor<f32> -> tensor<f32>
    %y1 = tfc.add %y0, %s : tensor<f32>, tensor<f32> -> tensor<f32>
    %f = tfc.not %i0 : tensor<i1> -> tensor<i1>
    tfc.yield %f, %y1 : tensor<i1>, tensor<f32>
  }
  func.return %y : tensor<f32>
}

// A network that joins its input and its state: the product of the inputs is found all the same.
// CHECK-LABEL: func.func @joined
// CHECK:         %[[S:.*]] = tfc.slice %w from [0, 0] sizes [3, 4]
// CHECK:         %[[P:.*]] = tfc.dot %x, %[[S]] batch [], [] contract [2], [0] : tensor<5x2x3xf32>, tensor<3x4xf32> -> tensor<5x2x4xf32>
// CHECK:         } do {
// CHECK-NOT:       tfc.concat
// CHECK:           %[[D:.*]] = tfc.dot %{{.*}}, %{{.*}} batch [], [] contract [1], [0] : tensor<2x4xf32>, tensor<4x4xf32>
// CHECK:           tfc.add %{{.*}}, %[[D]]
func.func @joined(%x : tensor<5x2x3xf32>, %w : tensor<7x4xf32>, %s : tensor<2x4xf32>) -> tensor<2x4xf32> {
  %zero = tfc.constant 0 : tensor<i32>
  %i, %y = tfc.while (%zero, %s) with (%x, %w) : (tensor<i32>, tensor<2x4xf32>), (tensor<5x2x3xf32>, tensor<7x4xf32>) -> (tensor<i32>, tensor<2x4xf32>) {
  ^bb0(%i0 : tensor<i32>, %y0 : tensor<2x4xf32>, %x0 : tensor<5x2x3xf32>, %w0 : tensor<7x4xf32>):
    %n = tfc.constant 5 : tensor<i32>
    %p = tfc.compare lt %i0, %n : tensor<i32>, tensor<i32> -> tensor<i1>
    tfc.yield %p : tensor<i1>
  } do {
  ^bb0(%i0 : tensor<i32>, %y0 : tensor<2x4xf32>, %x0 : tensor<5x2x3xf32>, %w0 : tensor<7x4xf32>):
    %one = tfc.constant 1 : tensor<i32>
    %r = tfc.gather %x0 at %i0 along 0 batch 0 : tensor<5x2x3xf32>, tensor<i32> -> tensor<2x3xf32>
    %j = tfc.concat %r, %y0 along 1 : tensor<2x3xf32>, tensor<2x4xf32> -> tensor<2x7xf32>
    %d = tfc.dot %j, %w0 batch [], [] contract [1], [0] : tensor<2x7xf32>, tensor<7x4xf32> -> tensor<2x4xf32>
    %y1 = tfc.tanh %d : tensor<2x4xf32> -> tensor<2x4xf32>
    %i1 = tfc.add %i0, %one : tensor<i32>, tensor<i32> -> tensor<i32>
    tfc.yield %i1, %y1 : tensor<i32>, tensor<2x4xf32>
  }
  func.return %y : tensor<2x4xf32>
}

// The rows that a turn reads have been changed by no turn before: nobody needs the changed array.
// CHECK-LABEL: func.func @back
// CHECK:         tfc.while(%{{.*}}, %s) with(%a)
// CHECK-NOT:     tfc.update_row
func.func @back(%a : tensor<5x2xf32>, %s : tensor<2xf32>) -> tensor<2xf32> {
  %four = tfc.constant 4 : tensor<i32>
  %i, %b, %y = tfc.while (%four, %a, %s) with () : (tensor<i32>, tensor<5x2xf32>, tensor<2xf32>), () -> (tensor<i32>, tensor<5x2xf32>, tensor<2xf32>) {
  ^bb0(%i0 : tensor<i32>, %a0 : tensor<5x2xf32>, %y0 : tensor<2xf32>):
    %zero = tfc.constant 0 : tensor<i32>
    %p = tfc.compare ge %i0, %zero : tensor<i32>, tensor<i32> -> tensor<i1>
    tfc.yield %p : tensor<i1>
  } do {
  ^bb0(%i0 : tensor<i32>, %a0 : tensor<5x2xf32>, %y0 : tensor<2xf32>):
    %less = tfc.constant -1 : tensor<i32>
    %z = tfc.constant [0.0, 0.0] : tensor<2xf32>
    %r = tfc.gather %a0 at %i0 along 0 batch 0 : tensor<5x2xf32>, tensor<i32> -> tensor<2xf32>
    %a1 = tfc.update_row %a0 at %i0 with %z : tensor<5x2xf32>, tensor<i32>, tensor<2xf32> -> tensor<5x2xf32>
    %y1 = tfc.add %y0, %r : tensor<2xf32>, tensor<2xf32> -> tensor<2xf32>
    %i1 = tfc.add %i0, %less : tensor<i32>, tensor<i32> -> tensor<i32>
    tfc.yield %i1, %a1, %y1 : tensor<i32>, tensor<5x2xf32>, tensor<2xf32>
  }
  func.return %y : tensor<2xf32>
}
