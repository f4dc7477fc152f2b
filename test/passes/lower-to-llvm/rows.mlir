// RUN: moe-opt --lower-to-llvm=levels=generic %s | FileCheck %s

// A chain of maps and a reduction is one loop; nothing gets a buffer that is
// used once. Maps whose result is used twice do.

#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
#zero = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (0)>

func.func @step() attributes {moex.scratch = #zero} {
  moex.parallel {
    %x = moex.arena_slice #zero rows #T : memref<?x64xf32>
    %s = moex.arena_slice #zero rows #T : memref<?xf32>
    %y = moex.arena_slice #zero rows #T : memref<?x64xf32>
    moex.rowwise ins(%x : memref<?x64xf32>) outs(%s : memref<?xf32>)
      rows #T period = [0] body {
    ^bb0(%r: tensor<64xf32>):
      %a = row.map %r : (tensor<64xf32>) -> tensor<64xf32> {
      ^bb0(%e: f32):
        %m = arith.mulf %e, %e : f32
        row.yield %m : f32
      }
      %b = row.map %a : (tensor<64xf32>) -> tensor<64xf32> {
      ^bb0(%e: f32):
        %m = arith.addf %e, %e : f32
        row.yield %m : f32
      }
      %t = row.reduce sum %b : tensor<64xf32> -> f32
      row.yield %t : f32
    }
    moex.rowwise ins(%x : memref<?x64xf32>) outs(%y : memref<?x64xf32>)
      rows #T period = [0] body {
    ^bb0(%r: tensor<64xf32>):
      %a = row.map %r : (tensor<64xf32>) -> tensor<64xf32> {
      ^bb0(%e: f32):
        %m = arith.mulf %e, %e : f32
        row.yield %m : f32
      }
      %t = row.reduce sum %a : tensor<64xf32> -> f32
      %b = row.map %a, %t : (tensor<64xf32>, f32) -> tensor<64xf32> {
      ^bb0(%e: f32, %n: f32):
        %m = arith.divf %e, %n : f32
        row.yield %m : f32
      }
      row.yield %b : tensor<64xf32>
    }
  }
  return
}

// CHECK: llvm.func internal @moe_rowwise_f32_f32_1__generic(
// CHECK-NOT: llvm.alloca
// CHECK: %[[X:.*]] = llvm.load %{{.*}} : !llvm.ptr -> vector<16xf32>
// CHECK-NEXT: %[[M:.*]] = llvm.fmul %[[X]], %[[X]] : vector<16xf32>
// CHECK-NEXT: %[[A:.*]] = llvm.fadd %[[M]], %[[M]] : vector<16xf32>
// CHECK-NEXT: llvm.fadd %{{.*}}, %[[A]] : vector<16xf32>
// The sixteen partial sums, folded in halves.
// CHECK: llvm.fadd %{{.*}} : vector<8xf32>
// CHECK: llvm.fadd %{{.*}} : vector<4xf32>
// CHECK: llvm.fadd %{{.*}} : vector<2xf32>
// CHECK: llvm.fadd %{{.*}} : vector<1xf32>
// CHECK: llvm.return

// CHECK: llvm.func internal @moe_rowwise_f32_f32_64__generic(
// CHECK: llvm.alloca
// CHECK-NOT: llvm.alloca
// CHECK: llvm.return
