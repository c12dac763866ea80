// RUN: tfc-opt %s -p expand-updates,fuse,order-memory,lower-to-kernels | filecheck %s

// Equal fusions share a kernel; a reshape is the same bytes; the result is copied to the caller
// (`assign-buffers` writes it there directly).
// CHECK-LABEL: kernel.func @exp_
// CHECK-NOT:   kernel.func
// CHECK-LABEL: host.program @model
// CHECK-SAME:    inputs = [#host.port<"x", tensor<4x8xf32>>], outputs = [#host.port<"y", tensor<32xf32>>]
// CHECK-SAME:    tfc.peak_before = 256 : i64, tfc.peak_after = 256 : i64
// CHECK:         %[[X:.*]] = host.input 0
// CHECK:         %[[Y:.*]] = host.output 0
// CHECK:         %[[A:.*]] = host.buffer "128"
// CHECK:         host.launch @[[K:.*]] reads(%[[X]]) writes(%[[A]])
// CHECK:         %[[B:.*]] = host.buffer "128"
// CHECK:         host.launch @[[K]] reads(%[[A]]) writes(%[[B]])
// CHECK:         host.copy %[[B]] to %[[Y]], "128"
func.func @main(%x : tensor<4x8xf32> {tfc.name = "x"}) -> (tensor<32xf32> {tfc.name = "y"}) {
  %a = tfc.fusion "nest"(%x) : (tensor<4x8xf32>) -> tensor<4x8xf32> {
  ^bb0(%x1 : tensor<4x8xf32>):
    %e = tfc.exp %x1 : tensor<4x8xf32> -> tensor<4x8xf32>
    tfc.yield %e : tensor<4x8xf32>
  }
  %b = tfc.fusion "nest"(%a) : (tensor<4x8xf32>) -> tensor<4x8xf32> {
  ^bb0(%x2 : tensor<4x8xf32>):
    %e2 = tfc.exp %x2 : tensor<4x8xf32> -> tensor<4x8xf32>
    tfc.yield %e2 : tensor<4x8xf32>
  }
  %r = tfc.reshape %b to [32] : tensor<4x8xf32> -> tensor<32xf32>
  func.return %r : tensor<32xf32>
}
