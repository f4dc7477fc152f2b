//===- AttentionTile.h - The inner loops of attention -----------*- C++ -*-===//
//
// Attention is built in two parts, like matrix products. The frame
// (Attention.cpp) divides queries among participants, walks the keys in blocks
// of 64 positions and keeps the running maximum and sum of each row. The tiles,
// described here, turn a block of keys into lines of 64 keys, multiply a few
// rows of queries by them, and add the weighted values to a few rows.
//
// Orders of summation: a score is one ascending chain over the elements of a
// head, a weighted value one ascending chain over the keys that its row sees.
// Neither depends on how many rows a tile has, nor on which.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_TARGETS_GENERIC_ATTENTIONTILE_H
#define MOEC_COMPILER_TARGETS_GENERIC_ATTENTIONTILE_H

#include "compiler/targets/generic/Kernels.h"

#include "runtime/abi/moe_abi.h"

#include <memory>
#include <string>

namespace moec::generic {

/// Keys of a block: those of a page.
constexpr int64_t kBlockKeys = MOE_PAGE_TOKENS;
/// Most rows of a tile.
constexpr int64_t kAttentionRows = 6;
/// Most rows of a task: turning a block of keys into lines is shared by them.
constexpr int64_t kTaskRows = 8 * kAttentionRows;

/// What a task knows of its rows, a number for each.
class AttentionRows {
public:
  static constexpr int64_t kBytes = kTaskRows * (2 * 8 + 5 * 4);

  AttentionRows(CodeBuilder &b, Value pointer);

  /// The keys of a block that a row sees, from `low` to `high` - 1: none unless
  /// `low` is less. `base` is the position of the block's first key.
  std::pair<Value, Value> seenBy(CodeBuilder &b, Value base, Value row) const;

  Value pointer;
  /// i64: the positions that a row sees.
  Value lows, highs;
  /// f32: the running maximum and the running sum of weights, and of the
  /// present block its maximum, what is subtracted from its scores, and the
  /// factor of older sums.
  Value maxima, totals, blockMaxima, shifts, corrections;
};

/// void softmax(ptr rows, ptr scores, ptr sums, i64 base, i64 count): turns
/// scores[row][key], dot products of a block, into weights, and rescales
/// sums[row] and what is known of the rows. `valueStride` is that of sums.
mlir::LLVM::LLVMFuncOp getAttentionSoftmax(CodeBuilder &b, KernelModule &module,
                                           moex::AttentionOp op,
                                           int64_t valueStride);

/// How a level multiplies queries and keys: with words of 32 bits, each one or
/// two adjacent elements of a head.
class ScoreArithmetic {
public:
  virtual ~ScoreArithmetic();

  /// Distinguishes helper functions.
  virtual std::string getName() const = 0;
  /// Elements of a word: 1, an f32, or 2 in an i32.
  virtual int64_t getPack() const = 0;
  /// A vector of elements of any float type, rounded, as words.
  virtual Value toWords(CodeBuilder &b, Value elements) const = 0;
  /// `sum` plus the products of the elements of two words, lane by lane.
  virtual Value multiplyAdd(CodeBuilder &b, Value x, Value y,
                            Value sum) const = 0;

  Type getWordType(CodeBuilder &b) const {
    return getPack() == 1 ? Type(b.getF32Type()) : Type(b.getI32Type());
  }
  /// Words of `elements` elements.
  int64_t getWords(int64_t elements) const {
    return llvm::divideCeil(elements, getPack());
  }
};

/// One f32 per word, rounded to `compute`, by multiplications and additions
/// that are fused where the level has it.
std::unique_ptr<ScoreArithmetic>
createPlainScores(const target::IsaLevel &level, Type compute);

/// Picks the arithmetic for a type of computation; never null.
using ScoreArithmeticFactory = std::unique_ptr<ScoreArithmetic> (*)(
    const target::IsaLevel &level, Type compute);

/// Loads `active` elements of type `type` as words for lines of `lanes` words;
/// an odd last element is paired with zero.
Value loadWords(CodeBuilder &b, const ScoreArithmetic &arithmetic,
                Value pointer, Value index, Type type, int64_t active,
                int64_t lanes);

/// Builds the tiles of one attention as functions that kernels share.
class AttentionTile {
public:
  AttentionTile(KernelModule &module, const ScoreArithmetic &arithmetic,
                int64_t depth, int64_t valueWidth)
      : module(module), arithmetic(arithmetic), level(module.getLevel()),
        lanes(level.vectorBytes / 4),
        registers(level.vectorBytes == 64 ? 32 : 16), depth(depth),
        valueWidth(valueWidth) {}

  /// Words between rows of queries, floats between rows of weighted values and
  /// of converted values.
  int64_t getQueryStride() const {
    return llvm::alignTo(arithmetic.getWords(depth), kLanes);
  }
  int64_t getValueStride() const { return llvm::alignTo(valueWidth, kLanes); }
  /// Bytes of a block of keys.
  int64_t getKeyBytes() const {
    // Pairs of bf16 may leave one element more.
    return (arithmetic.getWords(depth) + 1) * kBlockKeys * 4;
  }

  /// void keys(ptr from, ptr to, i64 low, i64 high): words[word][key] of keys
  /// low .. high - 1 of a block, in groups of 16 keys: what other keys of a
  /// group leave there is some key of the range. `from` is the head's first
  /// element of key 0, `stride` the elements between keys.
  mlir::LLVM::LLVMFuncOp getKeys(CodeBuilder &b, Type type, int64_t stride);

  /// void scores(ptr queries, ptr keys, ptr scores, i64 rows, i64 low, i64
  /// high): scores[row][key] of the keys of groups low .. high - 1.
  mlir::LLVM::LLVMFuncOp getScores(CodeBuilder &b);

  /// void values(ptr weights, ptr values, i64 stride, ptr sums, i64 rows,
  ///             i64 low, i64 high): adds weights[row][key] * values[key] of
  ///             keys
  /// low .. high - 1 to sums[row]. Values are f32, `stride` elements apart.
  mlir::LLVM::LLVMFuncOp getValues(CodeBuilder &b);

private:
  using Values = CodeBuilder::Values;

  void buildKeys(CodeBuilder &b, mlir::ValueRange arguments, Type type,
                 int64_t stride) const;
  void buildKeyGroup(CodeBuilder &b, llvm::ArrayRef<Value> rows, Value to,
                     Value key, Type type) const;
  void buildScores(CodeBuilder &b, mlir::ValueRange arguments) const;
  void buildScorePart(CodeBuilder &b, mlir::ValueRange arguments, int64_t rows,
                      Value key, int64_t keys) const;
  void buildValues(CodeBuilder &b, mlir::ValueRange arguments) const;
  void buildValuePart(CodeBuilder &b, mlir::ValueRange arguments, int64_t rows,
                      Value column, int64_t columns) const;
  /// Columns that a tile of `rows` rows takes at once: as many as fit
  /// registers, at most four vectors of 16, and enough for independent sums.
  int64_t getColumns(int64_t rows) const;
  /// Branches to the code for the number of rows at run time. There is code for
  /// 1, 2, 4 and 6: a tile may also compute rows behind its last one, whose
  /// memory is there but means nothing.
  void forRows(CodeBuilder &b, Value rows,
               llvm::function_ref<void(int64_t)> build) const;

  KernelModule &module;
  const ScoreArithmetic &arithmetic;
  const target::IsaLevel &level;
  int64_t lanes, registers, depth, valueWidth;
};

mlir::LogicalResult emitAttention(Kernel &kernel, moex::AttentionOp op,
                                  ScoreArithmeticFactory createScores);

} // namespace moec::generic

#endif // MOEC_COMPILER_TARGETS_GENERIC_ATTENTIONTILE_H
