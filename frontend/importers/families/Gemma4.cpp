//===- Gemma4.cpp - Gemma 4 with experts, its decoder of text -------------===//

#include "frontend/importers/ModelFamily.h"

#include "llvm/ADT/STLExtras.h"

#include <cmath>

using namespace moec::importers;

/// Sizes of the heads of global layers, which differ from those of the others.
struct GlobalHeads {
  int64_t head, kvHeads;
};

/// transformers 5 lists what differs layer by layer, checkpoints from before
/// have it once.
static GlobalHeads globalHeads(Decoder &d, const Schedule &narrow) {
  ModelConfig &c = d.config;
  bool shares = c.boolean("attention_k_eq_v", false);
  // What is absent is the same everywhere, in a checkpoint of transformers 5,
  // or 512, in one from before. The norms of q tell.
  llvm::ArrayRef<int64_t> norm =
      d.shapeInLayer((!narrow).first(), "self_attn.q_norm.weight");
  GlobalHeads heads{c.size("global_head_dim",
                           norm.size() == 1 && norm[0] > 0 ? norm[0] : 512),
                    c.size("num_global_key_value_heads", d.kvHeads)};
  if (!shares)
    heads.kvHeads = d.kvHeads;
  std::optional<ModelConfig> layers = c.child("per_layer_config");
  if (!layers)
    return heads;
  bool isFirst = true;
  for (int64_t l = 0; l < d.depth; ++l) {
    // Keys have zeros in front, for sorting.
    std::string number = spell(l);
    while (!layers->mentions(number) && number.size() < 4)
      number = "0" + number;
    auto layer = layers->child(number);
    if (!layer)
      continue;
    GlobalHeads own{layer->size("head_dim", d.head),
                    layer->size("num_key_value_heads", d.kvHeads)};
    layer->reportUnread();
    if (narrow[l] ||
        (!isFirst && (own.head != heads.head || own.kvHeads != heads.kvHeads)))
      layers->unsupported(llvm::StringRef(number),
                          "only global layers may differ, and all in "
                          "the same way");
    heads = own;
    isFirst = false;
  }
  layers->reportUnread();
  return heads;
}

static std::string attention(Decoder &d) {
  ModelConfig &c = d.config;
  Schedule narrow = d.layerTypes("sliding_attention",
                                 Schedule::where(d.depth, [&](int64_t l) {
                                   return (l + 1) % 6 != 0 && l + 1 != d.depth;
                                 }));
  GlobalHeads heads = globalHeads(d, narrow);
  AttentionText local;
  local.qkvBias = local.oBias = c.boolean("attention_bias", false);
  local.more = d.qkNorms("head");
  local.more.push_back("v_norm = rms_norm(eps = eps, over = head)");
  local.more.push_back("scale = 1");
  AttentionText global = local;
  RopeDefaults rope;
  rope.layerType = "sliding_attention";
  local.rope = d.rope(rope);
  local.mask = "window(" + spell(c.size("sliding_window", 512)) + ")";
  rope.layerType = "full_attention";
  rope.dims = heads.head;
  rope.theta = 1e6;
  global.rope = d.rope(rope);
  if (heads.head != d.head)
    global.head = d.dim("global_head", heads.head);
  if (heads.kvHeads != d.kvHeads)
    global.kvHeads = d.dim("global_kv_heads", heads.kvHeads);
  // Values are keys before their norm and rotation.
  if (c.boolean("attention_k_eq_v", false))
    global.v = "k_proj";
  return d.when(narrow, "narrow", "a = " + d.attention(local),
                "a = " + d.attention(global));
}

static void describe(Decoder &d) {
  ModelConfig &c = d.config;
  d.readCommon(/*tiedByDefault=*/true);
  c.expect("enable_moe_block", true);
  c.expectNone({"hidden_size_per_layer_input", "num_kv_shared_layers",
                "use_bidirectional_attention"});
  if (!c.mentions("hidden_size_per_layer_input"))
    c.unsupported("hidden_size_per_layer_input",
                  "inputs for each layer are not built: expected "
                  "'hidden_size_per_layer_input' to be 0");
  // They belong to what is switched off.
  c.neutral({"vocab_size_per_layer_input", "use_double_wide_mlp"});
  d.dim("dense_ffn", c.size("intermediate_size"));
  d.dim("experts", c.size({"num_experts", "num_local_experts"}));
  d.dim("ffn", c.size({"moe_intermediate_size", "expert_intermediate_size"}));
  std::string act =
      d.activation({"hidden_activation", "hidden_act"}, "gelu_pytorch_tanh");
  GluText dense;
  dense.width = "dense_ffn";
  dense.act = act;
  RouteText route;
  route.input = spell(1 / std::sqrt(double(d.hidden))) +
                " * rms_norm(h, \"router.scale\", eps = eps)";
  route.gate = "\"router.proj.weight\"";
  route.select =
      "top_k(" + spell(c.size({"top_k_experts", "num_experts_per_tok"})) + ")";
  route.renorm = "sum";
  route.scale = "\"router.per_expert_scale\"";
  ExpertsText experts;
  experts.input = "g";
  experts.act = act;
  experts.places = {"experts.", "moe."};
  auto norm = [&](const char *input, const char *name) {
    return d.norm(input, std::string(name) + ".weight");
  };
  d.layer("n = " + norm("x", "input_layernorm"));
  d.layer(attention(d));
  d.layer("h = x + " + norm("a", "post_attention_layernorm"));
  d.layer("f = " + norm("h", "pre_feedforward_layernorm"));
  d.layer("m = " + d.glu(dense));
  d.layer("g = " + norm("h", "pre_feedforward_layernorm_2"));
  d.layer("r = " + d.route(route));
  d.layer("y = " + d.experts(experts));
  d.layer("u = " + norm("m", "post_feedforward_layernorm_1") + " + " +
          norm("y", "post_feedforward_layernorm_2"));
  d.layer("x = h + " + norm("u", "post_feedforward_layernorm"));
  d.layer("x = x * \"layer_scalar\"");
  d.embedding = "sqrt(hidden) * " + d.embedding;
  if (auto cap = c.maybeReal("final_logit_softcapping"))
    d.logits = "softcap($head, " + spell(*cap) + ")";
}

static FamilyRegistration registration(
    {{"gemma4_text"},
     "experts beside a dense part, norms everywhere, keys as values",
     &describe});
