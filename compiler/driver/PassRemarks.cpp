//===- PassRemarks.cpp - -Rpass, -Rpass-missed ----------------------------===//

#include "compiler/driver/PassRemarks.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Remarks.h"

using namespace moec;
namespace remark = mlir::remark;

namespace {
/// Hands remarks on as diagnostics.
class Streamer : public remark::detail::MLIRRemarkStreamerBase {
public:
  void streamOptimizationRemark(const remark::detail::Remark &remark) override {
    llvm::StringRef option =
        remark.getRemarkType() == llvm::remarks::Type::Missed ? "-Rpass-missed"
                                                              : "-Rpass";
    // Not getMsg(), which is a record for programs.
    std::string text;
    for (const remark::detail::Remark::Arg &part : remark.getArgs())
      text += part.val;
    mlir::emitRemark(remark.getLocation())
        << text << " [" << option << '=' << remark.getCategoryName() << ']';
  }
};
} // namespace

llvm::LogicalResult moec::enablePassRemarks(mlir::MLIRContext &context,
                                            const PassRemarkFilter &filter) {
  remark::RemarkCategories categories;
  // MLIR wants the whole name to match; a part is enough, as in clang.
  auto anywhere = [](const std::string &regex) {
    return ".*(" + regex + ").*";
  };
  if (!filter.passed.empty())
    categories.passed = anywhere(filter.passed);
  if (!filter.missed.empty())
    categories.missed = anywhere(filter.missed);
  if (!categories.passed && !categories.missed)
    return llvm::success();
  return remark::enableOptimizationRemarks(
      context, std::make_unique<Streamer>(),
      std::make_unique<remark::RemarkEmittingPolicyAll>(), categories);
}
