// MakeManifest.cpp - writes the manifests and weights of the fake artifacts
// into the folder given as the only argument.

#include "runtime/abi/manifest_generated.h"
#include "test/unit/runtime/fake/FakeModel.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

using namespace moe::manifest;

namespace {

std::vector<float> embedding() {
  std::vector<float> values;
  for (int id = 0; id < FAKE_VOCAB; ++id)
    for (int i = 0; i < FAKE_HIDDEN; ++i)
      values.push_back(fake_embedding(id, i));
  return values;
}

std::vector<float> head(float factor) {
  std::vector<float> values;
  for (int i = 0; i < FAKE_HIDDEN; ++i)
    for (int j = 0; j < FAKE_LOGITS; ++j)
      values.push_back(fake_head(i, j) * factor);
  return values;
}

void addModalities(ManifestT &manifest) {
  auto &text = *manifest.modalities.emplace_back(new ModalityT);
  text.name = "text";
  text.id = FAKE_TEXT;
  text.vocab = FAKE_VOCAB;
  text.tokens_per_input = 1;
  auto &image = *manifest.modalities.emplace_back(new ModalityT);
  image.name = "image";
  image.id = FAKE_IMAGE;
  image.input = InputKind::raw;
  image.raw_dtype = DType::u8;
  image.raw_shape = {FAKE_IMAGE_TOKENS, FAKE_HIDDEN, 1};
  image.tokens_per_input = FAKE_IMAGE_TOKENS;
  auto &wide = *manifest.modalities.emplace_back(new ModalityT);
  wide.name = "wide";
  wide.id = FAKE_WIDE;
  wide.vocab = FAKE_WIDE_VOCAB;
  wide.tokens_per_input = 1;
}

void addFunction(ManifestT &manifest, const char *name, uint32_t width,
                 uint32_t cache, uint32_t longest,
                 std::vector<uint8_t> modalities) {
  auto &function = *manifest.functions.emplace_back(new FunctionT);
  function.name = name;
  function.cache_tokens = cache;
  function.max_sequence = longest;
  function.modalities = std::move(modalities);
  auto &logits = *function.outputs.emplace_back(new OutputT);
  logits.name = "logits";
  logits.width = width;
  auto &trace = *function.outputs.emplace_back(new OutputT);
  trace.name = "trace";
  trace.width = FAKE_TRACE;
}

EntryT &addEntry(ManifestT &manifest, const char *name, uint32_t function,
                 bool lastOnly) {
  auto &entry = *manifest.entries.emplace_back(new EntryT);
  entry.name = name;
  entry.function = function;
  entry.last_only = lastOnly;
  return entry;
}

void addSegment(EntryT &entry, std::vector<uint8_t> modalities, bool optional,
                uint32_t min, uint32_t max) {
  auto &segment = *entry.layout.emplace_back(new LayoutSegmentT);
  segment.modalities = std::move(modalities);
  segment.optional = optional;
  segment.min = min;
  segment.max = max;
}

void addEntries(ManifestT &manifest) {
  for (const bool lastOnly : {true, false}) {
    auto &entry =
        addEntry(manifest, lastOnly ? "prefill" : "study", 0, lastOnly);
    entry.routing_out = entry.routing_in = entry.expert_mask =
        entry.router_bias = entry.k_override = !lastOnly;
    addSegment(entry, {FAKE_IMAGE}, true, 1, 1);
    addSegment(entry, {FAKE_TEXT}, false, 1, 150);
  }
  addSegment(addEntry(manifest, "decode", 0, false), {FAKE_TEXT}, false, 1, 1);
  addSegment(addEntry(manifest, "mixed", 0, true), {FAKE_TEXT, FAKE_IMAGE},
             false, 1, 190);
  addSegment(addEntry(manifest, "score", 1, false), {FAKE_TEXT, FAKE_WIDE},
             false, 1, 150);
}

void addStates(ManifestT &manifest) {
  auto &values = *manifest.states.emplace_back(new StateT);
  values.name = "values";
  values.dtype = DType::f32;
  values.width = FAKE_HIDDEN;
  values.cache_tokens = FAKE_CACHE;
  auto &marks = *manifest.states.emplace_back(new StateT);
  marks.name = "marks";
  marks.dtype = DType::bf16;
  marks.width = 2;
  marks.cache_tokens = FAKE_CACHE;
}

void addWeight(ManifestT &manifest, const char *name,
               std::vector<uint64_t> shape, const std::vector<float> &values,
               const std::string &file, const char *device = "cpu") {
  const uint64_t bytes = values.size() * sizeof(float);
  const uint64_t checksum = XXH3_64bits(values.data(), bytes);
  auto &weight = *manifest.weights.emplace_back(new WeightT);
  weight.name = name;
  weight.layer = weight.expert = -1;
  weight.role = name;
  weight.shape = std::move(shape);
  weight.dtype = DType::f32;
  weight.format = "plain";
  weight.layout = "row_major";
  weight.segment = static_cast<uint32_t>(manifest.segments.size());
  weight.bytes = bytes;
  weight.checksum = checksum;
  auto &segment = *manifest.segments.emplace_back(new SegmentT);
  segment.device = device;
  segment.bytes = bytes;
  segment.file = file;
  segment.checksum = checksum;
}

/// What the decoder does between its barriers.
void addKernels(const ManifestT &manifest, VariantT &variant) {
  variant.intervals = FAKE_INTERVALS;
  for (uint32_t i = 0; i < FAKE_INTERVALS; ++i) {
    auto &kernel = *variant.kernels.emplace_back(new KernelT);
    kernel.interval = i;
    kernel.kind = "rows";
    kernel.layer = kernel.weight = -1;
  }
  auto &append = *variant.kernels[FAKE_INTERVALS - 2];
  append.kind = "append";
  append.layer = 0;
  auto &head = *variant.kernels[FAKE_INTERVALS - 1];
  head.kind = "head";
  head.weight = 1;
  head.weights = 1;
  head.weight_bytes = manifest.weights[1]->bytes;
  head.weight_elements = FAKE_HIDDEN * FAKE_LOGITS;
  head.result_rows = 1;
}

/// Each launch is an interval.
void addDeviceKernels(VariantT &variant) {
  variant.intervals = FAKE_DEVICE_INTERVALS;
  for (uint32_t i = 0; i < FAKE_DEVICE_INTERVALS; ++i) {
    auto &kernel = *variant.kernels.emplace_back(new KernelT);
    kernel.interval = i;
    kernel.kind = i ? "head" : "append";
    kernel.layer = kernel.weight = -1;
  }
}

void addVariant(ManifestT &manifest, uint32_t function, const char *isa,
                std::vector<std::string> features, uint64_t min, uint64_t max,
                std::vector<uint8_t> modalities,
                std::vector<uint32_t> weights = {}) {
  auto &variant = *manifest.variants.emplace_back(new VariantT);
  variant.function = function;
  variant.device = std::string(isa, 0, 3) == "sm_" ? "cuda" : "cpu";
  variant.weights = std::move(weights);
  variant.isa = isa;
  variant.features = std::move(features);
  variant.min_tokens = min;
  variant.max_tokens = max;
  variant.modalities = std::move(modalities);
  variant.scratch = "512 + 64 T";
  if (variant.device == "cuda" && !variant.weights.empty())
    addDeviceKernels(variant);
  if (variant.device == "cpu" && function == 0)
    addKernels(manifest, variant);
}

enum class Kind { Embedded, External, Device };

void addVariants(ManifestT &manifest, Kind kind) {
  const std::vector<std::string> avx2 = {"+avx2", "+fma"};
  const std::vector<std::string> avx512 = {"avx512f", "avx512bw", "avx512dq",
                                           "avx512vl"};
  constexpr uint64_t kMost = 100000;
  const std::vector<uint8_t> both = {FAKE_TEXT, FAKE_IMAGE};
  addVariant(manifest, 0, "avx512", avx512, 1, kMost, both);
  addVariant(manifest, 0, "avx2", avx2, 1, kMost, {FAKE_TEXT});
  addVariant(manifest, 0, "generic", {}, 1, 4, both);
  addVariant(manifest, 0, "generic", {}, 5, kMost, both);
  const std::vector<uint8_t> ids = {FAKE_TEXT, FAKE_WIDE};
  addVariant(manifest, 1, "avx512", avx512, 1, kMost, ids);
  addVariant(manifest, 1, "avx2", avx2, 1, kMost, ids);
  addVariant(manifest, 1, "generic", {}, 1, kMost, ids);
  if (kind != Kind::Device) {
    addVariant(manifest, 0, "sm_90", {}, 1, kMost, both);
    return;
  }
  for (const char *level : {"sm_80", "sm_90a"}) {
    addVariant(manifest, 0, level, {}, 1, kMost, both, {0, 2});
    addVariant(manifest, 1, level, {}, 1, kMost, ids);
  }
}

ManifestT makeManifest(Kind kind) {
  ManifestT manifest;
  manifest.abi_version = 1;
  manifest.compiler = "0.0.0";
  manifest.build_identity = "by hand";
  manifest.model = "fake";
  manifest.target = "x86_64-unknown-linux-gnu";
  manifest.source = "fake.moe";
  manifest.ignored = {"unused.*"};
  addModalities(manifest);
  addFunction(manifest, "decoder", FAKE_LOGITS, FAKE_CACHE, 0,
              {FAKE_TEXT, FAKE_IMAGE});
  addFunction(manifest, "scorer", FAKE_SCORES, 0, FAKE_MAX_SEQUENCE,
              {FAKE_TEXT, FAKE_WIDE});
  addEntries(manifest);
  addStates(manifest);
  addWeight(manifest, "embed", {FAKE_VOCAB, FAKE_HIDDEN}, embedding(), "");
  addWeight(manifest, "head", {FAKE_HIDDEN, FAKE_LOGITS}, head(1),
            kind == Kind::External ? "fake.weights" : "");
  if (kind == Kind::Device)
    addWeight(manifest, "head.cuda", {FAKE_HIDDEN, FAKE_LOGITS}, head(-1),
              "fake.cuda.weights", "cuda");
  addVariants(manifest, kind);
  auto &router = *manifest.routers.emplace_back(new RouterT);
  router.layer = 0;
  router.name = "route";
  router.experts = FAKE_EXPERTS;
  router.slots = FAKE_SLOTS_PER_TOKEN;
  router.guarantees = {"distinct", "token_local"};
  router.weighs_any = true;
  auto &unused = *manifest.routers.emplace_back(new RouterT);
  unused.layer = 1;
  unused.name = "unused";
  unused.experts = 8;
  unused.slots = 3;
  return manifest;
}

bool write(const std::string &path, const void *data, size_t bytes) {
  std::ofstream out(path, std::ios::binary);
  out.write(static_cast<const char *>(data),
            static_cast<std::streamsize>(bytes));
  out.close();
  return out.good();
}

bool writeManifest(const std::string &path, Kind kind) {
  flatbuffers::FlatBufferBuilder builder;
  const ManifestT manifest = makeManifest(kind);
  FinishManifestBuffer(builder, Manifest::Pack(builder, &manifest));
  std::vector<uint8_t> bytes(builder.GetBufferPointer(),
                             builder.GetBufferPointer() + builder.GetSize());
  if (bytes.size() > FAKE_MANIFEST_BYTES)
    return false;
  bytes.resize(FAKE_MANIFEST_BYTES);
  return write(path, bytes.data(), bytes.size());
}

} // namespace

int main(int argc, char **argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make-manifest FOLDER\n");
    return 2;
  }
  const std::string folder = argv[1];
  const std::vector<float> embed = embedding();
  const std::vector<float> output = head(1);
  const std::vector<float> onDevice = head(-1);
  const bool done = writeManifest(folder + "/embedded.moem", Kind::Embedded) &&
                    writeManifest(folder + "/external.moem", Kind::External) &&
                    writeManifest(folder + "/device.moem", Kind::Device) &&
                    write(folder + "/embed.bin", embed.data(),
                          embed.size() * sizeof(float)) &&
                    write(folder + "/fake.weights", output.data(),
                          output.size() * sizeof(float)) &&
                    write(folder + "/fake.cuda.weights", onDevice.data(),
                          onDevice.size() * sizeof(float));
  if (!done)
    std::fprintf(stderr, "make-manifest: cannot write into %s\n", argv[1]);
  return done ? 0 : 1;
}
