//===- AttentionFrame.h - What the kernels of attention share ---*- C++ -*-===//
//
// Which operand is what, how wide heads are, which keys a token sees and where
// they lie. The kernels differ in how they multiply.
//
// Keys are visited in blocks of 64 at absolute positions, in ascending order:
// scores of the block, its maximum, the exponentials, then the running sums are
// rescaled and the values added, key by key. What a row adds up is fixed by its
// position alone, as on a CPU (compiler/targets/generic/Attention.cpp).
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_TARGETS_NVPTX_KERNELS_ATTENTIONFRAME_H
#define MOEC_COMPILER_TARGETS_NVPTX_KERNELS_ATTENTIONFRAME_H

#include "compiler/targets/nvptx/NvKernels.h"

#include "runtime/abi/moe_abi.h"

#include <optional>

namespace moec::nvptx {

/// Keys of a block: those of a page.
constexpr int64_t kBlockKeys = MOE_PAGE_TOKENS;

/// Facts of one attention.
struct AttentionShape {
  /// Failure after an error where the widths do not fit together.
  static mlir::FailureOr<AttentionShape> get(const KernelRequest &request);

  const KernelRequest *request;
  bool isPaged;
  unsigned outIndex, sinksIndex, keyIndex, valueIndex;
  int64_t heads, kvHeads, headWidth;
  /// Of each head of a row of values the first `valueWidth` elements count.
  int64_t valueWidth, valueStride;
  /// Latent attention: values are the first elements of the keys themselves.
  bool valuesAreKeys;

  moex::AttentionOp getOp() const {
    return mlir::cast<moex::AttentionOp>(request->op);
  }
  /// Query heads of a key head.
  int64_t getGroup() const { return heads / kvHeads; }
  const KernelOperand &operand(unsigned index) const {
    return request->operands[index];
  }
  bool isFused() const { return request->level.hasFma; }
};

/// Device code that finds keys. All threads of a warp use it together.
class AttentionFrame {
public:
  AttentionFrame(CodeBuilder &b, const KernelArguments &arguments,
                 const AttentionShape &shape);

  /// Half-open range of positions.
  struct Range {
    Value low, high;
  };

  /// Where sequences begin, and how many there are.
  Value getOffsets() const { return cuSeqlens; }
  Value getSequences() const { return sequences; }
  /// Pages of a sequence in the page table.
  Value getPages() const { return pages; }
  /// The sequence of a token.
  Value findSequence(Value token);
  /// First token of a sequence, index in the batch.
  Value getStart(Value sequence);
  Value getPosition(Value token);
  /// The keys that the token at `position` sees.
  Range seenBy(Value sequence, Value token, Value position);
  /// Row of the batch or of the pool with the first key of a block, of the
  /// sequence that has `token` at `position`.
  Value firstRow(Value sequence, Value token, Value position, Value blockIndex);
  /// Address of the head's elements in a row of an operand.
  Value headPointer(unsigned index, Value row, Value head, int64_t width);

  /// Score of a dot product.
  Value transform(Value dot);
  /// Running maximum and sum of weights of a query head before the first key.
  std::pair<Value, Value> startRow(Value head);
  /// `value` rounded to the type of computation, as f32.
  Value round(Value value);
  /// What is subtracted from the scores under a running maximum: while all
  /// scores are minus infinity, all weights are zero.
  Value getShift(Value maximum);
  Value larger(Value x, Value y);

private:
  CodeBuilder &b;
  const KernelArguments &arguments;
  const AttentionShape &shape;
  Value positions, cuSeqlens, pageTable, pages, sequences;
};

/// The kernel for everything: one (token, query head) per block, in f32.
Launches plainAttentionLaunches(const AttentionShape &shape);
/// The same on tensor cores, where that is possible.
std::optional<Launches> mmaAttentionLaunches(const AttentionShape &shape);

} // namespace moec::nvptx

#endif // MOEC_COMPILER_TARGETS_NVPTX_KERNELS_ATTENTIONFRAME_H
