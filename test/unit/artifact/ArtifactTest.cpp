//===- ArtifactTest.cpp - A whole artifact from a small module ------------===//

#include "compiler/artifact/ArtifactWriter.h"

#include "ArtifactTestSupport.h"

#include "compiler/artifact/ElfPatcher.h"
#include "compiler/artifact/ManifestBuilder.h"
#include "compiler/artifact/StandingArtifact.h"
#include "runtime/abi/manifest_generated.h"
#include "runtime/abi/moe_abi.h"

#include "llvm/Support/xxhash.h"

#include <gtest/gtest.h>

#include <cstring>
#include <dlfcn.h>
#include <filesystem>

using namespace moec;
using namespace moec::test;
namespace fb = ::moe::manifest;

namespace {

// A model whose step multiplies the second weight by the number of tokens.
constexpr const char *tinyModel = R"mlir(
module attributes {
  moe.model = "tiny", moe.source = "tiny.moe", moe.dtype = bf16,
  moe.compute = f32, moe.ignored = ["optimizer.*"],
  moe.stop_tokens = array<i64: 7, 255>,
  moe.functions = [{name = "step", outputs = [["logits", 2 : i64]],
    cache_tokens = 64 : i64, max_sequence = 64 : i64,
    modalities = array<i64: 0, 1>}],
  moe.routers = [{layer = 0 : i64, name = "router", experts = 8 : i64,
    slots = 2 : i64, guarantees = ["distinct", "token_local"]}],
  moex.variants = [{function = "step", isa = "generic", features = ["+sse2"],
    scratch = "128 * T", intervals = 2 : i64, kernels = [
      {interval = 0 : i64, kind = "lookup", weights = array<i64>},
      {interval = 1 : i64, kind = "experts up", layer = 1 : i64,
       weights = array<i64: 1, 0>, experts = 8 : i64, elements = 4 : i64,
       token_rows = 2 : i64}]}]} {
  moe.modality @text id = 0 token vocab = 256
  moe.modality @image id = 1 raw tensor<28x28x1xui8> tokens = 49
  nn.state @k per_token : tensor<128xbf16> cache_tokens = 64 layer = 2
  moe.weight @a : tensor<3xbf16> from [#moe.tensor<"a">]
    format = #moeq.plain<bf16> layout = #moeq.row_major
  moe.weight @b : tensor<2x2xf32> from [#moe.tensor<"b">]
    format = #moeq.plain<f32> layout = #moeq.row_blocks<16>
    layer = 1 expert = 5 role = "up"
  func.func private @step()
  moe.entry @run function = @step last layout =
    [#moe.segment<modalities = [1], min = 0, max = 1>,
     #moe.segment<modalities = [0], min = 1, max = 9>]
  llvm.func @step_scratch__generic(%extents: !llvm.ptr) -> i64 {
    %at = llvm.getelementptr %extents[8] : (!llvm.ptr) -> !llvm.ptr, i8
    %tokens = llvm.load %at : !llvm.ptr -> i64
    %each = llvm.mlir.constant(128 : i64) : i64
    %bytes = llvm.mul %tokens, %each : i64
    llvm.return %bytes : i64
  }
  llvm.func @step_step__generic(%step: !llvm.ptr) -> i32 {
    %weights_at = llvm.getelementptr %step[24] : (!llvm.ptr) -> !llvm.ptr, i8
    %weights = llvm.load %weights_at : !llvm.ptr -> !llvm.ptr
    %b_at = llvm.getelementptr %weights[8] : (!llvm.ptr) -> !llvm.ptr, i8
    %b = llvm.load %b_at : !llvm.ptr -> !llvm.ptr
    %value = llvm.load %b : !llvm.ptr -> f32
    %outputs_at = llvm.getelementptr %step[48] : (!llvm.ptr) -> !llvm.ptr, i8
    %outputs = llvm.load %outputs_at : !llvm.ptr -> !llvm.ptr
    %logits = llvm.load %outputs : !llvm.ptr -> !llvm.ptr
    %twice = llvm.fadd %value, %value : f32
    llvm.store %twice, %logits : f32, !llvm.ptr
    %ok = llvm.mlir.constant(0 : i32) : i32
    llvm.return %ok : i32
  }
})mlir";

/// A loaded artifact.
class Library {
public:
  explicit Library(const std::string &path)
      : handle(dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) {
    EXPECT_TRUE(handle) << dlerror();
  }
  ~Library() {
    if (handle)
      dlclose(handle);
  }
  moe_model_query_v1_fn query() const {
    return reinterpret_cast<moe_model_query_v1_fn>(
        dlsym(handle, MOE_MODEL_QUERY_SYMBOL));
  }

private:
  void *handle;
};

int32_t runParallel(void *, moe_region_fn, void *) { return 0; }
void barrier(const moe_worker_v1 *) {}

moe_host_v1 makeHost() {
  return {sizeof(moe_host_v1), MOE_ABI_VERSION, 0, nullptr,
          runParallel,         barrier,         /*launch=*/nullptr};
}

class Artifact : public ::testing::Test {
protected:
  Artifact() : diagnostics(sources) {
    auto source = std::make_unique<MemorySource>();
    source->add("a", DType::BF16, {3},
                std::vector<uint16_t>{0x3f80, 0x4000, 0x4040});
    source->add("b", DType::F32, {2, 2}, std::vector<float>{1.25f, 2, 3, 4});
    EXPECT_TRUE(files.add("", std::move(source), SourceRange(), diagnostics));
  }

  bool write(const std::string &path, const ArtifactOptions &options = {},
             const char *model = tinyModel) {
    auto module = test.parse(model);
    FileWeights weights(files);
    return module && succeeded(writeArtifact(*module, options, weights, path));
  }

  /// The bytes of the manifest's section.
  std::string manifestOf(std::string library) {
    auto section = ElfPatcher(library).findSection(MOE_MANIFEST_SECTION);
    EXPECT_TRUE(static_cast<bool>(section));
    return library.substr(section->offset, section->bytes);
  }

  TestContext test;
  SourceManager sources;
  Diagnostics diagnostics;
  TensorFiles files;
  TemporaryFolder folder;
};

TEST_F(Artifact, LoadsAndRuns) {
  std::string path = folder.file("tiny.so");
  ASSERT_TRUE(write(path)) << test.errors;
  EXPECT_EQ(folder.list(), std::vector<std::string>{"tiny.so"});

  Library library(path);
  moe_host_v1 host = makeHost();
  const moe_model_v1 *model = library.query()(MOE_ABI_VERSION, &host);
  ASSERT_TRUE(model);
  EXPECT_EQ(model->size, sizeof(moe_model_v1));
  EXPECT_EQ(model->abi_version, MOE_ABI_VERSION);
  EXPECT_EQ(model->num_variants, 1u);
  EXPECT_EQ(model->num_segments, 1u);
  EXPECT_EQ(model->variants->size, sizeof(moe_variant_v1));
  EXPECT_EQ(model->segments->size, sizeof(moe_segment_v1));

  // The first weight has 6 bytes, the second 16 x 2 padded floats.
  EXPECT_EQ(model->segments->bytes, 64u + 128u);
  const auto *data = static_cast<const char *>(model->segments->data);
  ASSERT_TRUE(data);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % 4096, 0u);
  const uint16_t a[] = {0x3f80, 0x4000, 0x4040};
  EXPECT_EQ(std::memcmp(data, a, sizeof(a)), 0);
  float b[32];
  std::memcpy(b, data + 64, sizeof(b));
  EXPECT_EQ(b[0], 1.25f); // row 0, column 0
  EXPECT_EQ(b[1], 3.0f);  // row 1, column 0
  EXPECT_EQ(b[16], 2.0f); // row 0, column 1
  EXPECT_EQ(b[31], 0.0f); // padding

  moe_extents_v1 extents = {};
  extents.size = sizeof(extents);
  extents.tokens = 3;
  EXPECT_EQ(model->variants->scratch_bytes(&extents), 384u);
  const void *weights[] = {data, data + 64};
  float logits[2] = {};
  void *outputs[] = {logits};
  moe_step_v1 step = {};
  step.size = sizeof(step);
  step.weights = weights;
  step.outputs = outputs;
  EXPECT_EQ(model->variants->step(&step), MOE_STEP_OK);
  EXPECT_EQ(logits[0], 2.5f);
}

TEST_F(Artifact, QueryRefusesHostsThatLackSomething) {
  std::string path = folder.file("tiny.so");
  ASSERT_TRUE(write(path)) << test.errors;
  Library library(path);
  moe_host_v1 host = makeHost();
  EXPECT_TRUE(library.query()(MOE_ABI_VERSION + 1, &host));
  EXPECT_FALSE(library.query()(MOE_ABI_VERSION - 1, &host));
  EXPECT_FALSE(library.query()(MOE_ABI_VERSION, nullptr));
  host.size = offsetof(moe_host_v1, barrier);
  EXPECT_FALSE(library.query()(MOE_ABI_VERSION, &host));
  host = makeHost();
  host.parallel = nullptr;
  EXPECT_FALSE(library.query()(MOE_ABI_VERSION, &host));
}

TEST_F(Artifact, ExportsOneSymbolAndImportsNone) {
  std::string path = folder.file("tiny.so");
  ASSERT_TRUE(write(path)) << test.errors;
  std::string bytes = readFile(path);
  ElfPatcher elf(bytes);
  auto exported = elf.exportedSymbols();
  ASSERT_TRUE(static_cast<bool>(exported));
  EXPECT_EQ(*exported, std::vector<std::string>{MOE_MODEL_QUERY_SYMBOL});
  auto undefined = elf.undefinedSymbols();
  ASSERT_TRUE(static_cast<bool>(undefined));
  EXPECT_EQ(*undefined, std::vector<std::string>{});
}

TEST_F(Artifact, ManifestDescribesTheModel) {
  std::string path = folder.file("tiny.so");
  ASSERT_TRUE(write(path)) << test.errors;
  std::string library = readFile(path);
  std::string bytes = manifestOf(library);
  flatbuffers::Verifier verifier(
      reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size());
  ASSERT_TRUE(fb::VerifyManifestBuffer(verifier));
  fb::ManifestT m;
  fb::GetManifest(bytes.data())->UnPackTo(&m);

  EXPECT_EQ(m.abi_version, MOE_ABI_VERSION);
  EXPECT_EQ(m.schema_hash, manifestSchemaHash());
  EXPECT_EQ(m.model, "tiny");
  EXPECT_EQ(m.source, "tiny.moe");
  EXPECT_EQ(m.target, "x86_64-unknown-linux-gnu");
  EXPECT_EQ(m.dtype, fb::DType::bf16);
  EXPECT_EQ(m.compute, fb::DType::f32);
  EXPECT_EQ(m.ignored, std::vector<std::string>{"optimizer.*"});
  EXPECT_EQ(m.artifact_bytes, library.size());

  ASSERT_EQ(m.modalities.size(), 2u);
  EXPECT_EQ(m.modalities[0]->name, "text");
  EXPECT_EQ(m.modalities[0]->vocab, 256u);
  EXPECT_EQ(m.modalities[0]->tokens_per_input, 1u);
  EXPECT_EQ(m.modalities[1]->input, fb::InputKind::raw);
  EXPECT_EQ(m.modalities[1]->raw_dtype, fb::DType::u8);
  EXPECT_EQ(m.modalities[1]->raw_shape, (std::vector<uint32_t>{28, 28, 1}));
  EXPECT_EQ(m.modalities[1]->tokens_per_input, 49u);

  ASSERT_EQ(m.functions.size(), 1u);
  EXPECT_EQ(m.functions[0]->outputs[0]->name, "logits");
  EXPECT_EQ(m.functions[0]->outputs[0]->width, 2u);
  EXPECT_EQ(m.functions[0]->modalities, (std::vector<uint8_t>{0, 1}));

  ASSERT_EQ(m.entries.size(), 1u);
  EXPECT_TRUE(m.entries[0]->last_only);
  ASSERT_EQ(m.entries[0]->layout.size(), 2u);
  EXPECT_TRUE(m.entries[0]->layout[0]->optional);
  EXPECT_EQ(m.entries[0]->layout[0]->min, 1u);
  EXPECT_FALSE(m.entries[0]->layout[1]->optional);
  EXPECT_EQ(m.entries[0]->layout[1]->max, 9u);

  ASSERT_EQ(m.states.size(), 1u);
  EXPECT_EQ(m.states[0]->layer, 2);
  EXPECT_EQ(m.states[0]->width, 128u);
  EXPECT_EQ(m.states[0]->cache_tokens, 64u);

  ASSERT_EQ(m.weights.size(), 2u);
  EXPECT_EQ(m.weights[1]->name, "b");
  EXPECT_EQ(m.weights[1]->layer, 1);
  EXPECT_EQ(m.weights[1]->expert, 5);
  EXPECT_EQ(m.weights[1]->role, "up");
  EXPECT_EQ(m.weights[1]->format, "plain");
  EXPECT_EQ(m.weights[1]->layout, "row_blocks<16>");
  EXPECT_EQ(m.weights[1]->offset, 64u);
  EXPECT_EQ(m.weights[1]->bytes, 128u);
  EXPECT_EQ(m.weights[0]->dtype, fb::DType::bf16);
  llvm::StringRef segment =
      llvm::StringRef(library).take_back(m.segments[0]->bytes);
  EXPECT_EQ(m.segments[0]->checksum, llvm::xxh3_64bits(segment));
  EXPECT_EQ(m.weights[1]->checksum, llvm::xxh3_64bits(segment.substr(64, 128)));

  ASSERT_EQ(m.variants.size(), 1u);
  EXPECT_EQ(m.variants[0]->isa, "generic");
  EXPECT_EQ(m.variants[0]->features, std::vector<std::string>{"+sse2"});
  EXPECT_EQ(m.variants[0]->scratch, "128 * T");
  EXPECT_EQ(m.variants[0]->intervals, 2u);
  ASSERT_EQ(m.variants[0]->kernels.size(), 2u);
  EXPECT_EQ(m.variants[0]->kernels[0]->weight, -1);
  EXPECT_EQ(m.variants[0]->kernels[0]->layer, -1);
  EXPECT_EQ(m.variants[0]->kernels[0]->weight_bytes, 0u);
  const fb::KernelT &kernel = *m.variants[0]->kernels[1];
  EXPECT_EQ(kernel.interval, 1u);
  EXPECT_EQ(kernel.kind, "experts up");
  EXPECT_EQ(kernel.layer, 1);
  EXPECT_EQ(kernel.weight, 1);
  EXPECT_EQ(kernel.weights, 2u);
  EXPECT_EQ(kernel.weight_bytes, m.weights[0]->bytes + m.weights[1]->bytes);
  EXPECT_EQ(kernel.weight_elements, 4u);
  EXPECT_EQ(kernel.experts, 8u);
  EXPECT_EQ(kernel.token_rows, 2u);
  EXPECT_EQ(kernel.result_rows, 0u);
  EXPECT_EQ(m.stop_tokens, (std::vector<uint32_t>{7, 255}));
  ASSERT_EQ(m.routers.size(), 1u);
  EXPECT_EQ(m.routers[0]->experts, 8u);
  EXPECT_EQ(m.routers[0]->guarantees,
            (std::vector<std::string>{"distinct", "token_local"}));
}

TEST_F(Artifact, BytesAreTheSameEveryTime) {
  ASSERT_TRUE(write(folder.file("one.so"))) << test.errors;
  ASSERT_TRUE(write(folder.file("two.so"))) << test.errors;
  EXPECT_EQ(readFile(folder.file("one.so")), readFile(folder.file("two.so")));
}

TEST_F(Artifact, SideFileHoldsTheSegment) {
  ArtifactOptions options;
  options.embedLimit = 100; // the segment has 192 bytes
  std::string path = folder.file("tiny.so");
  ASSERT_TRUE(write(path, options)) << test.errors;
  ASSERT_EQ(folder.list().size(), 2u);
  std::string side = folder.list().front();
  EXPECT_EQ(folder.list().back(), "tiny.so");
  std::string segment = readFile(folder.file(side));
  EXPECT_EQ(segment.size(), 192u);
  EXPECT_EQ(side, sideFileName(path, llvm::xxh3_64bits(segment)));

  std::string bytes = manifestOf(readFile(path));
  const fb::Manifest *manifest = fb::GetManifest(bytes.data());
  EXPECT_EQ(manifest->segments()->Get(0)->file()->str(), side);
  EXPECT_EQ(manifest->segments()->Get(0)->checksum(),
            llvm::xxh3_64bits(segment));
  EXPECT_EQ(manifest->artifact_bytes(), std::filesystem::file_size(path));

  Library library(path);
  moe_host_v1 host = makeHost();
  const moe_model_v1 *model = library.query()(MOE_ABI_VERSION, &host);
  ASSERT_TRUE(model);
  EXPECT_EQ(model->segments->bytes, 192u);
  EXPECT_EQ(model->segments->data, nullptr);
}

TEST_F(Artifact, AbsentWeightsAreNotRead) {
  ArtifactOptions options;
  options.weights = WeightPlace::Absent;
  files = TensorFiles();
  ASSERT_TRUE(write(folder.file("tiny.so"), options)) << test.errors;
  EXPECT_EQ(folder.list(), std::vector<std::string>{"tiny.so"});
}

TEST_F(Artifact, SideFilesOfOthersStay) {
  EXPECT_TRUE(isSideFileOf("a/tiny.so", "tiny-0123456789abcdef.weights"));
  for (const char *name :
       {"tiny.weights", "tiny-0123456789abcde.weights", "",
        "other-0123456789abcdef.weights", "tiny-0123456789abcdeg.weights"})
    EXPECT_FALSE(isSideFileOf("a/tiny.so", name)) << name;

  // Files that no artifact names, however they are called.
  std::string stray = folder.file("tiny-0123456789abcdef.weights");
  writeFile(stray, "stray");
  ArtifactOptions options;
  options.weights = WeightPlace::SideFile;
  ASSERT_TRUE(write(folder.file("tiny.so"), options)) << test.errors;
  ASSERT_TRUE(write(folder.file("tiny.so"))) << test.errors;
  EXPECT_EQ(folder.list(), (std::vector<std::string>{
                               "tiny-0123456789abcdef.weights", "tiny.so"}));
}

TEST_F(Artifact, FailureKeepsTheOldFile) {
  std::string path = folder.file("tiny.so");
  writeFile(path, "old");
  files = TensorFiles();
  EXPECT_FALSE(write(path));
  EXPECT_NE(test.errors.find("tensor 'a' is in no weight file"),
            std::string::npos);
  EXPECT_EQ(readFile(path), "old");
  EXPECT_EQ(folder.list(), std::vector<std::string>{"tiny.so"});
}

TEST_F(Artifact, CodeMayCallNothingForeign) {
  std::string model = tinyModel;
  size_t at = model.find("    %twice = llvm.fadd %value, %value : f32");
  ASSERT_NE(at, std::string::npos);
  model.replace(
      at, std::string("    %twice = llvm.fadd %value, %value : f32").size(),
      "    %twice = llvm.call @expf(%value) : (f32) -> f32");
  model.insert(model.find("  llvm.func @step_scratch"),
               "  llvm.func @expf(f32) -> f32\n");
  EXPECT_FALSE(write(folder.file("tiny.so"), {}, model.c_str()));
  EXPECT_NE(test.errors.find("its code calls 'expf'"), std::string::npos)
      << test.errors;
  EXPECT_EQ(folder.list(), std::vector<std::string>{});
}

TEST_F(Artifact, VariantWithoutCodeIsAnError) {
  std::string model = tinyModel;
  size_t at = model.find("isa = \"generic\"");
  model.replace(at, 15, "isa = \"avx2\"");
  EXPECT_FALSE(write(folder.file("tiny.so"), {}, model.c_str()));
  EXPECT_NE(test.errors.find("'step_step__avx2'"), std::string::npos)
      << test.errors;
}

} // namespace
