//===- Passes.td - Passes of phase target ------------------*- tablegen -*-===//
#ifndef MOEC_PASSES_TARGET_PASSES
#define MOEC_PASSES_TARGET_PASSES

include "mlir/Pass/PassBase.td"

def LowerToLlvm : Pass<"lower-to-llvm", "::mlir::ModuleOp"> {
  let summary = "turns scheduled step functions into LLVM dialect";
  let description = [{
    Input: step functions after phase `schedule` (docs/ir-conventions.md): one
    `moex.parallel` of memory operations, kernels and barriers, and the
    attribute `moex.scratch`.

    Output: for each step function `@f` and each level `L` of the target the
    functions `@f_step__L` and `@f_scratch__L` of `moe_variant_v1`, internal
    kernels, and the module attribute `moex.variants`. `@f` itself stays as a
    declaration with its attributes, as do weights, states and entries. Equal
    kernel operations (attributes, types, layouts, bodies) share one function.
    Nothing is called that the module does not define, but for memcpy, memmove
    and memset.

    Fails where an operation is not in the expected form or where the target has
    no kernel for it.

    Example:
    ```mlir
    func.func @f() attributes {moex.scratch = affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (0)>} {
      moex.parallel {
        moex.barrier
      }
      return
    }
    // becomes
    llvm.func @f_step__generic(!llvm.ptr) -> i32
    llvm.func @f_scratch__generic(!llvm.ptr) -> i64
    ```
  }];
  let options = [
    ListOption<"targets", "target", "std::string",
               "names of the targets that provide the kernels; x86_64 when "
               "empty">,
    ListOption<"levels", "levels", "std::string",
               "levels of the targets; all of those that none is of">
  ];
  let statistics = [
    Statistic<"numKernels", "num-kernels", "kernel functions built">,
    Statistic<"numShared", "num-shared", "kernel operations that share one">
  ];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::cf::ControlFlowDialect",
    "::mlir::LLVM::LLVMDialect", "::mlir::math::MathDialect",
    "::mlir::scf::SCFDialect", "::mlir::vector::VectorDialect",
    // Kernels name the layouts that they want.
    "::moec::moeq::MoeqDialect"
  ];
}

#endif // MOEC_PASSES_TARGET_PASSES
