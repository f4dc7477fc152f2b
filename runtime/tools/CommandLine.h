//===- CommandLine.h - Options of the runtime's tools ---------------------===//
//
// A parser of our own because the order of options matters to moe-run: inputs
// are given in sequence order.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_RUNTIME_TOOLS_COMMANDLINE_H
#define MOEC_RUNTIME_TOOLS_COMMANDLINE_H

#include "moe/runtime.h"

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include <functional>
#include <string>
#include <vector>

namespace moe::tools {

/// Exit codes, as users of compilers know them.
enum ExitCode { ExitOk = 0, ExitError = 1, ExitUsage = 2 };

/// "--name" or, with a value, "--name VALUE" and "--name=VALUE"; "-l" for an
/// option with a letter.
struct Option {
  std::string name;
  std::string value; // what help calls the value; empty: a switch
  std::string help;
  /// Called in the order of the command line. A failure is a usage error.
  std::function<absl::Status(const std::string &value)> apply;
  char letter = 0; // 0: none
};

struct CommandLine {
  std::string tool;
  std::string operands; // "MODEL.so", for help
  std::string summary;  // one sentence
  std::vector<Option> options;

  /// Calls the options and returns the operands. `helped` becomes true when
  /// --help or --version was asked for and has been answered.
  absl::StatusOr<std::vector<std::string>> parse(int argc, char **argv,
                                                 bool &helped) const;

  std::string help() const;
};

/// Option bodies.
absl::Status parseUnsigned(const std::string &text, uint64_t max,
                           uint64_t &value);

/// auto, cpu or cuda.
absl::Status parseDevice(const std::string &text, moe_device &device);

/// Where a session runs and how much of the device's memory it has, a line for
/// each; one line for the processor.
std::string describeMemory(const moe_device_info &info);

/// Prints "tool: error: sentence" and returns the exit code.
int report(const std::string &tool, const std::string &message);
void remark(const std::string &tool, const std::string &message);
int reportUsage(const std::string &tool, const std::string &message);

/// Flushes standard output; what could not be written is an error.
int finishOutput(const std::string &tool);

} // namespace moe::tools

#endif // MOEC_RUNTIME_TOOLS_COMMANDLINE_H
