//===- RecordModel.cpp - What later phases no longer show -----------------===//

#include "compiler/pipeline/Pipeline.h"

#include "dialects/interfaces/RoutingInterfaces.h"
#include "dialects/moe/MoeDialect.h"
#include "dialects/row/RowBuilder.h"
#include "dialects/row/RowDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

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
  auto route = dyn_cast<moe::RouteOp>(router.getOperation());
  NamedAttrList record(
      {builder.getNamedAttr("layer", builder.getI64IntegerAttr(layer)),
       builder.getNamedAttr("name", builder.getStringAttr(name)),
       builder.getNamedAttr("experts",
                            builder.getI64IntegerAttr(router.getNumExperts())),
       builder.getNamedAttr(
           "slots", builder.getI64IntegerAttr(router.getSlotsPerToken())),
       builder.getNamedAttr("guarantees", builder.getArrayAttr(guarantees))});
  if (route && route.weighsAny())
    record.set("weighs_any", builder.getUnitAttr());
  if (route && route.getPoolStart() != 0)
    record.set("first_expert", route.getPoolStartAttr());
  return record.getDictionary(router.getContext());
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

static Value routingOperand(OpBuilder &builder, Location loc,
                            RoutingField field, size_t ordinal,
                            ArrayRef<int64_t> shape, Value like) {
  bool isFloat = field == RoutingField::Weights || field == RoutingField::Bias;
  Type element =
      isFloat ? Type(builder.getF32Type()) : Type(builder.getI32Type());
  return moe::RoutingOperandOp::create(
      builder, loc, RankedTensorType::get(shape, element),
      builder.getStringAttr(stringifyRoutingField(field)),
      builder.getI64IntegerAttr(ordinal), like);
}

namespace {
/// Joins a router to the caller of the step, as far as the options of its
/// function (`moe.function`) say so.
class RouterExchange {
public:
  RouterExchange(RoutingOpInterface router, size_t ordinal,
                 DictionaryAttr options)
      : router(router), ordinal(ordinal), options(options),
        builder(router.getContext()) {}

  LogicalResult build() {
    // Before the uses of its ids change.
    auto [kinds, kind] = findModality(router);
    if (failed(addRunTimeOperands()))
      return failure();
    // What is left of the choice where experts have a capacity.
    SmallVector<Operation *> last{router};
    for (Operation *user : router->getResult(0).getUsers())
      if (isa<moe::LimitSlotsOp>(user))
        last.push_back(user);
    ValueRange exported = last.back()->getResults();
    if (options.contains("routing_in"))
      for (Operation *choice : last)
        exported = force(choice);
    if (!options.contains("routing_out"))
      return success();
    builder.setInsertionPointAfterValue(exported[1]);
    moe::ExportRoutingOp::create(
        builder, router->getLoc(), exported[0], exported[1], kinds,
        kinds ? builder.getI64IntegerAttr(kind) : IntegerAttr(),
        builder.getI64IntegerAttr(ordinal));
    return success();
  }

private:
  SmallVector<int64_t> slotsShape() {
    return {ShapedType::kDynamic, router.getSlotsPerToken()};
  }
  /// An operand with a row for each token.
  Value stream() {
    for (Value operand : router->getOperands())
      if (cast<RankedTensorType>(operand.getType()).isDynamicDim(0))
        return operand;
    llvm_unreachable("a router has rows of tokens");
  }
  Value operand(RoutingField field, ArrayRef<int64_t> shape) {
    return routingOperand(builder, router->getLoc(), field, ordinal, shape,
                          isPerToken(field) ? stream() : Value());
  }

  LogicalResult addRunTimeOperands() {
    auto route = dyn_cast<moe::RouteOp>(router.getOperation());
    SmallVector<Attribute> names;
    auto add = [&](RoutingField field, Value value) {
      route.getStageOperandsMutable().append(value);
      names.push_back(builder.getStringAttr(stringifyRoutingField(field)));
    };
    const std::pair<StringRef, RoutingField> shared[] = {
        {"router_bias", RoutingField::Bias},
        {"expert_mask", RoutingField::Mask},
        {"k_override", RoutingField::Count}};
    for (auto [option, field] : shared) {
      if (!options.contains(option))
        continue;
      if (!route)
        return router->emitOpError("expected a moe.route where '")
               << option << "' acts";
      // One participant copies it: at the beginning one barrier is enough.
      auto function = router->getParentOfType<func::FuncOp>();
      builder.setInsertionPointToStart(&function.getBody().front());
      int64_t width = field == RoutingField::Count ? 1 : router.getNumExperts();
      add(field, operand(field, width));
    }
    builder.setInsertionPoint(router);
    if (options.contains("routing_in")) {
      ids = operand(RoutingField::Ids, slotsShape());
      weights = operand(RoutingField::Weights, slotsShape());
      if (route && route.weighsAny())
        add(RoutingField::Ids, ids);
    }
    if (!names.empty())
      route.setRunTimeAttr(builder.getArrayAttr(names));
    return success();
  }

  /// What takes the place of `limited`, the router's choice or what a capacity
  /// leaves of it: ids and weights of the caller where there are any. Weights
  /// that are not given are the router's, for it weighs what it is forced to
  /// choose, capacity or not.
  ValueRange force(Operation *limited) {
    Location loc = limited->getLoc();
    Value inputs[] = {limited->getResult(0), limited->getResult(1),
                      router->getResult(1), ids, weights};
    builder.setInsertionPointAfter(limited);
    auto apply = row::ApplyOp::create(builder, loc, limited->getResultTypes(),
                                      ValueRange(inputs));
    SmallVector<Type> types;
    for (Value input : inputs)
      types.push_back(row::ApplyOp::getRowType(input.getType()));
    Block *block = builder.createBlock(
        &apply.getBody(), {}, types, SmallVector<Location>(types.size(), loc));
    row::RowBuilder rows(builder, loc);
    ValueRange row = block->getArguments();
    auto isFree = [&](OpBuilder &b, Value id, Value free) -> Value {
      return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, id, free);
    };
    Value newIds =
        rows.map({row[0], row[3], rows.i32(kFreeSlot)}, builder.getI32Type(),
                 [&](OpBuilder &b, ValueRange v) -> Value {
                   return arith::SelectOp::create(b, loc, isFree(b, v[1], v[2]),
                                                  v[0], v[1]);
                 });
    Value newWeights = rows.map(
        {row[1], row[2], row[3], row[4], rows.i32(kFreeSlot)},
        builder.getF32Type(), [&](OpBuilder &b, ValueRange v) -> Value {
          Value isAbsent = arith::CmpFOp::create(
              b, loc, arith::CmpFPredicate::UNO, v[3], v[3]);
          Value forced = arith::SelectOp::create(b, loc, isAbsent, v[1], v[3]);
          return arith::SelectOp::create(b, loc, isFree(b, v[2], v[4]), v[0],
                                         forced);
        });
    row::YieldOp::create(
        builder, loc, ValueRange{newIds, rows.whereUsed(newWeights, newIds)});
    for (unsigned i : {0u, 1u})
      limited->getResult(i).replaceUsesWithIf(
          apply.getResult(i), [&](OpOperand &use) {
            return use.getOwner() != apply &&
                   !isa<moe::LimitSlotsOp>(use.getOwner());
          });
    return apply.getResults();
  }

  RoutingOpInterface router;
  size_t ordinal;
  DictionaryAttr options;
  OpBuilder builder;
  Value ids, weights; // that the caller gives
};
} // namespace

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
      if (failed(recordRouters(function, symbols)))
        return signalPassFailure();
    }
    module->setAttr(functionsAttrName, builder.getArrayAttr(functions));
    module->setAttr(routersAttrName, builder.getArrayAttr(routers));
  }

  /// Step functions share layers, and so routers. Within a function equal ones
  /// are different: a weight may be the router of several layers.
  LogicalResult recordRouters(func::FuncOp function, SymbolTable &symbols) {
    SmallVector<RoutingOpInterface> found;
    function.walk([&](RoutingOpInterface router) {
      if (!joinsRoutings(router))
        found.push_back(router);
    });
    auto options = function->getAttrOfType<DictionaryAttr>("moe.function");
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
      if (failed(RouterExchange(router, ordinal, options).build()))
        return failure();
    }
    return success();
  }

  SmallVector<Attribute> routers;
};
} // namespace
