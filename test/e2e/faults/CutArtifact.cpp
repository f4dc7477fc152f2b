// CutArtifact.cpp - uses a model while the file with its weights is cut.
//
//   cut-artifact MODEL.so FILE
//
// FILE is the artifact or its side file: all weights are cut off its end.
// Prints the status and the sentence of every step.

#include "moe/runtime.hpp"

#include <cstdio>
#include <sys/stat.h>
#include <unistd.h>

static void step(const char *when, moe::Session &session,
                 moe::Sequence &sequence) {
  try {
    session.step("prefill", sequence, {moe::input("text", {1, 2, 3})});
    std::printf("%s: ok, %d tokens\n", when,
                static_cast<int>(sequence.length()));
  } catch (const moe::Error &error) {
    std::printf("%s: %s: %s\n", when, moe_status_name(error.status()),
                error.what());
  }
}

int main(int argc, char **argv) {
  if (argc != 3)
    return 2;
  try {
    moe::Engine engine(2);
    const moe::Model model = moe::Model::load(engine, argv[1]);
    moe::Session first(model);
    moe::Sequence sequence = first.create_sequence();
    step("before", first, sequence);
    struct stat info;
    if (stat(argv[2], &info) != 0 ||
        truncate(argv[2], info.st_size -
                              static_cast<off_t>(model.info().weight_bytes)))
      return 2;
    step("after", first, sequence);
    step("again", first, sequence);
    moe::Session second(model);
    moe::Sequence other = second.create_sequence();
    step("in another session", second, other);
    moe::Model::load(engine, argv[1]);
  } catch (const moe::Error &error) {
    std::printf("loading: %s: %s\n", moe_status_name(error.status()),
                error.what());
  }
  return 0;
}
