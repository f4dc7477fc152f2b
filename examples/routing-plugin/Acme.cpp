//===- Acme.cpp - The acme dialect and the plugin's entry point -----------===//
#include "Acme.h"

#include "dialects/interfaces/MoecDialectInterface.h"
#include "dialects/row/RowDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Builders.h"
#include "mlir/Tools/Plugins/DialectPlugin.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace acme;

#include "AcmeDialect.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "AcmeAttrs.cpp.inc"

namespace {
/// What the dialect tells moec. Operations are found by their interface;
/// attributes have to be listed, and the generated list is all of them.
struct AcmeContributions : public moec::MoecDialectInterface {
  using MoecDialectInterface::MoecDialectInterface;

  std::vector<moec::StageEntry> getStages() const override {
    return moec::listStages<
#define GET_ATTRDEF_LIST
#include "AcmeAttrs.cpp.inc"
        >();
  }
};
} // namespace

void AcmeDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "AcmeAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "AcmeOps.cpp.inc"
      >();
  addInterfaces<AcmeContributions>();
}

extern "C" DialectPluginLibraryInfo LLVM_ATTRIBUTE_WEAK
mlirGetDialectPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, "acme", "0.1",
          [](DialectRegistry *registry) { registry->insert<AcmeDialect>(); }};
}
