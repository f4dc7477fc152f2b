//===- Interpreter.cpp - What moe-interp does -----------------------------===//

#include "compiler/driver/Interpreter.h"

#include "compiler/artifact/OutputFile.h"
#include "compiler/artifact/RecipeTensor.h"
#include "compiler/artifact/WeightPacker.h"
#include "compiler/driver/InterpreterInputs.h"
#include "compiler/driver/MlirDiagnostics.h"
#include "compiler/driver/Options.h"
#include "compiler/driver/Registration.h"
#include "compiler/driver/WeightFiles.h"
#include "compiler/plugin/PluginLoader.h"
#include "dialects/interfaces/ReferenceSums.h"
#include "passes/verify/ModelEvaluator.h"

#include "mlir/Parser/Parser.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/raw_ostream.h"

using namespace moec;
using namespace mlir;
namespace cl = llvm::cl;

namespace {
/// Option objects register themselves, so they live only while they are used.
struct CommandLine {
  cl::OptionCategory category{"Options of moe-interp"};
  cl::opt<std::string> input{cl::Positional, cl::Required, cl::desc("MODEL"),
                             cl::cat(category)};
  cl::opt<std::string> entry{
      "entry", cl::desc("Entry to evaluate (default: the only step function)"),
      cl::value_desc("name"), cl::cat(category)};
  cl::list<std::string> ids{
      "ids", cl::desc("Ids of a token modality, in order of the sequence"),
      cl::value_desc("[NAME=]1,2,3"), cl::cat(category)};
  cl::list<std::string> raw{
      "raw", cl::desc("A raw input: npy (u1, f4) or plain bytes"),
      cl::value_desc("NAME=FILE"), cl::cat(category)};
  cl::list<int64_t> steps{
      "steps",
      cl::desc("Cut the sequence into steps of so many tokens, which a cache "
               "joins (default: one step)"),
      cl::value_desc("n,.."), cl::CommaSeparated, cl::cat(category)};
  cl::opt<std::string> weights{
      "weights", cl::desc("synthetic:SEED: random weights, no checkpoint"),
      cl::value_desc("synthetic:SEED"), cl::cat(category)};
  cl::opt<std::string> replayIds{
      "replay-ids",
      cl::desc("Experts in place of the routers' choice: i4 [routers, tokens, "
               "slots], as moe-run --routing-ids writes them"),
      cl::value_desc("file.npy"), cl::cat(category)};
  cl::opt<std::string> replayWeights{
      "replay-weights", cl::desc("Their weights: f4"),
      cl::value_desc("file.npy"), cl::cat(category)};
  cl::opt<std::string> expertMask{
      "expert-mask", cl::desc("u1 [routers, experts], 0: never chosen"),
      cl::value_desc("file.npy"), cl::cat(category)};
  cl::opt<std::string> routerBias{
      "router-bias",
      cl::desc("f4 [routers, experts], added to the logits of the routers"),
      cl::value_desc("file.npy"), cl::cat(category)};
  cl::opt<bool> exactSums{
      "exact-sums",
      cl::desc("Add in double and round once, in place of the order in f32 "
               "that operations define"),
      cl::cat(category)};
  cl::opt<std::string> output{
      "output", cl::Required,
      cl::desc("Write the rows of the first result, all positions"),
      cl::value_desc("file.npy"), cl::cat(category)};
  // Read before parsing, by PluginLoader; declared for --help.
  cl::list<std::string> plugins{
      "load-plugin", cl::desc("Load a plugin of dialects and passes"),
      cl::value_desc("file"), cl::cat(category)};
};

class Interpretation {
public:
  Interpretation(DialectRegistry &registry)
      : context(registry), diagnostics(sources),
        mlirDiagnostics(context, sources, llvm::errs(), {}) {
    context.loadAllAvailableDialects();
    context.printOpOnDiagnostic(false);
  }
  LogicalResult run(const CommandLine &options);

private:
  LogicalResult parse(llvm::StringRef path);
  LogicalResult openWeights(const CommandLine &options);
  FailureOr<HostTensor> readWeight(moe::WeightOp op);
  func::FuncOp findFunction(llvm::StringRef entry);
  InFlightDiagnostic error() { return emitError(UnknownLoc::get(&context)); }

  MLIRContext context;
  SourceManager sources;
  Diagnostics diagnostics;
  MlirDiagnostics mlirDiagnostics;
  OwningOpRef<ModuleOp> module;
  TensorFiles files;
  std::unique_ptr<WeightSupply> supply;
};
} // namespace

LogicalResult Interpretation::parse(llvm::StringRef path) {
  auto buffer = llvm::MemoryBuffer::getFileOrSTDIN(path);
  if (!buffer)
    return error() << "cannot read '" << path
                   << "': " << buffer.getError().message();
  llvm::SourceMgr manager;
  manager.AddNewSourceBuffer(std::move(*buffer), llvm::SMLoc());
  module = parseSourceFile<ModuleOp>(manager, &context);
  return success(static_cast<bool>(module));
}

LogicalResult Interpretation::openWeights(const CommandLine &options) {
  llvm::StringRef place = options.weights;
  if (place.empty()) {
    supply = std::make_unique<FileWeights>(files);
    LogicalResult opened = openWeightFiles(*module, files, diagnostics);
    diagnostics.flush(llvm::errs(), /*colour=*/false);
    return opened;
  }
  uint64_t seed;
  if (!place.consume_front("synthetic:") || place.getAsInteger(10, seed))
    return error() << "expected --weights=synthetic:SEED, found '"
                   << options.weights << "'";
  supply = std::make_unique<SyntheticWeights>(seed);
  return success();
}

FailureOr<HostTensor> Interpretation::readWeight(moe::WeightOp op) {
  RankedTensorType type = op.getTensorType();
  if (auto format = op.getFormatAttr(); format && !format.getStorageType()) {
    std::vector<char> codes(format.getCodedBytes(type.getShape()));
    if (failed(supply->supply(op, codes)))
      return failure();
    HostTensor numbers = HostTensor::zerosF32(type.getShape());
    format.decode(codes, type.getShape().back(), numbers.f32());
    numbers.setGroupColumns(format.getGroupColumns());
    return numbers;
  }
  Type stored = getStoredElementType(op);
  std::vector<char> codes(type.getNumElements() *
                          (stored.getIntOrFloatBitWidth() / 8));
  if (failed(supply->supply(op, codes)))
    return failure();
  if (!isa<FloatType>(stored)) {
    HostTensor numbers = HostTensor::zerosI32(type.getShape());
    std::memcpy(numbers.i32().data(), codes.data(), codes.size());
    return numbers;
  }
  RecipeTensor tensor(
      stored, type.getShape(),
      {reinterpret_cast<const uint8_t *>(codes.data()), codes.size()});
  HostTensor numbers = HostTensor::zerosF32(type.getShape());
  llvm::copy(tensor.numbers(), numbers.f32().begin());
  return numbers;
}

func::FuncOp Interpretation::findFunction(llvm::StringRef entry) {
  SmallVector<func::FuncOp> functions;
  for (auto function : module->getOps<func::FuncOp>())
    if (auto facts = function->getAttrOfType<DictionaryAttr>("moe.function");
        facts && !facts.contains("variant_of"))
      functions.push_back(function);
  if (entry.empty()) {
    if (functions.size() == 1)
      return functions.front();
    error() << "expected one step function, or --entry; found "
            << functions.size();
    return {};
  }
  auto op = SymbolTable(*module).lookup<moe::EntryOp>(entry);
  for (func::FuncOp function : functions)
    if (op && op.getFunction() == function.getSymName())
      return function;
  error() << "expected an entry '" << entry << "', found none";
  return {};
}

/// A version 1 npy file of f32 rows.
static std::string npy(const HostTensor &tensor) {
  std::string header;
  llvm::raw_string_ostream(header)
      << "{'descr': '<f4', 'fortran_order': False, 'shape': ("
      << tensor.getShape()[0] << ", " << tensor.getShape()[1] << "), }";
  constexpr size_t prefix = 10, alignment = 64;
  while ((prefix + header.size() + 1) % alignment != 0)
    header += ' ';
  header += '\n';
  std::string text = "\x93NUMPY";
  text += {1, 0, static_cast<char>(header.size() & 0xff),
           static_cast<char>(header.size() >> 8)};
  text += header;
  ArrayRef<float> numbers = tensor.f32();
  return text.append(reinterpret_cast<const char *>(numbers.data()),
                     numbers.size() * sizeof(float));
}

LogicalResult Interpretation::run(const CommandLine &options) {
  if (failed(parse(options.input)) || failed(openWeights(options)))
    return failure();
  func::FuncOp function = findFunction(options.entry);
  if (!function)
    return failure();
  if (function.getNumResults() == 0)
    return function.emitError("expected a step function with operands and "
                              "results: phases import to experts have one");
  InterpreterInputs inputs(*module, function);
  // Options keep their places on the command line, and with them the order.
  for (size_t i = 0, r = 0; i < options.ids.size() || r < options.raw.size();) {
    bool isIds = i < options.ids.size() &&
                 (r == options.raw.size() ||
                  options.ids.getPosition(i) < options.raw.getPosition(r));
    if (failed(isIds ? inputs.addIds(options.ids[i++])
                     : inputs.addRaw(options.raw[r++])))
      return failure();
  }
  const std::pair<RoutingField, const cl::opt<std::string> &> given[] = {
      {RoutingField::Ids, options.replayIds},
      {RoutingField::Weights, options.replayWeights},
      {RoutingField::Mask, options.expertMask},
      {RoutingField::Bias, options.routerBias}};
  for (auto &[field, path] : given)
    if (!path.empty() && failed(inputs.addRouting(field, path)))
      return failure();
  SmallVector<int64_t> steps(options.steps.begin(), options.steps.end());
  if (steps.empty())
    steps.push_back(inputs.tokenCount());
  ModelEvaluator evaluator(*module,
                           [&](moe::WeightOp op) { return readWeight(op); });
  std::vector<float> rows;
  int64_t width = 0, first = 0;
  for (int64_t step : steps) {
    FailureOr<std::vector<HostTensor>> operands = inputs.operands(first, step);
    if (failed(operands) || failed(inputs.giveRouting(evaluator, first, step)))
      return failure();
    auto results = evaluator.call(function, std::move(*operands));
    if (failed(results))
      return failure();
    width = results->front().getShape()[1];
    llvm::append_range(rows, results->front().f32());
    first += step;
  }
  HostTensor all = HostTensor::zerosF32({first, width});
  llvm::copy(rows, all.f32().begin());
  auto file = OutputFile::create(options.output);
  llvm::Error failed = file ? file->append(npy(all)) : file.takeError();
  if (!failed)
    failed = file->commit();
  if (failed)
    return error() << llvm::toString(std::move(failed));
  return success();
}

int moec::runInterpreter(int argc, char **argv) {
  DialectRegistry registry;
  registerAllMoecDialects(registry);
  PluginLoader plugins(registry);
  if (llvm::Error error = plugins.takeArguments(argc, argv)) {
    llvm::errs() << "moe-interp: error: " << llvm::toString(std::move(error))
                 << '\n';
    return ExitError;
  }
  CommandLine options;
  cl::HideUnrelatedOptions(options.category);
  std::string said;
  llvm::raw_string_ostream stream(said);
  if (!cl::ParseCommandLineOptions(
          argc, argv,
          "moe-interp: evaluates IR of the phases import to experts by the "
          "reference semantics of its operations\n",
          &stream)) {
    llvm::errs() << said;
    return ExitUsage;
  }
  setExactSums(options.exactSums);
  return succeeded(Interpretation(registry).run(options)) ? ExitSuccess
                                                          : ExitError;
}
