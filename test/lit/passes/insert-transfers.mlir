// RUN: tfc-opt %s -p 'place{cpus=2 gpus=1},insert-transfers' | filecheck %s
// RUN: tfc-opt %s -p 'place{cpus=2 gpus=1},insert-transfers,insert-transfers' | filecheck %s

// However many operations of a device use a value, it is brought once; its own device uses it where it is.
// CHECK-LABEL: func.func @once
// CHECK:         %[[Y:.*]] = tfc.exp %x {{.*}}CPU:0"}
// CHECK-NEXT:    %[[S:.*]] = tfc.send %[[Y]] {{.*}}CPU:0"} : tensor<4xf32> -> !tfc.sent<tensor<4xf32>>
// CHECK-NEXT:    %[[R:.*]] = tfc.recv %[[S]] {{.*}}CPU:1"} : !tfc.sent<tensor<4xf32>> -> tensor<4xf32>
// CHECK-NEXT:    %[[A:.*]] = tfc.neg %[[R]] {{.*}}CPU:1"}
// CHECK-NEXT:    %[[B:.*]] = tfc.mul %[[R]], %[[A]] {{.*}}CPU:1"}
// CHECK-NEXT:    %[[T:.*]] = tfc.send %[[B]] {{.*}}CPU:1"}
// CHECK-NEXT:    %[[C:.*]] = tfc.recv %[[T]] {{.*}}CPU:0"}
// CHECK-NEXT:    tfc.add %[[Y]], %[[C]] {{.*}}CPU:0"}
// CHECK-NOT:     tfc.recv
func.func @once(%x : tensor<4xf32>) -> tensor<4xf32> {
  %y = tfc.exp %x : tensor<4xf32> -> tensor<4xf32>
  %a = tfc.neg %y {tfc.device = "/cpu:1"} : tensor<4xf32> -> tensor<4xf32>
  %b = tfc.mul %y, %a {tfc.device = "/cpu:1"} : tensor<4xf32>, tensor<4xf32> -> tensor<4xf32>
  %c = tfc.add %y, %b : tensor<4xf32>, tensor<4xf32> -> tensor<4xf32>
  func.return %c : tensor<4xf32>
}

// Each device that uses a value gets it from where it was made; arguments and results are on the first CPU.
// CHECK-LABEL: func.func @two_devices
// CHECK:         tfc.send %x {{.*}}CPU:0"}
// CHECK:         %[[X:.*]] = tfc.recv {{.*}}GPU:0"}
// CHECK:         %[[Y:.*]] = tfc.exp %[[X]] {{.*}}GPU:0"}
// CHECK-COUNT-2: tfc.send %[[Y]] {{.*}}GPU:0"}
// CHECK-NOT:     tfc.send %[[Y]]
// CHECK:         func.return
func.func @two_devices(%x : tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %y = tfc.exp %x {tfc.device = "/gpu:0"} : tensor<4xf32> -> tensor<4xf32>
  %a = tfc.neg %y {tfc.device = "/cpu:1"} : tensor<4xf32> -> tensor<4xf32>
  func.return %y, %a : tensor<4xf32>, tensor<4xf32>
}

// Where an argument and a result are can be said: then nothing moves.
// CHECK-LABEL: func.func @ports
// CHECK-NOT:     tfc.send
// CHECK:         func.return
func.func @ports(%x : tensor<4xf32> {tfc.device = "/job:localhost/replica:0/task:0/device:GPU:0"})
    -> (tensor<4xf32> {tfc.device = "/job:localhost/replica:0/task:0/device:GPU:0"}) {
  %y = tfc.exp %x {tfc.device = "/gpu:0"} : tensor<4xf32> -> tensor<4xf32>
  func.return %y : tensor<4xf32>
}

// Constants and what is broadcast are made where they are used: only the row is brought.
// CHECK-LABEL: func.func @made_again
// CHECK-DAG:     tfc.constant [1.0, 2.0] {{.*}}CPU:0"}
// CHECK-DAG:     tfc.constant [1.0, 2.0] {{.*}}CPU:1"}
// CHECK:         tfc.send {{.*}} : tensor<2xf32> ->
// CHECK:         tfc.broadcast {{.*}}CPU:1"}
// CHECK:         tfc.mul {{.*}}CPU:1"}
func.func @made_again(%x : tensor<2xf32>) -> (tensor<3x2xf32>, tensor<2xf32>) {
  %c = tfc.constant [1.0, 2.0] : tensor<2xf32>
  %y = tfc.add %x, %c : tensor<2xf32>, tensor<2xf32> -> tensor<2xf32>
  %b = tfc.broadcast %y to [3, 2] at [1] : tensor<2xf32> -> tensor<3x2xf32>
  %d = tfc.broadcast %c to [3, 2] at [1] : tensor<2xf32> -> tensor<3x2xf32>
  %a = tfc.mul %b, %d {tfc.device = "/cpu:1"} : tensor<3x2xf32>, tensor<3x2xf32> -> tensor<3x2xf32>
  func.return %a, %y : tensor<3x2xf32>, tensor<2xf32>
}

// A variable stays where it is. Its value is brought, and so is the token that orders effects of two devices.
// CHECK-LABEL: func.func @variables
// CHECK:         %[[OLD:.*]], %[[T:.*]] = tfc.read {{.*}}CPU:1"}
// CHECK-NEXT:    %[[ST:.*]] = tfc.send %[[T]] {{.*}}CPU:1"} : !tfc.control -> !tfc.sent<!tfc.control>
// CHECK-NEXT:    %[[RT:.*]] = tfc.recv %[[ST]] {{.*}}CPU:0"} : !tfc.sent<!tfc.control> -> !tfc.control
// CHECK-NEXT:    %[[SV:.*]] = tfc.send %[[OLD]] {{.*}}CPU:1"}
// CHECK-NEXT:    %[[RV:.*]] = tfc.recv %[[SV]] {{.*}}CPU:0"}
// CHECK:         %[[NEW:.*]] = tfc.add %[[RV]], %x {{.*}}CPU:0"}
// CHECK-NEXT:    tfc.assign set %{{.*}}, %[[NEW]] after %[[RT]] {{.*}}CPU:0"}
func.func @variables(%x : tensor<2xf32>) -> (tensor<2xf32>, !tfc.control) {
  %v = tfc.variable "v" of tensor<2xf32> {tfc.device = "/cpu:1"} : !tfc.resource<tensor<2xf32>>
  %w = tfc.variable "w" of tensor<2xf32> : !tfc.resource<tensor<2xf32>>
  %old, %t = tfc.read %v : !tfc.resource<tensor<2xf32>> -> tensor<2xf32>, !tfc.control
  %new = tfc.add %old, %x {tfc.device = "/cpu:0"} : tensor<2xf32>, tensor<2xf32> -> tensor<2xf32>
  %u = tfc.assign set %w, %new after %t {tfc.device = "/cpu:0"} : !tfc.resource<tensor<2xf32>>, tensor<2xf32>, !tfc.control -> !tfc.control
  func.return %new, %u : tensor<2xf32>, !tfc.control
}

// What a loop carries is where the loop is. What it only uses stays where it was made, and is brought to the user.
// CHECK-LABEL: func.func @loop
// CHECK:         tfc.send %x {{.*}}CPU:0"}
// CHECK-NEXT:    %[[X:.*]] = tfc.recv {{.*}}CPU:1"}
// CHECK:         tfc.while(%[[X]]) with(%w) {{.*}}CPU:1"
// CHECK:         do
// CHECK-NEXT:    ^bb{{.*}}(%[[C:.*]]: tensor<2xf32>, %[[W:.*]]: tensor<2xf32>):
// CHECK-NEXT:      tfc.send %[[W]] {{.*}}CPU:0"}
// CHECK-NEXT:      %[[V:.*]] = tfc.recv {{.*}}CPU:1"}
// CHECK-NEXT:      %[[N:.*]] = tfc.add %[[C]], %[[V]] {{.*}}CPU:1"}
// CHECK-NEXT:      tfc.yield %[[N]]
func.func @loop(%x : tensor<2xf32>, %w : tensor<2xf32>) -> tensor<2xf32> {
  %y = tfc.while (%x) with (%w) {tfc.device = "/cpu:1"} : (tensor<2xf32>), (tensor<2xf32>) -> (tensor<2xf32>) {
  ^bb0(%c : tensor<2xf32>, %v : tensor<2xf32>):
    %s = tfc.reduce sum %c over [0] {tfc.device = "/cpu:1"} : tensor<2xf32> -> tensor<f32>
    %l = tfc.constant 9.0 {tfc.device = "/cpu:1"} : tensor<f32>
    %m = tfc.compare lt %s, %l {tfc.device = "/cpu:1"} : tensor<f32>, tensor<f32> -> tensor<i1>
    tfc.yield %m : tensor<i1>
  } do {
  ^bb0(%c : tensor<2xf32>, %v : tensor<2xf32>):
    %n = tfc.add %c, %v {tfc.device = "/cpu:1"} : tensor<2xf32>, tensor<2xf32> -> tensor<2xf32>
    tfc.yield %n : tensor<2xf32>
  }
  func.return %y : tensor<2xf32>
}

// With one device nothing happens.
// CHECK-LABEL: func.func @alone
// CHECK-NEXT:    tfc.exp
// CHECK-NEXT:    func.return
func.func @alone(%x : tensor<4xf32>) -> tensor<4xf32> {
  %y = tfc.exp %x : tensor<4xf32> -> tensor<4xf32>
  func.return %y : tensor<4xf32>
}
