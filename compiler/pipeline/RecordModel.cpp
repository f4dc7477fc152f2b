//===- RecordModel.cpp - What later phases no longer show -----------------===//

#include "compiler/pipeline/Pipeline.h"

#include "dialects/interfaces/RoutingInterfaces.h"
#include "dialects/moe/MoeDialect.h"

#include "llvm/ADT/SmallSet.h"

using namespace moec;
using namespace mlir;

namespace moec {
#define GEN_PASS_DEF_RECORDMODEL
#include "compiler/pipeline/Passes.h.inc"
} // namespace moec

static FailureOr<Attribute> recordOutput(func::FuncOp function, unsigned index,
                                         Builder &builder) {
  auto name = function.getResultAttrOfType<StringAttr>(index, "moe.output");
  auto type = dyn_cast<RankedTensorType>(function.getResultTypes()[index]);
  if (!name || !type || type.getRank() != 2 || type.isDynamicDim(1))
    return function.emitError() << "expected result " << index
                                << " to be a tensor<?xWxf32> with 'moe.output'";
  return Attribute(builder.getArrayAttr(
      {name, builder.getI64IntegerAttr(type.getDimSize(1))}));
}

static FailureOr<Attribute> recordFunction(func::FuncOp function) {
  Builder builder(function.getContext());
  auto facts = function->getAttrOfType<DictionaryAttr>("moe.function");
  if (!facts)
    return function.emitError("expected a step function with 'moe.function'");
  SmallVector<Attribute> outputs;
  for (unsigned i = 0; i < function.getNumResults(); ++i) {
    FailureOr<Attribute> output = recordOutput(function, i, builder);
    if (failed(output))
      return failure();
    outputs.push_back(*output);
  }
  NamedAttrList record(facts);
  record.set("name", function.getSymNameAttr());
  record.set("outputs", builder.getArrayAttr(outputs));
  return Attribute(record.getDictionary(function.getContext()));
}

/// A router that joins the results of others decides nothing itself.
static bool joinsRoutings(Operation *op) {
  return llvm::any_of(op->getOperands(), [](Value operand) {
    return isa_and_present<RoutingOpInterface>(operand.getDefiningOp());
  });
}

/// The weight nearest to the router's logits, going back from them.
static moe::WeightOp findRouterWeight(Operation *router, SymbolTable &symbols) {
  // Norms, casts and products lie between; anything further is no router.
  constexpr unsigned mostVisited = 16;
  SmallVector<Value> queue{router->getOperand(0)};
  for (unsigned next = 0; next < queue.size() && next < mostVisited; ++next) {
    Operation *definition = queue[next].getDefiningOp();
    if (auto reference = dyn_cast_if_present<moe::WeightRefOp>(definition))
      return symbols.lookup<moe::WeightOp>(reference.getWeight());
    if (definition)
      llvm::append_range(queue, definition->getOperands());
  }
  return {};
}

static Attribute recordRouter(RoutingOpInterface router, SymbolTable &symbols) {
  Builder builder(router.getContext());
  std::string name = router->getName().getStringRef().str();
  int64_t layer = -1;
  if (moe::WeightOp weight = findRouterWeight(router, symbols)) {
    StringRef weightName = weight.getSymName();
    weightName.consume_back(".weight");
    name = weightName.str();
    layer = weight.getLayer();
  }
  SmallVector<Attribute> guarantees;
  for (const std::string &guarantee : router.getGuarantees().names())
    guarantees.push_back(builder.getStringAttr(guarantee));
  return builder.getDictionaryAttr(
      {builder.getNamedAttr("layer", builder.getI64IntegerAttr(layer)),
       builder.getNamedAttr("name", builder.getStringAttr(name)),
       builder.getNamedAttr("experts",
                            builder.getI64IntegerAttr(router.getNumExperts())),
       builder.getNamedAttr(
           "slots", builder.getI64IntegerAttr(router.getSlotsPerToken())),
       builder.getNamedAttr("guarantees", builder.getArrayAttr(guarantees))});
}

/// The one modality for which `router` decides, and the kinds of the tokens; a
/// null value where it decides for all.
static std::pair<Value, int64_t> findModality(RoutingOpInterface router) {
  if (auto arms = router->getParentOfType<moe::ByModalityOp>())
    for (auto [arm, id] : llvm::zip(arms.getArms(), arms.getIds()))
      if (arm.isAncestor(router->getParentRegion()))
        return {arms.getKinds(), id};
  Value ids = router->getResult(0);
  if (!ids.hasOneUse())
    return {};
  auto select = dyn_cast<moe::SelectRoutingOp>(*ids.user_begin());
  if (!select)
    return {};
  for (auto [arm, id] : llvm::zip(select.getArmIds(), select.getModalities()))
    if (arm == ids)
      return {select.getKinds(), id};
  return {};
}

static void exportRouting(RoutingOpInterface router, size_t ordinal) {
  auto [kinds, kind] = findModality(router);
  OpBuilder builder(router->getContext());
  // What is left of the choice where experts have a capacity.
  Operation *last = router;
  for (Operation *user : router->getResult(0).getUsers())
    if (isa<moe::LimitSlotsOp>(user))
      last = user;
  builder.setInsertionPointAfter(last);
  moe::ExportRoutingOp::create(
      builder, router->getLoc(), last->getResult(0), last->getResult(1), kinds,
      kinds ? builder.getI64IntegerAttr(kind) : IntegerAttr(),
      builder.getI64IntegerAttr(ordinal));
}

namespace {
struct RecordModel : moec::impl::RecordModelBase<RecordModel> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    Builder builder(module.getContext());
    SymbolTable symbols(module);
    SmallVector<Attribute> functions;
    for (auto function : module.getOps<func::FuncOp>()) {
      auto facts = function->getAttrOfType<DictionaryAttr>("moe.function");
      if (facts && facts.contains("variant_of"))
        continue; // it has what its function has
      FailureOr<Attribute> record = recordFunction(function);
      if (failed(record))
        return signalPassFailure();
      functions.push_back(*record);
      recordRouters(function, symbols);
    }
    module->setAttr(functionsAttrName, builder.getArrayAttr(functions));
    module->setAttr(routersAttrName, builder.getArrayAttr(routers));
  }

  /// Step functions share layers, and so routers. Within a function equal ones
  /// are different: a weight may be the router of several layers.
  void recordRouters(func::FuncOp function, SymbolTable &symbols) {
    SmallVector<RoutingOpInterface> found;
    function.walk([&](RoutingOpInterface router) {
      if (!joinsRoutings(router))
        found.push_back(router);
    });
    bool exports =
        function->getAttrOfType<DictionaryAttr>("moe.function").contains(
            "routing_out");
    llvm::SmallSet<size_t, 16> taken;
    for (RoutingOpInterface router : found) {
      Attribute record = recordRouter(router, symbols);
      size_t ordinal = 0;
      while (ordinal < routers.size() &&
             (routers[ordinal] != record || taken.contains(ordinal)))
        ++ordinal;
      if (ordinal == routers.size())
        routers.push_back(record);
      taken.insert(ordinal);
      if (exports)
        exportRouting(router, ordinal);
    }
  }

  SmallVector<Attribute> routers;
};
} // namespace
