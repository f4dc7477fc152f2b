//===- KernelDevice.h - Step functions on the emulated device ---*- C++ -*-===//
//
// Runs the step functions of KernelJit whose level is one of target `nvptx`:
// the host code in memory, its kernels in the emulator. All memory of a step is
// copied to memory of the device that is exactly as large, so that the emulator
// sees what is out of bounds.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_TEST_LIB_KERNELDEVICE_H
#define MOEC_TEST_LIB_KERNELDEVICE_H

#include "test/lib/KernelJitProgram.h"

namespace moec::test {

class KernelDevice {
public:
  /// Begins anew with a schedule of threads. A process has one device.
  explicit KernelDevice(unsigned seed = 1);
  ~KernelDevice();
  KernelDevice(const KernelDevice &) = delete;

  /// A StepProgram::runner.
  std::string run(KernelJit &jit, const moe_step_v1 &step,
                  const StepProgram::Memory &memory);

  /// A launch of the last run. Empty grids are none.
  struct Launch {
    std::string kernel;
    uint32_t grid[3];
  };
  const std::vector<Launch> &getLaunches() const { return launches; }

private:
  struct Kernel {
    std::string name;
    unsigned threads;
    void *function;
  };
  std::string load(const JitKernels &given);
  void *place(const void *data, size_t bytes, size_t room);
  int32_t launch(const moe_launch_v1 &given, const void *onDevice);

  std::string error;
  const JitKernels *loaded = nullptr;
  std::vector<Kernel> kernels;
  std::vector<void *> allocations;
  std::vector<Launch> launches;
};

} // namespace moec::test

#endif // MOEC_TEST_LIB_KERNELDEVICE_H
