//===- TopP.cpp - Selection by a share of the scores ----------------------===//
#include "dialects/moe/MoeDialect.h"
#include "dialects/row/RowBuilder.h"
#include "dialects/row/RowDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

#include <algorithm>
#include <numeric>

using namespace mlir;
using namespace moec;
using namespace moec::moe;

StringRef TopPStageAttr::getSpelling() { return "top_p"; }
StageKind TopPStageAttr::getStageKind() { return StageKind::Select; }
Signature TopPStageAttr::getSignature() {
  return {{{"p", ArgumentKind::Real, true, true, {}, "share to be reached"},
           {"until",
            ArgumentKind::Word,
            true,
            false,
            {"crossing", "count_below"},
            "what happens where a running sum equals p"}}};
}
Attribute TopPStageAttr::build(MLIRContext *context,
                               ArrayRef<NamedStatic> arguments,
                               function_ref<InFlightDiagnostic()>) {
  return get(context, cast<FloatAttr>(arguments[0].value),
             cast<StringAttr>(arguments[1].value));
}

int64_t TopPStageAttr::getSlots(int64_t width) const { return width; }

LogicalResult
TopPStageAttr::verifyStage(int64_t, int64_t,
                           function_ref<InFlightDiagnostic()> emitError) const {
  double p = getP().getValueAsDouble();
  if (!(p > 0.0 && p <= 1.0))
    return emitError() << "expected p above 0 and at most 1, found " << p;
  if (getUntil() != "crossing" && getUntil() != "count_below")
    return emitError() << "expected until = crossing or count_below, found "
                       << getUntil();
  return success();
}

bool TopPStageAttr::ordersSlots() const { return true; }
void TopPStageAttr::updateGuarantees(RoutingGuarantees &guarantees) const {
  guarantees.distinct = true;
}

void TopPStageAttr::lowerToken(OpBuilder &b, Location loc,
                               StageState &state) const {
  row::RowBuilder rows(b, loc);
  int64_t width = cast<RankedTensorType>(state.rank.getType()).getDimSize(0);
  auto [values, order] = rows.topK(state.rank, width);
  auto sums = row::ScanOp::create(b, loc, values).getResult();
  // The sum before each expert: -1 gives the zero before the first.
  SmallVector<int32_t> previous(width);
  std::iota(previous.begin(), previous.end(), -1);
  Value before = rows.gather(sums, rows.constant(previous));
  auto predicate = getUntil() == "crossing" ? arith::CmpFPredicate::OLE
                                            : arith::CmpFPredicate::OLT;
  state.ids = rows.map(
      {order, before, rows.f32(getP().getValueAsDouble()), rows.i32(-1)},
      b.getI32Type(), [&](OpBuilder &b, ValueRange v) -> Value {
        Value isKept = arith::CmpFOp::create(b, loc, predicate, v[1], v[2]);
        return arith::SelectOp::create(b, loc, isKept, v[0], v[3]);
      });
  state.hasUnused = true;
}

void TopPStageAttr::evaluate(StageValues &state) const {
  size_t width = state.rank.size();
  std::vector<int32_t> order(width);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return state.rank[a] != state.rank[b] ? state.rank[a] > state.rank[b]
                                          : a < b;
  });
  float p = static_cast<float>(getP().getValueAsDouble()), sum = 0.0f;
  size_t kept = 0, below = 0;
  for (int32_t id : order) {
    sum += state.rank[id];
    below += sum < p;
    if (getUntil() == "crossing" && ++kept && sum > p)
      break;
  }
  if (getUntil() == "count_below")
    kept = std::min(below + 1, width);
  order.resize(kept);
  order.resize(width, -1);
  state.ids = order;
}
