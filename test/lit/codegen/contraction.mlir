// RUN: tfc-opt %s -p 'pack-contractions{cpu=x86-64-v4},fuse,lower-to-kernels{cpu=x86-64-v4}' --split-input-file | filecheck %s

// The tile is carried by the loop over the depth, of which two steps share an iteration: a column of
// x (four numbers, 8 apart), a row of w, their product. The bias is added to the rows of the tile.
// CHECK-LABEL: kernel.func @contract_add_0
// CHECK-SAME:    (%[[X:.*]]: memref<32xf32>, %[[W:.*]]: memref<128xf32>, %[[B:.*]]: memref<16xf32>, %[[Y:.*]]: memref<64xf32>)
// CHECK:         %[[ZERO:.*]] = arith.constant dense<0.000000e+00> : vector<4x16xf32>
// CHECK:         kernel.parallel
// CHECK:           %[[SUM:.*]] = scf.for {{.*}} iter_args(%[[T:.*]] = %[[ZERO]]) -> (vector<4x16xf32>)
// CHECK:             %[[C:.*]] = kernel.load %[[X]][{{.*}}] rows {{.*}} vector<4x1xf32>
// CHECK:             %[[R:.*]] = kernel.load %[[W]][{{.*}}] : memref<128xf32>, vector<16xf32>
// CHECK-NEXT:        kernel.outer %[[C]], %[[R]], %[[T]] :
// CHECK:             kernel.outer
// CHECK:             scf.yield
// CHECK:           kernel.row %[[SUM]][0
// CHECK:           kernel.load %[[B]]
// CHECK-NEXT:      arith.addf
// CHECK:           kernel.store {{.*}} %[[Y]]
// CHECK:           kernel.row %[[SUM]][3
func.func @main(%x: tensor<4x8xf32>, %w: tensor<8x16xf32>, %b: tensor<16xf32>) -> tensor<4x16xf32> {
  %y = tfc.dot %x, %w batch [], [] contract [1], [0] : tensor<4x8xf32>, tensor<8x16xf32> -> tensor<4x16xf32>
  %c = tfc.broadcast %b to [4, 16] at [1] : tensor<16xf32> -> tensor<4x16xf32>
  %s = tfc.add %y, %c : tensor<4x16xf32>, tensor<4x16xf32> -> tensor<4x16xf32>
  func.return %s : tensor<4x16xf32>
}

// -----

// Rows that are known only when the kernel runs: full tiles, the last of which ends with the last row;
// fewer rows than that in lower tiles, then one by one. 10 of 16 lanes are columns.
// CHECK-LABEL: kernel.func @contract_0
// CHECK-SAME:    dims = ["n"]
// CHECK:         %[[M:.*]] = kernel.mask {{.*}} : vector<16xi1>
// CHECK:         kernel.store {{.*}} mask %[[M]] : vector<16xi1> : vector<14x16xf32>
// CHECK:         kernel.store {{.*}} mask %[[M]] : vector<16xi1> : vector<8x16xf32>
// CHECK:         kernel.store {{.*}} mask %[[M]] : vector<16xi1> : vector<1x16xf32>
func.func @main(%x: tensor<?x8xf32, #tfc.dims<["n", ""]>>, %w: tensor<8x10xf32>) -> tensor<?x10xf32, #tfc.dims<["n", ""]>> {
  %y = tfc.dot %x, %w batch [], [] contract [1], [0] : tensor<?x8xf32, #tfc.dims<["n", ""]>>, tensor<8x10xf32> -> tensor<?x10xf32, #tfc.dims<["n", ""]>>
  func.return %y : tensor<?x10xf32, #tfc.dims<["n", ""]>>
}

// -----

// Two panels: while tiles of the first one are computed, they ask for the lines of the second, 8 rows of 64
// numbers behind it. A task has two tiles: each asks for half of it.
// CHECK-LABEL: kernel.func @contract_1
// CHECK-SAME:    (%[[X:.*]]: memref<144xf32>, %[[W:.*]]: memref<1024xf32>, %{{.*}})
// CHECK:         scf.for {{.*}} -> (vector<6x64xf32>)
// CHECK:           kernel.prefetch %[[W]][{{.*}}], 4 : i64
// CHECK:           kernel.load %[[X]]
// CHECK-NOT:       kernel.prefetch
func.func @main(%x: tensor<18x8xf32>) -> tensor<18x128xf32> {
  %w = tfc.constant splat 0.5 : tensor<8x128xf32>
  %y = tfc.dot %x, %w batch [], [] contract [1], [0] : tensor<18x8xf32>, tensor<8x128xf32> -> tensor<18x128xf32>
  func.return %y : tensor<18x128xf32>
}
