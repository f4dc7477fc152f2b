//===- Decoder.h - The text of an imported model ----------------*- C++ -*-===//
//
// Families write the language itself: statements of a layer as text, with help
// for the parts that most of them share. The helpers read the configuration,
// look at the names and shapes of the tensors, and return expressions; finish()
// puts a whole .moe file together. What does not fit is reported at once, and
// harmless text is returned, so that one run finds all faults.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_FRONTEND_IMPORTERS_DECODER_H
#define MOEC_FRONTEND_IMPORTERS_DECODER_H

#include "frontend/importers/Checkpoint.h"
#include "frontend/importers/ModelConfig.h"

#include <map>

namespace moec::importers {

/// A real as a person writes it: "1e6", "0.5", "1e-5".
std::string spell(double value);
std::string spell(int64_t value);

/// Which layers are of a kind.
class Schedule {
public:
  explicit Schedule(std::vector<bool> layers) : layers(std::move(layers)) {}
  template <typename Predicate>
  static Schedule where(int64_t depth, Predicate predicate) {
    std::vector<bool> layers;
    for (int64_t l = 0; l < depth; ++l)
      layers.push_back(predicate(l));
    return Schedule(std::move(layers));
  }

  bool all() const;
  bool none() const;
  bool operator[](int64_t layer) const { return layers[layer]; }
  size_t size() const { return layers.size(); }
  /// The first layer of the kind; 0 if there is none.
  int64_t first() const;
  Schedule operator!() const;
  bool operator==(const Schedule &other) const {
    return layers == other.layers;
  }

private:
  friend class Decoder;
  std::vector<bool> layers;
};

/// An attention with separate projections, as text.
struct AttentionText {
  std::string input = "n";
  std::string mask = "causal";
  std::string rope = "none";
  std::string at = "self_attn.";
  std::string kvHeads = "kv_heads", head = "head"; ///< names of sizes
  std::string q = "q_proj", k = "k_proj", v = "v_proj", o = "o_proj";
  bool qkvBias = false;
  bool oBias = false;
  /// Further arguments in the order to be written: `scale = 0.5`.
  std::vector<std::string> more;
};

/// Multi-head latent attention, as text.
struct MlaText {
  std::string input = "n";
  std::string rope;
  std::string at = "self_attn.";
  std::string scale; ///< empty: one over the root
  bool bias = false; ///< of q_a, kv_a and o
  std::string qA = "q_a_proj", kvA = "kv_a_proj_with_mqa";
  std::string eps = "eps"; ///< of both norms
  std::vector<std::string> more;
};

/// A gated feed-forward part, as text.
struct GluText {
  std::string input = "f";
  std::string width = "ffn";
  std::string at = "mlp.";
  std::string act = "silu";
  std::string gate = "gate_proj", up = "up_proj", down = "down_proj";
  bool bias = false;
  std::vector<std::string> more;
};

/// Routing of a linear map of the input, as text: its stages.
struct RouteText {
  std::string input = "f";
  std::string gate = "\"mlp.gate.weight\""; ///< the map, as an expression
  std::string count = "experts";
  bool f32 = false; ///< the map is computed in f32 whatever the model's type
  std::string score = "softmax";
  std::string rank = "score";
  std::string groups;
  std::string select;
  std::string weigh = "score";
  std::string renorm = "none";
  std::string scale = "1";
};

/// The routed experts of a layer, in whichever layout the checkpoint has.
struct ExpertsText {
  /// A layer that has experts: where to look for their names.
  int64_t layer = 0;
  std::string input = "f";
  std::string routing = "r";
  std::string count = "experts";
  std::string width = "ffn";
  std::string act = "silu";
  /// Folders of names that the family has, such as "mlp.experts.".
  std::vector<std::string> places = {"mlp.experts."};
  /// [E, in, out] where the shape alone cannot tell (twice the width equals the
  /// model's).
  bool transposedIfSquare = false;
  /// Gate and up rows of a fused tensor alternate.
  bool interleaved = false;
  bool bias = false;
  std::vector<std::string> inner; ///< further arguments of glu
  std::vector<std::string> more;  ///< further arguments of experts
  std::string arms;               ///< further arms
};

/// How rotary positions are read where the configuration leaves it open.
struct RopeDefaults {
  double theta = 1e4;
  llvm::StringRef style = "half";
  /// Size of what is rotated if the configuration does not make it partial;
  /// 0: the head.
  int64_t dims = 0;
  double partial = 1.0;
  /// Whether `partial_rotary_factor` means anything to the family.
  bool takesPartial = false;
  /// The object within rope_parameters, for families with one per layer type.
  llvm::StringRef layerType;
  /// Phi-3.5-MoE: `short_mscale` and `long_mscale` multiply cosine and sine,
  /// and the short factors are used for all lengths.
  bool shortMagnitudes = false;
  /// Which pairs turn with height, width and time (`mrope_section`). For text all
  /// three are the position, and equal parts of the first two leave the pairs in
  /// their order.
  bool takesSections = false;
  /// Hunyuan: "dynamic" with `alpha` is another theta, whatever the length.
  bool ntkAlpha = false;

  static RopeDefaults withTheta(double theta) {
    RopeDefaults defaults;
    defaults.theta = theta;
    return defaults;
  }
};

class Decoder {
public:
  Decoder(ModelConfig &config, const Checkpoint &tensors, std::string name,
          int64_t contextLimit);

  ModelConfig &config;
  const Checkpoint &tensors;

  //===--------------------------------------------------------------------===//
  // Sizes
  //===--------------------------------------------------------------------===//

  int64_t hidden = 0, depth = 0, heads = 0, kvHeads = 0, head = 0;

  /// vocab, hidden, depth, heads, kv_heads, head, context, eps, dtype and tied
  /// heads, under the names that nearly all families use.
  void readCommon(bool tiedByDefault = false);
  /// The parts of readCommon for families with other names.
  void readSizes(const Names &vocab, const Names &hidden, const Names &depth,
                 const Names &heads, const Names &context);
  void readDtype();
  /// The last map: tied to the embeddings or of its own.
  void readHead(bool tied);
  std::string stopItem() const;
  /// Tokens that the model takes, after readSizes.
  int64_t contextLength() const { return context; }

  /// Declares a size or a constant; those that the text does not name are not
  /// printed. Returns the name.
  std::string dim(llvm::StringRef name, int64_t value);
  std::string constant(llvm::StringRef name, const llvm::Twine &text);

  //===--------------------------------------------------------------------===//
  // Names of tensors
  //===--------------------------------------------------------------------===//

  /// Before the names of the decoder: "model.".
  std::string prefix;
  /// Name of a tensor of a layer without its prefix -> whether a layer has it.
  std::string layerPrefix(int64_t layer) const;
  bool hasInLayer(int64_t layer, llvm::StringRef name) const;
  llvm::ArrayRef<int64_t> shapeInLayer(int64_t layer,
                                       llvm::StringRef name) const;
  /// The first of the names that the layer has, or the first of all.
  std::string pick(int64_t layer, llvm::ArrayRef<std::string> names) const;

  void keep(llvm::StringRef pattern);
  /// Only where something matches.
  void ignore(llvm::StringRef pattern);
  /// Layers that predict tokens after the next.
  void ignoreExtraLayers(const Names &countKeys);

  //===--------------------------------------------------------------------===//
  // Pieces of text
  //===--------------------------------------------------------------------===//

  /// Reads the activation of a key.
  std::string activation(const Names &names, llvm::StringRef fallback = "silu",
                         ModelConfig *where = nullptr);
  /// Reads rope_parameters, or rope_theta and rope_scaling.
  std::string rope(const RopeDefaults &defaults = {});
  /// The mscale correction that yarn makes to the scale of scores (DeepSeek).
  double yarnScale = 1.0;

  std::string attention(const AttentionText &text);
  std::string mla(const MlaText &text);
  std::string glu(const GluText &text);
  std::string route(const RouteText &text);
  std::string experts(const ExpertsText &text);
  /// Norms of q and k, as further arguments of an attention.
  std::vector<std::string> qkNorms(llvm::StringRef over,
                                   llvm::StringRef q = "q_norm",
                                   llvm::StringRef k = "k_norm") const;
  /// `rms_norm(x, "name", eps = eps)`.
  std::string norm(llvm::StringRef input, llvm::StringRef name) const;

  /// Layers of a type in `layer_types`, `fallback` where the key is absent.
  Schedule layerTypes(llvm::StringRef type, const Schedule &fallback);
  Schedule allLayers() const {
    return Schedule(std::vector<bool>(depth, true));
  }
  Schedule noLayer() const { return Schedule(std::vector<bool>(depth, false)); }

  /// A condition on `l`. A pattern without a rule becomes a list `name`.
  std::string condition(const Schedule &schedule, llvm::StringRef name);
  /// `a if condition else b`, or the one that all layers have.
  std::string choose(const Schedule &schedule, llvm::StringRef name,
                     const std::string &a, const std::string &b);
  /// `when condition { a } otherwise { b }`.
  std::string when(const Schedule &schedule, llvm::StringRef name,
                   const std::string &a, const std::string &b);

  //===--------------------------------------------------------------------===//
  // The text
  //===--------------------------------------------------------------------===//

  /// Attention and feed-forward part, each added to what it was given after a
  /// norm. `feedForward` is statements that add to `x` and read `f`.
  void preNormLayer(const std::string &attention,
                    const std::string &feedForward);
  /// Statements of a layer, appended to those before.
  void layer(const std::string &text) { layerText += text + "\n"; }
  void block(const std::string &text) { blockText += text + "\n"; }

  std::vector<int64_t> stopTokens; ///< ids that end a text
  /// Tensors outside the layers, where they have other names than Llama's.
  std::vector<std::string> ownNames;
  /// A modality beside text, `image(rows: f32[1, hidden]) = rows`; empty: none.
  std::string otherModality;
  std::string embedding;           ///< of `ids`
  std::string before;              ///< statements before the layers
  std::string carried = "x";       ///< names that layers hand on
  std::string layersAt;            ///< prefix of a layer's names
  std::string finalNorm;           ///< of `x`
  std::string headMap;             ///< the last map, as an expression
  std::string logits = "$head"; ///< what is returned; `$head` is the last map

  /// Whether the text names every tensor that is not ignored, and no other, as
  /// far as names without numbers of layers and experts tell.
  bool namesAllTensors() const;
  /// The whole file; `weights` are the patterns to write.
  std::string finish(llvm::ArrayRef<std::string> weights);

private:
  struct FusedExperts {
    std::string gate, up, down;
    std::string gateBias, upBias, downBias;
  };
  std::string expertNames(const ExpertsText &text, FusedExperts &names);
  bool fusedViews(const ExpertsText &text, const std::string &fused,
                  const std::string &down, FusedExperts &names);
  std::string scaling(ModelConfig &rope, llvm::StringRef type, int64_t dims,
                      bool shortMagnitudes);
  std::string longRope(ModelConfig &rope, int64_t dims, int64_t before,
                       bool shortMagnitudes);

  std::string name, dtype = "f32";
  int64_t contextLimit, context = 0;
  std::vector<std::pair<std::string, std::string>> dims, constants;
  std::vector<std::string> keeps, ignores;
  std::string blockText, layerText;
};

} // namespace moec::importers

#endif // MOEC_FRONTEND_IMPORTERS_DECODER_H
