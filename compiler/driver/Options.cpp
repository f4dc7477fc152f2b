//===- Options.cpp - The command line of moec -----------------------------===//

#include "compiler/driver/Options.h"

#include "compiler/plugin/BuildIdentity.h"
#include "compiler/targets/TargetBackend.h"
#include "frontend/Diagnostics.h"
#include "frontend/SpellCheck.h"
#include "frontend/importers/Importer.h"

#include "mlir/IR/AsmState.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Support/Timing.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/Regex.h"
#include "llvm/Support/raw_ostream.h"

using namespace moec;
using llvm::StringRef;
namespace cl = llvm::cl;

namespace {
/// Option objects register themselves, so they live only while parsing is
/// wanted: a tool that links libmoec has no option of ours.
struct CommandLine {
  cl::OptionCategory category{"Options of moec"};
  cl::list<std::string> inputs{cl::Positional, cl::desc("INPUT"),
                               cl::cat(category)};
  cl::opt<std::string> output{
      "o", cl::desc("Output file (default: the input's name with .so)"),
      cl::value_desc("file"), cl::cat(category)};
  cl::opt<EmitKind> emit{
      "emit", cl::desc("What to write:"), cl::init(EmitKind::Artifact),
      cl::values(
          clEnumValN(EmitKind::Ast, "ast", "the source, printed back"),
          clEnumValN(EmitKind::Moe, "moe", "IR after phase import"),
          clEnumValN(EmitKind::Mlir, "mlir",
                     "IR after phase schedule, or the "
                     "phase of --compile-to"),
          clEnumValN(EmitKind::MlirLlvm, "mlir-llvm", "IR after phase target"),
          clEnumValN(EmitKind::Llvm, "llvm", "optimised LLVM IR"),
          clEnumValN(EmitKind::Assembly, "asm", "assembly"),
          clEnumValN(EmitKind::Ptx, "ptx", "PTX of all levels of devices"),
          clEnumValN(EmitKind::Object, "obj", "an object file, no weights"),
          clEnumValN(EmitKind::Artifact, "so", "the model (default)")),
      cl::cat(category)};
  cl::opt<std::string> compileTo{
      "compile-to", cl::desc("Stop after this phase and write the IR"),
      cl::value_desc("phase"), cl::cat(category)};
  cl::opt<std::string> compileFrom{
      "compile-from",
      cl::desc("Begin with this phase; the input is IR in the form after the "
               "one before it (default for IR: graph)"),
      cl::value_desc("phase"), cl::cat(category)};
  cl::opt<std::string> dumpPhases{
      "dump-phases", cl::desc("Write the IR after every phase to this folder"),
      cl::value_desc("folder"), cl::cat(category)};
  cl::opt<std::string> saveTemps{
      "save-temps",
      cl::desc("Keep the IR of all phases, the object and the linked library "
               "(default folder: .)"),
      cl::value_desc("folder"), cl::ValueOptional, cl::cat(category)};
  cl::opt<unsigned> context{
      "context",
      cl::desc("Longest sequence that the model of a checkpoint is to take "
               "(default: what its configuration says)"),
      cl::value_desc("tokens"), cl::cat(category)};
  cl::opt<std::string> family{
      "family",
      cl::desc("Family of the model of a checkpoint (default: what its "
               "configuration says; --print-families lists them)"),
      cl::value_desc("name"), cl::cat(category)};
  cl::opt<std::string> compute{
      "compute",
      cl::desc("Type of values between operations and of rounded operands of "
               "matrix products: f32, bf16 or f16 (default: what the source "
               "says)"),
      cl::value_desc("type"), cl::cat(category)};
  cl::list<std::string> with{
      "with",
      cl::desc("Options that all entries get besides their own: routing_out, "
               "routing_in, expert_mask, router_bias, k_override=N"),
      cl::value_desc("option,.."), cl::CommaSeparated, cl::cat(category)};
  cl::opt<bool> noFuse{"no-fuse",
                       cl::desc("Leave out passes that join operations"),
                       cl::cat(category)};
  cl::opt<std::string> quantize{
      "quantize",
      cl::desc("Store matrices of products in this format, such as int8 or "
               "int4; routers, norms and embeddings keep their numbers"),
      cl::value_desc("format"), cl::cat(category)};
  cl::opt<std::string> activations{
      "activations",
      cl::desc("How products with integer formats are computed: int8 (default) "
               "or float"),
      cl::value_desc("type"), cl::cat(category)};
  cl::list<std::string> weights{
      "weights",
      cl::desc("Where weights go: embed (in the artifact), external (a file "
               "beside it) or none; synthetic:SEED makes random ones, without "
               "a checkpoint; default: embed up to 1 GiB"),
      cl::value_desc("place,.."), cl::CommaSeparated, cl::cat(category)};
  cl::list<std::string> targets{
      "target",
      cl::desc("Targets to generate code for, such as x86_64,nvptx "
               "(default: x86_64)"),
      cl::value_desc("name,.."), cl::CommaSeparated, cl::cat(category)};
  cl::list<std::string> gpuArchs{
      "gpu-arch",
      cl::desc("Architectures of devices to generate code for, such as sm_80 "
               "(default: all of the target)"),
      cl::value_desc("arch,.."), cl::CommaSeparated, cl::cat(category)};
  cl::opt<bool> kernelIr{
      "femit-kernel-ir",
      cl::desc("Keep the LLVM IR of device kernels in the artifact: what the "
               "emulator runs"),
      cl::cat(category)};
  cl::opt<std::string> ptxas{
      "ptxas",
      cl::desc("Assemble device kernels with this ptxas (default: the one on "
               "the PATH) and keep the result beside the PTX"),
      cl::value_desc("file"), cl::ValueOptional, cl::cat(category)};
  cl::list<std::string> levels{
      "levels",
      cl::desc("Levels of instructions to generate code for "
               "(default: all of the target)"),
      cl::value_desc("level,.."), cl::CommaSeparated, cl::cat(category)};
  cl::opt<unsigned> optLevel{"O",
                             cl::Prefix,
                             cl::init(2),
                             cl::desc("Optimisation of code, 0 to 3"),
                             cl::value_desc("level"),
                             cl::cat(category)};
  cl::opt<bool> verbose{"v", cl::desc("Say what is done"), cl::cat(category)};
  cl::opt<bool> timeReport{"ftime-report",
                           cl::desc("Print how long phases and passes took"),
                           cl::cat(category)};
  cl::opt<std::string> passed{
      "Rpass",
      cl::desc("Print what the passes did whose names match the regular "
               "expression (default: all)"),
      cl::value_desc("regex"), cl::ValueOptional, cl::cat(category)};
  cl::opt<std::string> missed{
      "Rpass-missed", cl::desc("Print what these passes could not do, and why"),
      cl::value_desc("regex"), cl::ValueOptional, cl::cat(category)};
  cl::opt<bool> noRemarks{"no-remarks",
                          cl::desc("Print no other remarks: hints about the "
                                   "source and slow places"),
                          cl::cat(category)};
  // Read before parsing, by PluginLoader; declared for --help.
  cl::list<std::string> plugins{
      "load-plugin", cl::desc("Load a plugin of dialects and passes"),
      cl::value_desc("file"), cl::cat(category)};
  cl::opt<std::string> explain{"explain",
                               cl::desc("Explain a diagnostic, such as E402"),
                               cl::value_desc("id"), cl::cat(category)};
  cl::opt<bool> printFamilies{
      "print-families",
      cl::desc("Print the families of models that can be imported"),
      cl::cat(category)};
  cl::opt<bool> printPhases{
      "print-phases", cl::desc("Print the table of phases"), cl::cat(category)};
};
} // namespace

static std::optional<int> usage(const llvm::Twine &message) {
  llvm::errs() << "moec: error: " << message
               << "\nmoec: note: 'moec --help' lists the options\n";
  return ExitUsage;
}

/// Prints `text` in lines of at most 80 columns.
static void printWrapped(StringRef text, llvm::raw_ostream &os) {
  size_t column = 0;
  llvm::SmallVector<StringRef> words;
  text.split(words, ' ', -1, /*KeepEmpty=*/false);
  for (StringRef word : words) {
    if (column && column + 1 + word.size() > 80) {
      os << '\n';
      column = 0;
    }
    os << (column ? " " : "") << word;
    column += (column ? 1 : 0) + word.size();
  }
  os << '\n';
}

static int explain(StringRef name) {
  std::optional<DiagId> id = findDiagnostic(name);
  if (!id) {
    StringRef near =
        closestName(name, [](llvm::function_ref<void(StringRef)> candidate) {
          for (DiagId each : allDiagnostics())
            candidate(diagnosticName(each));
        });
    std::string hint =
        near.empty() ? "" : ("; did you mean '" + near + "'?").str();
    return *usage("no diagnostic is called '" + name + "'" + hint);
  }
  llvm::outs() << diagnosticName(*id) << ": " << diagnosticTitle(*id) << "\n\n";
  printWrapped(diagnosticExplanation(*id), llvm::outs());
  return ExitSuccess;
}

static bool wantsColour() {
  if (llvm::sys::Process::GetEnv("NO_COLOR").value_or("") != "")
    return false;
  if (llvm::sys::Process::GetEnv("CLICOLOR_FORCE").value_or("0") != "0")
    return true;
  return llvm::sys::Process::StandardErrHasColors();
}

//===----------------------------------------------------------------------===//
// From options to what they mean. Each returns an exit code after an error.
//===----------------------------------------------------------------------===//

static std::optional<int> setInput(const CommandLine &line,
                                   DriverOptions &options) {
  llvm::ArrayRef<std::string> inputs = line.inputs;
  // `moec import DIR` is a command; a file of that name is ./import.
  bool isImport = inputs.size() > 1 && inputs.front() == "import";
  if (isImport)
    inputs = inputs.drop_front();
  if (inputs.empty())
    return usage("expected an input file");
  if (inputs.size() > 1)
    return usage("expected one input file, found '" + inputs[0] + "' and '" +
                 inputs[1] + "'");
  options.input = inputs.front();
  options.inputIsCheckpoint = llvm::sys::fs::is_directory(options.input);
  options.context = line.context;
  options.family = line.family;
  if (isImport && !options.inputIsCheckpoint)
    return usage("import: expected a folder with a checkpoint, found '" +
                 options.input + "'");
  if (line.context.getNumOccurrences() && !options.inputIsCheckpoint)
    return usage("--context: expected a folder with a checkpoint; the text of "
                 "a model says what it takes");
  if (line.family.getNumOccurrences() && !options.inputIsCheckpoint)
    return usage("--family: expected a folder with a checkpoint; the text of a "
                 "model needs none");
  if (line.context.getNumOccurrences() && line.context == 0)
    return usage("--context: expected at least one token");
  if (isImport && line.emit.getNumOccurrences())
    return usage("import: --emit does not go with it");
  if (isImport)
    options.emit = EmitKind::Ast;
  if (options.inputIsCheckpoint)
    return std::nullopt;
  StringRef extension = llvm::sys::path::extension(options.input);
  options.inputIsIr = extension == ".mlir" || extension == ".mlirbc" ||
                      (options.input == "-" && !line.compileFrom.empty());
  if (!options.inputIsIr && extension != ".moe" && options.input != "-")
    return usage("expected a .moe, .mlir or .mlirbc file or the folder of a "
                 "checkpoint, found '" +
                 options.input + "'");
  return std::nullopt;
}

static std::optional<int> setPhases(const CommandLine &line,
                                    DriverOptions &options) {
  auto find = [](StringRef option, StringRef name, Phase &phase) {
    if (name.empty())
      return std::optional<int>();
    std::optional<Phase> found = findPhase(name);
    if (!found)
      return usage("--" + option + ": expected a phase (" + phaseNames() +
                   "), found '" + name + "'");
    phase = *found;
    return std::optional<int>();
  };
  if (options.inputIsIr)
    options.from = Phase::Graph;
  if (auto code = find("compile-from", line.compileFrom, options.from))
    return code;
  if (options.inputIsIr && options.from == Phase::Import)
    return usage("--compile-from=import: expected a .moe file");
  if (!options.inputIsIr && options.from != Phase::Import)
    return usage("--compile-from=" + line.compileFrom +
                 ": expected IR (.mlir), found '" + options.input + "'");

  if (options.emit != EmitKind::Ast)
    options.emit = line.emit;
  if (!line.compileTo.empty() && !line.emit.getNumOccurrences())
    options.emit = EmitKind::Mlir;
  if (!line.compileTo.empty() && options.emit != EmitKind::Mlir)
    return usage("--compile-to goes with --emit=mlir only");
  if (options.emit == EmitKind::Ast && options.inputIsIr)
    return usage("--emit=ast: expected a .moe file");
  if (options.emit == EmitKind::Ast || options.emit == EmitKind::Moe)
    options.to = Phase::Import;
  if (options.emit == EmitKind::Mlir)
    options.to = Phase::Schedule;
  if (auto code = find("compile-to", line.compileTo, options.to))
    return code;
  if (options.to < options.from && options.inputIsIr)
    return usage("nothing to do: the input is in a later form than that after "
                 "phase '" +
                 getPhases()[static_cast<size_t>(options.to)].name + "'");
  return std::nullopt;
}

static std::optional<int> setOutput(const CommandLine &line,
                                    DriverOptions &options) {
  options.output = line.output;
  bool isText =
      options.emit != EmitKind::Artifact && options.emit != EmitKind::Object;
  if (options.output == "-" && !isText)
    return usage("-o -: an artifact or object cannot go to standard output");
  if (!options.output.empty())
    return std::nullopt;
  if (isText) {
    options.output = "-";
    return std::nullopt;
  }
  if (options.input == "-")
    return usage("expected '-o FILE' with standard input");
  llvm::SmallString<128> path(options.input);
  // A folder may be given as `.` or with a slash behind it.
  if (options.inputIsCheckpoint) {
    llvm::sys::fs::make_absolute(path);
    llvm::sys::path::remove_dots(path, /*remove_dot_dot=*/true);
    path += ".moe"; // a point in its name is no extension
  }
  path = llvm::sys::path::filename(llvm::SmallString<128>(path));
  llvm::sys::path::replace_extension(
      path, options.emit == EmitKind::Object ? ".o" : ".so");
  options.output = path.str().str();
  return std::nullopt;
}

static std::optional<int> setWeight(StringRef text, DriverOptions &options) {
  if (text == "embed") {
    options.artifact.weights = WeightPlace::Embedded;
  } else if (text == "external") {
    options.artifact.weights = WeightPlace::SideFile;
  } else if (text == "none") {
    options.artifact.weights = WeightPlace::Absent;
  } else if (text.consume_front("synthetic:")) {
    uint64_t seed;
    if (text.getAsInteger(10, seed))
      return usage("--weights=synthetic: expected a number as seed, found '" +
                   text + "'");
    options.syntheticSeed = seed;
  } else {
    return usage("--weights: expected embed, external, none or "
                 "synthetic:SEED, found '" +
                 text + "'");
  }
  return std::nullopt;
}

static std::optional<int> setEntryOption(StringRef text,
                                         DriverOptions &options) {
  auto [name, number] = text.split('=');
  constexpr StringRef switches[] = {"routing_out", "routing_in", "expert_mask",
                                    "router_bias"};
  std::optional<uint64_t> most;
  if (name == "k_override") {
    uint64_t value = 0;
    if (number.getAsInteger(10, value) || value == 0)
      return usage("--with=k_override: expected the most experts of a token, "
                   "as in k_override=4, found '" +
                   text + "'");
    most = value;
  } else if (!llvm::is_contained(switches, text)) {
    return usage("--with: expected routing_out, routing_in, expert_mask, "
                 "router_bias or k_override=N, found '" +
                 text + "'");
  }
  if (options.inputIsIr)
    return usage("--with: expected a .moe file or a checkpoint; IR has its "
                 "entries already");
  options.entryOptions.emplace_back(name.str(), most);
  return std::nullopt;
}

/// What is said of devices needs a target that has some.
static std::optional<int> checkDevices(const CommandLine &line) {
  llvm::SmallVector<StringRef> archs;
  for (const std::string &name : line.targets)
    if (const TargetBackend *target = lookupTargetBackend(name);
        target->getModel().isDevice())
      for (const target::IsaLevel &level :
           target->getKernelEmitter().getLevels())
        archs.push_back(level.name);
  std::pair<StringRef, bool> options[] = {
      {"--gpu-arch", !line.gpuArchs.empty()},
      {"-femit-kernel-ir", line.kernelIr},
      {"--ptxas", line.ptxas.getNumOccurrences() != 0}};
  for (auto [name, isGiven] : options)
    if (isGiven && archs.empty())
      return usage(name + ": expected a target for devices, such as nvptx, " +
                   "found " +
                   (line.targets.empty()
                        ? "no --target"
                        : "--target=" + llvm::join(line.targets, ",")));
  for (const std::string &arch : line.gpuArchs)
    if (!llvm::is_contained(archs, arch))
      return usage("--gpu-arch: expected some of " + llvm::join(archs, ", ") +
                   ", found '" + arch + "'");
  return std::nullopt;
}

static std::optional<int> setTargets(const CommandLine &line,
                                     DriverOptions &options) {
  std::string &lowering = options.pipeline.passOptions["lower-to-llvm"];
  for (const std::string &name : line.targets) {
    if (lookupTargetBackend(name))
      continue;
    std::string known = llvm::join(
        llvm::map_range(
            getTargetBackends(),
            [](const TargetBackend *target) { return target->getName(); }),
        ", ");
    return usage("--target: expected some of " + known + ", found '" + name +
                 "'");
  }
  if (!line.targets.empty()) {
    std::string names = "target=" + llvm::join(line.targets, ",");
    lowering += names + " ";
    options.pipeline.passOptions["assign-layouts"] = names;
  }
  if (auto code = checkDevices(line))
    return code;
  std::vector<std::string> levels(line.levels.begin(), line.levels.end());
  levels.insert(levels.end(), line.gpuArchs.begin(), line.gpuArchs.end());
  if (!levels.empty())
    lowering += "levels=" + llvm::join(levels, ",");
  return std::nullopt;
}

static std::optional<int> setCode(const CommandLine &line,
                                  DriverOptions &options) {
  if (line.optLevel > 3)
    return usage("-O: expected 0 to 3, found " + llvm::Twine(line.optLevel));
  options.artifact.optLevel = line.optLevel;
  if (!line.compute.empty() && line.compute != "f32" &&
      line.compute != "bf16" && line.compute != "f16")
    return usage("--compute: expected f32, bf16 or f16, found '" +
                 line.compute + "'");
  if (!line.compute.empty() && options.inputIsIr)
    return usage("--compute: expected a .moe file; IR has its types already");
  options.compute = line.compute;
  for (const std::string &option : line.with)
    if (auto code = setEntryOption(option, options))
      return code;

  std::string &formats = options.pipeline.passOptions["assign-formats"];
  // It becomes a part of the pass's options: a name, nothing else.
  if (!llvm::all_of(line.quantize, [](char c) { return llvm::isAlnum(c); }))
    return usage("--quantize: expected the name of a format, found '" +
                 line.quantize + "'");
  if (!line.quantize.empty())
    formats += "format=" + line.quantize + " ";
  if (!line.activations.empty() && line.activations != "int8" &&
      line.activations != "float")
    return usage("--activations: expected int8 or float, found '" +
                 line.activations + "'");
  if (!line.activations.empty())
    formats += "activations=" + line.activations;
  if (auto code = setTargets(line, options))
    return code;
  options.artifact.device.kernelIr = line.kernelIr;
  if (line.ptxas.getNumOccurrences()) {
    std::string name = line.ptxas.empty() ? "ptxas" : line.ptxas.getValue();
    // A name with a folder is taken as it is.
    auto found = llvm::sys::findProgramByName(name);
    if (!found || !llvm::sys::fs::can_execute(*found))
      return usage("--ptxas: cannot find '" + name + "' as a program");
    options.artifact.device.ptxas = *found;
  }
  options.pipeline.fuse = !line.noFuse;
  return std::nullopt;
}

/// The expression of -Rpass or -Rpass-missed.
static std::optional<int> setRemarks(const cl::opt<std::string> &option,
                                     std::string &filter) {
  if (!option.getNumOccurrences())
    return std::nullopt;
  filter = option.empty() ? ".*" : option.getValue();
  std::string reason;
  if (!llvm::Regex(filter).isValid(reason))
    return usage("-" + option.ArgStr +
                 ": expected a regular expression, found "
                 "'" +
                 filter + "': " + reason);
  return std::nullopt;
}

std::optional<int> moec::parseOptions(int argc, char **argv,
                                      DriverOptions &options) {
  // Never destroyed: LLVM keeps pointers to options.
  static CommandLine &line = *new CommandLine;
  mlir::registerMLIRContextCLOptions();
  mlir::registerPassManagerCLOptions();
  mlir::registerAsmPrinterCLOptions();
  cl::HideUnrelatedOptions(line.category);
  cl::SetVersionPrinter([](llvm::raw_ostream &os) {
    os << "moec " MOEC_BUILD_VERSION "\nbuild: " << getBuildIdentity() << '\n';
  });
  if (!cl::ParseCommandLineOptions(argc, argv,
                                   "moec: compiles a Mixture-of-Experts model "
                                   "(.moe) to a shared library\n",
                                   &llvm::errs()))
    return ExitUsage;

  if (!line.explain.empty())
    return explain(line.explain);
  if (line.printFamilies) {
    printModelFamilies(llvm::outs());
    return ExitSuccess;
  }
  if (line.printPhases) {
    printPhases(llvm::outs());
    return ExitSuccess;
  }
  if (auto code = setInput(line, options))
    return code;
  if (auto code = setPhases(line, options))
    return code;
  if (auto code = setOutput(line, options))
    return code;
  for (StringRef text : line.weights)
    if (auto code = setWeight(text, options))
      return code;
  if (auto code = setCode(line, options))
    return code;
  if (auto code = setRemarks(line.passed, options.passRemarks.passed))
    return code;
  if (auto code = setRemarks(line.missed, options.passRemarks.missed))
    return code;
  options.dumpPhases = line.dumpPhases;
  if (line.saveTemps.getNumOccurrences()) {
    options.artifact.saveTemps = line.saveTemps;
    if (line.saveTemps.empty())
      options.artifact.saveTemps = ".";
    if (options.dumpPhases.empty())
      options.dumpPhases = options.artifact.saveTemps;
  }
  options.verbose = line.verbose;
  options.timeReport = line.timeReport;
  options.remarks = !line.noRemarks;
  options.colour = wantsColour();
  return std::nullopt;
}
