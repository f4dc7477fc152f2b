//===- DeviceSession.cpp - The steps of a session on a device -------------===//

#include "runtime/lib/device/DeviceSession.h"

#include <algorithm>

using namespace moe::rt;
using namespace moe::rt::cuda;

namespace {

/// Sizes grow in steps, so that few of them mean new memory.
uint64_t roomFor(uint64_t bytes) {
  constexpr uint64_t kLeast = 64 << 10;
  uint64_t room = kLeast;
  while (room < bytes)
    room *= 2;
  return room;
}
uint64_t scratchRoomFor(uint64_t bytes) {
  constexpr uint64_t kUnit = 2 << 20; // in which drivers hand out memory
  return std::max<uint64_t>((bytes + kUnit - 1) / kUnit, 1) * kUnit;
}

/// Page tables widen in powers of two.
uint64_t columnsFor(uint64_t pages) {
  uint64_t columns = pages ? 1 : 0;
  while (columns < pages)
    columns *= 2;
  return columns;
}

} // namespace

DeviceSession::DeviceSession(const DeviceModel &model,
                             const ModelDescription &description)
    : loaded(model), stream(model.device()), staging(description),
      hostStaging(model.device()), hostResults(model.device()),
      deviceStaging(model.device()), deviceResults(model.device()),
      scratch(model.device()) {}

absl::StatusOr<std::unique_ptr<DeviceSession>>
DeviceSession::create(const DeviceModel &model,
                      const ModelDescription &description) {
  std::unique_ptr<DeviceSession> session(new DeviceSession(model, description));
  MOE_RETURN_IF_ERROR(session->stream.create());
  return session;
}

DeviceSession::~DeviceSession() = default;

std::unique_ptr<PageMemory> DeviceSession::makePages(size_t states) {
  auto made = std::make_unique<DevicePages>(loaded.device(), stream, states);
  pages = made.get();
  return made;
}

absl::Status DeviceSession::prepare(const moe_batch_v1 &batch,
                                    const Function &function, bool routing,
                                    uint64_t columns, uint64_t scratchBytes) {
  MOE_RETURN_IF_ERROR(device().status());
  staging.layOut({&batch, &function, routing, columnsFor(columns)});
  const uint64_t stagingRoom = roomFor(staging.stagingBytes());
  const uint64_t resultRoom = roomFor(staging.resultBytes());
  MOE_RETURN_IF_ERROR(deviceStaging.reserve(stagingRoom, "the batch"));
  MOE_RETURN_IF_ERROR(hostStaging.reserve(stagingRoom));
  MOE_RETURN_IF_ERROR(deviceResults.reserve(resultRoom, "the outputs"));
  MOE_RETURN_IF_ERROR(hostResults.reserve(resultRoom));
  return scratch.reserve(scratchRoomFor(scratchBytes), "the scratch of a step");
}

absl::Status DeviceSession::run(const moe_variant_v1 &code,
                                const moe_host_v1 *host, void *const *states,
                                int32_t &stepStatus) {
  const CudaScope scope(device());
  MOE_RETURN_IF_ERROR(scope.status());
  MOE_RETURN_IF_ERROR(pages->takeStatus());
  staging.write(hostStaging.data(),
                {deviceStaging.address(), deviceResults.address(),
                 scratch.address(), loaded.weightTable(), loaded.constants()},
                loaded.weightPointers().data(), states);
  staging.step().host = host;
  staging.step().device = this;
  const absl::Status ran = runLaunches(code, stepStatus);
  // Also after a failure: nothing may use the buffers any more.
  const absl::Status waited = stream.synchronize();
  MOE_RETURN_IF_ERROR(ran);
  return waited;
}

absl::Status DeviceSession::runLaunches(const moe_variant_v1 &code,
                                        int32_t &stepStatus) {
  MOE_RETURN_IF_ERROR(MOE_CUDA_CALL(device(), cuMemcpyHtoDAsync,
                                    deviceStaging.address(), hostStaging.data(),
                                    staging.stagingBytes(), stream.get()));
  if (staging.routingCount()) {
    // Routers of other functions have chosen nothing.
    const uint64_t at = deviceResults.address();
    MOE_RETURN_IF_ERROR(MOE_CUDA_CALL(device(), cuMemsetD32Async,
                                      at + staging.routingIds(), UINT32_MAX,
                                      staging.routingCount(), stream.get()));
    MOE_RETURN_IF_ERROR(MOE_CUDA_CALL(device(), cuMemsetD32Async,
                                      at + staging.routingWeights(), 0,
                                      staging.routingCount(), stream.get()));
  }
  launched = absl::OkStatus();
  stepStatus = code.step(&staging.step());
  MOE_RETURN_IF_ERROR(launched);
  if (stepStatus != MOE_STEP_OK || staging.resultBytes() == 0)
    return absl::OkStatus();
  return MOE_CUDA_CALL(device(), cuMemcpyDtoHAsync, hostResults.data(),
                       deviceResults.address(), staging.resultBytes(),
                       stream.get());
}

int32_t DeviceSession::launchEntry(const moe_step_v1 *step,
                                   const moe_launch_v1 *launch) {
  constexpr int32_t kFailed = 1;
  auto *session = static_cast<DeviceSession *>(step->device);
  if (!session)
    return kFailed; // a step that does not belong on a device
  // Generated code knows no exceptions.
  try {
    if (session->launched.ok())
      session->launched = session->launch(*launch);
    return session->launched.ok() ? 0 : kFailed;
  } catch (...) {
    return kFailed;
  }
}

absl::Status DeviceSession::launch(const moe_launch_v1 &given) {
  if (given.kernel >= loaded.kernels().size())
    return absl::InternalError(
        absl::StrCat("the step launches kernel ", given.kernel, " of ",
                     loaded.kernels().size(), " of device level '",
                     loaded.level().name, "'"));
  const DeviceModel::Kernel &kernel = loaded.kernels()[given.kernel];
  if (given.shared_bytes > kernel.sharedBytes)
    return absl::InternalError(absl::StrCat(
        "the step launches kernel '", kernel.name, "' with ",
        given.shared_bytes, " bytes of shared memory, which declares ",
        kernel.sharedBytes));
  if (given.grid[0] == 0 || given.grid[1] == 0 || given.grid[2] == 0)
    return absl::OkStatus();
  // Every parameter has 64 bits.
  parameters.resize(given.num_args + size_t{1});
  parameters[0] = &staging.step().on_device;
  for (uint32_t i = 0; i < given.num_args; ++i)
    parameters[i + size_t{1}] = const_cast<uint64_t *>(given.args + i);
  const absl::Status status = MOE_CUDA_CALL(
      device(), cuLaunchKernel, kernel.function, given.grid[0], given.grid[1],
      given.grid[2], kernel.threads, 1, 1, given.shared_bytes, stream.get(),
      parameters.data(), nullptr);
  if (status.ok())
    return status;
  return absl::Status(status.code(),
                      absl::StrCat("kernel '", kernel.name, "' with ",
                                   given.grid[0], " x ", given.grid[1], " x ",
                                   given.grid[2], " blocks of ", kernel.threads,
                                   " threads: ", status.message()));
}

const float *DeviceSession::output(size_t index) const {
  return reinterpret_cast<const float *>(hostResults.data() +
                                         staging.output(index));
}

const int32_t *DeviceSession::routingIds() const {
  return reinterpret_cast<const int32_t *>(hostResults.data() +
                                           staging.routingIds());
}

const float *DeviceSession::routingWeights() const {
  return reinterpret_cast<const float *>(hostResults.data() +
                                         staging.routingWeights());
}

DeviceSession::Memory DeviceSession::memory() const {
  return {pages ? pages->bytes() : 0, scratch.size(), deviceResults.size(),
          deviceStaging.size()};
}
