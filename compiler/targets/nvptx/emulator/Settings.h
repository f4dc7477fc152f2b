//===- Settings.h - MOE_CUDA_EMU_* environment variables --------*- C++ -*-===//
//
// docs/emulator.md lists the variables. They are read by cuInit and by
// moeEmuReset.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_SETTINGS_H
#define MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_SETTINGS_H

#include "compiler/targets/nvptx/emulator/CudaApi.h"

#include <string>
#include <vector>

namespace moec {
namespace emu {

/// An error that a call of the driver returns instead of doing its work.
struct InjectedFailure {
  std::string function; // without _v2
  uint64_t call = 1;    // which call of it, from 1
  CUresult code = CUDA_ERROR_UNKNOWN;
  uint64_t seen = 0; // calls so far
};

struct Settings {
  unsigned smMajor = 9, smMinor = 0;
  uint64_t memoryBytes = 8ull << 30;
  uint64_t seed = 1;
  uint64_t stackBytes = 256 << 10;
  unsigned timeoutSeconds = 600; // of a launch; 0: none
  int driverVersion = 13000;
  int devices = 1;
  int multiprocessors = 132;
  bool blocking = false;
  bool verbose = false;
  bool checkBounds = true, checkRaces = true, checkBlocks = true, poison = true;
  std::vector<InjectedFailure> failures;

  /// Shared memory of a block: without asking, and the most that
  /// cuFuncSetAttribute grants.
  uint64_t getSharedBytes() const { return 48 << 10; }
  uint64_t getSharedOptinBytes() const;

  /// Reads the environment. Returns what is wrong with it, or "".
  std::string read();
};

/// The settings of the process; written by cuInit and moeEmuReset only, under
/// the driver's lock.
Settings &getSettings();

/// "CUDA_ERROR_INVALID_VALUE" of 1; null for a number that is no code.
const char *getResultName(CUresult code);

} // namespace emu
} // namespace moec

#endif // MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_SETTINGS_H
