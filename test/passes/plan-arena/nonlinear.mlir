// Input of basic.mlir, which expects the error.
// RUN: not moe-opt %s --plan-arena

func.func @f() attributes {moe.function = {}} {
  moex.parallel {
    %a = moex.alloc affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T floordiv 2)> : memref<?x64xf32>
    %o = moex.output 0 : memref<?x64xf32>
    moex.lookup ins(%a : memref<?x64xf32>) outs(%o : memref<?x64xf32>) rows affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)>
  }
  return
}
