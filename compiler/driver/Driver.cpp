//===- Driver.cpp - What moec does ----------------------------------------===//

#include "compiler/driver/Driver.h"

#include "compiler/artifact/OutputFile.h"
#include "compiler/driver/MlirDiagnostics.h"
#include "compiler/driver/Options.h"
#include "compiler/driver/Registration.h"
#include "compiler/driver/WeightFiles.h"
#include "compiler/plugin/PluginLoader.h"
#include "frontend/AstPrinter.h"
#include "frontend/Frontend.h"
#include "frontend/IRGen.h"
#include "frontend/importers/Importer.h"

#include "mlir/IR/AsmState.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Support/Timing.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/CrashRecoveryContext.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/raw_ostream.h"

#include <csignal>

using namespace moec;
using namespace mlir;

namespace {
/// The weight files that are mapped, with their sizes when they were opened.
/// Outlives a compilation that a signal ends.
using MappedFiles = std::vector<std::pair<std::string, uint64_t>>;

/// One compilation. Every step returns failure after printing an error.
class Compilation {
public:
  Compilation(const DriverOptions &options, DialectRegistry &registry,
              PluginLoader &plugins, MappedFiles &mappedFiles)
      : options(options), registry(registry), plugins(plugins),
        mappedFiles(mappedFiles), diagnostics(sources), context(registry),
        mlirDiagnostics(
            context, sources, llvm::errs(),
            {options.colour, options.remarks || options.passRemarks.any()}) {}

  LogicalResult run();
  /// The last line of a failed compilation: how much there is to mend.
  void printCounts() const { diagnostics.printCounts(llvm::errs()); }

private:
  LogicalResult importSource();
  std::unique_ptr<ast::File> parseCheckpoint();
  LogicalResult parseIr();
  LogicalResult runPhases();
  LogicalResult runPhase(Phase phase);
  LogicalResult dump(Phase phase);
  LogicalResult emit();
  LogicalResult emitArtifact();
  LogicalResult openWeights(TensorFiles &files);
  LogicalResult writeText(llvm::StringRef text);
  std::string printModule();
  LogicalResult report(llvm::Error error) {
    return emitError(UnknownLoc::get(&context))
           << llvm::toString(std::move(error));
  }
  /// Prints the frontend's messages so far; MLIR's come as they arise.
  LogicalResult flush() {
    diagnostics.flush(llvm::errs(), options.colour);
    return success(!diagnostics.hasErrors());
  }
  /// Line of -v.
  llvm::raw_ostream &log() {
    return (options.verbose ? llvm::errs() : llvm::nulls()) << "moec: ";
  }

  const DriverOptions &options;
  DialectRegistry &registry;
  PluginLoader &plugins;
  MappedFiles &mappedFiles;
  SourceManager sources;
  Diagnostics diagnostics;
  MLIRContext context;
  MlirDiagnostics mlirDiagnostics;
  DefaultTimingManager timing;
  TimingScope scope;
  OwningOpRef<ModuleOp> module;
};
} // namespace

LogicalResult Compilation::run() {
  timing.setEnabled(options.timeReport);
  timing.setDisplayMode(DefaultTimingManager::DisplayMode::Tree);
  scope = timing.getRootScope();
  context.loadAllAvailableDialects();
  // An operation of ours prints as a page; people want the line.
  context.printOpOnDiagnostic(options.verbose);
  diagnostics.setRemarks(options.remarks);
  if (failed(enablePassRemarks(context, options.passRemarks)))
    return failure();
  if (options.inputIsIr ? failed(parseIr()) : failed(importSource()))
    return failure();
  if (!module) // --emit=ast is done
    return success();
  if (failed(runPhases()))
    return failure();
  return emit();
}

//===----------------------------------------------------------------------===//
// Input
//===----------------------------------------------------------------------===//

/// Gives all entries the options of the command line, unless they have them.
static void addEntryOptions(ast::File &file, const DriverOptions &options) {
  for (auto &item : file.items) {
    auto *entry = llvm::dyn_cast<ast::EntryItem>(item.get());
    if (!entry)
      continue;
    for (const auto &[name, number] : options.entryOptions) {
      if (llvm::any_of(entry->options, [&](const ast::EntryOption &option) {
            return option.name.str() == name;
          }))
        continue;
      ast::EntryOption option;
      option.name = ast::Name(name, entry->name.range);
      option.range = entry->name.range;
      if (number) {
        ast::CallArgument argument;
        argument.name = ast::Name("max", entry->name.range);
        argument.value = std::make_unique<ast::NumberExpr>(*number);
        option.arguments.push_back(std::move(argument));
      }
      entry->options.push_back(std::move(option));
    }
  }
}

LogicalResult Compilation::importSource() {
  const PhaseEntry &entry = getPhases().front();
  TimingScope inner = scope.nest(entry.name);
  log() << "phase " << entry.name << ": " << entry.text << '\n';
  std::unique_ptr<ast::File> file =
      options.inputIsCheckpoint
          ? parseCheckpoint()
          : parseFile(options.input, sources, diagnostics);
  if (!file)
    return flush();
  addEntryOptions(*file, options);
  if (options.emit == EmitKind::Ast) {
    std::string text;
    llvm::raw_string_ostream stream(text);
    ast::print(*file, stream);
    return failed(flush()) ? failure() : writeText(text);
  }
  ImportOptions import;
  import.folder = options.inputIsCheckpoint
                      ? options.input
                      : llvm::sys::path::parent_path(options.input).str();
  if (import.folder.empty())
    import.folder = ".";
  if (!options.compute.empty())
    import.compute = options.compute == "f32"    ? ComputeType::F32
                     : options.compute == "bf16" ? ComputeType::BF16
                                                 : ComputeType::F16;
  if (options.syntheticSeed)
    import.weights = WeightsMode::None;
  import.loadPlugin = [&](llvm::StringRef name) -> llvm::Error {
    if (llvm::Error error = plugins.use(name, import.folder))
      return error;
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
    return llvm::Error::success();
  };
  module = importModel(*file, diagnostics, context, import);
  if (failed(flush()) || !module)
    return failure();
  if (failed(verifyPhase(*module, Phase::Import)))
    return failure();
  return dump(Phase::Import);
}

/// The way from the folder in which `moec import` writes to the checkpoint.
static std::string weightsFolder(const DriverOptions &options) {
  // The text that is compiled at once stands, so to speak, in the checkpoint.
  if (options.emit != EmitKind::Ast)
    return "";
  llvm::StringRef folder = options.output == "-"
                               ? llvm::StringRef(".")
                               : llvm::sys::path::parent_path(options.output);
  bool same = false;
  if (folder.empty())
    folder = ".";
  if (!llvm::sys::fs::equivalent(folder, options.input, same) && same)
    return "";
  llvm::SmallString<256> path(options.input);
  if (folder != ".")
    llvm::sys::fs::make_absolute(path);
  return path.str().str();
}

std::unique_ptr<ast::File> Compilation::parseCheckpoint() {
  CheckpointOptions checkpoint;
  checkpoint.weightsFolder = weightsFolder(options);
  checkpoint.context = options.context;
  checkpoint.family = options.family;
  std::optional<std::string> text =
      importCheckpoint(options.input, checkpoint, sources, diagnostics);
  if (!text)
    return nullptr;
  // Messages about the text point into what `moec import` prints.
  llvm::SmallString<256> name(options.input);
  llvm::sys::path::append(name, "imported.moe");
  return parseBuffer(name, *text, sources, diagnostics);
}

LogicalResult Compilation::parseIr() {
  TimingScope inner = scope.nest("parse");
  auto buffer = llvm::MemoryBuffer::getFileOrSTDIN(options.input);
  if (!buffer)
    return emitError(UnknownLoc::get(&context))
           << "cannot read '" << options.input
           << "': " << buffer.getError().message();
  llvm::SourceMgr sourceManager;
  sourceManager.AddNewSourceBuffer(std::move(*buffer), llvm::SMLoc());
  module = parseSourceFile<ModuleOp>(sourceManager, &context);
  return success(static_cast<bool>(module));
}

//===----------------------------------------------------------------------===//
// Phases
//===----------------------------------------------------------------------===//

LogicalResult Compilation::runPhases() {
  int first =
      std::max(static_cast<int>(options.from), static_cast<int>(Phase::Graph));
  for (int phase = first; phase <= static_cast<int>(options.to); ++phase)
    if (failed(runPhase(static_cast<Phase>(phase))))
      return failure();
  return success();
}

LogicalResult Compilation::runPhase(Phase phase) {
  const PhaseEntry &entry = getPhases()[static_cast<size_t>(phase)];
  TimingScope inner = scope.nest(entry.name);
  log() << "phase " << entry.name << ": " << entry.text << '\n';
  PassManager passes(&context, ModuleOp::getOperationName(),
                     OpPassManager::Nesting::Implicit);
  passes.enableTiming(inner);
  if (failed(applyPassManagerCLOptions(passes)) ||
      failed(buildPhase(phase, options.pipeline, context, passes)) ||
      failed(passes.run(*module)))
    return failure();
  return dump(phase);
}

std::string Compilation::printModule() {
  std::string text;
  llvm::raw_string_ostream stream(text);
  module->print(stream);
  stream << '\n';
  return text;
}

LogicalResult Compilation::dump(Phase phase) {
  if (options.dumpPhases.empty())
    return success();
  if (std::error_code code =
          llvm::sys::fs::create_directories(options.dumpPhases))
    return emitError(UnknownLoc::get(&context))
           << "cannot make the folder '" << options.dumpPhases
           << "': " << code.message();
  llvm::SmallString<128> path(options.dumpPhases);
  llvm::SmallString<32> name;
  llvm::raw_svector_ostream(name)
      << llvm::format("%02u-", static_cast<unsigned>(phase) + 1)
      << getPhases()[static_cast<size_t>(phase)].name << ".mlir";
  llvm::sys::path::append(path, name);
  auto file = OutputFile::create(path);
  if (!file)
    return report(file.takeError());
  if (llvm::Error error = file->append(printModule()))
    return report(std::move(error));
  if (llvm::Error error = file->commit())
    return report(std::move(error));
  return success();
}

//===----------------------------------------------------------------------===//
// Output
//===----------------------------------------------------------------------===//

LogicalResult Compilation::writeText(llvm::StringRef text) {
  if (options.output == "-") {
    llvm::outs() << text;
    llvm::outs().flush();
    if (!llvm::outs().has_error())
      return success();
    std::error_code code = llvm::outs().error();
    llvm::outs().clear_error();
    return emitError(UnknownLoc::get(&context))
           << "cannot write to standard output: " << code.message();
  }
  auto file = OutputFile::create(options.output);
  if (!file)
    return report(file.takeError());
  if (llvm::Error error = file->append(text))
    return report(std::move(error));
  if (llvm::Error error = file->commit())
    return report(std::move(error));
  return success();
}

LogicalResult Compilation::emit() {
  TimingScope inner = scope.nest("emit");
  CodeKind kind = CodeKind::Object;
  switch (options.emit) {
  case EmitKind::Ast:
    return success();
  case EmitKind::Moe:
  case EmitKind::Mlir:
  case EmitKind::MlirLlvm:
    return writeText(printModule());
  case EmitKind::Artifact:
    return emitArtifact();
  case EmitKind::Llvm:
    kind = CodeKind::LlvmIr;
    break;
  case EmitKind::Assembly:
    kind = CodeKind::Assembly;
    break;
  case EmitKind::Ptx:
    kind = CodeKind::DeviceText;
    break;
  case EmitKind::Object:
    break;
  }
  llvm::SmallVector<char, 0> code;
  if (failed(
          emitModelCode(*module, options.artifact, options.output, kind, code)))
    return failure();
  return writeText(llvm::StringRef(code.data(), code.size()));
}

LogicalResult Compilation::openWeights(TensorFiles &files) {
  LogicalResult opened = openWeightFiles(*module, files, diagnostics);
  for (const std::unique_ptr<TensorSource> &file : files.files()) {
    uint64_t size = 0;
    if (!llvm::sys::fs::file_size(file->path(), size))
      mappedFiles.emplace_back(file->path(), size);
  }
  return failed(flush()) ? failure() : opened;
}

LogicalResult Compilation::emitArtifact() {
  LogicalResult result = failure();
  if (options.syntheticSeed) {
    SyntheticWeights weights(*options.syntheticSeed);
    result = writeArtifact(*module, options.artifact, weights, options.output);
  } else {
    TensorFiles files;
    if (options.artifact.weights != WeightPlace::Absent &&
        failed(openWeights(files)))
      return failure();
    FileWeights weights(files);
    result = writeArtifact(*module, options.artifact, weights, options.output);
  }
  if (succeeded(result))
    log() << "wrote " << options.output << '\n';
  return result;
}

//===----------------------------------------------------------------------===//
// The program
//===----------------------------------------------------------------------===//

static int compile(int argc, char **argv, MappedFiles &mappedFiles) {
  DialectRegistry registry;
  registerAllMoecDialects(registry);
  registerAllMoecPasses();
  // Before the options are parsed, so that options of plugins exist by then.
  PluginLoader plugins(registry);
  if (llvm::Error error = plugins.takeArguments(argc, argv)) {
    llvm::errs() << "moec: error: " << llvm::toString(std::move(error)) << '\n';
    return ExitError;
  }
  DriverOptions options;
  if (std::optional<int> code = parseOptions(argc, argv, options))
    return *code;
  Compilation compilation(options, registry, plugins, mappedFiles);
  bool good = succeeded(compilation.run());
  if (!good)
    compilation.printCounts();
  return good ? ExitSuccess : ExitError;
}

/// Whether a signal came from reading a mapped file that was cut meanwhile;
/// says so.
static bool reportShorterFile(int signal, const MappedFiles &files) {
  if (signal != SIGBUS)
    return false;
  for (const auto &[path, size] : files) {
    uint64_t now = 0;
    llvm::sys::fs::file_size(path, now);
    if (now >= size)
      continue;
    llvm::errs() << path << ": error: the file became shorter while it was "
                 << "read: expected " << size << " bytes, found " << now
                 << '\n';
    return true;
  }
  return false;
}

int moec::runDriver(int argc, char **argv) {
  // Writing more than a limit on files allows is to be an error of that call.
  std::signal(SIGXFSZ, SIG_IGN);
  // LLVM's back end ends the process where it cannot go on; here that is caught
  // and told apart from an error in the input.
  llvm::CrashRecoveryContext::Enable();
  llvm::CrashRecoveryContext recovery;
  recovery.DumpStackAndCleanupOnFailure = true;
  int code = ExitInternal;
  MappedFiles mappedFiles;
  if (recovery.RunSafely([&] { code = compile(argc, argv, mappedFiles); }))
    return code;
  constexpr int signalBase = 128; // of LLVM's code for signals
  if (reportShorterFile(recovery.RetCode - signalBase, mappedFiles))
    return ExitError;
  llvm::errs() << "moec: internal error: the compiler crashed; please report "
                  "the command and its input\n";
  return ExitInternal;
}
