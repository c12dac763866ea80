// RUN: tfc-opt %s --verify-diagnostics --split-input-file | filecheck %s

// Sorting: each constraint of its docstring, broken once.

// How many stages there are depends on the extent.
// CHECK: error: 'tfc.argsort' (C1): expected an axis below 1 of an extent that is a number, got 0 of [n]
func.func @argsort_c1(%a0: tensor<?xf32, #tfc.dims<["n"]>>) {
  %1 = tfc.argsort %a0 along 0 : tensor<?xf32, #tfc.dims<["n"]>> -> tensor<?xi64, #tfc.dims<["n"]>>
  func.return
}

// -----

// There is no axis 1 in one dim.
// CHECK: error: 'tfc.argsort' (C1): expected an axis below 1 of an extent that is a number, got 1 of [3]
func.func @argsort_c1_axis(%a0: tensor<3xf32>) {
  %1 = tfc.argsort %a0 along 1 descending : tensor<3xf32> -> tensor<3xi64>
  func.return
}
