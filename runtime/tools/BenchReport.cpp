//===- BenchReport.cpp - Results in the layout of llama-bench -------------===//

#include "runtime/tools/BenchReport.h"

#include "moe/runtime.h"
#include "runtime/tools/JsonWriter.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

#include <algorithm>
#include <cstdio>
#include <variant>

using namespace moe::tools;

namespace {

constexpr double kGiga = 1e9;

/// "pp512", "tg64", "tg64 b16 @ d512".
std::string testName(const BenchResult &result) {
  std::string name = result.prompt ? absl::StrCat("pp", result.prompt)
                                   : absl::StrCat("tg", result.generated);
  if (result.batch > 1)
    absl::StrAppend(&name, " b", result.batch);
  if (result.depth)
    absl::StrAppend(&name, " @ d", result.depth);
  return name;
}

Summary tokensPerSecond(const BenchResult &result) {
  std::vector<double> rates;
  for (const double each : result.seconds)
    rates.push_back(static_cast<double>(result.tokens) / each);
  return summarize(std::move(rates));
}

double stepsPerSecond(const BenchResult &result) {
  return tokensPerSecond(result).median * static_cast<double>(result.steps) /
         static_cast<double>(result.tokens);
}

/// The faster of the two measurements around the test.
std::optional<double> fasterOf(const std::optional<double> &before,
                               const std::optional<double> &after) {
  return before && after ? std::max(before, after) : std::nullopt;
}

std::optional<double> readFraction(const BenchResult &result) {
  const auto bandwidth = fasterOf(result.readBefore, result.readAfter);
  if (!bandwidth)
    return std::nullopt;
  return result.weightBytes * stepsPerSecond(result) / *bandwidth;
}

std::optional<double> peakFraction(const BenchResult &result) {
  const auto peak = fasterOf(result.peakBefore, result.peakAfter);
  if (!peak)
    return std::nullopt;
  return result.operations * stepsPerSecond(result) / *peak;
}

/// One list of a breakdown, with the name that reports give it.
struct PartList {
  const char *name;
  std::vector<BreakdownPart> Breakdown::*parts;
};
constexpr PartList kPartLists[] = {{"kinds", &Breakdown::kinds},
                                   {"layers", &Breakdown::layers},
                                   {"kernels", &Breakdown::kernels}};

/// Of a list that is not empty, also the time that is in no interval.
std::vector<BreakdownPart> partsOf(const Breakdown &breakdown,
                                   const PartList &list) {
  std::vector<BreakdownPart> parts = breakdown.*list.parts;
  if (parts.empty())
    return parts;
  BreakdownPart &outside = parts.emplace_back();
  outside.name = "outside";
  outside.seconds = breakdown.outside;
  return parts;
}

double rate(double amount, double seconds) {
  return seconds > 0 ? amount / seconds : 0;
}

//===----------------------------------------------------------------------===//
// For people
//===----------------------------------------------------------------------===//

std::string percent(const std::optional<double> &fraction) {
  return fraction ? absl::StrFormat("%.1f %%", 100 * *fraction) : "";
}

class MarkdownReport : public BenchReport {
public:
  explicit MarkdownReport(const BenchModel &model) : model(model) {}

  void add(const BenchResult &result) override {
    if (!begun)
      header();
    begun = true;
    const Summary speed = tokensPerSecond(result);
    line({absl::StrCat(model.name, " ", model.format),
          absl::StrFormat("%.2f GiB", static_cast<double>(model.bytes) /
                                          (uint64_t{1} << 30)),
          absl::StrFormat("%.2f B",
                          static_cast<double>(model.parameters) / kGiga),
          result.backend, absl::StrCat(result.threads), testName(result),
          absl::StrFormat("%.2f ± %.2f", speed.median, speed.deviation),
          absl::StrFormat("%.1f MB", result.weightBytes / 1e6),
          result.hits ? absl::StrFormat("%.2f", *result.hits) : "",
          absl::StrFormat("%.2f", result.expectedHits),
          percent(readFraction(result)), percent(peakFraction(result))});
    anonymous = std::max(anonymous, result.memory.anonymous);
    file = std::max(file, result.memory.file);
    if (result.breakdown)
      brokenDown.push_back(result);
  }

  void end(const std::vector<BenchLimits> &limits) override {
    for (const BenchResult &result : brokenDown)
      for (const PartList &list : kPartLists)
        show(result, list);
    std::printf("\nmemory: %.1f MiB anonymous, %.1f MiB of files\n",
                static_cast<double>(anonymous) / 1024,
                static_cast<double>(file) / 1024);
    if (limits.empty())
      return;
    std::printf("processor: %s, computes in %s\n", model.processor.c_str(),
                model.compute.c_str());
    for (const BenchLimits &each : limits) {
      show(each.threads, "read", "GB/s", each.before.reads, each.after.reads);
      show(each.threads, "peak", "GFLOP/s", each.before.peaks,
           each.after.peaks);
    }
  }

private:
  static void header() {
    const std::vector<std::string> names = {
        "model",       "size",     "params",  "backend",
        "threads",     "test",     "t/s",     "weights/step",
        "experts hit", "expected", "of read", "of peak"};
    line(names);
    std::vector<std::string> rules;
    for (size_t i = 0; i < names.size(); ++i)
      rules.push_back(isText(i) ? std::string(kWidths[i], '-')
                                : std::string(kWidths[i] - 1, '-') + ":");
    line(rules);
  }

  static constexpr size_t kColumns = 12;
  static constexpr size_t kWidths[kColumns] = {26, 10, 9,  12, 7, 14,
                                               18, 12, 11, 8,  8, 8};

  static bool isText(size_t column) { return column == 0 || column == 3; }

  /// Pads by characters, not by bytes.
  static void line(const std::vector<std::string> &cells) {
    std::string text = "|";
    for (size_t i = 0; i < cells.size(); ++i) {
      const auto characters = static_cast<size_t>(
          std::count_if(cells[i].begin(), cells[i].end(),
                        [](char c) { return (c & 0xc0) != 0x80; }));
      const std::string padding(
          kWidths[i] > characters ? kWidths[i] - characters : 0, ' ');
      absl::StrAppend(&text, " ",
                      isText(i) ? cells[i] + padding : padding + cells[i],
                      " |");
    }
    std::printf("%s\n", text.c_str());
    std::fflush(stdout);
  }

  /// Where the time of a step goes.
  static void show(const BenchResult &result, const PartList &list) {
    const std::vector<BreakdownPart> parts = partsOf(*result.breakdown, list);
    if (parts.empty())
      return;
    const double whole = result.breakdown->seconds;
    std::printf("\n%s, %u thread%s: %.1f us per step, by %s\n\n",
                testName(result).c_str(), result.threads,
                result.threads == 1 ? "" : "s", whole * kMicroseconds,
                list.name);
    // A list has the columns that tell its parts apart.
    const bool isLayers = list.parts == &Breakdown::layers;
    const bool isKernels = list.parts == &Breakdown::kernels;
    std::printf("| %-24s %s| us/step | share | waiting | read | GB/s | "
                "GFLOP/s |\n| %s %s| ------: | ----: | ------: | ------: | "
                "---: | ------: |\n",
                isLayers ? "layer" : "part",
                isKernels ? "| layer | weights " : "| intervals ",
                std::string(24, '-').c_str(),
                isKernels ? "| ----: | ------ " : "| --------: ");
    for (const BreakdownPart &part : parts)
      std::printf("%s\n", describe(part, whole, isLayers, isKernels).c_str());
  }

  static std::string weightsOf(const BreakdownPart &part) {
    return part.weights < 2 ? part.weight
                            : absl::StrCat(part.weight, " +", part.weights - 1);
  }

  static std::string describe(const BreakdownPart &part, double whole,
                              bool isLayers, bool isKernels) {
    const std::string layer =
        part.layer < 0 ? "-" : absl::StrCat("", part.layer);
    const std::string name = isLayers && part.intervals ? layer : part.name;
    const std::string place =
        !isKernels       ? absl::StrFormat("%9d", part.intervals)
        : part.intervals ? absl::StrCat(layer, " | ", weightsOf(part))
                         : " | ";
    const auto cell = [](double value, double unit, const char *suffix) {
      return value > 0 ? absl::StrFormat("%.2f%s", value / unit, suffix) : "";
    };
    return absl::StrFormat(
        "| %-24s | %s | %7.1f | %4.1f %% | %5.1f %% | %s | %s | %s |", name,
        place, part.seconds * kMicroseconds, 100 * rate(part.seconds, whole),
        100 * rate(part.waiting, part.seconds),
        cell(part.weightBytes, 1e6, " MB"),
        cell(rate(part.weightBytes, part.seconds), kGiga, ""),
        cell(rate(part.operations, part.seconds), kGiga, ""));
  }

  static void show(unsigned threads, const char *what, const char *unit,
                   const std::vector<Rate> &before,
                   const std::vector<Rate> &after) {
    for (size_t i = 0; i < before.size(); ++i)
      std::printf("%s, %s, %u thread%s: %.1f %s before, %.1f after (best "
                  "%.1f)\n",
                  what, before[i].name.c_str(), threads,
                  threads == 1 ? "" : "s", before[i].perSecond.median / kGiga,
                  unit, after[i].perSecond.median / kGiga,
                  std::max(before[i].perSecond.best, after[i].perSecond.best) /
                      kGiga);
  }

  static constexpr double kMicroseconds = 1e6;

  const BenchModel &model;
  bool begun = false;
  std::vector<BenchResult> brokenDown;
  uint64_t anonymous = 0;
  uint64_t file = 0;
};

//===----------------------------------------------------------------------===//
// For programs
//===----------------------------------------------------------------------===//

/// A number, a text, or nothing.
using Value = std::variant<std::monostate, uint64_t, double, std::string>;
struct Field {
  const char *name;
  Value value;
};

Value orNothing(const std::optional<double> &value) {
  return value ? Value(*value) : Value();
}

Value gigas(const std::optional<double> &value) {
  return value ? Value(*value / kGiga) : Value();
}

constexpr double kNanoseconds = 1e9;

/// Names as llama-bench has them where they mean the same.
std::vector<Field> fieldsOf(const BenchModel &model,
                            const BenchResult &result) {
  const Summary time = summarize(result.seconds);
  const Summary speed = tokensPerSecond(result);
  return {
      {"version", std::string(moe_version())},
      {"cpu_info", model.processor},
      {"backends", result.backend},
      {"model_filename", model.file},
      {"model_type", absl::StrCat(model.name, " ", model.format)},
      {"model_size", model.bytes},
      {"model_n_params", model.parameters},
      {"compute", model.compute},
      {"n_threads", uint64_t{result.threads}},
      {"test", testName(result)},
      {"n_prompt", result.prompt},
      {"n_gen", result.generated},
      {"n_batch", result.batch},
      {"n_depth", result.depth},
      {"repetitions", uint64_t{result.seconds.size()}},
      {"avg_ns", time.mean * kNanoseconds},
      {"stddev_ns", time.deviation * kNanoseconds},
      {"avg_ts", speed.mean},
      {"stddev_ts", speed.deviation},
      {"median_ts", speed.median},
      {"best_ts", speed.best},
      {"steps", result.steps},
      {"weight_bytes_per_step", result.weightBytes},
      {"cache_bytes_per_step", result.cacheBytes},
      {"operations_per_step", result.operations},
      {"experts_hit", orNothing(result.hits)},
      {"experts_expected", result.expectedHits},
      {"read_gbps_before", gigas(result.readBefore)},
      {"read_gbps_after", gigas(result.readAfter)},
      {"read_fraction", orNothing(readFraction(result))},
      {"peak_gflops_before", gigas(result.peakBefore)},
      {"peak_gflops_after", gigas(result.peakAfter)},
      {"peak_fraction", orNothing(peakFraction(result))},
      {"anonymous_kib", result.memory.anonymous},
      {"file_kib", result.memory.file},
  };
}

/// A part of a breakdown, behind what tells its test from others.
std::vector<Field> fieldsOf(const BenchModel &model, const BenchResult &result,
                            const PartList &list, const BreakdownPart &part) {
  return {
      {"model_filename", model.file},
      {"n_threads", uint64_t{result.threads}},
      {"test", testName(result)},
      {"n_prompt", result.prompt},
      {"n_gen", result.generated},
      {"n_batch", result.batch},
      {"n_depth", result.depth},
      {"list", std::string(list.name)},
      {"part", part.name},
      {"layer",
       part.layer < 0 ? Value() : Value(static_cast<uint64_t>(part.layer))},
      {"first_interval", part.intervals ? Value(part.first) : Value()},
      {"intervals", part.intervals},
      {"ns_per_step", part.seconds * kNanoseconds},
      {"share", rate(part.seconds, result.breakdown->seconds)},
      {"waiting_share", rate(part.waiting, part.seconds)},
      {"weight_bytes_per_step", part.weightBytes},
      {"operations_per_step", part.operations},
      {"weight_gbps", rate(part.weightBytes, part.seconds) / kGiga},
      {"gflops", rate(part.operations, part.seconds) / kGiga},
      {"weight", part.weight},
  };
}

/// A record for each test, or for each part of their breakdowns.
class CsvReport : public BenchReport {
public:
  explicit CsvReport(const BenchModel &model) : model(model) {}

  void add(const BenchResult &result) override {
    if (!result.breakdown)
      return record(fieldsOf(model, result));
    for (const PartList &list : kPartLists)
      for (const BreakdownPart &part : partsOf(*result.breakdown, list))
        record(fieldsOf(model, result, list, part));
  }
  void end(const std::vector<BenchLimits> &) override {}

private:
  void record(const std::vector<Field> &fields) {
    if (!begun)
      write(fields, [](const Field &field) { return std::string(field.name); });
    begun = true;
    write(fields, cell);
  }

  static std::string cell(const Field &field) {
    if (const auto *integer = std::get_if<uint64_t>(&field.value))
      return absl::StrCat(*integer);
    if (const auto *real = std::get_if<double>(&field.value))
      return absl::StrFormat("%.6f", *real);
    if (const auto *text = std::get_if<std::string>(&field.value))
      return absl::StrCat("\"", absl::StrReplaceAll(*text, {{"\"", "\"\""}}),
                          "\"");
    return "";
  }

  template <typename Cell>
  static void write(const std::vector<Field> &fields, Cell cell) {
    const std::string text =
        absl::StrJoin(fields, ",", [&](std::string *out, const Field &field) {
          absl::StrAppend(out, cell(field));
        });
    std::printf("%s\n", text.c_str());
    std::fflush(stdout);
  }

  const BenchModel &model;
  bool begun = false;
};

/// Flat objects, one for each test, and what the processor could do.
class JsonReport : public BenchReport {
public:
  explicit JsonReport(const BenchModel &model) : model(model) {}

  void add(const BenchResult &result) override { results.push_back(result); }

  void end(const std::vector<BenchLimits> &limits) override {
    JsonWriter json;
    json.object([&] {
      json.array("tests", [&] {
        for (const BenchResult &result : results)
          json.object([&] { writeTest(json, result); });
      });
      json.array("limits", [&] {
        for (const BenchLimits &each : limits)
          json.object([&] { writeLimits(json, each); });
      });
    });
    std::printf("%s\n", json.text().c_str());
  }

private:
  static void writeFields(JsonWriter &json, const std::vector<Field> &fields) {
    for (const Field &field : fields) {
      if (const auto *integer = std::get_if<uint64_t>(&field.value))
        json.field(field.name, *integer);
      else if (const auto *real = std::get_if<double>(&field.value))
        json.field(field.name, *real);
      else if (const auto *text = std::get_if<std::string>(&field.value))
        json.field(field.name, *text);
    }
  }

  void writeTest(JsonWriter &json, const BenchResult &result) const {
    writeFields(json, fieldsOf(model, result));
    json.array("samples_ns", [&] {
      for (const double each : result.seconds)
        json.value(each * kNanoseconds);
    });
    if (!result.breakdown)
      return;
    json.array("breakdown", [&] {
      for (const PartList &list : kPartLists)
        for (const BreakdownPart &part : partsOf(*result.breakdown, list))
          json.object(
              [&] { writeFields(json, fieldsOf(model, result, list, part)); });
    });
  }

  static void writeLimits(JsonWriter &json, const BenchLimits &limits) {
    json.field("n_threads", limits.threads);
    writeRates(json, "read_gbps", limits.before.reads, limits.after.reads);
    writeRates(json, "peak_gflops", limits.before.peaks, limits.after.peaks);
  }

  static void writeRates(JsonWriter &json, const char *name,
                         const std::vector<Rate> &before,
                         const std::vector<Rate> &after) {
    json.array(name, [&] {
      for (size_t i = 0; i < before.size(); ++i)
        json.object([&] {
          json.field("name", before[i].name);
          json.field("before", before[i].perSecond.median / kGiga);
          json.field("best_before", before[i].perSecond.best / kGiga);
          json.field("after", after[i].perSecond.median / kGiga);
          json.field("best_after", after[i].perSecond.best / kGiga);
        });
    });
  }

  const BenchModel &model;
  std::vector<BenchResult> results;
};

} // namespace

BenchReport::~BenchReport() = default;

std::unique_ptr<BenchReport> BenchReport::create(BenchOptions::Format format,
                                                 const BenchModel &model) {
  switch (format) {
  case BenchOptions::Csv:
    return std::make_unique<CsvReport>(model);
  case BenchOptions::Json:
    return std::make_unique<JsonReport>(model);
  default:
    return std::make_unique<MarkdownReport>(model);
  }
}
