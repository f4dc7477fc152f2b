//===- NnDialect.cpp - The rest of a decoder ------------------------------===//
#include "dialects/nn/NnDialect.h"
#include "dialects/interfaces/KeepConstantsInside.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace moec::nn;

#include "dialects/nn/NnDialect.cpp.inc"
#include "dialects/nn/NnEnums.cpp.inc"

#define GET_OP_CLASSES
#include "dialects/nn/NnOps.cpp.inc"

void NnDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "dialects/nn/NnOps.cpp.inc"
      >();
  addInterfaces<moec::KeepConstantsInside>();
}

static int64_t widthOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getShape().back();
}

/// Checks that `weight` is a map from the width of `from` to that of `to`.
static LogicalResult verifyMap(Operation *op, StringRef name, Value weight,
                               int64_t to, int64_t from) {
  auto type = cast<RankedTensorType>(weight.getType());
  if (type.getDimSize(0) == to && type.getDimSize(1) == from)
    return success();
  return op->emitOpError("expected ")
         << name << " to be [" << to << ", " << from << "], found " << type;
}

static LogicalResult verifyBias(Operation *op, Value bias, int64_t width) {
  if (!bias || widthOf(bias) == width)
    return success();
  return op->emitOpError("expected a bias of width ")
         << width << ", found " << bias.getType();
}

SmallVector<OpOperand *> LinearOp::getMatrixOperands() {
  return {&getWeightMutable()};
}
SmallVector<OpOperand *> HeadLinearOp::getMatrixOperands() {
  return {&getWeightMutable()};
}
SmallVector<OpOperand *> GluOp::getMatrixOperands() {
  return {&getGateMutable(), &getUpMutable(), &getDownMutable()};
}
SmallVector<OpOperand *> MlpOp::getMatrixOperands() {
  return {&getUpMutable(), &getDownMutable()};
}

//===----------------------------------------------------------------------===//
// State
//===----------------------------------------------------------------------===//

LogicalResult StateOp::verify() {
  auto type = dyn_cast<RankedTensorType>(getType());
  if (!type || !type.hasStaticShape() || type.getRank() != 1 ||
      !isa<FloatType>(type.getElementType())) // C1
    return emitOpError("expected a static float tensor of rank 1, found ")
           << getType();
  if (getCacheTokens() < 1) // C2
    return emitOpError("expected at least one cached token, found ")
           << getCacheTokens();
  return success();
}

/// Looks up `state` and compares its rows with the given width and type.
static LogicalResult verifyState(Operation *op, FlatSymbolRefAttr symbol,
                                 int64_t width, Type element,
                                 SymbolTableCollection &symbols) {
  auto state = symbols.lookupNearestSymbolFrom<StateOp>(op, symbol);
  if (!state)
    return op->emitOpError("expected an nn.state ") << symbol << ", found none";
  auto type = cast<RankedTensorType>(state.getType());
  if (type.getDimSize(0) == width &&
      (!element || type.getElementType() == element))
    return success();
  InFlightDiagnostic diagnostic = op->emitOpError("expected a state of width ")
                                  << width << ", " << symbol << " is " << type;
  diagnostic.attachNote(state.getLoc()) << "the state is declared here";
  return diagnostic;
}

LogicalResult StateAppendOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyState(*this, getStateAttr(), widthOf(getRows()),
                     getRows().getType().getElementType(), symbols); // C1
}

//===----------------------------------------------------------------------===//
// Into the stream
//===----------------------------------------------------------------------===//

LogicalResult EmbedOp::verify() {
  if (widthOf(getTable()) != widthOf(getResult())) // C1
    return emitOpError("expected a result of width ")
           << widthOf(getTable()) << ", found " << widthOf(getResult());
  if (bool(getKinds()) != getKind().has_value()) // C2
    return emitOpError("expected 'kind' exactly when there are kinds");
  return success();
}

LogicalResult PatchesOp::verify() {
  int64_t size = getSize();
  if (size < 1 || getHeight() % size != 0 || getWidth() % size != 0) // C2
    return emitOpError("expected a size that divides ")
           << getHeight() << " and " << getWidth() << ", found " << size;
  if (widthOf(getImages()) !=
      int64_t(getHeight() * getWidth() * getChannels())) // C1
    return emitOpError("expected images of ")
           << getHeight() * getWidth() * getChannels() << " elements, found "
           << widthOf(getImages());
  if (widthOf(getResult()) != int64_t(size * size * getChannels()) ||
      getImages().getType().getElementType() !=
          getResult().getType().getElementType()) // C3
    return emitOpError("expected patches of ")
           << size * size * getChannels() << " elements, found "
           << getResult().getType();
  return success();
}

LogicalResult AddPositionsOp::verify() {
  if (widthOf(getTable()) != widthOf(getInput())) // C1
    return emitOpError("expected a table of width ")
           << widthOf(getInput()) << ", found " << getTable().getType();
  return success();
}

//===----------------------------------------------------------------------===//
// Parts of rows
//===----------------------------------------------------------------------===//

/// Checks that every one of `streams` holds `heads` heads.
static LogicalResult verifyHeads(Operation *op, int64_t heads,
                                 ValueRange streams) {
  for (Value stream : streams)
    if (heads < 1 || widthOf(stream) % heads != 0)
      return op->emitOpError("expected streams of ")
             << heads << " heads, found " << stream.getType();
  return success();
}

static LogicalResult verifySameElement(Operation *op, ValueRange streams) {
  for (Value stream : streams)
    if (getElementTypeOrSelf(stream) != getElementTypeOrSelf(streams.front()))
      return op->emitOpError("expected one element type, found ")
             << streams.front().getType() << " and " << stream.getType();
  return success();
}

LogicalResult SliceOp::verify() {
  int64_t heads = getHeads(), from = getFrom();
  if (failed(verifyHeads(*this, heads, {getInput(), getResult()}))) // C1
    return failure();
  int64_t head = widthOf(getInput()) / heads;
  if (from < 0 || from + widthOf(getResult()) / heads > head) // C2
    return emitOpError("expected a part of a head of ")
           << head << " elements, found " << widthOf(getResult()) / heads
           << " elements from " << from << " on";
  return verifySameElement(*this, {getInput(), getResult()}); // C3
}

LogicalResult ConcatOp::verify() {
  if (failed(verifyHeads(*this, getHeads(), {getLhs(), getRhs()}))) // C1
    return failure();
  int64_t width = widthOf(getLhs()) + widthOf(getRhs());
  if (widthOf(getResult()) != width) // C2
    return emitOpError("expected a result of width ")
           << width << ", found " << widthOf(getResult());
  return verifySameElement(*this, {getLhs(), getRhs(), getResult()}); // C3
}

//===----------------------------------------------------------------------===//
// Maps and norms
//===----------------------------------------------------------------------===//

LogicalResult MapOp::verify() {
  Block &block = getBody().front();
  auto yield = dyn_cast<YieldOp>(block.getTerminator());
  if (block.getNumArguments() != getInputs().size() || !yield ||
      yield.getValues().size() != 1 ||
      !yield.getValues()[0].getType().isF32()) // C2
    return emitOpError("expected a body from ")
           << getInputs().size() << " elements to one f32";
  for (auto [number, input, argument] :
       llvm::enumerate(getInputs(), block.getArguments())) {
    auto type = cast<RankedTensorType>(input.getType());
    Type element = type.getElementType();
    int64_t width = type.getShape().back();
    bool isStream = type.getRank() == 2 && !element.isInteger(32);
    bool isStored = number > 0 && type.getRank() == 1 &&
                    type.hasStaticShape() && isa<FloatType>(element);
    bool isRow = (isStream || isStored) && width > 0 &&
                 widthOf(getResult()) % width == 0;
    bool isNumber = number > 0 && type.getRank() == 1 && type.isDynamicDim(0) &&
                    element.isInteger(32);
    if (!isRow && !isNumber) // C1
      return emitOpError("expected operands of a width that divides ")
             << widthOf(getResult()) << " or tensor<?xi32>, found " << type;
    Type expected =
        isa<IntegerType>(element) ? element : Float32Type::get(getContext());
    if (argument.getType() != expected) // C2
      return emitOpError("expected a body argument of type ")
             << expected << ", found " << argument.getType();
  }
  return success();
}

LogicalResult NormOp::verify() {
  if (getGroup().has_value() == bool(getWeight())) // C4
    return emitOpError("expected 'group' exactly when there is no weight");
  int64_t width = widthOf(getInput()), group = getGroupSize();
  if (group < 1 || width % group != 0) // C1
    return emitOpError("expected groups whose width divides ")
           << width << ", found " << group;
  if (widthOf(getResult()) != width) // C3
    return emitOpError("expected a result of width ")
           << width << ", found " << widthOf(getResult());
  if (getBias() && !getWeight()) // C2
    return emitOpError("expected a weight where there is a bias");
  return verifyBias(*this, getBias(), group); // C2
}

LogicalResult LinearOp::verify() {
  if (failed(verifyMap(*this, "weight", getWeight(), widthOf(getResult()),
                       widthOf(getInput())))) // C1
    return failure();
  return verifyBias(*this, getBias(), widthOf(getResult())); // C2
}

LogicalResult HeadLinearOp::verify() {
  int64_t heads = getHeads();
  if (failed(verifyHeads(*this, heads, {getInput(), getResult()}))) // C1
    return failure();
  return verifyMap(*this, "weight", getWeight(), widthOf(getResult()),
                   widthOf(getInput()) / heads); // C2
}

LogicalResult JointLinearOp::verify() {
  int64_t to = widthOf(getResult());
  for (Value weight : getWeights())
    if (failed(verifyMap(*this, "weight", weight, to,
                         widthOf(getInput())))) // C1
      return failure();
  if (!getBiases().empty() && getBiases().size() != getWeights().size()) // C2
    return emitOpError("expected one bias per weight, found ")
           << getBiases().size();
  for (Value bias : getBiases())
    if (failed(verifyBias(*this, bias, to))) // C2
      return failure();
  Block &block = getBody().front();
  auto yield = dyn_cast<YieldOp>(block.getTerminator());
  auto isF32 = [](Type type) { return type.isF32(); };
  if (block.getNumArguments() != getWeights().size() || !yield ||
      yield.getValues().size() != 1 || !isF32(yield.getValues()[0].getType()) ||
      !llvm::all_of(block.getArgumentTypes(), isF32)) // C3
    return emitOpError("expected a body from ")
           << getWeights().size() << " f32 to f32";
  return success();
}

LogicalResult GluOp::verify() {
  int64_t width = widthOf(getDown()), hidden = widthOf(getInput());
  if (failed(verifyMap(*this, "gate", getGate(), width, hidden)) ||
      failed(verifyMap(*this, "up", getUp(), width, hidden)) ||
      failed(verifyMap(*this, "down", getDown(), widthOf(getResult()),
                       width))) // C1
    return failure();
  if (failed(verifyBias(*this, getGateBias(), width)) ||
      failed(verifyBias(*this, getUpBias(), width)) ||
      failed(verifyBias(*this, getDownBias(), widthOf(getResult())))) // C2
    return failure();
  return verifyHiddenFunction(getHiddenFunction(*this), /*hasGate=*/true,
                              [&] { return emitOpError(); }); // C3
}

LogicalResult MlpOp::verify() {
  int64_t width = widthOf(getDown());
  if (failed(verifyMap(*this, "up", getUp(), width, widthOf(getInput()))) ||
      failed(verifyMap(*this, "down", getDown(), widthOf(getResult()),
                       width))) // C1
    return failure();
  if (failed(verifyBias(*this, getUpBias(), width)) ||
      failed(verifyBias(*this, getDownBias(), widthOf(getResult())))) // C2
    return failure();
  return verifyHiddenFunction(getHiddenFunction(*this), /*hasGate=*/false,
                              [&] { return emitOpError(); }); // C3
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

LogicalResult RotaryTableOp::verify() {
  int64_t width = widthOf(getResult());
  if (!getResult().getType().getElementType().isF32() || width % 2 != 0 ||
      (getGrowth() && width < 4)) // C1
    return emitOpError("expected an f32 result of even width, found ")
           << getResult().getType();
  for (DenseElementsAttr list :
       {getFrequencies(), getLongFrequencies().value_or(getFrequencies())})
    if (list.getNumElements() != width / 2) // C2
      return emitOpError("expected ")
             << width / 2 << " frequencies, found " << list.getNumElements();
  bool isLong = getLongFrequencies().has_value();
  bool byLength = getGrowth().has_value() || isLong;
  if (bool(getLengths()) != byLength || getLimit().has_value() != byLength ||
      (getGrowth() && isLong) || getLongMagnitude().has_value() != isLong ||
      (byLength && int64_t(*getLimit()) < 1)) // C3
    return emitOpError("expected lengths and a positive limit with one of "
                       "growth and long frequencies, or none of them");
  return success();
}

LogicalResult RopeOp::verify() {
  int64_t width = widthOf(getInput()), head = getHeadSize();
  if (head < 1 || width % head != 0) // C1
    return emitOpError("expected heads whose width divides ")
           << width << ", found " << head;
  if (getFirst() < 0 || getFirst() + widthOf(getTable()) > head) // C2
    return emitOpError("expected to rotate a part of a head of ")
           << head << " elements, found " << widthOf(getTable())
           << " elements from " << getFirst() << " on";
  return success();
}

LogicalResult AttentionOp::verify() {
  int64_t heads = getHeads(), kvHeads = getKvHeads();
  if (kvHeads < 1 || heads < 1 || heads % kvHeads != 0) // C1
    return emitOpError("expected heads to be a multiple of kv_heads, found ")
           << heads << " and " << kvHeads;
  bool operands = getKey() && getValue() && !getKeyState() && !getValueState();
  bool states = !getKey() && !getValue() && getKeyState() && getValueState();
  if (!operands && !states) // C3
    return emitOpError("expected keys and values as operands or as states");
  if (getWindow().has_value() + getChunk().has_value() + getFull() > 1 ||
      (getWindow() && int64_t(*getWindow()) < 1) ||
      (getChunk() && int64_t(*getChunk()) < 1)) // C4
    return emitOpError("expected at most one of window, chunk and full, of a "
                       "positive size");
  if (getSinks() && widthOf(getSinks()) != heads) // C5
    return emitOpError("expected one sink for each of ")
           << heads << " heads, found " << getSinks().getType();
  if (getSoftcap() && !(getSoftcap()->convertToDouble() > 0)) // C6
    return emitOpError("expected a positive softcap");
  if (widthOf(getQuery()) % heads != 0 || widthOf(getResult()) % heads != 0)
    return emitOpError("expected query and result to hold ")
           << heads << " heads, found widths " << widthOf(getQuery()) << " and "
           << widthOf(getResult()); // C2
  if (operands &&
      (widthOf(getKey()) != widthOf(getQuery()) / heads * kvHeads ||
       widthOf(getValue()) % kvHeads != 0 ||
       widthOf(getValue()) < widthOf(getResult()) / heads * kvHeads)) // C2
    return emitOpError("expected keys and values of ")
           << kvHeads << " heads, found widths " << widthOf(getKey()) << " and "
           << widthOf(getValue());
  return success();
}

LogicalResult AttentionOp::verifySymbolUses(SymbolTableCollection &symbols) {
  if (!getKeyState())
    return success();
  int64_t heads = getHeads(), kvHeads = getKvHeads();
  if (failed(verifyState(*this, getKeyStateAttr(),
                         widthOf(getQuery()) / heads * kvHeads, Type(),
                         symbols))) // C2
    return failure();
  // Values may be wider than the result's heads.
  int64_t value = widthOf(getResult()) / heads * kvHeads;
  auto state =
      symbols.lookupNearestSymbolFrom<StateOp>(*this, getValueStateAttr());
  if (state) {
    int64_t width = cast<RankedTensorType>(state.getType()).getDimSize(0);
    if (width > value && width % kvHeads == 0)
      return success();
  }
  return verifyState(*this, getValueStateAttr(), value, Type(), symbols); // C2
}

void AttentionOp::getEffects(
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>
        &effects) {
  // Reading a state must not move across the append that fills it.
  if (getKeyState())
    effects.emplace_back(MemoryEffects::Read::get());
}
