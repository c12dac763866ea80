// RUN: tfc-opt %s --verify-diagnostics --split-input-file | filecheck %s

// Elementwise operations: each constraint of their docstrings, broken once.

// Shapes are made equal by tfc.broadcast, never by the operation.
// CHECK: error: 'tfc.add' (C1): expected operands of one shape, tensor<2x3xf32>, got tensor<3xf32>
func.func @add_c1(%a0: tensor<2x3xf32>, %a1: tensor<3xf32>) {
  %2 = tfc.add %a0, %a1 : tensor<2x3xf32>, tensor<3xf32> -> tensor<2x3xf32>
  func.return
}

// -----

// No operand is converted silently.
// CHECK: error: 'tfc.add' (C2): expected one element type, f32, got f64
func.func @add_c2(%a0: tensor<2x3xf32>, %a1: tensor<2x3xf64>) {
  %2 = tfc.add %a0, %a1 : tensor<2x3xf32>, tensor<2x3xf64> -> tensor<2x3xf32>
  func.return
}

// -----

// A truth value is no number.
// CHECK: error: 'tfc.add' (C3): expected elements of float int, got i1
func.func @add_c3(%a0: tensor<2xi1>, %a1: tensor<2xi1>) {
  %2 = tfc.add %a0, %a1 : tensor<2xi1>, tensor<2xi1> -> tensor<2xi32>
  func.return
}

// -----

// Bits of a float are reached by tfc.bitcast.
// CHECK: error: 'tfc.and' (C3): expected elements of int bool, got f32
func.func @and_c3(%a0: tensor<2xf32>, %a1: tensor<2xf32>) {
  %2 = tfc.and %a0, %a1 : tensor<2xf32>, tensor<2xf32> -> tensor<2xi32>
  func.return
}

// -----

// The exponential of an integer has no element type.
// CHECK: error: 'tfc.exp' (C2): expected elements of floating point, got i32
func.func @exp_c2(%a0: tensor<2xi32>) {
  %1 = tfc.exp %a0 : tensor<2xi32> -> tensor<2xi32>
  func.return
}

// -----

// A float has no complement.
// CHECK: error: 'tfc.not' (C2): expected elements of integers or bool, got f32
func.func @not_c2(%a0: tensor<2xf32>) {
  %1 = tfc.not %a0 : tensor<2xf32> -> tensor<2xf32>
  func.return
}

// -----

// Both sides of a comparison have one shape.
// CHECK: error: 'tfc.compare' (C1): expected operands of one shape, tensor<2xf32>, got tensor<3xf32>
func.func @compare_c1(%a0: tensor<2xf32>, %a1: tensor<3xf32>) {
  %2 = tfc.compare lt %a0, %a1 : tensor<2xf32>, tensor<3xf32> -> tensor<2xi1>
  func.return
}

// -----

// And one element type.
// CHECK: error: 'tfc.compare' (C2): expected one element type, f32, got i32
func.func @compare_c2(%a0: tensor<2xf32>, %a1: tensor<2xi32>) {
  %2 = tfc.compare lt %a0, %a1 : tensor<2xf32>, tensor<2xi32> -> tensor<2xi1>
  func.return
}

// -----

// The condition has the shape of what it selects.
// CHECK: error: 'tfc.select' (C1): expected operands of one shape, tensor<1xi1>, got tensor<2xf32>
func.func @select_c1(%a0: tensor<1xi1>, %a1: tensor<2xf32>, %a2: tensor<2xf32>) {
  %3 = tfc.select %a0, %a1, %a2 : tensor<1xi1>, tensor<2xf32>, tensor<2xf32> -> tensor<2xf32>
  func.return
}

// -----

// A condition is i1.
// CHECK: error: 'tfc.select' (C2): expected a condition of i1 and elements of f32, got i32 and f32
func.func @select_c2(%a0: tensor<2xi32>, %a1: tensor<2xf32>, %a2: tensor<2xf32>) {
  %3 = tfc.select %a0, %a1, %a2 : tensor<2xi32>, tensor<2xf32>, tensor<2xf32> -> tensor<2xf32>
  func.return
}

// -----

// Bits cannot be read as more bits.
// CHECK: error: 'tfc.bitcast' (C2): expected 32 bits, got i64, 64 bits
func.func @bitcast_c2(%a0: tensor<2xf32>) {
  %1 = tfc.bitcast %a0 to i64 : tensor<2xf32> -> tensor<2xi32>
  func.return
}

// -----

// The declared result is what the operands make.
// CHECK: error: 'tfc.add' (type): expected tensor<2xf32>, got tensor<3xf32>
func.func @add_type(%a0: tensor<2xf32>, %a1: tensor<2xf32>) {
  %2 = tfc.add %a0, %a1 : tensor<2xf32>, tensor<2xf32> -> tensor<3xf32>
  func.return
}
