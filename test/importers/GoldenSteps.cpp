//===- GoldenSteps.cpp - All logits of a compiled decoder ----------------===//
//
//   golden-steps ARTIFACT PREFILL ID,ID,... OUTPUT [ROWS]
//
// Runs the first PREFILL tokens as one prefill, the others as steps of decode,
// and all of them as one score without a cache. Writes f32 rows to OUTPUT: the
// last of the prefill, one of each step, all of the score. The id -1 stands for
// a token of modality `image`: the next row of f32 in the file ROWS.
//
//===----------------------------------------------------------------------===//

#include <moe/runtime.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>

static void write(std::ofstream &file, moe::Row row) {
  file.write(
      reinterpret_cast<const char *>(row.data()),
      static_cast<std::streamsize>((row.end() - row.begin()) * sizeof(float)));
}

namespace {
/// Ids, and the rows that stand for those that are -1.
struct Tokens {
  std::vector<int> ids;
  std::vector<float> rows;
  std::size_t width = 0; ///< of a row

  /// The inputs of `count` tokens from the first, runs of one modality each.
  std::vector<moe::Input> inputs(std::size_t count) const {
    std::vector<moe::Input> result;
    std::size_t row = 0;
    for (std::size_t begin = 0, end = 0; begin < count; begin = end) {
      const bool isImage = ids[begin] < 0;
      while (end < count && (ids[end] < 0) == isImage)
        ++end;
      if (isImage) {
        result.push_back(moe::input("image", MOE_F32, &rows[row * width],
                                    (end - begin) * width));
        row += end - begin;
      } else {
        result.push_back(moe::input("text", MOE_I32, &ids[begin], end - begin));
      }
    }
    return result;
  }
};
} // namespace

/// One item of a step; null for an entry without a cache.
static moe::Item itemOf(moe::Sequence *sequence,
                        const std::vector<moe::Input> &inputs) {
  moe::Item item = sequence ? moe::item(*sequence, {}) : moe::item({});
  item.inputs = inputs.data();
  item.num_inputs = inputs.size();
  return item;
}

static std::vector<float> readRows(const char *path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  std::vector<float> rows(static_cast<std::size_t>(file.tellg()) /
                          sizeof(float));
  file.seekg(0);
  file.read(reinterpret_cast<char *>(rows.data()),
            static_cast<std::streamsize>(rows.size() * sizeof(float)));
  return rows;
}

int main(int argc, char **argv) {
  if (argc != 5 && argc != 6) {
    std::fprintf(stderr,
                 "usage: golden-steps ARTIFACT PREFILL IDS OUTPUT [ROWS]\n");
    return 2;
  }
  Tokens tokens;
  std::vector<int> &ids = tokens.ids;
  for (char *text = argv[3]; *text; text += *text == ',')
    ids.push_back(static_cast<int>(std::strtol(text, &text, 10)));
  const auto prefill = static_cast<std::size_t>(std::atoi(argv[2]));
  if (argc == 6) {
    tokens.rows = readRows(argv[5]);
    const auto images = std::count(ids.begin(), ids.end(), -1);
    tokens.width = tokens.rows.size() / static_cast<std::size_t>(images);
  }
  try {
    moe::Engine engine(1);
    moe::Model model = moe::Model::load(engine, argv[1]);
    moe::Session session(model);
    std::ofstream file(argv[4], std::ios::binary);
    moe::Sequence sequence = session.create_sequence();
    const std::vector<moe::Input> first = tokens.inputs(prefill);
    const moe::Item begin = itemOf(&sequence, first);
    write(file, session.step("prefill", &begin, 1).last());
    for (std::size_t t = prefill; t < ids.size(); ++t)
      write(file,
            session.step("decode", sequence, {moe::input("text", {ids[t]})})
                .last());
    const std::vector<moe::Input> inputs = tokens.inputs(ids.size());
    const moe::Item whole = itemOf(nullptr, inputs);
    moe::Logits all = session.step("score", &whole, 1);
    for (std::size_t t = 0; t < all.rows(); ++t)
      write(file, all[t]);
    if (!file.flush()) {
      std::fprintf(stderr, "golden-steps: cannot write '%s'\n", argv[4]);
      return 1;
    }
  } catch (const moe::Error &error) {
    std::fprintf(stderr, "golden-steps: %s\n", error.what());
    return 1;
  }
  return 0;
}
