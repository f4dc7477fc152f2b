//===- RandomModel.h - Small models made up by a generator ------*- C++ -*-===//
#ifndef MOEC_TEST_PROPERTY_RANDOMMODEL_H
#define MOEC_TEST_PROPERTY_RANDOMMODEL_H

#include "test/lib/NaiveModel.h"

#include <random>
#include <string>

namespace property {

/// A model with its weights and a sequence for it. The same seed gives the same
/// on every machine.
struct RandomModel {
  explicit RandomModel(unsigned seed);

  /// The source text; the weights are in model.safetensors beside it.
  std::string source() const;
  /// Writes model.moe and model.safetensors.
  void write(const std::string &folder) const;

  naive::Config config;
  naive::Tensors tensors;
  std::vector<naive::Token> tokens;
  std::vector<float> images;

private:
  int pick(int low, int high);
  bool chance(int percent) { return pick(1, 100) <= percent; }
  template <typename T> T oneOf(std::initializer_list<T> values) {
    return values.begin()[pick(0, static_cast<int>(values.size()) - 1)];
  }
  float normal();
  void attention();
  naive::FeedForward feedForward();
  naive::Routing routing(int ids);
  void fillTensors();
  void fillTokens();

  std::mt19937 random;
};

} // namespace property

#endif // MOEC_TEST_PROPERTY_RANDOMMODEL_H
