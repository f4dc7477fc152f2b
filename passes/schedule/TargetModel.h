//===- TargetModel.h - What passes know of a target -------------*- C++ -*-===//
#ifndef MOEC_PASSES_SCHEDULE_TARGETMODEL_H
#define MOEC_PASSES_SCHEDULE_TARGETMODEL_H

#include "dialects/moeq/MoeqDialect.h"

namespace moec {

/// On a weight that is another's copy for a device: whose, a symbol, and the
/// name of the target.
inline constexpr llvm::StringLiteral kCopyOfAttrName("moe.copy_of");
inline constexpr llvm::StringLiteral kCopyForAttrName("moe.copy_for");

/// How a weight is used, for the choice of its layout.
enum class WeightUse {
  Matmul, ///< [out, in] matrix of a matmul, possibly looked up as well
  Rows    ///< read by rows or elements only
};

/// Facts about a target that passes before `target` need. One layout per
/// (weight, device): all kernels and all ISA levels of a device read it.
class TargetModel {
public:
  virtual ~TargetModel() = default;
  /// Output columns that one task of a matmul computes.
  virtual int64_t getColumnBlock() const = 0;
  virtual WeightLayoutAttrInterface
  layoutFor(QuantFormatAttrInterface format, WeightUse use) const = 0;
  /// Whether it is a device beside a processor, with weights of its own.
  virtual bool isDevice() const { return false; }
};

/// Makes the model of a target known by the target's name; it lives as long as
/// the process.
void registerTargetModel(llvm::StringRef target, const TargetModel *model);
/// Null where there is no such target.
const TargetModel *lookupTargetModel(llvm::StringRef target);

/// The processor: blocks of 16 output rows, which AVX-512 reads as one and AVX2
/// as two vectors (architecture 4.2). Codes of bf16 lie in pairs of columns: what
/// dot-product instructions take, and where there are none, one shift and one
/// mask make two vectors of f32.
class CpuTargetModel : public TargetModel {
public:
  int64_t getColumnBlock() const override { return 16; }
  WeightLayoutAttrInterface layoutFor(QuantFormatAttrInterface format,
                                      WeightUse use) const override {
    mlir::MLIRContext *context = format.getContext();
    if (use == WeightUse::Matmul) {
      if (format.getScaleType())
        return moeq::GroupBlocksLayoutAttr::get(context);
      return moeq::RowBlocksLayoutAttr::get(
          context, getColumnBlock(), format.getStorageType().isBF16() ? 2 : 1);
    }
    return moeq::RowMajorLayoutAttr::get(context);
  }
};

} // namespace moec

#endif // MOEC_PASSES_SCHEDULE_TARGETMODEL_H
