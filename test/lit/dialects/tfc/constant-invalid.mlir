// RUN: tfc-opt %s --verify-diagnostics --split-input-file | filecheck %s

// Constants: each constraint of their docstrings, broken once.

// A result has one dim at least for an axis to count along.
// CHECK: error: 'tfc.iota' (C1): expected an axis below 1, got 1
func.func @iota_c1() {
  %0 = tfc.iota [3] along 1 of i64 : tensor<3xi64>
  func.return
}

// -----

// Truth values are not counted.
// CHECK: error: 'tfc.iota' (C2): expected an element type of numbers, got i1
func.func @iota_c2() {
  %0 = tfc.iota [3] along 0 of i1 : tensor<3xi1>
  func.return
}

// -----

// A constant has the type of its value.
// CHECK: error: 'tfc.constant' (C1): expected tensor<1xf32>, got tensor<2xf32>
func.func @constant_c1() {
  %0 = "tfc.constant"() <{value = #tfc.literal<"[1.0]" : tensor<1xf32>>}> : () -> tensor<2xf32>
  func.return
}
