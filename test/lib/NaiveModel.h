//===- NaiveModel.h - A decoder with experts, plainly ----------*- C++ -*-===//
//
// The oracle of property tests: a Mixture-of-Experts decoder in double, written
// for reading and from the formulas alone. It shares no code with the compiler
// or the runtime and includes nothing of theirs.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_TEST_LIB_NAIVEMODEL_H
#define MOEC_TEST_LIB_NAIVEMODEL_H

#include <map>
#include <string>
#include <vector>

namespace naive {

using Vector = std::vector<double>;

/// A tensor by rows; vectors have one row per element.
struct Tensor {
  std::vector<int> shape;
  std::vector<float> values;

  const float *row(int r) const { return values.data() + r * shape.back(); }
};
using Tensors = std::map<std::string, Tensor>;

enum class Score { Softmax, Sigmoid, Identity };
enum class Weigh { Score, SelectedSoftmax, SelectedSigmoid, One };
enum class Rope { None, Half, Pairs };
enum class Activation { Silu, Relu, Relu2, GeluTanh };

/// How experts are chosen. Ties go to the lower id.
struct Routing {
  Score score = Score::Softmax;
  bool biased = false; ///< selection looks at score + bias
  int groups = 0;      ///< 0: no groups
  int keep = 0;
  bool byTwoLargest = false;  ///< else by the largest
  bool outsideIsZero = false; ///< else minus infinity
  int k = 0;                  ///< 0: top-p
  double p = 0.0;             ///< the first running sum above p is the last
  Weigh weigh = Weigh::Score;
  bool renormalise = false;
  double atLeast = 0.0; ///< the least sum to divide by
  double scale = 1.0;
  bool factors = false;   ///< and by a stored factor of the expert
  double skipRatio = 0.0; ///< weights below this share of the largest go
};

/// One feed-forward part: routed experts and perhaps a shared one.
struct FeedForward {
  Routing routing;
  std::vector<int> widths; ///< of the experts with matrices
  int identities = 0;      ///< ids after those
  int nulls = 0;           ///< ids after those
  bool virtualFirst = false; ///< identities and nulls come before the others
  bool gated = true;
  Activation activation = Activation::Silu;
  double slope = 1.0; ///< of silu
  /// With a gate: a limit before or after the activation, 0 for none, and what
  /// is added to the up value.
  double clampBefore = 0.0, clampAfter = 0.0, upOffset = 0.0;
  bool gateBias = false, upBias = false, downBias = false;
  bool applyInput = false; ///< weights multiply what experts read
  int sharedWidth = 0;     ///< 0: none

  int ids() const {
    return static_cast<int>(widths.size()) + identities + nulls;
  }
  /// The id of the first expert with matrices.
  int firstReal() const { return virtualFirst ? identities + nulls : 0; }
  int firstVirtual() const {
    return virtualFirst ? 0 : static_cast<int>(widths.size());
  }
};

struct Config {
  int vocab = 0, hidden = 0, layers = 0;
  int heads = 0, kvHeads = 0, headDim = 0;
  int valueDim = 0; ///< of a value head
  int window = 0;   ///< 0: all earlier tokens
  int chunk = 0;    ///< tokens of a chunk see each other only; 0: no chunks
  Rope rope = Rope::None;
  int rotated = 0; ///< the first elements of each head that are rotated
  bool normedHeads = false;
  bool sinks = false; ///< a score more per head, without a value
  double softcap = 0.0;
  bool gate = false; ///< the result of each element times a sigmoid
  /// Latent attention: keys and values of all heads are maps of a normed row of
  /// this rank, and a key head ends in a rotated part that all share. 0: none.
  int latentRank = 0;
  int queryRank = 0; ///< of queries of latent attention; 0: whole

  double theta = 1e4;
  bool attentionBias = false;
  double eps = 1e-6;
  /// One for all tokens, or one per modality (text, image).
  std::vector<FeedForward> feedForwards;
  /// Raw images are blocks of numbers [imageTokens, imageWidth]; 0: no images.
  int imageTokens = 0, imageWidth = 0;

  /// Tensor names and shapes.
  std::map<std::string, std::vector<int>> shapes() const;
  /// Prefix of the tensors of a feed-forward part: "layers.0.moe.image.".
  std::string prefix(int layer, size_t part) const;

private:
  void addAttention(const std::string &prefix,
                    std::map<std::string, std::vector<int>> &shapes) const;
};

/// A token: an id of the text, or the row of an image.
struct Token {
  bool isImage = false;
  int value = 0;
};

struct Result {
  std::vector<Vector> logits; ///< of every position
  /// The smallest distance of what was selected from what was not. A rounding
  /// may decide otherwise where it is tiny.
  double clearance = 1e30;
};

/// Runs the sequence `tokens`; `images` holds the rows of all images.
Result run(const Config &config, const Tensors &tensors,
           const std::vector<Token> &tokens, const std::vector<float> &images);

} // namespace naive

#endif // MOEC_TEST_LIB_NAIVEMODEL_H
