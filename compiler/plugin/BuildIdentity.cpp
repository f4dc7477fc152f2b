//===- BuildIdentity.cpp - Which build a plugin belongs to ----------------===//
#include "compiler/plugin/BuildIdentity.h"

#include "mlir/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/ToolOutputFile.h"

const char moec::coreAnchor = 0;

llvm::StringRef moec::getBuildIdentity() { return MOEC_BUILD_IDENTITY; }

moec::CoreAddresses moec::getCoreAddresses() {
  return {&coreAnchor, reinterpret_cast<const void *>(&mlir::openOutputFile)};
}
