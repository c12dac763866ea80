// RUN: tfc-opt %s -p expand-updates,fuse,lower-to-kernels,assign-buffers | filecheck %s

// The value read before the update is returned: it is copied when it is read, and the variable is
// then written without another copy.
// CHECK-LABEL: host.program @model
// CHECK-SAME:    variables = [#host.port<"v", tensor<64xf32>>]
// CHECK-SAME:    arena = "0"
// CHECK-DAG:     %[[X:.*]] = host.input 0
// CHECK-DAG:     %[[Y:.*]] = host.output 0
// CHECK-DAG:     %[[V:.*]] = host.variable 0
// CHECK:         host.copy %[[V]] to %[[Y]], "256"
// CHECK-NEXT:    host.launch @{{.*}} reads({{.*}}%[[Y]]{{.*}}) writes(%[[V]])
// CHECK-NOT:     host.copy
func.func @main(%x : tensor<64xf32>) -> (tensor<64xf32>, !tfc.control) {
  %v = tfc.variable "v" of tensor<64xf32> : !tfc.resource<tensor<64xf32>>
  %r, %t = tfc.read %v : !tfc.resource<tensor<64xf32>> -> tensor<64xf32>, !tfc.control
  %u = tfc.assign add %v, %x after %t : !tfc.resource<tensor<64xf32>>, tensor<64xf32>, !tfc.control -> !tfc.control
  func.return %r, %u : tensor<64xf32>, !tfc.control
}
