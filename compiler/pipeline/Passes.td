//===- Passes.td - Passes about the pipeline itself --------*- tablegen -*-===//
#ifndef MOEC_COMPILER_PIPELINE_PASSES
#define MOEC_COMPILER_PIPELINE_PASSES

include "mlir/Pass/PassBase.td"

def RecordModel : Pass<"record-model", "::mlir::ModuleOp"> {
  let summary = "notes what later phases no longer show";
  let description = [{
    The manifest describes step functions by the names and widths of their
    results, and routers by their guarantees. Neither exists any more when the
    artifact is written, so this pass writes them into attributes of the module,
    which no phase touches.

    Input: the form after phase `compress`.
    Output: the same, with two array attributes on the module. `moe.functions`
    has a record for every function, in order: its `moe.function`, `name`, and
    `outputs`, pairs of name and width. `moe.routers` has a record for every
    router, in order: `layer`, `name`, `experts`, `slots`, `guarantees`. A
    router is called after the weight that its logits come from; one that only
    joins routings of others is left out. Functions share the records of routers
    that are equal; equal routers of one function have a record each. In a
    function with `routing_out` every such router is followed by a
    `moe.export_routing` with the ordinal of its record.
    Preserves: everything else.
    Fails: when a step function lacks `moe.function` or a result its name.

    Example:
    ```mlir
    func.func @step(%x: tensor<?xi32> {moe.input = "tokens"})
        -> (tensor<?x256xf32> {moe.output = "logits"})
    // gives the record
    {name = "step", outputs = [["logits", 256]], cache_tokens = 561 : i64,
     max_sequence = 561 : i64, modalities = array<i64: 0, 1>}
    ```
  }];
}

def VerifyPhase : Pass<"verify-phase", "::mlir::ModuleOp"> {
  let summary = "checks the form of the IR after a phase";
  let description = [{
    Phases.def says which dialects are legal after a phase and what must be
    gone. The driver runs this check after every phase in every build, so that
    a pass which leaves something behind is found where it did.
    Declarations at module level are legal everywhere. Before phase `route`,
    dialects of plugins are legal, too.

    Input, Output: any module, unchanged.
    Fails: with an error at each operation that should be gone.

    Example:
    ```mlir
    // moe-opt --verify-phase=phase=route
    ```
  }];
  let options = [
    Option<"phase", "phase", "std::string", "\"import\"",
           "the phase after which the module is">
  ];
}

#endif // MOEC_COMPILER_PIPELINE_PASSES
