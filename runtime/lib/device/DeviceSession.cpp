//===- DeviceSession.cpp - The steps of a session on a device -------------===//

#include "runtime/lib/device/DeviceSession.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

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

bool isSet(const char *name, const char *value) {
  const char *found = std::getenv(name);
  return found && std::strcmp(found, value) == 0;
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
      scratch(model.device()), graphs(model.device()),
      usesGraphs(model.device()->driver().hasGraphs() &&
                 !isSet("MOE_CUDA_GRAPHS", "0") &&
                 !isSet("MOE_CUDA_SYNC", "1")),
      waitsForLaunches(isSet("MOE_CUDA_SYNC", "1")), stamps(model.device()) {}

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

absl::Status DeviceSession::prepare(const DeviceBatch &batch,
                                    uint64_t scratchBytes, bool keepsResults) {
  MOE_RETURN_IF_ERROR(device().status());
  keepsOutputs = keepsResults;
  DeviceBatch widened = batch;
  widened.pageColumns = columnsFor(batch.pageColumns);
  staging.layOut(widened);
  const uint64_t stagingRoom = roomFor(staging.stagingBytes());
  const uint64_t resultRoom = roomFor(staging.resultBytes());
  MOE_RETURN_IF_ERROR(deviceStaging.reserve(stagingRoom, "the batch"));
  MOE_RETURN_IF_ERROR(hostStaging.reserve(stagingRoom));
  MOE_RETURN_IF_ERROR(deviceResults.reserve(resultRoom, "the outputs"));
  MOE_RETURN_IF_ERROR(hostResults.reserve(resultRoom));
  return scratch.reserve(scratchRoomFor(scratchBytes), "the scratch of a step");
}

DeviceAddresses DeviceSession::addresses() const {
  return {deviceStaging.address(), deviceResults.address(), scratch.address(),
          loaded.weightTable(), loaded.constants()};
}

absl::Status DeviceSession::run(const moe_variant_v1 &code,
                                const moe_host_v1 *host, void *const *states,
                                uint32_t trace, int32_t &stepStatus) {
  const CudaScope scope(device());
  MOE_RETURN_IF_ERROR(scope.status());
  MOE_RETURN_IF_ERROR(pages->takeStatus());
  staging.write(hostStaging.data(), addresses(), loaded.weightPointers().data(),
                states);
  staging.step().host = host;
  staging.step().device = this;
  tracing = trace == MOE_TRACE_BARRIERS;
  const absl::Status queued =
      queueStep(code, trace == MOE_TRACE_STEP, stepStatus);
  // Also after a failure: nothing may use the buffers any more.
  const absl::Status waited = stream.synchronize();
  MOE_RETURN_IF_ERROR(queued);
  if (!waited.ok())
    return absl::Status(
        waited.code(),
        absl::StrCat(waited.message(), waitsForLaunches
                                           ? ""
                                           : " (MOE_CUDA_SYNC=1 in the "
                                             "environment tells the kernel)"));
  return trace ? stamps.finish() : absl::OkStatus();
}

absl::Status DeviceSession::queueStep(const moe_variant_v1 &code, bool stamped,
                                      int32_t &stepStatus) {
  MOE_RETURN_IF_ERROR(upload());
  if (stamped) {
    stamps.begin();
    MOE_RETURN_IF_ERROR(stamps.mark(stream.get()));
  }
  MOE_RETURN_IF_ERROR(usesGraphs && !tracing ? launchGraph(code, stepStatus)
                                             : launchAll(code, stepStatus));
  if (stamped)
    MOE_RETURN_IF_ERROR(stamps.mark(stream.get()));
  const uint64_t bytes =
      keepsOutputs ? staging.bytesWithOutputs() : staging.bytesBeforeOutputs();
  if (stepStatus != MOE_STEP_OK || bytes == 0)
    return absl::OkStatus();
  return MOE_CUDA_CALL(device(), cuMemcpyDtoHAsync, hostResults.data(),
                       deviceResults.address(), bytes, stream.get());
}

absl::Status DeviceSession::upload() {
  MOE_RETURN_IF_ERROR(MOE_CUDA_CALL(device(), cuMemcpyHtoDAsync,
                                    deviceStaging.address(), hostStaging.data(),
                                    staging.stagingBytes(), stream.get()));
  const uint64_t bytes = staging.routingCount() * sizeof(int32_t);
  if (bytes == 0)
    return absl::OkStatus();
  // Routers of other functions have chosen nothing: -1, and 0.
  constexpr unsigned char kAllBits = 0xff;
  const uint64_t at = deviceResults.address();
  MOE_RETURN_IF_ERROR(MOE_CUDA_CALL(device(), cuMemsetD8Async,
                                    at + staging.routingIds(), kAllBits, bytes,
                                    stream.get()));
  return MOE_CUDA_CALL(device(), cuMemsetD8Async, at + staging.routingWeights(),
                       0, bytes, stream.get());
}

/// Lets the generated code launch, or record while the stream captures.
absl::Status DeviceSession::launchAll(const moe_variant_v1 &code,
                                      int32_t &stepStatus) {
  launched = absl::OkStatus();
  if (tracing) {
    stamps.begin();
    MOE_RETURN_IF_ERROR(stamps.mark(stream.get()));
  }
  stepStatus = code.step(&staging.step());
  if (stepStatus == MOE_STEP_OK && staging.batch().choice) {
    // No interval of the variant.
    tracing = false;
    stepStatus = loaded.level().sample(&staging.step());
  }
  if (launched.ok() && stepStatus == MOE_STEP_LAUNCH_FAILED)
    return outOfMemory("no memory for the launches of a step");
  return launched;
}

GraphKey DeviceSession::graphKey(const moe_variant_v1 &code) const {
  uint64_t options = 0;
  if (staging.routingCount())
    options |= kKeepsRouting;
  if (staging.batch().choice)
    options |= kChoosesTokens;
  return {&code, staging.batch().batch->extents, staging.batch().pageColumns,
          options, staging.operands()};
}

absl::Status DeviceSession::launchGraph(const moe_variant_v1 &code,
                                        int32_t &stepStatus) {
  const DeviceAddresses now = addresses();
  if (!(now == graphAddresses) || graphMoves != pages->moves()) {
    graphs.clear();
    graphAddresses = now;
    graphMoves = pages->moves();
  }
  GraphCache::Entry &entry = graphs.find(graphKey(code));
  if (!entry.graph) {
    const bool isNew = std::exchange(entry.isNew, false);
    if (!isNew)
      MOE_RETURN_IF_ERROR(capture(code, entry, stepStatus));
    if (!entry.graph)
      return launchAll(code, stepStatus);
  }
  stepStatus = MOE_STEP_OK;
  return MOE_CUDA_CALL(device(), cuGraphLaunch, entry.graph, stream.get());
}

/// Leaves the entry without a graph where the driver makes none: then there
/// will be none in this session.
absl::Status DeviceSession::capture(const moe_variant_v1 &code,
                                    GraphCache::Entry &entry,
                                    int32_t &stepStatus) {
  absl::Status status = MOE_CUDA_CALL(device(), cuStreamBeginCapture,
                                      stream.get(), CaptureThreadLocal);
  if (status.ok()) {
    const absl::Status recorded = launchAll(code, stepStatus);
    Graph graph = nullptr;
    status = MOE_CUDA_CALL(device(), cuStreamEndCapture, stream.get(), &graph);
    // A step that fails by itself would fail again.
    const bool isComplete = recorded.ok() && stepStatus == MOE_STEP_OK;
    if (status.ok() && isComplete)
      status =
          MOE_CUDA_CALL(device(), cuGraphInstantiate, &entry.graph, graph, 0);
    if (!status.ok())
      entry.graph = nullptr;
    if (graph)
      static_cast<void>(device().api().cuGraphDestroy(graph));
    MOE_RETURN_IF_ERROR(recorded);
  }
  if (!status.ok())
    usesGraphs = false;
  return device().status();
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
  // Without blocks there is nothing to do, but for an interval of the trace.
  if (given.grid[0] == 0 || given.grid[1] == 0 || given.grid[2] == 0)
    return tracing ? stamps.mark(stream.get()) : absl::OkStatus();
  // Every parameter has 64 bits.
  parameters.resize(given.num_args + size_t{1});
  parameters[0] = &staging.step().on_device;
  for (uint32_t i = 0; i < given.num_args; ++i)
    parameters[i + size_t{1}] = const_cast<uint64_t *>(given.args + i);
  absl::Status status = MOE_CUDA_CALL(
      device(), cuLaunchKernel, kernel.function, given.grid[0], given.grid[1],
      given.grid[2], kernel.threads, 1, 1, given.shared_bytes, stream.get(),
      parameters.data(), nullptr);
  if (status.ok() && waitsForLaunches)
    status = stream.synchronize();
  if (!status.ok())
    return absl::Status(
        status.code(),
        absl::StrCat("kernel '", kernel.name, "' with ", given.grid[0], " x ",
                     given.grid[1], " x ", given.grid[2], " blocks of ",
                     kernel.threads, " threads: ", status.message()));
  return tracing ? stamps.mark(stream.get()) : status;
}

const float *DeviceSession::output(size_t index) const {
  return reinterpret_cast<const float *>(hostResults.data() +
                                         staging.output(index));
}

const int32_t *DeviceSession::tokens() const {
  return reinterpret_cast<const int32_t *>(hostResults.data() +
                                           staging.tokens());
}

absl::StatusOr<const float *> DeviceSession::fetchRow(uint64_t row) {
  const CudaScope scope(device());
  MOE_RETURN_IF_ERROR(scope.status());
  const uint64_t bytes =
      staging.batch().function->outputs.front().width * sizeof(float);
  const uint64_t at = staging.output(0) + row * bytes;
  MOE_RETURN_IF_ERROR(
      MOE_CUDA_CALL(device(), cuMemcpyDtoHAsync, hostResults.data() + at,
                    deviceResults.address() + at, bytes, stream.get()));
  MOE_RETURN_IF_ERROR(stream.synchronize());
  return reinterpret_cast<const float *>(hostResults.data() + at);
}

const int32_t *DeviceSession::routingIds() const {
  return reinterpret_cast<const int32_t *>(hostResults.data() +
                                           staging.routingIds());
}

const float *DeviceSession::routingWeights() const {
  return reinterpret_cast<const float *>(hostResults.data() +
                                         staging.routingWeights());
}

absl::Status DeviceSession::withPlan(const absl::Status &status) const {
  if (!absl::IsOutOfRange(status))
    return status;
  const Memory own = memory();
  return outOfMemory(status.message(), "; held are: weights ",
                     loaded.weightBytes(), ", constants ",
                     loaded.constantBytes(), ", cache ", own.cache,
                     ", scratch ", own.scratch, ", outputs ", own.outputs,
                     ", batch ", own.batch);
}

DeviceSession::Memory DeviceSession::memory() const {
  return {pages ? pages->bytes() : 0, scratch.size(), deviceResults.size(),
          deviceStaging.size()};
}
