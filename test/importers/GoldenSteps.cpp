//===- GoldenSteps.cpp - All logits of a compiled decoder ----------------===//
//
//   golden-steps ARTIFACT PREFILL ID,ID,... OUTPUT [EXPORT [REPLAY]]
//
// Runs the first PREFILL tokens as one prefill, the others as steps of decode,
// and all of them as one score without a cache. Writes f32 rows to OUTPUT: the
// last of the prefill, one of each step, all of the score.
//
// EXPORT is a file for what the routers choose in score: of each router the i32
// ids and the f32 weights, [tokens, slots].
// With REPLAY, such a file, every token goes to its experts in all of these
// steps, with the weights that the routers give to them now; a router that
// weighs its own choice only takes those of the file.
//
//===----------------------------------------------------------------------===//

#include <moe/runtime.hpp>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <vector>

static void write(std::ofstream &file, moe::Row row) {
  file.write(
      reinterpret_cast<const char *>(row.data()),
      static_cast<std::streamsize>((row.end() - row.begin()) * sizeof(float)));
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

  /// Tokens `first` .. of `ids`, which come behind others of the sequence
  /// unless the entry has no cache.
  moe::Logits run(const char *entry, const std::vector<int> &ids,
                  std::size_t first, bool cached, bool keepRouting) {
    const moe::Input input = moe::input("text", ids);
    moe::Item item = cached ? moe::item(sequence, {}) : moe::item({});
    item.inputs = &input;
    item.num_inputs = 1;
    std::vector<moe::RouterInput> given;
    for (std::uint32_t r = 0; r < choices.size(); ++r) {
      const moe_router_info router = model.router(r);
      moe::RouterInput input = moe::router_input(r);
      input.ids = choices[r].ids.data() + first * router.slots;
      if (!router.weighs_any)
        input.weights = choices[r].weights.data() + first * router.slots;
      input.tokens = ids.size();
      given.push_back(input);
    }
    return session.step(entry, &item, 1, keepRouting, /*keepTrace=*/false,
                        given);
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
  if (argc < 5 || argc > 7) {
    std::fprintf(stderr, "usage: golden-steps ARTIFACT PREFILL IDS OUTPUT "
                         "[EXPORT [REPLAY]]\n");
    return 2;
  }
  std::vector<int> ids;
  for (char *text = argv[3]; *text; text += *text == ',')
    ids.push_back(static_cast<int>(std::strtol(text, &text, 10)));
  const auto prefill = static_cast<std::size_t>(std::atoi(argv[2]));
  const bool exports = argc > 5;
  try {
    moe::Engine engine(1);
    moe::Model model = moe::Model::load(engine, argv[1]);
    Steps steps(model, ids.size(), argc > 6 ? argv[6] : nullptr);
    std::ofstream file(argv[4], std::ios::binary);
    std::vector<int> first(ids.begin(), ids.begin() + prefill);
    write(file, steps.run("prefill", first, 0, true, false).last());
    for (std::size_t t = prefill; t < ids.size(); ++t)
      write(file, steps.run("decode", {ids[t]}, t, true, false).last());
    moe::Logits all = steps.run("score", ids, 0, false, exports);
    for (std::size_t t = 0; t < all.rows(); ++t)
      write(file, all[t]);
    if (exports)
      steps.exportRouting(argv[5]);
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
