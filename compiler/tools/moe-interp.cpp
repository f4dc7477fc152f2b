//===- moe-interp.cpp - Evaluates IR by its reference semantics -----------===//

#include "compiler/driver/Interpreter.h"

#include "llvm/Support/InitLLVM.h"

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  return moec::runInterpreter(argc, argv);
}
