//===- ManifestFuzzer.cpp - Any bytes as a manifest -----------------------===//
//
// Reads the manifest as the runtime does and, where the runtime takes it,
// prints it as moe-inspect does. Half of the mutations change values of a valid
// manifest, since almost all others only break its encoding.
//
//===----------------------------------------------------------------------===//

#include "runtime/lib/exec/Processor.h"
#include "runtime/lib/load/ModelDescription.h"
#include "runtime/tools/InspectReport.h"
#include "test/fuzz/Require.h"

#include <algorithm>
#include <cstring>
#include <random>

using namespace moe::manifest;

extern "C" size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t maxSize);

namespace {

class Mutator {
public:
  explicit Mutator(unsigned seed) : random(seed) {}

  void change(ManifestT &manifest);

private:
  unsigned below(size_t bound) {
    return bound ? static_cast<unsigned>(random() % bound) : 0;
  }
  template <typename Number> void number(Number &value) {
    static const uint64_t notable[] = {
        0,        1,          2,          7,         8,          63,
        64,       65,         255,        256,       65535,      INT32_MAX,
        1u << 31, UINT32_MAX, 1ull << 32, INT64_MAX, 1ull << 63, UINT64_MAX};
    value = below(2) ? static_cast<Number>(notable[below(std::size(notable))])
                     : static_cast<Number>(value + below(5) - 2);
  }
  template <typename Enum> void choice(Enum &value) {
    value = static_cast<Enum>(below(8));
  }
  void text(std::string &value) {
    static const char *const notable[] = {
        "",   "cpu",    "avx2", "generic",      "a/b",
        "..", "fake.w", "sse2", "\"\\\x01\xff", "text"};
    value = notable[below(std::size(notable))];
  }
  template <typename Number> void numbers(std::vector<Number> &list) {
    if (list.empty() || below(4) == 0)
      list.push_back(0);
    else if (below(4) == 0)
      list.pop_back();
    if (!list.empty())
      number(list[below(list.size())]);
  }
  /// Takes one away, doubles one, or calls `change` with one.
  template <typename Element, typename Change>
  void list(std::vector<std::unique_ptr<Element>> &elements, Change change) {
    if (elements.empty()) {
      elements.push_back(std::make_unique<Element>());
      return;
    }
    const size_t at = below(elements.size());
    switch (below(8)) {
    case 0:
      elements.erase(elements.begin() + static_cast<std::ptrdiff_t>(at));
      return;
    case 1:
      elements.push_back(std::make_unique<Element>(*elements[at]));
      return;
    default:
      change(*elements[at]);
    }
  }
  void change(ModalityT &modality);
  void change(EntryT &entry);
  void change(FunctionT &function);
  void change(WeightT &weight);
  void change(VariantT &variant);

  std::minstd_rand random;
};

void Mutator::change(ModalityT &modality) {
  switch (below(7)) {
  case 0:
    return text(modality.name);
  case 1:
    return number(modality.id);
  case 2:
    return choice(modality.input);
  case 3:
    return number(modality.vocab);
  case 4:
    return choice(modality.raw_dtype);
  case 5:
    return numbers(modality.raw_shape);
  default:
    return number(modality.tokens_per_input);
  }
}

void Mutator::change(EntryT &entry) {
  switch (below(4)) {
  case 0:
    return text(entry.name);
  case 1:
    return number(entry.function);
  default:
    list(entry.layout, [&](LayoutSegmentT &segment) {
      switch (below(3)) {
      case 0:
        return numbers(segment.modalities);
      case 1:
        return number(segment.min);
      default:
        return number(segment.max);
      }
    });
  }
}

void Mutator::change(FunctionT &function) {
  switch (below(4)) {
  case 0:
    return number(function.cache_tokens);
  case 1:
    return number(function.max_sequence);
  case 2:
    return numbers(function.modalities);
  default:
    list(function.outputs, [&](OutputT &output) { number(output.width); });
  }
}

void Mutator::change(WeightT &weight) {
  switch (below(5)) {
  case 0:
    return number(weight.segment);
  case 1:
    return number(weight.offset);
  case 2:
    return numbers(weight.shape);
  case 3:
    return choice(weight.dtype);
  default:
    return number(weight.bytes);
  }
}

void Mutator::change(VariantT &variant) {
  switch (below(6)) {
  case 0:
    return number(variant.function);
  case 1:
    return text(variant.device);
  case 2:
    return text(variant.isa);
  case 3:
    if (variant.features.empty())
      variant.features.emplace_back();
    return text(variant.features.back());
  case 4:
    return numbers(variant.modalities);
  default:
    return number(variant.max_tokens);
  }
}

void Mutator::change(ManifestT &manifest) {
  const auto any = [this](auto &element) { change(element); };
  switch (below(11)) {
  case 0:
    return list(manifest.modalities, any);
  case 1:
    return list(manifest.functions, any);
  case 2:
    return list(manifest.entries, any);
  case 3:
    return list(manifest.states, [&](StateT &state) {
      below(2) ? number(state.width) : choice(state.dtype);
    });
  case 4:
    return list(manifest.weights, any);
  case 5:
    return list(manifest.segments, [&](SegmentT &segment) {
      below(2) ? number(segment.bytes) : text(segment.file);
    });
  case 6:
    return list(manifest.variants, any);
  case 7:
    return list(manifest.routers, [&](RouterT &router) {
      below(2) ? number(router.experts) : text(router.name);
    });
  case 8:
    return list(manifest.variants, [this](VariantT &variant) {
      list(variant.kernels, [this](KernelT &kernel) {
        below(2) ? number(kernel.interval) : number(kernel.weight);
      });
    });
  case 9:
    return numbers(manifest.stop_tokens);
  default:
    return below(2) ? number(manifest.abi_version) : text(manifest.model);
  }
}

/// Null where the bytes are no manifest that the runtime takes.
std::unique_ptr<ManifestT> unpack(const uint8_t *data, size_t size) {
  // Copied, since libFuzzer's buffers have any alignment.
  const std::vector<uint8_t> bytes(data, data + size);
  if (!moe::rt::describeManifest("fuzz.so", bytes).ok())
    return nullptr;
  return UnPackManifest(bytes.data());
}

} // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size,
                                          size_t maxSize, unsigned seed) {
  std::unique_ptr<ManifestT> manifest;
  if (seed % 2)
    manifest = unpack(data, size);
  if (!manifest)
    return LLVMFuzzerMutate(data, size, maxSize);
  Mutator(seed).change(*manifest);
  flatbuffers::FlatBufferBuilder builder;
  FinishManifestBuffer(builder, CreateManifest(builder, manifest.get()));
  if (builder.GetSize() > maxSize)
    return LLVMFuzzerMutate(data, size, maxSize);
  std::memcpy(data, builder.GetBufferPointer(), builder.GetSize());
  return builder.GetSize();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const std::vector<uint8_t> bytes(data, data + size);
  auto description = moe::rt::describeManifest("fuzz.so", bytes);
  if (!description.ok()) {
    require(!description.status().message().empty(),
            "a sentence for every failure");
    return 0;
  }
  absl::Status runnable;
  (void)moe::rt::markAvailableVariants("fuzz.so", *description, runnable);

  moe::tools::InspectedArtifact artifact;
  artifact.path = "fuzz.so";
  artifact.bytes = size;
  for (const moe::rt::Entry &entry : description->entries)
    artifact.layouts.push_back(entry.layoutText);
  GetManifest(bytes.data())->UnPackTo(&artifact.manifest);
  require(!moe::tools::describeForPeople(artifact).empty() &&
              !moe::tools::describeAsJson(artifact).empty(),
          "a manifest can be printed");
  return 0;
}
