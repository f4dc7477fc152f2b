// RUN: %python %S/emulator.py --build=%build --work=%t --compute=bf16 --tokens=5,40,200 %s
// RUN: %python %S/emulator.py --build=%build --work=%t --compute=bf16 --arch=sm_90a --tokens=200 %s
// REQUIRES: numpy, avx2, emulator

// Three and four matrices that share an epilogue, which no source of the language
// has: the form of phase `experts`.
module attributes {moe.compute = bf16, moe.dtype = bf16, moe.functions = [{cache_tokens = 0 : i64, max_sequence = 256 : i64, modalities = array<i64: 0>, name = "step_score", outputs = [["logits", 100]]}], moe.ignored = [], moe.model = "joint", moe.routers = []} {
  moe.modality @text id = 0 token vocab = 100
  moe.weight @embed : tensor<100x136xbf16> from [#moe.tensor<"embed">] format = #moeq.plain<bf16> layout = #moeq.row_major role = "embed"
  moe.weight @a : tensor<152x136xbf16> from [#moe.tensor<"a">] format = #moeq.plain<bf16> layout = #moeq.row_blocks<16, 2>
  moe.weight @a.nvptx : tensor<152x136xbf16> from [#moe.tensor<"a">] format = #moeq.plain<bf16> layout = #moeq.row_blocks<64, 8> {moe.copy_for = "nvptx", moe.copy_of = @a}
  moe.weight @b : tensor<152x136xbf16> from [#moe.tensor<"b">] format = #moeq.plain<bf16> layout = #moeq.row_blocks<16, 2>
  moe.weight @b.nvptx : tensor<152x136xbf16> from [#moe.tensor<"b">] format = #moeq.plain<bf16> layout = #moeq.row_blocks<64, 8> {moe.copy_for = "nvptx", moe.copy_of = @b}
  moe.weight @c : tensor<152x136xbf16> from [#moe.tensor<"c">] format = #moeq.plain<bf16> layout = #moeq.row_blocks<16, 2>
  moe.weight @c.nvptx : tensor<152x136xbf16> from [#moe.tensor<"c">] format = #moeq.plain<bf16> layout = #moeq.row_blocks<64, 8> {moe.copy_for = "nvptx", moe.copy_of = @c}
  moe.weight @bias : tensor<152xbf16> from [#moe.tensor<"bias">] format = #moeq.plain<bf16> layout = #moeq.row_major role = "bias"
  moe.weight @d : tensor<100x152xf32> from [#moe.tensor<"d">] format = #moeq.plain<f32> layout = #moeq.row_blocks<16>
  moe.entry @score function = @step_score layout = [#moe.segment<modalities = [0], min = 1, max = 256>]
  func.func @step_score(%ids: tensor<?xi32> {moe.input = "tokens"}, %kinds: tensor<?xi8> {moe.input = "kinds"}, %positions: tensor<?xi32> {moe.input = "positions"}, %sequences: tensor<?xi32> {moe.input = "cu_seqlens"}, %rows: tensor<?xi32> {moe.input = "logits_rows"}) -> (tensor<?x100xf32> {moe.output = "logits"}) attributes {moe.function = {cache_tokens = 0 : i64, max_sequence = 256 : i64, modalities = array<i64: 0>}} {
    %embed = moe.weight_ref @embed : tensor<100x136xbf16>
    %a = moe.weight_ref @a : tensor<152x136xbf16>
    %b = moe.weight_ref @b : tensor<152x136xbf16>
    %c = moe.weight_ref @c : tensor<152x136xbf16>
    %d = moe.weight_ref @d : tensor<100x152xf32>
    %bias = moe.weight_ref @bias : tensor<152xbf16>
    %x = nn.embed %ids, %embed : tensor<100x136xbf16> -> tensor<?x136xbf16>
    %three = nn.joint_linear %x weights(%a, %b, %c : tensor<152x136xbf16>, tensor<152x136xbf16>, tensor<152x136xbf16>) biases(%bias, %bias, %bias : tensor<152xbf16>, tensor<152xbf16>, tensor<152xbf16>) compute = bf16
      : tensor<?x136xbf16> -> tensor<?x152xbf16> {
    ^bb0(%p: f32, %q: f32, %r: f32):
      %s = arith.mulf %p, %q : f32
      %t = arith.addf %s, %r : f32
      nn.yield %t : f32
    }
    %four = nn.joint_linear %x weights(%c, %b, %a, %b : tensor<152x136xbf16>, tensor<152x136xbf16>, tensor<152x136xbf16>, tensor<152x136xbf16>) compute = bf16
      : tensor<?x136xbf16> -> tensor<?x152xf32> {
    ^bb0(%p: f32, %q: f32, %r: f32, %s: f32):
      %t = arith.mulf %p, %q : f32
      %u = arith.mulf %r, %s : f32
      %v = arith.subf %t, %u : f32
      nn.yield %v : f32
    }
    %sum = row.apply %three, %four : (tensor<?x152xbf16>, tensor<?x152xf32>) -> tensor<?x152xf32> {
    ^bb0(%i: tensor<152xbf16>, %j: tensor<152xf32>):
      %k = row.map %i, %j : (tensor<152xbf16>, tensor<152xf32>) -> tensor<152xf32> {
      ^bb0(%l: bf16, %m: f32):
        %n = arith.extf %l : bf16 to f32
        %o = arith.addf %n, %m : f32
        row.yield %o : f32
      }
      row.yield %k : tensor<152xf32>
    }
    %taken = nn.take_rows %sum[%rows] : tensor<?x152xf32>
    %y = nn.linear %taken, %d compute = bf16 : tensor<?x152xf32>, tensor<100x152xf32> -> tensor<?x100xf32>
    return %y : tensor<?x100xf32>
  }
}
