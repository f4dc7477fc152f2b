//===- MoeDialect.cpp - Mixture-of-Experts models -------------------------===//
#include "dialects/moe/MoeDialect.h"
#include "dialects/interfaces/KeepConstantsInside.h"

#include "dialects/interfaces/MoecDialectInterface.h"
#include "dialects/row/RowDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moec;
using namespace moec::moe;

#include "dialects/moe/MoeDialect.cpp.inc"

/// Plain numbers in attributes: `<2.5>` instead of `<2.5 : f64>`.
static ParseResult parseNumber(AsmParser &parser, FloatAttr &number) {
  double value;
  if (parser.parseFloat(value))
    return failure();
  number = parser.getBuilder().getF64FloatAttr(value);
  return success();
}
static void printNumber(AsmPrinter &printer, FloatAttr number) {
  printer.printFloat(number.getValue());
}

#define GET_ATTRDEF_CLASSES
#include "dialects/moe/MoeAttrs.cpp.inc"

namespace {
/// The routing stages of this dialect, straight from their definitions.
struct MoeStages : public MoecDialectInterface {
  using MoecDialectInterface::MoecDialectInterface;

  std::vector<StageEntry> getStages() const override {
    return listStages<
#define GET_ATTRDEF_LIST
#include "dialects/moe/MoeAttrs.cpp.inc"
        >();
  }
};
} // namespace

void MoeDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/moe/MoeAttrs.cpp.inc"
      >();
  addInterfaces<MoeStages, KeepConstantsInside>();
  registerOperations();
  registerRoutingOperations();
}
