// RUN: not tfc-opt %s --split-input-file -p place 2>&1 | filecheck %s
// RUN: tfc-opt %s --split-input-file -p 'place{soft=true}' | filecheck %s --check-prefix SOFT

// Contradicting wishes are printed with the ties between them, and nothing else.
// CHECK: operations that must share a device want different ones: 'tfc.neg' wants /device:CPU:0 at {{.*}}, 'tfc.abs' wants /device:GPU:0 at
// CHECK: 'tfc.neg' and 'tfc.exp' are tied by the label loc:@a
// CHECK: 'tfc.exp' and 'tfc.abs' are tied by the label loc:@b
// CHECK: drop one of the devices

// Soft placement keeps the first wish, and logs the other.
// SOFT:      tfc.neg {{.*}}device:CPU:0
// SOFT-NEXT: tfc.exp {{.*}}device:CPU:0
// SOFT-NEXT: tfc.abs {{.*}}device:CPU:0
func.func @conflict(%x : tensor<2xf32>) -> tensor<2xf32> {
  %a = tfc.neg %x {tfc.colocate = ["loc:@a"], tfc.device = "/cpu:0"} : tensor<2xf32> -> tensor<2xf32>
  %y = tfc.exp %a {tfc.colocate = ["loc:@a", "loc:@b"]} : tensor<2xf32> -> tensor<2xf32>
  %b = tfc.abs %y {tfc.colocate = ["loc:@b"], tfc.device = "/gpu:0"} : tensor<2xf32> -> tensor<2xf32>
  func.return %b : tensor<2xf32>
}
