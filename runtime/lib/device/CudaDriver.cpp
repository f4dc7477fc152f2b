//===- CudaDriver.cpp - The driver's library, opened when asked for -------===//

#include "runtime/lib/device/CudaDriver.h"

#include <cstdlib>
#include <dlfcn.h>

using namespace moe::rt;
using namespace moe::rt::cuda;

namespace {

template <typename Function>
void find(void *library, const char *symbol, Function &into) {
  into.set(dlsym(library, symbol));
}

} // namespace

absl::StatusOr<std::shared_ptr<const CudaDriver>> CudaDriver::open() {
  const char *named = std::getenv("MOE_CUDA_DRIVER");
  std::shared_ptr<CudaDriver> driver(new CudaDriver);
  MOE_RETURN_IF_ERROR(driver->load(named && *named ? named : "libcuda.so.1"));
  return driver;
}

absl::Status CudaDriver::load(const std::string &path) {
  library = path;
  void *handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    const char *reason = dlerror();
    return unsupported("no CUDA driver: ", reason ? reason : path);
  }
  const char *missing = nullptr;
#define MOE_CUDA(NAME, SYMBOL, PARAMETERS)                                     \
  find(handle, #SYMBOL, functions.NAME);                                       \
  if (!functions.NAME && !missing)                                             \
    missing = #SYMBOL;
#define MOE_CUDA_OPTIONAL(NAME, SYMBOL, PARAMETERS)                            \
  find(handle, #SYMBOL, functions.NAME);
#include "runtime/lib/device/CudaFunctions.def"
  find(handle, "moeEmuLastError", functions.moeEmuLastError);
  if (missing)
    return unsupported("the CUDA driver '", path,
                       "' is too old: it lacks the function ", missing);
  const Result result = functions.cuInit(0);
  if (result == NoDevice)
    return unsupported("the CUDA driver '", path, "' finds no device");
  if (result != Success)
    return unsupported("the CUDA driver '", path,
                       "' does not start: ", describe("cuInit", result));
  if (functions.cuDriverGetVersion(&driverVersion) != Success)
    driverVersion = 0;
  return absl::OkStatus();
}

std::string CudaDriver::versionText() const {
  return absl::StrCat(driverVersion / 1000, ".", driverVersion % 1000 / 10);
}

bool CudaDriver::hasGraphs() const {
  return functions.cuStreamBeginCapture && functions.cuStreamEndCapture &&
         functions.cuGraphInstantiate && functions.cuGraphLaunch &&
         functions.cuGraphExecDestroy && functions.cuGraphDestroy;
}

bool CudaDriver::hasEvents() const {
  return functions.cuEventCreate && functions.cuEventDestroy &&
         functions.cuEventRecord && functions.cuEventElapsedTime;
}

std::string CudaDriver::describe(const char *function, Result result) const {
  const char *name = nullptr;
  const char *text = nullptr;
  if (functions.cuGetErrorName(result, &name) != Success || !name)
    name = "an unknown error";
  if (functions.cuGetErrorString(result, &text) != Success)
    text = nullptr;
  std::string sentence =
      absl::StrCat(function, ": ", name, ", ", static_cast<int>(result));
  if (text)
    absl::StrAppend(&sentence, " (", text, ")");
  const char *said =
      functions.moeEmuLastError ? functions.moeEmuLastError() : nullptr;
  if (said && *said)
    absl::StrAppend(&sentence, ": ", said);
  return sentence;
}
