//===- MarginRouter.cpp - The experts that come close to the best one -----===//
//
// Everything about acme.margin: how .moe files call it, what it promises, its
// lowering and, written apart from that, its meaning.
//
//===----------------------------------------------------------------------===//
#include "Acme.h"

#include "dialects/row/RowBuilder.h"
#include "dialects/row/RowDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

using namespace mlir;
using namespace acme;
using namespace moec;

#define GET_OP_CLASSES
#include "AcmeOps.cpp.inc"

//===----------------------------------------------------------------------===//
// In a .moe file: r = margin(logits, k = 3, ratio = 0.5)
//===----------------------------------------------------------------------===//

StringRef MarginOp::getSpelling() { return "margin"; }

/// Names are those of the op's attributes.
Signature MarginOp::getSignature() {
  return {{{"k",
            ArgumentKind::Integer,
            /*mandatory=*/true,
            /*positional=*/false,
            {},
            "most experts of one token"},
           {"ratio",
            ArgumentKind::Real,
            /*mandatory=*/true,
            /*positional=*/false,
            {},
            "lowest score that takes part, as a fraction of the best"}}};
}

//===----------------------------------------------------------------------===//
// Types and facts
//===----------------------------------------------------------------------===//

static int64_t getWidth(MarginOp op) {
  return cast<RankedTensorType>(op.getLogits().getType()).getDimSize(1);
}

int64_t MarginOp::getNumExperts() { return getWidth(*this); }
int64_t MarginOp::getSlotsPerToken() { return getK(); }

RoutingGuarantees MarginOp::getGuarantees() {
  RoutingGuarantees guarantees;
  guarantees.distinct = true;
  guarantees.normalized = true;
  guarantees.tokenLocal = true;
  guarantees.dropFree = false; // Slots below the margin stay unused.
  return guarantees;
}

LogicalResult MarginOp::inferReturnTypes(MLIRContext *context,
                                         std::optional<Location> location,
                                         MarginOp::Adaptor adaptor,
                                         SmallVectorImpl<Type> &types) {
  Builder b(context);
  int64_t k = adaptor.getK();
  if (k < 1) // C2
    return emitOptionalError(location, "expected k of at least 1, found ", k);
  for (Type element : {Type(b.getI32Type()), Type(b.getF32Type())})
    types.push_back(RankedTensorType::get({ShapedType::kDynamic, k}, element));
  return success();
}

LogicalResult MarginOp::verify() {
  auto logits = cast<RankedTensorType>(getLogits().getType());
  if (logits.getRank() != 2 || !logits.isDynamicDim(0) ||
      logits.isDynamicDim(1) || !logits.getElementType().isF32()) // C1
    return emitOpError("expected logits tensor<?xExf32>, found ") << logits;
  int64_t k = getK();
  if (k > getWidth(*this)) // C2
    return emitOpError("expected k of at most ")
           << getWidth(*this) << ", the number of experts, found " << k;
  double ratio = getRatio().convertToDouble();
  if (!(ratio >= 0.0 && ratio <= 1.0)) // C3
    return emitOpError("expected ratio from 0 to 1, found ") << ratio;
  return success();
}

//===----------------------------------------------------------------------===//
// Lowering: one token, in the row dialect. Every target runs it.
//===----------------------------------------------------------------------===//

FailureOr<RoutedRow> MarginOp::lowerToken(OpBuilder &builder,
                                          ValueRange inputs) {
  Location loc = getLoc();
  row::RowBuilder rows(builder, loc);
  Value scores, ids;
  std::tie(scores, ids) = rows.topK(rows.softmax(inputs[0]), getK());
  Value margin =
      rows.mul(rows.max(scores), rows.f32(getRatio().convertToDouble()));

  // x where the score reaches the margin, else `other`.
  auto choose = [&](Value x, Type element, Value other) {
    return rows.map({scores, margin, x, other}, element,
                    [&](OpBuilder &b, ValueRange v) -> Value {
                      Value stays = arith::CmpFOp::create(
                          b, loc, arith::CmpFPredicate::OGE, v[0], v[1]);
                      return arith::SelectOp::create(b, loc, stays, v[2], v[3]);
                    });
  };
  Value kept = choose(scores, builder.getF32Type(), rows.f32(0.0));
  return RoutedRow{choose(ids, builder.getI32Type(), rows.i32(-1)),
                   rows.div(kept, rows.sum(kept))};
}

//===----------------------------------------------------------------------===//
// Meaning: plain C++, sharing nothing with the lowering. `moe-opt
// --check-routers` compares the two.
//===----------------------------------------------------------------------===//

LogicalResult MarginOp::evaluate(ArrayRef<HostTensor> inputs,
                                 MutableArrayRef<HostTensor> outputs) {
  int64_t tokens = inputs[0].getShape()[0], slots = getK();
  auto ratio = static_cast<float>(getRatio().convertToDouble());
  outputs[0] = HostTensor::zerosI32({tokens, slots});
  outputs[1] = HostTensor::zerosF32({tokens, slots});
  for (int64_t t = 0; t < tokens; ++t) {
    std::vector<float> scores = inputs[0].rowF32(t).vec();
    float largest = *std::max_element(scores.begin(), scores.end()), sum = 0;
    for (float &score : scores)
      sum += score = std::exp(score - largest);
    for (float &score : scores)
      score /= sum;

    MutableArrayRef<int32_t> ids = outputs[0].rowI32(t);
    MutableArrayRef<float> weights = outputs[1].rowF32(t);
    float best = *std::max_element(scores.begin(), scores.end()), kept = 0;
    for (int64_t s = 0; s < slots; ++s) {
      // The first of equal scores, as max_element finds it.
      auto next = std::max_element(scores.begin(), scores.end());
      bool stays = *next >= ratio * best;
      ids[s] = stays ? int32_t(next - scores.begin()) : -1;
      weights[s] = stays ? *next : 0.0f;
      kept += weights[s];
      *next = -1; // Taken.
    }
    for (float &weight : weights)
      weight /= kept;
  }
  return success();
}
