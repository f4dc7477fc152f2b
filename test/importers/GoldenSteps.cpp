//===- GoldenSteps.cpp - All logits of a compiled decoder ----------------===//
//
//   golden-steps ARTIFACT PREFILL ID,ID,... OUTPUT
//                [--rows=FILE] [--export=FILE] [--replay=FILE]
//
// Runs the first PREFILL tokens as one prefill, the others as steps of decode,
// and all of them as one score without a cache. Writes f32 rows to OUTPUT: the
// last of the prefill, one of each step, all of the score. The id -1 stands for
// a token of modality `image`: the next row of f32 in the file of --rows.
//
// --export writes what the routers choose in score: of each router the i32 ids
// and the f32 weights, [tokens, slots]. With --replay of such a file every
// token goes to its experts in all of these steps, with the weights that the
// routers give to them now; a router that weighs its own choice only takes
// those of the file.
//
//===----------------------------------------------------------------------===//

#include <moe/runtime.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

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

static std::vector<float> readRows(const char *path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  std::vector<float> rows(static_cast<std::size_t>(file.tellg()) /
                          sizeof(float));
  file.seekg(0);
  file.read(reinterpret_cast<char *>(rows.data()),
            static_cast<std::streamsize>(rows.size() * sizeof(float)));
  return rows;
}

template <typename Element>
static void write(std::ofstream &file, const Element *data, std::size_t count) {
  file.write(reinterpret_cast<const char *>(data),
             static_cast<std::streamsize>(count * sizeof(Element)));
}

template <typename Element>
static std::vector<Element> read(std::ifstream &file, std::size_t count) {
  std::vector<Element> data(count);
  if (!file.read(reinterpret_cast<char *>(data.data()),
                 static_cast<std::streamsize>(count * sizeof(Element)))) {
    std::fprintf(stderr, "golden-steps: the routing is too short\n");
    std::exit(1);
  }
  return data;
}

namespace {
/// Steps of one model, whose tokens may have their experts already.
class Steps {
public:
  Steps(const moe::Model &model, std::size_t tokens, const char *replay)
      : model(model), session(model), sequence(session.create_sequence()) {
    if (!replay)
      return;
    std::ifstream file(replay, std::ios::binary);
    for (std::uint32_t r = 0; r < model.info().num_routers; ++r) {
      const std::size_t slots = model.router(r).slots;
      choices.push_back(
          {read<int>(file, tokens * slots), read<float>(file, tokens * slots)});
    }
  }

  /// `inputs`, the `count` tokens from `first` on, which come behind others of
  /// the sequence unless the entry has no cache.
  moe::Logits run(const char *entry, const std::vector<moe::Input> &inputs,
                  std::size_t first, std::size_t count, bool cached,
                  bool keepRouting) {
    moe::Item item = cached ? moe::item(sequence, {}) : moe::item({});
    item.inputs = inputs.data();
    item.num_inputs = inputs.size();
    std::vector<moe::RouterInput> given;
    for (std::uint32_t r = 0; r < choices.size(); ++r) {
      const moe_router_info router = model.router(r);
      moe::RouterInput input = moe::router_input(r);
      input.ids = choices[r].ids.data() + first * router.slots;
      if (!router.weighs_any)
        input.weights = choices[r].weights.data() + first * router.slots;
      input.tokens = count;
      given.push_back(input);
    }
    return session.step(entry, &item, 1, keepRouting, MOE_TRACE_NONE, given);
  }
  void exportRouting(const char *path) {
    std::ofstream file(path, std::ios::binary);
    for (std::uint32_t r = 0; r < model.info().num_routers; ++r) {
      const moe::Routing routing = session.routing(r);
      write(file, routing.ids(), routing.tokens() * routing.slots());
      write(file, routing.weights(), routing.tokens() * routing.slots());
    }
  }

private:
  struct Choice {
    std::vector<int> ids;
    std::vector<float> weights;
  };

  const moe::Model &model;
  moe::Session session;
  moe::Sequence sequence;
  std::vector<Choice> choices; // of the routers; empty: they choose
};
} // namespace

int main(int argc, char **argv) {
  const char *rowsFile = nullptr, *exportFile = nullptr, *replayFile = nullptr;
  bool isGood = argc >= 5;
  for (int i = 5; i < argc; ++i) {
    const std::string word = argv[i];
    const auto isOption = [&](const char *name, const char *&value) {
      const std::size_t length = std::strlen(name);
      if (word.compare(0, length, name) == 0)
        value = argv[i] + length;
      return value == argv[i] + length;
    };
    isGood = isGood && (isOption("--rows=", rowsFile) ||
                        isOption("--export=", exportFile) ||
                        isOption("--replay=", replayFile));
  }
  if (!isGood) {
    std::fprintf(stderr, "usage: golden-steps ARTIFACT PREFILL IDS OUTPUT "
                         "[--rows=FILE] [--export=FILE] [--replay=FILE]\n");
    return 2;
  }
  Tokens tokens;
  std::vector<int> &ids = tokens.ids;
  for (char *text = argv[3]; *text; text += *text == ',')
    ids.push_back(static_cast<int>(std::strtol(text, &text, 10)));
  const auto prefill = static_cast<std::size_t>(std::atoi(argv[2]));
  if (rowsFile) {
    tokens.rows = readRows(rowsFile);
    const auto images = std::count(ids.begin(), ids.end(), -1);
    tokens.width = tokens.rows.size() / static_cast<std::size_t>(images);
  }
  try {
    moe::Engine engine(1);
    moe::Model model = moe::Model::load(engine, argv[1]);
    Steps steps(model, ids.size(), replayFile);
    std::ofstream file(argv[4], std::ios::binary);
    const std::vector<moe::Input> first = tokens.inputs(prefill);
    write(file, steps.run("prefill", first, 0, prefill, true, false).last());
    for (std::size_t t = prefill; t < ids.size(); ++t)
      write(
          file,
          steps.run("decode", {moe::input("text", {ids[t]})}, t, 1, true, false)
              .last());
    const std::vector<moe::Input> inputs = tokens.inputs(ids.size());
    moe::Logits all =
        steps.run("score", inputs, 0, ids.size(), false, exportFile != nullptr);
    for (std::size_t t = 0; t < all.rows(); ++t)
      write(file, all[t]);
    if (exportFile)
      steps.exportRouting(exportFile);
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
