// RUN: tfc-opt %s | filecheck %s

// Few elements stand in the text, and one value in all of them is written once.
// CHECK-LABEL: func.func @constants
// CHECK-NEXT:    tfc.constant {{\[\[1.0, nan\], \[-inf, 0.1\]\]}} : tensor<2x2xf64>
// CHECK-NEXT:    tfc.constant splat 0.5 : tensor<512x512xf32>
// CHECK-NEXT:    tfc.constant splat true : tensor<64xi1>
// CHECK-NEXT:    tfc.constant 18446744073709551615 : tensor<ui64>
// CHECK-NEXT:    tfc.constant [] : tensor<0x3xf32>
// CHECK-NEXT:    tfc.iota [2, "batch"] along 1 of i64
func.func @constants() {
  %a = tfc.constant [[1.0, nan], [-inf, 0.1]] : tensor<2x2xf64>
  %b = tfc.constant splat 0.5 : tensor<512x512xf32>
  %c = tfc.constant splat true : tensor<64xi1>
  %d = tfc.constant 18446744073709551615 : tensor<ui64>
  %e = tfc.constant [] : tensor<0x3xf32>
  %f = tfc.iota [2, "batch"] along 1 of i64 : tensor<2x?xi64, #tfc.dims<["", "batch"]>>
  func.return
}
