//===- moe-lsp-server.cpp - Editor support for our IR ---------------------===//

#include "compiler/driver/Registration.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/mlir-lsp-server/MlirLspServerMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  moec::registerAllMoecDialects(registry);
  return llvm::failed(mlir::MlirLspServerMain(argc, argv, registry));
}
