//===- GemmTile.h - The inner part of a matrix product ----------*- C++ -*-===//
//
// `moex.grouped_gemm` is built in two parts. The frame (Gemm.cpp) divides rows
// and columns among participants, gathers rows, walks the weights in an order
// that caches like and ends with the epilogue. A tile, described here, packs a
// few rows into a panel and multiplies them by blocks of weights. A target gives
// the frame the tile that suits the weights' format, the type of computation and
// the level.
//
// The order of summation belongs to the tile: for every output one ascending
// chain over the contraction index, whatever the rows and blocks around it and
// wherever the panel is cut (contract 4.1). All shapes of a tile keep it.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_TARGETS_GENERIC_GEMMTILE_H
#define MOEC_COMPILER_TARGETS_GENERIC_GEMMTILE_H

#include "compiler/targets/generic/Kernels.h"

#include <memory>
#include <string>

namespace moec::generic {

/// Columns between rows of the buffer of sums: four blocks.
constexpr int64_t kTileColumns = 4 * kLanes;
/// Most contraction indices that a panel holds; a multiple of every group of
/// columns in a layout or format.
constexpr int64_t kPanelColumns = 4096;

/// What a tile works with.
struct GemmOperands {
  /// Types of x and of the weights' codes.
  Type x, weight;
  /// Of weights with scales; null for plain numbers.
  QuantFormatAttrInterface format;
  /// Layout of the weights.
  mlir::Attribute layout;
  /// f32, bf16, or i8 with an integer format.
  Type compute;
};

/// The arguments of a tile by name.
struct TileArguments {
  explicit TileArguments(mlir::ValueRange arguments)
      : panel(arguments[0]), panelStride(arguments[1]), weights(arguments[2]),
        blockStride(arguments[3]), sums(arguments[4]), count(arguments[5]),
        first(arguments[6]), rows(arguments[7]), blocks(arguments[8]) {}

  Value panel, panelStride, weights, blockStride, sums, count, first, rows,
      blocks;
};

class GemmTile {
public:
  virtual ~GemmTile();

  /// Distinguish the helper functions of one tile from those of another.
  virtual std::string getPackName() const = 0;
  virtual std::string getTileName() const = 0;

  /// Most rows of a tile.
  virtual int64_t getMaxRows() const = 0;
  /// Blocks of 16 columns that a tile of `rows` rows takes at once; at most 4.
  virtual int64_t getBlocks(int64_t rows) const = 0;

  /// Bytes of one row of the panel that holds `columns` contraction indices.
  virtual int64_t getPanelBytes(int64_t columns) const = 0;
  /// Bytes of one block of weights of `columns` contraction indices. Linear in
  /// multiples of kPanelColumns, so that it also gives the place of an index.
  virtual int64_t getWeightBytes(int64_t columns) const = 0;

  /// void pack(ptr to, ptr from, i64 count): converts `count` elements of a row
  /// of x for the panel.
  virtual void buildPack(CodeBuilder &b, mlir::ValueRange arguments) const = 0;

  /// void tile(ptr panel, i64 panelStride, ptr weights, i64 blockStride,
  ///           ptr sums, i64 count, i1 first, i64 rows, i64 blocks): adds the
  /// products of `count` indices to f32 sums[row * kTileColumns + column], which
  /// start at zero if `first`. Strides are in bytes.
  /// Branches to the shape for the number of rows at run time: with all blocks of
  /// the tile at once where they are that many, else one block after the other.
  void buildTile(CodeBuilder &b, mlir::ValueRange arguments) const;

protected:
  /// `rows` rows by the columns of `blocks` blocks from `block` on.
  virtual void buildShape(CodeBuilder &b, const TileArguments &arguments,
                          int64_t rows, Value block, int64_t blocks) const = 0;
};

/// The sums of a tile of `rows` rows and `columns` columns, from `start` on, in
/// vectors of `lanes`: as they are, or zero if `first`.
CodeBuilder::Values loadSums(CodeBuilder &b, const TileArguments &arguments,
                             Value start, int64_t rows, int64_t columns,
                             int64_t lanes);
void storeSums(CodeBuilder &b, const TileArguments &arguments, Value start,
               int64_t rows, int64_t columns, int64_t lanes,
               mlir::ValueRange sums);

/// Builds a row conversion that walks whole groups of 16 and then the rest.
/// `convert` gets elements of type `from`, a vector or a scalar.
void buildRowConversion(CodeBuilder &b, mlir::ValueRange arguments, Type from,
                        llvm::function_ref<Value(Value)> convert);

/// One of the two bf16 numbers in each i32 lane, as f32: the lower halves, or the
/// upper ones. A code is the upper half of the f32 that it stands for.
Value buildHalf(CodeBuilder &b, Value pairs, bool isUpper);

/// The tile of plain loops for weights of f32, bf16 or f16 on every level. Null
/// for other operands.
std::unique_ptr<GemmTile> createPlainTile(const target::IsaLevel &level,
                                          const GemmOperands &operands);

/// The tile of plain loops for weights in any format with scales. With compute
/// i8 products are summed as integers (in f32, where they are exact), otherwise
/// codes are turned into numbers in registers.
std::unique_ptr<GemmTile> createGroupTile(const target::IsaLevel &level,
                                          const GemmOperands &operands);
/// The plain tile or the group tile.
std::unique_ptr<GemmTile> createAnyTile(const target::IsaLevel &level,
                                        const GemmOperands &operands);

/// Rounds one group of a row to 8-bit integers. `from` holds `count` elements of
/// type `type`, from none to the whole group; the rest counts as zero. Stores the
/// integers, as f32, to `to` and returns the scale: the largest magnitude over
/// 127. The same bits on every level.
Value buildGroupRounding(CodeBuilder &b, Value from, Type type, Value count,
                         int64_t group, Value to);

/// Picks a tile: null where there is none for the operands.
using GemmTileFactory = std::unique_ptr<GemmTile> (*)(
    const target::IsaLevel &level, const GemmOperands &operands);

mlir::LogicalResult emitGemm(Kernel &kernel, moex::GroupedGemmOp op,
                             GemmTileFactory createTile);

} // namespace moec::generic

#endif // MOEC_COMPILER_TARGETS_GENERIC_GEMMTILE_H
