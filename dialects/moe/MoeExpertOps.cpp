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
  return success();
}

/// The [rows, columns] of the weight of `role` of expert 0.
static ArrayRef<int64_t> roleShape(ExpertTableOp table, StringRef role,
                                   SymbolTableCollection *symbols = nullptr) {
  auto symbol =
      table.getExpert(0).getWeights().getAs<FlatSymbolRefAttr>(role);
  Operation *weight =
      symbols ? symbols->lookupNearestSymbolFrom(table, symbol)
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
  ArrayRef<int64_t> up = roleShape(table, "up", &symbols);
  ArrayRef<int64_t> down = roleShape(table, "down", &symbols);
  if (up.size() != 2 || down.size() != 2)
    return failure(); // the table's verifier says so
  if (up[1] != getTokens().getType().getDimSize(1) ||
      down[0] != getResult().getType().getDimSize(1)) // C1
    return emitOpError("expected experts from ")
           << getTokens().getType().getDimSize(1) << " to "
           << getResult().getType().getDimSize(1) << ", the table's are from "
           << up[1] << " to " << down[0];
  return success();
}

FlatSymbolRefAttr ExpertsOp::getExpertTable() { return getTableAttr(); }
Value ExpertsOp::getRoutingIds() { return getIds(); }
Value ExpertsOp::getRoutingWeights() { return getWeights(); }

static ExpertTableOp tableOf(ExpertsOp op) {
  return SymbolTable::lookupNearestSymbolFrom<ExpertTableOp>(
      op, op.getTableAttr());
}

int64_t ExpertsOp::getFlopsPerRow() {
  ExpertTableOp table = tableOf(*this);
  int64_t flops = 0;
  for (NamedAttribute role : table.getExpert(0).getWeights()) {
    ArrayRef<int64_t> shape = roleShape(table, role.getName());
    flops += 2 * shape[0] * shape[1];
  }
  return flops;
}

FlatSymbolRefAttr ExpertsOp::getMatrixTable() { return getTableAttr(); }

Value ExpertsOp::decomposeExperts(OpBuilder &b, const DispatchPlan &plan) {
  Location loc = getLoc();
  ExpertTableOp table = tableOf(*this);
  int64_t width = roleShape(table, "up")[0];
  int64_t to = roleShape(table, "down")[0];
  auto stream = [](int64_t width, Type element) {
    return RankedTensorType::get({ShapedType::kDynamic, width}, element);
  };
  Value gathered = DispatchOp::create(b, loc, getTokens().getType(),
                                      getTokens(), plan.rows, plan.offsets);
  auto matmul = [&](StringRef role, Value input, int64_t width) -> Value {
    return GroupedMatmulOp::create(b, loc, stream(width, b.getF32Type()),
                                   getTable(), b.getStrArrayAttr({role}), input,
                                   /*gather=*/Value(), plan.offsets,
                                   getCompute());
  };
  SmallVector<Value> maps;
  if (table.getBody() == "glu")
    maps.push_back(matmul("gate", gathered, width));
  maps.push_back(matmul("up", gathered, width));
  Value hidden =
      row::buildHidden(b, loc, getActivation(), maps,
                       getTokens().getType().getElementType());
  Value down = matmul("down", hidden, to);
  return CombineOp::create(b, loc, getResult().getType(), down, plan.slotRows,
                           getWeights());
}
