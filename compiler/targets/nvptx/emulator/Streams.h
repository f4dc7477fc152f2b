//===- Streams.h - Work in order --------------------------------*- C++ -*-===//
//
// What a stream is given is executed when somebody waits for it and not before:
// that is as late as CUDA allows, so that a host that does not wait reads what
// was there before. MOE_CUDA_EMU_BLOCKING=1 executes at once.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_STREAMS_H
#define MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_STREAMS_H

#include "compiler/targets/nvptx/emulator/Block.h"

#include <chrono>
#include <deque>
#include <memory>
#include <set>
#include <variant>

/// An event: where it was recorded last, and when it was reached.
struct CUevent_st {
  CUstream stream = nullptr;
  uint64_t position = 0; // commands of the stream before it
  std::chrono::steady_clock::time_point time;
  bool isRecorded = false, isReached = false;
};

namespace moec {
namespace emu {

struct Copy {
  uint64_t to = 0, from = 0, bytes = 0;
  bool checkTo = false, checkFrom = false; // those on the device
  std::vector<char> staged;                // of pageable memory
};
struct Fill {
  uint64_t to = 0, bytes = 0;
  uint32_t value = 0; ///< repeated, the lowest byte first
};
using Command = std::variant<Launch, Copy, Fill, CUevent>;

} // namespace emu
} // namespace moec

/// Commands recorded between begin and end of a capture.
struct CUgraph_st {
  std::vector<moec::emu::Command> commands;
};
struct CUgraphExec_st {
  std::vector<moec::emu::Command> commands;
};

struct CUstream_st {
  std::deque<moec::emu::Command> commands;
  uint64_t executed = 0; // commands, since the stream was made
  std::unique_ptr<CUgraph_st> capture;
};

#endif // MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_STREAMS_H
