//===- StepStaging.cpp - Everything a device step reads, in one piece -----===//

#include "runtime/lib/device/StepStaging.h"

#include <algorithm>
#include <cstring>

using namespace moe::rt;

namespace {

/// Hands out places one behind the other, each as aligned as an allocation.
class Cursor {
public:
  uint64_t place(uint64_t bytes) {
    constexpr uint64_t kAlignment = 256;
    const uint64_t at = end;
    end = (end + bytes + kAlignment - 1) / kAlignment * kAlignment;
    return at;
  }
  uint64_t end = 0;
};

template <typename Element> Element *onDevice(uint64_t address) {
  return reinterpret_cast<Element *>(address);
}

} // namespace

StepStaging::StepStaging(const ModelDescription &model)
    : model(model), ids(model.routers.size()), weights(model.routers.size()) {}

uint64_t StepStaging::rawBytes(size_t modality) const {
  const Modality *of = model.byId[modality];
  const moe_batch_v1 &batch = *given.batch;
  return of && batch.raw[modality]
             ? batch.extents.raw_inputs[modality] * of->bytes
             : 0;
}

void StepStaging::layOut(const DeviceBatch &wanted) {
  given = wanted;
  const moe_extents_v1 &extents = given.batch->extents;
  const uint64_t routers = model.routers.size();
  Cursor cursor;
  places.step = cursor.place(sizeof(moe_step_v1));
  places.batch = cursor.place(sizeof(moe_batch_v1));
  places.routing = cursor.place(sizeof(moe_routing_io_v1));
  places.idTable = cursor.place(routers * sizeof(void *));
  places.weightTable = cursor.place(routers * sizeof(void *));
  places.outputs =
      cursor.place(given.function->outputs.size() * sizeof(void *));
  places.states = cursor.place(model.states.size() * sizeof(void *));
  places.tokens = cursor.place(extents.tokens * sizeof(int32_t));
  places.kinds = cursor.place(extents.tokens * sizeof(int8_t));
  places.positions = cursor.place(extents.tokens * sizeof(int32_t));
  places.cuSeqlens = cursor.place((extents.sequences + 1) * sizeof(int32_t));
  places.pageTable =
      cursor.place(extents.sequences * given.pageColumns * sizeof(int32_t));
  places.slots = cursor.place(extents.sequences * sizeof(int32_t));
  places.logitsRows = cursor.place(extents.logits_rows * sizeof(int32_t));
  for (size_t i = 0; i < MOE_MAX_MODALITIES; ++i)
    places.raw[i] = cursor.place(rawBytes(i));
  places.end = cursor.end;

  Cursor result;
  results.outputs.clear();
  for (const Output &output : given.function->outputs)
    results.outputs.push_back(
        result.place(extents.logits_rows * output.width * sizeof(float)));
  results.routingCount = 0;
  for (const Router &router : model.routers)
    results.routingCount += given.routing ? extents.tokens * router.slots : 0;
  results.ids = result.place(results.routingCount * sizeof(int32_t));
  results.weights = result.place(results.routingCount * sizeof(float));
  results.end = result.end;
}

/// Copies an array into the staging buffer and returns where it will be on the
/// device; NULL where there is none.
template <typename Element>
const Element *StepStaging::put(uint8_t *host, uint64_t staging, uint64_t place,
                                const Element *from, uint64_t count) {
  if (!from)
    return nullptr;
  std::memcpy(host + place, from, count * sizeof(Element));
  return onDevice<const Element>(staging + place);
}

void StepStaging::writeBatch(uint8_t *host, uint64_t staging) {
  const moe_batch_v1 &from = *given.batch;
  const moe_extents_v1 &extents = from.extents;
  hostBatch = from;
  hostBatch.tokens =
      put(host, staging, places.tokens, from.tokens, extents.tokens);
  hostBatch.kinds =
      put(host, staging, places.kinds, from.kinds, extents.tokens);
  hostBatch.positions =
      put(host, staging, places.positions, from.positions, extents.tokens);
  hostBatch.cu_seqlens = put(host, staging, places.cuSeqlens, from.cu_seqlens,
                             extents.sequences + 1);
  hostBatch.slots =
      put(host, staging, places.slots, from.slots, extents.sequences);
  hostBatch.logits_rows = put(host, staging, places.logitsRows,
                              from.logits_rows, extents.logits_rows);
  if (from.page_table) {
    // Entries that no token reaches are 0, a page that exists.
    auto *table = reinterpret_cast<int32_t *>(host + places.pageTable);
    std::fill_n(table, extents.sequences * given.pageColumns, 0);
    for (uint64_t b = 0; b < extents.sequences; ++b)
      std::copy_n(from.page_table + b * from.pages_per_sequence,
                  from.pages_per_sequence, table + b * given.pageColumns);
    hostBatch.page_table = onDevice<const int32_t>(staging + places.pageTable);
    hostBatch.pages_per_sequence = given.pageColumns;
  }
  for (size_t i = 0; i < MOE_MAX_MODALITIES; ++i)
    hostBatch.raw[i] =
        put(host, staging, places.raw[i],
            static_cast<const uint8_t *>(from.raw[i]), rawBytes(i));
  hostBatch.routing = nullptr;
}

/// The host's struct has tables of the host, the device's those of the device.
void StepStaging::writeRouting(uint8_t *host, const DeviceAddresses &at) {
  uint64_t first = 0;
  const uint64_t tokens = given.batch->extents.tokens;
  for (size_t i = 0; i < model.routers.size(); ++i) {
    ids[i] = onDevice<int32_t>(at.results + results.ids) + first;
    weights[i] = onDevice<float>(at.results + results.weights) + first;
    first += tokens * model.routers[i].slots;
  }
  hostRouting = {};
  hostRouting.size = sizeof(hostRouting);
  hostRouting.ids = ids.data();
  hostRouting.weights = weights.data();
  hostBatch.routing = &hostRouting;
  moe_routing_io_v1 there = hostRouting;
  there.ids = put(host, at.staging, places.idTable, ids.data(), ids.size());
  there.weights =
      put(host, at.staging, places.weightTable, weights.data(), weights.size());
  put(host, at.staging, places.routing, &there, 1);
}

void StepStaging::write(uint8_t *host, const DeviceAddresses &at,
                        const void *const *weightPointers,
                        void *const *states) {
  writeBatch(host, at.staging);
  if (given.routing)
    writeRouting(host, at);
  moe_batch_v1 batchThere = hostBatch;
  if (given.routing)
    batchThere.routing =
        onDevice<const moe_routing_io_v1>(at.staging + places.routing);
  outputs.clear();
  for (const uint64_t place : results.outputs)
    outputs.push_back(onDevice<void>(at.results + place));

  hostStep = {};
  hostStep.size = sizeof(hostStep);
  hostStep.batch = &hostBatch;
  hostStep.weights = weightPointers;
  hostStep.states = states;
  hostStep.scratch = onDevice<void>(at.scratch);
  hostStep.outputs = outputs.data();
  hostStep.on_device = onDevice<const moe_step_v1>(at.staging + places.step);
  hostStep.constants = onDevice<const void>(at.constants);

  moe_step_v1 there = hostStep;
  there.batch = put(host, at.staging, places.batch, &batchThere, 1);
  there.weights = onDevice<const void *const>(at.weightTable);
  there.states =
      put(host, at.staging, places.states, states, model.states.size());
  there.outputs =
      put(host, at.staging, places.outputs, outputs.data(), outputs.size());
  put(host, at.staging, places.step, &there, 1);
}
