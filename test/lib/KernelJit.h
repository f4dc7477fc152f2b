//===- KernelJit.h - Runs lowered step functions in tests -------*- C++ -*-===//
//
// Compiles a module after phase `target` in memory and calls its step functions
// as a host would, with any number of threads. Only memcpy, memmove and memset
// can be linked, so anything else that generated code might call is an error.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_TEST_LIB_KERNELJIT_H
#define MOEC_TEST_LIB_KERNELJIT_H

#include "runtime/abi/moe_abi.h"

#include <memory>
#include <string>
#include <vector>

namespace llvm::orc {
class LLJIT;
} // namespace llvm::orc

namespace mlir {
class MLIRContext;
} // namespace mlir

namespace moec::test {

/// The kernels of a level of a device, as LLVM IR.
struct JitKernels {
  struct Kernel {
    std::string name;
    uint32_t threads, sharedBytes;
  };
  std::vector<Kernel> kernels;
  std::string ir;
  std::vector<int32_t> constants;
};

/// A context with all dialects that step functions use.
std::unique_ptr<mlir::MLIRContext> createContext();

/// Whether this processor can run code of a level of target `x86_64`.
bool canRunLevel(const std::string &level);

/// Step functions in memory.
class KernelJit {
public:
  /// Parses `text`, a module after phase `schedule`, lowers it for `level` and
  /// compiles it. On an error returns null and its text in `error`.
  static std::unique_ptr<KernelJit> compile(const std::string &text,
                                            const std::string &level,
                                            std::string &error);
  ~KernelJit();

  /// Null where there is no such function.
  using StepFunction = int32_t (*)(const moe_step_v1 *);
  using ScratchFunction = uint64_t (*)(const moe_extents_v1 *);
  StepFunction getStep(const std::string &function);
  ScratchFunction getScratch(const std::string &function);

  /// The kernels of a level of target `nvptx`, or null. The step function is
  /// then host code (test/lib/KernelDevice.h).
  const JitKernels *getKernels() const { return kernels.get(); }

  /// Runs a step on a team of `threads`; sets `step.host`.
  int32_t run(const std::string &function, moe_step_v1 step, unsigned threads);

  /// LLVM IR after optimisation, to look at when a test fails.
  const std::string &getIr() const { return ir; }

private:
  KernelJit();
  void *lookup(const std::string &name);

  std::unique_ptr<llvm::orc::LLJIT> jit;
  std::unique_ptr<JitKernels> kernels;
  std::string level, ir;
};

} // namespace moec::test

#endif // MOEC_TEST_LIB_KERNELJIT_H
