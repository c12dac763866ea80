// RUN: tfc-opt %s -p simplify-shapes,prune | filecheck %s
// RUN: tfc-opt %s -p 'simplify-shapes{name-dims=true},prune' | filecheck %s --check-prefix=NAMED
// RUN: tfc-opt %s -p 'simplify-shapes{dims="n=8"},prune' | filecheck %s --check-prefix=EIGHT

// What an argument's type says spreads to all results and to the signature.
// CHECK-LABEL: func.func @spread
// CHECK-SAME:  -> tensor<2x3xf32>
// CHECK-NEXT:    tfc.neg %{{.*}} : tensor<2x3xf32> -> tensor<2x3xf32>
func.func @spread(%x : tensor<2x3xf32>) -> tensor<?x?xf32> {
  %a = tfc.neg %x : tensor<2x3xf32> -> tensor<?x?xf32>
  func.return %a : tensor<?x?xf32>
}

// Unknown extents of arguments get names on demand.
// NAMED-LABEL: func.func @names
// NAMED-SAME:  (%{{.*}}: tensor<?x4xf32, #tfc.dims<["d0", ""]>>)
// NAMED-SAME:  -> tensor<?x4xf32, #tfc.dims<["d0", ""]>>
// CHECK-LABEL: func.func @names
// CHECK-SAME:  (%{{.*}}: tensor<?x4xf32>)
func.func @names(%x : tensor<?x4xf32>) -> tensor<?x4xf32> {
  %a = tfc.neg %x : tensor<?x4xf32> -> tensor<?x4xf32>
  func.return %a : tensor<?x4xf32>
}

// The shape of a static tensor is a constant; a computed reshape becomes a reshape.
// CHECK-LABEL: func.func @reshape
// CHECK-SAME:  -> tensor<?x12xf32, #tfc.dims<["n", ""]>>
// CHECK-NEXT:    tfc.reshape %{{.*}} to ["n", 12]
// EIGHT-LABEL: func.func @reshape
// EIGHT-SAME:  (%{{.*}}: tensor<8x3x4xf32>) -> tensor<8x12xf32>
// EIGHT-NEXT:    tfc.reshape %{{.*}} to [8, 12]
func.func @reshape(%x : tensor<?x3x4xf32, #tfc.dims<["n", "", ""]>>) -> tensor<?x?xf32> {
  %s = tfc.shape_of %x : tensor<?x3x4xf32, #tfc.dims<["n", "", ""]>> -> tensor<3xi64>
  %n = tfc.slice %s from [0] sizes [1] strides [1] : tensor<3xi64> -> tensor<1xi64>
  %m = tfc.constant [-1] : tensor<1xi64>
  %t = tfc.concat %n, %m along 0 : tensor<1xi64>, tensor<1xi64> -> tensor<2xi64>
  %y = tfc.dynamic_reshape %x to %t : tensor<?x3x4xf32, #tfc.dims<["n", "", ""]>>, tensor<2xi64> -> tensor<?x?xf32>
  func.return %y : tensor<?x?xf32>
}

// Negative positions count from the end, also of a named dim; a negative stride reverses.
// CHECK-LABEL: func.func @slices
// CHECK:         tfc.slice %{{.*}} from ["n-1", 1] sizes [1, 2] strides [1, 2]
// CHECK:         tfc.slice %{{.*}} from [0, 1] sizes ["n", 3] strides [1, 1]
// CHECK-NEXT:    tfc.reverse %{{.*}} along [1]
func.func @slices(%x : tensor<?x5xf32, #tfc.dims<["n", ""]>>) -> (tensor<?x?xf32>, tensor<?x?xf32>) {
  %b = tfc.constant [-1, 1] : tensor<2xi64>
  %e = tfc.constant [9223372036854775807, -1] : tensor<2xi64>
  %s = tfc.constant [1, 2] : tensor<2xi64>
  %y = tfc.dynamic_slice %x from %b to %e by %s : tensor<?x5xf32, #tfc.dims<["n", ""]>>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64> -> tensor<?x?xf32>
  %c = tfc.constant [0, 3] : tensor<2xi64>
  %f = tfc.constant [9223372036854775807, 0] : tensor<2xi64>
  %t = tfc.constant [1, -1] : tensor<2xi64>
  %z = tfc.dynamic_slice %x from %c to %f by %t : tensor<?x5xf32, #tfc.dims<["n", ""]>>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64> -> tensor<?x?xf32>
  func.return %y, %z : tensor<?x?xf32>, tensor<?x?xf32>
}

// Amounts that are inputs stay computed.
// CHECK-LABEL: func.func @unknown
// CHECK:         tfc.dynamic_reshape
func.func @unknown(%x : tensor<4x3xf32>, %s : tensor<2xi64>) -> tensor<?x?xf32> {
  %y = tfc.dynamic_reshape %x to %s : tensor<4x3xf32>, tensor<2xi64> -> tensor<?x?xf32>
  func.return %y : tensor<?x?xf32>
}
