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

    Codes are written in their *canonical* order: row after row (all dimensions
    but the last are rows); a row is cut into groups of `getGroupColumns()`
    adjacent columns, the last one filled up with zeros; a group is its scale
    and then its codes of `getCodeBits()` bits, the first in the lowest bits.
    Plain numbers are groups of one column without a scale.

    Consumers: `assign-formats`, the weight packer, kernels, FormatConformance.
  }];
  let methods = [
    StaticInterfaceMethod<[{
        The names of `--quantize=`; empty for formats that are not chosen so.
      }], "::llvm::SmallVector<::llvm::StringRef>", "getSpellings", (ins)>,
    StaticInterfaceMethod<"The format of a spelling.",
      "::mlir::Attribute", "getBySpelling",
      (ins "::mlir::MLIRContext *":$context, "::llvm::StringRef":$spelling)>,
    InterfaceMethod<[{
        Type of one code. Formats of one code per weight only; null otherwise.
      }], "::mlir::Type", "getStorageType", (ins)>,
    InterfaceMethod<"Adjacent columns that share a scale.",
      "int64_t", "getGroupColumns", (ins)>,
    InterfaceMethod<"Bits of one code.", "unsigned", "getCodeBits", (ins)>,
    InterfaceMethod<"Type of the scale of a group; null without one.",
      "::mlir::Type", "getScaleType", (ins)>,
    InterfaceMethod<[{
        Writes the codes of rows of `columns` numbers, in canonical order,
        rounding to nearest even. `codes` holds getCodedBytes() of the shape.
      }], "void", "encode",
      (ins "::llvm::ArrayRef<float>":$numbers, "int64_t":$columns,
           "::llvm::MutableArrayRef<char>":$codes)>,
    InterfaceMethod<"The numbers that canonical codes stand for.",
      "void", "decode",
      (ins "::llvm::ArrayRef<char>":$codes, "int64_t":$columns,
           "::llvm::MutableArrayRef<float>":$numbers)>,
    InterfaceMethod<[{
        The numbers of codes, in arith operations: `codes` is a vector of i32,
        `scale` one of f32 of the same length. Kernels without a tuned path for
        the format build it into their loops. Formats with a scale only.
      }], "::mlir::Value", "emitDequantize",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::Location":$loc,
           "::mlir::Value":$codes, "::mlir::Value":$scale)>,
    InterfaceMethod<[{
        Whether number = scale * (code - 2^(bits - 1)), so that products with
        activations of 8 bits can be summed in integers.
      }], "bool", "isInteger", (ins)>
  ];
  let extraSharedClassDeclaration = [{
    /// Bytes of the canonical codes of one group.
    int64_t getGroupBytes() const {
      int64_t scaleBits =
          $_attr.getScaleType() ? $_attr.getScaleType().getIntOrFloatBitWidth() : 0;
      return (scaleBits + $_attr.getGroupColumns() * $_attr.getCodeBits()) / 8;
    }
    /// Bytes of the canonical codes of a tensor.
    int64_t getCodedBytes(::llvm::ArrayRef<int64_t> shape) const {
      int64_t rows = 1, columns = shape.empty() ? 1 : shape.back();
      for (int64_t size : shape.drop_back(shape.empty() ? 0 : 1))
        rows *= size;
      int64_t group = $_attr.getGroupColumns();
      return rows * ((columns + group - 1) / group) * getGroupBytes();
    }
    /// Bits of storage per weight, scales included.
    double getBitsPerWeight() const {
      return 8.0 * getGroupBytes() / $_attr.getGroupColumns();
    }
  }];
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
      (ins "::llvm::ArrayRef<int64_t>":$shape,
           "::moec::QuantFormatAttrInterface":$format)>,
    InterfaceMethod<[{
        Moves canonical `codes` to their places in `storage`, which has
        getStorageBytes bytes and is zero.
      }], "void", "relayout",
      (ins "::llvm::ArrayRef<int64_t>":$shape,
           "::moec::QuantFormatAttrInterface":$format,
           "::llvm::ArrayRef<char>":$codes,
           "::llvm::MutableArrayRef<char>":$storage)>
  ];
}

#endif // MOEC_DIALECTS_INTERFACES_WEIGHTINTERFACES
