// RUN: moe-opt %s --partition-tasks | FileCheck %s

#T = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>

// Many output columns are divided, so that each weight is read once; the four
// columns of a router are one block, so its rows are.
// CHECK: moex.grouped_gemm {{.*}} outs(%{{.*}} : memref<?x32xf32>) rows #{{.*}} compute = f32{{$}}
// CHECK: moex.grouped_gemm {{.*}} outs(%{{.*}} : memref<?x4xf32>) rows #{{.*}} compute = f32 tasks = rows
func.func @f(%x: memref<?x64xf32>, %w: memref<32x64xbf16>, %v: memref<4x64xbf16>, %y: memref<?x32xf32>, %z: memref<?x4xf32>) {
  moex.grouped_gemm ins(%x : memref<?x64xf32>) weights(%w : memref<32x64xbf16>) outs(%y : memref<?x32xf32>) rows #T compute = f32
  moex.grouped_gemm ins(%x : memref<?x64xf32>) weights(%v : memref<4x64xbf16>) outs(%z : memref<?x4xf32>) rows #T compute = f32
  return
}
