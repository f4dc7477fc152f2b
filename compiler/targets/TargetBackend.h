//===- TargetBackend.h - What a target is -----------------------*- C++ -*-===//
//
// A target is one folder beside this file: it says what earlier phases must know
// of it, such as how weights lie, and builds kernels. In-tree targets and plugins
// are written against this header alone, and register themselves:
//
//   static moec::TargetRegistration<MyBackend> registration;
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_TARGETS_TARGETBACKEND_H
#define MOEC_COMPILER_TARGETS_TARGETBACKEND_H

#include "passes/schedule/TargetModel.h"
#include "passes/target/KernelEmitter.h"

namespace moec {

class TargetBackend {
public:
  virtual ~TargetBackend();

  /// As in `--target=`.
  virtual llvm::StringRef getName() const = 0;
  /// One line for people.
  virtual llvm::StringRef getDescription() const = 0;

  /// Facts for the phases before `target`: layouts (layoutFor), block sizes.
  virtual const TargetModel &getModel() const = 0;

  /// Instruction-set levels and kernels.
  virtual const target::KernelEmitter &getKernelEmitter() const = 0;
};

/// Makes a target and its kernels known. It lives as long as the process.
void registerTargetBackend(const TargetBackend *backend);
const TargetBackend *lookupTargetBackend(llvm::StringRef name);
llvm::SmallVector<const TargetBackend *> getTargetBackends();

/// Registers a backend from a static initialiser.
template <typename Backend> struct TargetRegistration {
  TargetRegistration() {
    static const Backend backend;
    registerTargetBackend(&backend);
  }
};

} // namespace moec

#endif // MOEC_COMPILER_TARGETS_TARGETBACKEND_H
