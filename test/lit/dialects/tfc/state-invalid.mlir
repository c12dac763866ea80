// RUN: tfc-opt %s --verify-diagnostics --split-input-file | filecheck %s

// Variables: each constraint of their docstrings, broken once.

// A variable has room for one size.
// CHECK: error: 'tfc.variable' (C1): expected a static shape, got tensor<?xf32>
func.func @variable_c1() {
  %0 = tfc.variable "w" of tensor<?xf32> : !tfc.resource<tensor<?xf32>>
  func.return
}

// -----

// A value fits its variable.
// CHECK: error: 'tfc.assign' (C1): expected tensor<2xf32>, got tensor<3xf32>
func.func @assign_c1(%a0: !tfc.resource<tensor<2xf32>>, %a1: tensor<3xf32>) {
  %2 = tfc.assign set %a0, %a1 : !tfc.resource<tensor<2xf32>>, tensor<3xf32> -> !tfc.control
  func.return
}

// -----

// Truth values are not added.
// CHECK: error: 'tfc.assign' (C2): expected elements of numbers, got i1
func.func @assign_c2(%a0: !tfc.resource<tensor<2xi1>>, %a1: tensor<2xi1>) {
  %2 = tfc.assign add %a0, %a1 : !tfc.resource<tensor<2xi1>>, tensor<2xi1> -> !tfc.control
  func.return
}
