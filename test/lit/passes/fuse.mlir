// RUN: tfc-opt %s -p fuse | filecheck %s

// A chain of elementwise operations is one kernel; the splat is part of it, no operand.
// CHECK-LABEL: func.func @chain
// CHECK-SAME:  (%[[X:.*]]: tensor<8x100xf32>)
// CHECK-NEXT:    %[[Y:.*]] = tfc.fusion "nest"(%[[X]])
// CHECK-NEXT:    ^bb0
// CHECK-NEXT:      tfc.constant
// CHECK-NEXT:      tfc.add
// CHECK-NEXT:      tfc.max
// CHECK-NEXT:      tfc.yield
// CHECK-NEXT:    }
// CHECK-NEXT:    func.return %[[Y]]
func.func @chain(%x : tensor<8x100xf32>) -> tensor<8x100xf32> {
  %zero = tfc.constant splat 0.0 : tensor<8x100xf32>
  %a = tfc.add %x, %x : tensor<8x100xf32>, tensor<8x100xf32> -> tensor<8x100xf32>
  %y = tfc.max %a, %zero : tensor<8x100xf32>, tensor<8x100xf32> -> tensor<8x100xf32>
  func.return %y : tensor<8x100xf32>
}

// A reduction along rows and its use along the same rows are one kernel: it is computed once a row.
// CHECK-LABEL: func.func @rows
// CHECK:         tfc.fusion
// CHECK:           tfc.reduce
// CHECK-NEXT:      tfc.broadcast
// CHECK-NEXT:      tfc.sub
// CHECK-NOT:     tfc.fusion
// CHECK:         func.return
func.func @rows(%x : tensor<8x100xf32>) -> tensor<8x100xf32> {
  %m = tfc.reduce max %x over [1] : tensor<8x100xf32> -> tensor<8xf32>
  %b = tfc.broadcast %m to [8, 100] at [0] : tensor<8xf32> -> tensor<8x100xf32>
  %y = tfc.sub %x, %b : tensor<8x100xf32>, tensor<8x100xf32> -> tensor<8x100xf32>
  func.return %y : tensor<8x100xf32>
}

// Along columns it would be computed again for every row: two kernels.
// CHECK-LABEL: func.func @columns
// CHECK:         tfc.fusion "nest"
// CHECK:           tfc.reduce
// CHECK-NEXT:      tfc.yield
// CHECK:         tfc.fusion "nest"
// CHECK:           tfc.broadcast
// CHECK-NEXT:      tfc.sub
func.func @columns(%x : tensor<8x100xf32>) -> tensor<8x100xf32> {
  %m = tfc.reduce max %x over [0] : tensor<8x100xf32> -> tensor<100xf32>
  %b = tfc.broadcast %m to [8, 100] at [1] : tensor<100xf32> -> tensor<8x100xf32>
  %y = tfc.sub %x, %b : tensor<8x100xf32>, tensor<8x100xf32> -> tensor<8x100xf32>
  func.return %y : tensor<8x100xf32>
}

// A result that is also returned is written to memory, and read again.
// CHECK-LABEL: func.func @returned
// CHECK:         %[[E:.*]] = tfc.fusion "nest"(%{{.*}}) : (tensor<9xf32>)
// CHECK:           tfc.exp
// CHECK:         %[[Y:.*]] = tfc.fusion "nest"(%[[E]])
// CHECK:           tfc.add
// CHECK:         func.return %[[E]], %[[Y]]
func.func @returned(%x : tensor<9xf32>) -> (tensor<9xf32>, tensor<9xf32>) {
  %e = tfc.exp %x : tensor<9xf32> -> tensor<9xf32>
  %y = tfc.add %e, %e : tensor<9xf32>, tensor<9xf32> -> tensor<9xf32>
  func.return %e, %y : tensor<9xf32>, tensor<9xf32>
}

// A broadcast that two kernels read is copied into both.
// CHECK-LABEL: func.func @copied
// CHECK-COUNT-2: tfc.broadcast
// CHECK:         func.return
func.func @copied(%x : tensor<4xf32>, %y : tensor<3x4xf32>) -> (tensor<3x4xf32>, tensor<3x4xf32>) {
  %b = tfc.broadcast %x to [3, 4] at [1] : tensor<4xf32> -> tensor<3x4xf32>
  %s = tfc.add %y, %b : tensor<3x4xf32>, tensor<3x4xf32> -> tensor<3x4xf32>
  %p = tfc.mul %y, %b : tensor<3x4xf32>, tensor<3x4xf32> -> tensor<3x4xf32>
  func.return %s, %p : tensor<3x4xf32>, tensor<3x4xf32>
}

// A reshape is a view: it costs no kernel, and it is in none.
// CHECK-LABEL: func.func @view
// CHECK-NOT:     tfc.fusion
// CHECK:         tfc.reshape
// CHECK-NEXT:    func.return
func.func @view(%x : tensor<3x4xf32>) -> tensor<12xf32> {
  %y = tfc.reshape %x to [12] : tensor<3x4xf32> -> tensor<12xf32>
  func.return %y : tensor<12xf32>
}

// A window reads an element several times: what it reads is not computed inside it.
// CHECK-LABEL: func.func @window
// CHECK:         tfc.fusion
// CHECK:           tfc.exp
// CHECK-NEXT:      tfc.yield
// CHECK:         tfc.fusion
// CHECK:           tfc.window_reduce
func.func @window(%x : tensor<9xf32>) -> tensor<7xf32> {
  %e = tfc.exp %x : tensor<9xf32> -> tensor<9xf32>
  %y = tfc.window_reduce max %e window [3] strides [1] dilations [1] low [0] high [0] : tensor<9xf32> -> tensor<7xf32>
  func.return %y : tensor<7xf32>
}

// A reduction over sums reads them from memory: in its loop they would be computed one by one,
// and for a softmax again in each of its loops.
// CHECK-LABEL: func.func @sums
// CHECK:         tfc.fusion
// CHECK:           tfc.reduce sum
// CHECK-NEXT:      tfc.yield
// CHECK:         tfc.fusion
// CHECK:           tfc.mul
// CHECK-NEXT:      tfc.reduce max
func.func @sums(%x : tensor<4x9x8xf32>, %c : tensor<4x9xf32>) -> tensor<4xf32> {
  %s = tfc.reduce sum %x over [2] : tensor<4x9x8xf32> -> tensor<4x9xf32>
  %m = tfc.mul %s, %c : tensor<4x9xf32>, tensor<4x9xf32> -> tensor<4x9xf32>
  %y = tfc.reduce max %m over [1] : tensor<4x9xf32> -> tensor<4xf32>
  func.return %y : tensor<4xf32>
}

// A step with momentum changes two variables: one kernel reads and writes each once.
// CHECK-LABEL: func.func @step
// CHECK:         %[[W:.*]], %[[N:.*]] = tfc.fusion "nest"
// CHECK:           %[[INNER:.*]] = tfc.add
// CHECK-NEXT:      tfc.mul
// CHECK-NEXT:      %[[SUB:.*]] = tfc.sub
// CHECK-NEXT:      tfc.yield %[[SUB]], %[[INNER]]
// CHECK-NEXT:    }
// CHECK-NEXT:    tfc.assign set %{{.*}}, %[[N]]
// CHECK-NEXT:    tfc.assign set %{{.*}}, %[[W]]
// CHECK-NEXT:    tfc.join
// CHECK-NEXT:    func.return
func.func @step(%g : tensor<9xf32>) -> !tfc.control {
  %v = tfc.variable "v" of tensor<9xf32> : !tfc.resource<tensor<9xf32>>
  %a = tfc.variable "a" of tensor<9xf32> : !tfc.resource<tensor<9xf32>>
  %v0, %v1 = tfc.read %v : !tfc.resource<tensor<9xf32>> -> tensor<9xf32>, !tfc.control
  %a0, %a1 = tfc.read %a : !tfc.resource<tensor<9xf32>> -> tensor<9xf32>, !tfc.control
  %n = tfc.add %a0, %g : tensor<9xf32>, tensor<9xf32> -> tensor<9xf32>
  %a2 = tfc.assign set %a, %n after %a1 : !tfc.resource<tensor<9xf32>>, tensor<9xf32>, !tfc.control -> !tfc.control
  %d = tfc.mul %n, %n : tensor<9xf32>, tensor<9xf32> -> tensor<9xf32>
  %w = tfc.sub %v0, %d : tensor<9xf32>, tensor<9xf32> -> tensor<9xf32>
  %v2 = tfc.assign set %v, %w after %v1 : !tfc.resource<tensor<9xf32>>, tensor<9xf32>, !tfc.control -> !tfc.control
  %t = tfc.join %a2, %v2 : !tfc.control, !tfc.control -> !tfc.control
  func.return %t : !tfc.control
}

// Where the second variable is read after the first is assigned, the kernels stay apart.
// CHECK-LABEL: func.func @ordered
// CHECK:         tfc.fusion
// CHECK:         tfc.assign
// CHECK:         tfc.fusion
// CHECK:         func.return
func.func @ordered(%g : tensor<9xf32>) -> tensor<9xf32> {
  %a = tfc.variable "a" of tensor<9xf32> : !tfc.resource<tensor<9xf32>>
  %v = tfc.variable "v" of tensor<9xf32> : !tfc.resource<tensor<9xf32>>
  %n = tfc.add %g, %g : tensor<9xf32>, tensor<9xf32> -> tensor<9xf32>
  %t = tfc.assign set %a, %n : !tfc.resource<tensor<9xf32>>, tensor<9xf32> -> !tfc.control
  %x, %r = tfc.read %v after %t : !tfc.resource<tensor<9xf32>>, !tfc.control -> tensor<9xf32>, !tfc.control
  %y = tfc.mul %x, %n : tensor<9xf32>, tensor<9xf32> -> tensor<9xf32>
  func.return %y : tensor<9xf32>
}

// Two assigned values that are made of one difference are one kernel, which computes it once: where the later one
// stands, as there are all operands.
// CHECK-LABEL: func.func @difference
// CHECK:         tfc.read
// CHECK:         tfc.fusion "nest"
// CHECK-NOT:     tfc.fusion
// CHECK:         func.return
func.func @difference(%x : tensor<9xf32>, %y : tensor<9xf32>) -> (!tfc.control, !tfc.control) {
  %a = tfc.variable "a" of tensor<9xf32> : !tfc.resource<tensor<9xf32>>
  %b = tfc.variable "b" of tensor<9xf32> : !tfc.resource<tensor<9xf32>>
  %d = tfc.sub %x, %y : tensor<9xf32>, tensor<9xf32> -> tensor<9xf32>
  %s = tfc.mul %d, %d : tensor<9xf32>, tensor<9xf32> -> tensor<9xf32>
  %t = tfc.assign set %a, %s : !tfc.resource<tensor<9xf32>>, tensor<9xf32> -> !tfc.control
  %o, %r = tfc.read %b : !tfc.resource<tensor<9xf32>> -> tensor<9xf32>, !tfc.control
  %n = tfc.add %o, %d : tensor<9xf32>, tensor<9xf32> -> tensor<9xf32>
  %u = tfc.assign set %b, %n after %r : !tfc.resource<tensor<9xf32>>, tensor<9xf32>, !tfc.control -> !tfc.control
  func.return %t, %u : !tfc.control, !tfc.control
}
