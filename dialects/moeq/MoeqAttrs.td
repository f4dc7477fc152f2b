//===- MoeqAttrs.td - Formats and layouts of weights -------*- tablegen -*-===//
#ifndef MOEC_DIALECTS_MOEQ_MOEQATTRS
#define MOEC_DIALECTS_MOEQ_MOEQATTRS

include "dialects/interfaces/WeightInterfaces.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"
include "mlir/IR/DialectBase.td"

def Moeq_Dialect : Dialect {
  let name = "moeq";
  let cppNamespace = "::moec::moeq";
  let summary = "in which bits weights are stored";
  let description = [{
    A *format* says what the codes of a weight mean, a *layout* where they lie
    (architecture 4.2). Both are attributes of `moe.weight`; no value ever has a
    quantised type.
  }];
  let useDefaultAttributePrinterParser = 1;
}

class Moeq_Attr<string name, string mnemonic_, list<Trait> traits = []>
    : AttrDef<Moeq_Dialect, name, traits> {
  let mnemonic = mnemonic_;
}

def Moeq_PlainFormat : Moeq_Attr<"PlainFormat", "plain",
    [DeclareAttrInterfaceMethods<QuantFormatAttrInterface>]> {
  let summary = "one number per weight";
  let description = [{
    The code of a weight is the number itself in `type`.

    Constraints:
    - (C1) the type is f32, bf16 or f16

    Example: `#moeq.plain<bf16>`
  }];
  let parameters = (ins "::mlir::FloatType":$type);
  let assemblyFormat = "`<` $type `>`";
  let genVerifyDecl = 1;
}

def Moeq_RowMajorLayout : Moeq_Attr<"RowMajorLayout", "row_major",
    [DeclareAttrInterfaceMethods<WeightLayoutAttrInterface>]> {
  let summary = "elements in row-major order";
  let description = [{
    Codes as they stand in a row-major tensor of any rank, without padding.

    Example: `#moeq.row_major`
  }];
}

def Moeq_RowBlocksLayout : Moeq_Attr<"RowBlocksLayout", "row_blocks",
    [DeclareAttrInterfaceMethods<WeightLayoutAttrInterface>]> {
  let summary = "blocks of rows, transposed inside";
  let description = [{
    For matrices [rows, columns] that are multiplied by a vector: blocks of
    `rows` consecutive rows; inside a block the codes of column 0 of all its
    rows, then those of column 1, and so on. Code (r, c) lies at
    ((r / n) * columns + c) * n + r % n, n = `rows`. The last block is padded
    with zeros. A kernel reads n outputs per load and keeps one ascending sum
    per output.

    Constraints:
    - (C1) blocks have 1 to 64 rows

    Example: `#moeq.row_blocks<16>`
  }];
  let parameters = (ins "int64_t":$rows);
  let assemblyFormat = "`<` $rows `>`";
  let genVerifyDecl = 1;
}

#endif // MOEC_DIALECTS_MOEQ_MOEQATTRS
