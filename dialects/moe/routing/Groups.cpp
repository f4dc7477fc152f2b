//===- Groups.cpp - Selection limited to the best groups ------------------===//
#include "dialects/moe/MoeDialect.h"
#include "dialects/row/RowBuilder.h"
#include "dialects/row/RowDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

#include <algorithm>
#include <limits>
#include <numeric>

using namespace mlir;
using namespace moec;
using namespace moec::moe;

StringRef GroupsStageAttr::getSpelling() { return "groups"; }
StageKind GroupsStageAttr::getStageKind() { return StageKind::Groups; }
Signature GroupsStageAttr::getSignature() {
  return {{{"groups", ArgumentKind::Integer, true, true, {}, "groups"},
           {"keep", ArgumentKind::Integer, true, false, {}, "groups that stay"},
           {"by",
            ArgumentKind::Word,
            true,
            false,
            {"max", "top2_sum"},
            "what groups are compared by"},
           {"outside",
            ArgumentKind::Word,
            true,
            false,
            {"-inf", "0"},
            "rank of experts outside the groups that stay"}}};
}
Attribute GroupsStageAttr::build(MLIRContext *context,
                                 ArrayRef<NamedStatic> arguments,
                                 function_ref<InFlightDiagnostic()>) {
  return get(context, cast<IntegerAttr>(arguments[0].value).getInt(),
             cast<IntegerAttr>(arguments[1].value).getInt(),
             cast<StringAttr>(arguments[2].value),
             cast<StringAttr>(arguments[3].value));
}

LogicalResult GroupsStageAttr::verifyStage(
    int64_t width, int64_t slots,
    function_ref<InFlightDiagnostic()> emitError) const {
  if (getGroups() < 1 || width % getGroups() != 0)
    return emitError() << "expected groups that divide the " << width
                       << " experts of the pool, found " << getGroups();
  if (getKeep() < 1 || getKeep() > getGroups())
    return emitError() << "expected to keep 1 to " << getGroups()
                       << " groups, found " << getKeep();
  int64_t size = width / getGroups();
  if (getKeep() * size < slots)
    return emitError() << "expected kept groups with at least " << slots
                       << " experts, found " << getKeep() * size;
  if (getBy() != "max" && getBy() != "top2_sum")
    return emitError() << "expected by = max or top2_sum, found " << getBy();
  if (getBy() == "top2_sum" && size < 2)
    return emitError() << "expected groups of at least 2 experts for top2_sum, "
                          "found "
                       << size;
  if (getOutside() != "-inf" && getOutside() != "0")
    return emitError() << "expected outside = -inf or 0, found "
                       << getOutside();
  return success();
}

static double outsideRank(GroupsStageAttr stage) {
  return stage.getOutside() == "0" ? 0.0
                                   : -std::numeric_limits<double>::infinity();
}

namespace {
/// Builds the statistics of the groups.
struct GroupBuilder {
  OpBuilder &b;
  Location loc;
  row::RowBuilder &rows;
  int64_t width, groups;

  /// A number per group, for every expert.
  Value spread(Value perGroup) {
    SmallVector<int32_t> group;
    for (int64_t e = 0; e < width; ++e)
      group.push_back(e / (width / groups));
    return rows.gather(perGroup, rows.constant(group));
  }
  Value reduce(row::Reduction kind, Value row) {
    Type element = cast<RankedTensorType>(row.getType()).getElementType();
    Value grouped = row::ReshapeOp::create(
        b, loc, RankedTensorType::get({groups, width / groups}, element), row);
    return row::ReduceOp::create(
        b, loc, RankedTensorType::get({groups}, element), kind, grouped);
  }
  /// `yes` where two rows of i32 are equal, else `no`.
  Value ifEqual(Value x, Value y, Value yes, Value no) {
    return rows.map({x, y, yes, no}, b.getF32Type(),
                    [&](OpBuilder &b, ValueRange v) -> Value {
                      Value isEqual = arith::CmpIOp::create(
                          b, loc, arith::CmpIPredicate::eq, v[0], v[1]);
                      return arith::SelectOp::create(b, loc, isEqual, v[2],
                                                     v[3]);
                    });
  }
  /// The largest rank of each group, and the sum of it and the next one.
  Value largest(Value rank) { return reduce(row::Reduction::Max, rank); }
  Value twoLargest(Value rank) {
    Value first = largest(rank);
    // The lowest expert of the largest rank stands back once.
    Value place =
        rows.map({rank, spread(first), rows.iota(width), rows.i32(width)},
                 b.getI32Type(), [&](OpBuilder &b, ValueRange v) -> Value {
                   Value isFirst = arith::CmpFOp::create(
                       b, loc, arith::CmpFPredicate::OEQ, v[0], v[1]);
                   return arith::SelectOp::create(b, loc, isFirst, v[2], v[3]);
                 });
    Value taken = spread(reduce(row::Reduction::Min, place));
    Value rest =
        ifEqual(rows.iota(width), taken,
                rows.f32(-std::numeric_limits<double>::infinity()), rank);
    return rows.add(first, largest(rest));
  }
};
} // namespace

void GroupsStageAttr::lowerToken(OpBuilder &b, Location loc,
                                 StageState &state) const {
  row::RowBuilder rows(b, loc);
  int64_t width = cast<RankedTensorType>(state.rank.getType()).getDimSize(0);
  GroupBuilder build{b, loc, rows, width, getGroups()};
  Value statistic = getBy() == "max" ? build.largest(state.rank)
                                     : build.twoLargest(state.rank);
  Value kept = rows.topK(statistic, getKeep()).second;
  Value group = build.spread(rows.iota(getGroups()));
  Value rank = rows.splat(rows.f32(outsideRank(*this)), width);
  // A group that stays gets its ranks back.
  for (int64_t i = 0; i < getKeep(); ++i) {
    Value id = row::TableOp::create(b, loc, b.getI32Type(), kept, rows.i32(i));
    rank = build.ifEqual(group, id, state.rank, rank);
  }
  state.rank = rank;
}

void GroupsStageAttr::evaluate(StageValues &state) const {
  int64_t size = state.rank.size() / getGroups();
  std::vector<float> statistic;
  for (int64_t g = 0; g < getGroups(); ++g) {
    std::vector<float> members(state.rank.begin() + g * size,
                               state.rank.begin() + (g + 1) * size);
    std::sort(members.rbegin(), members.rend());
    statistic.push_back(getBy() == "max" ? members[0]
                                         : members[0] + members[1]);
  }
  std::vector<int64_t> order(getGroups());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return statistic[a] != statistic[b] ? statistic[a] > statistic[b] : a < b;
  });
  for (int64_t i = getKeep(); i < getGroups(); ++i)
    std::fill_n(state.rank.begin() + order[i] * size, size,
                static_cast<float>(outsideRank(*this)));
}
