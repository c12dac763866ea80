// RUN: tfc-opt %s -p decompose,canonicalize,fold-constants,sink-transposes,canonicalize,find-attention,prune --split-input-file | filecheck %s

// Heads are read and written where they stand; the scale is a number.
// CHECK-LABEL: func.func @heads
// CHECK-NOT:     tfc.transpose
// CHECK:         tfc.attention %{{.*}} [0, 2, 1, 3], %{{.*}} [0, 2, 1, 3], %{{.*}} [0, 2, 1, 3] to [0, 2, 1, 3] scale 1.250000e-01 :
// CHECK-NEXT:    func.return
func.func @heads(%x : tensor<1x300x12x64xf32>, %y : tensor<1x400x12x64xf32>, %z : tensor<1x400x12x64xf32>) -> tensor<1x300x12x64xf32> {
  %q = tfc.transpose %x by [0, 2, 1, 3] : tensor<1x300x12x64xf32> -> tensor<1x12x300x64xf32>
  %k = tfc.transpose %y by [0, 2, 3, 1] : tensor<1x400x12x64xf32> -> tensor<1x12x64x400xf32>
  %v = tfc.transpose %z by [0, 2, 1, 3] : tensor<1x400x12x64xf32> -> tensor<1x12x400x64xf32>
  %d = tfc.dot %q, %k batch [0, 1], [0, 1] contract [3], [2] : tensor<1x12x300x64xf32>, tensor<1x12x64x400xf32> -> tensor<1x12x300x400xf32>
  %e = tfc.constant splat 8.0 : tensor<1x12x300x400xf32>
  %s = tfc.div %d, %e : tensor<1x12x300x400xf32>, tensor<1x12x300x400xf32> -> tensor<1x12x300x400xf32>
  %p = tfc.softmax %s along 3 : tensor<1x12x300x400xf32> -> tensor<1x12x300x400xf32>
  %m = tfc.dot %p, %v batch [0, 1], [0, 1] contract [3], [2] : tensor<1x12x300x400xf32>, tensor<1x12x400x64xf32> -> tensor<1x12x300x64xf32>
  %r = tfc.transpose %m by [0, 2, 1, 3] : tensor<1x12x300x64xf32> -> tensor<1x300x12x64xf32>
  func.return %r : tensor<1x300x12x64xf32>
}

// -----

// A mask of floats keeps the extents that it has; one of bools may hide where it holds.
// CHECK-LABEL: func.func @masks
// CHECK:         tfc.attention {{.*}} mask %{{.*}} scale 1.000000e+00 : {{.*}} mask tensor<2x1x300xf32>
// CHECK:         %[[N:.*]] = tfc.not
// CHECK:         tfc.attention {{.*}} mask %[[N]] scale 1.000000e+00 fill -5.000000e+00 : {{.*}} mask tensor<1x300x300xi1>
func.func @masks(%q : tensor<2x300x64xf32>, %k : tensor<2x300x64xf32>, %v : tensor<2x300x32xf32>, %a : tensor<2x1x300xf32>, %b : tensor<300x300xi1>) -> (tensor<2x300x32xf32>, tensor<2x300x32xf32>) {
  %s = tfc.dot %q, %k batch [0], [0] contract [2], [2] : tensor<2x300x64xf32>, tensor<2x300x64xf32> -> tensor<2x300x300xf32>
  %w = tfc.broadcast %a to [2, 300, 300] at [0, 1, 2] : tensor<2x1x300xf32> -> tensor<2x300x300xf32>
  %t = tfc.add %w, %s : tensor<2x300x300xf32>, tensor<2x300x300xf32> -> tensor<2x300x300xf32>
  %p = tfc.softmax %t along 2 : tensor<2x300x300xf32> -> tensor<2x300x300xf32>
  %r = tfc.dot %p, %v batch [0], [0] contract [2], [1] : tensor<2x300x300xf32>, tensor<2x300x32xf32> -> tensor<2x300x32xf32>
  %s2 = tfc.dot %k, %q batch [0], [0] contract [2], [2] : tensor<2x300x64xf32>, tensor<2x300x64xf32> -> tensor<2x300x300xf32>
  %c = tfc.broadcast %b to [2, 300, 300] at [1, 2] : tensor<300x300xi1> -> tensor<2x300x300xi1>
  %f = tfc.constant splat -5.0 : tensor<2x300x300xf32>
  %t2 = tfc.select %c, %f, %s2 : tensor<2x300x300xi1>, tensor<2x300x300xf32>, tensor<2x300x300xf32> -> tensor<2x300x300xf32>
  %p2 = tfc.softmax %t2 along 2 : tensor<2x300x300xf32> -> tensor<2x300x300xf32>
  %r2 = tfc.dot %p2, %v batch [0], [0] contract [2], [1] : tensor<2x300x300xf32>, tensor<2x300x32xf32> -> tensor<2x300x32xf32>
  func.return %r, %r2 : tensor<2x300x32xf32>, tensor<2x300x32xf32>
}

// -----

// A constant that hides what comes later, and a mask besides; halves are cast around the softmax.
// CHECK-LABEL: func.func @causal
// CHECK:         tfc.attention {{.*}} mask %{{.*}} scale 5.000000e-01 causal 0 : {{.*}} -> tensor<1x600x64xf16>
// CHECK-NEXT:    func.return
func.func @causal(%q : tensor<1x600x64xf16>, %a : tensor<1x1x600xf32>) -> tensor<1x600x64xf16> {
  %s = tfc.dot %q, %q batch [0], [0] contract [2], [2] : tensor<1x600x64xf16>, tensor<1x600x64xf16> -> tensor<1x600x600xf16>
  %h = tfc.constant splat 0.5 : tensor<1x600x600xf16>
  %t = tfc.mul %s, %h : tensor<1x600x600xf16>, tensor<1x600x600xf16> -> tensor<1x600x600xf16>
  %i = tfc.iota [600, 600] along 0 of i64 : tensor<600x600xi64>
  %j = tfc.iota [600, 600] along 1 of i64 : tensor<600x600xi64>
  %c = tfc.compare le %j, %i : tensor<600x600xi64>, tensor<600x600xi64> -> tensor<600x600xi1>
  %d = tfc.broadcast %c to [1, 600, 600] at [1, 2] : tensor<600x600xi1> -> tensor<1x600x600xi1>
  %f = tfc.constant splat -inf : tensor<1x600x600xf16>
  %u = tfc.select %d, %t, %f : tensor<1x600x600xi1>, tensor<1x600x600xf16>, tensor<1x600x600xf16> -> tensor<1x600x600xf16>
  %w = tfc.cast %u to f32 : tensor<1x600x600xf16> -> tensor<1x600x600xf32>
  %b = tfc.broadcast %a to [1, 600, 600] at [0, 1, 2] : tensor<1x1x600xf32> -> tensor<1x600x600xf32>
  %x = tfc.add %w, %b : tensor<1x600x600xf32>, tensor<1x600x600xf32> -> tensor<1x600x600xf32>
  %p = tfc.softmax %x along 2 : tensor<1x600x600xf32> -> tensor<1x600x600xf32>
  %e = tfc.cast %p to f16 : tensor<1x600x600xf32> -> tensor<1x600x600xf16>
  %m = tfc.dot %e, %q batch [0], [0] contract [2], [1] : tensor<1x600x600xf16>, tensor<1x600x64xf16> -> tensor<1x600x64xf16>
  func.return %m : tensor<1x600x64xf16>
}

// -----

// The same of lengths that are not known, where what is seen is computed.
// CHECK-LABEL: func.func @lengths
// CHECK:         tfc.attention {{.*}} causal 2 :
func.func @lengths(%q : tensor<2x?x64xf32, #tfc.dims<["", "n", ""]>>) -> tensor<2x?x64xf32, #tfc.dims<["", "n", ""]>> {
  %s = tfc.dot %q, %q batch [0], [0] contract [2], [2] : tensor<2x?x64xf32, #tfc.dims<["", "n", ""]>>, tensor<2x?x64xf32, #tfc.dims<["", "n", ""]>> -> tensor<2x?x?xf32, #tfc.dims<["", "n", "n"]>>
  %i = tfc.iota ["n"] along 0 of i64 : tensor<?xi64, #tfc.dims<["n"]>>
  %two = tfc.constant 3 : tensor<i64>
  %twos = tfc.broadcast %two to ["n"] at [] : tensor<i64> -> tensor<?xi64, #tfc.dims<["n"]>>
  %j = tfc.add %i, %twos : tensor<?xi64, #tfc.dims<["n"]>>, tensor<?xi64, #tfc.dims<["n"]>> -> tensor<?xi64, #tfc.dims<["n"]>>
  %r = tfc.broadcast %j to ["n", "n"] at [0] : tensor<?xi64, #tfc.dims<["n"]>> -> tensor<?x?xi64, #tfc.dims<["n", "n"]>>
  %k = tfc.broadcast %i to ["n", "n"] at [1] : tensor<?xi64, #tfc.dims<["n"]>> -> tensor<?x?xi64, #tfc.dims<["n", "n"]>>
  %c = tfc.compare gt %r, %k : tensor<?x?xi64, #tfc.dims<["n", "n"]>>, tensor<?x?xi64, #tfc.dims<["n", "n"]>> -> tensor<?x?xi1, #tfc.dims<["n", "n"]>>
  %d = tfc.broadcast %c to [2, "n", "n"] at [1, 2] : tensor<?x?xi1, #tfc.dims<["n", "n"]>> -> tensor<2x?x?xi1, #tfc.dims<["", "n", "n"]>>
  %g = tfc.constant -1.0e+38 : tensor<f32>
  %f = tfc.broadcast %g to [2, "n", "n"] at [] : tensor<f32> -> tensor<2x?x?xf32, #tfc.dims<["", "n", "n"]>>
  %u = tfc.select %d, %s, %f : tensor<2x?x?xi1, #tfc.dims<["", "n", "n"]>>, tensor<2x?x?xf32, #tfc.dims<["", "n", "n"]>>, tensor<2x?x?xf32, #tfc.dims<["", "n", "n"]>> -> tensor<2x?x?xf32, #tfc.dims<["", "n", "n"]>>
  %p = tfc.softmax %u along 2 : tensor<2x?x?xf32, #tfc.dims<["", "n", "n"]>> -> tensor<2x?x?xf32, #tfc.dims<["", "n", "n"]>>
  %m = tfc.dot %p, %q batch [0], [0] contract [2], [1] : tensor<2x?x?xf32, #tfc.dims<["", "n", "n"]>>, tensor<2x?x64xf32, #tfc.dims<["", "n", ""]>> -> tensor<2x?x64xf32, #tfc.dims<["", "n", ""]>>
  func.return %m : tensor<2x?x64xf32, #tfc.dims<["", "n", ""]>>
}

// -----

// A mask that fills again what a causal one has hidden is no part of it.
// CHECK-LABEL: func.func @filled
// CHECK-NOT:     tfc.attention
func.func @filled(%q : tensor<300x64xf32>, %b : tensor<300x300xi1>) -> tensor<300x64xf32> {
  %s = tfc.dot %q, %q batch [], [] contract [1], [1] : tensor<300x64xf32>, tensor<300x64xf32> -> tensor<300x300xf32>
  %i = tfc.iota [300, 300] along 0 of i64 : tensor<300x300xi64>
  %j = tfc.iota [300, 300] along 1 of i64 : tensor<300x300xi64>
  %c = tfc.compare le %j, %i : tensor<300x300xi64>, tensor<300x300xi64> -> tensor<300x300xi1>
  %f = tfc.constant splat -inf : tensor<300x300xf32>
  %t = tfc.select %c, %s, %f : tensor<300x300xi1>, tensor<300x300xf32>, tensor<300x300xf32> -> tensor<300x300xf32>
  %g = tfc.constant splat -5.0 : tensor<300x300xf32>
  %u = tfc.select %b, %t, %g : tensor<300x300xi1>, tensor<300x300xf32>, tensor<300x300xf32> -> tensor<300x300xf32>
  %p = tfc.softmax %u along 1 : tensor<300x300xf32> -> tensor<300x300xf32>
  %m = tfc.dot %p, %q batch [], [] contract [1], [0] : tensor<300x300xf32>, tensor<300x64xf32> -> tensor<300x64xf32>
  func.return %m : tensor<300x64xf32>
}

// -----

// Who else wants the shares gets them; few scores stay in the caches by themselves.
// CHECK-LABEL: func.func @others
// CHECK-NOT:     tfc.attention
func.func @others(%q : tensor<400x64xf32>, %k : tensor<100x64xf32>) -> (tensor<400x64xf32>, tensor<400x400xf32>, tensor<100x64xf32>) {
  %s = tfc.dot %q, %q batch [], [] contract [1], [1] : tensor<400x64xf32>, tensor<400x64xf32> -> tensor<400x400xf32>
  %p = tfc.softmax %s along 1 : tensor<400x400xf32> -> tensor<400x400xf32>
  %m = tfc.dot %p, %q batch [], [] contract [1], [0] : tensor<400x400xf32>, tensor<400x64xf32> -> tensor<400x64xf32>
  %t = tfc.dot %k, %k batch [], [] contract [1], [1] : tensor<100x64xf32>, tensor<100x64xf32> -> tensor<100x100xf32>
  %o = tfc.softmax %t along 1 : tensor<100x100xf32> -> tensor<100x100xf32>
  %n = tfc.dot %o, %k batch [], [] contract [1], [0] : tensor<100x100xf32>, tensor<100x64xf32> -> tensor<100x64xf32>
  func.return %m, %p, %n : tensor<400x64xf32>, tensor<400x400xf32>, tensor<100x64xf32>
}

// -----

// A GPU keeps the scores of any attention in its registers.
// CHECK-LABEL: func.func @device
// CHECK:         tfc.attention
func.func @device(%k : tensor<100x64xf32>) -> tensor<100x64xf32> {
  %t = tfc.dot %k, %k batch [], [] contract [1], [1] {tfc.device = "/device:GPU:0"} : tensor<100x64xf32>, tensor<100x64xf32> -> tensor<100x100xf32>
  %o = tfc.softmax %t along 1 {tfc.device = "/device:GPU:0"} : tensor<100x100xf32> -> tensor<100x100xf32>
  %n = tfc.dot %o, %k batch [], [] contract [1], [0] {tfc.device = "/device:GPU:0"} : tensor<100x100xf32>, tensor<100x64xf32> -> tensor<100x64xf32>
  func.return %n : tensor<100x64xf32>
}
