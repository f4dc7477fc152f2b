//===- Gemm.cpp - Matrix products over row blocks -------------------------===//
//
// A tile is up to six rows by one block of 16 output columns (several blocks for
// one or two rows, so that enough chains run side by side). Its rows are copied
// into a panel once: gathered, converted to f32, rounded to `compute`. Then the
// tile keeps one accumulator per output and walks the contraction index upwards,
// which is the whole of the numerics contract: every split of rows, columns and
// the index into chunks gives the same bits.
//
//===----------------------------------------------------------------------===//
#include "compiler/targets/generic/Kernels.h"

#include "dialects/moeq/MoeqDialect.h"
#include "passes/target/StepFunctions.h"

using namespace mlir;
using namespace moec;
using namespace moec::generic;

namespace {

/// Rows of the largest tile: 12 accumulators of two vectors.
constexpr int64_t kTileRows = 6;
/// Columns between rows of the accumulator buffer: four blocks.
constexpr int64_t kTileColumns = 64;
/// Contraction indices per panel: bounds the stack at 6 * 16 KiB.
constexpr int64_t kPanelColumns = 4096;
/// Bytes of weights that a pass over many rows should find in the cache.
constexpr int64_t kCachedWeights = 256 * 1024;

/// Blocks of columns that a tile of few rows takes at once.
int64_t blocksOfTile(const target::IsaLevel &level, int64_t rows) {
  // 8 accumulators each.
  int64_t perBlock = kLanes * 4 / level.vectorBytes;
  return std::max<int64_t>(1, 8 / (perBlock * rows));
}

/// Builds the function of one tile:
///   void tile(ptr panel, i64 panelStride, ptr weights, i64 blockStride,
///             ptr sums, i64 count, i1 first, i64 rows, i64 blocks)
/// which adds `count` products to each sum, or starts at zero if `first`.
class TileBuilder {
public:
  TileBuilder(CodeBuilder &b, const target::IsaLevel &level, Type weightType,
              bool roundWeights, ValueRange arguments)
      : b(b), level(level), weightType(weightType), roundWeights(roundWeights),
        panel(arguments[0]), panelStride(arguments[1]), weights(arguments[2]),
        blockStride(arguments[3]), sums(arguments[4]), count(arguments[5]),
        first(arguments[6]), rows(arguments[7]), blocks(arguments[8]),
        lanes(level.vectorBytes / 4) {}

  void build() {
    buildRows(1);
    b.create<LLVM::ReturnOp>(ValueRange());
  }

private:
  /// The tile of `tileRows` rows, or one with more.
  void buildRows(int64_t tileRows) {
    if (tileRows == kTileRows)
      return buildBlocks(tileRows);
    Value isThis =
        b.compare(arith::CmpIPredicate::eq, rows, b.i64(tileRows));
    b.ifElse(
        isThis, [&] { buildBlocks(tileRows); },
        [&] { buildRows(tileRows + 1); });
  }

  void buildBlocks(int64_t tileRows) {
    int64_t together = blocksOfTile(level, tileRows);
    auto oneByOne = [&] {
      b.loop(b.i64(0), blocks, 1,
             [&](Value block) { buildTile(tileRows, block, 1); });
    };
    if (together == 1)
      return oneByOne();
    Value isWhole =
        b.compare(arith::CmpIPredicate::eq, blocks, b.i64(together));
    b.ifElse(
        isWhole, [&] { buildTile(tileRows, b.i64(0), together); }, oneByOne);
  }

  /// `tileRows` rows by the columns of `numBlocks` blocks from `block` on.
  void buildTile(int64_t tileRows, Value block, int64_t numBlocks) {
    // 16 registers hold the accumulators, the weights (one at a time if there is
    // one row), an element of the panel and a product: with short vectors many
    // rows take a block in two halves.
    int64_t columns = numBlocks * kLanes;
    int64_t width = columns;
    auto registers = [&] {
      int64_t vectors = width / lanes;
      return tileRows * vectors + (tileRows > 1 ? vectors : 1) +
             (level.hasFma ? 1 : 2);
    };
    while (registers() > 16)
      width /= 2;
    for (int64_t column = 0; column < columns; column += width)
      buildPart(tileRows, block, column, width);
  }

  void buildPart(int64_t tileRows, Value block, int64_t column,
                 int64_t width) {
    int64_t vectors = width / lanes;
    VectorType type = b.vectorOf(b.getF32Type(), lanes);
    Value start = b.add(b.mul(block, kLanes), column);
    auto sumPlace = [&](int64_t row, int64_t vector) {
      return b.element(sums,
                       b.add(start, row * kTileColumns + vector * lanes),
                       b.getF32Type());
    };
    CodeBuilder::Values init = b.choose(
        first,
        [&]() -> CodeBuilder::Values {
          return CodeBuilder::Values(tileRows * vectors, b.constant(type, 0.0));
        },
        [&]() -> CodeBuilder::Values {
          CodeBuilder::Values values;
          for (int64_t row = 0; row < tileRows; ++row)
            for (int64_t vector = 0; vector < vectors; ++vector)
              values.push_back(b.load(sumPlace(row, vector), type));
          return values;
        });
    SmallVector<Value> rowPointers, blockPointers;
    for (int64_t row = 0; row < tileRows; ++row)
      rowPointers.push_back(b.element(panel, b.mul(panelStride, row),
                                      b.getF32Type()));
    for (int64_t part = column / kLanes * kLanes; part < column + width;
         part += kLanes) {
      Value index = b.mul(b.add(block, part / kLanes), blockStride);
      blockPointers.push_back(b.element(weights, index, weightType));
    }
    auto step = [&](Value k, ValueRange carried) -> CodeBuilder::Values {
      SmallVector<Value> w = loadWeights(blockPointers, k, column % kLanes,
                                         width);
      CodeBuilder::Values next;
      for (int64_t row = 0; row < tileRows; ++row) {
        Value x = b.splat(b.load(rowPointers[row], k, b.getF32Type()), lanes);
        for (int64_t vector = 0; vector < vectors; ++vector)
          next.push_back(b.mulAdd(x, w[vector],
                                  carried[row * vectors + vector],
                                  level.hasFma));
      }
      return next;
    };
    CodeBuilder::Values results =
        b.loop(b.i64(0), count, b.i64(1), init, step);
    for (int64_t row = 0; row < tileRows; ++row)
      for (int64_t vector = 0; vector < vectors; ++vector)
        b.store(results[row * vectors + vector], sumPlace(row, vector));
  }

  /// The weights of index `k` of `width` columns, from `column` of the first
  /// block on, as vectors of f32.
  SmallVector<Value> loadWeights(ArrayRef<Value> blockPointers, Value k,
                                 int64_t column, int64_t width) {
    SmallVector<Value> vectors;
    Value line = b.mul(k, kLanes);
    // 8 at a time: one register of 16-bit codes.
    for (int64_t part = 0; part < width; part += 8) {
      int64_t place = column + part;
      Value index = b.add(line, place % kLanes);
      Value pointer = blockPointers[place / kLanes];
      if (weightType.isBF16() && lanes == 4) {
        // The codes are the upper halves of f32: interleaving with zeros is one
        // instruction, widening and shifting would be two.
        Type i16 = b.getIntegerType(16);
        Value codes = b.loadLanes(pointer, index, i16, 8, 8);
        Value zero = b.constant(b.vectorOf(i16, 8), 0);
        for (int64_t half : {0, 4}) {
          SmallVector<int64_t> mask;
          for (int64_t lane = half; lane < half + 4; ++lane)
            mask.append({lane, 8 + lane});
          vectors.push_back(b.create<LLVM::BitcastOp>(
              b.vectorOf(b.getF32Type(), 4), b.shuffle(zero, codes, mask)));
        }
        continue;
      }
      Value w = b.toF32(b.loadLanes(pointer, index, weightType, 8, 8));
      if (roundWeights)
        w = b.toF32(b.fromF32(w, b.getBF16Type()));
      for (int64_t lane = 0; lane < 8; lane += lanes)
        vectors.push_back(b.slice(w, lane, lanes));
    }
    return vectors;
  }

  CodeBuilder &b;
  const target::IsaLevel &level;
  Type weightType;
  bool roundWeights;
  Value panel, panelStride, weights, blockStride, sums, count, first, rows,
      blocks;
  int64_t lanes;
};

std::string nameOf(Type type) {
  return type.isF32() ? "f32" : type.isBF16() ? "bf16" : "f16";
}

/// Builds one kernel of `moex.grouped_gemm`.
class GemmBuilder {
public:
  GemmBuilder(Kernel &kernel, moex::GroupedGemmOp op)
      : kernel(kernel), op(op), b(kernel.b),
        xType(kernel.request.operands[0].getElementType()),
        weightType(kernel.request.operands[1].getElementType()),
        roundToBf16(op.getCompute().isBF16()),
        depth(kernel.request.operands[0].type.getDimSize(1)),
        width(cast<MemRefType>(op.getOut().getType()).getDimSize(1)),
        numBlocks(llvm::divideCeil(width, kLanes)),
        numWeights(op.getWeights().size()) {}

  LogicalResult build();

private:
  LogicalResult check();
  LLVM::LLVMFuncOp getTile();
  LLVM::LLVMFuncOp getPack();
  /// Rows [rows.low, rows.high) times all of this participant's columns.
  void buildSegment(TaskRange rows, TaskRange columns, ArrayRef<Value> matrices);
  void buildTile(Value row, Value tileRows, TaskRange columns,
                 ArrayRef<Value> matrices);
  void pack(Value row, Value tileRows, Value start, Value count);
  void buildEpilogue(Value row, Value tileRows, Value block, Value blocks);
  void storeBlock(Value row, Value tileRow, Value part, Value column,
                  int64_t active);

  Kernel &kernel;
  moex::GroupedGemmOp op;
  CodeBuilder &b;
  Type xType, weightType;
  bool roundToBf16;
  int64_t depth, width, numBlocks, numWeights;
  /// Pointers of the operands that are there.
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

LogicalResult GemmBuilder::check() {
  auto wanted = moeq::RowBlocksLayoutAttr::get(op.getContext(), kLanes);
  for (int64_t i = 0; i < numWeights; ++i) {
    unsigned index = 1 + i;
    if (failed(requireLayout(kernel.request, index, wanted)))
      return failure();
    const KernelOperand &operand = kernel.request.operands[index];
    auto isFloat = [](Type type) {
      return type.isF32() || type.isBF16() || type.isF16();
    };
    if (!isFloat(operand.getElementType()))
      return op.emitOpError("expected weights of f32, bf16 or f16, found ")
             << operand.getElementType();
    KernelOperand::Kind kind =
        op.getSegments() ? KernelOperand::Experts : KernelOperand::Weight;
    if (operand.kind != kind)
      return op.emitOpError("expected weights of ")
             << (op.getSegments() ? "moex.expert_weights" : "moex.weight")
             << ", found other memory";
  }
  for (auto [i, bias] : llvm::enumerate(op.getBiases()))
    if (failed(requireLayout(kernel.request, 1 + numWeights + i, {})))
      return failure();
  return success();
}

LLVM::LLVMFuncOp GemmBuilder::getTile() {
  MLIRContext *context = op.getContext();
  Type ptr = b.ptrType(), i64 = b.getI64Type();
  auto type = LLVM::LLVMFunctionType::get(
      LLVM::LLVMVoidType::get(context),
      {ptr, i64, ptr, i64, ptr, i64, b.getI1Type(), i64, i64});
  // Rounding a bf16 weight to bf16 changes nothing.
  bool roundWeights = roundToBf16 && !weightType.isBF16();
  std::string name = "moe_tile_" + nameOf(weightType) +
                     (roundWeights ? "_to_bf16" : "");
  return kernel.module.getHelper(
      b.getLoc(), name, type, [&](CodeBuilder &builder, ValueRange arguments) {
        TileBuilder(builder, kernel.getLevel(), weightType, roundWeights,
                    arguments)
            .build();
      });
}

/// void pack(ptr to, ptr from, i64 count): converts a row for the panel.
LLVM::LLVMFuncOp GemmBuilder::getPack() {
  Type ptr = b.ptrType();
  auto type = LLVM::LLVMFunctionType::get(
      LLVM::LLVMVoidType::get(op.getContext()), {ptr, ptr, b.getI64Type()});
  bool roundX = roundToBf16 && !xType.isBF16();
  std::string name =
      "moe_pack_" + nameOf(xType) + (roundX ? "_to_bf16" : "");
  return kernel.module.getHelper(
      b.getLoc(), name, type, [&](CodeBuilder &p, ValueRange arguments) {
        Value to = arguments[0], from = arguments[1], count = arguments[2];
        auto converted = [&](Value x) {
          x = p.toF32(x);
          return roundX ? p.toF32(p.fromF32(x, p.getBF16Type())) : x;
        };
        Value whole = p.mul(p.div(count, kLanes), kLanes);
        p.loop(p.i64(0), whole, kLanes, [&](Value i) {
          p.storeLanes(converted(p.loadLanes(from, i, xType)), to, i);
        });
        p.loop(whole, count, 1, [&](Value i) {
          p.store(converted(p.load(from, i, xType)), to, i);
        });
        p.create<LLVM::ReturnOp>(ValueRange());
      });
}

LogicalResult GemmBuilder::build() {
  if (failed(check()))
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
  panelStride = llvm::alignTo(std::min(depth, kPanelColumns), kLanes) + kLanes;
  panel = b.stack(kTileRows * panelStride * 4);
  for (int64_t i = 0; i < numWeights; ++i)
    sums.push_back(b.stack(kTileRows * kTileColumns * 4));
  tile = getTile();
  packRow = getPack();

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
      buildSegment(splitTasks(b, kernel.arguments.rows, rowPart, rowParts),
                   columns, matrices);
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
        SmallVector<Value> matrices;
        for (int64_t i = 0; i < numWeights; ++i) {
          Value ordinal = b.widen(
              b.load(kernel.arguments.ordinals[1 + i], expert, i32));
          Value place = b.create<LLVM::GEPOp>(
              b.ptrType(), b.ptrType(), pointers[1 + i],
              ArrayRef<LLVM::GEPArg>{LLVM::GEPArg(ordinal)});
          matrices.push_back(b.load(place, b.ptrType()));
        }
        buildSegment(rows, columns, matrices);
      });
    });
  });
  return status;
}

void GemmBuilder::buildSegment(TaskRange rows, TaskRange columns,
                               ArrayRef<Value> matrices) {
  // Many rows pass over few columns at a time, whose weights stay in the cache;
  // few rows are packed once for all columns.
  int64_t blockBytes = depth * kLanes * numWeights *
                       CodeBuilder::byteSize(weightType);
  int64_t cached = std::max<int64_t>(4, kCachedWeights / blockBytes / 4 * 4);
  Value isOneTile =
      b.compare(arith::CmpIPredicate::sle, b.sub(rows.high, rows.low),
                b.i64(kTileRows));
  Value step = b.select(isOneTile, b.i64(numBlocks), b.i64(cached));
  b.loop(columns.low, columns.high, step, [&](Value start) {
    TaskRange chunk = {start, b.min(b.add(start, step), columns.high)};
    b.loop(rows.low, rows.high, kTileRows, [&](Value row) {
      Value tileRows = b.min(b.sub(rows.high, row), b.i64(kTileRows));
      buildTile(row, tileRows, chunk, matrices);
    });
  });
}

void GemmBuilder::pack(Value row, Value tileRows, Value start, Value count) {
  b.loop(b.i64(0), tileRows, 1, [&](Value i) {
    Value source = b.add(row, i);
    if (gather)
      source = b.widen(b.load(gather, source, b.getI32Type()));
    Value from = b.element(rowPointer(kernel, 0, source), start, xType);
    Value to = b.element(panel, b.mul(i, panelStride), b.getF32Type());
    b.create<LLVM::CallOp>(packRow, ValueRange{to, from, count});
  });
}

void GemmBuilder::buildTile(Value row, Value tileRows, TaskRange columns,
                            ArrayRef<Value> matrices) {
  bool fitsPanel = depth <= kPanelColumns;
  Value zero = b.i64(0);
  if (fitsPanel)
    pack(row, tileRows, zero, b.i64(depth));
  auto isRows = [&](int64_t n) {
    return b.compare(arith::CmpIPredicate::eq, tileRows, b.i64(n));
  };
  Value together = b.select(
      isRows(1), b.i64(blocksOfTile(kernel.getLevel(), 1)),
      b.select(isRows(2), b.i64(blocksOfTile(kernel.getLevel(), 2)),
               b.i64(1)));
  b.loop(columns.low, columns.high, together, [&](Value block) {
    Value blocks = b.min(together, b.sub(columns.high, block));
    Value first = b.mul(block, depth * kLanes);
    for (int64_t i = 0; i < numWeights; ++i) {
      auto multiply = [&](Value start, Value count, Value isFirst) {
        Value weights =
            b.element(matrices[i], b.add(first, b.mul(start, kLanes)),
                      weightType);
        b.create<LLVM::CallOp>(
            tile, ValueRange{panel, b.i64(panelStride), weights,
                             b.i64(depth * kLanes), sums[i], count, isFirst,
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
      if (rest == 0)
        return whole();
      Value isWhole = b.lessThan(number, b.i64(numBlocks - 1));
      b.ifElse(isWhole, whole,
               [&] { storeBlock(row, tileRow, part, column, rest); });
    });
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

LogicalResult generic::emitGemm(Kernel &kernel, moex::GroupedGemmOp op) {
  return GemmBuilder(kernel, op).build();
}
