// RUN: tfc-opt %s -p 'fold-constants{max-bytes=1024}' | filecheck %s
// RUN: tfc-opt %s -p 'fold-constants{max-seconds=0}' | filecheck %s --check-prefix=NOTIME

// What depends on no input is computed.
// CHECK-LABEL: func.func @fold
// CHECK-NEXT:    %[[C:.*]] = tfc.constant [0.0, -1.0, 2.0] : tensor<3xf32>
// CHECK-NEXT:    func.return %[[C]]
// Without time left, it is not.
// NOTIME-LABEL: func.func @fold
// NOTIME:         tfc.neg
func.func @fold() -> tensor<3xf32> {
  %a = tfc.constant [0.0, 1.0, 2.0] : tensor<3xf32>
  %b = tfc.constant [0.0, -2.0, 0.0] : tensor<3xf32>
  %s = tfc.add %a, %b : tensor<3xf32>, tensor<3xf32> -> tensor<3xf32>
  %n = tfc.neg %s : tensor<3xf32> -> tensor<3xf32>
  %m = tfc.neg %n : tensor<3xf32> -> tensor<3xf32>
  func.return %m : tensor<3xf32>
}

// A splat of any size is computed on one element, also when it is moved; budgets do not matter.
// CHECK-LABEL: func.func @splats
// CHECK-NEXT:    %[[C:.*]] = tfc.constant splat 2.5 : tensor<4096x1000000xf32>
// CHECK-NEXT:    func.return %[[C]]
// NOTIME-LABEL: func.func @splats
// NOTIME-NEXT:    %[[C:.*]] = tfc.constant splat 2.5 : tensor<4096x1000000xf32>
func.func @splats() -> tensor<4096x1000000xf32> {
  %a = tfc.constant splat 2.0 : tensor<1000000x4096xf32>
  %h = tfc.constant splat 0.5 : tensor<1000000x4096xf32>
  %b = tfc.add %a, %h : tensor<1000000x4096xf32>, tensor<1000000x4096xf32> -> tensor<1000000x4096xf32>
  %t = tfc.transpose %b by [1, 0] : tensor<1000000x4096xf32> -> tensor<4096x1000000xf32>
  func.return %t : tensor<4096x1000000xf32>
}

// What would make the program larger than the budget allows stays; what keeps its size is folded.
// CHECK-LABEL: func.func @bytes
// CHECK:         tfc.iota
// CHECK:         %[[T:.*]] = tfc.constant {{\[\[}}0.0, 3.0], [1.0, 4.0], [2.0, 5.0]] : tensor<3x2xf32>
func.func @bytes() -> (tensor<100x100xf32>, tensor<3x2xf32>) {
  %i = tfc.iota [100, 100] along 0 of f32 : tensor<100x100xf32>
  %a = tfc.constant [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]] : tensor<2x3xf32>
  %t = tfc.transpose %a by [1, 0] : tensor<2x3xf32> -> tensor<3x2xf32>
  func.return %i, %t : tensor<100x100xf32>, tensor<3x2xf32>
}

// A variable's value is not known, whatever it starts as.
// CHECK-LABEL: func.func @effects
// CHECK:         tfc.read
// CHECK:         tfc.neg
func.func @effects() -> tensor<2xf32> {
  %v = tfc.variable "v" of tensor<2xf32> : !tfc.resource<tensor<2xf32>>
  %y, %s = tfc.read %v : !tfc.resource<tensor<2xf32>> -> tensor<2xf32>, !tfc.control
  %n = tfc.neg %y : tensor<2xf32> -> tensor<2xf32>
  func.return %n : tensor<2xf32>
}

// Counting and repeating cost a kernel nothing and stay; what is computed from them is folded.
// CHECK-LABEL: func.func @free
// CHECK-NEXT:    %[[I:.*]] = tfc.iota [3]
// CHECK-NEXT:    %[[C:.*]] = tfc.constant [1.0, 2.0]
// CHECK-NEXT:    %[[B:.*]] = tfc.broadcast %[[C]] to [3, 2]
// CHECK-NEXT:    %[[S:.*]] = tfc.constant [-0.0, -1.0, -2.0]
// CHECK-NEXT:    func.return %[[I]], %[[B]], %[[S]], %[[C]]
func.func @free() -> (tensor<3xf32>, tensor<3x2xf32>, tensor<3xf32>, tensor<2xf32>) {
  %i = tfc.iota [3] along 0 of f32 : tensor<3xf32>
  %c = tfc.constant [1.0, 2.0] : tensor<2xf32>
  %b = tfc.broadcast %c to [3, 2] at [1] : tensor<2xf32> -> tensor<3x2xf32>
  %s = tfc.neg %i : tensor<3xf32> -> tensor<3xf32>
  func.return %i, %b, %s, %c : tensor<3xf32>, tensor<3x2xf32>, tensor<3xf32>, tensor<2xf32>
}
