//===- Driver.h - State behind the driver's functions -----------*- C++ -*-===//
#ifndef MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_DRIVER_H
#define MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_DRIVER_H

#include "compiler/targets/nvptx/emulator/Module.h"
#include "compiler/targets/nvptx/emulator/Settings.h"
#include "compiler/targets/nvptx/emulator/Streams.h"

#include <map>
#include <mutex>

namespace moec {
namespace emu {

/// One device with one primary context. All members are guarded by `lock`,
/// which every exported function holds while it runs.
class Driver {
public:
  static Driver &get();

  CUresult initialise();
  /// Forgets everything and reads the environment again.
  CUresult reset();
  /// Remembers the message for moeEmuLastError, prints it if asked to.
  CUresult report(CUresult code, std::string text);
  /// What a call must return before it does anything: an error of the context
  /// that stays, or an injected one.
  CUresult enter(const char *function, bool needsContext);

  /// Appends to the stream, or to the graph that it captures.
  CUresult submit(CUstream stream, Command command);
  /// Executes what the stream holds; with `count`, only its first commands up
  /// to that number since the stream was made.
  CUresult drain(CUstream_st &stream, uint64_t count = ~0ull);
  CUresult drainAll();
  CUstream_st *find(CUstream stream);
  bool isPinned(uint64_t address, uint64_t bytes) const;
  void releaseContext();

  std::recursive_mutex lock;
  bool isInitialised = false;
  unsigned retained = 0;
  CUresult lost = CUDA_SUCCESS; // an error that stays with the context
  std::string lastError;
  std::map<CUmodule, std::unique_ptr<LoadedModule>> modules;
  std::set<CUfunction> functions;
  std::map<CUstream, std::unique_ptr<CUstream_st>> streams;
  std::map<CUevent, std::unique_ptr<CUevent_st>> events;
  std::map<CUgraph, std::unique_ptr<CUgraph_st>> graphs;
  std::map<CUgraphExec, std::unique_ptr<CUgraphExec_st>> executables;
  std::map<uint64_t, uint64_t> pinned; // address to bytes
  CUstream_st defaultStream;
  uint64_t numLaunches = 0;

private:
  CUresult execute(Command &command);
  CUresult execute(const Launch &launch);
  CUresult execute(const Copy &copy);
  CUresult checkDevice(uint64_t address, uint64_t bytes);
};

} // namespace emu
} // namespace moec

#endif // MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_DRIVER_H
