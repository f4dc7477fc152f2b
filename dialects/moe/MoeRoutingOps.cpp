//===- MoeRoutingOps.cpp - Routers ----------------------------------------===//
#include "dialects/moe/MoeDialect.h"
#include "dialects/row/RowBuilder.h"
#include "dialects/row/RowDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/SmallSet.h"

#include <array>
#include <limits>
#include <numeric>

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
  if (getSkip())
    stages.push_back(*getSkip());
  return stages;
}

/// Stages between `score` and `weigh` do not see experts that are always
/// selected.
static bool seesSelectableOnly(StageKind kind) {
  return kind == StageKind::Rank || kind == StageKind::Groups ||
         kind == StageKind::Select;
}

SmallVector<RoutingField> RouteOp::getRunTimeFields() {
  SmallVector<RoutingField> fields;
  if (std::optional<ArrayAttr> words = getRunTime())
    for (auto word : words->getAsRange<StringAttr>())
      if (std::optional<RoutingField> field = symbolizeRoutingField(word))
        fields.push_back(*field);
  return fields;
}

int64_t RouteOp::getNumExperts() { return getPoolStart() + getPoolWidth(); }

int64_t RouteOp::getSlotsPerToken() {
  return getSelect().getSlots(getSelectableWidth()) + getNumAlways();
}

RoutingGuarantees RouteOp::getGuarantees() {
  RoutingGuarantees guarantees;
  guarantees.tokenLocal = true;
  for (RoutingStageAttrInterface stage : getStages())
    stage.updateGuarantees(guarantees);
  if (guarantees.mayBeEmpty && !getAlways())
    guarantees.normalized = false;
  for (RoutingField field : getRunTimeFields()) {
    if (field == RoutingField::Bias)
      continue;
    guarantees.dropFree = guarantees.normalized = false;
    if (field == RoutingField::Ids)
      guarantees.distinct = false;
  }
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
  int64_t always = 0;
  if (DenseI64ArrayAttr range = adaptor.getAlwaysAttr();
      range && range.size() == 2)
    always = range[1] - range[0];
  int64_t slots = select.getSlots(logits.getDimSize(1) - always) + always;
  Builder b(context);
  types.push_back(
      RankedTensorType::get({ShapedType::kDynamic, slots}, b.getI32Type()));
  types.push_back(
      RankedTensorType::get({ShapedType::kDynamic, slots}, b.getF32Type()));
  return success();
}

static LogicalResult verifyRunTime(RouteOp op) {
  SmallVector<RoutingField> fields = op.getRunTimeFields();
  size_t words = op.getRunTime() ? op.getRunTime()->size() : 0;
  llvm::SmallSet<RoutingField, 4> seen;
  bool differ = llvm::all_of(
      fields, [&](RoutingField field) { return seen.insert(field).second; });
  if (fields.size() != words || !differ ||
      seen.contains(RoutingField::Weights) ||
      words > op.getStageOperands().size()) // C6
    return op.emitOpError("expected 'run_time' to name different ones of ids, "
                          "bias, mask and count, each with an operand, found ")
           << op.getRunTimeAttr();
  auto operands = op.getStageOperands().take_back(words);
  for (auto [field, operand] : llvm::zip(fields, operands)) {
    auto type = cast<RankedTensorType>(operand.getType());
    int64_t width = field == RoutingField::Ids     ? op.getSlotsPerToken()
                    : field == RoutingField::Count ? 1
                                                   : op.getNumExperts();
    if (!isTypeOf(field, type) || type.getShape().back() != width) // C6
      return op.emitOpError("expected '")
             << stringifyRoutingField(field) << "' to be " << width
             << " wide, found " << type;
  }
  if (seen.contains(RoutingField::Count) && !op.getSelect().ordersSlots()) // C7
    return op.emitOpError("expected a selection in order of rank beside "
                          "'count', found ")
           << op.getSelect();
  if (seen.contains(RoutingField::Ids) && !op.weighsAny()) // C7
    return op.emitOpError("expected weights that any expert has beside 'ids', "
                          "found ")
           << op.getWeigh();
  return success();
}

LogicalResult RouteOp::verify() {
  SmallVector<StageKind> places{StageKind::Score, StageKind::Rank};
  if (getGroups())
    places.push_back(StageKind::Groups);
  places.append({StageKind::Select, StageKind::Weigh, StageKind::Renorm,
                 StageKind::Scale});
  if (getSkip())
    places.push_back(StageKind::Skip);
  if (std::optional<ArrayRef<int64_t>> always = getAlways()) {
    ArrayRef<int64_t> range = *always;
    bool fits = range.size() == 2 && range[0] < range[1] && range[0] >= 0 &&
                range[1] <= getPoolWidth() &&
                (range[0] == 0) != (range[1] == getPoolWidth());
    if (!fits) // C5
      return emitOpError("expected 'always' to be a part at one end of ")
             << getPoolWidth() << " columns, found [" << range << "]";
  }
  if (failed(verifyRunTime(*this))) // C6, C7
    return failure();
  auto emitError = [&] { return emitOpError(); };
  OperandRange stageOperands =
      getStageOperands().drop_back(getRunTimeFields().size());
  size_t operands = 0;
  for (auto [place, stage] : llvm::zip(places, getStages())) {
    int64_t width =
        seesSelectableOnly(place) ? getSelectableWidth() : getPoolWidth();
    int64_t slots = seesSelectableOnly(place) ? getSelect().getSlots(width)
                                              : getSlotsPerToken();
    if (stage.getStageKind() != place) // C1
      return emitOpError("expected a '")
             << stringifyStageKind(place) << "' stage, found " << stage
             << ", a '" << stringifyStageKind(stage.getStageKind())
             << "' stage";
    if (failed(stage.verifyStage(width, slots, emitError))) // C2
      return failure();
    if (stage.getOperandName().empty())
      continue;
    if (operands < stageOperands.size()) {
      auto type = cast<RankedTensorType>(stageOperands[operands].getType());
      bool hasElements = stage.readsIds()
                             ? type.getElementType().isInteger(32)
                             : isa<FloatType>(type.getElementType());
      bool fits = type.getRank() != 0 && hasElements &&
                  stage.acceptsOperandWidth(width, type.getShape().back());
      if (!fits) // C3
        return emitOpError("expected the '")
               << stringifyStageKind(place) << "' operand to be " << width
               << " wide, found " << type;
    }
    ++operands;
  }
  if (stageOperands.size() != operands) // C3
    return emitOpError("expected ")
           << operands << " stage operands, found " << stageOperands.size();
  if (getWeigh().takesGivenWeights() &&
      (!getSelect().givesWeights() || getAlways())) // C4
    return emitOpError("expected a selection that makes weights for ")
           << getWeigh() << ", found " << getSelect()
           << (getAlways() ? " with 'always'" : "");
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

/// The columns that are selected always, in order.
static SmallVector<int32_t> alwaysColumns(RouteOp op) {
  SmallVector<int32_t> columns;
  for (int64_t i = 0; i < op.getNumAlways(); ++i)
    columns.push_back((*op.getAlways())[0] + i);
  return columns;
}

/// The columns that selection works on, in order.
static SmallVector<int32_t> selectableColumns(RouteOp op) {
  SmallVector<int32_t> columns;
  for (int64_t e = 0; e < op.getPoolWidth(); ++e)
    if (!op.getNumAlways() || e < (*op.getAlways())[0] ||
        e >= (*op.getAlways())[1])
      columns.push_back(e);
  return columns;
}

/// The selected ids, counted in all columns, and those of `always` behind them.
static Value joinAlways(RouteOp op, row::RowBuilder &rows, OpBuilder &b,
                        Value ids) {
  Location loc = op.getLoc();
  int64_t selected = cast<RankedTensorType>(ids.getType()).getDimSize(0);
  SmallVector<int32_t> places, added(selected, -1);
  for (int64_t s = 0; s < selected; ++s)
    places.push_back(s);
  for (int32_t column : alwaysColumns(op)) {
    places.push_back(-1);
    added.push_back(column);
  }
  // Unused slots gather 0, so columns are counted from 1 here.
  SmallVector<int32_t> columns = selectableColumns(op);
  for (int32_t &column : columns)
    ++column;
  Value joined =
      rows.add(rows.gather(rows.constant(columns), ids), rows.i32(-1));
  joined = rows.gather(joined, rows.constant(places));
  return rows.map({joined, rows.constant(added), rows.i32(0)}, b.getI32Type(),
                  [&](OpBuilder &b, ValueRange v) -> Value {
                    Value isAdded = arith::CmpIOp::create(
                        b, loc, arith::CmpIPredicate::sge, v[1], v[2]);
                    return arith::SelectOp::create(b, loc, isAdded, v[1], v[0]);
                  });
}

namespace {
/// What the caller of the step has to say, as row operations.
class RunTimeOperands {
public:
  RunTimeOperands(RouteOp op, OpBuilder &b, ValueRange inputs)
      : op(op), b(b), loc(op.getLoc()), rows(b, loc) {
    SmallVector<RoutingField> fields = op.getRunTimeFields();
    for (auto [field, value] :
         llvm::zip(fields, inputs.take_back(fields.size())))
      values[static_cast<size_t>(field)] = value;
    if (op.getPoolStart() == 0)
      return;
    // Those of experts are counted like ids.
    SmallVector<int32_t> columns(op.getPoolWidth());
    std::iota(columns.begin(), columns.end(), int32_t(op.getPoolStart()));
    for (RoutingField field : {RoutingField::Bias, RoutingField::Mask})
      if (Value &value = values[static_cast<size_t>(field)])
        value = rows.gather(value, rows.constant(columns));
  }

  Value changeLogits(Value logits) {
    if (Value bias = get(RoutingField::Bias))
      logits = rows.add(logits, bias);
    return bar(logits, get(RoutingField::Mask));
  }
  /// Of the columns that selection works on.
  Value changeRank(Value rank) {
    Value mask = get(RoutingField::Mask);
    if (mask && op.getAlways())
      mask = rows.gather(mask, rows.constant(selectableColumns(op)));
    return bar(rank, mask);
  }
  void shorten(StageState &state) {
    Value count = get(RoutingField::Count);
    if (!count)
      return;
    Value most =
        row::TableOp::create(b, loc, b.getI32Type(), count, rows.i32(0));
    int64_t slots = cast<RankedTensorType>(state.ids.getType()).getDimSize(0);
    state.ids = choose(arith::CmpIPredicate::slt, rows.iota(slots), most,
                       state.ids, rows.i32(-1));
    state.hasUnused = true;
  }
  /// Behind `always`: ids count all columns.
  void changeIds(StageState &state) {
    if (Value mask = get(RoutingField::Mask)) {
      // A slot that is not used gathers 0.
      state.ids = choose(arith::CmpIPredicate::ne, rows.gather(mask, state.ids),
                         rows.i32(0), state.ids, rows.i32(-1));
      state.hasUnused = true;
    }
    if (Value ids = get(RoutingField::Ids)) {
      Value column = ids;
      if (op.getPoolStart() != 0)
        column = choose(arith::CmpIPredicate::slt, ids, rows.i32(0), ids,
                        rows.add(ids, rows.i32(-int64_t(op.getPoolStart()))));
      state.ids = choose(arith::CmpIPredicate::eq, ids, rows.i32(kFreeSlot),
                         state.ids, column);
      state.hasUnused = true;
    }
  }

private:
  Value get(RoutingField field) { return values[static_cast<size_t>(field)]; }

  /// x <predicate> y ? chosen : other, all i32.
  Value choose(arith::CmpIPredicate predicate, Value x, Value y, Value chosen,
               Value other) {
    return rows.map({x, y, chosen, other}, b.getI32Type(),
                    [&](OpBuilder &b, ValueRange v) -> Value {
                      Value holds =
                          arith::CmpIOp::create(b, loc, predicate, v[0], v[1]);
                      return arith::SelectOp::create(b, loc, holds, v[2], v[3]);
                    });
  }
  Value bar(Value numbers, Value mask) {
    if (!mask)
      return numbers;
    Value lowest = rows.f32(-std::numeric_limits<double>::infinity());
    return rows.map({numbers, mask, lowest, rows.i32(0)}, b.getF32Type(),
                    [&](OpBuilder &b, ValueRange v) -> Value {
                      Value isBarred = arith::CmpIOp::create(
                          b, loc, arith::CmpIPredicate::eq, v[1], v[3]);
                      return arith::SelectOp::create(b, loc, isBarred, v[2],
                                                     v[0]);
                    });
  }

  RouteOp op;
  OpBuilder &b;
  Location loc;
  row::RowBuilder rows;
  std::array<Value, 5> values;
};
} // namespace

FailureOr<RoutedRow> RouteOp::lowerToken(OpBuilder &b, ValueRange inputs) {
  row::RowBuilder rows(b, getLoc());
  RunTimeOperands runTime(*this, b, inputs);
  StageState state;
  state.logits = runTime.changeLogits(inputs[0]);
  Value allLogits = state.logits, allScores;
  auto operands = inputs.drop_front();
  for (RoutingStageAttrInterface stage : getStages()) {
    if (getAlways() && stage.getStageKind() == StageKind::Rank) {
      allScores = state.scores;
      Value columns = rows.constant(selectableColumns(*this));
      state.logits = rows.gather(allLogits, columns);
      state.scores = rows.gather(allScores, columns);
    } else if (getAlways() && stage.getStageKind() == StageKind::Weigh) {
      state.logits = allLogits;
      state.scores = allScores;
      state.ids = joinAlways(*this, rows, b, state.ids);
    }
    if (stage.getStageKind() == StageKind::Select)
      state.rank = runTime.changeRank(state.rank);
    else if (stage.getStageKind() == StageKind::Weigh)
      runTime.changeIds(state);
    state.operand = Value();
    if (!stage.getOperandName().empty()) {
      // Stored biases may be bf16; stages compute in f32.
      bool isIds = stage.readsIds();
      Type element = isIds ? Type(b.getI32Type()) : Type(b.getF32Type());
      state.operand = rows.map(
          operands.front(), element, [&](OpBuilder &b, ValueRange v) -> Value {
            if (isIds || v[0].getType().isF32())
              return v[0];
            return arith::ExtFOp::create(b, getLoc(), b.getF32Type(), v[0]);
          });
      operands = operands.drop_front();
    }
    stage.lowerToken(b, getLoc(), state);
    if (stage.getStageKind() == StageKind::Select)
      runTime.shorten(state);
  }
  Value ids = state.ids;
  // Dividing by a sum of no weights must not show.
  if (state.hasUnused)
    state.weights = rows.whereUsed(state.weights, ids);
  if (getPoolStart() != 0) {
    Value start = rows.i32(getPoolStart());
    ids = state.hasUnused ? raiseUsed(rows, b, getLoc(), ids, start)
                          : rows.add(ids, start);
  }
  return RoutedRow{ids, state.weights};
}

/// The same in plain numbers; each is empty where the caller gives nothing.
namespace {
struct RunTimeNumbers {
  RunTimeNumbers(RouteOp op, ArrayRef<HostTensor> inputs, int64_t token) {
    SmallVector<RoutingField> fields = op.getRunTimeFields();
    for (auto [field, tensor] :
         llvm::zip(fields, inputs.take_back(fields.size()))) {
      if (field == RoutingField::Bias)
        bias = tensor.f32().drop_front(op.getPoolStart());
      else if (field == RoutingField::Mask)
        mask = tensor.i32().drop_front(op.getPoolStart());
      else if (field == RoutingField::Count)
        count = tensor.i32();
      else
        ids = tensor.rowI32(token);
    }
  }
  bool bars(size_t column) const { return !mask.empty() && mask[column] == 0; }

  ArrayRef<float> bias;
  ArrayRef<int32_t> mask, count, ids;
};
} // namespace

LogicalResult RouteOp::evaluate(ArrayRef<HostTensor> inputs,
                                MutableArrayRef<HostTensor> outputs) {
  constexpr float lowest = -std::numeric_limits<float>::infinity();
  int64_t tokens = inputs[0].getShape()[0], slots = getSlotsPerToken();
  outputs[0] = HostTensor::zerosI32({tokens, slots});
  outputs[1] = HostTensor::zerosF32({tokens, slots});
  for (int64_t t = 0; t < tokens; ++t) {
    StageValues state;
    state.logits = inputs[0].rowF32(t).vec();
    RunTimeNumbers runTime(*this, inputs, t);
    for (size_t e = 0; e < state.logits.size(); ++e) {
      if (!runTime.bias.empty())
        state.logits[e] += runTime.bias[e];
      if (runTime.bars(e))
        state.logits[e] = lowest;
    }
    std::vector<float> allLogits = state.logits, allScores;
    size_t next = 1;
    for (RoutingStageAttrInterface stage : getStages()) {
      if (getAlways() && stage.getStageKind() == StageKind::Rank) {
        allScores = state.scores;
        state.logits.clear();
        state.scores.clear();
        for (int32_t column : selectableColumns(*this)) {
          state.logits.push_back(allLogits[column]);
          state.scores.push_back(allScores[column]);
        }
      } else if (getAlways() && stage.getStageKind() == StageKind::Weigh) {
        state.logits = allLogits;
        state.scores = allScores;
        for (int32_t &id : state.ids)
          id = id < 0 ? id : selectableColumns(*this)[id];
        llvm::append_range(state.ids, alwaysColumns(*this));
      }
      if (stage.getStageKind() == StageKind::Select) {
        SmallVector<int32_t> columns = selectableColumns(*this);
        for (size_t e = 0; e < state.rank.size(); ++e)
          if (runTime.bars(columns[e]))
            state.rank[e] = lowest;
      } else if (stage.getStageKind() == StageKind::Weigh) {
        for (size_t s = 0; s < state.ids.size(); ++s) {
          if (state.ids[s] >= 0 && runTime.bars(state.ids[s]))
            state.ids[s] = -1;
          if (!runTime.ids.empty() && runTime.ids[s] != kFreeSlot)
            state.ids[s] = runTime.ids[s] < 0
                               ? -1
                               : runTime.ids[s] - int32_t(getPoolStart());
        }
      }
      state.operand = {};
      if (!stage.getOperandName().empty()) {
        const HostTensor &operand = inputs[next++];
        if (stage.readsIds())
          state.operandIds = operand.rowI32(t);
        else
          state.operand =
              operand.getRank() == 1 ? operand.f32() : operand.rowF32(t);
      }
      stage.evaluate(state);
      if (stage.getStageKind() == StageKind::Select && !runTime.count.empty())
        for (size_t s = std::max(runTime.count[0], 0); s < state.ids.size();
             ++s)
          state.ids[s] = -1;
    }
    for (int64_t s = 0; s < slots; ++s) {
      outputs[0].rowI32(t)[s] =
          state.ids[s] < 0 ? -1 : state.ids[s] + int32_t(getPoolStart());
      outputs[1].rowF32(t)[s] = state.ids[s] < 0 ? 0.0f : state.weights[s];
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
