// RUN: %python %S/emulator.py --build=%build --work=%t --compute=bf16 --tokens=5,40 --seeds=2 %s | FileCheck %s
// CHECK: {{0.0e[+]00 +0.0e[+]00 100.00%}}
// REQUIRES: numpy, avx2, emulator

// Products in 8-bit integers, in groups that no --quantize makes: the largest, wide
// and narrow scales, three and two matrices that share an epilogue, rows of f32 and
// bf16, heads. Groups that are not full. The form of phase `experts`.
module attributes {moe.compute = i8, moe.dtype = bf16, moe.functions = [{cache_tokens = 0 : i64, max_sequence = 256 : i64, modalities = array<i64: 0>, name = "step_score", outputs = [["logits", 100]]}], moe.ignored = [], moe.model = "integers", moe.routers = []} {
  moe.modality @text id = 0 token vocab = 100
  moe.weight @embed : tensor<100x520xbf16> from [#moe.tensor<"embed">] format = #moeq.plain<bf16> layout = #moeq.row_major role = "embed"
  moe.weight @bias : tensor<264xbf16> from [#moe.tensor<"bias">] format = #moeq.plain<bf16> layout = #moeq.row_major role = "bias"
  moe.weight @a : tensor<264x520xbf16> from [#moe.tensor<"a">] format = #moeq.affine<4, 64, f32> layout = #moeq.group_blocks
  moe.weight @b : tensor<264x520xbf16> from [#moe.tensor<"b">] format = #moeq.affine<4, 64, f32> layout = #moeq.group_blocks
  moe.weight @c : tensor<264x520xbf16> from [#moe.tensor<"c">] format = #moeq.affine<4, 64, f32> layout = #moeq.group_blocks
  moe.weight @d : tensor<80x264xbf16> from [#moe.tensor<"d">] format = #moeq.affine<8, 256, bf16> layout = #moeq.group_blocks
  moe.weight @e : tensor<80x264xbf16> from [#moe.tensor<"e">] format = #moeq.affine<8, 256, bf16> layout = #moeq.group_blocks
  moe.weight @f : tensor<116x40xbf16> from [#moe.tensor<"f">] format = #moeq.affine<4, 32, bf16> layout = #moeq.group_blocks
  moe.weight @g : tensor<100x116xbf16> from [#moe.tensor<"g">] format = #moeq.affine<8, 64, f32> layout = #moeq.group_blocks
  moe.entry @score function = @step_score layout = [#moe.segment<modalities = [0], min = 1, max = 256>]
  func.func @step_score(%ids: tensor<?xi32> {moe.input = "tokens"}, %kinds: tensor<?xi8> {moe.input = "kinds"}, %positions: tensor<?xi32> {moe.input = "positions"}, %sequences: tensor<?xi32> {moe.input = "cu_seqlens"}, %rows: tensor<?xi32> {moe.input = "logits_rows"}) -> (tensor<?x100xf32> {moe.output = "logits"}) attributes {moe.function = {cache_tokens = 0 : i64, max_sequence = 256 : i64, modalities = array<i64: 0>}} {
    %embed = moe.weight_ref @embed : tensor<100x520xbf16>
    %bias = moe.weight_ref @bias : tensor<264xbf16>
    %a = moe.weight_ref @a : tensor<264x520xbf16>
    %b = moe.weight_ref @b : tensor<264x520xbf16>
    %c = moe.weight_ref @c : tensor<264x520xbf16>
    %d = moe.weight_ref @d : tensor<80x264xbf16>
    %e = moe.weight_ref @e : tensor<80x264xbf16>
    %f = moe.weight_ref @f : tensor<116x40xbf16>
    %g = moe.weight_ref @g : tensor<100x116xbf16>
    %x = nn.embed %ids, %embed : tensor<100x520xbf16> -> tensor<?x520xbf16>
    %three = nn.joint_linear %x weights(%a, %b, %c : tensor<264x520xbf16>, tensor<264x520xbf16>, tensor<264x520xbf16>) biases(%bias, %bias, %bias : tensor<264xbf16>, tensor<264xbf16>, tensor<264xbf16>) compute = i8
      : tensor<?x520xbf16> -> tensor<?x264xf32> {
    ^bb0(%p: f32, %q: f32, %r: f32):
      %s = arith.mulf %p, %q : f32
      %t = arith.addf %s, %r : f32
      nn.yield %t : f32
    }
    %two = nn.joint_linear %three weights(%d, %e : tensor<80x264xbf16>, tensor<80x264xbf16>) compute = i8
      : tensor<?x264xf32> -> tensor<?x80xbf16> {
    ^bb0(%p: f32, %q: f32):
      %s = arith.mulf %p, %q : f32
      nn.yield %s : f32
    }
    %heads = nn.head_linear %two, %f heads = 2 compute = i8 : tensor<?x80xbf16>, tensor<116x40xbf16> -> tensor<?x116xbf16>
    %taken = nn.take_rows %heads[%rows] : tensor<?x116xbf16>
    %y = nn.linear %taken, %g compute = i8 : tensor<?x116xbf16>, tensor<100x116xbf16> -> tensor<?x100xf32>
    return %y : tensor<?x100xf32>
  }
}
