//===- Activation.td - Activation functions ----------------*- tablegen -*-===//
#ifndef MOEC_DIALECTS_INTERFACES_ACTIVATION
#define MOEC_DIALECTS_INTERFACES_ACTIVATION

include "mlir/IR/EnumAttr.td"

// The activations of docs/language.md. Spellings are those of .moe files, but
// for gelu(tanh), which is gelu_tanh here.
def Moec_Activation : I32EnumAttr<"Activation", "activation function", [
    I32EnumAttrCase<"Identity", 0, "identity">,
    I32EnumAttrCase<"Silu", 1, "silu">,
    I32EnumAttrCase<"Gelu", 2, "gelu">,
    I32EnumAttrCase<"GeluTanh", 3, "gelu_tanh">,
    I32EnumAttrCase<"Relu", 4, "relu">,
    I32EnumAttrCase<"Relu2", 5, "relu2">,
    I32EnumAttrCase<"Sigmoid", 6, "sigmoid">,
    I32EnumAttrCase<"Tanh", 7, "tanh">
  ]> {
  let cppNamespace = "::moec";
}

// The arguments that make up a HiddenFunction (Activation.h), for operations
// with a feed-forward network.
defvar Moec_HiddenArguments = (ins
    Moec_Activation:$activation, OptionalAttr<F64Attr>:$slope,
    OptionalAttr<F64Attr>:$clamp_before, OptionalAttr<F64Attr>:$clamp_after,
    OptionalAttr<F64Attr>:$up_offset);

#endif // MOEC_DIALECTS_INTERFACES_ACTIVATION
