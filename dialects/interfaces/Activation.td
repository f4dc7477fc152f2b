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

#endif // MOEC_DIALECTS_INTERFACES_ACTIVATION
