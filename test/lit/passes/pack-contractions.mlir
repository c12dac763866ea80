// RUN: tfc-opt %s -p 'pack-contractions{cpu=x86-64-v4}' | filecheck %s

// A constant right operand becomes panels when the model is compiled: 2 panels of 64 of its 120 columns.
// CHECK-LABEL: func.func @constant
// CHECK-NEXT:    %[[W:.*]] = tfc.constant blob "{{.*}}" : tensor<2x768x64xf32>
// CHECK-NEXT:    %y = tfc.contract %x, %[[W]], 64 over <"row 128 x=768 y=120", "depth 768 x=1 w=64", "panel 2 w=49152 y=64", "column 120 w=1 y=1"> packed
// CHECK-NEXT:    func.return %y
func.func @constant(%x: tensor<128x768xf32>) -> tensor<128x120xf32> {
  %w = tfc.constant splat 0.5 : tensor<768x120xf32>
  %y = tfc.dot %x, %w batch [], [] contract [1], [0] : tensor<128x768xf32>, tensor<768x120xf32> -> tensor<128x120xf32>
  func.return %y : tensor<128x120xf32>
}

// One that is computed is read in place where its columns are contiguous and few.
// CHECK-LABEL: func.func @in_place
// CHECK-NEXT:    %y = tfc.contract %x, %w, 64 over <"row 128 x=768 y=100", "depth 768 x=1 w=100", "panel 2 w=64 y=64", "column 100 w=1 y=1"> :
// CHECK-NEXT:    func.return %y
func.func @in_place(%x: tensor<128x768xf32>, %w: tensor<768x100xf32>) -> tensor<128x100xf32> {
  %y = tfc.dot %x, %w batch [], [] contract [1], [0] : tensor<128x768xf32>, tensor<768x100xf32> -> tensor<128x100xf32>
  func.return %y : tensor<128x100xf32>
}

// One whose terms are contiguous is, too: the kernel copies the chunks that it needs.
// CHECK-LABEL: func.func @transposed
// CHECK-NEXT:    tfc.contract %x, %w, 64 over <"row 128 x=768 y=128", "depth 768 x=1 w=1", "panel 2 w=49152 y=64", "column 128 w=768 y=1"> :
func.func @transposed(%x: tensor<128x768xf32>, %w: tensor<128x768xf32>) -> tensor<128x128xf32> {
  %y = tfc.dot %x, %w batch [], [] contract [1], [1] : tensor<128x768xf32>, tensor<128x768xf32> -> tensor<128x128xf32>
  func.return %y : tensor<128x128xf32>
}

// Where several blocks of rows would copy the same panels, they are laid out once.
// CHECK-LABEL: func.func @many_rows
// CHECK:         %[[P:.*]] = tfc.pad %w {{.*}} high [0, 20]
// CHECK-NEXT:    %[[R:.*]] = tfc.reshape %[[P]] to [512, 5, 64]
// CHECK-NEXT:    %[[W:.*]] = tfc.transpose %[[R]] by [1, 0, 2]
// CHECK-NEXT:    tfc.contract %x, %[[W]], 64 over <"row 768 x=512 y=300", "depth 512 x=1 w=64", "panel 5 w=32768 y=64", "column 300 w=1 y=1"> packed :
func.func @many_rows(%x: tensor<768x512xf32>, %w: tensor<512x300xf32>) -> tensor<768x300xf32> {
  %y = tfc.dot %x, %w batch [], [] contract [1], [0] : tensor<768x512xf32>, tensor<512x300xf32> -> tensor<768x300xf32>
  func.return %y : tensor<768x300xf32>
}

// A number of columns that is known only when the model runs: the same, with masks at the end.
// CHECK-LABEL: func.func @scores
// CHECK-NEXT:    tfc.contract %q, %k, 64 over <"batch 2 x=768*n w=768*n y=12*n*n", "batch 12 x=64 w=64 y=n*n", "row n x=768 y=n", "depth 64 x=1 w=1", "panel ((n+63)//64) w=49152 y=64", "column n w=768 y=1"> :
func.func @scores(%q: tensor<2x?x12x64xf32, #tfc.dims<["", "n", "", ""]>>, %k: tensor<2x?x12x64xf32, #tfc.dims<["", "n", "", ""]>>) -> tensor<2x12x?x?xf32, #tfc.dims<["", "", "n", "n"]>> {
  %y = tfc.dot %q, %k batch [0, 2], [0, 2] contract [3], [3] : tensor<2x?x12x64xf32, #tfc.dims<["", "n", "", ""]>>, tensor<2x?x12x64xf32, #tfc.dims<["", "n", "", ""]>> -> tensor<2x12x?x?xf32, #tfc.dims<["", "", "n", "n"]>>
  func.return %y : tensor<2x12x?x?xf32, #tfc.dims<["", "", "n", "n"]>>
}

// A window: rows of the image stand in place (the width and channels of the window are one run).
// CHECK-LABEL: func.func @window
// CHECK:         %[[X:.*]] = tfc.pad %x {{.*}} low [0, 1, 1, 0] high [0, 1, 1, 0]
// CHECK-NEXT:    tfc.contract %[[X]], %w, 32 over <"batch batch x=65536 y=12544", "batch 14 x=4096 y=896", "row 14 x=256 y=64", "step 3 x=4096 w=49152", "depth 768 x=1 w=64", "panel 2 w=32 y=32", "column 64 w=1 y=1"> :
func.func @window(%x: tensor<?x14x14x256xf32, #tfc.dims<["batch", "", "", ""]>>, %w: tensor<3x3x256x64xf32>) -> tensor<?x14x14x64xf32, #tfc.dims<["batch", "", "", ""]>> {
  %y = tfc.convolution %x, %w strides [1, 1] dilations [1, 1] low [1, 1] high [1, 1] groups 1 : tensor<?x14x14x256xf32, #tfc.dims<["batch", "", "", ""]>>, tensor<3x3x256x64xf32> -> tensor<?x14x14x64xf32, #tfc.dims<["batch", "", "", ""]>>
  func.return %y : tensor<?x14x14x64xf32, #tfc.dims<["batch", "", "", ""]>>
}

// A window of one place: all places of all images are the rows of one matmul.
// CHECK-LABEL: func.func @pointwise
// CHECK-NEXT:    tfc.contract %x, %w, 64 over <"row 196*batch x=256 y=64", "depth 256 x=1 w=64", {{.*}}
func.func @pointwise(%x: tensor<?x14x14x256xf32, #tfc.dims<["batch", "", "", ""]>>, %w: tensor<1x1x256x64xf32>) -> tensor<?x14x14x64xf32, #tfc.dims<["batch", "", "", ""]>> {
  %y = tfc.convolution %x, %w strides [1, 1] dilations [1, 1] low [0, 0] high [0, 0] groups 1 : tensor<?x14x14x256xf32, #tfc.dims<["batch", "", "", ""]>>, tensor<1x1x256x64xf32> -> tensor<?x14x14x64xf32, #tfc.dims<["batch", "", "", ""]>>
  func.return %y : tensor<?x14x14x64xf32, #tfc.dims<["batch", "", "", ""]>>
}

// One weight in two products is packed once.
// CHECK-LABEL: func.func @shared
// CHECK-NEXT:    %[[W:.*]] = tfc.constant
// CHECK-NEXT:    %a = tfc.contract %x, %[[W]],
// CHECK-NEXT:    tfc.contract %a, %[[W]],
func.func @shared(%x: tensor<8x64xf32>) -> tensor<8x64xf32> {
  %w = tfc.constant splat 0.5 : tensor<64x64xf32>
  %a = tfc.dot %x, %w batch [], [] contract [1], [0] : tensor<8x64xf32>, tensor<64x64xf32> -> tensor<8x64xf32>
  %b = tfc.dot %a, %w batch [], [] contract [1], [0] : tensor<8x64xf32>, tensor<64x64xf32> -> tensor<8x64xf32>
  func.return %b : tensor<8x64xf32>
}

// Groups are a batch axis of their own, in x, w and the result.
// CHECK-LABEL: func.func @groups
// CHECK-NEXT:    tfc.contract %x, %w, 32 over <"batch 4 x=16 w=32 y=32", {{.*}}
func.func @groups(%x: tensor<2x9x64xf32>, %w: tensor<3x16x128xf32>) -> tensor<2x7x128xf32> {
  %y = tfc.convolution %x, %w strides [1] dilations [1] low [0] high [0] groups 4 : tensor<2x9x64xf32>, tensor<3x16x128xf32> -> tensor<2x7x128xf32>
  func.return %y : tensor<2x7x128xf32>
}

// What a loop nest does as well stays: depthwise, integers, a product with a vector.
// CHECK-LABEL: func.func @stay
// CHECK-NOT:     tfc.contract
// CHECK:         func.return
func.func @stay(%x: tensor<2x9x8xf32>, %w: tensor<3x1x8xf32>, %i: tensor<4x4xi32>, %v: tensor<8xf32>) -> (tensor<2x7x8xf32>, tensor<4x4xi32>, tensor<2x9xf32>) {
  %d = tfc.convolution %x, %w strides [1] dilations [1] low [0] high [0] groups 8 : tensor<2x9x8xf32>, tensor<3x1x8xf32> -> tensor<2x7x8xf32>
  %m = tfc.dot %i, %i batch [], [] contract [1], [0] : tensor<4x4xi32>, tensor<4x4xi32> -> tensor<4x4xi32>
  %p = tfc.dot %x, %v batch [], [] contract [2], [0] : tensor<2x9x8xf32>, tensor<8xf32> -> tensor<2x9xf32>
  func.return %d, %m, %p : tensor<2x7x8xf32>, tensor<4x4xi32>, tensor<2x9xf32>
}

// Keys of earlier tokens and of a new one, for one row of queries: a sum, which reads the parts where they are.
// CHECK-LABEL: func.func @decode
// CHECK-NEXT:    %keys = tfc.concat %cache, %k
// CHECK:         %[[P:.*]] = tfc.mul {{.*}}, %keys
// CHECK-NEXT:    tfc.reduce sum %[[P]] over [2]
// CHECK-NOT:     tfc.contract
func.func @decode(%q: tensor<12x1x64xf32>, %cache: tensor<12x511x64xf32>, %k: tensor<12x1x64xf32>) -> tensor<12x1x512xf32> {
  %keys = tfc.concat %cache, %k along 1 : tensor<12x511x64xf32>, tensor<12x1x64xf32> -> tensor<12x512x64xf32>
  %y = tfc.dot %q, %keys batch [0], [0] contract [2], [2] : tensor<12x1x64xf32>, tensor<12x512x64xf32> -> tensor<12x1x512xf32>
  func.return %y : tensor<12x1x512xf32>
}
