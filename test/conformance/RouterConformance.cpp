//===- RouterConformance.cpp - Every router and stage, found by interface -===//
//
//   router-conformance [--load-plugin=FILE]...
//
// Builds a module for each routing stage of every loaded dialect (inside an
// otherwise ordinary moe.route) and for each operation that implements
// RoutingOpInterface and can be written in a .moe file, with arguments made up
// from its signature, and runs the pass check-routers on it. Prints a line for
// each.
//
//===----------------------------------------------------------------------===//
#include "compiler/driver/Registration.h"
#include "compiler/plugin/PluginLoader.h"
#include "dialects/interfaces/MoecDialectInterface.h"
#include "dialects/moe/MoeDialect.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "llvm/Support/raw_ostream.h"

#include <map>

using namespace mlir;
using namespace moec;

namespace {
constexpr int64_t width = 8;

/// Values for the arguments of a signature that are acceptable to most: 2 for
/// the first integer and 1 for others, a number between 0 and 1, and of words
/// the one numbered `word`, counted round.
class Samples {
public:
  Samples(Builder &b, size_t word) : b(b), word(word) {}

  Attribute next(const Argument &argument) {
    switch (argument.kind) {
    case ArgumentKind::Integer:
      return b.getI64IntegerAttr(integers++ == 0 ? 2 : 1);
    case ArgumentKind::Real:
      return b.getF64FloatAttr(0.5);
    case ArgumentKind::Boolean:
      return b.getBoolAttr(word % 2 == 0);
    case ArgumentKind::Word:
      return b.getStringAttr(argument.words[word % argument.words.size()]);
    case ArgumentKind::Weight:
    case ArgumentKind::Value:
      return {};
    }
    return {};
  }

private:
  Builder &b;
  size_t word;
  int integers = 0;
};

/// Enough samples for every word of a signature to occur.
size_t sampleCount(const Signature &signature) {
  size_t count = 1;
  for (const Argument &argument : signature.arguments)
    count = std::max(count, argument.kind == ArgumentKind::Boolean
                                ? size_t(2)
                                : argument.words.size());
  return count;
}

class Conformance {
public:
  explicit Conformance(MLIRContext &context)
      : context(context), builder(&context) {}

  void checkStages();
  void checkOperations();

  unsigned checked = 0, failed = 0;

private:
  using Stages = std::map<StageKind, Attribute>;

  void checkRoute(llvm::StringRef what, const Stages &stages,
                  RoutingStageAttrInterface stage,
                  llvm::ArrayRef<int64_t> always);
  RoutingStageAttrInterface build(const StageEntry &entry, size_t word = 0);
  void check(llvm::StringRef what, llvm::ArrayRef<Type> operands,
             llvm::function_ref<Operation *(ValueRange)> create);
  void report(llvm::StringRef what, bool passed) {
    llvm::outs() << (passed ? "ok   " : "FAIL ") << what << "\n";
    ++checked;
    failed += !passed;
  }

  Type logitsType() {
    return RankedTensorType::get({ShapedType::kDynamic, width},
                                 builder.getF32Type());
  }

  MLIRContext &context;
  OpBuilder builder;
};
} // namespace

/// Creates an operation whose result types follow from the rest of it.
static Operation *createInferred(OpBuilder &builder, OperationState &state) {
  std::optional<RegisteredOperationName> name = state.name.getRegisteredInfo();
  auto *types = name ? name->getInterface<InferTypeOpInterface>() : nullptr;
  if (!types)
    return nullptr;
  DictionaryAttr attributes =
      state.attributes.getDictionary(builder.getContext());
  // Operations keep their attributes as properties, and infer types from them.
  std::vector<char> storage(name->getOpPropertyByteSize());
  OpaqueProperties properties(storage.empty() ? nullptr : storage.data());
  auto fails = [&] { return emitError(state.location); };
  bool inferred = true;
  if (properties) {
    name->initOpProperties(properties, nullptr);
    inferred = succeeded(name->setOpPropertiesFromAttribute(*name, properties,
                                                            attributes, fails));
  }
  inferred =
      inferred && succeeded(types->inferReturnTypes(
                      builder.getContext(), state.location, state.operands,
                      attributes, properties, state.regions, state.types));
  if (properties)
    name->destroyOpProperties(properties);
  return inferred ? builder.create(state) : nullptr;
}

/// Runs check-routers on a function with `operands` around the op that `create`
/// builds.
void Conformance::check(llvm::StringRef what, llvm::ArrayRef<Type> operands,
                        llvm::function_ref<Operation *(ValueRange)> create) {
  Location loc = builder.getUnknownLoc();
  OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
  builder.setInsertionPointToEnd(module->getBody());
  auto function = func::FuncOp::create(builder, loc, "f",
                                       builder.getFunctionType(operands, {}));
  builder.setInsertionPointToEnd(function.addEntryBlock());
  Operation *router = create(function.getArguments());
  if (!router)
    return report(what, false);
  func::ReturnOp::create(builder, loc);

  PassManager passes(&context);
  bool passed = succeeded(verify(*module)) &&
                succeeded(parsePassPipeline("check-routers", passes)) &&
                succeeded(passes.run(*module));
  report(what, passed);
}

RoutingStageAttrInterface Conformance::build(const StageEntry &entry,
                                             size_t word) {
  std::vector<NamedStatic> arguments;
  Samples samples(builder, word);
  for (const Argument &argument : entry.signature.arguments)
    if (Attribute value = samples.next(argument))
      arguments.push_back({argument.name, value});
  return dyn_cast_or_null<RoutingStageAttrInterface>(entry.build(
      &context, arguments, [&] { return emitError(builder.getUnknownLoc()); }));
}

void Conformance::checkStages() {
  std::vector<std::pair<std::string, StageEntry>> entries;
  for (Dialect *dialect : context.getLoadedDialects())
    if (auto *contributions =
            dialect->getRegisteredInterface<MoecDialectInterface>())
      for (const StageEntry &entry : contributions->getStages())
        entries.push_back({dialect->getNamespace().str(), entry});

  // The stages around the one under test. `softmax` scores and weights by score
  // suit every other stage.
  Stages ordinary;
  const std::map<StageKind, llvm::StringRef> spellings = {
      {StageKind::Score, "softmax"}, {StageKind::Rank, "score"},
      {StageKind::Select, "top_k"},  {StageKind::Weigh, "score"},
      {StageKind::Renorm, "none"},   {StageKind::Scale, "number"}};
  for (auto &[dialect, entry] : entries) {
    auto spelling = spellings.find(entry.kind);
    if (dialect == "moe" && spelling != spellings.end() &&
        spelling->second == entry.spelling)
      ordinary[entry.kind] = build(entry);
  }

  for (auto &[dialect, entry] : entries)
    for (size_t word = 0; word < sampleCount(entry.signature); ++word) {
      RoutingStageAttrInterface stage = build(entry, word);
      std::string what = "stage " + dialect + " " +
                         stringifyStageKind(entry.kind).str() + " " +
                         entry.spelling.str();
      llvm::raw_string_ostream(what) << " " << stage;
      if (!stage) {
        report(what, false);
        continue;
      }
      auto stages = ordinary;
      stages[entry.kind] = stage;
      // A stage that takes the weights of the selection stands with the first
      // that makes some.
      for (auto &[other, partner] : entries)
        if (stage.takesGivenWeights() && partner.kind == StageKind::Select)
          if (auto select = build(partner); select && select.givesWeights())
            stages[StageKind::Select] = select;
      checkRoute(what, stages, stage, {});
      if (!stage.takesGivenWeights())
        checkRoute(what + " always", stages, stage, {width - 2, width});
    }
}

/// Checks a route of `stages`, of which `stage` may have an operand.
void Conformance::checkRoute(llvm::StringRef what, const Stages &stages,
                             RoutingStageAttrInterface stage,
                             llvm::ArrayRef<int64_t> always) {
  llvm::SmallVector<Type> operands = {logitsType()};
  // Selection does not see the experts that are selected always.
  bool seesAll = stage.getStageKind() != StageKind::Rank || always.empty();
  int64_t operandWidth = seesAll ? width : width - (always[1] - always[0]);
  if (stage.readsIds())
    operands.push_back(RankedTensorType::get(
        {ShapedType::kDynamic, stage.getSlots(width)}, builder.getI32Type()));
  else if (!stage.getOperandName().empty())
    operands.push_back(
        RankedTensorType::get({operandWidth}, builder.getF32Type()));
  check(what, operands, [&](ValueRange values) -> Operation * {
    OperationState state(builder.getUnknownLoc(),
                         moe::RouteOp::getOperationName());
    state.addOperands(values);
    for (auto &[kind, attribute] : stages)
      state.addAttribute(stringifyStageKind(kind), attribute);
    if (!always.empty())
      state.addAttribute("always", builder.getDenseI64ArrayAttr(always));
    return createInferred(builder, state);
  });
}

void Conformance::checkOperations() {
  for (RegisteredOperationName name : context.getRegisteredOperations()) {
    auto *router = name.getInterface<RoutingOpInterface>();
    if (!router || router->getSpelling().empty() ||
        name.getStringRef() == moe::RouteOp::getOperationName())
      continue;
    std::string what =
        ("router " + name.getStringRef() + " " + router->getSpelling()).str();
    for (size_t word = 0; word < sampleCount(router->getSignature()); ++word) {
      llvm::SmallVector<Type> operands = {logitsType()};
      NamedAttrList attributes;
      Samples samples(builder, word);
      for (const Argument &argument : router->getSignature().arguments) {
        if (Attribute value = samples.next(argument))
          attributes.set(argument.name, value);
        else
          operands.push_back(
              argument.kind == ArgumentKind::Weight
                  ? RankedTensorType::get({width}, builder.getF32Type())
                  : logitsType());
      }
      check(what, operands, [&](ValueRange values) -> Operation * {
        OperationState state(builder.getUnknownLoc(), name);
        state.addOperands(values);
        state.addAttributes(attributes);
        return createInferred(builder, state);
      });
    }
  }
}

int main(int argc, char **argv) {
  DialectRegistry registry;
  registerAllMoecDialects(registry);
  registerAllMoecPasses();
  PluginLoader plugins(registry);
  if (llvm::Error error = plugins.takeArguments(argc, argv)) {
    llvm::errs() << "router-conformance: error: "
                 << llvm::toString(std::move(error)) << "\n";
    return 1;
  }
  if (argc > 1) {
    llvm::errs() << "router-conformance: unknown argument " << argv[1] << "\n";
    return 2;
  }
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  context.loadAllAvailableDialects();
  // check-routers remarks on every router that agrees; failures are errors.
  context.getDiagEngine().registerHandler([](Diagnostic &diagnostic) {
    if (diagnostic.getSeverity() == DiagnosticSeverity::Error)
      llvm::outs() << "     " << diagnostic << "\n";
    return success();
  });

  Conformance conformance(context);
  conformance.checkStages();
  conformance.checkOperations();
  llvm::outs() << conformance.checked << " checked, " << conformance.failed
               << " failed\n";
  return conformance.failed || !conformance.checked;
}
