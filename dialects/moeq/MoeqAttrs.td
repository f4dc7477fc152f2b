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

def Moeq_AffineFormat : Moeq_Attr<"AffineFormat", "affine",
    [DeclareAttrInterfaceMethods<QuantFormatAttrInterface>]> {
  let summary = "integer codes with one scale per group";
  let description = [{
    number = scale * (code - 2^(bits - 1)): symmetric integers, stored with an
    offset, `group` adjacent columns of a row to a scale. The scale is chosen per
    group: for 8 bits the largest magnitude becomes 127; for fewer bits, where
    clipping may pay, it is the best of a few in squared error.

    `int8` is `#moeq.affine<8, 128, f32>`, `int4` is `#moeq.affine<4, 32, bf16>`.

    Constraints:
    - (C1) codes have 4 or 8 bits
    - (C2) groups have 32, 64, 128 or 256 columns
    - (C3) the scale is f32 or bf16

    Example: `#moeq.affine<4, 32, bf16>`
  }];
  let parameters = (ins "unsigned":$bits, "int64_t":$group,
                        "::mlir::FloatType":$scale);
  let assemblyFormat = "`<` $bits `,` $group `,` $scale `>`";
  let genVerifyDecl = 1;
}

def Moeq_Nf4Format : Moeq_Attr<"Nf4Format", "nf4",
    [DeclareAttrInterfaceMethods<QuantFormatAttrInterface>]> {
  let summary = "codes of 4 bits for normally distributed weights";
  let description = [{
    NormalFloat-4 of QLoRA (arXiv 2305.14314, appendix E): number = scale *
    table[code] with 16 fixed quantiles of the normal distribution, scaled to
    [-1, 1]; the scale, of bf16, is the largest magnitude of `group` adjacent
    columns of a row.

    Constraints:
    - (C1) groups have 32, 64, 128 or 256 columns

    Example: `#moeq.nf4<64>`
  }];
  let parameters = (ins "int64_t":$group);
  let assemblyFormat = "`<` $group `>`";
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
    output; dot-product instructions take `pack` columns at a time. With 8 columns
    of 16 bits a group is one row of the 8 x 8 matrices that the tensor cores of
    a device take.

    Constraints:
    - (C1) blocks have 1 to 64 rows
    - (C2) groups have 1, 2, 4 or 8 columns

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

def Moeq_GroupBlocksLayout : Moeq_Attr<"GroupBlocksLayout", "group_blocks",
    [DeclareAttrInterfaceMethods<WeightLayoutAttrInterface>]> {
  let summary = "blocks of rows of a format with groups";
  let description = [{
    For matrices in a format with scales: blocks of 16 consecutive rows, the last
    one padded with zero bytes. A block is a run of *units*, each as many groups
    of columns as have one line of 64 bytes of scales: one with scales of f32,
    two with scales of 16 bits, the last unit padded likewise.

    A unit begins with its line of scales: row after row, the scales of its
    groups beside each other. Then follow the codes of its groups, in lines of 64
    bytes with 4 bytes per row: at 8 bits a line holds columns c .. c + 3, at 4
    bits columns c .. c + 3 in the low and c + 4 .. c + 7 in the high halves of
    the bytes. That is what VPDPBUSD takes; a line is a multiple of the cache's.

    It goes with formats that have a scale and codes of 4 or 8 bits; the weight
    packer refuses others.

    Example: `#moeq.group_blocks`
  }];
}

#endif // MOEC_DIALECTS_MOEQ_MOEQATTRS
