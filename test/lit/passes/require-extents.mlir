// RUN: tfc-opt %s -p require-extents | filecheck %s

// Two names for one extent: the run has to show that they agree.
// CHECK-LABEL: func.func @equal
// CHECK-SAME:    attributes {tfc.requires = [
// CHECK-SAME:      ["-m+n", "{{.*}}'tfc.add': expected equal extents, n and m"],
// CHECK-SAME:      ["m-n", "{{.*}}'tfc.add': expected equal extents, n and m"]]}
func.func @equal(%x : tensor<?xf32, #tfc.dims<["n"]>>, %y : tensor<?xf32, #tfc.dims<["m"]>>) -> tensor<?xf32, #tfc.dims<["n"]>> {
  %z = tfc.add %x, %y : tensor<?xf32, #tfc.dims<["n"]>>, tensor<?xf32, #tfc.dims<["m"]>> -> tensor<?xf32, #tfc.dims<["n"]>>
  func.return %z : tensor<?xf32, #tfc.dims<["n"]>>
}

// Rows 0 to 1 of n: there is one for certain, the second has to be there.
// CHECK-LABEL: func.func @inside
// CHECK-SAME:    attributes {tfc.requires = [["n-2", "{{.*}}'tfc.slice': expected an end 2 of at most n"]]}
func.func @inside(%x : tensor<?x4xf32, #tfc.dims<["n", ""]>>) -> (tensor<1x4xf32>, tensor<2x4xf32>) {
  %a = tfc.slice %x from [0, 0] sizes [1, 4] strides [1, 1] : tensor<?x4xf32, #tfc.dims<["n", ""]>> -> tensor<1x4xf32>
  %b = tfc.slice %x from [0, 0] sizes [2, 4] strides [1, 1] : tensor<?x4xf32, #tfc.dims<["n", ""]>> -> tensor<2x4xf32>
  func.return %a, %b : tensor<1x4xf32>, tensor<2x4xf32>
}

// Nothing is left open: nothing is written down.
// CHECK-LABEL: func.func @proven
// CHECK-NOT:     tfc.requires
func.func @proven(%x : tensor<?xf32, #tfc.dims<["n"]>>) -> tensor<?xf32, #tfc.dims<["n"]>> {
  %z = tfc.add %x, %x : tensor<?xf32, #tfc.dims<["n"]>>, tensor<?xf32, #tfc.dims<["n"]>> -> tensor<?xf32, #tfc.dims<["n"]>>
  func.return %z : tensor<?xf32, #tfc.dims<["n"]>>
}
