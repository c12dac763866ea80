// RUN: tfc-opt %s -p 'place{cpus=2}' | filecheck %s
// RUN: tfc-opt %s -p 'place{cpus=2},place{cpus=2}' | filecheck %s

// Who asks for nothing runs on the first device; a name in part is filled in.
// CHECK-LABEL: func.func @defaults
// CHECK:         tfc.exp %x {tfc.device = "/job:localhost/replica:0/task:0/device:CPU:0"}
// CHECK-NEXT:    tfc.neg %{{.*}} {tfc.device = "/job:localhost/replica:0/task:0/device:CPU:1"}
func.func @defaults(%x : tensor<2xf32>) -> tensor<2xf32> {
  %y = tfc.exp %x : tensor<2xf32> -> tensor<2xf32>
  %z = tfc.neg %y {tfc.device = "/device:CPU:1"} : tensor<2xf32> -> tensor<2xf32>
  func.return %z : tensor<2xf32>
}

// A constant stands beside its only user; with users on two devices it stays on the first.
// CHECK-LABEL: func.func @constants
// CHECK:         tfc.constant [1.0, 2.0] {tfc.device = {{.*}}CPU:1"}
// CHECK-NEXT:    tfc.constant [3.0, 4.0] {tfc.device = {{.*}}CPU:0"}
func.func @constants(%x : tensor<2xf32>) -> tensor<2xf32> {
  %one = tfc.constant [1.0, 2.0] : tensor<2xf32>
  %both = tfc.constant [3.0, 4.0] : tensor<2xf32>
  %a = tfc.add %x, %one {tfc.device = "/cpu:1"} : tensor<2xf32>, tensor<2xf32> -> tensor<2xf32>
  %b = tfc.add %a, %both {tfc.device = "/cpu:1"} : tensor<2xf32>, tensor<2xf32> -> tensor<2xf32>
  %c = tfc.add %b, %both : tensor<2xf32>, tensor<2xf32> -> tensor<2xf32>
  func.return %c : tensor<2xf32>
}

// One member of a group names the device for all: the groups of a and b meet in %y.
// CHECK-LABEL: func.func @groups
// CHECK:         tfc.neg %x {tfc.device = {{.*}}CPU:1"}
// CHECK-NEXT:    tfc.exp %{{.*}} {tfc.device = {{.*}}CPU:1"}
// CHECK-NEXT:    tfc.abs %{{.*}} {tfc.device = {{.*}}CPU:1"}
// CHECK-NOT:     tfc.colocate
func.func @groups(%x : tensor<2xf32>) -> tensor<2xf32> {
  %a = tfc.neg %x {tfc.colocate = ["loc:@a"]} : tensor<2xf32> -> tensor<2xf32>
  %y = tfc.exp %a {tfc.colocate = ["loc:@a", "loc:@b"]} : tensor<2xf32> -> tensor<2xf32>
  %b = tfc.abs %y {tfc.colocate = ["loc:@b"], tfc.device = "/cpu:1"} : tensor<2xf32> -> tensor<2xf32>
  func.return %b : tensor<2xf32>
}

// What reads or assigns a variable runs where it is, by whichever handle.
// CHECK-LABEL: func.func @variables
// CHECK-COUNT-4: CPU:1
// CHECK-NOT:     CPU:0
func.func @variables(%x : tensor<2xf32>) -> tensor<2xf32> {
  %v = tfc.variable "v" of tensor<2xf32> {tfc.device = "/cpu:1"} : !tfc.resource<tensor<2xf32>>
  %w = tfc.variable "v" of tensor<2xf32> : !tfc.resource<tensor<2xf32>>
  %old, %t = tfc.read %v : !tfc.resource<tensor<2xf32>> -> tensor<2xf32>, !tfc.control
  %u = tfc.assign set %w, %x after %t : !tfc.resource<tensor<2xf32>>, tensor<2xf32>, !tfc.control -> !tfc.control
  func.return %old : tensor<2xf32>
}

// A loop runs where what stands in it wants to, and what wants nothing there runs where the loop does.
// CHECK-LABEL: func.func @loop
// CHECK:         tfc.while{{.*}} {tfc.device = {{.*}}CPU:1"}
// CHECK:           tfc.reduce {{.*}}CPU:1"}
// CHECK:           tfc.exp {{.*}}CPU:1"}
// CHECK:         tfc.neg {{.*}}CPU:0"}
func.func @loop(%x : tensor<2xf32>) -> tensor<2xf32> {
  %y = tfc.while (%x) with () : (tensor<2xf32>), () -> (tensor<2xf32>) {
  ^bb0(%c : tensor<2xf32>):
    %s = tfc.reduce sum %c over [0] : tensor<2xf32> -> tensor<f32>
    %l = tfc.constant 9.0 : tensor<f32>
    %m = tfc.compare lt %s, %l : tensor<f32>, tensor<f32> -> tensor<i1>
    tfc.yield %m : tensor<i1>
  } do {
  ^bb0(%c : tensor<2xf32>):
    %n = tfc.exp %c {tfc.device = "/cpu:1"} : tensor<2xf32> -> tensor<2xf32>
    tfc.yield %n : tensor<2xf32>
  }
  %z = tfc.neg %y : tensor<2xf32> -> tensor<2xf32>
  func.return %z : tensor<2xf32>
}
