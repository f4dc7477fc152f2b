//===- Entry.cpp - An entry point that must not be reached ----------------===//
//
// Every bad plugin is refused before its dialects are registered. That this is
// so shows in the output, not only in the status.
//
//===----------------------------------------------------------------------===//
#include "mlir/Tools/Plugins/DialectPlugin.h"

#include <cstdio>

#ifndef BAD_API_VERSION
#define BAD_API_VERSION MLIR_PLUGIN_API_VERSION
#endif

extern "C" mlir::DialectPluginLibraryInfo mlirGetDialectPluginInfo() {
  return {BAD_API_VERSION, "bad", "1",
          [](mlir::DialectRegistry *) { std::puts("REGISTERED"); }};
}
