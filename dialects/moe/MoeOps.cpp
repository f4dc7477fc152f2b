//===- MoeOps.cpp - Weights, modalities, dispatch -------------------------===//
#include "dialects/moe/MoeDialect.h"
#include "dialects/row/RowDialect.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/SmallSet.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moec;
using namespace moec::moe;

#define GET_OP_CLASSES
#include "dialects/moe/MoeOps.cpp.inc"

void MoeDialect::registerOperations() {
  addOperations<
#define GET_OP_LIST
#include "dialects/moe/MoeOps.cpp.inc"
      >();
}

static int64_t widthOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getDimSize(1);
}

static bool allDifferent(ArrayRef<int64_t> values) {
  llvm::SmallSet<int64_t, 8> seen;
  return llvm::all_of(values, [&](int64_t v) { return seen.insert(v).second; });
}

//===----------------------------------------------------------------------===//
// Declarations
//===----------------------------------------------------------------------===//

LogicalResult ModalityOp::verify() {
  if (getId() < 0 || getId() > 7) // C1
    return emitOpError("expected an id from 0 to 7, found ") << getId();
  for (auto other : (*this)->getParentOp()->getRegion(0).getOps<ModalityOp>())
    if (other != *this && other.getId() == getId()) // C1
      return emitOpError("has the id of ") << other.getSymNameAttr();
  if (getVocab().has_value() == getRawType().has_value()) // C2
    return emitOpError("expected either a vocabulary or a raw type");
  if (getTokens() < 1 || (getVocab() && getTokens() != 1)) // C3
    return emitOpError("expected ")
           << (getVocab() ? "one token per id" : "at least one token per input")
           << ", found " << getTokens();
  return success();
}

LogicalResult ExportRoutingOp::verify() {
  if (getIds().getType().getDimSize(1) !=
      getWeights().getType().getDimSize(1)) // C1
    return emitOpError("expected as many weights as ids, found ")
           << getWeights().getType() << " and " << getIds().getType();
  if (bool(getKinds()) != getKind().has_value()) // C2
    return emitOpError("expected 'kind' exactly when there are kinds");
  return success();
}

LogicalResult RoutingOperandOp::verify() {
  std::optional<RoutingField> field = symbolizeRoutingField(getField());
  if (!field) // C1
    return emitOpError("expected one of ids, weights, bias, mask and count, "
                       "found ")
           << getFieldAttr();
  auto type = cast<RankedTensorType>(getResult().getType());
  if (!isTypeOf(*field, type) || isPerToken(*field) != bool(getLike())) // C2
    return emitOpError("expected the type of ")
           << getFieldAttr()
           << (isPerToken(*field) ? " and an operand with its rows"
                                  : " and no operand")
           << ", found " << type;
  return success();
}

LogicalResult EntryOp::verify() {
  for (Attribute segment : getLayout())
    if (!isa<SegmentAttr>(segment)) // C2
      return emitOpError("expected a layout of #moe.segment, found ")
             << segment;
  return success();
}

LogicalResult EntryOp::verifySymbolUses(SymbolTableCollection &symbols) {
  Operation *function =
      symbols.lookupNearestSymbolFrom(*this, getFunctionAttr());
  if (function) // C1: a func.func, an llvm.func after phase target
    return success();
  return emitOpError("expected a function ")
         << getFunctionAttr() << ", found none";
}

LogicalResult WeightOp::verify() {
  auto type = dyn_cast<RankedTensorType>(getType());
  if (!type || !type.hasStaticShape() ||
      !(type.getElementType().isF32() || type.getElementType().isBF16() ||
        type.getElementType().isF16() ||
        type.getElementType().isInteger(32))) // C1
    return emitOpError("expected a static tensor of f32, bf16, f16 or i32, "
                       "found ")
           << getType();
  if (getRecipe().empty() || !isa<TensorStepAttr>(getRecipe()[0])) // C2
    return emitOpError("expected a recipe that begins with #moe.tensor, found ")
           << getRecipe();
  for (Attribute step : getRecipe())
    if (!isa<TensorStepAttr, SliceStepAttr, TransposeStepAttr, ReshapeStepAttr,
             AddConstantStepAttr>(step)) // C2
      return emitOpError("expected recipe steps, found ") << step;
  return success();
}

LogicalResult WeightRefOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto weight =
      symbols.lookupNearestSymbolFrom<WeightOp>(*this, getWeightAttr());
  if (!weight) // C1
    return emitOpError("expected a moe.weight ")
           << getWeightAttr() << ", found none";
  if (weight.getType() != getResult().getType()) { // C1
    InFlightDiagnostic diagnostic = emitOpError("expected the weight's type ")
                                    << weight.getType() << ", found "
                                    << getResult().getType();
    diagnostic.attachNote(weight.getLoc()) << "the weight is declared here";
    return diagnostic;
  }
  return success();
}

static ArrayRef<StringRef> rolesOf(StringRef body) {
  static const StringRef glu[] = {"down", "gate", "up"};
  static const StringRef mlp[] = {"down", "up"};
  static const StringRef linear[] = {"up"};
  if (body == "glu")
    return glu;
  if (body == "mlp")
    return mlp;
  if (body == "linear")
    return linear;
  return {};
}

/// Whether `weights` has every role, and nothing else but their biases.
static bool hasRoles(DictionaryAttr weights, ArrayRef<StringRef> roles) {
  return llvm::all_of(roles,
                      [&](StringRef role) { return weights.contains(role); }) &&
         llvm::all_of(weights, [&](NamedAttribute entry) {
           StringRef role = entry.getName();
           role.consume_back("_bias");
           return isa<FlatSymbolRefAttr>(entry.getValue()) &&
                  llvm::is_contained(roles, role);
         });
}

ExpertAttr ExpertTableOp::getFirstExpert() {
  for (Attribute entry : getExperts())
    if (auto expert = dyn_cast<ExpertAttr>(entry))
      return expert;
  return {};
}

bool ExpertTableOp::hasVirtualExperts() {
  return llvm::any_of(getExperts(), llvm::IsaPred<VirtualExpertAttr>);
}

LogicalResult ExpertTableOp::verify() {
  ArrayRef<StringRef> roles = rolesOf(getBody());
  if (roles.empty()) // C1
    return emitOpError("expected body \"glu\", \"mlp\" or \"linear\", found \"")
           << getBody() << "\"";
  if (getExperts().empty()) // C1
    return emitOpError("expected at least one expert, found none");
  for (Attribute entry : getExperts()) {
    if (auto expert = dyn_cast<VirtualExpertAttr>(entry)) {
      StringRef kind = expert.getKind();
      if (kind != "identity" && kind != "null" && kind != "constant") // C3
        return emitOpError("expected virtual experts \"identity\", \"null\" "
                           "or \"constant\", found \"")
               << kind << "\"";
      if ((kind == "constant") != bool(expert.getWeight())) // C3
        return emitOpError("expected a weight with a constant only, found ")
               << entry;
      continue;
    }
    auto expert = dyn_cast<ExpertAttr>(entry);
    if (!expert) // C1
      return emitOpError("expected entries #moe.expert, found ") << entry;
    if (!hasRoles(expert.getWeights(), roles)) // C1
      return emitOpError("expected a weight for each role of body \"")
             << getBody() << "\", found " << expert.getWeights();
  }
  return success();
}

namespace {
/// Checks the weights of a table against each other.
struct TableChecker {
  ExpertTableOp table;
  SymbolTableCollection &symbols;
  int64_t hidden = -1, to = -1;

  WeightOp find(Attribute symbol) {
    auto weight = symbols.lookupNearestSymbolFrom<WeightOp>(
        table, cast<FlatSymbolRefAttr>(symbol));
    if (!weight) // C2
      table.emitOpError("expected a moe.weight ") << symbol << ", found none";
    return weight;
  }

  LogicalResult check(size_t index, ExpertAttr expert, StringRef role,
                      WeightOp weight) {
    ArrayRef<int64_t> shape = weight.getTensorType().getShape();
    bool isBias = role.consume_back("_bias");
    bool isDown = role == "down";
    bool fits;
    if (isBias) {
      fits = shape.size() == 1 && (isDown ? to == -1 || shape[0] == to
                                          : shape[0] == expert.getWidth());
      if (fits && isDown)
        to = shape[0];
    } else {
      int64_t &outer = isDown ? to : hidden;
      fits = shape.size() == 2 && shape[isDown ? 1 : 0] == expert.getWidth() &&
             (outer == -1 || shape[isDown ? 0 : 1] == outer);
      if (fits)
        outer = shape[isDown ? 0 : 1];
    }
    // Without down, up gives the output.
    if (fits && table.getBody() == "linear") {
      fits = to == -1 || to == expert.getWidth();
      to = expert.getWidth();
    }
    if (fits)
      return success();
    InFlightDiagnostic diagnostic =
        table.emitOpError("expert ")
        << index << ": expected '" << role << (isBias ? "_bias" : "")
        << "' of width " << expert.getWidth()
        << " and the table's hidden size, found " << weight.getType();
    diagnostic.attachNote(weight.getLoc()) << "the weight is declared here";
    return diagnostic;
  }
};
} // namespace

LogicalResult ExpertTableOp::verifySymbolUses(SymbolTableCollection &symbols) {
  TableChecker checker{*this, symbols};
  for (auto [index, entry] : llvm::enumerate(getExperts())) {
    auto expert = dyn_cast<ExpertAttr>(entry);
    if (!expert)
      continue;
    for (NamedAttribute role : expert.getWeights()) {
      WeightOp weight = checker.find(role.getValue());
      if (!weight ||
          failed(checker.check(index, expert, role.getName().getValue(),
                               weight))) // C2
        return failure();
    }
  }
  for (Attribute entry : getExperts()) {
    auto expert = dyn_cast<VirtualExpertAttr>(entry);
    if (!expert)
      continue;
    if (expert.getKind() == "identity" && checker.hidden != -1 &&
        checker.hidden != checker.to) // C3
      return emitOpError("expected experts that keep the width, beside an "
                         "identity; they are from ")
             << checker.hidden << " to " << checker.to;
    if (!expert.getWeight())
      continue;
    WeightOp weight = checker.find(expert.getWeight());
    if (!weight)
      return failure();
    ArrayRef<int64_t> shape = weight.getTensorType().getShape();
    if (shape.size() != 1 || (checker.to != -1 && shape[0] != checker.to)) // C3
      return emitOpError("expected a constant as wide as the experts' results, "
                         "found ")
             << weight.getType();
    checker.to = shape[0];
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Modalities
//===----------------------------------------------------------------------===//

LogicalResult MergeModalitiesOp::verify() {
  size_t count = getStreams().size();
  if (getIds().size() != count || getIndexed().size() != count ||
      !allDifferent(getIds())) // C1
    return emitOpError("expected one different id and one flag for each of ")
           << count << " streams";
  for (Value stream : getStreams())
    if (stream.getType() != getResult().getType()) // C2
      return emitOpError("expected streams of the result's type ")
             << getResult().getType() << ", found " << stream.getType();
  return success();
}

LogicalResult ByModalityOp::verify() {
  if (getIds().size() != getArms().size() || !allDifferent(getIds())) // C1
    return emitOpError("expected one different id for each of ")
           << getArms().size() << " arms";
  for (Region &arm : getArms()) {
    auto yield = cast<YieldOp>(arm.front().getTerminator());
    if (yield.getValues().size() != 1 ||
        yield.getValues()[0].getType() != getResult().getType()) // C2
      return emitOpError("expected every arm to yield one ")
             << getResult().getType();
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Dispatch
//===----------------------------------------------------------------------===//

LogicalResult ShareOp::verify() {
  if (widthOf(getIds()) != widthOf(getWeights()) || widthOf(getResult()) != 1 ||
      !getResult().getType().getElementType().isF32()) // C1
    return emitOpError("expected as many weights as ids and a result "
                       "tensor<?x1xf32>, found ")
           << getIds().getType() << ", " << getWeights().getType() << " and "
           << getResult().getType();
  return success();
}

LogicalResult TableRowsOp::verify() {
  auto table = cast<RankedTensorType>(getTable().getType());
  if (table.getRank() != 2 || !table.getElementType().isInteger(32) ||
      table.getDimSize(1) != widthOf(getResult())) // C1
    return emitOpError("expected a table [V, ")
           << widthOf(getResult()) << "] of i32, found " << table;
  return success();
}

LogicalResult LimitSlotsOp::verify() {
  if (widthOf(getIds()) != widthOf(getWeights())) // C1
    return emitOpError("expected as many weights as ids, found ")
           << getWeights().getType() << " and " << getIds().getType();
  int64_t experts = getExperts(), millionths = getMillionths();
  if (experts < 1 || experts > 65536 || millionths < 1 ||
      millionths > 1000000000 || int64_t(getMultiple()) < 1) // C2
    return emitOpError("expected up to 65536 experts, up to 1000000000 "
                       "millionths and a positive multiple, found ")
           << getExperts() << ", " << getMillionths() << " and "
           << getMultiple();
  return success();
}

LogicalResult PlanOp::verify() {
  if (getOffsets().getType().getDimSize(0) != int64_t(getExperts()) + 1) // C1
    return emitOpError("expected ") << getExperts() + 1 << " offsets, found "
                                    << getOffsets().getType().getDimSize(0);
  return success();
}

LogicalResult RoutePlanOp::verify() {
  if (getOffsets().getType().getDimSize(0) != int64_t(getExperts()) + 1 ||
      getSlotRows().getType() != getIds().getType()) // C2
    return emitOpError("expected ")
           << getExperts() + 1 << " offsets and slot rows like the ids, found "
           << getOffsets().getType() << " and " << getSlotRows().getType();
  SmallVector<Type> rows;
  for (Type type : getInputs().getTypes())
    rows.push_back(row::ApplyOp::getRowType(type));
  SmallVector<Type> yielded{row::ApplyOp::getRowType(getIds().getType()),
                            row::ApplyOp::getRowType(getWeights().getType())};
  Block &block = getBody().front();
  auto yield = dyn_cast<row::YieldOp>(block.getTerminator());
  if (!yield || !llvm::equal(block.getArgumentTypes(), rows) ||
      !llvm::equal(yield.getValues().getTypes(), yielded)) // C1
    return emitOpError("expected a body from the rows of the operands to those "
                       "of ids and weights");
  return row::RowDialect::verifyBody(getBody());
}

LogicalResult GroupedMatmulOp::verify() {
  bool hasBody = !getEpilogue().empty();
  size_t roles = getRoles().size();
  if (getBiases() && getBiases()->size() != roles) // C5
    return emitOpError("expected one bias per role, or none; found ")
           << getBiases()->size() << " for " << roles << " roles";
  if (roles == 0 || (roles > 1 && !hasBody)) // C3
    return emitOpError("expected one role, or an epilogue for several; found ")
           << roles << " roles";
  if (!hasBody)
    return success();
  Block &block = getEpilogue().front();
  auto yield = dyn_cast<YieldOp>(block.getTerminator());
  bool fits = block.getNumArguments() == roles && yield &&
              yield.getValues().size() == 1 &&
              yield.getValues()[0].getType().isF32() &&
              llvm::all_of(block.getArgumentTypes(),
                           [](Type type) { return type.isF32(); });
  if (!fits) // C3
    return emitOpError("expected an epilogue from ") << roles << " f32 to f32";
  return success();
}

LogicalResult
GroupedMatmulOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto table =
      symbols.lookupNearestSymbolFrom<ExpertTableOp>(*this, getTableAttr());
  if (!table) // C1
    return emitOpError("expected a moe.expert_table ")
           << getTableAttr() << ", found none";
  if (getOffsets().getType().getDimSize(0) != table.getNumExperts() + 1) // C4
    return emitOpError("expected ")
           << table.getNumExperts() + 1 << " segment offsets, found "
           << getOffsets().getType().getDimSize(0);
  for (int64_t e = 0; e < table.getNumExperts(); ++e) {
    auto weightOf = [&](Attribute role) -> FailureOr<WeightOp> {
      auto name = cast<StringAttr>(role);
      ExpertAttr expert = table.getExpert(e);
      auto symbol =
          expert ? expert.getWeights().getAs<FlatSymbolRefAttr>(name.getValue())
                 : FlatSymbolRefAttr();
      if (!symbol) // C1
        return emitOpError("expected experts with the role ")
               << name << ", expert " << e << " has none";
      auto weight = symbols.lookupNearestSymbolFrom<WeightOp>(*this, symbol);
      if (!weight)
        return failure(); // the table's verifier says so
      return weight;
    };
    for (Attribute role : getRoles()) {
      FailureOr<WeightOp> weight = weightOf(role);
      if (failed(weight) || weight->getTensorType().getRank() != 2)
        return failure();
      ArrayRef<int64_t> shape = weight->getTensorType().getShape();
      if (shape[1] != widthOf(getInput()) ||
          shape[0] != widthOf(getResult())) // C1, C2
        return emitOpError("expected a map from ")
               << widthOf(getInput()) << " to " << widthOf(getResult())
               << ", expert " << e << " has " << weight->getType();
    }
    for (Attribute role :
         getBiases().value_or(ArrayAttr::get(getContext(), {}))) {
      FailureOr<WeightOp> bias = weightOf(role);
      if (failed(bias))
        return failure();
      ArrayRef<int64_t> shape = bias->getTensorType().getShape();
      if (shape.size() != 1 || shape[0] != widthOf(getResult())) // C5
        return emitOpError("expected a bias of ")
               << widthOf(getResult()) << ", expert " << e << " has "
               << bias->getType();
    }
  }
  return success();
}

LogicalResult CombineOp::verify() {
  if (widthOf(getSlotRows()) != widthOf(getWeights())) // C1
    return emitOpError("expected as many weights as slots: ")
           << widthOf(getSlotRows()) << ", found " << widthOf(getWeights());
  if (widthOf(getRows()) != widthOf(getResult())) // C2
    return emitOpError("expected a result of width ")
           << widthOf(getRows()) << ", found " << widthOf(getResult());
  return success();
}
