// RUN: tfc-opt %s -p simplify-shapes | filecheck %s

// What goes into a branch is known inside; what both ways give is known behind it.
// CHECK-LABEL: func.func @branch
// CHECK:         %{{.*}}, %{{.*}} = tfc.if %p(%x) : (tensor<2x3xf32>) -> (tensor<2x3xf32>, tensor<?x3xf32>) {
// CHECK-NEXT:    ^bb0(%{{.*}}: tensor<2x3xf32>):
// CHECK:         } else {
// CHECK-NEXT:    ^bb0(%{{.*}}: tensor<2x3xf32>):
func.func @branch(%p : tensor<i1>, %x : tensor<2x3xf32>) -> (tensor<?x3xf32>, tensor<?x3xf32>) {
  %r:2 = tfc.if %p (%x) : (tensor<2x3xf32>) -> (tensor<?x3xf32>, tensor<?x3xf32>) {
  ^bb0(%a : tensor<?x3xf32>):
    %n = tfc.neg %a : tensor<?x3xf32> -> tensor<?x3xf32>
    tfc.yield %n, %a : tensor<?x3xf32>, tensor<?x3xf32>
  } else {
  ^bb0(%a : tensor<?x3xf32>):
    %d = tfc.concat %a, %a along 0 : tensor<?x3xf32>, tensor<?x3xf32> -> tensor<?x3xf32>
    tfc.yield %a, %d : tensor<?x3xf32>, tensor<?x3xf32>
  }
  func.return %r#0, %r#1 : tensor<?x3xf32>, tensor<?x3xf32>
}

// A loop whose body gives back what it takes is as precise as its first values; one that grows is not, and
// what depends on that is not either.
// CHECK-LABEL: func.func @loop
// CHECK:         tfc.while({{.*}}) : (tensor<i1>, tensor<2xf32>, tensor<3xf32>, tensor<3xf32>), () -> (tensor<i1>, tensor<2xf32>, tensor<?xf32>, tensor<?xf32>)
// CHECK:         ^bb0(%{{.*}}: tensor<i1>, %{{.*}}: tensor<2xf32>, %{{.*}}: tensor<?xf32>, %{{.*}}: tensor<?xf32>):
func.func @loop(%p : tensor<i1>, %x : tensor<2xf32>, %y : tensor<3xf32>) -> (tensor<?xf32>, tensor<?xf32>) {
  %r:4 = tfc.while (%p, %x, %y, %y) with () : (tensor<i1>, tensor<2xf32>, tensor<3xf32>, tensor<3xf32>), () -> (tensor<i1>, tensor<?xf32>, tensor<?xf32>, tensor<?xf32>) {
  ^bb0(%q : tensor<i1>, %a : tensor<?xf32>, %b : tensor<?xf32>, %c : tensor<?xf32>):
    tfc.yield %q : tensor<i1>
  } do {
  ^bb0(%q : tensor<i1>, %a : tensor<?xf32>, %b : tensor<?xf32>, %c : tensor<?xf32>):
    %n = tfc.neg %a : tensor<?xf32> -> tensor<?xf32>
    %d = tfc.concat %b, %b along 0 : tensor<?xf32>, tensor<?xf32> -> tensor<?xf32>
    %f = tfc.not %q : tensor<i1> -> tensor<i1>
    tfc.yield %f, %n, %d, %b : tensor<i1>, tensor<?xf32>, tensor<?xf32>, tensor<?xf32>
  }
  func.return %r#1, %r#2 : tensor<?xf32>, tensor<?xf32>
}
