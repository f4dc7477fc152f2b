//===- CommandLine.cpp - Options of the runtime's tools -------------------===//

#include "runtime/tools/CommandLine.h"

#include "moe/runtime.h"

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include <algorithm>
#include <cstdio>

using namespace moe::tools;

namespace {

/// Edit distance, for suggestions.
size_t distance(const std::string &a, const std::string &b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j)
    row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

std::string unknownOption(const std::vector<Option> &options,
                          const std::string &name) {
  constexpr size_t kNear = 2;
  const Option *nearest = nullptr;
  size_t best = kNear + 1;
  for (const Option &option : options) {
    const size_t edits = distance(option.name, name);
    if (edits < best) {
      best = edits;
      nearest = &option;
    }
  }
  return nearest ? absl::StrCat("unknown option '--", name,
                                "'; did you mean '--", nearest->name, "'?")
                 : absl::StrCat("unknown option '--", name, "'");
}

} // namespace

std::string CommandLine::help() const {
  std::string text = absl::StrCat("usage: ", tool, " ", operands,
                                  " [options]\n", summary, "\n\noptions:\n");
  for (const Option &option : options) {
    std::string spelling = option.value.empty()
                               ? option.name
                               : absl::StrCat(option.name, " ", option.value);
    if (option.letter)
      absl::StrAppend(&spelling, ", -", std::string(1, option.letter));
    absl::StrAppendFormat(&text, "  --%-22s %s\n", spelling, option.help);
  }
  absl::StrAppendFormat(&text, "  --%-22s %s\n", "help", "print this text");
  absl::StrAppendFormat(&text, "  --%-22s %s\n", "version",
                        "print the version");
  absl::StrAppend(&text, "\nexit codes: 0 success, 1 error, 2 wrong usage\n");
  return text;
}

absl::StatusOr<std::vector<std::string>>
CommandLine::parse(int argc, char **argv, bool &helped) const {
  std::vector<std::string> found;
  helped = false;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--") {
      found.insert(found.end(), argv + i + 1, argv + argc);
      break;
    }
    if (argument.size() < 2 || argument[0] != '-') {
      found.push_back(argument);
      continue;
    }
    const bool isLong = absl::StartsWith(argument, "--");
    const size_t equals = argument.find('=');
    const size_t begin = isLong ? 2 : 1;
    const std::string name = argument.substr(begin, equals - begin);
    if (isLong && equals == std::string::npos &&
        (name == "help" || name == "version")) {
      helped = true;
      std::fputs(name == "help"
                     ? help().c_str()
                     : absl::StrCat(tool, " ", moe_version(), "\n").c_str(),
                 stdout);
      return found;
    }
    const auto option =
        std::find_if(options.begin(), options.end(), [&](const Option &each) {
          return isLong ? each.name == name
                        : name == std::string(1, each.letter);
        });
    if (option == options.end())
      return absl::InvalidArgumentError(
          isLong ? unknownOption(options, name)
                 : absl::StrCat("unknown option '", argument,
                                "'; options begin with '--'"));
    const std::string spelled = argument.substr(0, equals);
    std::string value;
    if (option->value.empty() && equals != std::string::npos)
      return absl::InvalidArgumentError(
          absl::StrCat("option '", spelled, "' takes no value"));
    if (!option->value.empty()) {
      if (equals == std::string::npos && i + 1 == argc)
        return absl::InvalidArgumentError(absl::StrCat(
            "option '", spelled, "': expected ", option->value, " after it"));
      value =
          equals == std::string::npos ? argv[++i] : argument.substr(equals + 1);
    }
    if (const absl::Status status = option->apply(value); !status.ok())
      return absl::InvalidArgumentError(
          absl::StrCat("option '", spelled, "': ", status.message()));
  }
  return found;
}

absl::Status moe::tools::parseUnsigned(const std::string &text, uint64_t max,
                                       uint64_t &value) {
  if (!absl::SimpleAtoi(text, &value) || value > max)
    return absl::InvalidArgumentError(
        absl::StrCat("expected a number up to ", max, ", found '", text, "'"));
  return absl::OkStatus();
}

absl::Status moe::tools::parseDevice(const std::string &text,
                                     moe_device &device) {
  if (text == "auto")
    device = MOE_DEVICE_AUTO;
  else if (text == "cpu")
    device = MOE_DEVICE_CPU;
  else if (text == "cuda")
    device = MOE_DEVICE_CUDA;
  else
    return absl::InvalidArgumentError(
        absl::StrCat("expected auto, cpu or cuda, found '", text, "'"));
  return absl::OkStatus();
}

std::string moe::tools::describeMemory(const moe_device_info &info) {
  if (info.device != MOE_DEVICE_CUDA)
    return "memory of a device: none, the steps run on the processor\n";
  std::string text = absl::StrFormat(
      "memory of %s (compute capability %d.%d, code for %s), bytes:\n",
      info.name, info.capability_major, info.capability_minor, info.level);
  const std::pair<const char *, uint64_t> parts[] = {
      {"weights", info.weight_bytes}, {"constants", info.constant_bytes},
      {"cache", info.cache_bytes},    {"scratch", info.scratch_bytes},
      {"outputs", info.output_bytes}, {"batch", info.batch_bytes}};
  uint64_t sum = 0;
  for (const auto &[name, bytes] : parts) {
    absl::StrAppendFormat(&text, "  %-9s  %15d\n", name, bytes);
    sum += bytes;
  }
  absl::StrAppendFormat(&text, "  %-9s  %15d\n", "sum", sum);
  absl::StrAppendFormat(&text, "  %-9s  %15d of %d\n", "free", info.free_bytes,
                        info.total_bytes);
  return text;
}

void moe::tools::remark(const std::string &tool, const std::string &message) {
  std::fprintf(stderr, "%s: remark: %s\n", tool.c_str(), message.c_str());
}

int moe::tools::report(const std::string &tool, const std::string &message) {
  std::fflush(stdout);
  std::fprintf(stderr, "%s: error: %s\n", tool.c_str(), message.c_str());
  return ExitError;
}

int moe::tools::reportUsage(const std::string &tool,
                            const std::string &message) {
  report(tool, message);
  std::fprintf(stderr, "%s: try '%s --help'\n", tool.c_str(), tool.c_str());
  return ExitUsage;
}

int moe::tools::finishOutput(const std::string &tool) {
  if (std::fflush(stdout) != 0 || std::ferror(stdout))
    return report(tool, "cannot write to standard output");
  return ExitOk;
}
