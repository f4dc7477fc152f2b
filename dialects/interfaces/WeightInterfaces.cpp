//===- WeightInterfaces.cpp - Formats and layouts -------------------------===//
#include "dialects/interfaces/WeightInterfaces.h"

#include "dialects/interfaces/MoecDialectInterface.h"

#include "dialects/interfaces/WeightAttrInterfaces.cpp.inc"

std::vector<moec::FormatEntry>
moec::getAllFormats(mlir::MLIRContext *context) {
  std::vector<FormatEntry> all;
  for (mlir::Dialect *dialect : context->getLoadedDialects())
    if (auto *ours = dialect->getRegisteredInterface<MoecDialectInterface>())
      for (const FormatEntry &entry : ours->getFormats())
        all.push_back(entry);
  return all;
}
