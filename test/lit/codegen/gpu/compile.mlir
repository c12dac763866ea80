// RUN: tfc-compile %s --target=nvptx64 --cpu=sm_90 --emit=kernel -q | filecheck %s
// RUN: tfc-compile %s --target=nvptx64 --cpu=sm_90 --emit=llvm -q | filecheck %s --check-prefix LLVM
// RUN: tfc-compile %s --target=nvptx64 --cpu=sm_90 --emit=ptx -q | filecheck %s --check-prefix PTX

// A model for a GPU: its kernels, their LLVM IR, and the PTX of them all.
// CHECK-LABEL: kernel.func @exp_mul_0
// CHECK-SAME:    target = "gpu"
// CHECK:         kernel.thread
// CHECK:       host.launch @exp_mul_0
// LLVM:        target triple = "nvptx64-nvidia-cuda"
// LLVM:        define ptx_kernel void @exp_mul_0(
// PTX:         .target sm_90
// PTX:         .visible .entry exp_mul_0(
func.func @main(%x : tensor<1024xf32>) -> tensor<1024xf32> {
  %y = tfc.exp %x : tensor<1024xf32> -> tensor<1024xf32>
  %z = tfc.mul %y, %x : tensor<1024xf32>, tensor<1024xf32> -> tensor<1024xf32>
  func.return %z : tensor<1024xf32>
}
