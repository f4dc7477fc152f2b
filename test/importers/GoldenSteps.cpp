//===- GoldenSteps.cpp - All logits of a compiled decoder ----------------===//
//
//   golden-steps ARTIFACT PREFILL ID,ID,... OUTPUT
//
// Runs the first PREFILL tokens as one prefill, the others as steps of decode,
// and all of them as one score without a cache. Writes f32 rows to OUTPUT: the
// last of the prefill, one of each step, all of the score.
//
//===----------------------------------------------------------------------===//

#include <moe/runtime.hpp>

#include <cstdio>
#include <cstdlib>
#include <fstream>

static void write(std::ofstream &file, moe::Row row) {
  file.write(reinterpret_cast<const char *>(row.data()),
             static_cast<std::streamsize>((row.end() - row.begin()) *
                                          sizeof(float)));
}

int main(int argc, char **argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: golden-steps ARTIFACT PREFILL IDS OUTPUT\n");
    return 2;
  }
  std::vector<int> ids;
  for (char *text = argv[3]; *text; text += *text == ',')
    ids.push_back(static_cast<int>(std::strtol(text, &text, 10)));
  const auto prefill = static_cast<std::size_t>(std::atoi(argv[2]));
  try {
    moe::Engine engine(1);
    moe::Model model = moe::Model::load(engine, argv[1]);
    moe::Session session(model);
    std::ofstream file(argv[4], std::ios::binary);
    moe::Sequence sequence = session.create_sequence();
    std::vector<int> first(ids.begin(), ids.begin() + prefill);
    write(file, session.step("prefill", sequence, {moe::input("text", first)})
                    .last());
    for (std::size_t t = prefill; t < ids.size(); ++t)
      write(file, session
                      .step("decode", sequence, {moe::input("text", {ids[t]})})
                      .last());
    moe::Logits all = session.step("score", {moe::input("text", ids)});
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
