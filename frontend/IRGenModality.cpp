//===- IRGenModality.cpp - What differs by modality -----------------------===//

#include "frontend/IRGenExpander.h"

#include "dialects/moe/MoeDialect.h"
#include "frontend/SpellCheck.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/Support/SaveAndRestore.h"

using namespace mlir;
using namespace moec;
using namespace moec::irgen;

/// One arm whose modality can be present.
struct Expander::Arm {
  int64_t modality = 0;
  const ast::Expr *expr = nullptr;
  const ast::Name *variable = nullptr; ///< of `for m in modality`
  Operand result;
  std::unique_ptr<Region> region;
};

//===----------------------------------------------------------------------===//
// Arms
//===----------------------------------------------------------------------===//

Operand Expander::evaluateFamily(const ast::FamilyExpr &family, ArmMap map) {
  const auto *domain = dyn_cast<ast::NameExpr>(family.domain.get());
  if (!domain || domain->name != "modality") {
    notBuilt(family.range, "a family over a range outside experts()");
    return Operand();
  }
  std::vector<Arm> arms;
  for (int64_t modality : fn->present) {
    Arm arm;
    arm.modality = modality;
    arm.expr = family.body.get();
    arm.variable = &family.variable;
    arms.push_back(std::move(arm));
  }
  return byModality(arms, family.range, map);
}

/// Whether a norm or a feed-forward network has weights by modality while
/// several modalities can be present.
bool Expander::differsByModality(const BoundCall &call) {
  static const StringRef operations[] = {"rms_norm", "layer_norm", "glu",
                                         "mlp"};
  if (fn->present.size() < 2 ||
      !llvm::is_contained(operations, call.operation.name))
    return false;
  for (auto [param, argument] :
       llvm::zip(call.operation.params, call.arguments))
    if (argument && param.kind == ParamKind::Weight)
      if (const ast::Expr *expr = choice(argument->value.get()))
        if (isa<ast::FamilyExpr, ast::ByExpr>(expr))
          return true;
  return false;
}

/// The whole operation for each modality by itself, where each weight is one.
Operand Expander::evaluateByModality(const ast::CallExpr &call) {
  std::vector<Arm> arms;
  for (int64_t modality : fn->present) {
    Arm arm;
    arm.modality = modality;
    arm.expr = &call;
    arms.push_back(std::move(arm));
  }
  return byModality(arms, call.range, nullptr);
}

/// Checks the names of all arms, those that are left out here included.
bool Expander::checkArms(const ast::ByExpr &by) {
  SmallVector<StringRef> known;
  for (const SemaModel::Modality &modality : model.modalities)
    known.push_back(modality.name());
  bool ok = true;
  for (const ast::ByExpr::Arm &arm : by.arms) {
    if (!model.findModality(arm.name.str())) {
      ok = false;
      diagnostics
          .error(DiagId::E501, arm.name.range,
                 "'" + arm.name.str() + "' is no modality of the file")
          .suggest(arm.name.range, closestName(arm.name.str(), known));
    } else if (by.findArm(arm.name.str()) != &arm) {
      ok = false;
      diagnostics
          .error(DiagId::E503, arm.name.range,
                 "modality '" + arm.name.str() + "' has two arms")
          .note(by.findArm(arm.name.str())->name.range, "the first is here");
    }
  }
  return ok;
}

/// The three parts of the message: what is missing, who brings such tokens,
/// what to write.
void Expander::reportUncovered(int64_t modality, SourceRange word) {
  StringRef name = model.modalities[modality].name();
  DiagnosticBuilder message =
      diagnostics.error(DiagId::E502, word,
                        name + " tokens can reach this 'by modality', but no "
                               "arm covers them");
  for (const SemaModel::Entry *entry : fn->entries)
    for (const SemaModel::Segment &segment : entry->layout)
      if (llvm::is_contained(segment.modalities, modality)) {
        message.note(segment.source->range,
                     "entry '" + entry->item->name.str() + "' takes " + name +
                         " tokens here");
        message.hint(word, "add '" + name + ": zero' if " + name +
                               " tokens are to pass unchanged");
        return;
      }
}

Operand Expander::evaluateBy(const ast::ByExpr &by, ArmMap map) {
  if (by.subject.str() != "modality") {
    if (model.switches.count(by.subject.str())) {
      notBuilt(by.range, "'by' over a switch");
      return Operand();
    }
    SmallVector<StringRef> known = {"modality"};
    for (const auto &theSwitch : model.switches)
      known.push_back(theSwitch.first());
    diagnostics
        .error(DiagId::E501, by.subject.range,
               "'by' takes 'modality' or a switch, found '" + by.subject.str() +
                   "'")
        .suggest(by.subject.range, closestName(by.subject.str(), known));
    return Operand();
  }
  if (!checkArms(by))
    return Operand();
  // From `by` to `modality`.
  SourceRange word = by.range;
  if (by.subject.range.isValid() && by.subject.range.file == word.file)
    word.end = by.subject.range.end;
  std::vector<Arm> arms;
  for (int64_t modality : fn->present) {
    const ast::ByExpr::Arm *found =
        by.findArm(model.modalities[modality].name());
    if (!found) {
      reportUncovered(modality, word);
      return Operand();
    }
    Arm arm;
    arm.modality = modality;
    arm.expr = found->value.get();
    arms.push_back(std::move(arm));
  }
  return byModality(arms, by.range, map);
}

/// Expands one arm at the insertion point.
Operand Expander::expandArm(const Arm &arm) {
  if (arm.variable &&
      !bindVariable(*arm.variable, StaticValue::ofModality(arm.modality)))
    return Operand();
  Operand result = evaluate(*arm.expr);
  if (arm.variable)
    unbind(arm.variable->str());
  return result;
}

/// Joins the arms of the modalities that can be present. With one of them there
/// is nothing to choose. Otherwise each arm is expanded into a region of its
/// own, which a routing leaves again: only values are computed per modality,
/// routings side by side.
Operand Expander::byModality(MutableArrayRef<Arm> arms, SourceRange range,
                             ArmMap map) {
  auto expand = [&](const Arm &arm) {
    Operand result = expandArm(arm);
    return map && result ? map(std::move(result)) : result;
  };
  if (arms.size() == 1)
    return expand(arms.front());
  bool ok = !arms.empty();
  for (Arm &arm : arms) {
    arm.region = std::make_unique<Region>();
    OpBuilder::InsertionGuard guard(builder);
    builder.createBlock(arm.region.get());
    llvm::SaveAndRestore<unsigned> inArm(fn->armDepth, fn->armDepth + 1);
    SmallVector<int64_t, 4> present = {arm.modality};
    std::swap(present, fn->present);
    arm.result = asStream(expand(arm), arm.expr->range);
    std::swap(present, fn->present);
    ok &= static_cast<bool>(arm.result);
  }
  if (!ok)
    return Operand();
  auto all = [&](auto... kinds) {
    return llvm::all_of(
        arms, [&](const Arm &arm) { return (arm.result.is(kinds) || ...); });
  };
  if (all(OperandKind::Zero))
    return std::move(arms.front().result);
  if (all(OperandKind::Value, OperandKind::Zero))
    return joinValues(arms, range);
  if (all(OperandKind::Routing))
    return joinRoutings(arms, range);
  if (all(OperandKind::Weight)) {
    notBuilt(range, "a map by modality");
    return Operand();
  }
  for (const Arm &arm : arms)
    if (!arm.result.is(arms.front().result.kind) ||
        (!arm.result.is(OperandKind::Value) &&
         !arm.result.is(OperandKind::Routing))) {
      diagnostics.error(DiagId::E206, arm.expr->range,
                        "the arms of 'by modality' must all be values or all "
                        "be routings, this one is " +
                            arm.result.describe());
      break;
    }
  return Operand();
}

//===----------------------------------------------------------------------===//
// Joining
//===----------------------------------------------------------------------===//

/// A stream of zeros, made from any stream of that width that is at hand.
Value Expander::zeros(Location where, int64_t width, Type element) {
  Value like = fn->streamOfWidth.lookup(width);
  if (!like)
    return {};
  return map(where, like, width, element, [&](OpBuilder &b, ValueRange) {
    return arith::ConstantOp::create(b, where, b.getF32FloatAttr(0.0f))
        .getResult();
  });
}

Operand Expander::joinValues(MutableArrayRef<Arm> arms, SourceRange range) {
  const Arm *first = llvm::find_if(
      arms, [](const Arm &arm) { return arm.result.is(OperandKind::Value); });
  int64_t wide = width(first->result.value);
  bool equal = true;
  for (const Arm &arm : arms) {
    if (!arm.result.is(OperandKind::Value))
      continue;
    if (width(arm.result.value) != wide) {
      diagnostics
          .error(DiagId::E302, arm.expr->range,
                 "expected an arm of width " + Twine(wide) + ", found " +
                     Twine(width(arm.result.value)))
          .note(first->expr->range, "the other arm is here");
      return Operand();
    }
    equal &= elementOf(arm.result.value) == elementOf(first->result.value);
  }
  Type element = equal ? elementOf(first->result.value) : dtype;
  Location where = loc(range);
  SmallVector<int64_t, 4> ids;
  for (Arm &arm : arms) {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToEnd(&arm.region->front());
    llvm::SaveAndRestore<unsigned> inArm(fn->armDepth, fn->armDepth + 1);
    Value value = arm.result.is(OperandKind::Zero)
                      ? zeros(where, wide, element)
                      : convert(where, arm.result.value, element);
    if (!value) {
      notBuilt(arm.expr->range, "'zero' of a width that no value has here");
      return Operand();
    }
    moe::YieldOp::create(builder, where, value);
    ids.push_back(arm.modality);
  }
  auto op = moe::ByModalityOp::create(builder, where, streamType(wide, element),
                                      fn->kinds, ids,
                                      static_cast<unsigned>(arms.size()));
  for (auto [region, arm] : llvm::zip(op.getArms(), arms))
    region.takeBody(*arm.region);
  remember(op.getResult());
  return Operand::ofValue(op.getResult(), first->result.rows);
}

Operand Expander::joinRoutings(MutableArrayRef<Arm> arms, SourceRange range) {
  RoutingValue joined;
  joined.first = std::numeric_limits<int64_t>::max();
  joined.range = range;
  SmallVector<Value, 4> ids, weights;
  SmallVector<int64_t, 4> modalities, offsets;
  int64_t slots = 0;
  Block *here = builder.getInsertionBlock();
  for (Arm &arm : arms) {
    here->getOperations().splice(builder.getInsertionPoint(),
                                 arm.region->front().getOperations());
    const RoutingValue &routing = arm.result.routing;
    ids.push_back(routing.ids);
    weights.push_back(routing.weights);
    modalities.push_back(arm.modality);
    // Ids are those of the set already: routers add the start of their pool.
    offsets.push_back(0);
    slots = std::max(slots, width(routing.ids));
    joined.first = std::min(joined.first, routing.first);
    joined.end = std::max(joined.end, routing.end);
  }
  auto op = moe::SelectRoutingOp::create(
      builder, loc(range), streamType(slots, builder.getI32Type()),
      streamType(slots, builder.getF32Type()), fn->kinds, ids, weights,
      modalities, offsets, joined.end);
  joined.ids = op.getIds();
  joined.weights = op.getWeights();
  Operand result;
  result.kind = OperandKind::Routing;
  result.routing = joined;
  return result;
}
