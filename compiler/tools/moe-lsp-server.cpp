//===- moe-lsp-server.cpp - Editor support for our IR ---------------------===//

#include "compiler/driver/Registration.h"
#include "compiler/plugin/PluginLoader.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/mlir-lsp-server/MlirLspServerMain.h"
#include "llvm/Support/raw_ostream.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  moec::registerAllMoecDialects(registry);
  moec::PluginLoader plugins(registry);
  if (llvm::Error error = plugins.takeArguments(argc, argv)) {
    llvm::errs() << "moe-lsp-server: error: "
                 << llvm::toString(std::move(error)) << '\n';
    return 1;
  }
  return llvm::failed(mlir::MlirLspServerMain(argc, argv, registry));
}
