// RUN: tfc-opt %s --verify-diagnostics --split-input-file | filecheck %s

// Activations: each constraint of their docstrings, broken once.

// A sigmoid needs a fraction.
// CHECK: error: 'tfc.sigmoid' (C1): expected elements of floating point, got i32
func.func @sigmoid_c1(%a0: tensor<2xi32>) {
  %1 = tfc.sigmoid %a0 : tensor<2xi32> -> tensor<2xi32>
  func.return
}

// -----

// A truth value has no bounds.
// CHECK: error: 'tfc.clip' (C1): expected elements of numbers, got i1
func.func @clip_c1(%a0: tensor<2xi1>) {
  %1 = tfc.clip %a0 low 0.000000e+00 high 1.000000e+00 : tensor<2xi1> -> tensor<2xi1>
  func.return
}

// -----

// Both operands have one type.
// CHECK: error: 'tfc.squared_difference' (C1): expected tensor<2xf32>, got tensor<2xf64>
func.func @squared_difference_c1(%a0: tensor<2xf32>, %a1: tensor<2xf64>) {
  %2 = tfc.squared_difference %a0, %a1 : tensor<2xf32>, tensor<2xf64> -> tensor<2xf32>
  func.return
}
