//===- InspectText.cpp - A manifest for people ----------------------------===//

#include "runtime/tools/InspectReport.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

#include <algorithm>
#include <map>
#include <tuple>

using namespace moe::tools;
using namespace moe::manifest;

namespace {

/// Columns as wide as their widest cell, two spaces between.
class Table {
public:
  explicit Table(std::vector<std::string> header) { row(std::move(header)); }
  void row(std::vector<std::string> cells) {
    for (size_t i = 0; i < cells.size(); ++i) {
      if (i == widths.size())
        widths.push_back(0);
      widths[i] = std::max(widths[i], cells[i].size());
    }
    rows.push_back(std::move(cells));
  }
  std::string text() const {
    std::string out;
    for (const std::vector<std::string> &cells : rows) {
      std::string line;
      for (size_t i = 0; i < cells.size(); ++i)
        absl::StrAppendFormat(&line, "  %-*s", static_cast<int>(widths[i]),
                              cells[i]);
      line.erase(line.find_last_not_of(' ') + 1);
      absl::StrAppend(&out, line, "\n");
    }
    return out;
  }

private:
  std::vector<size_t> widths;
  std::vector<std::vector<std::string>> rows;
};

/// 1234567 as "1,234,567".
std::string grouped(uint64_t number) {
  std::string digits = std::to_string(number);
  for (size_t at = digits.size(); at > 3;) {
    at -= 3;
    digits.insert(at, ",");
  }
  return digits;
}

std::string range(uint64_t min, uint64_t max) {
  return max == UINT64_MAX ? absl::StrCat(min, "..")
                           : absl::StrCat(min, "..", max);
}

class Page {
public:
  explicit Page(const InspectedArtifact &artifact)
      : artifact(artifact), manifest(artifact.manifest) {}

  std::string text() {
    heading();
    modalities();
    functions();
    entries();
    variants();
    levels();
    states();
    weights();
    routers();
    if (!manifest.stop_tokens.empty())
      absl::StrAppend(&out, "\nstop tokens: ",
                      absl::StrJoin(manifest.stop_tokens, ", "), "\n");
    if (!manifest.ignored.empty())
      absl::StrAppend(&out, "\nignored tensors: ",
                      absl::StrJoin(manifest.ignored, ", "), "\n");
    return out;
  }

private:
  void section(const std::string &title, const Table &table) {
    absl::StrAppend(&out, "\n", title, "\n", table.text());
  }
  std::string names(const std::vector<uint8_t> &ids) const {
    return absl::StrJoin(ids, ", ", [&](std::string *to, uint8_t id) {
      for (const auto &modality : manifest.modalities)
        if (modality->id == id)
          *to += modality->name;
    });
  }
  std::string functionName(uint32_t ordinal) const {
    return manifest.functions[ordinal]->name;
  }

  void heading();
  void modalities();
  void functions();
  void entries();
  void variants();
  void levels();
  void states();
  void weights();
  void routers();

  const InspectedArtifact &artifact;
  const ManifestT &manifest;
  std::string out;
};

void Page::heading() {
  absl::StrAppend(&out, artifact.path, ": model ", manifest.model, "\n");
  Table table({"source", manifest.source});
  table.row({"compiler", absl::StrCat("moec ", manifest.compiler, " (",
                                      manifest.build_identity, ")")});
  table.row({"target", manifest.target});
  table.row({"abi", absl::StrCat(manifest.abi_version)});
  table.row({"schema", absl::StrFormat("%016x", manifest.schema_hash)});
  table.row({"values", EnumNameDType(manifest.dtype)});
  table.row({"compute", EnumNameDType(manifest.compute)});
  table.row({"file", absl::StrCat(grouped(artifact.bytes), " bytes")});
  table.row({"exports", absl::StrJoin(artifact.symbols, ", ")});
  out += table.text();
}

void Page::modalities() {
  Table table({"id", "name", "input", "tokens"});
  for (const auto &each : manifest.modalities)
    table.row({absl::StrCat(each->id), each->name,
               each->input == InputKind::token
                   ? absl::StrCat("token[", each->vocab, "]")
                   : absl::StrCat(EnumNameDType(each->raw_dtype), "[",
                                  absl::StrJoin(each->raw_shape, ", "), "]"),
               absl::StrCat(each->tokens_per_input)});
  section("modalities", table);
}

void Page::functions() {
  Table table({"ordinal", "name", "longest sequence", "modalities", "outputs"});
  for (size_t i = 0; i < manifest.functions.size(); ++i) {
    const FunctionT &each = *manifest.functions[i];
    const std::string longest =
        each.cache_tokens   ? absl::StrCat(each.cache_tokens, " in a cache")
        : each.max_sequence ? absl::StrCat(each.max_sequence)
                            : "unbounded";
    const std::string outputs =
        absl::StrJoin(each.outputs, ", ", [](std::string *to, const auto &o) {
          absl::StrAppend(to, o->name, "[", o->width, "]");
        });
    table.row(
        {absl::StrCat(i), each.name, longest, names(each.modalities), outputs});
  }
  section("functions", table);
}

/// What a step may exchange with routers, in the words of the source.
std::string options(const EntryT &entry) {
  std::vector<std::string> words;
  const auto add = [&](bool isThere, const char *word) {
    if (isThere)
      words.emplace_back(word);
  };
  add(entry.routing_out, "routing_out");
  add(entry.routing_in, "routing_in");
  add(entry.expert_mask, "expert_mask");
  add(entry.router_bias, "router_bias");
  add(entry.k_override, "k_override");
  return absl::StrJoin(words, ", ");
}

void Page::entries() {
  Table table({"name", "function", "layout", "results", "options"});
  for (size_t i = 0; i < manifest.entries.size(); ++i) {
    const EntryT &each = *manifest.entries[i];
    table.row({each.name, functionName(each.function), artifact.layouts[i],
               each.last_only ? "last position" : "all positions",
               options(each)});
  }
  section("entries", table);
}

void Page::variants() {
  Table table({"ordinal", "function", "device", "isa", "tokens", "modalities",
               "weights", "needs", "scratch"});
  for (size_t i = 0; i < manifest.variants.size(); ++i) {
    const VariantT &each = *manifest.variants[i];
    uint64_t bytes = 0;
    for (const uint32_t ordinal : each.weights)
      bytes += ordinal < manifest.weights.size()
                   ? manifest.weights[ordinal]->bytes
                   : 0;
    table.row({absl::StrCat(i), functionName(each.function), each.device,
               each.isa, range(each.min_tokens, each.max_tokens),
               names(each.modalities),
               each.weights.empty() ? "-"
                                    : absl::StrCat(each.weights.size(), ", ",
                                                   grouped(bytes), " bytes"),
               each.features.empty() ? "-" : absl::StrJoin(each.features, " "),
               each.scratch.empty() ? "-" : each.scratch});
  }
  section("variants, the first that fits runs", table);
}

void Page::levels() {
  for (const InspectedArtifact::Level &level : artifact.levels) {
    Table table({"kernel", "threads", "shared memory"});
    for (const auto &each : level.kernels)
      table.row({each.name, absl::StrCat(each.threads),
                 absl::StrCat("up to ", grouped(each.sharedBytes), " bytes")});
    const std::string images =
        absl::StrJoin(level.images, ", ", [](std::string *to, const auto &i) {
          absl::StrAppend(to, i.kind, " of ", grouped(i.bytes), " bytes");
        });
    section(absl::StrCat("device level ", level.name, ", compute capability ",
                         level.runsOn, ": ",
                         images.empty() ? "" : images + ", ",
                         grouped(level.constantBytes), " bytes of constants"),
            table);
  }
}

void Page::states() {
  static const uint64_t bytes[] = {4, 2, 2, 1, 1, 4};
  uint64_t perToken = 0;
  std::map<std::tuple<std::string, uint32_t>, uint64_t> classes;
  for (const auto &each : manifest.states) {
    perToken += bytes[static_cast<size_t>(each->dtype)] * each->width;
    ++classes[{EnumNameDType(each->dtype), each->width}];
  }
  Table table({"count", "type"});
  for (const auto &[type, count] : classes)
    table.row({absl::StrCat(count),
               absl::StrCat(std::get<0>(type), "[", std::get<1>(type), "]")});
  section(absl::StrCat("cache, ", grouped(perToken), " bytes per token"),
          table);
}

void Page::weights() {
  struct Sum {
    uint64_t count = 0;
    uint64_t bytes = 0;
  };
  // Experts are a class of their own: they are most of a model.
  std::map<std::vector<std::string>, Sum> classes;
  uint64_t total = 0;
  for (const auto &each : manifest.weights) {
    Sum &sum = classes[{each->role.empty() ? "-" : each->role,
                        each->expert >= 0 ? "expert" : "dense",
                        EnumNameDType(each->dtype),
                        each->format.empty() ? "-" : each->format,
                        each->layout.empty() ? "-" : each->layout}];
    ++sum.count;
    sum.bytes += each->bytes;
    total += each->bytes;
  }
  Table table({"role", "kind", "type", "format", "layout", "count", "bytes"});
  for (const auto &[key, sum] : classes) {
    std::vector<std::string> cells = key;
    cells.push_back(absl::StrCat(sum.count));
    cells.push_back(grouped(sum.bytes));
    table.row(std::move(cells));
  }
  section(absl::StrCat("weights, ", grouped(total), " bytes"), table);

  Table segments({"ordinal", "device", "bytes", "where"});
  for (size_t i = 0; i < manifest.segments.size(); ++i) {
    const SegmentT &each = *manifest.segments[i];
    segments.row({absl::StrCat(i), each.device, grouped(each.bytes),
                  each.file.empty() ? "in the artifact" : each.file});
  }
  section("segments", segments);
}

void Page::routers() {
  if (manifest.routers.empty())
    return;
  Table table({"layer", "name", "experts", "per token", "guarantees"});
  for (const auto &each : manifest.routers)
    table.row({each->layer < 0 ? "-" : absl::StrCat(each->layer), each->name,
               absl::StrCat(each->experts), absl::StrCat(each->slots),
               absl::StrJoin(each->guarantees, ", ")});
  section("routers", table);
}

} // namespace

std::string moe::tools::describeForPeople(const InspectedArtifact &artifact) {
  return Page(artifact).text();
}
