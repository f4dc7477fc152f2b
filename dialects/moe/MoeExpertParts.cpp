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
      if (ExpertAttr expert = table.getExpert(e))
        buckets[keyOf(expert)].push_back(e);
    if (buckets.size() == 1 && !table.hasVirtualExperts())
      return {};
    bool isAlone = buckets.size() == 1 && !addsVirtuals();
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
      auto part = cast<ExpertsOp>(b.clone(*op));
      part.setTable(bucket.table.getSymName());
      part.getIdsMutable().assign(ids);
      if (!isAlone)
        part.getResult().setType(rowsOf({type.getDimSize(1)}, b.getF32Type()));
      terms.push_back(part.getResult());
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
      // Experts with a bias and those without cannot be taken together.
      key.push_back(role.getName());
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
    bucket.places.assign(table.getNumExperts(), 0);
    SmallVector<Attribute> entries;
    for (int64_t e : experts) {
      entries.push_back(table.getExpert(e));
      bucket.places[e] = entries.size();
    }
    ArrayAttr list = b.getArrayAttr(entries);
    Operation *last = table;
    for (auto other : table->getBlock()->getOps<ExpertTableOp>()) {
      if (other.getBody() != table.getBody())
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
    bucket.table =
        ExpertTableOp::create(b, table.getLoc(), name(), table.getBody(), list);
    symbols.insert(bucket.table, std::next(Block::iterator(last)));
    return bucket;
  }
  std::string name() { return (table.getSymName() + ".part").str(); }

  bool isVirtual(int64_t e, StringRef kind) {
    VirtualExpertAttr expert = table.getVirtualExpert(e);
    return expert && expert.getKind() == kind;
  }
  bool hasIdentities() {
    return llvm::any_of(llvm::seq(table.getNumExperts()),
                        [&](int64_t e) { return isVirtual(e, "identity"); });
  }
  /// Experts without matrices that are not null.
  bool addsVirtuals() {
    return llvm::any_of(llvm::seq(table.getNumExperts()), [&](int64_t e) {
      return table.getVirtualExpert(e) && !isVirtual(e, "null");
    });
  }

  /// The sum of the weights of each token's experts that `belongs` names,
  /// tensor<?xf32>.
  Value shareOf(llvm::function_ref<bool(int64_t)> belongs) {
    SmallVector<int32_t> flags;
    for (int64_t e = 0; e < table.getNumExperts(); ++e)
      flags.push_back(belongs(e));
    return apply(
        b, loc, rowsOf({}, b.getF32Type()), {op.getIds(), op.getWeights()},
        [&](row::RowBuilder &rows, ValueRange row) -> Value {
          Value picked = rows.gather(rows.constant(flags), row[0]);
          return rows.sum(rows.map(
              {picked, row[1], rows.i32(0), rows.f32(0.0)}, b.getF32Type(),
              [&](OpBuilder &b, ValueRange v) -> Value {
                Value isOther = arith::CmpIOp::create(
                    b, loc, arith::CmpIPredicate::eq, v[0], v[2]);
                return arith::SelectOp::create(b, loc, isOther, v[3], v[1]);
              }));
        });
  }

  /// What experts without matrices give, as pairs of a vector (the tokens, or
  /// a constant) and its share.
  SmallVector<std::pair<Value, Value>> virtualTerms() {
    SmallVector<std::pair<Value, Value>> terms;
    if (hasIdentities())
      terms.push_back({op.getTokens(), shareOf([&](int64_t e) {
                         return isVirtual(e, "identity");
                       })});
    for (int64_t c = 0; c < table.getNumExperts(); ++c) {
      if (!isVirtual(c, "constant"))
        continue;
      FlatSymbolRefAttr symbol = table.getVirtualExpert(c).getWeight();
      auto weight = symbols.lookup<WeightOp>(symbol.getValue());
      Value vector = WeightRefOp::create(b, loc, weight.getTensorType(),
                                         symbol.getValue());
      terms.push_back({vector, shareOf([&](int64_t e) { return e == c; })});
    }
    return terms;
  }

  /// The terms added in order in f32, then what virtual experts give, rounded
  /// once.
  Value sum(ArrayRef<Value> terms) {
    SmallVector<Value> operands(terms);
    for (auto [vector, share] : virtualTerms())
      operands.append({vector, share});
    auto type = op.getResult().getType();
    Type element = type.getElementType();
    if (operands.empty()) // nulls only
      operands.push_back(op.getIds());
    auto add = [&](OpBuilder &b, ValueRange v) -> Value {
      Value total;
      auto addTerm = [&](Value term) {
        total = total ? arith::AddFOp::create(b, loc, total, term).getResult()
                      : term;
      };
      for (Value term : v.take_front(terms.size()))
        addTerm(term);
      for (size_t i = terms.size(); i + 1 < v.size(); i += 2) {
        Value x = v[i];
        if (!x.getType().isF32())
          x = arith::ExtFOp::create(b, loc, b.getF32Type(), x);
        addTerm(arith::MulFOp::create(b, loc, v[i + 1], x));
      }
      if (element.isF32())
        return total;
      return arith::TruncFOp::create(b, loc, element, total);
    };
    return apply(b, loc, type, operands,
                 [&](row::RowBuilder &rows, ValueRange row) -> Value {
                   if (terms.empty() && row.size() == 1)
                     return row::ConstantOp::create(
                         b, loc,
                         cast<ElementsAttr>(b.getZeroAttr(RankedTensorType::get(
                             {type.getDimSize(1)}, element))));
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

/// Element `index` of each row, tensor<?x1>.
static Value slotOf(OpBuilder &b, Location loc, Value rows, int64_t index) {
  Type element = cast<RankedTensorType>(rows.getType()).getElementType();
  return apply(b, loc, rowsOf({1}, element), rows,
               [&](row::RowBuilder &builder, ValueRange row) -> Value {
                 return builder.gather(row[0],
                                       builder.constant(int32_t(index)));
               });
}

/// Each token times its one weight, rounded to the tokens' element type.
static Value weighTokens(OpBuilder &b, Location loc, Value tokens,
                         Value weights) {
  auto type = cast<RankedTensorType>(tokens.getType());
  Type element = type.getElementType(), f32 = b.getF32Type();
  return apply(
      b, loc, type, {tokens, weights},
      [&](row::RowBuilder &rows, ValueRange row) -> Value {
        Value weight = row::TableOp::create(b, loc, f32, row[1], rows.i32(0));
        return rows.map({row[0], weight}, element,
                        [&](OpBuilder &b, ValueRange v) -> Value {
                          Value x = v[0];
                          if (!element.isF32())
                            x = arith::ExtFOp::create(b, loc, f32, x);
                          x = arith::MulFOp::create(b, loc, v[1], x);
                          if (!element.isF32())
                            x = arith::TruncFOp::create(b, loc, element, x);
                          return x;
                        });
      });
}

/// Experts whose operand is weighed: a set of one slot, with weights of one,
/// for each slot; the results are added in order in f32.
static Value splitByInput(ExpertsOp op, OpBuilder &b, SymbolTable &symbols) {
  Location loc = op.getLoc();
  auto type = op.getResult().getType();
  int64_t slots = op.getIds().getType().getDimSize(1);
  Value ones = apply(b, loc, rowsOf({1}, b.getF32Type()), op.getIds(),
                     [&](row::RowBuilder &rows, ValueRange) -> Value {
                       return rows.splat(rows.f32(1.0), 1);
                     });
  SmallVector<Value> terms;
  for (int64_t s = 0; s < slots; ++s) {
    bool isAlone = slots == 1;
    Value weights =
        isAlone ? op.getWeights() : slotOf(b, loc, op.getWeights(), s);
    auto part = cast<ExpertsOp>(b.clone(*op));
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(part);
    part.setApplyInput(false);
    part.getTokensMutable().assign(
        weighTokens(b, loc, op.getTokens(), weights));
    part.getWeightsMutable().assign(ones);
    if (!isAlone) {
      part.getIdsMutable().assign(slotOf(b, loc, op.getIds(), s));
      part.getResult().setType(rowsOf({type.getDimSize(1)}, b.getF32Type()));
    }
    Value result = PartBuilder(part, b, symbols).build();
    if (result)
      part.erase();
    terms.push_back(result ? result : part.getResult());
  }
  if (terms.size() == 1)
    return terms[0];
  Type element = type.getElementType();
  return apply(
      b, loc, type, terms, [&](row::RowBuilder &rows, ValueRange row) -> Value {
        return rows.map(row, element, [&](OpBuilder &b, ValueRange v) -> Value {
          Value total = v[0];
          for (Value term : v.drop_front())
            total = arith::AddFOp::create(b, loc, total, term);
          if (element.isF32())
            return total;
          return arith::TruncFOp::create(b, loc, element, total);
        });
      });
}

/// One slot of each token: a set of one slot.
static Value splitBySlot(ExpertsOp op, OpBuilder &b, SymbolTable &symbols) {
  Location loc = op.getLoc();
  auto slot = static_cast<int64_t>(*op.getSlot());
  Value ids = slotOf(b, loc, op.getIds(), slot);
  Value weights = slotOf(b, loc, op.getWeights(), slot);
  auto part = cast<ExpertsOp>(b.clone(*op));
  part.removeSlotAttr();
  part.getIdsMutable().assign(ids);
  part.getWeightsMutable().assign(weights);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(part);
  Value result = part.splitExperts(b, symbols);
  if (!result)
    return part.getResult();
  part.erase();
  return result;
}

Value ExpertsOp::splitExperts(OpBuilder &b, SymbolTable &symbols) {
  if (getSlot())
    return splitBySlot(*this, b, symbols);
  if (getApplyInput())
    return splitByInput(*this, b, symbols);
  return PartBuilder(*this, b, symbols).build();
}
