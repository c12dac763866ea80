// RUN: tfc-opt %s -p 'check-effects{mode=order},check-effects' 2> %t | filecheck %s
// RUN: tfc-opt %s -p 'check-effects{mode=order}' 2>&1 | filecheck --check-prefix=ERR %s

// The order of the text becomes the order of the run: each later one takes the token of the latest before.
// CHECK-LABEL: func.func @writes
// CHECK:         %[[S:.*]] = tfc.assign add %{{.*}}, %{{.*}} :
// CHECK:         %[[T:.*]] = tfc.assign set %{{.*}}, %{{.*}} after %[[S]] :
// CHECK:         tfc.read %{{.*}} after %[[T]] :
// ERR: warning: two accesses to the variable 'v' have no order
// ERR: added: 'tfc.assign' before 'tfc.assign', as the program has them
func.func @writes(%x : tensor<2xf32>) -> tensor<2xf32> {
  %v = tfc.variable "v" of tensor<2xf32> : !tfc.resource<tensor<2xf32>>
  %s = tfc.assign add %v, %x : !tfc.resource<tensor<2xf32>>, tensor<2xf32> -> !tfc.control
  %t = tfc.assign set %v, %x : !tfc.resource<tensor<2xf32>>, tensor<2xf32> -> !tfc.control
  %a, %r = tfc.read %v : !tfc.resource<tensor<2xf32>> -> tensor<2xf32>, !tfc.control
  func.return %a : tensor<2xf32>
}

// A token goes into both branches, where the assignment takes it; the branches give one back.
// CHECK-LABEL: func.func @branch
// CHECK:         %{{.*}}, %[[R:.*]] = tfc.read
// CHECK:         %{{.*}}, %[[DONE:.*]] = tfc.if %{{.*}}(%{{.*}}, %[[R]]) :
// CHECK:         ^{{.*}}(%{{.*}}: tensor<2xf32>, %[[IN:.*]]: !tfc.control):
// CHECK:           %[[S:.*]] = tfc.assign set %{{.*}}, %{{.*}} after %[[IN]] :
// CHECK:           %[[J:.*]] = tfc.join %[[S]]
// CHECK:           tfc.yield %{{.*}}, %[[J]]
// CHECK:         tfc.read %{{.*}} after %[[DONE]] :
func.func @branch(%p : tensor<i1>, %x : tensor<2xf32>) -> (tensor<2xf32>, tensor<2xf32>) {
  %v = tfc.variable "v" of tensor<2xf32> : !tfc.resource<tensor<2xf32>>
  %a, %r = tfc.read %v : !tfc.resource<tensor<2xf32>> -> tensor<2xf32>, !tfc.control
  %y = tfc.if %p(%x) : (tensor<2xf32>) -> (tensor<2xf32>) {
  ^bb0(%x0 : tensor<2xf32>):
    %u = tfc.variable "v" of tensor<2xf32> : !tfc.resource<tensor<2xf32>>
    %s = tfc.assign set %u, %x0 : !tfc.resource<tensor<2xf32>>, tensor<2xf32> -> !tfc.control
    tfc.yield %x0 : tensor<2xf32>
  } else {
  ^bb1(%x1 : tensor<2xf32>):
    tfc.yield %x1 : tensor<2xf32>
  }
  %b, %q = tfc.read %v : !tfc.resource<tensor<2xf32>> -> tensor<2xf32>, !tfc.control
  func.return %b, %y : tensor<2xf32>, tensor<2xf32>
}

// A loop that counts in a variable: its turns follow each other, so only its ends need edges.
// CHECK-LABEL: func.func @loop
// CHECK:         %[[S:.*]] = tfc.assign set
// CHECK:         %[[J:.*]] = tfc.join
// CHECK:         %{{.*}}, %[[DONE:.*]] = tfc.while(%{{.*}}, %[[J]]) with(%[[S]])
// CHECK:         tfc.assign add %{{.*}}, %{{.*}} after
// CHECK:         tfc.read %{{.*}} after %[[DONE]] :
func.func @loop(%x : tensor<f32>) -> (tensor<f32>, tensor<f32>) {
  %v = tfc.variable "v" of tensor<f32> : !tfc.resource<tensor<f32>>
  %s = tfc.assign set %v, %x : !tfc.resource<tensor<f32>>, tensor<f32> -> !tfc.control
  %n = tfc.while (%x) with () : (tensor<f32>), () -> (tensor<f32>) {
  ^bb0(%i : tensor<f32>):
    %zero = tfc.constant 0.0 : tensor<f32>
    %more = tfc.compare gt %i, %zero : tensor<f32>, tensor<f32> -> tensor<i1>
    tfc.yield %more : tensor<i1>
  } do {
  ^bb1(%i : tensor<f32>):
    %u = tfc.variable "v" of tensor<f32> : !tfc.resource<tensor<f32>>
    %one = tfc.constant 1.0 : tensor<f32>
    %t = tfc.assign add %u, %one : !tfc.resource<tensor<f32>>, tensor<f32> -> !tfc.control
    %next = tfc.sub %i, %one : tensor<f32>, tensor<f32> -> tensor<f32>
    tfc.yield %next : tensor<f32>
  }
  %b, %q = tfc.read %v : !tfc.resource<tensor<f32>> -> tensor<f32>, !tfc.control
  func.return %b, %n : tensor<f32>, tensor<f32>
}
