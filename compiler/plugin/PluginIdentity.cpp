//===- PluginIdentity.cpp - What every plugin says of itself --------------===//
//
// moec_add_plugin() compiles this file into each plugin. It is installed beside
// the package configuration and is no part of libmoec.
//
//===----------------------------------------------------------------------===//
#include "compiler/plugin/BuildIdentity.h"

#include "mlir/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/ToolOutputFile.h"

#define MOEC_PLUGIN_EXPORT extern "C" __attribute__((visibility("default")))

/// Read from the file, before anything of the plugin runs.
MOEC_PLUGIN_EXPORT const char moec_plugin_identity[] = MOEC_BUILD_IDENTITY;

/// The core as this plugin sees it: moec::getCoreAddresses, resolved here.
MOEC_PLUGIN_EXPORT void moec_plugin_core(moec::CoreAddresses *core) {
  core->moec = &moec::coreAnchor;
  core->mlir = reinterpret_cast<const void *>(&mlir::openOutputFile);
}
