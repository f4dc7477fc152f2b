//===- MoeqDialect.cpp - Formats and layouts of weights -------------------===//
#include "dialects/moeq/MoeqDialect.h"
#include "dialects/interfaces/MoecDialectInterface.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moec::moeq;

#include "dialects/moeq/MoeqDialect.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/moeq/MoeqAttrs.cpp.inc"

namespace {
/// The formats that `--quantize=` can name.
struct MoeqFormats : public moec::MoecDialectInterface {
  using MoecDialectInterface::MoecDialectInterface;

  std::vector<moec::FormatEntry> getFormats() const override {
    return moec::listFormats<
#define GET_ATTRDEF_LIST
#include "dialects/moeq/MoeqAttrs.cpp.inc"
        >();
  }
};
} // namespace

void MoeqDialect::initialize() {
  addInterfaces<MoeqFormats>();
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/moeq/MoeqAttrs.cpp.inc"
      >();
}
