// RUN: tfc-opt %s -p canonicalize | filecheck %s

// x + -0.0 is x for every x; x + 0.0 is not: it turns -0.0 into 0.0.
// CHECK-LABEL: func.func @add_zero
// CHECK-SAME:  (%[[X:.*]]: tensor<4xf32>)
// CHECK:         %[[Z:.*]] = tfc.constant splat 0.0
// CHECK-NEXT:    %[[Y:.*]] = tfc.add %[[X]], %[[Z]]
// CHECK-NEXT:    func.return %[[X]], %[[Y]]
func.func @add_zero(%x : tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %m = tfc.constant splat -0.0 : tensor<4xf32>
  %p = tfc.constant splat 0.0 : tensor<4xf32>
  %a = tfc.add %x, %m : tensor<4xf32>, tensor<4xf32> -> tensor<4xf32>
  %b = tfc.add %x, %p : tensor<4xf32>, tensor<4xf32> -> tensor<4xf32>
  func.return %a, %b : tensor<4xf32>, tensor<4xf32>
}

// Integers have one zero, on either side.
// CHECK-LABEL: func.func @add_zero_of_integers
// CHECK-NEXT:    func.return %{{.*}}
func.func @add_zero_of_integers(%x : tensor<4xi32>) -> tensor<4xi32> {
  %z = tfc.constant splat 0 : tensor<4xi32>
  %a = tfc.add %z, %x : tensor<4xi32>, tensor<4xi32> -> tensor<4xi32>
  func.return %a : tensor<4xi32>
}

// x * 0 is 0 for integers; for floats it may be NaN, and stays.
// CHECK-LABEL: func.func @mul_zero
// CHECK:         %[[I:.*]] = tfc.constant splat 0 : tensor<4xi32>
// CHECK:         %[[F:.*]] = tfc.mul
// CHECK:         func.return %[[I]], %[[F]]
func.func @mul_zero(%x : tensor<4xi32>, %y : tensor<4xf32>) -> (tensor<4xi32>, tensor<4xf32>) {
  %i = tfc.constant splat 0 : tensor<4xi32>
  %f = tfc.constant splat 0.0 : tensor<4xf32>
  %a = tfc.mul %x, %i : tensor<4xi32>, tensor<4xi32> -> tensor<4xi32>
  %b = tfc.mul %y, %f : tensor<4xf32>, tensor<4xf32> -> tensor<4xf32>
  func.return %a, %b : tensor<4xi32>, tensor<4xf32>
}

// Dividing by 8 is multiplying by 0.125; dividing by 3 is not multiplying by anything.
// CHECK-LABEL: func.func @div_constant
// CHECK-SAME:  (%[[X:.*]]: tensor<4xf32>)
// CHECK-DAG:     %[[THREE:.*]] = tfc.constant splat 3.0
// CHECK-DAG:     %[[EIGHTH:.*]] = tfc.constant splat 0.125
// CHECK-DAG:     %[[A:.*]] = tfc.mul %[[X]], %[[EIGHTH]]
// CHECK-DAG:     %[[B:.*]] = tfc.div %[[X]], %[[THREE]]
// CHECK:         func.return %[[A]], %[[B]]
func.func @div_constant(%x : tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %c = tfc.constant splat 8.0 : tensor<4xf32>
  %d = tfc.constant splat 3.0 : tensor<4xf32>
  %a = tfc.div %x, %c : tensor<4xf32>, tensor<4xf32> -> tensor<4xf32>
  %b = tfc.div %x, %d : tensor<4xf32>, tensor<4xf32> -> tensor<4xf32>
  func.return %a, %b : tensor<4xf32>, tensor<4xf32>
}

// The reciprocal of 2^127 is no normal number of f32: it might be flushed to zero.
// CHECK-LABEL: func.func @div_subnormal_reciprocal
// CHECK:         tfc.div
func.func @div_subnormal_reciprocal(%x : tensor<4xf32>) -> tensor<4xf32> {
  %c = tfc.constant splat 1.7014118346046923e+38 : tensor<4xf32>
  %a = tfc.div %x, %c : tensor<4xf32>, tensor<4xf32> -> tensor<4xf32>
  func.return %a : tensor<4xf32>
}

// Constants stand to the right, and constants of an exact chain come together.
// CHECK-LABEL: func.func @constants
// CHECK-SAME:  (%[[X:.*]]: tensor<4xf32>)
// CHECK-DAG:     %[[C:.*]] = tfc.constant splat 1.0
// CHECK-DAG:     %[[D:.*]] = tfc.constant splat 2.0
// CHECK:         %[[E:.*]] = tfc.max %[[C]], %[[D]]
// CHECK-NEXT:    %[[M:.*]] = tfc.max %[[X]], %[[E]]
// CHECK-NEXT:    %[[L:.*]] = tfc.compare gt %[[M]], %[[C]]
// CHECK-NEXT:    func.return %[[L]]
func.func @constants(%x : tensor<4xf32>) -> tensor<4xi1> {
  %c = tfc.constant splat 1.0 : tensor<4xf32>
  %d = tfc.constant splat 2.0 : tensor<4xf32>
  %a = tfc.max %c, %x : tensor<4xf32>, tensor<4xf32> -> tensor<4xf32>
  %b = tfc.max %d, %a : tensor<4xf32>, tensor<4xf32> -> tensor<4xf32>
  %l = tfc.compare lt %c, %b : tensor<4xf32>, tensor<4xf32> -> tensor<4xi1>
  func.return %l : tensor<4xi1>
}

// Adding two constants to a float in another order rounds differently: nothing may happen.
// CHECK-LABEL: func.func @no_reassociation
// CHECK:         tfc.add
// CHECK:         tfc.add
func.func @no_reassociation(%x : tensor<4xf32>) -> tensor<4xf32> {
  %c = tfc.constant splat 1.0 : tensor<4xf32>
  %d = tfc.constant splat 2.0 : tensor<4xf32>
  %a = tfc.add %x, %c : tensor<4xf32>, tensor<4xf32> -> tensor<4xf32>
  %b = tfc.add %a, %d : tensor<4xf32>, tensor<4xf32> -> tensor<4xf32>
  func.return %b : tensor<4xf32>
}

// A uniform value is seen through the broadcast to a named dim, too.
// CHECK-LABEL: func.func @uniform_of_named_dim
// CHECK-SAME:  (%[[X:.*]]: tensor<?xf32, #tfc.dims<["n"]>>)
// CHECK-NEXT:    func.return %[[X]]
func.func @uniform_of_named_dim(%x : tensor<?xf32, #tfc.dims<["n"]>>) -> tensor<?xf32, #tfc.dims<["n"]>> {
  %c = tfc.constant 1.0 : tensor<f32>
  %b = tfc.broadcast %c to ["n"] at [] : tensor<f32> -> tensor<?xf32, #tfc.dims<["n"]>>
  %a = tfc.mul %x, %b : tensor<?xf32, #tfc.dims<["n"]>>, tensor<?xf32, #tfc.dims<["n"]>> -> tensor<?xf32, #tfc.dims<["n"]>>
  func.return %a : tensor<?xf32, #tfc.dims<["n"]>>
}

// Signs that cancel.
// CHECK-LABEL: func.func @signs
// CHECK-SAME:  (%[[X:.*]]: tensor<4xf32>, %[[Y:.*]]: tensor<4xf32>)
// CHECK-NEXT:    %[[A:.*]] = tfc.sub %[[X]], %[[Y]]
// CHECK-NEXT:    %[[B:.*]] = tfc.abs %[[A]]
// CHECK-NEXT:    func.return %[[B]]
func.func @signs(%x : tensor<4xf32>, %y : tensor<4xf32>) -> tensor<4xf32> {
  %n = tfc.neg %y : tensor<4xf32> -> tensor<4xf32>
  %a = tfc.add %x, %n : tensor<4xf32>, tensor<4xf32> -> tensor<4xf32>
  %m = tfc.neg %a : tensor<4xf32> -> tensor<4xf32>
  %b = tfc.abs %m : tensor<4xf32> -> tensor<4xf32>
  func.return %b : tensor<4xf32>
}

// An unsigned integer is its absolute value, and the negation of 1 is the greatest.
// CHECK-LABEL: func.func @unsigned_signs
// CHECK-NEXT:    %[[N:.*]] = tfc.neg
// CHECK-NEXT:    func.return %[[N]]
func.func @unsigned_signs(%x : tensor<4xui8>) -> tensor<4xui8> {
  %n = tfc.neg %x : tensor<4xui8> -> tensor<4xui8>
  %a = tfc.abs %n : tensor<4xui8> -> tensor<4xui8>
  func.return %a : tensor<4xui8>
}

// Casts: through a wider type is direct; through a narrower one is not.
// CHECK-LABEL: func.func @casts
// CHECK-SAME:  (%[[X:.*]]: tensor<4xf32>)
// CHECK-NEXT:    %[[A:.*]] = tfc.cast %[[X]] to i32
// CHECK-NEXT:    %[[B:.*]] = tfc.cast %[[X]] to f16
// CHECK-NEXT:    %[[C:.*]] = tfc.cast %[[B]] to i32
// CHECK-NEXT:    func.return %[[A]], %[[C]]
func.func @casts(%x : tensor<4xf32>) -> (tensor<4xi32>, tensor<4xi32>) {
  %w = tfc.cast %x to f64 : tensor<4xf32> -> tensor<4xf64>
  %a = tfc.cast %w to i32 : tensor<4xf64> -> tensor<4xi32>
  %n = tfc.cast %x to f16 : tensor<4xf32> -> tensor<4xf16>
  %b = tfc.cast %n to i32 : tensor<4xf16> -> tensor<4xi32>
  func.return %a, %b : tensor<4xi32>, tensor<4xi32>
}

// not(x < y) is x >= y for integers only: a NaN is neither.
// CHECK-LABEL: func.func @comparisons
// CHECK:         %[[I:.*]] = tfc.compare ge
// CHECK:         %[[F:.*]] = tfc.compare lt
// CHECK-NEXT:    %[[N:.*]] = tfc.not %[[F]]
// CHECK-NEXT:    func.return %[[I]], %[[N]]
func.func @comparisons(%x : tensor<4xi32>, %y : tensor<4xf32>) -> (tensor<4xi1>, tensor<4xi1>) {
  %z = tfc.constant splat 7 : tensor<4xi32>
  %c = tfc.compare lt %x, %z : tensor<4xi32>, tensor<4xi32> -> tensor<4xi1>
  %i = tfc.not %c : tensor<4xi1> -> tensor<4xi1>
  %d = tfc.compare lt %y, %y : tensor<4xf32>, tensor<4xf32> -> tensor<4xi1>
  %f = tfc.not %d : tensor<4xi1> -> tensor<4xi1>
  func.return %i, %f : tensor<4xi1>, tensor<4xi1>
}

// A known condition decides; equal branches need none.
// CHECK-LABEL: func.func @select
// CHECK-SAME:  (%[[C:.*]]: tensor<4xi1>, %[[X:.*]]: tensor<4xf32>, %[[Y:.*]]: tensor<4xf32>)
// CHECK:         func.return %[[X]], %[[Y]]
func.func @select(%c : tensor<4xi1>, %x : tensor<4xf32>, %y : tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %t = tfc.constant splat true : tensor<4xi1>
  %a = tfc.select %t, %x, %y : tensor<4xi1>, tensor<4xf32>, tensor<4xf32> -> tensor<4xf32>
  %b = tfc.select %c, %y, %y : tensor<4xi1>, tensor<4xf32>, tensor<4xf32> -> tensor<4xf32>
  func.return %a, %b : tensor<4xf32>, tensor<4xf32>
}

// Small powers are products.
// CHECK-LABEL: func.func @powers
// CHECK-SAME:  (%[[X:.*]]: tensor<4xf32>)
// CHECK:         %[[S:.*]] = tfc.mul %[[X]], %[[X]]
// CHECK-NEXT:    %[[C:.*]] = tfc.mul %[[S]], %[[X]]
func.func @powers(%x : tensor<4xf32>) -> tensor<4xf32> {
  %t = tfc.constant splat 3.0 : tensor<4xf32>
  %a = tfc.pow %x, %t : tensor<4xf32>, tensor<4xf32> -> tensor<4xf32>
  func.return %a : tensor<4xf32>
}
