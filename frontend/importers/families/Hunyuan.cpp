//===- Hunyuan.cpp - Hunyuan-A13B -----------------------------------------===//

#include "frontend/importers/ModelFamily.h"

#include <cmath>

using namespace moec::importers;

/// An integer, or a list with the same for each layer.
static int64_t uniform(ModelConfig &c, Names names) {
  const JsonValue *value = c.raw(names);
  if (!value || value->kind != JsonValue::Kind::Array)
    return c.size(names, 1);
  std::vector<int64_t> list = c.integers(names);
  for (int64_t each : list)
    if (each != list.front() || each < 1)
      c.unsupported(names,
                    "'" + names.front() + "' must be the same in all layers");
  return list.empty() ? 1 : list.front();
}

static void describe(Decoder &d) {
  ModelConfig &c = d.config;
  d.readCommon();
  d.dim("experts", uniform(c, {"num_experts", "num_local_experts"}));
  d.dim("ffn", c.size("intermediate_size"));
  c.expect("use_qk_norm", true);
  c.expect("use_cla", false);
  c.expect("mlp_bias", false);
  c.expect("use_mixed_mlp_moe", true);
  c.neutral({"cla_share_factor", "use_rotary_pos_emb", "capacity_factor",
             "moe_drop_tokens", "moe_random_routing_dropped_token",
             "group_limited_greedy", "norm_type", "org_vocab_size", "pool_type",
             "rope_type"});
  if (c.has("num_shared_expert") && uniform(c, "num_shared_expert") != 1)
    c.unsupported("num_shared_expert", "'num_shared_expert' must be 1");
  if (c.has("moe_intermediate_size") &&
      uniform(c, "moe_intermediate_size") != c.size("intermediate_size"))
    c.unsupported("moe_intermediate_size",
                  "'moe_intermediate_size' must be 'intermediate_size'");
  AttentionText attention;
  attention.qkvBias = attention.oBias = c.boolean("attention_bias", false);
  RopeDefaults rope;
  rope.ntkAlpha = true;
  attention.rope = d.rope(rope);
  attention.more = d.qkNorms("head", "query_layernorm", "key_layernorm");
  attention.more.push_back("norm_after_rope = true");
  RouteText route;
  route.gate = "\"mlp.gate.wg.weight\"";
  route.f32 = true;
  route.select =
      "top_k(" + spell(uniform(c, {"moe_topk", "num_experts_per_tok"})) + ")";
  route.renorm = "sum";
  ExpertsText experts;
  experts.act = d.activation("hidden_act");
  GluText shared;
  shared.at = "mlp.shared_mlp.";
  shared.act = experts.act;
  d.preNormLayer(d.attention(attention), "r = " + d.route(route) +
                                             "\nx = x + " + d.experts(experts) +
                                             " + " + d.glu(shared));
}

static FamilyRegistration
    registration({{"hunyuan_v1_moe"},
                  "norms of q and k after the rotation, a shared expert",
                  &describe});
