// RUN: tfc-opt %s -p limit-memory{memory-limit=8192} | filecheck %s
// RUN: tfc-opt %s -p limit-memory | filecheck %s --check-prefix=FREE

// FREE-NOT: tfc.recomputed

// Three values of 4096 bytes would be there at once: the exponential is made again for the sum, which reads it
// through a view.
// CHECK-LABEL: func.func @made_again
// CHECK-SAME:    attributes {tfc.recomputed = 1 : i64}
// CHECK:         tfc.exp
// CHECK:         tfc.tanh
// CHECK:         tfc.neg
// CHECK:         [[E:%.*]] = tfc.fusion "nest"(%x)
// CHECK:         tfc.exp
// CHECK:         [[V:%.*]] = tfc.reshape [[E]]
// CHECK:         [[W:%.*]] = tfc.reshape [[V]]
// CHECK:         tfc.fusion "nest"(%c, [[W]])
// CHECK:         tfc.add
func.func @made_again(%x : tensor<1024xf32>) -> tensor<1024xf32> {
  %a = tfc.fusion "nest"(%x) : (tensor<1024xf32>) -> tensor<1024xf32> {
  ^bb0(%a0 : tensor<1024xf32>):
    %r = tfc.exp %a0 : tensor<1024xf32> -> tensor<1024xf32>
    tfc.yield %r : tensor<1024xf32>
  }
  %b = tfc.fusion "nest"(%a) : (tensor<1024xf32>) -> tensor<1024xf32> {
  ^bb0(%a0 : tensor<1024xf32>):
    %r = tfc.tanh %a0 : tensor<1024xf32> -> tensor<1024xf32>
    tfc.yield %r : tensor<1024xf32>
  }
  %c = tfc.fusion "nest"(%b) : (tensor<1024xf32>) -> tensor<1024xf32> {
  ^bb0(%a0 : tensor<1024xf32>):
    %r = tfc.neg %a0 : tensor<1024xf32> -> tensor<1024xf32>
    tfc.yield %r : tensor<1024xf32>
  }
  %v = tfc.reshape %a to [32, 32] : tensor<1024xf32> -> tensor<32x32xf32>
  %w = tfc.reshape %v to [1024] : tensor<32x32xf32> -> tensor<1024xf32>
  %y = tfc.fusion "nest"(%c, %w) : (tensor<1024xf32>, tensor<1024xf32>) -> tensor<1024xf32> {
  ^bb0(%a0 : tensor<1024xf32>, %b0 : tensor<1024xf32>):
    %r = tfc.add %a0, %b0 : tensor<1024xf32>, tensor<1024xf32> -> tensor<1024xf32>
    tfc.yield %r : tensor<1024xf32>
  }
  func.return %y : tensor<1024xf32>
}

// The variable is assigned before the sum: what reads it cannot run there again.
// CHECK-LABEL: func.func @assigned
// CHECK-NOT:     tfc.recomputed
func.func @assigned() -> tensor<1024xf32> {
  %v = tfc.variable "v" of tensor<1024xf32> : !tfc.resource<tensor<1024xf32>>
  %x, %t = tfc.read %v : !tfc.resource<tensor<1024xf32>> -> tensor<1024xf32>, !tfc.control
  %a = tfc.fusion "nest"(%x) : (tensor<1024xf32>) -> tensor<1024xf32> {
  ^bb0(%a0 : tensor<1024xf32>):
    %r = tfc.exp %a0 : tensor<1024xf32> -> tensor<1024xf32>
    tfc.yield %r : tensor<1024xf32>
  }
  %b = tfc.fusion "nest"(%a) : (tensor<1024xf32>) -> tensor<1024xf32> {
  ^bb0(%a0 : tensor<1024xf32>):
    %r = tfc.tanh %a0 : tensor<1024xf32> -> tensor<1024xf32>
    tfc.yield %r : tensor<1024xf32>
  }
  %c = tfc.fusion "nest"(%b) : (tensor<1024xf32>) -> tensor<1024xf32> {
  ^bb0(%a0 : tensor<1024xf32>):
    %r = tfc.neg %a0 : tensor<1024xf32> -> tensor<1024xf32>
    tfc.yield %r : tensor<1024xf32>
  }
  %u = tfc.assign set %v, %c after %t : !tfc.resource<tensor<1024xf32>>, tensor<1024xf32>, !tfc.control -> !tfc.control
  %y = tfc.fusion "nest"(%c, %a) : (tensor<1024xf32>, tensor<1024xf32>) -> tensor<1024xf32> {
  ^bb0(%a0 : tensor<1024xf32>, %b0 : tensor<1024xf32>):
    %r = tfc.add %a0, %b0 : tensor<1024xf32>, tensor<1024xf32> -> tensor<1024xf32>
    tfc.yield %r : tensor<1024xf32>
  }
  func.return %y : tensor<1024xf32>
}
