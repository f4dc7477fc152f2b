//===- MoeAttrs.td - Recipes, experts, entries -------------*- tablegen -*-===//
#ifndef MOEC_DIALECTS_MOE_MOEATTRS
#define MOEC_DIALECTS_MOE_MOEATTRS

include "dialects/moe/MoeBase.td"

//===----------------------------------------------------------------------===//
// Weight recipes: how a weight is made from stored tensors. A recipe is a list
// of steps that work on a stack of tensors; the weight packer executes it,
// streaming, when the artifact is written. No number ever enters the IR.
//===----------------------------------------------------------------------===//

def Moe_TensorStep : Moe_Attr<"TensorStep", "tensor"> {
  let summary = "pushes a stored tensor";
  let description = [{
    The tensor `name` of the weight files, or of the file with the alias `file`.

    Example: `#moe.tensor<"layers.0.attn.q.weight">`
  }];
  let parameters = (ins StringRefParameter<>:$name,
                        OptionalParameter<"::mlir::StringAttr">:$file);
  let assemblyFormat = "`<` $name (`,` `file` `=` $file^)? `>`";
}

def Moe_SliceStep : Moe_Attr<"SliceStep", "slice"> {
  let summary = "takes a strided part";
  let description = [{
    Per dimension of the tensor: start, size and step; dimensions whose `drop`
    is 1 (an integer index) have size 1 and disappear.

    Example: `#moe.slice<starts = [3, 0], sizes = [1, 128], steps = [1, 2], drop = [1, 0]>`
  }];
  let parameters = (ins ArrayRefParameter<"int64_t">:$starts,
                        ArrayRefParameter<"int64_t">:$sizes,
                        ArrayRefParameter<"int64_t">:$steps,
                        ArrayRefParameter<"int64_t">:$drop);
  let assemblyFormat = [{
    `<` `starts` `=` `[` $starts `]` `,` `sizes` `=` `[` $sizes `]` `,`
    `steps` `=` `[` $steps `]` `,` `drop` `=` `[` $drop `]` `>`
  }];
}

def Moe_TransposeStep : Moe_Attr<"TransposeStep", "transpose"> {
  let summary = "swaps the last two dimensions";
  let description = [{
    Of a tensor of two dimensions or more.

    Example: `#moe.transpose`
  }];
}

def Moe_ReshapeStep : Moe_Attr<"ReshapeStep", "reshape"> {
  let summary = "the same elements, row-major, in another shape";
  let description = [{Example: `#moe.reshape<[8, 4, 128, 2048]>`}];
  let parameters = (ins ArrayRefParameter<"int64_t">:$shape);
  let assemblyFormat = "`<` `[` $shape `]` `>`";
}

def Moe_AddConstantStep : Moe_Attr<"AddConstantStep", "add_constant"> {
  let summary = "adds a number to every element";
  let description = [{
    For norm weights that are stored as an offset from one. The sum is kept in
    f32.

    Example: `#moe.add_constant<1.0>`
  }];
  let parameters = (ins "::mlir::FloatAttr":$value);
  let assemblyFormat = "`<` custom<Number>($value) `>`";
}

//===----------------------------------------------------------------------===//
// Experts and entries
//===----------------------------------------------------------------------===//

def Moe_ExpertAttr : Moe_Attr<"Expert", "expert"> {
  let summary = "one expert of a table";
  let description = [{
    Hidden width and the weight symbol of each role: `gate`, `up`, `down` and,
    where a map has one, `gate_bias`, `up_bias`, `down_bias`.

    Example: `#moe.expert<width = 256, weights = {down = @d, gate = @g, up = @u}>`
  }];
  let parameters = (ins "int64_t":$width, "::mlir::DictionaryAttr":$weights);
  let assemblyFormat = "`<` `width` `=` $width `,` `weights` `=` $weights `>`";
}

def Moe_VirtualExpertAttr : Moe_Attr<"VirtualExpert", "virtual"> {
  let summary = "one expert of a table, without matrices";
  let description = [{
    `identity` gives its input, `null` gives zero, `constant` gives the vector
    `weight`, a `moe.weight`.

    Example: `#moe.virtual<"identity">`, `#moe.virtual<"constant", weight = @v>`
  }];
  let parameters = (ins StringRefParameter<>:$kind,
                        OptionalParameter<"::mlir::FlatSymbolRefAttr">:$weight);
  let assemblyFormat = "`<` $kind (`,` `weight` `=` $weight^)? `>`";
}

def Moe_SegmentAttr : Moe_Attr<"Segment", "segment"> {
  let summary = "one segment of an entry's sequence layout";
  let description = [{
    `modalities` lists modality ids: one, counted in raw inputs, or several in
    any order, counted in tokens of the merged sequence. Between min and max of
    them, inclusive; min may be 0 for an optional segment.

    Example: `#moe.segment<modalities = [1], min = 0, max = 1>`
  }];
  let parameters = (ins ArrayRefParameter<"int64_t">:$modalities,
                        "int64_t":$min, "int64_t":$max);
  let assemblyFormat = [{
    `<` `modalities` `=` `[` $modalities `]` `,` `min` `=` $min `,` `max` `=`
    $max `>`
  }];
}

#endif // MOEC_DIALECTS_MOE_MOEATTRS
