//===- DriverStreams.cpp - Exported: copies, launches, streams, graphs ----===//
#include "compiler/targets/nvptx/emulator/DriverEntry.h"

#include <algorithm>

using namespace moec::emu;

namespace {

CUresult checkLaunch(Driver &driver, const Kernel &kernel,
                     const Launch &launch) {
  auto complain = [&](CUresult code, const std::string &what) {
    return driver.report(code,
                         "cuLaunchKernel of `" + kernel.name + "`: " + what);
  };
  const uint32_t *block = launch.block, *grid = launch.grid;
  uint64_t threads = uint64_t(block[0]) * block[1] * block[2];
  if (!threads || threads > maxThreads || block[2] > 64)
    return complain(CUDA_ERROR_INVALID_VALUE,
                    "a block of " + std::to_string(threads) + " threads");
  if (!grid[0] || !grid[1] || !grid[2] || grid[0] > 0x7fffffff ||
      grid[1] > 65535 || grid[2] > 65535)
    return complain(CUDA_ERROR_INVALID_VALUE,
                    "a grid of " + std::to_string(grid[0]) + " x " +
                        std::to_string(grid[1]) + " x " +
                        std::to_string(grid[2]) + " blocks");
  if (threads > kernel.maxThreads ||
      (kernel.requiredThreads[0] &&
       !std::equal(block, block + 3, kernel.requiredThreads)))
    return complain(CUDA_ERROR_INVALID_VALUE,
                    "a block of " + std::to_string(threads) +
                        " threads, the kernel was compiled for " +
                        std::to_string(kernel.maxThreads));
  if (launch.dynamicSharedBytes > kernel.maxDynamicSharedBytes ||
      kernel.staticSharedBytes + uint64_t(launch.dynamicSharedBytes) >
          getSettings().getSharedOptinBytes())
    return complain(CUDA_ERROR_INVALID_VALUE,
                    std::to_string(launch.dynamicSharedBytes) +
                        " bytes of dynamic shared memory, at most " +
                        std::to_string(kernel.maxDynamicSharedBytes) +
                        " were asked for by cuFuncSetAttribute");
  if (kernel.localBytes > getSettings().stackBytes / 2)
    return complain(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES,
                    std::to_string(kernel.localBytes) +
                        " bytes of local memory; raise MOE_CUDA_EMU_STACK");
  return CUDA_SUCCESS;
}

} // namespace

extern "C" {

//===----------------------------------------------------------------------===//
// Copies
//===----------------------------------------------------------------------===//

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes,
                              CUstream stream) {
  EMU_ENTER(cuMemcpyHtoDAsync);
  Copy copy;
  copy.to = to;
  copy.from = reinterpret_cast<uint64_t>(from);
  copy.bytes = bytes;
  copy.checkTo = true;
  // Pageable memory is read before the call returns, pinned memory later. A
  // copy that is recorded reads its source when the graph runs.
  CUstream_st *on = driver.find(stream);
  if (on && !on->capture && !driver.isPinned(copy.from, bytes))
    copy.staged.assign(static_cast<const char *>(from),
                       static_cast<const char *>(from) + bytes);
  return driver.submit(stream, std::move(copy));
}

CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes,
                              CUstream stream) {
  EMU_ENTER(cuMemcpyDtoHAsync);
  Copy copy;
  copy.to = reinterpret_cast<uint64_t>(to);
  copy.from = from;
  copy.bytes = bytes;
  copy.checkFrom = true;
  bool isPinned = driver.isPinned(copy.to, bytes);
  if (CUresult code = driver.submit(stream, std::move(copy)))
    return code;
  // To pageable memory the call waits.
  CUstream_st *on = driver.find(stream);
  return isPinned || on->capture ? CUDA_SUCCESS : driver.drain(*on);
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes,
                              CUstream stream) {
  EMU_ENTER(cuMemcpyDtoDAsync);
  Copy copy;
  copy.to = to;
  copy.from = from;
  copy.bytes = bytes;
  copy.checkTo = copy.checkFrom = true;
  return driver.submit(stream, std::move(copy));
}

CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes) {
  if (CUresult code = cuMemcpyHtoDAsync_v2(to, from, bytes, nullptr))
    return code;
  EMU_ENTER(cuMemcpyHtoD);
  return driver.drainAll();
}

CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes) {
  if (CUresult code = cuMemcpyDtoHAsync_v2(to, from, bytes, nullptr))
    return code;
  EMU_ENTER(cuMemcpyDtoH);
  return driver.drainAll();
}

CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes,
                         CUstream stream) {
  EMU_ENTER(cuMemsetD8Async);
  Fill fill;
  fill.to = to;
  fill.value = value * 0x01010101u;
  fill.bytes = bytes;
  return driver.submit(stream, fill);
}

CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count,
                          CUstream stream) {
  EMU_ENTER(cuMemsetD32Async);
  Fill fill;
  fill.to = to;
  fill.value = value;
  fill.bytes = count * sizeof(value);
  return driver.submit(stream, fill);
}

//===----------------------------------------------------------------------===//
// Functions and launches
//===----------------------------------------------------------------------===//

CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute,
                            int value) {
  EMU_ENTER(cuFuncSetAttribute);
  if (!driver.functions.count(function))
    return driver.report(CUDA_ERROR_INVALID_HANDLE, "not a function");
  auto &kernel = *reinterpret_cast<Kernel *>(function);
  if (attribute == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT)
    return CUDA_SUCCESS;
  EMU_REQUIRE(attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
  uint64_t most = getSettings().getSharedOptinBytes();
  if (value < 0 || uint64_t(value) + kernel.staticSharedBytes > most)
    return driver.report(
        CUDA_ERROR_INVALID_VALUE,
        "cuFuncSetAttribute of `" + kernel.name +
            "`: " + std::to_string(value) +
            " bytes of dynamic shared memory, the device has " +
            std::to_string(most));
  kernel.maxDynamicSharedBytes = uint32_t(value);
  return CUDA_SUCCESS;
}

CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute,
                            CUfunction function) {
  EMU_ENTER(cuFuncGetAttribute);
  EMU_REQUIRE(value);
  if (!driver.functions.count(function))
    return driver.report(CUDA_ERROR_INVALID_HANDLE, "not a function");
  const auto &kernel = *reinterpret_cast<Kernel *>(function);
  int version = int(getSettings().smMajor * 10 + getSettings().smMinor);
  switch (attribute) {
  case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
    *value = int(kernel.maxThreads);
    return CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
    *value = int(kernel.staticSharedBytes);
    return CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES:
    *value = int(kernel.localBytes);
    return CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES:
  case CU_FUNC_ATTRIBUTE_CACHE_MODE_CA:
    *value = 0;
    return CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_NUM_REGS:
    *value = 32; // there are none
    return CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_PTX_VERSION:
  case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
    *value = version;
    return CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
    *value = int(kernel.maxDynamicSharedBytes);
    return CUDA_SUCCESS;
  default:
    return driver.report(CUDA_ERROR_INVALID_VALUE,
                         "cuFuncGetAttribute: attribute " +
                             std::to_string(int(attribute)) +
                             " is not emulated");
  }
}

CUresult cuLaunchKernel(CUfunction function, unsigned gridX, unsigned gridY,
                        unsigned gridZ, unsigned blockX, unsigned blockY,
                        unsigned blockZ, unsigned sharedBytes, CUstream stream,
                        void **parameters, void **extra) {
  EMU_ENTER(cuLaunchKernel);
  EMU_REQUIRE(!extra);
  if (!driver.functions.count(function))
    return driver.report(CUDA_ERROR_INVALID_HANDLE, "not a function");
  const auto &kernel = *reinterpret_cast<const Kernel *>(function);
  EMU_REQUIRE(parameters || kernel.parameterBytes.empty());
  Launch launch;
  launch.kernel = &kernel;
  launch.grid[0] = gridX, launch.grid[1] = gridY, launch.grid[2] = gridZ;
  launch.block[0] = blockX, launch.block[1] = blockY, launch.block[2] = blockZ;
  launch.dynamicSharedBytes = sharedBytes;
  if (CUresult code = checkLaunch(driver, kernel, launch))
    return code;
  for (size_t i = 0; i < kernel.parameterBytes.size(); ++i) {
    uint64_t offset = (launch.argumentBytes.size() + 15) / 16 * 16;
    launch.argumentOffsets.push_back(offset);
    launch.argumentBytes.resize(offset + kernel.parameterBytes[i]);
    std::copy_n(static_cast<const char *>(parameters[i]),
                kernel.parameterBytes[i], launch.argumentBytes.data() + offset);
  }
  return driver.submit(stream, std::move(launch));
}

//===----------------------------------------------------------------------===//
// Streams and events
//===----------------------------------------------------------------------===//

CUresult cuStreamCreate(CUstream *stream, unsigned flags) {
  EMU_ENTER(cuStreamCreate);
  EMU_REQUIRE(stream);
  auto made = std::make_unique<CUstream_st>();
  *stream = made.get();
  driver.streams[*stream] = std::move(made);
  return CUDA_SUCCESS;
}

CUresult cuStreamDestroy_v2(CUstream stream) {
  EMU_ENTER(cuStreamDestroy);
  EMU_REQUIRE(stream && driver.streams.count(stream));
  CUresult code = driver.drain(*stream);
  driver.streams.erase(stream);
  return code;
}

CUresult cuStreamSynchronize(CUstream stream) {
  EMU_ENTER(cuStreamSynchronize);
  if (!stream)
    return driver.drainAll();
  CUstream_st *on = driver.find(stream);
  EMU_REQUIRE(on);
  if (on->capture)
    return driver.report(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
                         "cuStreamSynchronize of a stream that captures");
  return driver.drain(*on);
}

CUresult cuStreamQuery(CUstream stream) {
  EMU_ENTER(cuStreamQuery);
  CUstream_st *on = driver.find(stream);
  EMU_REQUIRE(on);
  // Polling hosts make progress too, a command at a time.
  CUresult code = driver.drain(*on, on->executed + 1);
  if (code != CUDA_SUCCESS || on->commands.empty())
    return code;
  return CUDA_ERROR_NOT_READY;
}

CUresult cuEventCreate(CUevent *event, unsigned flags) {
  EMU_ENTER(cuEventCreate);
  EMU_REQUIRE(event);
  auto made = std::make_unique<CUevent_st>();
  *event = made.get();
  driver.events[*event] = std::move(made);
  return CUDA_SUCCESS;
}

CUresult cuEventDestroy_v2(CUevent event) {
  EMU_ENTER(cuEventDestroy);
  EMU_REQUIRE(driver.events.erase(event));
  return CUDA_SUCCESS;
}

CUresult cuEventRecord(CUevent event, CUstream stream) {
  EMU_ENTER(cuEventRecord);
  EMU_REQUIRE(driver.events.count(event));
  CUstream_st *on = driver.find(stream);
  EMU_REQUIRE(on);
  event->stream = stream;
  event->isRecorded = true;
  event->isReached = false;
  event->position = on->executed + on->commands.size() + 1;
  return driver.submit(stream, event);
}

CUresult cuEventSynchronize(CUevent event) {
  EMU_ENTER(cuEventSynchronize);
  EMU_REQUIRE(driver.events.count(event));
  if (!event->isRecorded || event->isReached)
    return CUDA_SUCCESS;
  CUstream_st *on = driver.find(event->stream);
  return on ? driver.drain(*on, event->position) : CUDA_SUCCESS;
}

CUresult cuEventQuery(CUevent event) {
  EMU_ENTER(cuEventQuery);
  EMU_REQUIRE(driver.events.count(event));
  if (!event->isRecorded || event->isReached)
    return CUDA_SUCCESS;
  if (CUstream_st *on = driver.find(event->stream))
    if (CUresult code = driver.drain(*on, on->executed + 1))
      return code;
  return event->isReached ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned flags) {
  // To run the other stream's work now is one of the legal orders.
  return cuEventSynchronize(event);
}

CUresult cuEventElapsedTime(float *milliseconds, CUevent start, CUevent end) {
  EMU_ENTER(cuEventElapsedTime);
  EMU_REQUIRE(milliseconds);
  EMU_REQUIRE(driver.events.count(start) && driver.events.count(end));
  if (!start->isRecorded || !end->isRecorded)
    return driver.report(CUDA_ERROR_INVALID_HANDLE,
                         "cuEventElapsedTime of an event never recorded");
  if (!start->isReached || !end->isReached)
    return CUDA_ERROR_NOT_READY;
  std::chrono::duration<float, std::milli> time = end->time - start->time;
  *milliseconds = time.count();
  return CUDA_SUCCESS;
}

CUresult cuEventElapsedTime_v2(float *milliseconds, CUevent start,
                               CUevent end) {
  return cuEventElapsedTime(milliseconds, start, end);
}

//===----------------------------------------------------------------------===//
// Graphs
//===----------------------------------------------------------------------===//

CUresult cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode mode) {
  EMU_ENTER(cuStreamBeginCapture);
  EMU_REQUIRE(stream && driver.streams.count(stream));
  if (stream->capture)
    return driver.report(CUDA_ERROR_ILLEGAL_STATE,
                         "cuStreamBeginCapture of a stream that captures");
  stream->capture = std::make_unique<CUgraph_st>();
  return CUDA_SUCCESS;
}

CUresult cuStreamEndCapture(CUstream stream, CUgraph *graph) {
  EMU_ENTER(cuStreamEndCapture);
  EMU_REQUIRE(stream && graph && driver.streams.count(stream));
  if (!stream->capture)
    return driver.report(
        CUDA_ERROR_ILLEGAL_STATE,
        "cuStreamEndCapture of a stream that does not capture");
  *graph = stream->capture.get();
  driver.graphs[*graph] = std::move(stream->capture);
  return CUDA_SUCCESS;
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec *executable, CUgraph graph,
                                     unsigned long long flags) {
  EMU_ENTER(cuGraphInstantiateWithFlags);
  EMU_REQUIRE(executable && driver.graphs.count(graph));
  auto made = std::make_unique<CUgraphExec_st>();
  made->commands = graph->commands;
  *executable = made.get();
  driver.executables[*executable] = std::move(made);
  return CUDA_SUCCESS;
}

CUresult cuGraphLaunch(CUgraphExec executable, CUstream stream) {
  EMU_ENTER(cuGraphLaunch);
  EMU_REQUIRE(driver.executables.count(executable));
  for (const Command &command : executable->commands)
    if (CUresult code = driver.submit(stream, command))
      return code;
  return CUDA_SUCCESS;
}

CUresult cuGraphExecDestroy(CUgraphExec executable) {
  EMU_ENTER(cuGraphExecDestroy);
  EMU_REQUIRE(driver.executables.erase(executable));
  return CUDA_SUCCESS;
}

CUresult cuGraphDestroy(CUgraph graph) {
  EMU_ENTER(cuGraphDestroy);
  EMU_REQUIRE(driver.graphs.erase(graph));
  return CUDA_SUCCESS;
}

} // extern "C"
