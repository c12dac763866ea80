// RUN: tfc-opt %s -p "pack-contractions{gpu=sm_90},fuse,insert-transfers,lower-to-kernels{gpu=sm_90}" | filecheck %s
// RUN: tfc-opt %s -p "pack-contractions{gpu=sm_90},fuse,insert-transfers,lower-to-kernels{gpu=sm_90}" -t ptx --cpu sm_90 | filecheck %s --check-prefix PTX
// RUN: tfc-opt %s -p "pack-contractions{gpu=sm_90 allow-tf32=true},fuse,insert-transfers,lower-to-kernels{gpu=sm_90}" -t ptx --cpu sm_90 | filecheck %s --check-prefix TF32

// Tiles of f32 by threads, a bias in registers: 16 bytes at a time into two stages of shared memory, and out of it.
// CHECK-LABEL: kernel.func @contract_add_0
// CHECK-SAME:    grid = "512", grain = 1 : i64, target = "gpu", block = 256 : i64
// CHECK:         kernel.shared : memref<5120xf32>
// CHECK:         kernel.shared : memref<4224xf32>
// CHECK:         kernel.copy_async 4 of
// CHECK:         kernel.commit_async
// CHECK:         scf.for
// CHECK:           kernel.wait_async 0
// CHECK:           kernel.barrier
// CHECK:           kernel.copy_async 4 of
// CHECK:           kernel.outer
// CHECK:         kernel.store {{.*}} {aligned} : vector<4xf32>, memref<8388608xf32>
// PTX-LABEL:   .visible .entry contract_add_0
// PTX:           .reqntid 256
// PTX-DAG:         cp.async.cg.shared.global [%{{.*}}], [%{{.*}}], 16
// PTX-DAG:         cp.async.wait_group 0
// PTX-DAG:         ld.shared.v4.b32
// PTX-DAG:         fma.rn.f32
// PTX-DAG:         st.global.v4.b32
// TF32-LABEL:  .visible .entry contract_add_0
// TF32:          cvt.rna.tf32.f32
// TF32:          mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32

// Tiles of bf16 by tensor cores: four stages, three of them on their way.
// CHECK-LABEL: kernel.func @contract_1
// CHECK-SAME:    block = 256 : i64, shared = 75776 : i64
// CHECK:           kernel.wait_async 2
// CHECK:           kernel.load_matrix {{.*}} : memref<20480xbf16>, vector<4xi32>
// CHECK:           kernel.load_matrix {{.*}} transposed : memref<17408xbf16>, vector<4xi32>
// CHECK:           kernel.mma "bf16"
// PTX-LABEL:   .visible .entry contract_1
// PTX-DAG:         ldmatrix.sync.aligned.m8n8.x4.shared.b16
// PTX-DAG:         ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16
// PTX-DAG:         mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
func.func @main(%x: tensor<4096x512xf32>, %w: tensor<512x2048xf32>, %b: tensor<2048xf32>, %p: tensor<4096x512xbf16>, %q: tensor<512x4096xbf16>) -> (tensor<4096x2048xf32>, tensor<4096x4096xbf16>) {
  %y = tfc.dot %x, %w batch [], [] contract [1], [0] {tfc.device = "/device:GPU:0"} : tensor<4096x512xf32>, tensor<512x2048xf32> -> tensor<4096x2048xf32>
  %c = tfc.broadcast %b to [4096, 2048] at [1] {tfc.device = "/device:GPU:0"} : tensor<2048xf32> -> tensor<4096x2048xf32>
  %z = tfc.add %y, %c {tfc.device = "/device:GPU:0"} : tensor<4096x2048xf32>, tensor<4096x2048xf32> -> tensor<4096x2048xf32>
  %r = tfc.dot %p, %q batch [], [] contract [1], [0] {tfc.device = "/device:GPU:0"} : tensor<4096x512xbf16>, tensor<512x4096xbf16> -> tensor<4096x4096xbf16>
  func.return %z, %r : tensor<4096x2048xf32>, tensor<4096x4096xbf16>
}
