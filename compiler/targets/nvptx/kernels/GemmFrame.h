//===- GemmFrame.h - What products on tensor cores share --------*- C++ -*-===//
//
// Which operand is what, the weights of an expert, and what becomes of sums.
// The kernels differ in how operands come and who multiplies.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_TARGETS_NVPTX_KERNELS_GEMMFRAME_H
#define MOEC_COMPILER_TARGETS_NVPTX_KERNELS_GEMMFRAME_H

#include "compiler/targets/nvptx/NvKernels.h"

namespace moec::nvptx {

/// Columns of out that a block of weights has, and contraction indices of its
/// units of 16 bytes: #moeq.row_blocks<64, 8>.
constexpr int64_t kBlockColumns = 64, kUnitIndices = 8;

/// Facts of one product. `depth` and `width`, contraction indices and columns
/// of out, are those of a head where each has a product of its own.
struct GemmShape {
  explicit GemmShape(const KernelRequest &request);

  moex::GroupedGemmOp op;
  /// Of products, of rows, of results.
  Type compute, xType, outType;
  unsigned outIndex;
  int64_t heads, depth, width, numWeights;
  /// 0 in a dense product.
  int64_t experts;
};

/// Builds the parts of a kernel that do not depend on how it multiplies.
class GemmFrame : protected GemmShape {
protected:
  using Values = CodeBuilder::Values;

  GemmFrame(const KernelRequest &request, const KernelArguments &arguments,
            CodeBuilder &b);

  /// Fills `matrices` and `biases` with those of an expert, or of the one
  /// product that there is (null).
  void bindWeights(Value expert);
  /// What output `i` of a run becomes, before it is rounded: that of column
  /// `column`. sums[w] are those of weight w.
  Value buildOutput(llvm::ArrayRef<Values> sums, int64_t i, Value column);
  Value outPointer(Value row, Value column);
  /// The sums of a warp as mma.sync leaves them: pieces of 16 rows by 8 columns
  /// side by side, of each weight.
  struct WarpSums {
    int64_t rowTiles, pieces;

    /// The first of four sums of a product.
    int64_t getPlace(int64_t weight, int64_t rowTile, int64_t piece) const {
      return ((weight * rowTiles + rowTile) * pieces + piece) * 4;
    }
  };
  /// Stores what becomes of them. They begin at row `inTile` of a tile that
  /// begins at `row` and has `rows`, and at `column`.
  void storeSums(const WarpSums &layout, mlir::ValueRange sums, Value lane,
                 Value row, Value inTile, Value rows, Value column, Value end);
  /// Stores two adjacent outputs of a row from `column`, which is even, on, as
  /// far as columns are below `end`.
  void storePair(Value row, Value column, llvm::ArrayRef<Values> sums,
                 Value end);

  const KernelRequest &request;
  const KernelArguments &arguments;
  CodeBuilder &b;
  /// Null where there are none.
  Value gather, segments;
  llvm::SmallVector<Value> matrices, biases;
  mlir::LogicalResult status = mlir::success();
};

/// Whether weights lie as they are copied, in the type of the products.
bool canCopyWeights(const KernelRequest &request);

/// For which averages of rows per expert (or of all rows) a tile is used: above
/// `low`, up to `high`.
struct RowRange {
  int64_t low, high;
};
/// Whether the step's rows are in the range, a host value.
Value isInRange(CodeBuilder &host, Value rows, const GemmShape &shape,
                RowRange range);
/// Tiles along the rows that the step may need, at most.
Value countRowTiles(CodeBuilder &host, Value rows, const GemmShape &shape,
                    int64_t tileRows);

/// The kernels of products in 8-bit integers, where tensor cores can compute
/// them.
std::optional<Launches> integerGemmLaunches(const KernelRequest &request);
/// Whether tcGemmLaunches() has tiles for a product that tensor cores compute.
bool usesWarpRoles(const KernelRequest &request);
/// The kernels with warps for copies and warps for products (sm_90a), for more
/// than `low` rows.
Launches tcGemmLaunches(const KernelRequest &request, int64_t low);

} // namespace moec::nvptx

#endif // MOEC_COMPILER_TARGETS_NVPTX_KERNELS_GEMMFRAME_H
