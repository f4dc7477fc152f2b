//===- MoeExpertParts.cpp - Sets of experts that differ -------------------===//
//
// A grouped matmul takes experts of one width, format and layout. Sets that mix
// them, or that have experts without matrices, are taken apart here.
//
//===----------------------------------------------------------------------===//
#include "dialects/moe/MoeDialect.h"
#include "dialects/row/RowBuilder.h"
#include "dialects/row/RowDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace moec;
using namespace moec::moe;

namespace {
/// Experts of one table that a grouped matmul can take together.
struct Bucket {
  ExpertTableOp table;
  /// By id of the whole set: 1 + the id in `table`, 0 for experts elsewhere.
  SmallVector<int32_t> places;
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

/// Takes one set apart.
class PartBuilder {
public:
  PartBuilder(ExpertsOp op, OpBuilder &builder, SymbolTable &symbols)
      : op(op), table(symbols.lookup<ExpertTableOp>(op.getTable())), b(builder),
        symbols(symbols), loc(op.getLoc()) {}

  Value build() {
    llvm::MapVector<Attribute, SmallVector<int64_t>> buckets;
    for (int64_t e = 0; e < table.getNumExperts(); ++e)
      buckets[keyOf(table.getExpert(e))].push_back(e);
    if (buckets.size() == 1 && table.getNumVirtual() == 0)
      return {};
    bool isAlone = buckets.size() == 1 && !hasIdentities();
    auto type = op.getResult().getType();
    SmallVector<Value> terms;
    for (auto &[key, experts] : buckets) {
      Bucket bucket = declare(experts);
      Value ids = apply(b, loc, op.getIds().getType(), op.getIds(),
                        [&](row::RowBuilder &rows, ValueRange row) -> Value {
                          // An unused slot gathers 0, as do experts of other
                          // buckets.
                          return rows.add(
                              rows.gather(rows.constant(bucket.places), row[0]),
                              rows.i32(-1));
                        });
      terms.push_back(ExpertsOp::create(
          b, loc, isAlone ? type : rowsOf({type.getDimSize(1)}, b.getF32Type()),
          bucket.table.getSymName(), op.getTokens(), ids, op.getWeights(),
          op.getActivation(), op.getCompute()));
    }
    return isAlone ? terms.front() : sum(terms);
  }

private:
  /// What experts of one bucket have in common.
  ArrayAttr keyOf(ExpertAttr expert) {
    SmallVector<Attribute> key{b.getI64IntegerAttr(expert.getWidth())};
    auto orUnit = [&](Attribute attribute) -> Attribute {
      return attribute ? attribute : b.getUnitAttr();
    };
    for (NamedAttribute role : expert.getWeights()) {
      auto weight = symbols.lookup<WeightOp>(
          cast<FlatSymbolRefAttr>(role.getValue()).getValue());
      key.append({TypeAttr::get(weight.getType()),
                  orUnit(weight.getFormatAttr()),
                  orUnit(weight.getLayoutAttr())});
    }
    return b.getArrayAttr(key);
  }

  /// A table of these experts; functions that use the same ones share it.
  Bucket declare(ArrayRef<int64_t> experts) {
    Bucket bucket;
    bucket.places.assign(table.getNumExperts() + table.getNumVirtual(), 0);
    SmallVector<Attribute> entries;
    for (int64_t e : experts) {
      entries.push_back(table.getExpert(e));
      bucket.places[e] = entries.size();
    }
    ArrayAttr list = b.getArrayAttr(entries);
    Operation *last = table;
    for (auto other : table->getBlock()->getOps<ExpertTableOp>()) {
      if (other.getBody() != table.getBody() || other.getNumVirtual() != 0)
        continue;
      if (other.getExperts() == list) {
        bucket.table = other;
        return bucket;
      }
      if (other.getSymName().starts_with(name()))
        last = other;
    }
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointAfter(last);
    bucket.table = ExpertTableOp::create(b, table.getLoc(), name(),
                                         table.getBody(), list, ArrayAttr());
    symbols.insert(bucket.table, std::next(Block::iterator(last)));
    return bucket;
  }
  std::string name() { return (table.getSymName() + ".part").str(); }

  bool hasIdentities() {
    auto kinds = table.getVirtualExperts();
    return kinds && llvm::is_contained(kinds->getAsValueRange<StringAttr>(),
                                       StringRef("identity"));
  }

  /// The sum of the weights of each token's identities, tensor<?xf32>.
  Value identityShare() {
    SmallVector<int32_t> isIdentity(table.getNumExperts(), 0);
    for (StringRef kind :
         table.getVirtualExperts()->getAsValueRange<StringAttr>())
      isIdentity.push_back(kind == "identity");
    return apply(
        b, loc, rowsOf({}, b.getF32Type()), {op.getIds(), op.getWeights()},
        [&](row::RowBuilder &rows, ValueRange row) -> Value {
          Value picked = rows.gather(rows.constant(isIdentity), row[0]);
          return rows.sum(rows.map(
              {picked, row[1], rows.i32(0), rows.f32(0.0)}, b.getF32Type(),
              [&](OpBuilder &b, ValueRange v) -> Value {
                Value isOther = arith::CmpIOp::create(
                    b, loc, arith::CmpIPredicate::eq, v[0], v[2]);
                return arith::SelectOp::create(b, loc, isOther, v[3], v[1]);
              }));
        });
  }

  /// The terms added in order in f32, then what identities give, rounded once.
  Value sum(ArrayRef<Value> terms) {
    SmallVector<Value> operands(terms);
    if (hasIdentities())
      operands.append({op.getTokens(), identityShare()});
    auto type = op.getResult().getType();
    Type element = type.getElementType();
    auto add = [&](OpBuilder &b, ValueRange v) -> Value {
      Value total = v[0];
      for (size_t i = 1; i < terms.size(); ++i)
        total = arith::AddFOp::create(b, loc, total, v[i]);
      if (v.size() > terms.size()) {
        Value x = v[terms.size()];
        if (!x.getType().isF32())
          x = arith::ExtFOp::create(b, loc, b.getF32Type(), x);
        x = arith::MulFOp::create(b, loc, v.back(), x);
        total = arith::AddFOp::create(b, loc, total, x);
      }
      if (element.isF32())
        return total;
      return arith::TruncFOp::create(b, loc, element, total);
    };
    return apply(b, loc, type, operands,
                 [&](row::RowBuilder &rows, ValueRange row) -> Value {
                   return rows.map(row, element, add);
                 });
  }

  ExpertsOp op;
  ExpertTableOp table;
  OpBuilder &b;
  SymbolTable &symbols;
  Location loc;
};
} // namespace

Value ExpertsOp::splitExperts(OpBuilder &b, SymbolTable &symbols) {
  return PartBuilder(*this, b, symbols).build();
}
