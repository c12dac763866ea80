// RUN: tfc-opt %s -p 'place{gpus=1 ports="/gpu:0"}' | filecheck %s

// Arguments and results are on the device that is asked for, beside what else is said of them.
// CHECK: tfc.name = "x", tfc.device = "/job:localhost/replica:0/task:0/device:GPU:0"}) -> (tensor<4xf32> {tfc.device = "/job:localhost/replica:0/task:0/device:GPU:0"})
func.func @main(%x : tensor<4xf32> {tfc.name = "x"}) -> tensor<4xf32> {
  func.return %x : tensor<4xf32>
}
