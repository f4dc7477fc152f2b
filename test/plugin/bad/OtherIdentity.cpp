//===- OtherIdentity.cpp - The identity of a build that is not this one ---===//
#include <cstdio>

extern "C" __attribute__((visibility("default")))
const char moec_plugin_identity[] =
    "moec 0.0.9, headers 0123456789abcdef, LLVM 21.1.0";

namespace {
/// The constructor of a plugin of another build must not run either.
struct Noise {
  Noise() { std::puts("CONSTRUCTED"); }
} noise;
} // namespace
