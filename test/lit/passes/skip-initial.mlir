// RUN: tfc-opt %s -p skip-initial --split-input-file | filecheck %s

// Row by row, forwards and backwards: neither array is read before it is full.
// CHECK-LABEL: func.func @filled
// CHECK:         %[[A:.*]] = tfc.constant splat 0.0 {tfc.unread}
// CHECK-NEXT:    %[[B:.*]] = tfc.constant splat 0.0 {tfc.unread}
// CHECK-NEXT:    tfc.while(%{{.*}}, %{{.*}}, %[[A]], %[[B]])
func.func @filled(%x : tensor<3xf32>) -> (tensor<4x3xf32>, tensor<4x3xf32>) {
  %zero = tfc.constant 0 : tensor<i32>
  %last = tfc.constant 3 : tensor<i64>
  %z = tfc.constant splat 0.0 : tensor<4x3xf32>
  %i, %j, %a, %b = tfc.while (%zero, %last, %z, %z) with (%x) : (tensor<i32>, tensor<i64>, tensor<4x3xf32>, tensor<4x3xf32>), (tensor<3xf32>) -> (tensor<i32>, tensor<i64>, tensor<4x3xf32>, tensor<4x3xf32>) {
  ^bb0(%i0 : tensor<i32>, %j0 : tensor<i64>, %a0 : tensor<4x3xf32>, %b0 : tensor<4x3xf32>, %x0 : tensor<3xf32>):
    %n = tfc.constant 4 : tensor<i32>
    %p = tfc.compare lt %i0, %n : tensor<i32>, tensor<i32> -> tensor<i1>
    tfc.yield %p : tensor<i1>
  } do {
  ^bb0(%i0 : tensor<i32>, %j0 : tensor<i64>, %a0 : tensor<4x3xf32>, %b0 : tensor<4x3xf32>, %x0 : tensor<3xf32>):
    %one = tfc.constant 1 : tensor<i32>
    %less = tfc.constant -1 : tensor<i64>
    %i1 = tfc.add %i0, %one : tensor<i32>, tensor<i32> -> tensor<i32>
    %j1 = tfc.add %j0, %less : tensor<i64>, tensor<i64> -> tensor<i64>
    %a1 = tfc.update_row %a0 at %i0 with %x0 : tensor<4x3xf32>, tensor<i32>, tensor<3xf32> -> tensor<4x3xf32>
    %b1 = tfc.update_row %b0 at %j0 with %x0 : tensor<4x3xf32>, tensor<i64>, tensor<3xf32> -> tensor<4x3xf32>
    tfc.yield %i1, %j1, %a1, %b1 : tensor<i32>, tensor<i64>, tensor<4x3xf32>, tensor<4x3xf32>
  }
  func.return %a, %b : tensor<4x3xf32>, tensor<4x3xf32>
}

// -----

// One row is left; one array is read in its turn; one is written at a place that only the run knows.
// CHECK-LABEL: func.func @needed
// CHECK-NOT:     tfc.unread
func.func @needed(%x : tensor<3xf32>, %k : tensor<i32>) -> (tensor<5x3xf32>, tensor<4x3xf32>, tensor<4x3xf32>) {
  %zero = tfc.constant 0 : tensor<i32>
  %z = tfc.constant splat 0.0 : tensor<4x3xf32>
  %five = tfc.constant splat 0.0 : tensor<5x3xf32>
  %i, %a, %b, %c = tfc.while (%zero, %five, %z, %z) with (%x, %k) : (tensor<i32>, tensor<5x3xf32>, tensor<4x3xf32>, tensor<4x3xf32>), (tensor<3xf32>, tensor<i32>) -> (tensor<i32>, tensor<5x3xf32>, tensor<4x3xf32>, tensor<4x3xf32>) {
  ^bb0(%i0 : tensor<i32>, %a0 : tensor<5x3xf32>, %b0 : tensor<4x3xf32>, %c0 : tensor<4x3xf32>, %x0 : tensor<3xf32>, %k0 : tensor<i32>):
    %n = tfc.constant 4 : tensor<i32>
    %p = tfc.compare lt %i0, %n : tensor<i32>, tensor<i32> -> tensor<i1>
    tfc.yield %p : tensor<i1>
  } do {
  ^bb0(%i0 : tensor<i32>, %a0 : tensor<5x3xf32>, %b0 : tensor<4x3xf32>, %c0 : tensor<4x3xf32>, %x0 : tensor<3xf32>, %k0 : tensor<i32>):
    %one = tfc.constant 1 : tensor<i32>
    %i1 = tfc.add %i0, %one : tensor<i32>, tensor<i32> -> tensor<i32>
    %a1 = tfc.update_row %a0 at %i0 with %x0 : tensor<5x3xf32>, tensor<i32>, tensor<3xf32> -> tensor<5x3xf32>
    %r = tfc.gather %b0 at %k0 along 0 batch 0 : tensor<4x3xf32>, tensor<i32> -> tensor<3xf32>
    %b1 = tfc.update_row %b0 at %i0 with %r : tensor<4x3xf32>, tensor<i32>, tensor<3xf32> -> tensor<4x3xf32>
    %c1 = tfc.update_row %c0 at %k0 with %x0 : tensor<4x3xf32>, tensor<i32>, tensor<3xf32> -> tensor<4x3xf32>
    tfc.yield %i1, %a1, %b1, %c1 : tensor<i32>, tensor<5x3xf32>, tensor<4x3xf32>, tensor<4x3xf32>
  }
  func.return %a, %b, %c : tensor<5x3xf32>, tensor<4x3xf32>, tensor<4x3xf32>
}
