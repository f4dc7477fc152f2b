//===- ModelTest.cpp - Random models against the naive one ----------------===//
//
// Compiles small models of random sizes, routers, experts, heads and modalities
// with moec, and compares them with test/lib/NaiveModel. MOEC_PROPERTY_FIRST
// and MOEC_PROPERTY_COUNT choose other seeds; a failure names its own.
//
//===----------------------------------------------------------------------===//
#include "moe/runtime.hpp"
#include "test/property/RandomModel.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>

using namespace property;

namespace {
int number(const char *variable, int otherwise) {
  const char *text = std::getenv(variable);
  return text ? std::atoi(text) : otherwise;
}

/// The inputs of tokens `first` .. `end - 1`, runs of a modality each.
class Inputs {
public:
  Inputs(const RandomModel &model, size_t first, size_t end) {
    for (size_t t = first; t < end;) {
      size_t next = t;
      bool isImage = model.tokens[t].isImage;
      std::vector<int32_t> run;
      while (next < end && model.tokens[next].isImage == isImage)
        run.push_back(model.tokens[next++].value);
      if (isImage) {
        const float *rows =
            model.images.data() + run.front() * model.config.imageWidth;
        views.push_back(moe::input("image", MOE_F32, rows,
                                   run.size() * model.config.imageWidth));
      } else {
        ids.push_back(std::move(run));
        views.push_back(
            moe::input("text", MOE_I32, nullptr, ids.back().size()));
      }
      t = next;
    }
    size_t next = 0;
    for (moe::Input &view : views)
      if (std::string_view(view.modality) == "text")
        view.data = ids[next++].data();
    for (uint32_t row = 0; row < end - first; ++row)
      rows.push_back(row);
  }

  moe::Item item() {
    auto result = moe::detail::sized<moe::Item>();
    result.inputs = views.data();
    result.num_inputs = views.size();
    result.rows = rows.data();
    result.num_rows = rows.size();
    return result;
  }

private:
  std::vector<moe::Input> views;
  std::vector<std::vector<int32_t>> ids;
  std::vector<uint32_t> rows;
};

class ModelTest : public ::testing::TestWithParam<int> {
protected:
  void SetUp() override {
    folder = std::filesystem::temp_directory_path() /
             ("moec-property-" + std::to_string(GetParam()));
    std::filesystem::create_directories(folder);
  }
  void TearDown() override {
    if (!HasFailure())
      std::filesystem::remove_all(folder);
  }

  /// Compiles the model, or fails the test with what moec said.
  void compile(const RandomModel &model) {
    model.write(folder);
    std::string command = std::string(MOEC) + " " +
                          (folder / "model.moe").string() + " -O1 -o " +
                          (folder / "model.so").string() + " > " +
                          (folder / "log").string() + " 2>&1";
    int status = std::system(command.c_str());
    std::ifstream log(folder / "log");
    ASSERT_EQ(status, 0) << command << "\n"
                         << std::string(std::istreambuf_iterator<char>(log), {})
                         << model.source();
  }

  void compare(const RandomModel &model, const naive::Result &expected,
               size_t first, const moe::Logits &found, const char *what) {
    // n roundings of 2^-24 per product, of the longest sum; 8 products and
    // norms per layer follow each other.
    const naive::Config &c = model.config;
    int longest = std::max({c.hidden, c.heads * c.headDim, c.imageWidth, 24,
                            int(model.tokens.size())});
    double tolerance = longest * (8.0 * c.layers + 2) * 0x1p-24;
    double difference = 0.0, size = 0.0;
    for (size_t r = 0; r < found.rows(); ++r)
      for (size_t i = 0; i < found.width(); ++i) {
        double x = expected.logits[first + r][i], d = found[r][i] - x;
        difference += d * d;
        size += x * x;
      }
    EXPECT_LE(std::sqrt(difference), tolerance * std::sqrt(size))
        << what << " of seed " << GetParam() << ", in " << folder << "\n"
        << model.source();
  }

  std::filesystem::path folder;
};
} // namespace

TEST_P(ModelTest, AgreesWithNaiveModel) {
  RandomModel model(GetParam());
  naive::Result expected =
      naive::run(model.config, model.tensors, model.tokens, model.images);
  if (expected.clearance < 1e-5)
    GTEST_SKIP() << "a rounding could change what is selected: "
                 << expected.clearance;
  ASSERT_NO_FATAL_FAILURE(compile(model));
  moe::Engine engine(2);
  moe::Model loaded = moe::Model::load(engine, folder / "model.so");
  moe::Session session(loaded);
  size_t count = model.tokens.size();
  Inputs all(model, 0, count);
  moe::Item whole = all.item();
  moe::Logits logits = session.step("score", &whole, 1);
  ASSERT_EQ(logits.rows(), count);
  compare(model, expected, 0, logits, "score");

  // The same over the cache, in two steps cut outside an image.
  size_t cut = count / 2;
  while (cut > 0 && model.tokens[cut].isImage)
    --cut;
  moe::Sequence sequence = session.create_sequence();
  for (auto [first, end] : {std::pair(size_t(0), cut), std::pair(cut, count)}) {
    if (first == end)
      continue;
    Inputs part(model, first, end);
    moe::Item item = part.item();
    item.sequence = sequence.get();
    moe::Logits step = session.step("prefill", &item, 1);
    ASSERT_EQ(step.rows(), end - first);
    compare(model, expected, first, step, first ? "second step" : "first step");
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, ModelTest,
                         ::testing::Range(number("MOEC_PROPERTY_FIRST", 1),
                                          number("MOEC_PROPERTY_FIRST", 1) +
                                              number("MOEC_PROPERTY_COUNT",
                                                     10)));
