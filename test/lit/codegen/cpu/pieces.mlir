// RUN: tfc-opt %s -t llvm --cpu x86-64-v4 | filecheck %s
// RUN: tfc-opt %s -t asm --cpu x86-64-v4 | filecheck %s --check-prefix ASM

// Where a register is a table of 16, tanh is six look-ups in two registers each, and a polynomial.
// CHECK-LABEL:   define hidden void @vector
// CHECK-COUNT-6:   call <16 x float> @llvm.x86.avx512.vpermi2var.ps.512(
// CHECK-NOT:       fdiv
// ASM-LABEL:     vector:
// ASM-COUNT-6:     vperm{{[it]}}2ps
kernel.func @vector(%x: memref<?xf32>) attributes {dims = [], grid = "1", grain = 1} {
  %c0 = arith.constant 0 : index
  %a = kernel.load %x[%c0] : memref<?xf32>, vector<16xf32>
  %b = math.tanh %a : vector<16xf32>
  kernel.store %b, %x[%c0] : vector<16xf32>, memref<?xf32>
}

// The pieces of erf fit into one. A scalar takes a lane of it: every width has the same bits.
// CHECK-LABEL:   define hidden void @scalar
// CHECK:           insertelement <1 x i32> poison
// CHECK-COUNT-6:   call <16 x float> @llvm.x86.avx512.permvar.sf.512(
// ASM-LABEL:     scalar:
// ASM-COUNT-6:     vpermps
kernel.func @scalar(%x: memref<?xf32>) attributes {dims = [], grid = "1", grain = 1} {
  %c0 = arith.constant 0 : index
  %a = kernel.load %x[%c0] : memref<?xf32>, f32
  %b = math.erf %a : f32
  kernel.store %b, %x[%c0] : f32, memref<?xf32>
}

// Doubles have no tables.
// CHECK-LABEL: define hidden void @double
// CHECK:         fdiv <8 x double>
kernel.func @double(%x: memref<?xf64>) attributes {dims = [], grid = "1", grain = 1} {
  %c0 = arith.constant 0 : index
  %a = kernel.load %x[%c0] : memref<?xf64>, vector<8xf64>
  %b = math.tanh %a : vector<8xf64>
  kernel.store %b, %x[%c0] : vector<8xf64>, memref<?xf64>
}
