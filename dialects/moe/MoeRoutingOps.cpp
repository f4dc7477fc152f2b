//===- MoeRoutingOps.cpp - Routers ----------------------------------------===//
#include "dialects/moe/MoeDialect.h"
#include "dialects/row/RowBuilder.h"
#include "dialects/row/RowDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/SmallSet.h"

using namespace mlir;
using namespace moec;
using namespace moec::moe;

#define GET_OP_CLASSES
#include "dialects/moe/MoeRoutingOps.cpp.inc"

void MoeDialect::registerRoutingOperations() {
  addOperations<
#define GET_OP_LIST
#include "dialects/moe/MoeRoutingOps.cpp.inc"
      >();
}

static int64_t slotsOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getDimSize(1);
}

//===----------------------------------------------------------------------===//
// moe.route
//===----------------------------------------------------------------------===//

StringRef RouteOp::getSpelling() { return "route"; }

/// The stages are arguments of a kind of their own: semantic analysis takes
/// them from MoecDialectInterface::getStages.
Signature RouteOp::getSignature() { return {}; }

SmallVector<RoutingStageAttrInterface> RouteOp::getStages() {
  SmallVector<RoutingStageAttrInterface> stages{getScore(), getRank()};
  if (getGroups())
    stages.push_back(*getGroups());
  stages.append({getSelect(), getWeigh(), getRenorm(), getScale()});
  return stages;
}

int64_t RouteOp::getNumExperts() { return getPoolStart() + getPoolWidth(); }

int64_t RouteOp::getSlotsPerToken() {
  return getSelect().getSlots(getPoolWidth());
}

RoutingGuarantees RouteOp::getGuarantees() {
  RoutingGuarantees guarantees;
  guarantees.tokenLocal = true;
  for (RoutingStageAttrInterface stage : getStages())
    stage.updateGuarantees(guarantees);
  return guarantees;
}

LogicalResult RouteOp::inferReturnTypes(MLIRContext *context,
                                        std::optional<Location> location,
                                        RouteOp::Adaptor adaptor,
                                        SmallVectorImpl<Type> &types) {
  auto logits = dyn_cast<RankedTensorType>(adaptor.getLogits().getType());
  auto select =
      dyn_cast_or_null<RoutingStageAttrInterface>(adaptor.getSelectAttr());
  if (!logits || logits.getRank() != 2 || !select)
    return emitOptionalError(location, "expected logits tensor<?xExf32> and a "
                                       "select stage");
  int64_t slots = select.getSlots(logits.getDimSize(1));
  Builder b(context);
  types.push_back(
      RankedTensorType::get({ShapedType::kDynamic, slots}, b.getI32Type()));
  types.push_back(
      RankedTensorType::get({ShapedType::kDynamic, slots}, b.getF32Type()));
  return success();
}

LogicalResult RouteOp::verify() {
  SmallVector<StageKind> places{StageKind::Score, StageKind::Rank};
  if (getGroups())
    places.push_back(StageKind::Groups);
  places.append({StageKind::Select, StageKind::Weigh, StageKind::Renorm,
                 StageKind::Scale});
  int64_t width = getPoolWidth();
  auto emitError = [&] { return emitOpError(); };
  size_t operands = 0;
  for (auto [place, stage] : llvm::zip(places, getStages())) {
    if (stage.getStageKind() != place) // C1
      return emitOpError("expected a '")
             << stringifyStageKind(place) << "' stage, found " << stage
             << ", a '" << stringifyStageKind(stage.getStageKind())
             << "' stage";
    if (failed(stage.verifyStage(width, getSlotsPerToken(), emitError))) // C2
      return failure();
    operands += !stage.getOperandName().empty();
  }
  if (getStageOperands().size() != operands) // C3
    return emitOpError("expected ") << operands << " stage operands, found "
                                    << getStageOperands().size();
  for (Value operand : getStageOperands()) {
    auto type = cast<RankedTensorType>(operand.getType());
    if (type.getShape().back() != width) // C3
      return emitOpError("expected stage operands of the pool's width ")
             << width << ", found " << type;
  }
  return success();
}

/// The ids raised by `offset`; an unused slot stays -1.
static Value raiseUsed(row::RowBuilder &rows, OpBuilder &b, Location loc,
                       Value ids, Value offset) {
  return rows.map(
      {ids, offset, rows.i32(-1)}, b.getI32Type(),
      [&](OpBuilder &b, ValueRange v) -> Value {
        Value isNone =
            arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, v[0], v[2]);
        Value raised = arith::AddIOp::create(b, loc, v[0], v[1]);
        return arith::SelectOp::create(b, loc, isNone, v[0], raised);
      });
}

FailureOr<RoutedRow> RouteOp::lowerToken(OpBuilder &b, ValueRange inputs) {
  row::RowBuilder rows(b, getLoc());
  StageState state;
  state.logits = inputs[0];
  auto operands = inputs.drop_front();
  for (RoutingStageAttrInterface stage : getStages()) {
    state.operand = Value();
    if (!stage.getOperandName().empty()) {
      // Stored biases may be bf16; stages compute in f32.
      state.operand = rows.map(operands.front(), b.getF32Type(),
                               [&](OpBuilder &b, ValueRange v) -> Value {
                                 if (v[0].getType().isF32())
                                   return v[0];
                                 return arith::ExtFOp::create(
                                     b, getLoc(), b.getF32Type(), v[0]);
                               });
      operands = operands.drop_front();
    }
    stage.lowerToken(b, getLoc(), state);
  }
  Value ids = state.ids;
  if (getPoolStart() != 0) {
    Value start = rows.i32(getPoolStart());
    ids = state.hasUnused ? raiseUsed(rows, b, getLoc(), ids, start)
                          : rows.add(ids, start);
  }
  return RoutedRow{ids, state.weights};
}

LogicalResult RouteOp::evaluate(ArrayRef<HostTensor> inputs,
                                MutableArrayRef<HostTensor> outputs) {
  int64_t tokens = inputs[0].getShape()[0], slots = getSlotsPerToken();
  outputs[0] = HostTensor::zerosI32({tokens, slots});
  outputs[1] = HostTensor::zerosF32({tokens, slots});
  for (int64_t t = 0; t < tokens; ++t) {
    StageValues state;
    state.logits = inputs[0].rowF32(t).vec();
    size_t next = 1;
    for (RoutingStageAttrInterface stage : getStages()) {
      state.operand = {};
      if (!stage.getOperandName().empty()) {
        const HostTensor &operand = inputs[next++];
        state.operand =
            operand.getRank() == 1 ? operand.f32() : operand.rowF32(t);
      }
      stage.evaluate(state);
    }
    for (int64_t s = 0; s < slots; ++s) {
      outputs[0].rowI32(t)[s] =
          state.ids[s] < 0 ? -1 : state.ids[s] + int32_t(getPoolStart());
      outputs[1].rowF32(t)[s] = state.weights[s];
    }
  }
  return success();
}

//===----------------------------------------------------------------------===//
// moe.select_routing
//===----------------------------------------------------------------------===//

StringRef SelectRoutingOp::getSpelling() { return ""; }
Signature SelectRoutingOp::getSignature() { return {}; }
int64_t SelectRoutingOp::getNumExperts() { return getExperts(); }
int64_t SelectRoutingOp::getSlotsPerToken() { return slotsOf(getIds()); }

RoutingGuarantees SelectRoutingOp::getGuarantees() {
  RoutingGuarantees guarantees;
  guarantees.tokenLocal = true;
  return guarantees;
}

LogicalResult SelectRoutingOp::verify() {
  size_t arms = getArmIds().size();
  llvm::SmallSet<int64_t, 8> seen;
  bool different = llvm::all_of(
      getModalities(), [&](int64_t id) { return seen.insert(id).second; });
  if (getModalities().size() != arms || getOffsets().size() != arms ||
      getArmWeights().size() != arms || !different) // C1
    return emitOpError("expected one different modality, one offset and one "
                       "weights operand for each of ")
           << arms << " arms";
  for (auto [ids, weights] : llvm::zip(getArmIds(), getArmWeights()))
    if (slotsOf(ids) != slotsOf(weights) ||
        slotsOf(ids) > slotsOf(getIds())) // C2
      return emitOpError("expected arms of at most ")
             << slotsOf(getIds()) << " slots with as many weights, found "
             << ids.getType() << " and " << weights.getType();
  return success();
}

/// The row widened to `slots` elements; the new ones are `fill`.
static Value widen(OpBuilder &b, Location loc, Value value, int64_t slots,
                   Value fill) {
  auto type = cast<RankedTensorType>(value.getType());
  if (type.getDimSize(0) == slots)
    return value;
  row::RowBuilder rows(b, loc);
  // Indices beyond the row become -1, for which row.gather gives zero; ids then
  // need the fill, weights are zero already.
  SmallVector<int32_t> indices, isNew;
  for (int64_t s = 0; s < slots; ++s) {
    indices.push_back(s < type.getDimSize(0) ? s : -1);
    isNew.push_back(s >= type.getDimSize(0));
  }
  auto constant = [&](ArrayRef<int32_t> values) -> Value {
    return row::ConstantOp::create(
        b, loc,
        DenseElementsAttr::get(RankedTensorType::get({slots}, b.getI32Type()),
                               values));
  };
  Value wide = rows.gather(value, constant(indices));
  return rows.map(
      {wide, constant(isNew), fill}, type.getElementType(),
      [&](OpBuilder &b, ValueRange v) -> Value {
        Value zero = arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(0));
        Value isOld =
            arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, v[1], zero);
        return arith::SelectOp::create(b, loc, isOld, v[0], v[2]);
      });
}

FailureOr<RoutedRow> SelectRoutingOp::lowerToken(OpBuilder &b,
                                                 ValueRange inputs) {
  Location loc = getLoc();
  row::RowBuilder rows(b, loc);
  int64_t slots = getSlotsPerToken();
  size_t arms = getModalities().size();
  Value none = rows.i32(-1), zero = rows.f32(0.0);
  Value ids = rows.splat(none, slots), weights = rows.splat(zero, slots);
  for (size_t a = 0; a < arms; ++a) {
    Value modality = arith::ConstantOp::create(
        b, loc, b.getI8IntegerAttr(getModalities()[a]));
    Value isArm = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq,
                                        inputs[0], modality);
    Value armIds = inputs[1 + a];
    if (int64_t offset = getOffsets()[a])
      armIds = raiseUsed(rows, b, loc, armIds, rows.i32(offset));
    armIds = widen(b, loc, armIds, slots, none);
    Value armWeights = widen(b, loc, inputs[1 + arms + a], slots, zero);
    ids = row::SelectOp::create(b, loc, ids.getType(), isArm, armIds, ids);
    weights = row::SelectOp::create(b, loc, weights.getType(), isArm,
                                    armWeights, weights);
  }
  return RoutedRow{ids, weights};
}

LogicalResult SelectRoutingOp::evaluate(ArrayRef<HostTensor> inputs,
                                        MutableArrayRef<HostTensor> outputs) {
  int64_t tokens = inputs[0].getShape()[0], slots = getSlotsPerToken();
  size_t arms = getModalities().size();
  outputs[0] = HostTensor::zerosI32({tokens, slots});
  outputs[1] = HostTensor::zerosF32({tokens, slots});
  for (int64_t t = 0; t < tokens; ++t) {
    for (int32_t &id : outputs[0].rowI32(t))
      id = -1;
    for (size_t a = 0; a < arms; ++a) {
      if (inputs[0].i32()[t] != getModalities()[a])
        continue;
      ArrayRef<int32_t> ids = inputs[1 + a].rowI32(t);
      for (size_t s = 0; s < ids.size(); ++s) {
        outputs[0].rowI32(t)[s] =
            ids[s] < 0 ? -1 : ids[s] + int32_t(getOffsets()[a]);
        outputs[1].rowF32(t)[s] = inputs[1 + arms + a].rowF32(t)[s];
      }
    }
  }
  return success();
}
