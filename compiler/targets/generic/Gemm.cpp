//===- Gemm.cpp - Matrix products over row blocks -------------------------===//
//
// The frame of a product; see GemmTile.h. A tile is a few rows by one to four
// blocks of 16 output columns. Its rows are copied into a panel once: gathered,
// converted, rounded to `compute`. Every split of rows, columns and the
// contraction index into chunks gives the same bits.
//
//===----------------------------------------------------------------------===//
#include "compiler/targets/generic/GemmTile.h"

#include "dialects/moeq/MoeqDialect.h"
#include "passes/target/StepFunctions.h"

using namespace mlir;
using namespace moec;
using namespace moec::generic;

namespace {

/// Bytes of weights that a pass over many rows should find in the cache: half of
/// a second-level cache of 1 MiB.
constexpr int64_t kCachedWeights = 512 * 1024;

/// Builds one kernel of `moex.grouped_gemm`.
class GemmBuilder {
public:
  GemmBuilder(Kernel &kernel, moex::GroupedGemmOp op)
      : kernel(kernel), op(op), b(kernel.b),
        xType(kernel.request.operands[0].getElementType()),
        heads(op.getHeads().value_or(1)),
        depth(kernel.request.operands[0].type.getDimSize(1) / heads),
        width(cast<MemRefType>(op.getOut().getType()).getDimSize(1)),
        numBlocks(llvm::divideCeil(width, kLanes)),
        numWeights(op.getWeights().size()) {}

  LogicalResult build(GemmTileFactory createTile);

private:
  LogicalResult check(GemmTileFactory createTile);
  void getHelpers();
  /// Rows [rows.low, rows.high) times all of this participant's columns.
  void buildSegment(TaskRange rows, TaskRange columns, ArrayRef<Value> matrices);
  void buildHeads(TaskRange rows, TaskRange columns, ArrayRef<Value> matrices);
  void buildTile(Value row, Value tileRows, TaskRange columns,
                 ArrayRef<Value> matrices);
  void pack(Value row, Value tileRows, Value start, Value count);
  void buildEpilogue(Value row, Value tileRows, Value block, Value blocks);
  void storeBlock(Value row, Value tileRow, Value part, Value column,
                  int64_t active);
  void storeOwn(Value row, Value tileRow, Value part, Value column);

  Kernel &kernel;
  moex::GroupedGemmOp op;
  CodeBuilder &b;
  std::unique_ptr<GemmTile> shape;
  Type xType;
  /// A product of each head by itself: `depth` columns of x, and the columns
  /// [low, high) of out that are being computed.
  int64_t heads, depth, width, numBlocks, numWeights;
  Value head;
  TaskRange own;
  /// Pointers of the operands that are there; biases are those of the expert
  /// within a segment.
  SmallVector<Value> biases;
  Value gather, segments;
  unsigned outIndex = 0;
  /// Buffers on the stack and the functions that fill them.
  Value panel;
  int64_t panelStride = 0;
  SmallVector<Value> sums;
  LLVM::LLVMFuncOp tile, packRow;
  LogicalResult status = success();
};

} // namespace

LogicalResult GemmBuilder::check(GemmTileFactory createTile) {
  const KernelOperand &first = kernel.request.operands[1];
  auto codes = dyn_cast<FloatType>(first.getElementType());
  Attribute wanted = moeq::RowBlocksLayoutAttr::get(
      op.getContext(), kLanes, first.getElementType().isBF16() ? 2 : 1);
  if (first.format)
    wanted = moeq::GroupBlocksLayoutAttr::get(op.getContext());
  for (int64_t i = 0; i < numWeights; ++i) {
    unsigned index = 1 + i;
    const KernelOperand &operand = kernel.request.operands[index];
    if (!codes || operand.getElementType() != codes)
      return op.emitOpError("expected weights of f32, bf16 or f16, found ")
             << operand.getElementType();
    if (operand.format != first.format)
      return op.emitOpError("expected one format for all weights, found ")
             << first.format << " and " << operand.format;
    if (failed(requireLayout(kernel.request, index, wanted)))
      return failure();
    KernelOperand::Kind kind =
        op.getSegments() ? KernelOperand::Experts : KernelOperand::Weight;
    if (operand.kind != kind)
      return op.emitOpError("expected weights of ")
             << (op.getSegments() ? "moex.expert_weights" : "moex.weight")
             << ", found other memory";
  }
  for (auto [i, bias] : llvm::enumerate(op.getBiases())) {
    unsigned index = 1 + numWeights + i;
    if (failed(requireLayout(kernel.request, index, {})))
      return failure();
    if (op.getSegments() &&
        kernel.request.operands[index].kind != KernelOperand::Experts)
      return op.emitOpError("expected biases of moex.expert_weights, found "
                            "other memory");
  }
  GemmOperands operands{xType, codes, first.format, wanted, op.getCompute()};
  shape = createTile(kernel.getLevel(), operands);
  if (!shape) {
    InFlightDiagnostic error = op.emitOpError("has no kernel for compute = ");
    error << op.getCompute() << " and weights of ";
    return first.format ? error << first.format : error << codes;
  }
  return success();
}

void GemmBuilder::getHelpers() {
  Type none = LLVM::LLVMVoidType::get(op.getContext());
  Type ptr = b.ptrType(), i64 = b.getI64Type();
  auto tileType = LLVM::LLVMFunctionType::get(
      none, {ptr, i64, ptr, i64, ptr, i64, b.getI1Type(), i64, i64});
  tile = kernel.module.getHelper(
      b.getLoc(), "moe_tile_" + shape->getTileName(), tileType,
      [&](CodeBuilder &builder, ValueRange arguments) {
        shape->buildTile(builder, arguments);
      });
  auto packType = LLVM::LLVMFunctionType::get(none, {ptr, ptr, i64});
  packRow = kernel.module.getHelper(
      b.getLoc(), "moe_pack_" + shape->getPackName(), packType,
      [&](CodeBuilder &builder, ValueRange arguments) {
        shape->buildPack(builder, arguments);
      });
}

LogicalResult GemmBuilder::build(GemmTileFactory createTile) {
  if (failed(check(createTile)))
    return failure();
  ArrayRef<Value> pointers = kernel.arguments.pointers;
  unsigned next = 1 + numWeights;
  for (unsigned i = 0; i < op.getBiases().size(); ++i)
    biases.push_back(pointers[next++]);
  if (op.getGather())
    gather = pointers[next++];
  if (op.getSegments())
    segments = pointers[next++];
  outIndex = next;
  // A line more than the row keeps rows out of each other's cache sets.
  panelStride =
      llvm::alignTo(shape->getPanelBytes(std::min(depth, kPanelColumns)), 64) +
      64;
  panel = b.stack(shape->getMaxRows() * panelStride);
  for (int64_t i = 0; i < numWeights; ++i)
    sums.push_back(b.stack(shape->getMaxRows() * kTileColumns * 4));
  getHelpers();

  // Participants form a grid of column parts and row parts; with enough columns
  // there is one row part.
  Value thread = target::abi::getThread(b, kernel.arguments.worker);
  Value threads = target::abi::getThreads(b, kernel.arguments.worker);
  Value one = b.i64(1), zero = b.i64(0), blocks = b.i64(numBlocks);
  Value columnPart = zero, columnParts = one, rowPart = zero, rowParts = one;
  Value isActive;
  switch (op.getTasks()) {
  case moex::Tasks::Columns:
    columnParts = b.min(blocks, threads);
    rowParts = b.div(threads, columnParts);
    columnPart = b.rem(thread, columnParts);
    rowPart = b.div(thread, columnParts);
    isActive = b.lessThan(rowPart, rowParts);
    break;
  case moex::Tasks::Rows:
    rowPart = thread;
    rowParts = threads;
    isActive = b.constant(b.getI1Type(), 1);
    break;
  case moex::Tasks::One:
    isActive = b.compare(arith::CmpIPredicate::eq, thread, zero);
    break;
  }
  TaskRange columns = splitTasks(b, blocks, columnPart, columnParts);
  bool byRows = op.getTasks() == moex::Tasks::Rows;
  Type i32 = b.getI32Type();
  b.ifThen(isActive, [&] {
    if (!segments) {
      SmallVector<Value> matrices(pointers.slice(1, numWeights));
      TaskRange rows = splitTasks(b, kernel.arguments.rows, rowPart, rowParts);
      if (op.getHeads())
        buildHeads(rows, columns, matrices);
      else
        buildSegment(rows, columns, matrices);
      return;
    }
    int64_t experts = kernel.request.operands[1].type.getDimSize(0);
    // Rows of all segments are divided as one range, rows of each segment where
    // columns come first.
    Value total = b.widen(b.load(segments, b.i64(experts), i32));
    TaskRange all = splitTasks(b, total, rowPart, rowParts);
    b.loop(zero, b.i64(experts), 1, [&](Value expert) {
      Value low = b.widen(b.load(segments, expert, i32));
      Value high = b.widen(b.load(segments, b.add(expert, 1), i32));
      TaskRange rows;
      if (byRows) {
        rows = {b.max(low, all.low), b.min(high, all.high)};
      } else {
        TaskRange part = splitTasks(b, b.sub(high, low), rowPart, rowParts);
        rows = {b.add(low, part.low), b.add(low, part.high)};
      }
      b.ifThen(b.lessThan(rows.low, rows.high), [&] {
        // Pointer of the expert's weight in operand `index`.
        auto weightOf = [&](unsigned index) -> Value {
          Value ordinal =
              b.widen(b.load(kernel.arguments.ordinals[index], expert, i32));
          Value place = b.create<LLVM::GEPOp>(
              b.ptrType(), b.ptrType(), pointers[index],
              ArrayRef<LLVM::GEPArg>{LLVM::GEPArg(ordinal)});
          return b.load(place, b.ptrType());
        };
        SmallVector<Value> matrices;
        for (int64_t i = 0; i < numWeights; ++i)
          matrices.push_back(weightOf(1 + i));
        for (auto [i, bias] : llvm::enumerate(biases))
          bias = weightOf(1 + numWeights + i);
        buildSegment(rows, columns, matrices);
      });
    });
  });
  return status;
}

/// The heads whose columns this participant has, wholly or in part. A block that
/// two heads share is computed for each, and each stores its own columns.
void GemmBuilder::buildHeads(TaskRange rows, TaskRange columns,
                             ArrayRef<Value> matrices) {
  int64_t headWidth = width / heads;
  Value first = b.div(b.mul(columns.low, kLanes), headWidth);
  Value end = b.min(
      b.div(b.add(b.mul(columns.high, kLanes), headWidth - 1), headWidth),
      b.i64(heads));
  b.loop(first, end, 1, [&](Value index) {
    head = index;
    own = {b.mul(index, headWidth), b.mul(b.add(index, 1), headWidth)};
    TaskRange blocks = {
        b.max(columns.low, b.div(own.low, kLanes)),
        b.min(columns.high, b.div(b.add(own.high, kLanes - 1), kLanes))};
    buildSegment(rows, blocks, matrices);
  });
}

void GemmBuilder::buildSegment(TaskRange rows, TaskRange columns,
                               ArrayRef<Value> matrices) {
  // Many rows pass over few columns at a time, whose weights stay in the cache;
  // few rows are packed once for all columns.
  int64_t blockBytes = shape->getWeightBytes(depth) * numWeights;
  int64_t cached = std::max<int64_t>(4, kCachedWeights / blockBytes / 4 * 4);
  Value isOneTile =
      b.compare(arith::CmpIPredicate::sle, b.sub(rows.high, rows.low),
                b.i64(shape->getMaxRows()));
  Value step = b.select(isOneTile, b.i64(numBlocks), b.i64(cached));
  b.loop(columns.low, columns.high, step, [&](Value start) {
    TaskRange chunk = {start, b.min(b.add(start, step), columns.high)};
    b.loop(rows.low, rows.high, shape->getMaxRows(), [&](Value row) {
      Value tileRows = b.min(b.sub(rows.high, row), b.i64(shape->getMaxRows()));
      buildTile(row, tileRows, chunk, matrices);
    });
  });
}

void GemmBuilder::pack(Value row, Value tileRows, Value start, Value count) {
  b.loop(b.i64(0), tileRows, 1, [&](Value i) {
    Value source = b.add(row, i);
    if (gather)
      source = b.widen(b.load(gather, source, b.getI32Type()));
    Value column = head ? b.add(b.mul(head, depth), start) : start;
    Value from = b.element(rowPointer(kernel, 0, source), column, xType);
    Value to = b.element(panel, b.mul(i, panelStride), b.getI8Type());
    b.create<LLVM::CallOp>(packRow, ValueRange{to, from, count});
  });
}

void GemmBuilder::buildTile(Value row, Value tileRows, TaskRange columns,
                            ArrayRef<Value> matrices) {
  bool fitsPanel = depth <= kPanelColumns;
  Value zero = b.i64(0);
  if (fitsPanel)
    pack(row, tileRows, zero, b.i64(depth));
  Value together = b.i64(shape->getBlocks(shape->getMaxRows()));
  for (int64_t n = 1; n < shape->getMaxRows(); ++n)
    together = b.select(
        b.compare(arith::CmpIPredicate::eq, tileRows, b.i64(n)),
        b.i64(shape->getBlocks(n)), together);
  int64_t blockBytes = shape->getWeightBytes(depth);
  b.loop(columns.low, columns.high, together, [&](Value block) {
    Value blocks = b.min(together, b.sub(columns.high, block));
    Value first = b.mul(block, blockBytes);
    for (int64_t i = 0; i < numWeights; ++i) {
      auto multiply = [&](Value start, Value count, Value isFirst) {
        Value place = b.mul(b.div(start, kPanelColumns),
                            shape->getWeightBytes(kPanelColumns));
        Value weights =
            b.element(matrices[i], b.add(first, place), b.getI8Type());
        b.create<LLVM::CallOp>(
            tile, ValueRange{panel, b.i64(panelStride), weights,
                             b.i64(blockBytes), sums[i], count, isFirst,
                             tileRows, blocks});
      };
      if (fitsPanel) {
        multiply(zero, b.i64(depth), b.constant(b.getI1Type(), 1));
        continue;
      }
      b.loop(zero, b.i64(depth), kPanelColumns, [&](Value start) {
        Value count = b.min(b.i64(kPanelColumns), b.sub(b.i64(depth), start));
        pack(row, tileRows, start, count);
        multiply(start, count,
                 b.compare(arith::CmpIPredicate::eq, start, zero));
      });
    }
    buildEpilogue(row, tileRows, block, blocks);
  });
}

void GemmBuilder::buildEpilogue(Value row, Value tileRows, Value block,
                                Value blocks) {
  int64_t rest = width % kLanes;
  b.loop(b.i64(0), tileRows, 1, [&](Value tileRow) {
    b.loop(b.i64(0), blocks, 1, [&](Value part) {
      Value number = b.add(block, part);
      Value column = b.mul(number, kLanes);
      auto whole = [&] { storeBlock(row, tileRow, part, column, kLanes); };
      if (op.getHeads() && width / heads % kLanes != 0)
        return storeOwn(row, tileRow, part, column);
      if (rest == 0)
        return whole();
      Value isWhole = b.lessThan(number, b.i64(numBlocks - 1));
      b.ifElse(isWhole, whole,
               [&] { storeBlock(row, tileRow, part, column, rest); });
    });
  });
}

/// Of a block, the columns of the present head.
void GemmBuilder::storeOwn(Value row, Value tileRow, Value part,
                           Value column) {
  Type type = kernel.request.operands[outIndex].getElementType();
  Value place = b.add(b.mul(tileRow, kTileColumns), b.mul(part, kLanes));
  Value out = rowPointer(kernel, outIndex, b.add(row, tileRow));
  b.loop(b.max(column, own.low), b.min(b.add(column, kLanes), own.high), 1,
         [&](Value i) {
           Value sum = b.load(sums[0], b.add(place, b.sub(i, column)),
                              b.getF32Type());
           b.store(b.fromF32(sum, type), out, i);
         });
}

void GemmBuilder::storeBlock(Value row, Value tileRow, Value part, Value column,
                             int64_t active) {
  CodeBuilder::Values values;
  for (int64_t i = 0; i < numWeights; ++i) {
    Value place =
        b.add(b.mul(tileRow, kTileColumns), b.mul(part, kLanes));
    Value sum = b.loadLanes(sums[i], place, b.getF32Type());
    if (!biases.empty()) {
      Type type = kernel.request.operands[1 + numWeights + i].getElementType();
      Value bias = b.toF32(b.loadLanes(biases[i], column, type, active));
      sum = b.create<arith::AddFOp>(sum, bias);
    }
    values.push_back(sum);
  }
  Value result = values[0];
  if (!op.getEpilogue().empty()) {
    FailureOr<CodeBuilder::Values> results =
        b.vectorize(op.getEpilogue().front(), values, kLanes,
                    [](Value) { return Value(); });
    if (failed(results)) {
      status = failure();
      return;
    }
    result = b.splat(results->front());
  }
  Type type = kernel.request.operands[outIndex].getElementType();
  b.storeLanes(b.fromF32(result, type),
               rowPointer(kernel, outIndex, b.add(row, tileRow)), column,
               active);
}

LogicalResult generic::emitGemm(Kernel &kernel, moex::GroupedGemmOp op,
                                GemmTileFactory createTile) {
  return GemmBuilder(kernel, op).build(createTile);
}
