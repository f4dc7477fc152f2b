//===- MmaAttention.h - Attention on tensor cores of sm_80 ------*- C++ -*-===//
//
// Queries of one key head make a tile: some tokens of a sequence by its query
// heads. Scores are products of bf16 or f16, as the operation says; weights are
// f32 and are multiplied as the sum of some such numbers, so that nothing is
// rounded that must not be. Some keys are copied asynchronously while others
// are worked on.
//
// `many`: 64 rows, 16 for each warp, a warp has all keys of a step; wide values
// are divided among two warps that compute the same weights. `few`, for
// sequences of a few tokens, and for all where heads are too wide for `many`:
// 16 rows, a warp has a quarter of the keys for the scores and a quarter of the
// columns of the values; copies run further ahead, since reading is all that
// costs. Long sequences are divided among several blocks of `few`, whose sums
// `merge` adds. A step is a block of keys, or half of one where memory is
// short.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_TARGETS_NVPTX_KERNELS_MMAATTENTION_H
#define MOEC_COMPILER_TARGETS_NVPTX_KERNELS_MMAATTENTION_H

#include "compiler/targets/nvptx/kernels/AttentionFrame.h"

namespace moec::nvptx {

/// Warps of `few`, and those of `many` that have different rows.
constexpr int64_t kWarps = 4;
/// Sizes of a kernel. Columns are padded with zeros.
struct MmaSizes {
  /// Nothing where registers or shared memory are too small.
  static std::optional<MmaSizes> many(const AttentionShape &shape);
  static std::optional<MmaSizes> few(const AttentionShape &shape);

  /// Of a tile; query heads of a tile, the tiles that the heads of a key head
  /// make, tokens.
  int64_t rows, heads, parts, tokens;
  int64_t keyColumns, valueColumns;
  /// Keys that are copied together: a block of them or half of one.
  int64_t stepKeys = kBlockKeys;
  /// Values are columns of the keys, which are copied once.
  bool isShared = false;
  /// Warps that have the same rows but other columns of the values.
  int64_t valueParts = 1;
  /// Numbers that a weight is the sum of: three bf16, of 8 bits each, or two
  /// f16, of 11.
  int64_t weightParts = 3;
  /// Of keys and values, in shared memory.
  int64_t stages = 1;
  int64_t sharedBytes = 0;

  int64_t getThreads() const { return kWarps * valueParts * kWarp; }
  /// 16 bytes more than a row keep rows out of each other's banks.
  int64_t getKeyPitch() const {
    return (isShared ? std::max(keyColumns, valueColumns) : keyColumns) * 2 +
           16;
  }
  int64_t getValuePitch() const {
    return isShared ? getKeyPitch() : valueColumns * 2 + 16;
  }
  int64_t getQueryBytes() const { return rows * getKeyPitch(); }
  int64_t getKeyBytes() const { return stepKeys * getKeyPitch(); }
  int64_t getValueBytes() const { return stepKeys * getValuePitch(); }

  /// Of `few`: bytes between rows of weights, before the stages, of a stage.
  int64_t getWeightPitch() const { return stepKeys * 2 + 16; }
  int64_t getFixedBytes() const {
    return getQueryBytes() + weightParts * rows * getWeightPitch() +
           kWarps * rows * 4;
  }
  int64_t getStageBytes() const {
    return getKeyBytes() + (isShared ? 0 : getValueBytes());
  }
  /// Elements of what a block leaves for `merge`: weighted values, maxima and
  /// sums of weights of its rows.
  int64_t getPartialElements() const { return rows * (valueColumns + 2); }

private:
  MmaSizes(const AttentionShape &shape, int64_t tileRows);
};

/// Builds one of the kernels.
class MmaAttention {
public:
  MmaAttention(CodeBuilder &b, const KernelArguments &arguments,
               const AttentionShape &shape, const MmaSizes &sizes)
      : b(b), arguments(arguments), shape(shape), sizes(sizes),
        frame(b, arguments, shape), element(shape.getOp().getCompute()),
        f32(b.getF32Type()), i32(b.getI32Type()) {}

  void buildMany(int64_t fewTokens);
  /// `hasMany`: sequences of many tokens are not for this kernel.
  void buildFew(bool hasMany);
  void buildMerge(bool hasMany);

  /// Threads of `merge`, and its dynamic shared memory.
  static constexpr int64_t kMergeThreads = 128;
  static int64_t getMergeBytes();
  /// The launches of `few`, for short sequences or for all.
  static Launches getFewLaunches(const AttentionShape &shape,
                                 const MmaSizes &sizes, bool hasMany);

private:
  using Values = CodeBuilder::Values;

  /// A row of a tile that this thread has accumulators of.
  struct Row {
    Value isThere, token, head;
    /// Its token, from the tile's first on.
    Value before;
    /// The positions that it sees, as i32.
    Value low, high;
  };
  /// What is carried from block to block for the two rows of a thread.
  struct Sums {
    Value maxima[2], totals[2];
    Values values;

    Values pack() const {
      Values all = {maxima[0], maxima[1], totals[0], totals[1]};
      all.append(values);
      return all;
    }
    static Sums unpack(mlir::ValueRange all) {
      Sums sums;
      for (int64_t i : {0, 1}) {
        sums.maxima[i] = all[i];
        sums.totals[i] = all[2 + i];
      }
      mlir::ValueRange rest = all.drop_front(4);
      sums.values.append(rest.begin(), rest.end());
      return sums;
    }
  };
  /// Parts of the weights of 16 keys as left operands, the largest first; those
  /// of the keys from `key` on.
  using WeightParts = llvm::SmallVector<Values, 3>;
  using Weights = llvm::function_ref<WeightParts(int64_t key)>;
  /// What the host starts of `few`, and what of it belongs to a tile.
  struct Splits {
    Value tiles, splits;
  };

  void start();
  /// The tile's tokens and the keys that they see.
  void placeTile(Value firstToken, Value count);
  /// The two rows of this thread; the queries.
  void startTile(Value firstRow);
  /// A row, but for what it sees.
  Row placeRow(Value number);
  /// The two rows of a lane, those of the warp begin at `firstRow`.
  void placeRows(Value firstRow, Value lane, Row (&rows)[2]);
  /// The same for this lane, computed again rather than kept in registers
  /// through the loop over keys, of which there are hardly enough.
  void placeRowsAnew(Value firstRow, Row (&rows)[2]);
  Sums startSums(int64_t valueTiles);

  //===--------------------------------------------------------------------===//
  // Copies
  //===--------------------------------------------------------------------===//

  void loadQueries();
  /// Calls `body` for the 16-byte chunks of `count` rows of `width` numbers
  /// that are this thread's: the row, and offsets in elements of the chunk in a
  /// row.
  void forChunks(int64_t count, int64_t width,
                 llvm::function_ref<void(int64_t, Value, Value)> body);
  /// Copies 8 elements of a head of `width`, rounded to `element`; zeros behind
  /// the width and where it is not there. `isAligned`: `from` is, to 16 bytes.
  void copyChunk(Value to, Value from, Type type, Value column, int64_t width,
                 Value isThere, bool isAligned);
  /// Copies keys or values of a step.
  void copyStep(unsigned index, int64_t width, int64_t stride, int64_t columns,
                int64_t pitch, Value to, Value step);
  void copyKeys(Value to, Value step);
  void copyValues(Value to, Value step);

  //===--------------------------------------------------------------------===//
  // Products
  //===--------------------------------------------------------------------===//

  /// Dot products of 16 rows of queries, from `warpRow` on, and `keys` keys,
  /// 8 or a multiple of 16, from `key` on: four sums per 8 keys.
  Values multiplyKeys(Value keysAt, Value warpRow, Value key, int64_t keys);
  /// Scores, in place, and the largest of the lane's quad per row; `first` is
  /// the position of the first key.
  void maskScores(llvm::MutableArrayRef<Value> scores, Value first,
                  Value (&maxima)[2]);
  /// Turns scores into weights and rescales the sums.
  void weigh(llvm::MutableArrayRef<Value> scores, Sums &sums,
             const Value (&maxima)[2]);
  /// Two weights as pairs of `element`: the rounded ones, what they lack, and
  /// so on.
  Values splitWeights(Value x, Value y);
  /// Takes back what splitWeights() multiplied weights by.
  void unscale(Sums &sums);
  /// Adds weights times values of a step to sums of `columns` columns from
  /// `firstColumn` on, for 16 rows from `warpRow` on.
  void addValues(Value valuesAt, Value step, Weights weights, Value warpRow,
                 Value firstColumn, int64_t columns, Values &sums);
  /// The same of 16 keys; with `masks`, bits of the two registers of a right
  /// operand, only those values count.
  void multiplyValues(Value valuesAt, int64_t key, const WeightParts &parts,
                      Value firstColumn, int64_t columns,
                      llvm::ArrayRef<Value> masks, Values &sums);
  /// The bits of a pair of values, of `key` and the next, that count.
  Value maskPair(const AttentionFrame::Range &seen, Value key);
  /// Whether a row of the warp does not see keys of a step that another row of
  /// the tile sees, and a value of those is no finite number.
  Value meetsUndefined(Value valuesAt, Value step, Value firstColumn,
                       int64_t columns);
  Value sumQuad(Value x) {
    for (int64_t mask : {1, 2})
      x = b.create<mlir::arith::AddFOp>(x, shuffleXor(b, x, mask));
    return x;
  }
  void store(const Sums &sums, const Value (&totals)[2], Value firstColumn);

  //===--------------------------------------------------------------------===//
  // Splits
  //===--------------------------------------------------------------------===//

  static Splits countSplits(CodeBuilder &b, const AttentionShape &shape,
                            const MmaSizes &sizes, bool hasMany,
                            const target::StepSizes &step);
  SegmentTile findFewTile(bool hasMany);
  /// The work of a block of `few` on keys low .. high - 1.
  void buildSplit(Value splits, Value split);
  /// Blocks of keys of a split, when there are `splits` of them.
  Value getSplitBlocks(Value splits);
  /// Where a split of this block's tile leaves its results.
  Value getPartial(Value splits, Value split);
  void storePartial(const Sums &sums, const Value (&totals)[2], Value to,
                    Value firstColumn);
  void mergeRow(Value row, Value splits);

  Value at(Value pointer, Value offset) {
    return b.element(pointer, offset, b.getI8Type());
  }
  Value narrow(Value x) { return b.create<mlir::arith::TruncIOp>(i32, x); }
  Value both(Value x, Value y) { return b.create<mlir::arith::AndIOp>(x, y); }

  CodeBuilder &b;
  const KernelArguments &arguments;
  const AttentionShape &shape;
  const MmaSizes &sizes;
  AttentionFrame frame;
  /// What products are of.
  Type element;
  Type f32, i32;
  Value thread, lane, warp, kvHead, firstHead;
  /// The tile: its first token and position, rows, the positions that any of
  /// them sees.
  Value sequence, token, position, rowCount, low, high;
  Row rows[2];
  Value queries;
};

} // namespace moec::nvptx

#endif // MOEC_COMPILER_TARGETS_NVPTX_KERNELS_MMAATTENTION_H
