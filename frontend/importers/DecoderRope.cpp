//===- DecoderRope.cpp - Rotary positions as text -------------------------===//
//
// transformers 5 writes `rope_parameters`, with theta inside; checkpoints from
// before have `rope_theta` and `rope_scaling` beside each other. Families with
// several kinds of layers nest one such object per kind.
//
//===----------------------------------------------------------------------===//

#include "frontend/importers/Decoder.h"

#include <cmath>

using namespace moec;
using namespace moec::importers;
using llvm::StringRef;
using llvm::Twine;

static std::string listText(llvm::ArrayRef<double> values) {
  std::string text;
  for (double value : values)
    text += (text.empty() ? "" : ", ") + spell(value);
  return "[" + text + "]";
}

/// `0.1 mscale ln(scale) + 1`, which stands at several places of yarn.
static double mscaleOf(double scale, double mscale) {
  return scale <= 1 ? 1.0 : 0.1 * mscale * std::log(scale) + 1.0;
}

std::string Decoder::longRope(ModelConfig &rope, int64_t dims, int64_t before,
                              bool shortMagnitudes) {
  std::vector<double> shorts = rope.reals("short_factor"),
                      longs = rope.reals("long_factor");
  for (auto [key, list] :
       {std::pair("short_factor", &shorts), std::pair("long_factor", &longs)})
    if (static_cast<int64_t>(list->size()) != dims / 2)
      rope.unsupported(key, Twine("'") + key + "' must have " +
                                Twine(dims / 2) + " numbers, found " +
                                Twine(list->size()));
  std::string first = constant("short_factor", listText(shorts));
  std::string text = "longrope(short = " + first + ", long = ";
  if (shortMagnitudes)
    return text + first + ", original = " + spell(before) +
           ", magnitude = " + spell(rope.real("short_mscale")) +
           ", long_magnitude = " + spell(rope.real("long_mscale")) + ")";
  double factor = rope.real(
      "factor", static_cast<double>(config.size("max_position_embeddings")) /
                    static_cast<double>(before));
  double magnitude =
      factor <= 1 ? 1.0
                  : std::sqrt(1 + std::log(factor) / std::log(double(before)));
  return text + constant("long_factor", listText(longs)) +
         ", original = " + spell(before) +
         ", magnitude = " + spell(rope.real("attention_factor", magnitude)) +
         ")";
}

std::string Decoder::scaling(ModelConfig &rope, StringRef type, int64_t dims,
                             bool shortMagnitudes) {
  auto original = [&] {
    // Beside the object it wins over the one inside.
    if (config.has("original_max_position_embeddings")) {
      rope.neutral("original_max_position_embeddings");
      return config.size("original_max_position_embeddings");
    }
    return rope.size("original_max_position_embeddings",
                     config.size("max_position_embeddings"));
  };
  if (type == "linear")
    return "linear(factor = " + spell(rope.real("factor")) + ")";
  if (type == "dynamic") {
    rope.neutral({"original_max_position_embeddings"});
    return "dynamic_ntk(factor = " + spell(rope.real("factor")) +
           ", original = " + spell(config.size("max_position_embeddings")) +
           ")";
  }
  if (type == "llama3")
    return "llama3(factor = " + spell(rope.real("factor")) +
           ", low = " + spell(rope.real("low_freq_factor")) +
           ", high = " + spell(rope.real("high_freq_factor")) +
           ", original = " + spell(original()) + ")";
  if (type == "yarn") {
    int64_t before = original();
    double factor = rope.real(
        "factor", static_cast<double>(config.size("max_position_embeddings")) /
                      static_cast<double>(before));
    double mscale = rope.real("mscale", 0),
           all = rope.real("mscale_all_dim", 0);
    double magnitude = mscale != 0 && all != 0
                           ? mscaleOf(factor, mscale) / mscaleOf(factor, all)
                           : mscaleOf(factor, 1);
    magnitude = rope.real("attention_factor", magnitude);
    if (all != 0)
      yarnScale = mscaleOf(factor, all) * mscaleOf(factor, all);
    auto beta = [&](StringRef key, double fallback) {
      double value = rope.real(key, fallback);
      return spell(value == 0 ? fallback : value);
    };
    std::string text = "yarn(factor = " + spell(factor) +
                       ", original = " + spell(before) +
                       ", fast = " + beta("beta_fast", 32) +
                       ", slow = " + beta("beta_slow", 1);
    if (!rope.boolean("truncate", true))
      text += ", truncate = false";
    return text + ", magnitude = " + spell(magnitude) + ")";
  }
  if (type == "longrope" || type == "su")
    return longRope(rope, dims, original(), shortMagnitudes);
  rope.unsupported({"rope_type", "type"},
                   "rotary positions of type '" + type + "' are not built");
  return "";
}

std::string Decoder::rope(const RopeDefaults &defaults) {
  std::optional<ModelConfig> rope = config.child("rope_parameters");
  std::optional<ModelConfig> old = config.child("rope_scaling");
  if (rope && old)
    config.unsupported("rope_scaling", "expected either 'rope_parameters' or "
                                       "'rope_scaling', found both");
  if (!rope)
    rope = std::move(old);
  std::optional<ModelConfig> nested;
  if (rope && !defaults.layerType.empty()) {
    nested = rope->child(defaults.layerType);
    if (nested)
      std::swap(rope, nested);
  }
  double theta = config.real("rope_theta", defaults.theta);
  double partial = config.real("partial_rotary_factor", defaults.partial);
  std::string type = "default";
  if (rope) {
    theta = rope->real("rope_theta", theta);
    partial = rope->real("partial_rotary_factor", partial);
    type = rope->word({"rope_type", "type"}, "default");
    rope->neutral({"rope_type", "type"});
  }
  int64_t whole = defaults.dims ? defaults.dims : head;
  if (defaults.ntkAlpha && rope && type == "dynamic" && rope->has("alpha")) {
    double d = static_cast<double>(whole);
    theta *= std::pow(rope->real("alpha"), d / (d - 2));
    type = "default";
    // Of the scaling that alpha replaces.
    rope->neutral(
        {"factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim"});
  }
  if (defaults.takesSections && rope && rope->has("mrope_section")) {
    std::vector<int64_t> parts = rope->integers("mrope_section");
    if (parts.size() != 3 || parts[0] != parts[1] ||
        2 * (parts[0] + parts[1] + parts[2]) != whole)
      rope->unsupported("mrope_section",
                        "expected 'mrope_section' to be three numbers of "
                        "together " +
                            Twine(whole / 2) +
                            ", half of the head, the first two equal");
  }
  auto dims = static_cast<int64_t>(static_cast<double>(whole) * partial);
  std::string text =
      "rope(theta = " + spell(theta) + ", style = " + defaults.style.str();
  if (type == "proportional") {
    auto rotated =
        2 * static_cast<int64_t>(std::floor(partial * double(whole) / 2));
    double factor = rope->real("factor", 1.0);
    text += ", scaling = proportional(dims = " + spell(rotated) +
            (factor == 1.0 ? "" : ", factor = " + spell(factor)) + ")";
  } else {
    if (dims != whole)
      text += ", dims = " + spell(dims);
    if (type != "default")
      text +=
          ", scaling = " + scaling(*rope, type, dims, defaults.shortMagnitudes);
  }
  if (rope)
    rope->reportUnread();
  return text + ")";
}
