// RUN: split-file %s %t
// RUN: moe-opt --verify-phase=phase=graph %t/router.mlir
// RUN: not moe-opt --verify-phase=phase=route %t/router.mlir 2>&1 | FileCheck %s --check-prefix=ROUTER
// RUN: moe-opt --verify-phase=phase=route %t/experts.mlir
// RUN: not moe-opt --verify-phase=phase=experts %t/experts.mlir 2>&1 | FileCheck %s --check-prefix=EXPERTS
// RUN: moe-opt --verify-phase=phase=experts %t/tensors.mlir
// RUN: not moe-opt --verify-phase=phase=buffers %t/tensors.mlir 2>&1 | FileCheck %s --check-prefix=TENSORS
// RUN: moe-opt --verify-phase=phase=buffers %t/alloc.mlir
// RUN: not moe-opt --verify-phase=phase=schedule %t/alloc.mlir 2>&1 | FileCheck %s --check-prefix=ALLOC
// RUN: moe-opt --verify-phase=phase=target %t/declarations.mlir
// RUN: not moe-opt --verify-phase=phase=target %t/alloc.mlir 2>&1 | FileCheck %s --check-prefix=TARGET
// RUN: not moe-opt --verify-phase=phase=import %t/alloc.mlir 2>&1 | FileCheck %s --check-prefix=IMPORT
// RUN: not moe-opt --verify-phase=phase=last %t/alloc.mlir 2>&1 | FileCheck %s --check-prefix=UNKNOWN

//--- router.mlir
// ROUTER: 'moe.route' op is still there after phase 'route', which leaves no router
func.func @f(%z: tensor<?x8xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
  %ids, %w = moe.route %z score(#moe.softmax) rank(#moe.by_score)
    select(#moe.top_k<2>) weigh(#moe.by_score_weight)
    renorm(#moe.sum_renorm<0.0>) scale(#moe.factor<1.0>)
    : tensor<?x8xf32> -> tensor<?x2xi32>, tensor<?x2xf32>
  return %ids, %w : tensor<?x2xi32>, tensor<?x2xf32>
}

//--- experts.mlir
// EXPERTS: 'moe.experts' op is still there after phase 'experts', which leaves no experts
moe.weight @u : tensor<32x64xbf16> from [#moe.tensor<"u">]
moe.weight @d : tensor<64x32xbf16> from [#moe.tensor<"d">]
moe.expert_table @e body = "mlp" [#moe.expert<width = 32, weights = {down = @d, up = @u}>]
func.func @f(%x: tensor<?x64xf32>, %i: tensor<?x1xi32>, %w: tensor<?x1xf32>) -> tensor<?x64xf32> {
  %y = moe.experts @e %x routed(%i, %w) act = relu2 compute = f32
    : tensor<?x64xf32>, tensor<?x1xi32>, tensor<?x1xf32> -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

//--- tensors.mlir
// TENSORS: 'func.func' op is still there after phase 'buffers', which leaves no function with operands or results
// TENSORS: 'nn.linear' op is illegal after phase 'buffers'; expected the dialects builtin func moex
func.func @f(%x: tensor<?x64xf32>, %w: tensor<32x64xbf16>) -> tensor<?x32xf32> {
  %y = nn.linear %x, %w compute = f32
    : tensor<?x64xf32>, tensor<32x64xbf16> -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}

//--- alloc.mlir
// ALLOC: 'moex.alloc' op is still there after phase 'schedule', which leaves no allocation
// TARGET: 'func.func' op is illegal after phase 'target'; expected the dialects builtin llvm
// IMPORT: 'moex.alloc' op is illegal after phase 'import'
// UNKNOWN: expected a phase (import, graph, compress, route, experts, buffers, schedule, target), found 'last'
func.func @f() {
  %b = moex.alloc affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T)> : memref<?x64xf32>
  return
}

//--- declarations.mlir
moe.modality @text id = 0 token vocab = 256
nn.state @k per_token : tensor<128xf32> cache_tokens = 64
moe.weight @w : tensor<8xbf16> from [#moe.tensor<"w">]
func.func private @step()
moe.entry @run function = @step layout = [#moe.segment<modalities = [0], min = 1, max = 8>]
llvm.func @step_step__generic(%step: !llvm.ptr) -> i32 {
  %ok = llvm.mlir.constant(0 : i32) : i32
  llvm.return %ok : i32
}
