//===- CodeBuilder.cpp - Short forms for building CPU code ----------------===//
#include "passes/target/CodeBuilder.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace moec::target;

CodeBuilder::CodeBuilder(Location loc, Block *entry)
    : ImplicitLocOpBuilder(loc, entry, entry->end()), entry(entry) {}

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

Type CodeBuilder::ptrType() { return LLVM::LLVMPointerType::get(getContext()); }

VectorType CodeBuilder::vectorOf(Type element, int64_t lanes) {
  return VectorType::get({lanes}, element);
}

bool CodeBuilder::isSmallFloat(Type type) {
  Type element = getElementTypeOrSelf(type);
  return element.isBF16() || element.isF16();
}

/// `type` with its element type, or itself, replaced.
static Type withElement(Type type, Type element) {
  if (auto vector = dyn_cast<VectorType>(type))
    return VectorType::get(vector.getShape(), element);
  return element;
}

Type CodeBuilder::storageType(Type type) {
  if (isSmallFloat(type))
    return withElement(type, IntegerType::get(type.getContext(), 16));
  return type;
}

int64_t CodeBuilder::byteSize(Type type) {
  return type.getIntOrFloatBitWidth() / 8;
}

bool CodeBuilder::isMemoryType(Type type) {
  return type.isF32() || type.isF64() || type.isBF16() || type.isF16() ||
         type.isSignlessInteger(8) || type.isSignlessInteger(16) ||
         type.isSignlessInteger(32) || type.isSignlessInteger(64);
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

Value CodeBuilder::i64(int64_t value) {
  return create<arith::ConstantOp>(getI64IntegerAttr(value));
}

Value CodeBuilder::i32(int64_t value) {
  return create<arith::ConstantOp>(getI32IntegerAttr(value));
}

Value CodeBuilder::constant(Type type, double value) {
  Type element = getElementTypeOrSelf(type);
  TypedAttr scalar;
  if (isa<FloatType>(element))
    scalar = getFloatAttr(element, value);
  else
    scalar = getIntegerAttr(element, static_cast<int64_t>(value));
  if (auto vector = dyn_cast<VectorType>(type))
    return create<arith::ConstantOp>(
        cast<TypedAttr>(Attribute(DenseElementsAttr::get(vector, scalar))));
  return create<arith::ConstantOp>(scalar);
}

Value CodeBuilder::splat(Value scalar, int64_t lanes) {
  if (isa<VectorType>(scalar.getType()))
    return scalar;
  return createOrFold<vector::BroadcastOp>(vectorOf(scalar.getType(), lanes),
                                           scalar);
}

Value CodeBuilder::lanes(ArrayRef<int64_t> values, unsigned bits) {
  auto type = vectorOf(getIntegerType(bits), values.size());
  SmallVector<APInt> bitValues;
  for (int64_t value : values)
    bitValues.push_back(APInt(64, value).trunc(bits));
  return create<arith::ConstantOp>(DenseIntElementsAttr::get(type, bitValues));
}

Value CodeBuilder::add(Value a, Value b) {
  return createOrFold<arith::AddIOp>(a, b);
}
Value CodeBuilder::sub(Value a, Value b) {
  return createOrFold<arith::SubIOp>(a, b);
}
Value CodeBuilder::mul(Value a, Value b) {
  return createOrFold<arith::MulIOp>(a, b);
}
Value CodeBuilder::div(Value a, Value b) {
  return createOrFold<arith::DivUIOp>(a, b);
}
Value CodeBuilder::rem(Value a, Value b) {
  return createOrFold<arith::RemUIOp>(a, b);
}
Value CodeBuilder::min(Value a, Value b) {
  return createOrFold<arith::MinSIOp>(a, b);
}
Value CodeBuilder::max(Value a, Value b) {
  return createOrFold<arith::MaxSIOp>(a, b);
}

Value CodeBuilder::compare(arith::CmpIPredicate predicate, Value a, Value b) {
  return createOrFold<arith::CmpIOp>(predicate, a, b);
}

Value CodeBuilder::lessThan(Value a, Value b) {
  return compare(arith::CmpIPredicate::slt, a, b);
}

Value CodeBuilder::select(Value condition, Value a, Value b) {
  return createOrFold<arith::SelectOp>(condition, a, b);
}

Value CodeBuilder::widen(Value value) {
  if (value.getType().isInteger(64))
    return value;
  return createOrFold<arith::ExtSIOp>(getI64Type(), value);
}

Value CodeBuilder::mulAdd(Value value, Value factor, Value sum, bool fused) {
  if (fused)
    return create<math::FmaOp>(value, factor, sum);
  return create<arith::AddFOp>(sum, create<arith::MulFOp>(value, factor));
}

Value CodeBuilder::toF32(Value value) {
  Type element = getElementTypeOrSelf(value.getType());
  if (element.isF32())
    return value;
  Type wide = withElement(value.getType(), getF32Type());
  if (element.isF64())
    return create<arith::TruncFOp>(wide, value);
  return create<arith::ExtFOp>(wide, value);
}

Value CodeBuilder::fromF32(Value value, Type element) {
  if (element.isF32())
    return value;
  Type type = withElement(value.getType(), element);
  if (element.isF64())
    return create<arith::ExtFOp>(type, value);
  return create<arith::TruncFOp>(type, value);
}

Value CodeBuilder::roundTo(Value value, Type type) {
  return isSmallFloat(type) ? toF32(fromF32(value, type)) : value;
}

Value CodeBuilder::shuffle(Value a, Value b, ArrayRef<int64_t> mask) {
  return create<vector::ShuffleOp>(a, b, mask);
}

Value CodeBuilder::slice(Value vector, int64_t first, int64_t count) {
  if (cast<VectorType>(vector.getType()).getNumElements() == count)
    return vector;
  return shuffle(vector, vector,
                 llvm::to_vector(llvm::seq<int64_t>(first, first + count)));
}

Value CodeBuilder::concat(ArrayRef<Value> parts) {
  SmallVector<Value> level(parts);
  while (level.size() > 1) {
    SmallVector<Value> next;
    int64_t lanes = cast<VectorType>(level[0].getType()).getNumElements();
    auto mask = llvm::to_vector(llvm::seq<int64_t>(0, 2 * lanes));
    for (size_t i = 0; i + 1 < level.size(); i += 2)
      next.push_back(shuffle(level[i], level[i + 1], mask));
    level = next;
  }
  return level[0];
}

Value CodeBuilder::extract(Value vector, int64_t lane) {
  return create<vector::ExtractOp>(vector, lane);
}

Value CodeBuilder::foldLanes(Value vector,
                             function_ref<Value(Value, Value)> combine) {
  int64_t lanes = cast<VectorType>(vector.getType()).getNumElements();
  for (; lanes > 1; lanes /= 2)
    vector = combine(slice(vector, 0, lanes / 2),
                     slice(vector, lanes / 2, lanes / 2));
  return extract(vector, 0);
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

Value CodeBuilder::stack(int64_t bytes) {
  // Rounded up so that whole blocks of lanes can be read and written.
  bytes = llvm::alignTo(std::max<int64_t>(bytes, 1), 64);
  stackBytes += bytes;
  InsertionGuard guard(*this);
  setInsertionPointToStart(entry);
  Value count = create<LLVM::ConstantOp>(getI64Type(), bytes);
  return create<LLVM::AllocaOp>(ptrType(), getI8Type(), count, 64);
}

void CodeBuilder::noteBarrier() {
  // Structured control flow: the first block is what always runs, once.
  if (barriers && getInsertionBlock() == entry)
    ++*barriers;
  else
    barriers.reset();
}

Value CodeBuilder::element(Value pointer, Value index, Type type) {
  return create<LLVM::GEPOp>(pointer.getType(), storageType(type), pointer,
                             ArrayRef<LLVM::GEPArg>{LLVM::GEPArg(index)});
}

Value CodeBuilder::field(Value pointer, int64_t offset) {
  if (offset == 0)
    return pointer;
  return create<LLVM::GEPOp>(
      pointer.getType(), getI8Type(), pointer,
      ArrayRef<LLVM::GEPArg>{LLVM::GEPArg(static_cast<int32_t>(offset))});
}

Value CodeBuilder::load(Value pointer, Type type) {
  if (isa<LLVM::LLVMPointerType>(type))
    return create<LLVM::LoadOp>(type, pointer, 8);
  Type storage = storageType(type);
  Value value = create<LLVM::LoadOp>(
      storage, pointer, byteSize(getElementTypeOrSelf(storage)));
  if (storage == type)
    return value;
  return create<arith::BitcastOp>(type, value);
}

void CodeBuilder::store(Value value, Value pointer) {
  Type type = value.getType();
  if (isa<LLVM::LLVMPointerType>(type)) {
    create<LLVM::StoreOp>(value, pointer, 8);
    return;
  }
  Type storage = storageType(type);
  if (storage != type)
    value = create<arith::BitcastOp>(storage, value);
  create<LLVM::StoreOp>(value, pointer,
                        byteSize(getElementTypeOrSelf(storage)));
}

Value CodeBuilder::loadLanes(Value pointer, Value index, Type type,
                             int64_t active, int64_t lanes) {
  if (active == lanes)
    return load(element(pointer, index, type), vectorOf(type, lanes));
  // Powers of two, largest first, then merged.
  Value result;
  int64_t done = 0;
  for (int64_t size = lanes / 2; size >= 1; size /= 2) {
    if (!(active & size))
      continue;
    Value address = element(pointer, add(index, done), type);
    Value part = size == 1 ? splat(load(address, type), 1)
                           : load(address, vectorOf(type, size));
    SmallVector<int64_t> widened, merged;
    for (int64_t lane = 0; lane < lanes; ++lane) {
      widened.push_back(lane < size ? lane : 0);
      bool isNew = lane >= done && lane < done + size;
      merged.push_back(isNew ? lanes + lane - done : lane < done ? lane : 0);
    }
    Value wide = shuffle(part, part, widened);
    result = result ? shuffle(result, wide, merged) : wide;
    done += size;
  }
  return result;
}

void CodeBuilder::storeLanes(Value vector, Value pointer, Value index,
                             int64_t active) {
  auto type = cast<VectorType>(vector.getType());
  int64_t lanes = type.getNumElements();
  if (active == lanes)
    return store(vector, element(pointer, index, type.getElementType()));
  int64_t done = 0;
  for (int64_t size = lanes / 2; size >= 1; size /= 2) {
    if (!(active & size))
      continue;
    Value part = size == 1 ? extract(vector, done) : slice(vector, done, size);
    store(part, element(pointer, add(index, done), type.getElementType()));
    done += size;
  }
}

//===----------------------------------------------------------------------===//
// Control flow
//===----------------------------------------------------------------------===//

void CodeBuilder::loop(Value low, Value high, int64_t step,
                       function_ref<void(Value)> body) {
  loop(low, high, i64(step), body);
}

void CodeBuilder::loop(Value low, Value high, Value step,
                       function_ref<void(Value)> body) {
  loop(low, high, step, {}, [&](Value iv, ValueRange) -> Values {
    body(iv);
    return {};
  });
}

CodeBuilder::Values
CodeBuilder::loop(Value low, Value high, Value step, ValueRange init,
                  function_ref<Values(Value, ValueRange)> body) {
  auto op = create<scf::ForOp>(low, high, step, init);
  InsertionGuard guard(*this);
  Block *block = op.getBody();
  if (!block->empty() && block->back().hasTrait<OpTrait::IsTerminator>())
    block->back().erase();
  setInsertionPointToEnd(block);
  Values results = body(op.getInductionVar(), op.getRegionIterArgs());
  create<scf::YieldOp>(results);
  return llvm::to_vector_of<Value>(op.getResults());
}

void CodeBuilder::ifThen(Value condition, function_ref<void()> body) {
  auto op = create<scf::IfOp>(condition, /*withElseRegion=*/false);
  InsertionGuard guard(*this);
  setInsertionPoint(op.thenBlock()->getTerminator());
  body();
}

void CodeBuilder::ifElse(Value condition, function_ref<void()> yes,
                         function_ref<void()> no) {
  auto op = create<scf::IfOp>(condition, /*withElseRegion=*/true);
  InsertionGuard guard(*this);
  setInsertionPoint(op.thenBlock()->getTerminator());
  yes();
  setInsertionPoint(op.elseBlock()->getTerminator());
  no();
}

CodeBuilder::Values CodeBuilder::choose(Value condition,
                                        function_ref<Values()> yes,
                                        function_ref<Values()> no) {
  // The types are known only when the first side is built.
  Block *here = getInsertionBlock();
  auto next = getInsertionPoint();
  auto probe = std::make_unique<Block>();
  setInsertionPointToEnd(probe.get());
  Values yesValues = yes();
  setInsertionPoint(here, next);
  auto op = create<scf::IfOp>(ValueRange(yesValues).getTypes(), condition,
                              /*withElseRegion=*/true);
  InsertionGuard guard(*this);
  Block *thenBlock = op.thenBlock();
  thenBlock->getOperations().splice(thenBlock->end(), probe->getOperations());
  setInsertionPointToEnd(thenBlock);
  create<scf::YieldOp>(yesValues);
  setInsertionPointToEnd(op.elseBlock());
  create<scf::YieldOp>(no());
  return llvm::to_vector_of<Value>(op.getResults());
}

Value CodeBuilder::advance(Value start, function_ref<Value(Value)> proceed) {
  auto op = create<scf::WhileOp>(TypeRange{start.getType()}, ValueRange{start});
  InsertionGuard guard(*this);
  Block *before = createBlock(&op.getBefore(), {}, {start.getType()}, {getLoc()});
  Value current = before->getArgument(0);
  create<scf::ConditionOp>(proceed(current), ValueRange{current});
  Block *after = createBlock(&op.getAfter(), {}, {start.getType()}, {getLoc()});
  create<scf::YieldOp>(ValueRange{add(after->getArgument(0), 1)});
  return op.getResult(0);
}

Operation *CodeBuilder::rebuild(Operation &op, ValueRange operands,
                                int64_t lanes) {
  bool isVector = llvm::any_of(
      operands, [](Value v) { return isa<VectorType>(v.getType()); });
  if (isVector && !OpTrait::hasElementwiseMappableTraits(&op)) {
    op.emitOpError("has no vector form on this target");
    return nullptr;
  }
  OperationState state(getLoc(), op.getName());
  for (Value operand : operands)
    state.addOperands(isVector ? splat(operand, lanes) : operand);
  for (Type type : op.getResultTypes())
    state.addTypes(isVector ? Type(vectorOf(type, lanes)) : type);
  for (NamedAttribute attribute : op.getAttrs())
    // Flags that let the optimizer change a rounding are not ours to keep.
    if (attribute.getName() != "fastmath")
      state.addAttribute(attribute.getName(), attribute.getValue());
  return OpBuilder::create(state);
}

FailureOr<CodeBuilder::Values>
CodeBuilder::vectorize(Block &body, ValueRange arguments, int64_t lanes,
                       function_ref<Value(Value)> lookup) {
  IRMapping mapping;
  for (auto [from, to] : llvm::zip(body.getArguments(), arguments))
    mapping.map(from, to);
  auto get = [&](Value value) {
    Value mapped = mapping.lookupOrNull(value);
    return mapped ? mapped : lookup(value);
  };
  for (Operation &op : body.without_terminator()) {
    Operation *clone =
        rebuild(op, llvm::map_to_vector(op.getOperands(), get), lanes);
    if (!clone)
      return failure();
    for (auto [from, to] : llvm::zip(op.getResults(), clone->getResults()))
      mapping.map(from, to);
  }
  return Values(llvm::map_to_vector(body.getTerminator()->getOperands(), get));
}
