//===- InspectJson.cpp - A manifest for programs --------------------------===//
//
// Names are those of manifest.fbs; nothing is left out or summed up.
//
//===----------------------------------------------------------------------===//

#include "runtime/tools/InspectReport.h"

#include "runtime/tools/JsonWriter.h"

#include "absl/strings/str_format.h"

using namespace moe::tools;
using namespace moe::manifest;

namespace {

/// 64-bit checksums exceed what JSON numbers carry exactly.
std::string hex(uint64_t checksum) {
  return absl::StrFormat("%016x", checksum);
}

class Report {
public:
  explicit Report(const InspectedArtifact &artifact)
      : artifact(artifact), manifest(artifact.manifest) {}

  std::string text() {
    json.object([&] {
      heading();
      list("modalities", manifest.modalities, &Report::modality);
      list("functions", manifest.functions, &Report::function);
      entries();
      list("variants", manifest.variants, &Report::variant);
      if (!artifact.levels.empty())
        levels();
      list("states", manifest.states, &Report::state);
      list("segments", manifest.segments, &Report::segment);
      list("weights", manifest.weights, &Report::weight);
      list("routers", manifest.routers, &Report::router);
      values("ignored", manifest.ignored);
      values("stop_tokens", manifest.stop_tokens);
    });
    return json.text() + "\n";
  }

private:
  template <typename Item>
  void list(const char *name, const std::vector<std::unique_ptr<Item>> &items,
            void (Report::*write)(const Item &)) {
    json.array(name, [&] {
      for (const auto &item : items)
        json.object([&] { (this->*write)(*item); });
    });
  }
  template <typename Item>
  void values(const char *name, const std::vector<Item> &items) {
    json.array(name, [&] {
      for (const Item &item : items)
        json.value(item);
    });
  }

  void heading() {
    json.field("path", artifact.path);
    json.field("bytes", artifact.bytes);
    values("exports", artifact.symbols);
    json.field("abi_version", manifest.abi_version);
    json.field("schema_hash", hex(manifest.schema_hash));
    json.field("compiler", manifest.compiler);
    json.field("build_identity", manifest.build_identity);
    json.field("model", manifest.model);
    json.field("source", manifest.source);
    json.field("target", manifest.target);
    json.field("dtype", EnumNameDType(manifest.dtype));
    json.field("compute", EnumNameDType(manifest.compute));
    json.field("artifact_bytes", manifest.artifact_bytes);
  }
  void levels() {
    json.array("levels", [&] {
      for (const InspectedArtifact::Level &each : artifact.levels)
        json.object([&] { level(each); });
    });
  }
  void level(const InspectedArtifact::Level &each) {
    json.field("name", each.name);
    json.field("runs_on", each.runsOn);
    json.field("constant_bytes", each.constantBytes);
    json.array("images", [&] {
      for (const auto &image : each.images)
        json.object([&] {
          json.field("kind", image.kind);
          json.field("bytes", image.bytes);
        });
    });
    json.array("kernels", [&] {
      for (const auto &kernel : each.kernels)
        json.object([&] {
          json.field("name", kernel.name);
          json.field("threads", kernel.threads);
          json.field("shared_bytes", kernel.sharedBytes);
        });
    });
  }
  void modality(const ModalityT &each) {
    json.field("name", each.name);
    json.field("id", each.id);
    json.field("input", EnumNameInputKind(each.input));
    if (each.input == InputKind::token) {
      json.field("vocab", each.vocab);
    } else {
      json.field("raw_dtype", EnumNameDType(each.raw_dtype));
      values("raw_shape", each.raw_shape);
    }
    json.field("tokens_per_input", each.tokens_per_input);
  }
  void function(const FunctionT &each) {
    json.field("name", each.name);
    json.field("cache_tokens", each.cache_tokens);
    json.field("max_sequence", each.max_sequence);
    values("modalities", each.modalities);
    list("outputs", each.outputs, &Report::output);
  }
  void output(const OutputT &each) {
    json.field("name", each.name);
    json.field("width", each.width);
  }
  void entries() {
    json.array("entries", [&] {
      for (size_t i = 0; i < manifest.entries.size(); ++i) {
        const EntryT &each = *manifest.entries[i];
        json.object([&] {
          json.field("name", each.name);
          json.field("function", each.function);
          json.field("last_only", each.last_only);
          json.field("routing_out", each.routing_out);
          json.field("routing_in", each.routing_in);
          json.field("expert_mask", each.expert_mask);
          json.field("router_bias", each.router_bias);
          json.field("k_override", each.k_override);
          json.field("layout_text", artifact.layouts[i]);
          list("layout", each.layout, &Report::layoutSegment);
        });
      }
    });
  }
  void layoutSegment(const LayoutSegmentT &each) {
    values("modalities", each.modalities);
    json.field("optional", each.optional);
    json.field("min", each.min);
    json.field("max", each.max);
  }
  void variant(const VariantT &each) {
    json.field("function", each.function);
    json.field("device", each.device);
    json.field("isa", each.isa);
    values("features", each.features);
    json.field("min_tokens", each.min_tokens);
    json.field("max_tokens", each.max_tokens);
    values("modalities", each.modalities);
    json.field("scratch", each.scratch);
    values("weights", each.weights);
    json.field("intervals", each.intervals);
    list("kernels", each.kernels, &Report::kernel);
  }
  void kernel(const KernelT &each) {
    json.field("interval", each.interval);
    json.field("kind", each.kind);
    json.field("layer", each.layer);
    json.field("weight", each.weight);
    json.field("weights", each.weights);
    json.field("weight_bytes", each.weight_bytes);
    json.field("weight_elements", each.weight_elements);
    json.field("experts", each.experts);
    json.field("token_rows", each.token_rows);
    json.field("result_rows", each.result_rows);
    json.field("key_elements", each.key_elements);
  }
  void state(const StateT &each) {
    json.field("name", each.name);
    json.field("layer", each.layer);
    json.field("dtype", EnumNameDType(each.dtype));
    json.field("width", each.width);
    json.field("cache_tokens", each.cache_tokens);
  }
  void segment(const SegmentT &each) {
    json.field("device", each.device);
    json.field("bytes", each.bytes);
    json.field("file", each.file);
    json.field("checksum", hex(each.checksum));
  }
  void weight(const WeightT &each) {
    json.field("name", each.name);
    json.field("layer", each.layer);
    json.field("expert", each.expert);
    json.field("role", each.role);
    values("shape", each.shape);
    json.field("dtype", EnumNameDType(each.dtype));
    json.field("format", each.format);
    json.field("layout", each.layout);
    json.field("segment", each.segment);
    json.field("offset", each.offset);
    json.field("bytes", each.bytes);
    json.field("checksum", hex(each.checksum));
  }
  void router(const RouterT &each) {
    json.field("layer", each.layer);
    json.field("name", each.name);
    json.field("experts", each.experts);
    json.field("slots", each.slots);
    values("guarantees", each.guarantees);
    json.field("weighs_any", each.weighs_any);
    json.field("first_expert", each.first_expert);
  }

  const InspectedArtifact &artifact;
  const ManifestT &manifest;
  JsonWriter json;
};

} // namespace

std::string moe::tools::describeAsJson(const InspectedArtifact &artifact) {
  return Report(artifact).text();
}
