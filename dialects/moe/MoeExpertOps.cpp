//===- MoeExpertOps.cpp - moe.experts -------------------------------------===//
#include "dialects/moe/MoeDialect.h"
#include "dialects/row/RowBuilder.h"

using namespace mlir;
using namespace moec;
using namespace moec::moe;

LogicalResult ExpertsOp::verify() {
  if (getIds().getType().getDimSize(1) !=
      getWeights().getType().getDimSize(1)) // C2
    return emitOpError("expected as many weights as slots: ")
           << getIds().getType().getDimSize(1) << ", found "
           << getWeights().getType().getDimSize(1);
  int64_t slots = getIds().getType().getDimSize(1);
  if (std::optional<uint64_t> slot = getSlot();
      slot && static_cast<int64_t>(*slot) >= slots) // C2
    return emitOpError("expected a slot from 0 to ")
           << slots - 1 << ", found " << static_cast<int64_t>(*slot);
  return success();
}

/// The [rows, columns] of the weight of `role` of the first expert that has
/// matrices.
static ArrayRef<int64_t> roleShape(ExpertTableOp table, StringRef role,
                                   SymbolTableCollection *symbols = nullptr) {
  auto symbol =
      table.getFirstExpert().getWeights().getAs<FlatSymbolRefAttr>(role);
  Operation *weight = symbols
                          ? symbols->lookupNearestSymbolFrom(table, symbol)
                          : SymbolTable::lookupNearestSymbolFrom(table, symbol);
  if (!isa_and_nonnull<WeightOp>(weight))
    return {};
  return cast<WeightOp>(weight).getTensorType().getShape();
}

LogicalResult ExpertsOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto table =
      symbols.lookupNearestSymbolFrom<ExpertTableOp>(*this, getTableAttr());
  if (!table) // C1
    return emitOpError("expected a moe.expert_table ")
           << getTableAttr() << ", found none";
  auto emitError = [&] { return emitOpError(); };
  if (failed(verifyHiddenFunction(getHiddenFunction(*this),
                                  table.getBody() == "glu", emitError))) // C3
    return failure();
  bool isLinear = table.getBody() == "linear";
  if (isLinear && getActivation() != Activation::Identity) // C3
    return emitOpError("expected no activation of linear experts, found ")
           << stringifyActivation(getActivation());
  int64_t from = getTokens().getType().getDimSize(1);
  int64_t to = getResult().getType().getDimSize(1);
  if (!table.getFirstExpert()) {
    // Experts without matrices keep the width, or have a vector.
    for (Attribute entry : table.getExperts()) {
      auto expert = cast<VirtualExpertAttr>(entry);
      auto weight = expert.getWeight()
                        ? symbols.lookupNearestSymbolFrom<WeightOp>(
                              *this, expert.getWeight())
                        : WeightOp();
      if ((expert.getKind() == "identity" && from != to) ||
          (weight &&
           weight.getTensorType().getShape() != ArrayRef<int64_t>(to))) // C1
        return emitOpError("expected experts from ")
               << from << " to " << to << ", found " << entry;
    }
    return success();
  }
  ArrayRef<int64_t> up = roleShape(table, "up", &symbols);
  ArrayRef<int64_t> down = roleShape(table, isLinear ? "up" : "down", &symbols);
  if (up.size() != 2 || down.size() != 2)
    return failure();                 // the table's verifier says so
  if (up[1] != from || down[0] != to) // C1
    return emitOpError("expected experts from ")
           << from << " to " << to << ", the table's are from " << up[1]
           << " to " << down[0];
  return success();
}

FlatSymbolRefAttr ExpertsOp::getExpertTable() { return getTableAttr(); }
Value ExpertsOp::getRoutingIds() { return getIds(); }
Value ExpertsOp::getRoutingWeights() { return getWeights(); }

static ExpertTableOp tableOf(ExpertsOp op) {
  return SymbolTable::lookupNearestSymbolFrom<ExpertTableOp>(op,
                                                             op.getTableAttr());
}

int64_t ExpertsOp::getFlopsPerRow() {
  ExpertTableOp table = tableOf(*this);
  int64_t flops = 0;
  if (!table.getFirstExpert())
    return flops;
  for (NamedAttribute role : table.getFirstExpert().getWeights()) {
    ArrayRef<int64_t> shape = roleShape(table, role.getName());
    if (shape.size() == 2)
      flops += 2 * shape[0] * shape[1];
  }
  return flops;
}

FlatSymbolRefAttr ExpertsOp::getMatrixTable() { return getTableAttr(); }

Value ExpertsOp::decomposeExperts(OpBuilder &b, const DispatchPlan &plan) {
  Location loc = getLoc();
  ExpertTableOp table = tableOf(*this);
  if (table.hasVirtualExperts() || getApplyInput() || getSlot()) {
    emitOpError("expected experts with matrices whose results are weighed, in "
                "all slots: run split-experts before decompose-experts");
    return {};
  }
  int64_t width = roleShape(table, "up")[0];
  auto stream = [](int64_t width, Type element) {
    return RankedTensorType::get({ShapedType::kDynamic, width}, element);
  };
  Value gathered = DispatchOp::create(b, loc, getTokens().getType(),
                                      getTokens(), plan.rows, plan.offsets);
  auto matmul = [&](StringRef role, Value input, int64_t width) -> Value {
    std::string bias = (role + "_bias").str();
    ArrayAttr biases = table.getFirstExpert().getWeights().contains(bias)
                           ? b.getStrArrayAttr(StringRef(bias))
                           : ArrayAttr();
    return GroupedMatmulOp::create(b, loc, stream(width, b.getF32Type()),
                                   getTable(), b.getStrArrayAttr({role}),
                                   biases, input, /*gather=*/Value(),
                                   plan.offsets, getCompute());
  };
  SmallVector<Value> maps;
  if (table.getBody() == "glu")
    maps.push_back(matmul("gate", gathered, width));
  maps.push_back(matmul("up", gathered, width));
  Value last = maps.back();
  if (table.getBody() != "linear") {
    Value hidden = row::buildHidden(b, loc, getHiddenFunction(*this), maps,
                                    getTokens().getType().getElementType());
    last = matmul("down", hidden, roleShape(table, "down")[0]);
  }
  return CombineOp::create(b, loc, getResult().getType(), last, plan.slotRows,
                           getWeights());
}
