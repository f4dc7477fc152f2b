//===- VariantTest.cpp - Which variant runs -------------------------------===//

#include "test/unit/runtime/RuntimeTestSupport.h"

using namespace moe;
using namespace moe::test;

namespace {

#if defined(__x86_64__)
// The compiler's own detection, which shares no code with the runtime's.
bool hasAvx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
bool hasAvx512() {
  return __builtin_cpu_supports("avx512f") &&
         __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}
#else
bool hasAvx2() { return false; }
bool hasAvx512() { return false; }
#endif

class VariantChoice : public testing::Test {
protected:
  /// The variant that runs `text`, as the generated code reports it.
  int variantOf(const char *isa, const std::string &text,
                bool withImage = false) {
    const ScopedEnvironment environment("MOE_ISA", isa);
    const Model model = Model::load(engine, artifact.path());
    Session session(model);
    Sequence sequence = session.create_sequence();
    const std::vector<uint8_t> pixels(6, 1);
    if (withImage)
      session.step("mixed", sequence,
                   {input("image", pixels), input("text", text)});
    else
      session.step("mixed", sequence, {input("text", text)});
    const int variant = static_cast<int>(session.output(1)[0][0]);
    EXPECT_EQ(session.stats().last_variant, static_cast<unsigned>(variant));
    return variant;
  }

  FakeArtifact artifact;
  Engine engine{1};
};

TEST_F(VariantChoice, GenericByTokens) {
  EXPECT_EQ(variantOf("generic", "abcd"), FAKE_DECODER_SMALL);
  EXPECT_EQ(variantOf("generic", "abcde"), FAKE_DECODER_LARGE);
}

TEST_F(VariantChoice, FirstThatFitsTheProcessor) {
  const int best = hasAvx512() ? FAKE_DECODER_AVX512
                   : hasAvx2() ? FAKE_DECODER_AVX2
                               : FAKE_DECODER_SMALL;
  EXPECT_EQ(variantOf(nullptr, "abcd"), best);
  EXPECT_EQ(variantOf("", "abcd"), best);
  // The avx2 variant takes text only.
  EXPECT_EQ(variantOf(nullptr, "abcd", true),
            hasAvx512() ? FAKE_DECODER_AVX512 : FAKE_DECODER_LARGE);
  const Model model = Model::load(engine, artifact.path());
  EXPECT_EQ(model.variant(FAKE_DECODER_AVX512).available != 0, hasAvx512());
  EXPECT_EQ(model.variant(FAKE_DECODER_AVX2).available != 0, hasAvx2());
  EXPECT_EQ(model.variant(FAKE_DECODER_SMALL).available, 1u);
  EXPECT_EQ(model.variant(FAKE_DECODER_CUDA).available, 0u);
}

TEST_F(VariantChoice, ForcedLevels) {
  const ScopedEnvironment environment("MOE_ISA", "generic");
  const Model model = Model::load(engine, artifact.path());
  EXPECT_EQ(model.variant(FAKE_DECODER_AVX2).available, 0u);
  EXPECT_EQ(model.variant(FAKE_SCORER_GENERIC).available, 1u);
  for (const bool wide : {false, true}) {
    const char *isa = wide ? "avx512" : "avx2";
    const bool has = wide ? hasAvx512() : hasAvx2();
    if (has) {
      EXPECT_EQ(variantOf(isa, "abc"),
                wide ? FAKE_DECODER_AVX512 : FAKE_DECODER_AVX2);
    } else {
      EXPECT_FAILURE(variantOf(isa, "abc"), MOE_ERROR_UNSUPPORTED,
                     "expected a level that this processor has, but it lacks");
    }
  }
}

TEST_F(VariantChoice, UnknownLevel) {
  EXPECT_FAILURE(variantOf("avx3", "abc"), MOE_ERROR_INVALID_ARGUMENT,
                 "MOE_ISA: expected generic, avx2 or avx512, found 'avx3'");
}

TEST_F(VariantChoice, LevelThatTheArtifactLacks) {
  manifest::ManifestT manifest = artifact.manifest();
  manifest.variants[FAKE_SCORER_GENERIC]->isa = "avx2";
  artifact.setManifest(manifest);
  EXPECT_FAILURE(variantOf("generic", "abc"), MOE_ERROR_UNSUPPORTED,
                 "function 'scorer' has no variant for MOE_ISA=generic, found "
                 "cpu avx2, cpu avx512");
}

TEST_F(VariantChoice, NoneForTheBatch) {
  manifest::ManifestT manifest = artifact.manifest();
  manifest.variants[FAKE_DECODER_LARGE]->max_tokens = 10;
  artifact.setManifest(manifest);
  EXPECT_FAILURE(variantOf("generic", "eleven text"), MOE_ERROR_UNSUPPORTED,
                 "(generic 1..4, generic 5..10 tokens, each for some "
                 "modalities), found 11 tokens");
}

} // namespace
