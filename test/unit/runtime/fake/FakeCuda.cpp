// FakeCuda.cpp - a driver for tests; see FakeCuda.h.
//
// FAKE_EMULATOR: has the functions of the emulator. FAKE_OLD: lacks one that
// every driver must have. FAKE_PLAIN: has neither graphs nor events.

#include "test/unit/runtime/fake/FakeCuda.h"

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#define FAKE_API extern "C" __attribute__((visibility("default")))

namespace {

enum Result {
  Success = 0,
  InvalidValue = 1,
  OutOfMemory = 2,
  NoDevice = 100,
  InvalidImage = 200,
  InvalidContext = 201,
  NoBinaryForGpu = 209,
  UnsupportedPtx = 222,
  NotFound = 500,
  IllegalAddress = 700,
  LaunchFailed = 719,
  CaptureInvalid = 901
};

using Work = std::vector<std::function<int()>>;

struct Stream {
  Work queue;
  Work *capture = nullptr;
};
struct Module {
  const FakeImage *image;
};
struct Event {
  uint64_t time = 0;
};

struct Block {
  std::vector<uint8_t> data;
  uint64_t bytes; // that were asked for
};

struct State {
  std::mutex mutex;
  int major = 9, minor = 0, version = 13000, devices = 1;
  uint64_t total = 1 << 30, used = 0, bytesToHost = 0;
  int alive = 0, contexts = 0, lost = Success;
  uint64_t clock = 0;
  std::map<uint64_t, Block> memory; // by device address
  std::map<uint64_t, Block> pinned;
  std::map<std::string, int> calls;
  struct Failure {
    int skip, result;
  };
  std::map<std::string, Failure> failures;
} state;

thread_local int current = 0; // depth of the stack of contexts

bool endsContext(int result) {
  return result >= IllegalAddress && result <= LaunchFailed && result != 701;
}

/// Counts a call and says whether it is to fail.
int enter(const char *function, bool needsContext = true) {
  ++state.calls[function];
  const auto found = state.failures.find(function);
  if (found != state.failures.end() && found->second.skip-- == 0) {
    const int result = found->second.result;
    state.failures.erase(found);
    if (endsContext(result))
      state.lost = result;
    return result;
  }
  if (!needsContext)
    return Success;
  if (state.lost)
    return state.lost;
  return current ? Success : InvalidContext;
}

#define ENTER(function, ...)                                                   \
  const std::lock_guard<std::mutex> lock(state.mutex);                         \
  if (const int failed = enter(#function, ##__VA_ARGS__))                      \
  return failed

/// Whether [at, at + bytes) lies in one block.
bool lies(const std::map<uint64_t, Block> &blocks, uint64_t at,
          uint64_t bytes) {
  auto after = blocks.upper_bound(at);
  if (after == blocks.begin())
    return false;
  --after;
  return at + bytes <= after->first + after->second.bytes;
}
bool onDevice(uint64_t at, uint64_t bytes) {
  return lies(state.memory, at, bytes);
}
bool isPinned(const void *at, uint64_t bytes) {
  return lies(state.pinned, reinterpret_cast<uintptr_t>(at), bytes);
}
uint8_t *hostOf(uint64_t device) { return FAKE_FROM_DEVICE(uint8_t *, device); }

int enqueue(void *stream, std::function<int()> work) {
  auto &to = *static_cast<Stream *>(stream);
  (to.capture ? *to.capture : to.queue).push_back(std::move(work));
  return Success;
}

int drain(Stream &stream) {
  const Work work = std::move(stream.queue);
  stream.queue.clear();
  for (const auto &each : work)
    if (const int failed = each()) {
      state.lost = failed;
      return failed;
    }
  return Success;
}

} // namespace

//===----------------------------------------------------------------------===//
// For tests
//===----------------------------------------------------------------------===//

FAKE_API void fakeCudaReset(int major, int minor, uint64_t bytes) {
  const std::lock_guard<std::mutex> lock(state.mutex);
  state.major = major;
  state.minor = minor;
  state.total = bytes;
  state.version = 13000;
  state.devices = 1;
  state.calls.clear();
  state.failures.clear();
}
FAKE_API void fakeCudaFail(const char *function, int skip, int result) {
  const std::lock_guard<std::mutex> lock(state.mutex);
  state.failures[function] = {skip, result};
}
FAKE_API int fakeCudaCalls(const char *function) {
  const std::lock_guard<std::mutex> lock(state.mutex);
  return state.calls[function];
}
FAKE_API uint64_t fakeCudaBytes() {
  const std::lock_guard<std::mutex> lock(state.mutex);
  return state.used;
}
FAKE_API uint64_t fakeCudaBytesToHost() {
  const std::lock_guard<std::mutex> lock(state.mutex);
  return state.bytesToHost;
}
FAKE_API int fakeCudaAlive() {
  const std::lock_guard<std::mutex> lock(state.mutex);
  return state.alive + state.contexts +
         static_cast<int>(state.memory.size() + state.pinned.size());
}
FAKE_API void fakeCudaVersion(int version) {
  const std::lock_guard<std::mutex> lock(state.mutex);
  state.version = version;
}
FAKE_API void fakeCudaDevices(int count) {
  const std::lock_guard<std::mutex> lock(state.mutex);
  state.devices = count;
}

//===----------------------------------------------------------------------===//
// The driver
//===----------------------------------------------------------------------===//

FAKE_API int cuInit(unsigned) {
  ENTER(cuInit, false);
  return state.devices ? Success : NoDevice;
}
FAKE_API int cuDriverGetVersion(int *version) {
  *version = state.version;
  return Success;
}
FAKE_API int cuGetErrorName(int result, const char **name) {
  static const std::map<int, const char *> names = {
      {InvalidValue, "CUDA_ERROR_INVALID_VALUE"},
      {OutOfMemory, "CUDA_ERROR_OUT_OF_MEMORY"},
      {UnsupportedPtx, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"},
      {IllegalAddress, "CUDA_ERROR_ILLEGAL_ADDRESS"},
      {LaunchFailed, "CUDA_ERROR_LAUNCH_FAILED"}};
  const auto found = names.find(result);
  *name = found == names.end() ? nullptr : found->second;
  return *name ? Success : InvalidValue;
}
FAKE_API int cuGetErrorString(int, const char **text) {
  *text = "as the test wants it";
  return Success;
}
FAKE_API int cuDeviceGetCount(int *count) {
  ENTER(cuDeviceGetCount, false);
  *count = state.devices;
  return Success;
}
FAKE_API int cuDeviceGet(int *device, int ordinal) {
  ENTER(cuDeviceGet, false);
  *device = ordinal;
  return Success;
}
FAKE_API int cuDeviceGetName(char *name, int bytes, int) {
  std::strncpy(name, "Fake GPU", static_cast<size_t>(bytes));
  return Success;
}
FAKE_API int cuDeviceGetAttribute(int *value, int attribute, int) {
  ENTER(cuDeviceGetAttribute, false);
  *value = attribute == 75 ? state.major : state.minor;
  return Success;
}
FAKE_API int cuDevicePrimaryCtxRetain(void **context, int) {
  ENTER(cuDevicePrimaryCtxRetain, false);
  *context = &state;
  ++state.contexts;
  return Success;
}
FAKE_API int cuDevicePrimaryCtxRelease_v2(int) {
  const std::lock_guard<std::mutex> lock(state.mutex);
  if (--state.contexts == 0) {
    // What it owned goes with it.
    state.lost = Success;
    state.memory.clear();
    state.used = 0;
  }
  return Success;
}
FAKE_API int cuCtxPushCurrent_v2(void *) {
  ++current;
  return Success;
}
FAKE_API int cuCtxPopCurrent_v2(void **context) {
  *context = &state;
  --current;
  return Success;
}
FAKE_API int cuMemGetInfo_v2(size_t *free, size_t *total) {
  ENTER(cuMemGetInfo_v2);
  *free = state.total - state.used;
  *total = state.total;
  return Success;
}
FAKE_API int cuMemAlloc_v2(uint64_t *pointer, size_t bytes) {
  ENTER(cuMemAlloc_v2);
  if (bytes == 0)
    return InvalidValue;
  if (bytes > state.total - state.used)
    return OutOfMemory;
  constexpr uint64_t kAlignment = 256;
  constexpr uint8_t kGarbage = 0xcd;
  std::vector<uint8_t> block(bytes + kAlignment, kGarbage);
  const auto at = reinterpret_cast<uintptr_t>(block.data());
  *pointer =
      (at + kAlignment - 1) / kAlignment * kAlignment + FAKE_DEVICE_SHIFT;
  state.used += bytes;
  state.memory[*pointer] = {std::move(block), bytes};
  return Success;
}
FAKE_API int cuMemFree_v2(uint64_t pointer) {
  ENTER(cuMemFree_v2);
  const auto found = state.memory.find(pointer);
  if (found == state.memory.end())
    return InvalidValue;
  state.used -= found->second.bytes;
  state.memory.erase(found);
  return Success;
}
FAKE_API int cuMemAllocHost_v2(void **pointer, size_t bytes) {
  ENTER(cuMemAllocHost_v2);
  std::vector<uint8_t> block(bytes);
  *pointer = block.data();
  state.pinned[reinterpret_cast<uintptr_t>(*pointer)] = {std::move(block),
                                                         bytes};
  return Success;
}
FAKE_API int cuMemFreeHost(void *pointer) {
  const std::lock_guard<std::mutex> lock(state.mutex);
  return state.pinned.erase(reinterpret_cast<uintptr_t>(pointer))
             ? Success
             : InvalidValue;
}
#ifndef FAKE_OLD
FAKE_API int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes,
                                  void *stream) {
  ENTER(cuMemcpyHtoDAsync_v2);
  if (!onDevice(to, bytes) || !isPinned(from, bytes))
    return InvalidValue;
  return enqueue(stream, [=] {
    std::memcpy(hostOf(to), from, bytes);
    return Success;
  });
}
#endif
FAKE_API int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes,
                                  void *stream) {
  ENTER(cuMemcpyDtoHAsync_v2);
  if (!onDevice(from, bytes) || !isPinned(to, bytes))
    return InvalidValue;
  state.bytesToHost += bytes;
  return enqueue(stream, [=] {
    std::memcpy(to, hostOf(from), bytes);
    return Success;
  });
}
FAKE_API int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes,
                                  void *stream) {
  ENTER(cuMemcpyDtoDAsync_v2);
  if (!onDevice(from, bytes) || !onDevice(to, bytes))
    return InvalidValue;
  return enqueue(stream, [=] {
    std::memcpy(hostOf(to), hostOf(from), bytes);
    return Success;
  });
}
FAKE_API int cuMemsetD8Async(uint64_t to, unsigned char value, size_t bytes,
                             void *stream) {
  ENTER(cuMemsetD8Async);
  if (!onDevice(to, bytes))
    return InvalidValue;
  return enqueue(stream, [=] {
    std::memset(hostOf(to), value, bytes);
    return Success;
  });
}
FAKE_API int cuStreamCreate(void **stream, unsigned) {
  ENTER(cuStreamCreate);
  *stream = new Stream;
  ++state.alive;
  return Success;
}
FAKE_API int cuStreamDestroy_v2(void *stream) {
  const std::lock_guard<std::mutex> lock(state.mutex);
  delete static_cast<Stream *>(stream);
  --state.alive;
  return Success;
}
FAKE_API int cuStreamSynchronize(void *stream) {
  ENTER(cuStreamSynchronize);
  if (static_cast<Stream *>(stream)->capture)
    return CaptureInvalid;
  return drain(*static_cast<Stream *>(stream));
}

static int loadImage(void **module, const void *data) {
  const auto *image = static_cast<const FakeImage *>(data);
  if (std::strncmp(image->text, FAKE_IMAGE_MAGIC, sizeof(image->text)) != 0)
    return InvalidImage;
  if (image->version > static_cast<uint32_t>(state.version))
    return UnsupportedPtx;
  *module = new Module{image};
  ++state.alive;
  return Success;
}
FAKE_API int cuModuleLoadDataEx(void **module, const void *image,
                                unsigned count, int *options, void **values) {
  ENTER(cuModuleLoadDataEx);
  const int result = loadImage(module, image);
  for (unsigned i = 0; result && i < count; ++i)
    if (options[i] == 5)
      std::strcpy(static_cast<char *>(values[i]), "ptxas fatal: it is old\n");
  return result;
}
FAKE_API int cuModuleUnload(void *module) {
  const std::lock_guard<std::mutex> lock(state.mutex);
  delete static_cast<Module *>(module);
  --state.alive;
  return Success;
}
FAKE_API int cuModuleGetFunction(void **function, void *module,
                                 const char *name) {
  ENTER(cuModuleGetFunction);
  const FakeImage &image = *static_cast<Module *>(module)->image;
  for (uint32_t i = 0; i < image.count; ++i)
    if (std::strcmp(image.kernels[i].name, name) == 0) {
      *function = const_cast<FakeKernel *>(&image.kernels[i]);
      return Success;
    }
  return NotFound;
}
FAKE_API int cuFuncSetAttribute(void *, int, int) {
  ENTER(cuFuncSetAttribute);
  return Success;
}
FAKE_API int cuLaunchKernel(void *function, unsigned gridX, unsigned gridY,
                            unsigned gridZ, unsigned threads, unsigned,
                            unsigned, unsigned sharedBytes, void *stream,
                            void **given, void **) {
  ENTER(cuLaunchKernel);
  if (gridX == 0 || gridY == 0 || gridZ == 0)
    return InvalidValue;
  const FakeKernel &kernel = *static_cast<FakeKernel *>(function);
  std::vector<uint64_t> parameters;
  for (uint32_t i = 0; i < kernel.parameters; ++i)
    parameters.push_back(*static_cast<uint64_t *>(given[i]));
  return enqueue(stream, [=] {
    for (uint32_t x = 0; x < gridX; ++x)
      for (uint32_t y = 0; y < gridY; ++y)
        for (uint32_t z = 0; z < gridZ; ++z) {
          const FakeBlock block = {{x, y, z},
                                   {gridX, gridY, gridZ},
                                   threads,
                                   sharedBytes,
                                   parameters.data()};
          kernel.run(&block);
        }
    return Success;
  });
}

#ifndef FAKE_PLAIN
FAKE_API int cuStreamBeginCapture_v2(void *stream, int) {
  ENTER(cuStreamBeginCapture_v2);
  static_cast<Stream *>(stream)->capture = new Work;
  ++state.alive;
  return Success;
}
FAKE_API int cuStreamEndCapture(void *stream, void **graph) {
  auto &from = *static_cast<Stream *>(stream);
  const std::lock_guard<std::mutex> lock(state.mutex);
  Work *captured = from.capture;
  from.capture = nullptr;
  if (const int failed = enter("cuStreamEndCapture")) {
    delete captured;
    --state.alive;
    *graph = nullptr;
    return failed;
  }
  *graph = captured;
  return Success;
}
FAKE_API int cuGraphInstantiateWithFlags(void **exec, void *graph,
                                         unsigned long long) {
  ENTER(cuGraphInstantiateWithFlags);
  *exec = new Work(*static_cast<Work *>(graph));
  ++state.alive;
  return Success;
}
FAKE_API int cuGraphLaunch(void *exec, void *stream) {
  ENTER(cuGraphLaunch);
  const Work work = *static_cast<Work *>(exec);
  return enqueue(stream, [=] {
    for (const auto &each : work)
      if (const int failed = each())
        return failed;
    return int{Success};
  });
}
FAKE_API int cuGraphExecDestroy(void *exec) {
  const std::lock_guard<std::mutex> lock(state.mutex);
  delete static_cast<Work *>(exec);
  --state.alive;
  return Success;
}
FAKE_API int cuGraphDestroy(void *graph) {
  const std::lock_guard<std::mutex> lock(state.mutex);
  delete static_cast<Work *>(graph);
  --state.alive;
  return Success;
}
FAKE_API int cuEventCreate(void **event, unsigned) {
  ENTER(cuEventCreate);
  *event = new Event;
  ++state.alive;
  return Success;
}
FAKE_API int cuEventDestroy_v2(void *event) {
  const std::lock_guard<std::mutex> lock(state.mutex);
  delete static_cast<Event *>(event);
  --state.alive;
  return Success;
}
FAKE_API int cuEventRecord(void *event, void *stream) {
  ENTER(cuEventRecord);
  return enqueue(stream, [=] {
    static_cast<Event *>(event)->time = ++state.clock;
    return Success;
  });
}
/// A launch takes a millisecond.
FAKE_API int cuEventElapsedTime(float *milliseconds, void *first, void *last) {
  ENTER(cuEventElapsedTime);
  *milliseconds = static_cast<float>(static_cast<Event *>(last)->time -
                                     static_cast<Event *>(first)->time);
  return Success;
}
#endif

#ifdef FAKE_EMULATOR
FAKE_API int moeEmuModuleLoadIr(void **module, const void *bitcode, size_t) {
  ENTER(moeEmuModuleLoadIr);
  return loadImage(module, bitcode);
}
FAKE_API const char *moeEmuLastError() { return "the emulator says why"; }
#endif
