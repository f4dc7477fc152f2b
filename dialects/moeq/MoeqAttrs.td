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
    `rows` consecutive rows, each a run of groups of `pack` adjacent columns.
    A group holds the codes of its columns for the first row of the block, then
    those for the second row, and so on: code (r, c) lies at
    (((r / n) * ceil(columns / p) + c / p) * n + r % n) * p + c % p with
    n = `rows`, p = `pack`. The last block and the last group are padded with
    zeros. A kernel reads n outputs per load and keeps one ascending sum per
    output; dot-product instructions take `pack` columns at a time.

    Constraints:
    - (C1) blocks have 1 to 64 rows
    - (C2) groups have 1, 2 or 4 columns

    Example: `#moeq.row_blocks<16>`, `#moeq.row_blocks<16, 2>`
  }];
  let parameters = (ins "int64_t":$rows, DefaultValuedParameter<"int64_t", "1">:$pack);
  let assemblyFormat = "`<` $rows (`,` $pack^)? `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Codes of one block of a matrix of so many columns, padding included.
    int64_t getBlockCodes(int64_t columns) const {
      return (columns + getPack() - 1) / getPack() * getPack() * getRows();
    }
  }];
}

#endif // MOEC_DIALECTS_MOEQ_MOEQATTRS
