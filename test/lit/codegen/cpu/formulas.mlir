// RUN: tfc-opt %s -t llvm --cpu x86-64-v3 | filecheck %s
// RUN: tfc-opt %s -t asm --cpu x86-64-v3 | filecheck %s --check-prefix ASM

// A formula is written out where it is used; from the third use on a helper is called.
// CHECK:       define internal <8 x float> @tfc.tanh.v8f32(<8 x float> %x) nounwind
// CHECK-LABEL: define hidden void @chain
// CHECK:         fdiv <8 x float>
// CHECK:         fdiv <8 x float>
// CHECK-NOT:     fdiv
// CHECK:         call <8 x float> @tfc.tanh.v8f32(
// CHECK:         call <8 x float> @tfc.tanh.v8f32(

// No function of a library is called.
// ASM-LABEL: chain:
// ASM-NOT:     tanh{{f?}}@PLT
kernel.func @chain(%x: memref<?xf32>) attributes {dims = [], grid = "1", grain = 1} {
  %c0 = arith.constant 0 : index
  %a = kernel.load %x[%c0] : memref<?xf32>, vector<8xf32>
  %b = math.tanh %a : vector<8xf32>
  %c = math.tanh %b : vector<8xf32>
  %d = math.tanh %c : vector<8xf32>
  %e = math.tanh %d : vector<8xf32>
  kernel.store %e, %x[%c0] : vector<8xf32>, memref<?xf32>
}
