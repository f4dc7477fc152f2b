//===- MoeReference.cpp - Reference semantics of the moe dialect ----------===//
//
// Written from the descriptions of the operations, not from their lowering.
//
//===----------------------------------------------------------------------===//
#include "dialects/interfaces/ReferenceSums.h"
#include "dialects/moe/MoeDialect.h"
#include "dialects/row/RowEvaluator.h"

#include <limits>

using namespace mlir;
using namespace moec;
using namespace moec::moe;

LogicalResult WeightRefOp::evaluateIn(ReferenceContext &context,
                                      ArrayRef<HostTensor>,
                                      MutableArrayRef<HostTensor> outputs) {
  const HostTensor *numbers = context.getWeight(getWeightAttr(), *this);
  if (!numbers)
    return failure();
  outputs[0] = *numbers;
  return success();
}

/// What it writes is no value of the function.
LogicalResult ExportRoutingOp::evaluate(ArrayRef<HostTensor>,
                                        MutableArrayRef<HostTensor>) {
  return success();
}

LogicalResult
RoutingOperandOp::evaluateIn(ReferenceContext &context,
                             ArrayRef<HostTensor> inputs,
                             MutableArrayRef<HostTensor> outputs) {
  auto type = cast<RankedTensorType>(getResult().getType());
  SmallVector<int64_t> shape(type.getShape());
  if (getLike())
    shape[0] = inputs[0].getShape()[0];
  if (const HostTensor *given =
          context.getRoutingOperand(getFieldAttr(), getRouter())) {
    if (given->getShape() != ArrayRef<int64_t>(shape))
      return emitOpError("expected an array of ")
             << shape << ", found one of " << given->getShape();
    outputs[0] = *given;
    return success();
  }
  bool isFloat = isa<FloatType>(type.getElementType());
  outputs[0] =
      isFloat ? HostTensor::zerosF32(shape) : HostTensor::zerosI32(shape);
  auto fill = [](auto numbers, auto value) {
    std::fill(numbers.begin(), numbers.end(), value);
  };
  switch (*symbolizeRoutingField(getField())) {
  case RoutingField::Ids:
    fill(outputs[0].i32(), kFreeSlot);
    break;
  case RoutingField::Weights:
    fill(outputs[0].f32(), std::numeric_limits<float>::quiet_NaN());
    break;
  case RoutingField::Bias:
    fill(outputs[0].f32(), -0.0f);
    break;
  case RoutingField::Mask:
    fill(outputs[0].i32(), 1);
    break;
  case RoutingField::Count:
    fill(outputs[0].i32(), std::numeric_limits<int32_t>::max());
    break;
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Modalities
//===----------------------------------------------------------------------===//

LogicalResult MergeModalitiesOp::evaluate(ArrayRef<HostTensor> inputs,
                                          MutableArrayRef<HostTensor> outputs) {
  ArrayRef<int32_t> tokens = inputs[0].i32(), kinds = inputs[1].i32();
  int64_t count = tokens.size();
  outputs[0] =
      HostTensor::zerosF32({count, getResult().getType().getDimSize(1)});
  for (int64_t t = 0; t < count; ++t)
    for (size_t s = 0; s < getIds().size(); ++s)
      if (getIds()[s] == kinds[t])
        llvm::copy(inputs[2 + s].rowF32(getIndexed()[s] ? tokens[t] : t),
                   outputs[0].rowF32(t).begin());
  return success();
}

LogicalResult ByModalityOp::evaluateIn(ReferenceContext &context,
                                       ArrayRef<HostTensor> inputs,
                                       MutableArrayRef<HostTensor> outputs) {
  ArrayRef<int32_t> kinds = inputs[0].i32();
  int64_t count = kinds.size();
  outputs[0] =
      HostTensor::zerosF32({count, getResult().getType().getDimSize(1)});
  for (auto [id, arm] : llvm::zip(getIds(), getArms())) {
    std::vector<HostTensor> yielded;
    if (failed(context.evaluateRegion(arm, yielded)))
      return failure();
    for (int64_t t = 0; t < count; ++t)
      if (kinds[t] == id)
        llvm::copy(yielded[0].rowF32(t), outputs[0].rowF32(t).begin());
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Experts
//===----------------------------------------------------------------------===//

namespace {
/// A linear map of one row: operands rounded to `compute`, products added in
/// f32 in ascending order, then the bias, if any.
std::vector<float> applyMap(const HostTensor &weight, const HostTensor *bias,
                            ArrayRef<float> operand, Type compute) {
  std::vector<float> x(operand), y;
  roundOperand(x, compute, weight);
  for (int64_t o = 0; o < weight.getShape()[0]; ++o) {
    ArrayRef<float> row = weight.rowF32(o);
    ReferenceSum sum;
    for (size_t i = 0; i < x.size(); ++i)
      sum.add(x[i], roundWeight(compute, row[i]));
    y.push_back(bias ? sum.get() + bias->f32()[o] : sum.get());
  }
  return y;
}

/// The weight of a role of expert `e`, or null after a diagnostic.
const HostTensor *roleOf(ReferenceContext &context, ExpertTableOp table,
                         int64_t e, StringRef role, Operation *user) {
  return context.getWeight(
      table.getExpert(e).getWeights().getAs<FlatSymbolRefAttr>(role), user);
}

/// Whether slot id `id` of a table of `limit` experts makes sense.
LogicalResult checkId(Operation *op, int32_t id, int64_t limit) {
  if (id >= -1 && id < limit)
    return success();
  return op->emitOpError("expected ids from -1 to ")
         << limit - 1 << ", found " << id;
}
} // namespace

/// What expert `e` gives for `x`, in f32.
static FailureOr<std::vector<float>>
evaluateExpert(ExpertsOp op, ReferenceContext &context, ExpertTableOp table,
               int64_t e, ArrayRef<float> x) {
  auto map = [&](StringRef role,
                 ArrayRef<float> v) -> FailureOr<std::vector<float>> {
    const HostTensor *weight = roleOf(context, table, e, role, op);
    if (!weight)
      return failure();
    const HostTensor *bias = nullptr;
    std::string biasRole = (role + "_bias").str();
    if (table.getExpert(e).getWeights().contains(biasRole)) {
      bias = roleOf(context, table, e, biasRole, op);
      if (!bias)
        return failure();
    }
    return applyMap(*weight, bias, v, op.getCompute());
  };
  HiddenFunction function = getHiddenFunction(op);
  FailureOr<std::vector<float>> up = map("up", x);
  if (failed(up) || table.getBody() == "linear")
    return up;
  std::vector<float> hidden = *up;
  if (table.getBody() == "glu") {
    FailureOr<std::vector<float>> gate = map("gate", x);
    if (failed(gate))
      return failure();
    for (size_t i = 0; i < hidden.size(); ++i)
      hidden[i] = evaluateHiddenFunction(function, {(*gate)[i], hidden[i]});
  } else {
    for (float &h : hidden)
      h = evaluateHiddenFunction(function, h);
  }
  for (float &h : hidden)
    h = roundToType(op.getTokens().getType().getElementType(), h);
  return map("down", hidden);
}

/// What the virtual expert `e` gives for `x`.
static FailureOr<std::vector<float>>
evaluateVirtual(ExpertsOp op, ReferenceContext &context, ExpertTableOp table,
                int64_t e, ArrayRef<float> x) {
  VirtualExpertAttr expert = table.getVirtualExpert(e);
  if (expert.getKind() == "identity")
    return std::vector<float>(x);
  if (expert.getKind() == "null")
    return std::vector<float>(op.getResult().getType().getDimSize(1), 0.0f);
  const HostTensor *vector = context.getWeight(expert.getWeight(), op);
  if (!vector)
    return failure();
  return vector->f32().vec();
}

LogicalResult ExpertsOp::evaluateIn(ReferenceContext &context,
                                    ArrayRef<HostTensor> inputs,
                                    MutableArrayRef<HostTensor> outputs) {
  auto table = SymbolTable::lookupNearestSymbolFrom<ExpertTableOp>(
      *this, getTableAttr());
  int64_t tokens = inputs[0].getShape()[0], slots = inputs[1].getShape()[1];
  int64_t experts = table.getNumExperts();
  outputs[0] =
      HostTensor::zerosF32({tokens, getResult().getType().getDimSize(1)});
  for (int64_t t = 0; t < tokens; ++t) {
    ArrayRef<float> x = inputs[0].rowF32(t);
    MutableArrayRef<float> y = outputs[0].rowF32(t);
    for (int64_t s = 0; s < slots; ++s) {
      int32_t id = inputs[1].rowI32(t)[s];
      float weight = inputs[2].rowF32(t)[s];
      if (failed(checkId(*this, id, experts)))
        return failure();
      if (id < 0 || (getSlot() && static_cast<int64_t>(*getSlot()) != s))
        continue;
      std::vector<float> operand(x);
      if (getApplyInput()) {
        for (float &v : operand)
          v = roundToType(getTokens().getType().getElementType(), weight * v);
        weight = 1.0f;
      }
      FailureOr<std::vector<float>> result =
          table.getVirtualExpert(id)
              ? evaluateVirtual(*this, context, table, id, operand)
              : evaluateExpert(*this, context, table, id, operand);
      if (failed(result))
        return failure();
      for (size_t i = 0; i < y.size(); ++i)
        y[i] += weight * (*result)[i];
    }
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Dispatch
//===----------------------------------------------------------------------===//

/// `outputs` are rows, offsets and slot_rows of the plan of `ids`.
static LogicalResult evaluatePlan(Operation *op, const HostTensor &ids,
                                  int64_t experts,
                                  MutableArrayRef<HostTensor> outputs) {
  int64_t tokens = ids.getShape()[0], slots = ids.getShape()[1];
  outputs[0] = HostTensor::zerosI32({tokens * slots});
  outputs[1] = HostTensor::zerosI32({experts + 1});
  outputs[2] = HostTensor::zerosI32({tokens, slots});
  for (int32_t &row : outputs[2].i32())
    row = -1;
  for (int32_t id : ids.i32())
    if (failed(checkId(op, id, experts)))
      return failure();
  int32_t next = 0;
  for (int64_t e = 0; e < experts; ++e) {
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t s = 0; s < slots; ++s)
        if (ids.rowI32(t)[s] == e) {
          outputs[0].i32()[next] = t;
          outputs[2].rowI32(t)[s] = next++;
        }
    outputs[1].i32()[e + 1] = next;
  }
  return success();
}

LogicalResult ShareOp::evaluate(ArrayRef<HostTensor> inputs,
                                MutableArrayRef<HostTensor> outputs) {
  int64_t tokens = inputs[0].getShape()[0];
  outputs[0] = HostTensor::zerosF32({tokens, 1});
  for (int64_t t = 0; t < tokens; ++t)
    for (auto [id, weight] :
         llvm::zip(inputs[0].rowI32(t), inputs[1].rowF32(t)))
      if (id == int64_t(getExpert()))
        outputs[0].rowF32(t)[0] += weight;
  return success();
}

LogicalResult TableRowsOp::evaluate(ArrayRef<HostTensor> inputs,
                                    MutableArrayRef<HostTensor> outputs) {
  ArrayRef<int32_t> tokens = inputs[0].i32();
  int64_t rows = inputs[1].getShape()[0], width = inputs[1].getShape()[1];
  outputs[0] = HostTensor::zerosI32({int64_t(tokens.size()), width});
  for (size_t t = 0; t < tokens.size(); ++t) {
    bool isInside = tokens[t] >= 0 && tokens[t] < rows;
    llvm::copy(inputs[1].rowI32(isInside ? tokens[t] : 0),
               outputs[0].rowI32(t).begin());
  }
  return success();
}

LogicalResult LimitSlotsOp::evaluate(ArrayRef<HostTensor> inputs,
                                     MutableArrayRef<HostTensor> outputs) {
  outputs[0] = inputs[0];
  outputs[1] = inputs[1];
  int64_t slots = inputs[0].getShape()[1], experts = getExperts();
  ArrayRef<int32_t> starts = inputs[2].i32();
  for (size_t b = 0; b + 1 < starts.size(); ++b) {
    int64_t first = starts[b], end = starts[b + 1];
    int64_t capacity = llvm::divideCeil(
        (end - first) * slots * int64_t(getMillionths()), experts * 1000000);
    capacity = llvm::alignTo(capacity, getMultiple());
    std::vector<int64_t> taken(experts, 0);
    for (int64_t s = 0; s < slots; ++s)
      for (int64_t t = first; t < end; ++t) {
        int32_t &id = outputs[0].rowI32(t)[s];
        if (failed(checkId(*this, id, experts)))
          return failure();
        if (id >= 0 && taken[id]++ < capacity)
          continue;
        id = -1;
        outputs[1].rowF32(t)[s] = 0.0f;
      }
  }
  return success();
}

LogicalResult PlanOp::evaluate(ArrayRef<HostTensor> inputs,
                               MutableArrayRef<HostTensor> outputs) {
  return evaluatePlan(*this, inputs[0], getExperts(), outputs);
}

LogicalResult RoutePlanOp::evaluate(ArrayRef<HostTensor> inputs,
                                    MutableArrayRef<HostTensor> outputs) {
  if (failed(evaluateRows(getBody(), getOperandTypes(), inputs,
                          TypeRange(getResultTypes()).take_front(2),
                          outputs.take_front(2))))
    return failure();
  return evaluatePlan(*this, outputs[0], getExperts(), outputs.drop_front(2));
}

LogicalResult DispatchOp::evaluate(ArrayRef<HostTensor> inputs,
                                   MutableArrayRef<HostTensor> outputs) {
  int64_t rows = inputs[1].getShape()[0];
  outputs[0] = HostTensor::zerosF32({rows, inputs[0].getShape()[1]});
  for (int64_t r = 0; r < inputs[2].i32().back(); ++r)
    llvm::copy(inputs[0].rowF32(inputs[1].i32()[r]),
               outputs[0].rowF32(r).begin());
  return success();
}

LogicalResult GroupedMatmulOp::evaluateIn(ReferenceContext &context,
                                          ArrayRef<HostTensor> inputs,
                                          MutableArrayRef<HostTensor> outputs) {
  auto table = SymbolTable::lookupNearestSymbolFrom<ExpertTableOp>(
      *this, getTableAttr());
  const HostTensor &offsets = inputs.back();
  int64_t rows =
      getGather() ? inputs[1].getShape()[0] : inputs[0].getShape()[0];
  outputs[0] =
      HostTensor::zerosF32({rows, getResult().getType().getDimSize(1)});
  for (int64_t e = 0; e < table.getNumExperts(); ++e)
    for (int64_t r = offsets.i32()[e]; r < offsets.i32()[e + 1]; ++r) {
      ArrayRef<float> x =
          inputs[0].rowF32(getGather() ? inputs[1].i32()[r] : r);
      std::vector<std::vector<float>> maps;
      for (auto [i, role] : llvm::enumerate(getRoles())) {
        auto find = [&](Attribute role) {
          return roleOf(context, table, e, cast<StringAttr>(role), *this);
        };
        const HostTensor *weight = find(role);
        const HostTensor *bias =
            getBiases() ? find((*getBiases())[i]) : nullptr;
        if (!weight || (getBiases() && !bias))
          return failure();
        maps.push_back(applyMap(*weight, bias, x, getCompute()));
      }
      MutableArrayRef<float> y = outputs[0].rowF32(r);
      if (getEpilogue().empty()) {
        llvm::copy(maps[0], y.begin());
        continue;
      }
      for (size_t i = 0; i < y.size(); ++i) {
        std::vector<RowValue> elements;
        for (const std::vector<float> &map : maps)
          elements.push_back({map[i]});
        FailureOr<std::vector<RowValue>> value =
            evaluateRowBody(getEpilogue(), elements);
        if (failed(value))
          return failure();
        y[i] = static_cast<float>((*value)[0][0]);
      }
    }
  return success();
}

LogicalResult CombineOp::evaluate(ArrayRef<HostTensor> inputs,
                                  MutableArrayRef<HostTensor> outputs) {
  int64_t tokens = inputs[1].getShape()[0];
  outputs[0] =
      HostTensor::zerosF32({tokens, getResult().getType().getDimSize(1)});
  for (int64_t t = 0; t < tokens; ++t) {
    std::vector<ReferenceSum> sums(outputs[0].rowF32(t).size());
    for (auto [row, weight] :
         llvm::zip(inputs[1].rowI32(t), inputs[2].rowF32(t)))
      if (row >= 0)
        for (auto [sum, x] : llvm::zip(sums, inputs[0].rowF32(row)))
          sum.add(weight, x);
    for (auto [y, sum] : llvm::zip(outputs[0].rowF32(t), sums))
      y = sum.get();
  }
  return success();
}
