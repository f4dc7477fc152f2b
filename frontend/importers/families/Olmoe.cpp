//===- Olmoe.cpp - OLMoE and FlexOlmo -------------------------------------===//

#include "frontend/importers/ModelFamily.h"

using namespace moec::importers;

static AttentionText attentionText(Decoder &d, double theta) {
  ModelConfig &c = d.config;
  AttentionText attention;
  attention.qkvBias = attention.oBias = c.boolean("attention_bias", false);
  attention.rope = d.rope(RopeDefaults::withTheta(theta));
  attention.more = d.qkNorms("all");
  return attention;
}

/// Statements up to the result `y` of the experts on `input`.
static std::string experts(Decoder &d, const std::string &input) {
  ModelConfig &c = d.config;
  d.dim("experts", c.size({"num_experts", "num_local_experts"}));
  d.dim("ffn", c.size("intermediate_size"));
  RouteText route;
  route.input = input;
  route.select = "top_k(" + spell(c.size("num_experts_per_tok")) + ")";
  route.renorm = c.boolean("norm_topk_prob", false) ? "sum" : "none";
  ExpertsText text;
  text.input = input;
  text.act = d.activation("hidden_act");
  return "r = " + d.route(route) + "\ny = " + d.experts(text);
}

static void olmoe(Decoder &d) {
  d.readCommon();
  AttentionText attention = attentionText(d, 1e4);
  if (auto clip = d.config.maybeReal("clip_qkv"))
    attention.more.push_back("clip = " + spell(*clip));
  d.preNormLayer(d.attention(attention), experts(d, "f") + "\nx = x + y");
}

/// Norms stand behind the parts, not before them.
static void flexOlmo(Decoder &d) {
  d.readCommon();
  AttentionText attention = attentionText(d, 5e5);
  attention.input = "x";
  d.layer("a = " + d.attention(attention));
  d.layer("h = x + " + d.norm("a", "post_attention_layernorm.weight"));
  d.layer(experts(d, "h"));
  d.layer("x = h + " + d.norm("y", "post_feedforward_layernorm.weight"));
}

static FamilyRegistration olmoeFamily(
    {{"olmoe"}, "norms of q and k over all heads, clipping", &olmoe});
static FamilyRegistration flexFamily({{"flex_olmo"},
                                      "norms behind attention and experts",
                                      &flexOlmo});
