// RUN: tfc-opt %s -p cse | filecheck %s
// RUN: tfc-opt %s -p cse > %t.once && tfc-opt %s -p cse,cse > %t.twice && cat %t.once | filecheck %s

// The order of operands of a sum says nothing, and what follows becomes equal in its turn.
// CHECK-LABEL: func.func @commutative
// CHECK-SAME:  (%[[X:.*]]: tensor<4xf32>, %[[Y:.*]]: tensor<4xf32>)
// CHECK-NEXT:    %[[A:.*]] = tfc.add %[[X]], %[[Y]]
// CHECK-NEXT:    %[[N:.*]] = tfc.neg %[[A]]
// CHECK-NEXT:    func.return %[[N]], %[[N]]
func.func @commutative(%x : tensor<4xf32>, %y : tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %a = tfc.add %x, %y : tensor<4xf32>, tensor<4xf32> -> tensor<4xf32>
  %b = tfc.add %y, %x : tensor<4xf32>, tensor<4xf32> -> tensor<4xf32>
  %c = tfc.neg %a : tensor<4xf32> -> tensor<4xf32>
  %d = tfc.neg %b : tensor<4xf32> -> tensor<4xf32>
  func.return %c, %d : tensor<4xf32>, tensor<4xf32>
}

// x - y is not y - x; x < y is y > x.
// CHECK-LABEL: func.func @orders
// CHECK-NEXT:    tfc.sub
// CHECK-NEXT:    tfc.sub
// CHECK-NEXT:    %[[L:.*]] = tfc.compare lt
// CHECK-NEXT:    func.return {{.*}}, {{.*}}, %[[L]], %[[L]]
func.func @orders(%x : tensor<4xf32>, %y : tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xi1>, tensor<4xi1>) {
  %a = tfc.sub %x, %y : tensor<4xf32>, tensor<4xf32> -> tensor<4xf32>
  %b = tfc.sub %y, %x : tensor<4xf32>, tensor<4xf32> -> tensor<4xf32>
  %c = tfc.compare lt %x, %y : tensor<4xf32>, tensor<4xf32> -> tensor<4xi1>
  %d = tfc.compare gt %y, %x : tensor<4xf32>, tensor<4xf32> -> tensor<4xi1>
  func.return %a, %b, %c, %d : tensor<4xf32>, tensor<4xf32>, tensor<4xi1>, tensor<4xi1>
}

// Equal operations with other properties, or on other devices, are not the same.
// CHECK-LABEL: func.func @properties
// CHECK-NEXT:    tfc.reduce
// CHECK-NEXT:    tfc.reduce
// CHECK-NEXT:    tfc.neg
// CHECK-NEXT:    tfc.neg
func.func @properties(%x : tensor<4x4xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4x4xf32>, tensor<4x4xf32>) {
  %a = tfc.reduce sum %x over [0] : tensor<4x4xf32> -> tensor<4xf32>
  %b = tfc.reduce sum %x over [1] : tensor<4x4xf32> -> tensor<4xf32>
  %c = tfc.neg %x {tfc.device = "/cpu:0"} : tensor<4x4xf32> -> tensor<4x4xf32>
  %d = tfc.neg %x {tfc.device = "/cpu:1"} : tensor<4x4xf32> -> tensor<4x4xf32>
  func.return %a, %b, %c, %d : tensor<4xf32>, tensor<4xf32>, tensor<4x4xf32>, tensor<4x4xf32>
}

// Two reads of a variable may see two values: effects are never merged.
// CHECK-LABEL: func.func @effects
// CHECK-NEXT:    tfc.variable
// CHECK-NEXT:    tfc.read
// CHECK-NEXT:    tfc.read
func.func @effects() -> (tensor<2xf32>, tensor<2xf32>) {
  %v = tfc.variable "v" of tensor<2xf32> : !tfc.resource<tensor<2xf32>>
  %w = tfc.variable "v" of tensor<2xf32> : !tfc.resource<tensor<2xf32>>
  %y, %s = tfc.read %v : !tfc.resource<tensor<2xf32>> -> tensor<2xf32>, !tfc.control
  %z, %t = tfc.read %w : !tfc.resource<tensor<2xf32>> -> tensor<2xf32>, !tfc.control
  func.return %y, %z : tensor<2xf32>, tensor<2xf32>
}

// Constants are merged by their values, also where only a look at all of them tells them apart.
// CHECK-LABEL: func.func @constants
// CHECK-NEXT:    %[[A:.*]] = tfc.constant [1.0, 2.0, 3.0]
// CHECK-NEXT:    %[[B:.*]] = tfc.constant [1.0, 2.0, 4.0]
// CHECK-NEXT:    func.return %[[A]], %[[B]], %[[A]], %[[B]]
func.func @constants() -> (tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>) {
  %a = tfc.constant [1.0, 2.0, 3.0] : tensor<3xf32>
  %b = tfc.constant [1.0, 2.0, 4.0] : tensor<3xf32>
  %c = tfc.constant [1.0, 2.0, 3.0] : tensor<3xf32>
  %d = tfc.constant [1.0, 2.0, 4.0] : tensor<3xf32>
  func.return %a, %b, %c, %d : tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>
}
