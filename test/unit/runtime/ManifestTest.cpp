//===- ManifestTest.cpp - Manifests that contradict themselves ------------===//

#include "test/unit/runtime/RuntimeTestSupport.h"

#include <functional>

using namespace moe;
using namespace moe::test;
using manifest::ManifestT;

namespace {

struct Contradiction {
  const char *name;
  std::function<void(ManifestT &)> change;
  moe_status status;
  const char *message;
};

class ManifestCheck : public testing::TestWithParam<Contradiction> {};

TEST_P(ManifestCheck, IsRefused) {
  const FakeArtifact artifact;
  ManifestT manifest = artifact.manifest();
  GetParam().change(manifest);
  artifact.setManifest(manifest);
  Engine engine(1);
  EXPECT_FAILURE(Model::load(engine, artifact.path()), GetParam().status,
                 GetParam().message);
}

const Contradiction kContradictions[] = {
    {"AbiVersion", [](ManifestT &m) { m.abi_version = 2; }, MOE_ERROR_VERSION,
     "was built for ABI 2, this runtime has 1"},
    {"NoModality", [](ManifestT &m) { m.modalities.clear(); },
     MOE_ERROR_BAD_ARTIFACT, "expected 1 to 8 modalities, found 0"},
    {"ModalityId", [](ManifestT &m) { m.modalities[1]->id = 8; },
     MOE_ERROR_BAD_ARTIFACT, "expected an id of its own below 8, found 8"},
    {"ModalityIdTwice", [](ManifestT &m) { m.modalities[1]->id = 0; },
     MOE_ERROR_BAD_ARTIFACT, "expected an id of its own below 8, found 0"},
    {"ModalityNameTwice", [](ManifestT &m) { m.modalities[1]->name = "text"; },
     MOE_ERROR_BAD_ARTIFACT, "two modalities are called 'text'"},
    {"Vocabulary", [](ManifestT &m) { m.modalities[0]->vocab = 0; },
     MOE_ERROR_BAD_ARTIFACT, "token modality 'text': expected 1 to"},
    {"RawShape",
     [](ManifestT &m) { m.modalities[1]->raw_shape = {65536, 65536, 65536}; },
     MOE_ERROR_BAD_ARTIFACT, "raw modality 'image': expected an element type"},
    {"NoFunction", [](ManifestT &m) { m.functions.clear(); },
     MOE_ERROR_BAD_ARTIFACT, "expected at least one function"},
    {"FunctionModality", [](ManifestT &m) { m.functions[0]->modalities = {5}; },
     MOE_ERROR_BAD_ARTIFACT, "expected the id of a modality, found 5"},
    {"CacheTooLarge",
     [](ManifestT &m) { m.functions[0]->cache_tokens = 0xffffffffu; },
     MOE_ERROR_BAD_ARTIFACT, "expected a cache of at most"},
    {"NoOutput", [](ManifestT &m) { m.functions[0]->outputs.clear(); },
     MOE_ERROR_BAD_ARTIFACT, "function 'decoder' has no output"},
    {"RouterSlots", [](ManifestT &m) { m.routers[1]->slots = 1 << 24; },
     MOE_ERROR_BAD_ARTIFACT, "router 1: expected at most 16777216 slots"},
    {"OutputWidth", [](ManifestT &m) { m.functions[0]->outputs[0]->width = 0; },
     MOE_ERROR_BAD_ARTIFACT, "output 'logits' has no columns"},
    {"EntryFunction", [](ManifestT &m) { m.entries[0]->function = 2; },
     MOE_ERROR_BAD_ARTIFACT, "expected a function below 2, found 2"},
    {"EntryNameTwice", [](ManifestT &m) { m.entries[1]->name = "prefill"; },
     MOE_ERROR_BAD_ARTIFACT, "two entries are called 'prefill'"},
    {"NoLayout", [](ManifestT &m) { m.entries[0]->layout.clear(); },
     MOE_ERROR_BAD_ARTIFACT, "entry 'prefill' has no layout"},
    {"LayoutModality",
     [](ManifestT &m) { m.entries[0]->layout[0]->modalities = {FAKE_WIDE}; },
     MOE_ERROR_BAD_ARTIFACT, "a modality that its function lacks"},
    {"LayoutBounds", [](ManifestT &m) { m.entries[0]->layout[1]->min = 151; },
     MOE_ERROR_BAD_ARTIFACT, "expected layout bounds in order, found 151..150"},
    {"StateWidth", [](ManifestT &m) { m.states[0]->width = 0; },
     MOE_ERROR_BAD_ARTIFACT, "state 'values': expected an element type"},
    {"WeightSegment", [](ManifestT &m) { m.weights[0]->segment = 2; },
     MOE_ERROR_BAD_ARTIFACT, "expected a segment below 2, found 2"},
    {"WeightEnd", [](ManifestT &m) { m.weights[1]->bytes = 3073; },
     MOE_ERROR_BAD_ARTIFACT, "expected to end within the 3072 bytes"},
    {"WeightOffset",
     [](ManifestT &m) {
       m.weights[1]->offset = UINT64_MAX - 10;
       m.weights[1]->bytes = 64;
     },
     MOE_ERROR_BAD_ARTIFACT, "expected to end within the 3072 bytes"},
    {"WeightAlignment",
     [](ManifestT &m) {
       m.weights[1]->offset = 4;
       m.weights[1]->bytes = 4;
     },
     MOE_ERROR_BAD_ARTIFACT, "expected an offset in steps of 64, found 4"},
    {"SegmentBytes", [](ManifestT &m) { m.segments[1]->bytes = 4096; },
     MOE_ERROR_BAD_ARTIFACT,
     "expected 4096 bytes as in the manifest, found 3072"},
    {"SegmentFolder", [](ManifestT &m) { m.segments[1]->file = "../x"; },
     MOE_ERROR_BAD_ARTIFACT, "expected a plain file name, found '../x'"},
    {"SideFileMissing", [](ManifestT &m) { m.segments[1]->file = "gone"; },
     MOE_ERROR_NOT_FOUND, "needs the weights of its side file"},
    {"VariantFunction", [](ManifestT &m) { m.variants[2]->function = 9; },
     MOE_ERROR_BAD_ARTIFACT, "expected a function below 2, found 9"},
    {"VariantCount", [](ManifestT &m) { m.variants.pop_back(); },
     MOE_ERROR_BAD_ARTIFACT, "expected 7 variants and 2 segments"},
    {"NoCode", [](ManifestT &m) { m.variants[7]->device = "cpu"; },
     MOE_ERROR_BAD_ARTIFACT, "expected code of variant 7, found none"},
    {"KernelGap", [](ManifestT &m) { m.variants[1]->kernels[3]->interval = 7; },
     MOE_ERROR_BAD_ARTIFACT,
     "variant 1, kernel 3: expected interval 2 or 3, found 7"},
    {"KernelsMissing", [](ManifestT &m) { m.variants[1]->kernels.pop_back(); },
     MOE_ERROR_BAD_ARTIFACT,
     "variant 1: expected kernels in 22 intervals, found them in 21"},
    {"KernelsOfNothing", [](ManifestT &m) { m.variants[1]->intervals = 0; },
     MOE_ERROR_BAD_ARTIFACT, "expected kernels in 0 intervals"},
    {"KernelWeight",
     [](ManifestT &m) { m.variants[1]->kernels[3]->weight = 2; },
     MOE_ERROR_BAD_ARTIFACT, "kernel 3: expected a weight below 2, found 2"},
    {"StopToken", [](ManifestT &m) { m.stop_tokens = {3, 1000}; },
     MOE_ERROR_BAD_ARTIFACT, "expected stop tokens below 1000, found 1000"},
    {"NothingAvailable",
     [](ManifestT &m) {
       for (auto &variant : m.variants)
         variant->features = {"feature-of-tomorrow"};
     },
     MOE_ERROR_UNSUPPORTED, "the processor lacks feature-of-tomorrow"},
};

INSTANTIATE_TEST_SUITE_P(All, ManifestCheck, testing::ValuesIn(kContradictions),
                         [](const auto &info) {
                           return std::string(info.param.name);
                         });

TEST(ManifestCheck, UnchangedIsAccepted) {
  const FakeArtifact artifact;
  artifact.setManifest(artifact.manifest());
  Engine engine(1);
  EXPECT_STREQ(Model::load(engine, artifact.path()).info().name, "fake");
}

} // namespace
