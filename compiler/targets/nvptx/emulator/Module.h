//===- Module.h - Compiled kernels ------------------------------*- C++ -*-===//
#ifndef MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_MODULE_H
#define MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_MODULE_H

#include "compiler/targets/nvptx/emulator/CudaApi.h"
#include "compiler/targets/nvptx/emulator/Site.h"

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace llvm {
namespace orc {
class LLJIT;
} // namespace orc
} // namespace llvm

namespace moec {
namespace emu {

class LoadedModule;

struct Kernel {
  std::string name;
  LoadedModule *module = nullptr;
  /// Calls the kernel with its arguments, found at `arguments + offsets[i]`.
  void (*entry)(char *arguments, const uint64_t *offsets) = nullptr;
  std::vector<uint64_t> parameterBytes;
  uint32_t staticSharedBytes = 0;
  uint32_t dynamicOffset = 0; // of dynamic shared memory in the arena
  uint32_t localBytes = 0;    // largest frame of the kernel's IR
  uint32_t maxThreads = 1024;
  uint32_t requiredThreads[3] = {0, 0, 0};
  /// CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
  uint32_t maxDynamicSharedBytes = 48 << 10;
};

/// The kernels of one image.
class LoadedModule {
public:
  ~LoadedModule();

  /// Compiles `size` bytes of LLVM bitcode or text. On failure returns null,
  /// with `code` and `message` set.
  static std::unique_ptr<LoadedModule>
  load(const void *data, size_t size, CUresult &code, std::string &message);
  Kernel *find(llvm::StringRef name);

  // ---- what the compiled code points to, filled by KernelRewriter ---------
  std::deque<Site> sites;
  std::deque<Op> ops;
  std::map<std::string, Kernel> kernels;
  /// Variables in global and constant memory: symbol, bytes, constant or not.
  struct Variable {
    std::string symbol, name;
    uint64_t bytes;
    bool isConstant;
  };
  std::vector<Variable> variables;

private:
  std::unique_ptr<llvm::orc::LLJIT> jit;
  std::vector<uint64_t> addresses; // of variables
};

} // namespace emu
} // namespace moec

#endif // MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_MODULE_H
