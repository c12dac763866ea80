// RUN: tfc-opt %s -p insert-transfers,lower-to-kernels | filecheck %s
// RUN: tfc-opt %s -p insert-transfers,lower-to-kernels -t ptx --cpu sm_90 | filecheck %s --check-prefix PTX

// A thread has four neighbours, which are one access each: 1024 * 768 / 4 threads, of which a block has 256.
// CHECK-LABEL: kernel.func @mul_exp_0
// CHECK-SAME:    grid = "768", grain = 1 : i64, target = "gpu"
// CHECK-SAME:    block = 256 : i64
// CHECK:         kernel.parallel %[[B:.*]] to
// CHECK:           %[[T:.*]] = kernel.thread
// CHECK-COUNT-2:   kernel.load {{.*}} {aligned} : {{.*}}, vector<4xf32>
// CHECK:           math.exp
// CHECK:           kernel.store {{.*}} {aligned} : vector<4xf32>
// PTX-LABEL:   .visible .entry mul_exp_0(
// PTX:           ld.global.v4.b32
// PTX:           ld.global.nc.v4.b32
// PTX:           st.global.v4.b32

// A team of 64 threads has a row of softmax in registers: its elements are loaded once, 12 a thread.
// CHECK-LABEL: kernel.func @reduce_sub_exp_div_1
// CHECK-SAME:    grid = "512", {{.*}}, block = 128 : i64
// CHECK-COUNT-3: kernel.load {{.*}} {aligned} : {{.*}}, vector<4xf32>
// CHECK-NOT:     vector<4xf32>, memref
// CHECK-COUNT-5: kernel.shuffle "xor"
// CHECK:         kernel.barrier
// CHECK:         math.exp
// CHECK-COUNT-3: kernel.store {{.*}} {aligned} : vector<4xf32>
// CHECK:         kernel.barrier

// What no multiple of four is has one element a thread; the last block is guarded.
// CHECK-LABEL: kernel.func @neg_2
// CHECK:         scf.if
// CHECK:           kernel.load {{.*}} : memref<1023xf32>, f32
// CHECK:           kernel.store {{.*}} : f32, memref<1023xf32>
func.func @main(%x : tensor<1024x768xf32>, %w : tensor<768xf32>, %z : tensor<1023xf32>)
    -> (tensor<1024x768xf32>, tensor<1024x768xf32>, tensor<1023xf32>) {
  %y = tfc.fusion "nest"(%x, %w) {tfc.device = "/device:GPU:0"} : (tensor<1024x768xf32>, tensor<768xf32>) -> tensor<1024x768xf32> {
  ^bb0(%x1 : tensor<1024x768xf32>, %w1 : tensor<768xf32>):
    %b = tfc.broadcast %w1 to [1024, 768] at [1] : tensor<768xf32> -> tensor<1024x768xf32>
    %m = tfc.mul %x1, %b : tensor<1024x768xf32>, tensor<1024x768xf32> -> tensor<1024x768xf32>
    %e = tfc.exp %m : tensor<1024x768xf32> -> tensor<1024x768xf32>
    tfc.yield %e : tensor<1024x768xf32>
  }
  %s = tfc.fusion "nest"(%y) {tfc.device = "/device:GPU:0"} : (tensor<1024x768xf32>) -> tensor<1024x768xf32> {
  ^bb0(%x2 : tensor<1024x768xf32>):
    %t = tfc.reduce max %x2 over [1] : tensor<1024x768xf32> -> tensor<1024xf32>
    %tb = tfc.broadcast %t to [1024, 768] at [0] : tensor<1024xf32> -> tensor<1024x768xf32>
    %d = tfc.sub %x2, %tb : tensor<1024x768xf32>, tensor<1024x768xf32> -> tensor<1024x768xf32>
    %e2 = tfc.exp %d : tensor<1024x768xf32> -> tensor<1024x768xf32>
    %u = tfc.reduce sum %e2 over [1] : tensor<1024x768xf32> -> tensor<1024xf32>
    %ub = tfc.broadcast %u to [1024, 768] at [0] : tensor<1024xf32> -> tensor<1024x768xf32>
    %q = tfc.div %e2, %ub : tensor<1024x768xf32>, tensor<1024x768xf32> -> tensor<1024x768xf32>
    tfc.yield %q : tensor<1024x768xf32>
  }
  %n = tfc.fusion "nest"(%z) {tfc.device = "/device:GPU:0"} : (tensor<1023xf32>) -> tensor<1023xf32> {
  ^bb0(%x3 : tensor<1023xf32>):
    %v = tfc.neg %x3 : tensor<1023xf32> -> tensor<1023xf32>
    tfc.yield %v : tensor<1023xf32>
  }
  func.return %y, %s, %n : tensor<1024x768xf32>, tensor<1024x768xf32>, tensor<1023xf32>
}
