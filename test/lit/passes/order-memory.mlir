// RUN: tfc-opt %s -p order-memory | filecheck %s

// One large value at a time: each is summed before the next is made.
// CHECK-LABEL: func.func @one_at_a_time
// CHECK-SAME:    attributes {tfc.peak_before = 8196 : i64, tfc.peak_after = 4104 : i64}
// CHECK-NEXT:    tfc.exp
// CHECK-NEXT:    tfc.reduce
// CHECK-NEXT:    tfc.neg
// CHECK-NEXT:    tfc.reduce
// CHECK-NEXT:    tfc.add
func.func @one_at_a_time(%x : tensor<1024xf32>) -> tensor<f32> {
  %a = tfc.exp %x : tensor<1024xf32> -> tensor<1024xf32>
  %b = tfc.neg %x : tensor<1024xf32> -> tensor<1024xf32>
  %s = tfc.reduce sum %a over [0] : tensor<1024xf32> -> tensor<f32>
  %t = tfc.reduce sum %b over [0] : tensor<1024xf32> -> tensor<f32>
  %y = tfc.add %s, %t : tensor<f32>, tensor<f32> -> tensor<f32>
  func.return %y : tensor<f32>
}

// Nothing is gained by another order: the text stays as it is.
// CHECK-LABEL: func.func @no_better_order
// CHECK-NEXT:    tfc.neg
// CHECK-NEXT:    tfc.exp
// CHECK-NEXT:    tfc.add
func.func @no_better_order(%x : tensor<1024xf32>) -> tensor<1024xf32> {
  %a = tfc.neg %x : tensor<1024xf32> -> tensor<1024xf32>
  %b = tfc.exp %x : tensor<1024xf32> -> tensor<1024xf32>
  %y = tfc.add %a, %b : tensor<1024xf32>, tensor<1024xf32> -> tensor<1024xf32>
  func.return %y : tensor<1024xf32>
}

// The value of %v is its storage: what uses it stays before the assignment, although assigning
// first would free %n earlier.
// CHECK-LABEL: func.func @uses_before_assignment
// CHECK:         tfc.read
// CHECK:         tfc.exp
// CHECK:         tfc.assign
func.func @uses_before_assignment(%x : tensor<1024xf32>) -> tensor<1024xf32> {
  %v = tfc.variable "v" of tensor<1024xf32> : !tfc.resource<tensor<1024xf32>>
  %r, %t = tfc.read %v : !tfc.resource<tensor<1024xf32>> -> tensor<1024xf32>, !tfc.control
  %n = tfc.neg %x : tensor<1024xf32> -> tensor<1024xf32>
  %y = tfc.exp %r : tensor<1024xf32> -> tensor<1024xf32>
  %u = tfc.assign set %v, %n after %t : !tfc.resource<tensor<1024xf32>>, tensor<1024xf32>, !tfc.control -> !tfc.control
  func.return %y : tensor<1024xf32>
}
