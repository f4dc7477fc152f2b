//===- SplitExperts.cpp - Ragged and virtual experts apart ----------------===//
#include "dialects/moe/MoeDialect.h"
#include "dialects/row/RowBuilder.h"
#include "dialects/row/RowDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Pass/Pass.h"

namespace moec {
#define GEN_PASS_DEF_SPLITEXPERTS
#include "passes/experts/Passes.h.inc"
} // namespace moec

using namespace mlir;
using namespace moec;

namespace {
/// Experts of one table that a grouped matmul can take together.
struct Bucket {
  moe::ExpertTableOp table;
  /// By id of the whole set: 1 + the id in `table`, 0 for experts elsewhere.
  SmallVector<int32_t> places;
};

/// The parts of one table.
struct Parts {
  SmallVector<Bucket> buckets;
  bool hasIdentities = false;
};

RankedTensorType rowsOf(ArrayRef<int64_t> shape, Type element) {
  SmallVector<int64_t> full{ShapedType::kDynamic};
  llvm::append_range(full, shape);
  return RankedTensorType::get(full, element);
}

/// A row.apply with one result whose body `build` makes from the rows.
Value apply(OpBuilder &b, Location loc, RankedTensorType type,
            ValueRange operands,
            llvm::function_ref<Value(row::RowBuilder &, ValueRange)> build) {
  auto op = row::ApplyOp::create(b, loc, type, operands);
  OpBuilder::InsertionGuard guard(b);
  SmallVector<Type> rows;
  for (Value operand : operands)
    rows.push_back(row::ApplyOp::getRowType(operand.getType()));
  Block *block = b.createBlock(&op.getBody(), {}, rows,
                               SmallVector<Location>(rows.size(), loc));
  row::RowBuilder builder(b, loc);
  row::YieldOp::create(b, loc, build(builder, block->getArguments()));
  return op.getResult(0);
}

struct SplitExperts : public moec::impl::SplitExpertsBase<SplitExperts> {
  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    SmallVector<moe::ExpertsOp> sets;
    getOperation().walk([&](moe::ExpertsOp op) { sets.push_back(op); });
    llvm::MapVector<Operation *, Parts> parts;
    for (moe::ExpertsOp op : sets) {
      auto table = symbols.lookup<moe::ExpertTableOp>(op.getTable());
      auto [it, isNew] = parts.try_emplace(table);
      if (isNew)
        it->second = partition(table, symbols);
      if (it->second.buckets.size() == 1 && table.getNumVirtual() == 0)
        continue;
      split(op, it->second, table);
      ++numSplit;
    }
    for (auto &[table, part] : parts)
      if (part.buckets.front().table != table)
        symbols.erase(table);
  }

  /// What experts of one bucket have in common.
  static ArrayAttr keyOf(moe::ExpertAttr expert, SymbolTable &symbols) {
    Builder b(expert.getContext());
    SmallVector<Attribute> key{b.getI64IntegerAttr(expert.getWidth())};
    for (NamedAttribute role : expert.getWeights()) {
      auto weight = symbols.lookup<moe::WeightOp>(
          cast<FlatSymbolRefAttr>(role.getValue()).getValue());
      key.push_back(TypeAttr::get(weight.getType()));
      key.push_back(b.getArrayAttr(
          {weight.getFormatAttr() ? Attribute(weight.getFormatAttr())
                                  : b.getUnitAttr(),
           weight.getLayoutAttr() ? Attribute(weight.getLayoutAttr())
                                  : b.getUnitAttr()}));
    }
    return b.getArrayAttr(key);
  }

  Parts partition(moe::ExpertTableOp table, SymbolTable &symbols) {
    llvm::MapVector<Attribute, SmallVector<int64_t>> buckets;
    for (int64_t e = 0; e < table.getNumExperts(); ++e)
      buckets[keyOf(table.getExpert(e), symbols)].push_back(e);
    Parts parts;
    int64_t ids = table.getNumExperts() + table.getNumVirtual();
    if (auto kinds = table.getVirtualExperts())
      parts.hasIdentities = llvm::is_contained(
          kinds->getAsValueRange<StringAttr>(), StringRef("identity"));
    bool isWhole = buckets.size() == 1 && table.getNumVirtual() == 0;
    OpBuilder b(&getContext());
    Operation *last = table;
    for (auto &[key, experts] : buckets) {
      Bucket bucket;
      bucket.table = table;
      bucket.places.assign(ids, 0);
      SmallVector<Attribute> entries;
      for (int64_t e : experts) {
        entries.push_back(table.getExpert(e));
        bucket.places[e] = entries.size();
      }
      if (!isWhole) {
        b.setInsertionPointAfter(last);
        bucket.table = moe::ExpertTableOp::create(
            b, table.getLoc(), (table.getSymName() + ".part").str(),
            table.getBody(), b.getArrayAttr(entries), ArrayAttr());
        symbols.insert(bucket.table, std::next(Block::iterator(last)));
        last = bucket.table;
      }
      parts.buckets.push_back(std::move(bucket));
    }
    return parts;
  }

  void split(moe::ExpertsOp op, Parts &parts, moe::ExpertTableOp table) {
    OpBuilder b(op);
    Location loc = op.getLoc();
    Type element = op.getResult().getType().getElementType();
    int64_t width = op.getResult().getType().getDimSize(1);
    bool isAlone = parts.buckets.size() == 1 && !parts.hasIdentities;
    SmallVector<Value> terms;
    for (Bucket &bucket : parts.buckets) {
      Value ids = apply(b, loc, op.getIds().getType(), op.getIds(),
                        [&](row::RowBuilder &rows, ValueRange row) -> Value {
                          // An unused slot gathers 0, as do experts of other
                          // buckets.
                          return rows.add(
                              rows.gather(rows.constant(bucket.places), row[0]),
                              rows.i32(-1));
                        });
      terms.push_back(moe::ExpertsOp::create(
          b, loc, rowsOf({width}, isAlone ? element : b.getF32Type()),
          bucket.table.getSymName(), op.getTokens(), ids, op.getWeights(),
          op.getActivation(), op.getCompute()));
    }
    Value result = terms.front();
    if (!isAlone)
      result = sum(b, op, terms,
                   parts.hasIdentities ? identityShare(b, op, table) : Value());
    op.getResult().replaceAllUsesWith(result);
    op.erase();
  }

  /// The sum of the weights of each token's identities, tensor<?xf32>.
  Value identityShare(OpBuilder &b, moe::ExpertsOp op,
                      moe::ExpertTableOp table) {
    SmallVector<int32_t> isIdentity(table.getNumExperts(), 0);
    for (StringRef kind :
         table.getVirtualExperts()->getAsValueRange<StringAttr>())
      isIdentity.push_back(kind == "identity");
    return apply(
        b, op.getLoc(), rowsOf({}, b.getF32Type()),
        {op.getIds(), op.getWeights()},
        [&](row::RowBuilder &rows, ValueRange row) -> Value {
          Value picked = rows.gather(rows.constant(isIdentity), row[0]);
          return rows.sum(rows.map(
              {picked, row[1], rows.i32(0), rows.f32(0.0)}, b.getF32Type(),
              [&](OpBuilder &b, ValueRange v) -> Value {
                Value isOther = arith::CmpIOp::create(
                    b, op.getLoc(), arith::CmpIPredicate::eq, v[0], v[2]);
                return arith::SelectOp::create(b, op.getLoc(), isOther, v[3],
                                               v[1]);
              }));
        });
  }

  /// The terms added in order in f32, then share * tokens, rounded once.
  Value sum(OpBuilder &b, moe::ExpertsOp op, ArrayRef<Value> terms,
            Value share) {
    SmallVector<Value> operands(terms);
    if (share)
      operands.append({op.getTokens(), share});
    Location loc = op.getLoc();
    auto type = op.getResult().getType();
    return apply(b, loc, type, operands,
                 [&](row::RowBuilder &rows, ValueRange row) -> Value {
                   return rows.map(
                       row, type.getElementType(),
                       [&](OpBuilder &b, ValueRange v) -> Value {
                         Value total = v[0];
                         for (size_t i = 1; i < terms.size(); ++i)
                           total = arith::AddFOp::create(b, loc, total, v[i]);
                         if (share) {
                           Value x = v[terms.size()];
                           if (!x.getType().isF32())
                             x = arith::ExtFOp::create(b, loc, b.getF32Type(),
                                                       x);
                           x = arith::MulFOp::create(b, loc, v.back(), x);
                           total = arith::AddFOp::create(b, loc, total, x);
                         }
                         if (!type.getElementType().isF32())
                           total = arith::TruncFOp::create(
                               b, loc, type.getElementType(), total);
                         return total;
                       });
                 });
  }
};
} // namespace
