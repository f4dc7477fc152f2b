// RUN: moe-opt %s --place-barriers --plan-arena | FileCheck %s
// RUN: not moe-opt %S/nonlinear.mlir --plan-arena 2>&1 | FileCheck %s --check-prefix=NONLINEAR

// NONLINEAR: error: 'moex.alloc' op expected a row count that is linear in the extents

#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
moe.weight @w : tensor<64x64xbf16> from [#moe.tensor<"w">]

// A chain of four buffers needs the memory of two: the third lies where the
// first was, the fourth where the second was.
// CHECK-DAG: #[[ZERO:.*]] = affine_map<{{.*}} -> (0)>
// CHECK-DAG: #[[ROW:.*]] = affine_map<{{.*}} -> (d0 * 256)>
// CHECK-DAG: #[[TWO:.*]] = affine_map<{{.*}} -> (d0 * 512)>
// CHECK-LABEL: func.func @chain()
// CHECK-SAME:    moex.scratch = #[[TWO]]}
// CHECK-NOT:     moex.alloc
// CHECK-DAG:     %[[A:.*]] = moex.arena_slice #[[ZERO]] rows
// CHECK-DAG:     %[[B:.*]] = moex.arena_slice #[[ROW]] rows
// CHECK-DAG:     moex.weight
// CHECK-DAG:     moex.arena_slice #[[ZERO]] rows
// CHECK-DAG:     moex.arena_slice #[[ROW]] rows
func.func @chain() attributes {moe.function = {}} {
  %a = moex.alloc #T : memref<?x64xf32>
  %b = moex.alloc #T : memref<?x64xf32>
  %c = moex.alloc #T : memref<?x64xf32>
  %d = moex.alloc #T : memref<?x64xf32>
  %w = moex.weight @w : memref<64x64xbf16>
  moex.grouped_gemm ins(%a : memref<?x64xf32>) weights(%w : memref<64x64xbf16>) outs(%b : memref<?x64xf32>) rows #T compute = f32
  moex.grouped_gemm ins(%b : memref<?x64xf32>) weights(%w : memref<64x64xbf16>) outs(%c : memref<?x64xf32>) rows #T compute = f32
  moex.grouped_gemm ins(%c : memref<?x64xf32>) weights(%w : memref<64x64xbf16>) outs(%d : memref<?x64xf32>) rows #T compute = f32
  return
}

// Without a barrier between them nothing is shared. A buffer that nothing uses
// takes no memory.
// CHECK-LABEL: func.func @together()
// CHECK-SAME:    moex.scratch = #[[TWO]]}
func.func @together() attributes {moe.function = {}} {
  %a = moex.alloc #T : memref<?x64xf32>
  %b = moex.alloc #T : memref<?x64xf32>
  moex.rowwise ins(%a : memref<?x64xf32>) outs(%b : memref<?x64xf32>) rows #T period = [0] body {
  ^bb0(%r: tensor<64xf32>):
    row.yield %r : tensor<64xf32>
  }
  return
}
