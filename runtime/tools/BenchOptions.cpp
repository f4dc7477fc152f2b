//===- BenchOptions.cpp - What moe-bench was asked to measure -------------===//

#include "runtime/tools/BenchOptions.h"

#include "runtime/tools/CommandLine.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

#include <climits>

using namespace moe::tools;

namespace {

using Body = std::function<absl::Status(const std::string &)>;

/// A shorter buffer would be read from the caches of some processors.
constexpr uint64_t kLeastBufferMiB = 512;
constexpr uint64_t kMostThreads = 1024;
constexpr uint64_t kMostSequences = 4096;
constexpr uint64_t kMostRepetitions = 10000;

absl::Status parseBetween(const std::string &text, uint64_t min, uint64_t max,
                          uint64_t &value) {
  const absl::Status status = parseUnsigned(text, max, value);
  if (status.ok() && value < min)
    return absl::InvalidArgumentError(
        absl::StrCat("expected at least ", min, ", found ", value));
  return status;
}

Body number(uint64_t &into, uint64_t min, uint64_t max) {
  return [&into, min, max](const std::string &value) {
    return parseBetween(value, min, max, into);
  };
}

Body list(std::vector<uint64_t> &into, uint64_t min, uint64_t max) {
  return [&into, min, max](const std::string &value) {
    std::vector<uint64_t> numbers;
    for (const absl::string_view part : absl::StrSplit(value, ',')) {
      const absl::Status status =
          parseBetween(std::string(part), min, max, numbers.emplace_back());
      if (!status.ok())
        return status;
    }
    into = std::move(numbers);
    return absl::OkStatus();
  };
}

Body name(std::string &into) {
  return [&into](const std::string &value) {
    if (value.empty())
      return absl::InvalidArgumentError("expected a name, found none");
    into = value;
    return absl::OkStatus();
  };
}

absl::Status parseFormat(const std::string &value,
                         BenchOptions::Format &format) {
  if (value == "md")
    format = BenchOptions::Markdown;
  else if (value == "csv")
    format = BenchOptions::Csv;
  else if (value == "json")
    format = BenchOptions::Json;
  else
    return absl::InvalidArgumentError(
        absl::StrCat("expected md, csv or json, found '", value, "'"));
  return absl::OkStatus();
}

absl::Status parseBreakdown(const std::string &value, BenchOptions &options) {
  for (const absl::string_view part : absl::StrSplit(value, ',')) {
    if (part == "kinds")
      options.kinds = true;
    else if (part == "layers")
      options.layers = true;
    else if (part == "kernels")
      options.kernels = true;
    else
      return absl::InvalidArgumentError(absl::StrCat(
          "expected a list of kinds, layers and kernels, found '", value, "'"));
  }
  return absl::OkStatus();
}

CommandLine commandLine(BenchOptions &options) {
  return {
      "moe-bench",
      "MODEL.so",
      "Measures tokens per second, and what the processor could do at best in "
      "the same\nminutes. Every combination of the lists is a test.",
      {
          {"prompt", "N,..", "prefill N tokens, 0: none (512)",
           list(options.prompts, 0, INT_MAX), 'p'},
          {"gen", "N,..", "decode N tokens one by one, 0: none (64)",
           list(options.generated, 0, INT_MAX), 'n'},
          {"batch", "B,..", "decode B sequences at once (1)",
           list(options.batches, 1, kMostSequences), 'b'},
          {"depth", "N,..", "tokens in the cache before the test (0)",
           list(options.depths, 0, INT_MAX), 'd'},
          {"threads", "N,..", "threads (MOE_THREADS, else all CPUs)",
           list(options.threads, 1, kMostThreads), 't'},
          {"device", "WHERE", "auto, cpu or cuda (MOE_DEVICE, else auto)",
           [&options](const std::string &value) {
             return parseDevice(value, options.device);
           }},
          {"print-memory", "", "print what each test has of a device's memory",
           [&options](const std::string &) {
             options.printMemory = true;
             return absl::OkStatus();
           }},
          {"repetitions", "N", "times to run each test (5)",
           number(options.repetitions, 1, kMostRepetitions), 'r'},
          {"output", "FORMAT", "md, csv or json (md)",
           [&options](const std::string &value) {
             return parseFormat(value, options.format);
           },
           'o'},
          {"entry-prefill", "NAME", "entry that prefills (prefill)",
           name(options.prefillEntry)},
          {"entry-decode", "NAME", "entry that decodes (decode)",
           name(options.decodeEntry)},
          {"modality", "NAME", "token modality to feed (the only one)",
           name(options.modality)},
          {"seed", "N", "seed of the random tokens (1)",
           number(options.seed, 0, UINT64_MAX)},
          {"buffer-mib", "N", "memory to read for the bandwidth (1024)",
           number(options.bufferMiB, kLeastBufferMiB, 1u << 20)},
          {"breakdown", "WHAT,..",
           "where the time goes: kinds (of kernels), layers, kernels",
           [&options](const std::string &value) {
             return parseBreakdown(value, options);
           }},
          {"no-verify", "", "do not compare the weights with their checksums",
           [&options](const std::string &) {
             options.verify = false;
             return absl::OkStatus();
           }},
          {"no-limits", "", "leave out bandwidth and peaks",
           [&options](const std::string &) {
             options.limits = false;
             return absl::OkStatus();
           }},
      }};
}

bool allZero(const std::vector<uint64_t> &numbers) {
  for (const uint64_t number : numbers)
    if (number)
      return false;
  return true;
}

} // namespace

absl::StatusOr<BenchOptions>
moe::tools::parseBenchOptions(int argc, char **argv, bool &done) {
  BenchOptions options;
  const auto operands = commandLine(options).parse(argc, argv, done);
  if (!operands.ok())
    return operands.status();
  if (done)
    return options;
  if (operands->size() != 1)
    return absl::InvalidArgumentError(
        absl::StrCat("expected one artifact, found ", operands->size()));
  options.artifact = operands->front();
  if (allZero(options.prompts) && allZero(options.generated))
    return absl::InvalidArgumentError(
        "expected a test, found '-p 0' and '-n 0'");
  return options;
}
