//===- RunOptions.cpp - What moe-run was asked to do ----------------------===//

#include "runtime/tools/RunOptions.h"

#include "runtime/tools/CommandLine.h"

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

#include <climits>
#include <cmath>

using namespace moe::tools;

namespace {

using Body = std::function<absl::Status(const std::string &)>;

Body input(RunOptions &options, InputOption::Kind kind) {
  return [&options, kind](const std::string &value) {
    options.prompts.back().push_back({kind, value});
    return absl::OkStatus();
  };
}

/// An input that begins another prompt, unless it is the first of all.
Body prompt(RunOptions &options, InputOption::Kind kind) {
  return [&options, kind](const std::string &value) {
    if (!options.prompts.back().empty())
      options.prompts.emplace_back();
    options.prompts.back().push_back({kind, value});
    return absl::OkStatus();
  };
}

Body real(double &into) {
  return [&into](const std::string &value) {
    return absl::SimpleAtod(value, &into)
               ? absl::OkStatus()
               : absl::InvalidArgumentError(
                     absl::StrCat("expected a number, found '", value, "'"));
  };
}

/// Remembers that an option of generation was given.
Body noted(bool &given, Body body) {
  return [&given, body](const std::string &value) {
    given = true;
    return body(value);
  };
}

Body keep(std::string &into) {
  return [&into](const std::string &value) {
    if (value.empty())
      return absl::InvalidArgumentError("expected a value, found none");
    into = value;
    return absl::OkStatus();
  };
}

Body number(uint64_t &into, uint64_t min, uint64_t max) {
  return [&into, min, max](const std::string &value) {
    const absl::Status status = parseUnsigned(value, max, into);
    if (status.ok() && into < min)
      return absl::InvalidArgumentError(
          absl::StrCat("expected at least ", min, ", found ", into));
    return status;
  };
}

absl::Status parsePrint(const std::string &value, RunOptions::Print &print) {
  if (value == "none")
    print = RunOptions::Nothing;
  else if (value == "top")
    print = RunOptions::Top;
  else if (value == "logits")
    print = RunOptions::Logits;
  else
    return absl::InvalidArgumentError(
        absl::StrCat("expected none, top or logits, found '", value, "'"));
  return absl::OkStatus();
}

absl::Status parseTolerance(const std::string &value, double &tolerance) {
  if (!absl::SimpleAtod(value, &tolerance) || !std::isfinite(tolerance) ||
      tolerance < 0)
    return absl::InvalidArgumentError(absl::StrCat(
        "expected a number that is not negative, found '", value, "'"));
  return absl::OkStatus();
}

CommandLine commandLine(RunOptions &options, bool &generates,
                        bool &toleranceGiven) {
  return {
      "moe-run",
      "MODEL.so",
      "Runs an entry of a compiled model. Inputs form the sequence in the "
      "order "
      "in which\nthey are given.",
      {
          {"entry", "NAME", "entry to run (prefill, or the only one)",
           keep(options.entry)},
          {"text", "STRING", "bytes for the token modality of 256 ids",
           input(options, InputOption::Text)},
          {"ids", "[NAME=]1,2,3", "ids of a token modality",
           input(options, InputOption::Ids)},
          {"raw", "NAME=FILE[@INDEX]",
           "raw inputs: IDX (also gzipped), npy or plain bytes",
           input(options, InputOption::Raw)},
          {"prompt", "STRING", "begins another prompt with --text STRING",
           prompt(options, InputOption::Text)},
          {"prompt-ids", "1,2,3", "begins another prompt with --ids",
           prompt(options, InputOption::Ids)},
          {"next", "", "the inputs after it are of another prompt",
           [&options](const std::string &) {
             if (options.prompts.back().empty())
               return absl::InvalidArgumentError("expected inputs before it");
             options.prompts.emplace_back();
             return absl::OkStatus();
           }},
          {"max-tokens", "N", "then generate up to N tokens for each prompt",
           number(options.maxTokens, 1, INT_MAX)},
          {"decode-entry", "NAME", "entry for generated tokens (decode)",
           noted(generates, keep(options.decodeEntry))},
          {"stop-ids", "1,2,3",
           "ids that end a text, or none (the model's own)",
           noted(generates,
                 [&options](const std::string &value) {
                   return keep(options.stop.emplace())(value);
                 })},
          {"temperature", "X", "of the draw, 0: the most probable token (0)",
           noted(generates, real(options.sampling.temperature))},
          {"top-k", "N", "draw among the N most probable, 0: all (0)",
           noted(generates,
                 [&options](const std::string &value) {
                   uint64_t topK = 0;
                   const absl::Status status =
                       parseUnsigned(value, UINT32_MAX, topK);
                   options.sampling.top_k = static_cast<uint32_t>(topK);
                   return status;
                 })},
          {"top-p", "X", "draw among those that reach this probability (1)",
           noted(generates, real(options.sampling.top_p))},
          {"min-p", "X", "leave out those below X of the largest (0)",
           noted(generates, real(options.sampling.min_p))},
          {"repetition-penalty", "X",
           "makes tokens that were there unlikelier (1)",
           noted(generates, real(options.sampling.repetition_penalty))},
          {"seed", "N", "seed of the draws (0)",
           noted(generates, number(options.sampling.seed, 0, UINT64_MAX))},
          {"stream", "N", "stream of the first prompt's draws (0)",
           noted(generates, number(options.stream, 0, INT_MAX))},
          {"choices", "FILE",
           "rank the lines of FILE as continuations of the inputs",
           keep(options.choices)},
          {"choice-end", "STRING",
           "what ends each choice; escapes as in C (\\n)",
           [&options](const std::string &value) {
             return absl::CUnescape(value, &options.choiceEnd)
                        ? absl::OkStatus()
                        : absl::InvalidArgumentError("expected C escapes");
           }},
          {"print", "WHAT", "none, top (of the last row) or logits",
           [&options](const std::string &value) {
             return parsePrint(value, options.print);
           }},
          {"output", "FILE.npy", "write the first output as npy",
           keep(options.output)},
          {"routing-ids", "FILE.npy",
           "write the experts of the inputs, i32 [routers, tokens, slots]",
           keep(options.routingIds)},
          {"routing-weights", "FILE.npy", "write their weights, f32",
           keep(options.routingWeights)},
          {"replay-ids", "FILE.npy",
           "experts that take the place of the routers' choice, as "
           "--routing-ids writes them",
           keep(options.replayIds)},
          {"replay-weights", "FILE.npy", "their weights (the routers' own)",
           keep(options.replayWeights)},
          {"expert-mask", "FILE.npy", "u8 [routers, experts], 0: never chosen",
           keep(options.expertMask)},
          {"router-bias", "FILE.npy",
           "f32 [routers, experts], added to the logits of the routers",
           keep(options.routerBias)},
          {"experts-per-token", "N", "at most N, of each router",
           number(options.expertsPerToken, 1, INT_MAX)},
          {"check", "REF.npy", "compare the first output with this one",
           keep(options.check)},
          {"tolerance", "X", "largest difference that --check accepts (1e-4)",
           [&options, &toleranceGiven](const std::string &value) {
             toleranceGiven = true;
             return parseTolerance(value, options.tolerance);
           }},
          {"threads", "N", "threads (MOE_THREADS, else all CPUs)",
           number(options.threads, 1, 1024)},
          {"device", "WHERE", "auto, cpu or cuda (MOE_DEVICE, else auto)",
           [&options](const std::string &value) {
             return parseDevice(value, options.device);
           }},
          {"print-memory", "", "print what it has of the device's memory",
           [&options](const std::string &) {
             options.printMemory = true;
             return absl::OkStatus();
           }},
          {"verify", "", "compare the weights with their checksums first",
           [&options](const std::string &) {
             options.verify = true;
             return absl::OkStatus();
           }},
      }};
}

} // namespace

absl::StatusOr<RunOptions> moe::tools::parseRunOptions(int argc, char **argv,
                                                       bool &done) {
  RunOptions options;
  moe_sampling_default_options(&options.sampling);
  bool generates = false;
  bool toleranceGiven = false;
  const auto operands =
      commandLine(options, generates, toleranceGiven).parse(argc, argv, done);
  if (!operands.ok())
    return operands.status();
  if (done)
    return options;
  const auto wrong = [](auto... text) {
    return absl::InvalidArgumentError(absl::StrCat(text...));
  };
  if (operands->size() != 1)
    return wrong("expected one artifact, found ", operands->size());
  options.artifact = operands->front();
  if (options.prompts.back().empty())
    return wrong("expected an input: --text, --ids or --raw");
  if (options.maxTokens && !options.choices.empty())
    return wrong("--max-tokens and --choices exclude each other");
  if (options.prompts.size() > 1 && !options.choices.empty())
    return wrong("--choices: expected one prompt, found ",
                 options.prompts.size());
  if (!options.maxTokens && generates)
    return wrong("--decode-entry, --stop-ids and options of draws need "
                 "--max-tokens");
  if (!options.replayWeights.empty() && options.replayIds.empty())
    return wrong("--replay-weights needs --replay-ids");
  if (!options.replayIds.empty() && options.maxTokens)
    return wrong("--replay-ids is for the inputs alone: expected no "
                 "--max-tokens");
  if (options.givesRouting() && !options.choices.empty())
    return wrong("--replay-ids, --expert-mask, --router-bias and "
                 "--experts-per-token are not for choices: expected no "
                 "--choices");
  if (toleranceGiven && options.check.empty())
    return wrong("--tolerance needs --check");
  return options;
}
