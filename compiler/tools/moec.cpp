//===- moec.cpp - The compiler --------------------------------------------===//

#include "compiler/driver/Driver.h"

#include "llvm/Support/InitLLVM.h"

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  return moec::runDriver(argc, argv);
}
