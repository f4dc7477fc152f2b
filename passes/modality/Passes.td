//===- Passes.td - Passes on modalities --------------------*- tablegen -*-===//
#ifndef MOEC_PASSES_MODALITY_PASSES
#define MOEC_PASSES_MODALITY_PASSES

include "mlir/Pass/PassBase.td"

def SpecializePhases : Pass<"specialize-phases", "::mlir::ModuleOp"> {
  let summary = "makes variants of step functions for one modality";
  let description = [{
    Input: phase import. Output: before each step function of several modalities,
    for every token modality that can stand alone in a batch of one of its
    entries, a clone for batches of that modality only: of `moe.by_modality` its
    arm is left and of `moe.merge_modalities` its stream, so that nothing of the
    other modalities is computed, read or mapped. A model that generates text
    decodes, and continues prompts without an image, without its image experts.
    The clone's `moe.function` has `variant_of`; the runtime takes it for the
    batches that it allows. Functions that exchange something with routers
    (`routing_out`, `routing_in`, ..) are left alone. Preserves
    values.

    Fails never. Example: test/passes/specialize-phases/basic.mlir
  }];
  let statistics = [
    Statistic<"numSpecialized", "specialized", "variants made">
  ];
}

def SpecializeModalities : Pass<"specialize-modalities", "::mlir::ModuleOp"> {
  let summary = "joins the experts of modality groups into one set";
  let description = [{
    Input: phase graph. Output: the same. Preserves values exactly.

    A `moe.by_modality` whose every arm ends in routed experts of the same body
    becomes one `moe.select_routing` and one `moe.experts` over a joined table:
    each token then computes its own group's experts only, and all groups share
    one dispatch plan. The routers of all arms run for all tokens, which is
    cheap beside experts.

    Arms of another kind are left to `blend-modalities`.

    Fails never. Example: test/passes/specialize-modalities/basic.mlir
  }];
  let statistics = [Statistic<"joined", "joined", "by_modality ops joined">];
  let dependentDialects = ["::moec::moe::MoeDialect"];
}

def BlendModalities : Pass<"blend-modalities", "::mlir::ModuleOp"> {
  let summary = "computes every arm of a by_modality and selects rows";
  let description = [{
    Input: phase experts. Output: the same without `moe.by_modality`. Preserves
    values exactly.

    The general, slow way: all arms run on all tokens and a
    row body takes each token's row. Emits a remark, since work is wasted.

    Fails never. Example: test/passes/blend-modalities/basic.mlir
  }];
  let statistics = [Statistic<"blended", "blended", "by_modality ops blended">];
  let dependentDialects = ["::moec::row::RowDialect"];
}

#endif // MOEC_PASSES_MODALITY_PASSES
