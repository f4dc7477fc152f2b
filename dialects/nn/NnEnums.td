//===- NnEnums.td - Enumerations of the nn dialect ---------*- tablegen -*-===//
#ifndef MOEC_DIALECTS_NN_NNENUMS
#define MOEC_DIALECTS_NN_NNENUMS

include "mlir/IR/EnumAttr.td"

def Nn_NormKind : I32EnumAttr<"NormKind", "normalisation", [
    I32EnumAttrCase<"Rms", 0, "rms">,
    I32EnumAttrCase<"Layer", 1, "layer">]> {
  let cppNamespace = "::moec::nn";
}
def Nn_RopeStyle : I32EnumAttr<"RopeStyle", "pairing of rotary positions", [
    I32EnumAttrCase<"Half", 0, "half">,
    I32EnumAttrCase<"Pairs", 1, "pairs">]> {
  let cppNamespace = "::moec::nn";
}
def Nn_PatchOrder : I32EnumAttr<"PatchOrder", "order of the pixels of a patch", [
    I32EnumAttrCase<"Hwc", 0, "hwc">,
    I32EnumAttrCase<"Chw", 1, "chw">]> {
  let cppNamespace = "::moec::nn";
}

#endif // MOEC_DIALECTS_NN_NNENUMS
