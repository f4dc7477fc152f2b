//===- GptOss.cpp - gpt-oss -----------------------------------------------===//

#include "frontend/importers/ModelFamily.h"

using namespace moec::importers;

static void describe(Decoder &d) {
  ModelConfig &c = d.config;
  d.readCommon();
  d.dim("experts", c.size({"num_local_experts", "num_experts"}));
  d.dim("ffn", c.size("intermediate_size"));
  c.expect("hidden_act", llvm::StringRef("silu"));
  c.neutral({"initial_context_length", "swiglu_limit", "swiglu_alpha"});
  AttentionText attention;
  attention.qkvBias = attention.oBias = c.boolean("attention_bias", true);
  attention.rope = d.rope(RopeDefaults::withTheta(150000));
  Schedule narrow = d.layerTypes(
      "sliding_attention",
      Schedule::where(d.depth, [](int64_t l) { return l % 2 == 0; }));
  attention.mask = d.choose(
      narrow, "narrow", "window(" + spell(c.size("sliding_window", 128)) + ")",
      "causal");
  attention.more = {"sinks = \"self_attn.sinks\""};
  RouteText route;
  route.gate = "\"mlp.router.weight\" + \"mlp.router.bias\"";
  route.score = "identity";
  route.select = "top_k(" +
                 spell(c.size({"num_experts_per_tok", "experts_per_token"})) +
                 ")";
  route.weigh = "softmax(logits)";
  ExpertsText experts;
  experts.act = "silu(slope = " + spell(c.real("swiglu_alpha", 1.702)) + ")";
  experts.interleaved = experts.transposedIfSquare = experts.bias = true;
  experts.inner = {"clamp = before(" + spell(c.real("swiglu_limit", 7.0)) + ")",
                   "up_offset = 1"};
  d.preNormLayer(d.attention(attention),
                 "r = " + d.route(route) + "\nx = x + " + d.experts(experts));
}

static FamilyRegistration registration(
    {{"gpt_oss"},
     "attention sinks, clamped experts with biases, alternating windows",
     &describe});
