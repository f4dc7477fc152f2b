//===- moe-opt.cpp - Runs passes on IR, for developers and tests ----------===//

#include "compiler/driver/Registration.h"
#include "compiler/plugin/BuildIdentity.h"
#include "compiler/plugin/PluginLoader.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/raw_ostream.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  moec::registerAllMoecDialects(registry);
  moec::registerAllMoecPasses();
  // Before the options are parsed: passes of plugins are options, too.
  moec::PluginLoader plugins(registry);
  if (llvm::Error error = plugins.takeArguments(argc, argv)) {
    llvm::errs() << "moe-opt: error: " << llvm::toString(std::move(error))
                 << '\n';
    return 1;
  }
  llvm::cl::AddExtraVersionPrinter([](llvm::raw_ostream &os) {
    os << "build: " << moec::getBuildIdentity() << '\n';
  });
  return mlir::asMainReturnCode(mlir::MlirOptMain(
      argc, argv, "moe-opt: runs passes of moec\n", registry));
}
