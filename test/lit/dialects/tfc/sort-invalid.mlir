// RUN: tfc-opt %s --verify-diagnostics --split-input-file | filecheck %s

// Sorting: each constraint of its docstring, broken once.

// How many passes there are depends on the extent.
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

// -----

// A pass of a sort takes keys and places in one integer.
// CHECK: error: 'tfc.merge_runs' (C1): expected i64 of rank 1 or more, and one i32, got tensor<3xi32> and tensor<i32>
func.func @merge_runs_c1(%a0: tensor<3xi32>, %a1: tensor<i32>) {
  %1 = tfc.merge_runs %a0 runs %a1 : tensor<3xi32>, tensor<i32> -> tensor<3xi32>
  func.return
}

// -----

// A counter for each value of the bits needs a number of elements.
// CHECK: error: 'tfc.radix_pass' (C1): expected i64 of rank 1 or more, whose last extent is a number, got tensor<3xi32>
func.func @radix_pass_c1(%a0: tensor<3xi32>) {
  %1 = tfc.radix_pass %a0 runs 3 bits 0 + 8 : tensor<3xi32> -> tensor<3xi32>
  func.return
}

// -----

// CHECK: error: 'tfc.radix_pass' (C2): expected a run and 1 to 12 of 64 bits, got run 3, bits 60 + 8
func.func @radix_pass_c2(%a0: tensor<3xi64>) {
  %1 = tfc.radix_pass %a0 runs 3 bits 60 + 8 : tensor<3xi64> -> tensor<3xi64>
  func.return
}
