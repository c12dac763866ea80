// RUN: tfc-opt %s --check-effects=warn 2>&1 | filecheck %s
// RUN: tfc-opt %s --check-effects=order 2> %t | filecheck --check-prefix=ORDER %s
// RUN: not tfc-opt %s --check-effects=error 2>&1 | filecheck --check-prefix=ERROR %s
// RUN: not tfc-opt %s -p optimise 2>&1 | filecheck --check-prefix=ERROR %s
// RUN: not tfc-opt %s --check-effects=maybe 2>&1 | filecheck --check-prefix=OTHER %s

// The option comes before all passes; without it, the first stage of `optimise` refuses.
// CHECK:      check-effects-options.mlir:{{[0-9]+}}: warning: two accesses to the variable 'v' have no order
// CHECK:      missing:
// ORDER:      %[[S:.*]] = tfc.assign add
// ORDER-NEXT: tfc.assign add %{{.*}}, %{{.*}} after %[[S]]
// ERROR:      error: two accesses to the variable 'v' have no order
// ERROR:      help: let one of them take the token of the other
// OTHER:      error: expected check-effects to be error, warn, order, got 'maybe'
func.func @main(%x : tensor<2xf32>) -> (!tfc.control, !tfc.control) {
  %v = tfc.variable "v" of tensor<2xf32> : !tfc.resource<tensor<2xf32>>
  %s = tfc.assign add %v, %x : !tfc.resource<tensor<2xf32>>, tensor<2xf32> -> !tfc.control
  %t = tfc.assign add %v, %x : !tfc.resource<tensor<2xf32>>, tensor<2xf32> -> !tfc.control
  func.return %s, %t : !tfc.control, !tfc.control
}
