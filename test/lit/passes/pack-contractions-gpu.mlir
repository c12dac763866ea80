// RUN: tfc-opt %s -p "pack-contractions{gpu=sm_90}" | filecheck %s
// RUN: tfc-opt %s -p "pack-contractions{gpu=sm_90 allow-tf32=true}" | filecheck %s --check-prefix TF32

// Both operands are read in place, constants too; only where asked for may factors be rounded.
// CHECK-LABEL: func.func @product
// CHECK:         tfc.contract %{{.*}}, %{{.*}}, 1 over <"row 4096 x=512 y=2048", "depth 512 x=1 w=2048", "panel 2048 w=1 y=1", "column 2048 w=1 y=1"> {
// TF32-LABEL:  func.func @product
// TF32:          tfc.contract %{{.*}} precision "tf32"
func.func @product(%x: tensor<4096x512xf32>, %w: tensor<512x2048xf32>) -> tensor<4096x2048xf32> {
  %y = tfc.dot %x, %w batch [], [] contract [1], [0] {tfc.device = "/device:GPU:0"} : tensor<4096x512xf32>, tensor<512x2048xf32> -> tensor<4096x2048xf32>
  func.return %y : tensor<4096x2048xf32>
}

// Where nothing says that the operation is on a GPU it is none.
// CHECK-LABEL: func.func @elsewhere
// CHECK-NOT:     tfc.contract %{{.*}}, %{{.*}}, 1 over
func.func @elsewhere(%x: tensor<4096x512xf32>, %w: tensor<512x2048xf32>) -> tensor<4096x2048xf32> {
  %y = tfc.dot %x, %w batch [], [] contract [1], [0] : tensor<4096x512xf32>, tensor<512x2048xf32> -> tensor<4096x2048xf32>
  func.return %y : tensor<4096x2048xf32>
}

// A long sum of a small result: pieces of it, in f32, which are added up in one order.
// CHECK-LABEL: func.func @long
// CHECK:         %[[PARTS:.*]] = tfc.contract %{{.*}} over <"batch [[N:.*]] x={{.*}} w={{.*}} y=4096", {{.*}} -> tensor<[[N]]x64x64xf32>
// CHECK:         %[[SUM:.*]] = tfc.reduce sum %[[PARTS]] over [0]
// CHECK:         tfc.cast %[[SUM]] to bf16
// TF32-LABEL:  func.func @long
// TF32-NOT:      precision
func.func @long(%x: tensor<64x65536xbf16>, %w: tensor<65536x64xbf16>) -> tensor<64x64xbf16> {
  %y = tfc.dot %x, %w batch [], [] contract [1], [0] {tfc.device = "/device:GPU:0"} : tensor<64x65536xbf16>, tensor<65536x64xbf16> -> tensor<64x64xbf16>
  func.return %y : tensor<64x64xbf16>
}

// A vector times a matrix is a sum of columns, which has nothing to share in blocks; a matrix whose terms lie side by side
// one of rows. Halves are multiplied and added up as f32.
// CHECK-LABEL: func.func @vector
// CHECK-SAME:    (%[[X:.*]]: tensor<1x512xf32>, %[[W:.*]]: tensor<512x2048xf32>, %{{.*}}: tensor<3x512xbf16>
// CHECK:         %[[FLAT:.*]] = tfc.reshape %[[X]] to [512]
// CHECK:         %[[ALL:.*]] = tfc.broadcast %[[FLAT]] to [512, 2048] at [0]
// CHECK:         %[[TERMS:.*]] = tfc.mul %[[ALL]], %[[W]]
// CHECK:         tfc.reduce sum %[[TERMS]] over [0]
// CHECK:         tfc.broadcast %{{.*}} to [3, 512] at [1]
// CHECK:         tfc.reduce sum %{{.*}} over [1] {{.*}}-> tensor<3xf32>
// CHECK:         tfc.cast %{{.*}} to bf16
func.func @vector(%x: tensor<1x512xf32>, %w: tensor<512x2048xf32>, %h: tensor<3x512xbf16>, %v: tensor<512x1xbf16>)
    -> (tensor<1x2048xf32>, tensor<3x1xbf16>) {
  %y = tfc.dot %x, %w batch [], [] contract [1], [0] {tfc.device = "/device:GPU:0"} : tensor<1x512xf32>, tensor<512x2048xf32> -> tensor<1x2048xf32>
  %z = tfc.dot %h, %v batch [], [] contract [1], [0] {tfc.device = "/device:GPU:0"} : tensor<3x512xbf16>, tensor<512x1xbf16> -> tensor<3x1xbf16>
  func.return %y, %z : tensor<1x2048xf32>, tensor<3x1xbf16>
}
