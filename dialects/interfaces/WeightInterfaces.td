//===- WeightInterfaces.td - Formats and layouts -----------*- tablegen -*-===//
#ifndef MOEC_DIALECTS_INTERFACES_WEIGHTINTERFACES
#define MOEC_DIALECTS_INTERFACES_WEIGHTINTERFACES

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/Interfaces.td"

def QuantFormatAttrInterface : AttrInterface<"QuantFormatAttrInterface"> {
  let cppNamespace = "::moec";
  let description = [{
    What the codes of a stored weight mean. A format turns the numbers of a
    tensor into codes and back; where the codes lie is the layout's business.

    Consumers: `assign-formats`, the weight packer, kernels (through
    `getStorageType`).
  }];
  let methods = [
    InterfaceMethod<"Bits of storage per weight, companions included.",
      "double", "getBitsPerWeight", (ins)>,
    InterfaceMethod<[{
        Type of one code. Formats of one code per weight only; null otherwise.
      }], "::mlir::Type", "getStorageType", (ins)>,
    InterfaceMethod<[{
        Writes the codes of `numbers` to `codes`, row-major, rounding to nearest
        even. `codes` holds storage for all of them.
      }], "void", "encode",
      (ins "::llvm::ArrayRef<float>":$numbers,
           "::llvm::MutableArrayRef<char>":$codes)>
  ];
}

def WeightLayoutAttrInterface : AttrInterface<"WeightLayoutAttrInterface"> {
  let cppNamespace = "::moec";
  let description = [{
    Where the codes of a weight of shape [rows, columns] lie. There is exactly
    one layout per (weight, device); all kernels of the device read it
    (architecture 4.2).

    Consumers: `assign-layouts`, the weight packer, kernel generators.
  }];
  let methods = [
    InterfaceMethod<"Bytes of storage, padding included.",
      "int64_t", "getStorageBytes",
      (ins "::llvm::ArrayRef<int64_t>":$shape, "unsigned":$bytesPerCode)>,
    InterfaceMethod<[{
        Moves row-major `codes` to their places in `storage`, which has
        getStorageBytes bytes and is zero.
      }], "void", "relayout",
      (ins "::llvm::ArrayRef<int64_t>":$shape, "unsigned":$bytesPerCode,
           "::llvm::ArrayRef<char>":$codes,
           "::llvm::MutableArrayRef<char>":$storage)>
  ];
}

#endif // MOEC_DIALECTS_INTERFACES_WEIGHTINTERFACES
