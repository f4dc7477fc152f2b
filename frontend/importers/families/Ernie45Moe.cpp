//===- Ernie45Moe.cpp - ERNIE 4.5, and the text of ERNIE 4.5 VL -----------===//

#include "frontend/importers/DeepSeekParts.h"
#include "frontend/importers/ModelFamily.h"

using namespace moec::importers;

static Schedule sparseLayers(Decoder &d) {
  ModelConfig &c = d.config;
  int64_t interval = c.size("moe_layer_interval", 1);
  int64_t first = c.integer("moe_layer_start_index", 1);
  int64_t last = c.integer("moe_layer_end_index", -1);
  return Schedule::where(d.depth, [&](int64_t l) {
    return (l + 1) % interval == 0 && l >= first && (last == -1 || l <= last);
  });
}

namespace {
/// What the two families differ in.
struct Parts {
  Schedule sparse;
  int64_t width = 0; ///< of an expert
  std::string gate, selectionBias;
  std::vector<std::string> places;
  RopeDefaults rope;
};
} // namespace

static void describe(Decoder &d, const Parts &parts) {
  ModelConfig &c = d.config;
  bool bias = c.boolean("use_bias", false);
  std::string act = d.activation("hidden_act");
  d.dim("experts", c.size({"moe_num_experts", "num_experts"}));
  d.dim("ffn", parts.width);
  AttentionText attention;
  attention.qkvBias = attention.oBias = bias;
  attention.rope = d.rope(parts.rope);
  d.keep("*." + parts.selectionBias);
  RouteText route;
  route.gate = parts.gate;
  route.f32 = true;
  route.rank = "score + \"" + parts.selectionBias + "\"[0]";
  route.select =
      "top_k(" + spell(c.size({"moe_k", "num_experts_per_tok"})) + ")";
  route.renorm = "at_least(" + spell(c.real("moe_norm_min", 1e-12)) + ")";
  ExpertsText experts;
  experts.layer = parts.sparse.first();
  experts.act = act;
  experts.places = parts.places;
  std::string routed;
  if (!parts.sparse.none())
    routed = "r = " + d.route(route) + "\nrouted = " + d.experts(experts) +
             "\nx = x + routed";
  int64_t count = c.integer("moe_num_shared_experts", 0);
  if (count > 0) {
    GluText shared;
    shared.at = "mlp.shared_experts.";
    shared.act = act;
    shared.bias = bias;
    shared.width = d.dim("shared_ffn", count * parts.width);
    routed += " + " + d.glu(shared);
  }
  GluText dense;
  dense.act = act;
  dense.bias = bias;
  dense.width = d.dim("dense_ffn", c.size("intermediate_size"));
  d.preNormLayer(d.attention(attention), d.when(parts.sparse, "sparse", routed,
                                                "x = x + " + d.glu(dense)));
}

static RopeDefaults positions() {
  RopeDefaults rope = RopeDefaults::withTheta(5e5);
  rope.style = "pairs";
  return rope;
}

static void describeText(Decoder &d) {
  ModelConfig &c = d.config;
  d.readCommon(/*tiedByDefault=*/true);
  d.ignoreExtraLayers("num_nextn_predict_layers");
  // How pre-training filled experts.
  c.neutral({"moe_capacity", "moe_group", "moe_use_aux_free", "moe_gate",
             "moe_aux_loss_lambda", "moe_orthogonal_loss_lambda",
             "moe_z_loss_lambda", "moe_all_to_all_dropout",
             "moe_dropout_prob"});
  Schedule sparse = sparseLayers(d);
  std::string offset =
      d.pick(sparse.first(), {"mlp.moe_statics.e_score_correction_bias",
                              "mlp.gate.moe_statics.e_score_correction_bias"});
  if (c.boolean("use_bias", false))
    d.headMap += " + \"lm_head.bias\"";
  describe(d, {sparse,
               c.size("moe_intermediate_size"),
               "\"mlp.gate.weight\"",
               offset,
               {"mlp.experts."},
               positions()});
}

/// Of the two sets of experts and routers in a layer text takes the first.
static void describeVisual(Decoder &d) {
  ModelConfig &c = d.config;
  d.readCommon(/*tiedByDefault=*/true);
  Schedule sparse = layersWithExperts(d, 1);
  std::vector<int64_t> widths = c.integers("moe_intermediate_size");
  if (widths.size() != 2) {
    c.unsupported("moe_intermediate_size",
                  "expected 'moe_intermediate_size' to be two sizes, of the "
                  "experts of text and of those of images");
    widths = {1, 1};
  }
  // Published, both sets lie behind each other; transformers 5 separates them.
  int64_t at = sparse.first();
  bool isPublished = d.hasInLayer(at, "mlp.gate.weight");
  int64_t count = c.size({"moe_num_experts", "num_experts"});
  for (int64_t e = count; isPublished && e < 2 * count; ++e)
    d.ignore("*.mlp.experts." + spell(e) + ".*");
  d.ignore("*.mlp.gate.weight_1");
  d.ignore("*.mlp.vision_moe.*");
  RopeDefaults rope = positions();
  rope.takesSections = true;
  std::string bias = "moe_statics.e_score_correction_bias";
  describe(d, {sparse,
               widths[0],
               isPublished ? "\"mlp.gate.weight\".T"
                           : "\"mlp.text_moe.gate.weight\"",
               (isPublished ? "mlp." : "mlp.text_moe.gate.") + bias,
               {"mlp.experts.", "mlp.text_moe.experts."},
               rope});
}

static FamilyRegistration registration({{"ernie4_5_moe"},
                                        "softmax with a bias that selects",
                                        &describeText});
static FamilyRegistration visual({{"ernie4_5_vl_moe_text"},
                                  "the same with experts of their own for text",
                                  &describeVisual});
