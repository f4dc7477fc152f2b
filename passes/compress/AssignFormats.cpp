//===- AssignFormats.cpp - Give every weight its format -------------------===//
#include "dialects/moe/MoeDialect.h"
#include "dialects/moeq/MoeqDialect.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace moec {
#define GEN_PASS_DEF_ASSIGNFORMATS
#include "passes/compress/Passes.h.inc"
} // namespace moec

using namespace mlir;
using namespace moec;

namespace {
struct AssignFormats : public moec::impl::AssignFormatsBase<AssignFormats> {
  void runOnOperation() override {
    for (auto weight : getOperation().getOps<moe::WeightOp>()) {
      auto element = dyn_cast<FloatType>(weight.getTensorType().getElementType());
      if (!weight.getFormat() && element)
        weight.setFormatAttr(moeq::PlainFormatAttr::get(&getContext(), element));
    }
  }
};
} // namespace
