// RUN: moe-opt %s --specialize-phases --canonicalize | FileCheck %s

// A function of text and images gets a variant for text, because an entry takes
// text alone: its arm, its stream, nothing else. Images cannot stand alone.

moe.modality @text id = 0 token vocab = 16
moe.modality @image id = 1 raw tensor<4xf32> tokens = 1
moe.weight @embed : tensor<16x8xf32> from [#moe.tensor<"embed">]
moe.weight @patch : tensor<8x4xf32> from [#moe.tensor<"patch">]
moe.weight @a : tensor<8x8xf32> from [#moe.tensor<"a">]
moe.weight @b : tensor<8x8xf32> from [#moe.tensor<"b">]
moe.entry @prefill function = @step layout = [#moe.segment<modalities = [1], min = 0, max = 1>, #moe.segment<modalities = [0], min = 1, max = 9>]
moe.entry @look function = @images layout = [#moe.segment<modalities = [1], min = 1, max = 1>, #moe.segment<modalities = [0], min = 1, max = 9>]

// CHECK: func.func @step.text(
// CHECK-SAME: modalities = array<i64: 0>
// CHECK-SAME: variant_of = @step
// CHECK: %[[E:.*]] = moe.weight_ref @embed
// CHECK: %[[X:.*]] = nn.embed %{{.*}}, %[[E]]
// CHECK: %[[A:.*]] = moe.weight_ref @a
// CHECK: %[[Y:.*]] = nn.linear %[[X]], %[[A]]
// CHECK: return %[[Y]]

// CHECK: func.func @step(
// CHECK: moe.merge_modalities
// CHECK: moe.by_modality
func.func @step(%tokens: tensor<?xi32> {moe.input = "tokens"}, %kinds: tensor<?xi8> {moe.input = "kinds"}, %raw: tensor<?x4xf32> {moe.input = "raw", moe.modality = 1 : i64})
    -> (tensor<?x8xf32> {moe.output = "logits"})
    attributes {moe.function = {cache_tokens = 0 : i64, max_sequence = 10 : i64, modalities = array<i64: 0, 1>}} {
  %e = moe.weight_ref @embed : tensor<16x8xf32>
  %t = nn.embed %tokens, %e where %kinds is 0 : tensor<16x8xf32> -> tensor<?x8xf32>
  %p = moe.weight_ref @patch : tensor<8x4xf32>
  %i = nn.linear %raw, %p compute = f32 : tensor<?x4xf32>, tensor<8x4xf32> -> tensor<?x8xf32>
  %x = moe.merge_modalities %tokens, %kinds(%t, %i) ids = [0, 1] indexed = [false, true] : tensor<?x8xf32>, tensor<?x8xf32> -> tensor<?x8xf32>
  %y = moe.by_modality %kinds ids = [0, 1] : tensor<?x8xf32> {
    %w = moe.weight_ref @a : tensor<8x8xf32>
    %z = nn.linear %x, %w compute = f32 : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
    moe.yield %z : tensor<?x8xf32>
  }, {
    %w = moe.weight_ref @b : tensor<8x8xf32>
    %z = nn.linear %x, %w compute = f32 : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
    moe.yield %z : tensor<?x8xf32>
  }
  return %y : tensor<?x8xf32>
}

// CHECK-NOT: func.func @images.text
// CHECK: func.func @images(
func.func @images(%tokens: tensor<?xi32> {moe.input = "tokens"}, %kinds: tensor<?xi8> {moe.input = "kinds"}, %raw: tensor<?x4xf32> {moe.input = "raw", moe.modality = 1 : i64})
    -> (tensor<?x8xf32> {moe.output = "logits"})
    attributes {moe.function = {cache_tokens = 0 : i64, max_sequence = 10 : i64, modalities = array<i64: 0, 1>}} {
  %e = moe.weight_ref @embed : tensor<16x8xf32>
  %t = nn.embed %tokens, %e where %kinds is 0 : tensor<16x8xf32> -> tensor<?x8xf32>
  return %t : tensor<?x8xf32>
}
