//===- Bench.cpp - moe-bench: tokens per second of a model ----------------===//
//
// Every test is repeated on warm weights, and what the processor could do is
// measured around it, for it drifts on machines that others share.
//
//===----------------------------------------------------------------------===//

#include "moe/runtime.hpp"
#include "runtime/tools/BenchBreakdown.h"
#include "runtime/tools/BenchCosts.h"
#include "runtime/tools/BenchMachine.h"
#include "runtime/tools/BenchOptions.h"
#include "runtime/tools/BenchReport.h"
#include "runtime/tools/CommandLine.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <optional>

using namespace moe;
using namespace moe::tools;

namespace {

const std::string kTool = "moe-bench";

constexpr unsigned kReadPasses = 7;
constexpr unsigned kPeakPasses = 7;
constexpr uint64_t kWarmSteps = 8;

template <typename... Args> [[noreturn]] void fail(const Args &...args) {
  throw Error(MOE_ERROR_INVALID_ARGUMENT, absl::StrCat(args...));
}

/// Random ids; the generator splitmix64.
class RandomIds {
public:
  RandomIds(uint64_t seed, uint32_t vocabulary)
      : state(seed), vocabulary(vocabulary) {}
  std::vector<int32_t> next(uint64_t count) {
    std::vector<int32_t> ids(count);
    for (int32_t &id : ids)
      id = static_cast<int32_t>(next() % vocabulary);
    return ids;
  }

private:
  uint64_t next() {
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

  uint64_t state;
  uint32_t vocabulary;
};

/// The tests of one number of threads.
class Bench {
public:
  /// `level` is that of the device on which the tests run; empty: none.
  Bench(const BenchOptions &options, const Model &model,
        const std::string &level)
      : options(options), model(model), level(level),
        manifest(manifest::GetManifest(model.info().manifest)->UnPack()),
        prefill(model.entry(options.prefillEntry)),
        decode(model.entry(options.decodeEntry)), modality(chooseModality()) {
    if (options.breakdown())
      checkTables();
  }

  BenchModel describe() const;
  /// Runs a test of prefill, or one of decode with batch > 0.
  BenchResult run(uint64_t tokens, uint64_t batch, uint64_t depth);

private:
  moe_modality_info chooseModality() const;
  uint64_t longestPiece() const;
  bool hasCache(const moe_entry_info &entry) const {
    return model.function(entry.function).cache_tokens != 0;
  }
  void feed(Session &session, const moe_entry_info &entry,
            std::vector<Sequence> &sequences, const std::vector<int32_t> &ids);
  void countHits(Session &session, const moe_entry_info &entry);
  void fill(Session &session, std::vector<Sequence> &sequences, uint64_t depth);
  void warmUp(const moe_entry_info &entry, const std::function<double()> &pass);
  void checkTables() const;
  void trace(const std::function<void()> &passes);
  void breakDown(BenchResult &result, const BenchCosts &costs,
                 const StepShape &shape, const std::vector<double> &hits) const;
  void runPrefill(BenchResult &result);
  void runDecode(BenchResult &result);
  void finish(BenchResult &result, const moe_entry_info &entry,
              const StepShape &shape, Session &session) const;

  const BenchOptions &options;
  const Model &model;
  const std::string level;
  const std::unique_ptr<manifest::ManifestT> manifest;
  const moe_entry_info prefill, decode;
  const moe_modality_info modality;
  std::optional<RandomIds> ids; // of the test
  // While routing is kept: sums over the steps of the experts hit, by pool.
  bool countsHits = false;
  std::vector<uint64_t> hitSums;
  uint64_t hitSteps = 0;
  // While steps are traced.
  bool traces = false;
  std::optional<BreakdownTimes> times; // of the test
};

double secondsOf(const std::function<void()> &body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
      .count();
}

moe_modality_info Bench::chooseModality() const {
  const uint32_t mask = model.function(prefill.function).modalities &
                        model.function(decode.function).modalities;
  std::vector<moe_modality_info> found;
  std::vector<std::string> names;
  for (uint32_t i = 0; i < model.info().num_modalities; ++i) {
    const moe_modality_info each = model.modality(i);
    if (each.is_raw || !(mask >> each.id & 1))
      continue;
    names.push_back(each.name);
    if (options.modality.empty() || options.modality == each.name)
      found.push_back(each);
  }
  if (found.size() != 1)
    fail(options.modality.empty()
             ? "expected one token modality in entries '"
             : absl::StrCat("--modality: expected one of the entries '"),
         prefill.name, "' and '", decode.name, "', found ",
         options.modality.empty()
             ? ""
             : absl::StrCat("'", options.modality, "', not one of "),
         names.empty() ? "none" : absl::StrJoin(names, ", "),
         options.modality.empty() && names.size() > 1
             ? "; --modality chooses one"
             : "");
  return found.front();
}

BenchModel Bench::describe() const {
  const BenchCosts costs(*manifest, decode.function, modality.name);
  BenchModel described;
  described.file = options.artifact;
  described.name = manifest->model;
  described.format = costs.format();
  described.compute = manifest::EnumNameDType(manifest->compute);
  described.bytes = model.info().weight_bytes;
  described.parameters = costs.parameters();
  described.processor = processorName();
  return described;
}

BenchResult Bench::run(uint64_t tokens, uint64_t batch, uint64_t depth) {
  ids.emplace(options.seed, modality.vocab);
  BenchResult result;
  result.depth = depth;
  result.batch = std::max<uint64_t>(batch, 1);
  if (batch) {
    result.generated = tokens;
    runDecode(result);
  } else {
    result.prompt = tokens;
    runPrefill(result);
  }
  return result;
}

/// Most tokens that one call of the prefill entry takes.
uint64_t Bench::longestPiece() const {
  for (const auto &entry : manifest->entries)
    if (entry->name == prefill.name)
      for (const auto &segment : entry->layout)
        if (std::count(segment->modalities.begin(), segment->modalities.end(),
                       modality.id))
          return segment->max;
  return 1; // the runtime will say what is wrong
}

/// One step: ids.size() / sequences.size() tokens for each sequence.
void Bench::feed(Session &session, const moe_entry_info &entry,
                 std::vector<Sequence> &sequences,
                 const std::vector<int32_t> &tokens) {
  const uint64_t items = std::max<uint64_t>(sequences.size(), 1);
  const uint64_t each = tokens.size() / items;
  std::vector<Input> inputs(items);
  std::vector<Item> batch(items, detail::sized<Item>());
  for (uint64_t i = 0; i < items; ++i) {
    inputs[i] = input(modality.name, MOE_I32, tokens.data() + i * each, each);
    batch[i].sequence = sequences.empty() ? nullptr : sequences[i].get();
    batch[i].inputs = &inputs[i];
    batch[i].num_inputs = 1;
  }
  const double seconds = secondsOf([&] {
    session.step(entry.name, batch.data(), batch.size(), countsHits, traces);
  });
  if (traces)
    times->add(session.trace(), seconds);
  if (countsHits)
    countHits(session, entry);
}

void Bench::countHits(Session &session, const moe_entry_info &entry) {
  const BenchCosts costs(*manifest, entry.function, modality.name);
  hitSums.resize(costs.pools().size());
  for (size_t i = 0; i < costs.pools().size(); ++i) {
    const BenchCosts::Pool &pool = costs.pools()[i];
    const Routing routing = session.routing(pool.ordinal);
    std::vector<bool> hit(pool.experts, false);
    for (uint64_t at = 0; at < routing.tokens() * routing.slots(); ++at)
      if (const int32_t id = routing.ids()[at];
          id >= 0 && static_cast<uint32_t>(id) < pool.experts)
        hit[static_cast<size_t>(id)] = true;
    hitSums[i] +=
        static_cast<uint64_t>(std::count(hit.begin(), hit.end(), true));
  }
  ++hitSteps;
}

/// Puts `depth` random tokens into each sequence.
void Bench::fill(Session &session, std::vector<Sequence> &sequences,
                 uint64_t depth) {
  const uint64_t longest = longestPiece();
  for (Sequence &sequence : sequences) {
    std::vector<Sequence> alone;
    alone.push_back(std::move(sequence));
    for (uint64_t done = 0; done < depth;) {
      const uint64_t piece = std::min(longest, depth - done);
      feed(session, prefill, alone, ids->next(piece));
      done += piece;
    }
    sequence = std::move(alone.front());
  }
}

/// A pass that is not timed. Another one before it counts the experts that are
/// hit, where the entry exports them: keeping them costs time.
void Bench::warmUp(const moe_entry_info &entry,
                   const std::function<double()> &pass) {
  hitSums.clear();
  hitSteps = 0;
  countsHits = entry.routing_out != 0;
  if (countsHits)
    pass();
  countsHits = false;
  pass();
}

/// Before anything is measured.
void Bench::checkTables() const {
  for (uint32_t i = 0; i < model.info().num_variants; ++i)
    if (const moe_variant_info variant = model.variant(i);
        (level.empty() ? variant.available != 0 : variant.isa == level) &&
        variant.modalities >> modality.id & 1 &&
        (variant.function == prefill.function ||
         variant.function == decode.function))
      BreakdownTable(*manifest, i, options.artifact);
}

/// Passes of their own, for time stamps take time.
void Bench::trace(const std::function<void()> &passes) {
  times.reset();
  if (!options.breakdown())
    return;
  times.emplace();
  traces = true;
  passes();
  traces = false;
}

void Bench::breakDown(BenchResult &result, const BenchCosts &costs,
                      const StepShape &shape,
                      const std::vector<double> &hits) const {
  const BreakdownTable table(*manifest, times->variant(), options.artifact);
  Breakdown breakdown = table.sum(*times, costs, shape, hits);
  if (!options.kinds)
    breakdown.kinds.clear();
  if (!options.layers)
    breakdown.layers.clear();
  if (!options.kernels)
    breakdown.kernels.clear();
  result.breakdown = std::move(breakdown);
}

void Bench::runPrefill(BenchResult &result) {
  if (!hasCache(prefill) && result.depth)
    fail("--depth: expected an entry with a cache, found '", prefill.name,
         "' without");
  Session session(model, 0, 0, options.device);
  std::vector<Sequence> sequences;
  if (hasCache(prefill))
    sequences.push_back(session.create_sequence());
  fill(session, sequences, result.depth);
  const auto pass = [&] {
    const std::vector<int32_t> tokens = ids->next(result.prompt);
    const double seconds =
        secondsOf([&] { feed(session, prefill, sequences, tokens); });
    if (!sequences.empty())
      sequences.front().trim(result.depth);
    return seconds;
  };
  warmUp(prefill, pass);
  for (uint64_t i = 0; i < options.repetitions; ++i)
    result.seconds.push_back(pass());
  trace([&] {
    for (uint64_t i = 0; i < options.repetitions; ++i)
      pass();
  });
  result.tokens = result.prompt;
  result.steps = 1;
  StepShape shape;
  shape.tokens = result.prompt;
  shape.rows = prefill.last_only ? 1 : result.prompt;
  shape.positions =
      result.prompt * result.depth + result.prompt * (result.prompt + 1) / 2;
  finish(result, prefill, shape, session);
}

void Bench::runDecode(BenchResult &result) {
  if (!hasCache(decode))
    fail("expected an entry with a cache to decode with, found '", decode.name,
         "' without; '-n 0' leaves decode out");
  Session session(model, 0, 0, options.device);
  std::vector<Sequence> sequences;
  for (uint64_t i = 0; i < result.batch; ++i)
    sequences.push_back(session.create_sequence());
  fill(session, sequences, result.depth);
  const auto pass = [&](uint64_t steps) {
    const std::vector<int32_t> tokens = ids->next(steps * result.batch);
    const double seconds = secondsOf([&] {
      for (uint64_t step = 0; step < steps; ++step) {
        const auto first =
            tokens.begin() + static_cast<std::ptrdiff_t>(step * result.batch);
        feed(session, decode, sequences,
             {first, first + static_cast<std::ptrdiff_t>(result.batch)});
      }
    });
    for (Sequence &sequence : sequences)
      sequence.trim(result.depth);
    return seconds;
  };
  warmUp(decode, [&] { return pass(std::min(result.generated, kWarmSteps)); });
  for (uint64_t i = 0; i < options.repetitions; ++i)
    result.seconds.push_back(pass(result.generated));
  trace([&] { pass(result.generated); });
  result.tokens = result.generated * result.batch;
  result.steps = result.generated;
  StepShape shape;
  shape.tokens = result.batch;
  shape.rows = result.batch;
  // The mean over the steps, whose contexts grow from depth + 1.
  shape.positions =
      result.batch * result.depth + result.batch * (result.generated + 1) / 2;
  finish(result, decode, shape, session);
}

void Bench::finish(BenchResult &result, const moe_entry_info &entry,
                   const StepShape &shape, Session &session) const {
  const BenchCosts costs(*manifest, entry.function, modality.name);
  std::vector<double> hits;
  for (const BenchCosts::Pool &pool : costs.pools())
    hits.push_back(BenchCosts::expectedHits(pool, shape.tokens));
  if (hitSteps) {
    result.hits = 0;
    for (size_t i = 0; i < hits.size(); ++i) {
      hits[i] = static_cast<double>(hitSums[i]) / static_cast<double>(hitSteps);
      *result.hits += hits[i] / static_cast<double>(hits.size());
    }
  }
  result.expectedHits = costs.expectedHits(shape.tokens);
  result.weightBytes = costs.weightBytes(shape, hits);
  result.cacheBytes = costs.cacheBytes(shape);
  result.operations = costs.operations(shape);
  result.memory = residentMemory();
  if (times)
    breakDown(result, costs, shape, hits);
  const moe_variant_info ran = model.variant(session.stats().last_variant);
  result.backend = absl::StrCat(
      session.device().device == MOE_DEVICE_CUDA ? "CUDA " : "CPU ", ran.isa);
  if (options.printMemory)
    std::fputs(describeMemory(session.device()).c_str(), stderr);
}

struct TestCase {
  uint64_t tokens, batch, depth;
};

std::vector<TestCase> testCases(const BenchOptions &options) {
  std::vector<TestCase> cases;
  for (const uint64_t depth : options.depths) {
    for (const uint64_t prompt : options.prompts)
      if (prompt)
        cases.push_back({prompt, 0, depth});
    for (const uint64_t generated : options.generated)
      for (const uint64_t batch : options.batches)
        if (generated)
          cases.push_back({generated, batch, depth});
  }
  return cases;
}

ProcessorRates measureLimits(const BenchOptions &options, unsigned threads) {
  return {measureReads(threads, options.bufferMiB << 20, kReadPasses),
          measurePeaks(threads, kPeakPasses)};
}

/// The processor's peak for what the model computes in; absent where it is not
/// known.
std::optional<double> peakFor(const std::string &compute,
                              const std::vector<Rate> &peaks) {
  const std::string wanted = compute == "i8" ? "int8" : compute;
  std::optional<double> single;
  for (const Rate &peak : peaks) {
    if (peak.name == wanted)
      return peak.perSecond.median;
    if (peak.name == "f32")
      single = peak.perSecond.median;
  }
  // Without the instruction the product is computed in f32.
  return single;
}

/// Of the device on which sessions run; empty: on the processor.
std::string levelOf(const Model &model, moe_device wanted) {
  const Session session(model, 0, 0, wanted);
  const moe_device_info device = session.device();
  if (*device.remark)
    remark(kTool, absl::StrCat("on the processor: ", device.remark));
  return device.device == MOE_DEVICE_CUDA ? device.level : "";
}

void runAll(const BenchOptions &options) {
  std::vector<BenchLimits> limits;
  BenchModel described;
  std::unique_ptr<BenchReport> report;
  bool isFirst = true;
  for (const uint64_t asked : options.threads) {
    const Engine engine(static_cast<unsigned>(asked));
    // No test waits for pages of weights, which a device does not read. Their
    // checksums are compared once.
    const Model model =
        Model::load(engine, options.artifact, options.verify && isFirst,
                    /*populate=*/options.device != MOE_DEVICE_CUDA);
    isFirst = false;
    const std::string level = levelOf(model, options.device);
    Bench bench(options, model, level);
    // The processor's limits say nothing about a device.
    const bool limited = options.limits && level.empty();
    if (!report) {
      described = bench.describe();
      report = BenchReport::create(options.format, described);
    }
    BenchLimits limit;
    limit.threads = engine.threads();
    if (limited) {
      limit.before = measureLimits(options, limit.threads);
      limit.after = limit.before;
    }
    for (const TestCase &test : testCases(options)) {
      BenchResult result = bench.run(test.tokens, test.batch, test.depth);
      result.threads = limit.threads;
      if (limited) {
        const ProcessorRates before = std::move(limit.after);
        limit.after = measureLimits(options, limit.threads);
        result.readBefore = fastest(before.reads).perSecond.median;
        result.readAfter = fastest(limit.after.reads).perSecond.median;
        result.peakBefore = peakFor(described.compute, before.peaks);
        result.peakAfter = peakFor(described.compute, limit.after.peaks);
      }
      report->add(result);
    }
    if (limited)
      limits.push_back(std::move(limit));
  }
  report->end(limits);
}

} // namespace

int main(int argc, char **argv) {
  try {
    bool done = false;
    const auto options = parseBenchOptions(argc, argv, done);
    if (!options.ok())
      return reportUsage(kTool, std::string(options.status().message()));
    if (!done)
      runAll(*options);
    return finishOutput(kTool);
  } catch (const std::exception &error) {
    return report(kTool, error.what());
  }
}
