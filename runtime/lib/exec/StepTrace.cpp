//===- StepTrace.cpp - When a step reaches its barriers -------------------===//

#include "runtime/lib/exec/StepTrace.h"

#include <algorithm>
#include <ctime>

using namespace moe::rt;

namespace {

constexpr uint64_t kNanoseconds = 1000000000;

uint64_t now() {
  timespec time = {};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<uint64_t>(time.tv_sec) * kNanoseconds +
         static_cast<uint64_t>(time.tv_nsec);
}

} // namespace

void StepTrace::Lane::stamp() noexcept {
  try {
    stamps.push_back(now());
  } catch (...) {
    isComplete = false;
  }
}

StepTrace::StepTrace(const moe_host_v1 *engine, uint32_t threads)
    : engine(engine), table(), lanes(threads) {
  table.size = sizeof(table);
  table.abi_version = MOE_ABI_VERSION;
  table.user = this;
  table.parallel = parallelEntry;
  table.barrier = barrierEntry;
}

const moe_host_v1 *StepTrace::begin() {
  for (Lane &lane : lanes) {
    lane.trace = this;
    lane.stamps.clear();
    lane.isComplete = true;
  }
  intervals = 0;
  participants = 0;
  return &table;
}

void StepTrace::beginWhole() {
  stamps.assign(2, 0);
  intervals = 1;
  participants = 1;
  stamps[0] = now();
}

void StepTrace::finishWhole() { stamps[1] = now(); }

int32_t StepTrace::parallelEntry(void *user, moe_region_fn fn, void *ctx) {
  auto *trace = static_cast<StepTrace *>(user);
  Region region = {trace, fn, ctx};
  return trace->engine->parallel(trace->engine->user, regionEntry, &region);
}

void StepTrace::regionEntry(void *opaque, const moe_worker_v1 *worker) {
  const Region &region = *static_cast<Region *>(opaque);
  Lane &lane = region.trace->lanes[worker->thread];
  lane.worker = worker;
  moe_worker_v1 own = *worker;
  own.team = &lane;
  lane.stamp();
  region.fn(region.ctx, &own);
  lane.stamp();
  // All say the same, so the first may say it for all.
  if (worker->thread == 0)
    region.trace->participants = worker->threads;
}

void StepTrace::barrierEntry(const moe_worker_v1 *worker) {
  auto &lane = *static_cast<Lane *>(worker->team);
  lane.stamp();
  lane.trace->engine->barrier(lane.worker);
  lane.stamp();
}

absl::Status StepTrace::finish(const std::string &path) {
  const size_t count = participants ? lanes.front().stamps.size() : 0;
  stamps.clear();
  for (uint32_t thread = 0; thread < participants; ++thread) {
    const Lane &lane = lanes[thread];
    if (!lane.isComplete)
      return absl::ResourceExhaustedError("no memory for the trace of a step");
    if (lane.stamps.size() != count)
      return absl::InternalError(absl::StrCat(
          "'", path, "': expected all participants of the step at the same ",
          "barriers, found ", count / 2, " and ", lane.stamps.size() / 2,
          " intervals"));
    stamps.insert(stamps.end(), lane.stamps.begin(), lane.stamps.end());
  }
  intervals = count / 2;
  return absl::OkStatus();
}

moe_trace StepTrace::describe() const {
  moe_trace trace = {};
  trace.size = sizeof(trace);
  trace.stamps = stamps.data();
  trace.intervals = intervals;
  trace.threads = participants;
  return trace;
}
