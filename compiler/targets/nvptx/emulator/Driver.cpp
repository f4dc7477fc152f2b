//===- Driver.cpp - State behind the driver's functions -------------------===//
#include "compiler/targets/nvptx/emulator/Driver.h"
#include "compiler/targets/nvptx/emulator/DeviceMemory.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

using namespace moec::emu;

namespace {

/// After these the context is of no use, on hardware as here.
bool isSticky(CUresult code) {
  switch (code) {
  case CUDA_ERROR_ILLEGAL_ADDRESS:
  case CUDA_ERROR_LAUNCH_TIMEOUT:
  case CUDA_ERROR_ASSERT:
  case CUDA_ERROR_HARDWARE_STACK_ERROR:
  case CUDA_ERROR_ILLEGAL_INSTRUCTION:
  case CUDA_ERROR_MISALIGNED_ADDRESS:
  case CUDA_ERROR_INVALID_ADDRESS_SPACE:
  case CUDA_ERROR_INVALID_PC:
  case CUDA_ERROR_LAUNCH_FAILED:
  case CUDA_ERROR_ECC_UNCORRECTABLE:
  case CUDA_ERROR_DEVICE_UNAVAILABLE:
  case CUDA_ERROR_UNKNOWN:
    return true;
  default:
    return false;
  }
}

} // namespace

Driver &Driver::get() {
  // Never destroyed: calls may come while the process ends.
  static Driver *driver = new Driver;
  return *driver;
}

CUresult Driver::report(CUresult code, std::string text) {
  if (isSticky(code))
    lost = code;
  lastError = std::move(text);
  if (getSettings().verbose)
    std::fprintf(stderr, "libmoe-cuda-emu: %s: %s\n",
                 getResultName(code) ? getResultName(code) : "error",
                 lastError.c_str());
  return code;
}

CUresult Driver::initialise() {
  std::string problem;
  if (!isInitialised)
    problem = getSettings().read();
  if (!problem.empty())
    return report(CUDA_ERROR_INVALID_VALUE, problem);
  if (getSettings().devices <= 0)
    return report(CUDA_ERROR_NO_DEVICE, "MOE_CUDA_EMU_DEVICES is 0");
  isInitialised = true;
  return CUDA_SUCCESS;
}

void Driver::releaseContext() {
  defaultStream = CUstream_st();
  streams.clear();
  events.clear();
  graphs.clear();
  executables.clear();
  functions.clear();
  modules.clear();
  for (auto [address, bytes] : pinned)
    std::free(reinterpret_cast<void *>(address));
  pinned.clear();
  DeviceMemory::get().clear();
  lost = CUDA_SUCCESS;
}

CUresult Driver::reset() {
  releaseContext();
  retained = 0;
  isInitialised = false;
  lastError.clear();
  numLaunches = 0;
  std::string problem = getSettings().read();
  return problem.empty() ? CUDA_SUCCESS
                         : report(CUDA_ERROR_INVALID_VALUE, problem);
}

CUresult Driver::enter(const char *function, bool needsContext) {
  if (!isInitialised)
    return report(CUDA_ERROR_NOT_INITIALIZED,
                  std::string(function) + " before cuInit");
  for (InjectedFailure &failure : getSettings().failures)
    if (failure.function == function && ++failure.seen == failure.call)
      return report(failure.code, std::string(function) + ", call " +
                                      std::to_string(failure.call) +
                                      ": failure asked for by "
                                      "MOE_CUDA_EMU_FAIL");
  if (!needsContext)
    return CUDA_SUCCESS;
  if (!retained)
    return report(CUDA_ERROR_INVALID_CONTEXT,
                  std::string(function) + " without a context");
  return lost;
}

CUstream_st *Driver::find(CUstream stream) {
  if (!stream)
    return &defaultStream;
  auto it = streams.find(stream);
  return it == streams.end() ? nullptr : it->second.get();
}

bool Driver::isPinned(uint64_t address, uint64_t bytes) const {
  auto it = pinned.upper_bound(address);
  if (it == pinned.begin())
    return false;
  --it;
  return address - it->first <= it->second &&
         bytes <= it->second - (address - it->first);
}

CUresult Driver::submit(CUstream stream, Command command) {
  CUstream_st *to = find(stream);
  if (!to)
    return report(CUDA_ERROR_INVALID_HANDLE, "not a stream");
  if (to->capture) {
    if (!std::holds_alternative<CUevent>(command))
      to->capture->commands.push_back(std::move(command));
    return CUDA_SUCCESS;
  }
  to->commands.push_back(std::move(command));
  // The default stream waits for all others, and they for it.
  if (!stream || !defaultStream.commands.empty())
    return drainAll();
  return getSettings().blocking ? drain(*to) : CUDA_SUCCESS;
}

CUresult Driver::drainAll() {
  for (auto &[handle, stream] : streams)
    if (CUresult code = drain(*stream))
      return code;
  return drain(defaultStream);
}

CUresult Driver::drain(CUstream_st &stream, uint64_t count) {
  while (!stream.commands.empty() && stream.executed < count) {
    Command command = std::move(stream.commands.front());
    stream.commands.pop_front();
    ++stream.executed;
    if (CUresult code = execute(command)) {
      stream.commands.clear();
      return code;
    }
  }
  return CUDA_SUCCESS;
}

CUresult Driver::execute(Command &command) {
  if (lost)
    return lost;
  if (auto *launch = std::get_if<Launch>(&command))
    return execute(*launch);
  if (auto *copy = std::get_if<Copy>(&command))
    return execute(*copy);
  if (auto *fill = std::get_if<Fill>(&command)) {
    if (CUresult code = checkDevice(fill->to, fill->bytes))
      return code;
    auto *to = reinterpret_cast<uint8_t *>(fill->to);
    for (uint64_t i = 0; i < fill->bytes; ++i)
      to[i] = static_cast<uint8_t>(fill->value >> i % 4 * 8);
    return CUDA_SUCCESS;
  }
  CUevent event = std::get<CUevent>(command);
  if (events.count(event)) {
    event->time = std::chrono::steady_clock::now();
    event->isReached = true;
  }
  return CUDA_SUCCESS;
}

CUresult Driver::execute(const Launch &launch) {
  // A graph may outlive the module of its kernels.
  auto function =
      reinterpret_cast<CUfunction>(const_cast<Kernel *>(launch.kernel));
  if (!functions.count(function))
    return report(CUDA_ERROR_INVALID_HANDLE,
                  "launch of a kernel whose module was unloaded");
  std::string message;
  uint64_t seed = getSettings().seed * 0x9e3779b97f4a7c15ull + ++numLaunches;
  CUresult code = Block::get().run(launch, seed, message);
  return code == CUDA_SUCCESS ? code : report(code, message);
}

CUresult Driver::checkDevice(uint64_t address, uint64_t bytes) {
  Region *region = DeviceMemory::get().find(address);
  if (region && region->contains(address, bytes))
    return CUDA_SUCCESS;
  char text[32];
  std::snprintf(text, sizeof text, "0x%llx",
                static_cast<unsigned long long>(address));
  return report(CUDA_ERROR_ILLEGAL_ADDRESS,
                "copy or fill of " + std::to_string(bytes) + " bytes at " +
                    text + ": not within one allocation");
}

CUresult Driver::execute(const Copy &copy) {
  if (!copy.bytes)
    return CUDA_SUCCESS;
  if (copy.checkTo)
    if (CUresult code = checkDevice(copy.to, copy.bytes))
      return code;
  if (copy.checkFrom)
    if (CUresult code = checkDevice(copy.from, copy.bytes))
      return code;
  const void *from = copy.staged.empty()
                         ? reinterpret_cast<const void *>(copy.from)
                         : copy.staged.data();
  std::memmove(reinterpret_cast<void *>(copy.to), from, copy.bytes);
  return CUDA_SUCCESS;
}
