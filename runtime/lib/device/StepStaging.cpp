//===- StepStaging.cpp - Everything a device step reads, in one piece -----===//

#include "runtime/lib/device/StepStaging.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

using namespace moe::rt;

namespace {

/// As aligned as an allocation.
uint64_t alignUp(uint64_t bytes) {
  constexpr uint64_t kAlignment = 256;
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

/// A list in moe_routing_io_v1 of one array per router.
struct RoutingInput {
  size_t offset;
  uint64_t elementBytes;
  bool byExpert; // elements: the router's experts; else tokens * slots

  uint64_t bytes(const Router &router, uint64_t tokens) const {
    return elementBytes *
           (byExpert ? uint64_t{router.experts} : tokens * router.slots);
  }
  const void *const *listOf(const moe_routing_io_v1 &io) const {
    const void *const *list = nullptr;
    std::memcpy(&list, reinterpret_cast<const char *>(&io) + offset,
                sizeof(list));
    return list;
  }
  void setList(moe_routing_io_v1 &io, const void *const *list) const {
    std::memcpy(reinterpret_cast<char *>(&io) + offset, &list, sizeof(list));
  }
};
constexpr RoutingInput kInputs[] = {
    {offsetof(moe_routing_io_v1, forced_ids), sizeof(int32_t), false},
    {offsetof(moe_routing_io_v1, forced_weights), sizeof(float), false},
    {offsetof(moe_routing_io_v1, expert_mask), sizeof(uint8_t), true},
    {offsetof(moe_routing_io_v1, bias), sizeof(float), true}};

template <typename Element> Element *onDevice(uint64_t address) {
  return reinterpret_cast<Element *>(address);
}

} // namespace

/// Hands out places one behind the other.
class moe::rt::Cursor {
public:
  uint64_t place(uint64_t bytes) {
    const uint64_t at = end;
    end = alignUp(end + bytes);
    return at;
  }
  uint64_t end = 0;
};

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
  places.sampling = cursor.place(given.choice ? sizeof(moe_sampling_v1) : 0);
  places.samplingRows = cursor.place(
      given.choice ? extents.logits_rows * sizeof(moe_sampling_row_v1) : 0);
  places.history = cursor.place(
      given.choice ? given.choice->history().size() * sizeof(int32_t) : 0);
  layOutInputs(cursor);
  places.end = cursor.end;

  Cursor result;
  results.tokens =
      result.place(given.choice ? extents.logits_rows * sizeof(int32_t) : 0);
  results.routingCount = 0;
  if (given.batch->routing && given.batch->routing->ids)
    for (const Router &router : model.routers)
      results.routingCount += extents.tokens * router.slots;
  results.ids = result.place(results.routingCount * sizeof(int32_t));
  results.weights = result.place(results.routingCount * sizeof(float));
  results.beforeOutputs = result.end;
  results.outputs.clear();
  for (const Output &output : given.function->outputs)
    results.outputs.push_back(
        result.place(extents.logits_rows * output.width * sizeof(float)));
  results.afterOutputs = result.end;
  results.saved = result.place(
      given.choice ? given.choice->history().size() * sizeof(float) : 0);
  results.end = result.end;
}

void StepStaging::layOutInputs(Cursor &cursor) {
  static_assert(sizeof(kInputs) / sizeof(kInputs[0]) == kRoutingInputs,
                "a place for each");
  const moe_routing_io_v1 *io = given.batch->routing;
  const uint64_t tokens = given.batch->extents.tokens;
  const size_t routers = model.routers.size();
  operandBits.clear();
  places.counts = cursor.place(io && io->count ? routers * sizeof(int32_t) : 0);
  if (io && io->count)
    setOperand(kRoutingInputs, 0);
  for (size_t i = 0; io && i < kRoutingInputs; ++i) {
    const void *const *list = kInputs[i].listOf(*io);
    if (!list)
      continue;
    setOperand(i, 0);
    uint64_t bytes = 0;
    for (size_t r = 0; r < routers; ++r) {
      if (!list[r])
        continue;
      setOperand(i, r + 1);
      bytes = alignUp(bytes + kInputs[i].bytes(model.routers[r], tokens));
    }
    places.inputLists[i] = cursor.place(routers * sizeof(void *));
    places.inputs[i] = cursor.place(bytes);
  }
}

/// Element 0 is the list itself.
void StepStaging::setOperand(size_t list, size_t element) {
  constexpr size_t kBits = 64;
  const size_t lists = kRoutingInputs + 1;
  const size_t bit = list * (model.routers.size() + 1) + element;
  operandBits.resize((lists * (model.routers.size() + 1) + kBits - 1) / kBits);
  operandBits[bit / kBits] |= uint64_t{1} << bit % kBits;
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

void StepStaging::writeExports(const DeviceAddresses &at) {
  const uint64_t tokens = given.batch->extents.tokens;
  uint64_t first = 0;
  for (size_t i = 0; i < model.routers.size(); ++i) {
    ids[i] = onDevice<int32_t>(at.results + results.ids) + first;
    weights[i] = onDevice<float>(at.results + results.weights) + first;
    first += tokens * model.routers[i].slots;
  }
  hostRouting.ids = ids.data();
  hostRouting.weights = weights.data();
}

void StepStaging::writeInputs(uint8_t *host, const DeviceAddresses &at,
                              moe_routing_io_v1 &there) {
  const moe_routing_io_v1 &from = *given.batch->routing;
  const uint64_t tokens = given.batch->extents.tokens;
  for (size_t i = 0; i < kRoutingInputs; ++i) {
    const void *const *list = kInputs[i].listOf(from);
    if (!list)
      continue;
    inputs[i].assign(model.routers.size(), nullptr);
    uint64_t place = places.inputs[i];
    for (size_t r = 0; r < model.routers.size(); ++r) {
      const uint64_t bytes = kInputs[i].bytes(model.routers[r], tokens);
      inputs[i][r] = put(host, at.staging, place,
                         static_cast<const uint8_t *>(list[r]), bytes);
      place += list[r] ? alignUp(bytes) : 0;
    }
    kInputs[i].setList(hostRouting, inputs[i].data());
    kInputs[i].setList(there, put(host, at.staging, places.inputLists[i],
                                  inputs[i].data(), inputs[i].size()));
  }
  hostRouting.count =
      put(host, at.staging, places.counts, from.count, model.routers.size());
  there.count = hostRouting.count;
}

/// The host's struct has lists of the host, the device's those of the device.
void StepStaging::writeRouting(uint8_t *host, const DeviceAddresses &at) {
  hostRouting = {};
  hostRouting.size = sizeof(hostRouting);
  if (results.routingCount)
    writeExports(at);
  moe_routing_io_v1 there = hostRouting;
  there.ids = put(host, at.staging, places.idTable, hostRouting.ids,
                  model.routers.size());
  there.weights = put(host, at.staging, places.weightTable, hostRouting.weights,
                      model.routers.size());
  writeInputs(host, at, there);
  put(host, at.staging, places.routing, &there, 1);
  hostBatch.routing = &hostRouting;
}

/// Returns where the struct will be on the device.
const moe_sampling_v1 *StepStaging::writeSampling(uint8_t *host,
                                                  const DeviceAddresses &at) {
  hostSampling = {};
  hostSampling.size = sizeof(hostSampling);
  hostSampling.width = given.function->outputs.front().width;
  hostSampling.unit_bits = given.choice->unitBits();
  hostSampling.logits = onDevice<float>(at.results + results.outputs.front());
  hostSampling.rows =
      put(host, at.staging, places.samplingRows, given.choice->rows().data(),
          given.choice->rows().size());
  hostSampling.tokens = onDevice<int32_t>(at.results + results.tokens);
  hostSampling.history =
      put(host, at.staging, places.history, given.choice->history().data(),
          given.choice->history().size());
  hostSampling.saved = onDevice<float>(at.results + results.saved);
  return put(host, at.staging, places.sampling, &hostSampling, 1);
}

void StepStaging::write(uint8_t *host, const DeviceAddresses &at,
                        const void *const *weightPointers,
                        void *const *states) {
  writeBatch(host, at.staging);
  if (given.batch->routing)
    writeRouting(host, at);
  moe_batch_v1 batchThere = hostBatch;
  if (given.batch->routing)
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
  if (given.choice) {
    there.sampling = writeSampling(host, at);
    hostStep.sampling = &hostSampling;
  }
  there.batch = put(host, at.staging, places.batch, &batchThere, 1);
  there.weights = onDevice<const void *const>(at.weightTable);
  there.states =
      put(host, at.staging, places.states, states, model.states.size());
  there.outputs =
      put(host, at.staging, places.outputs, outputs.data(), outputs.size());
  put(host, at.staging, places.step, &there, 1);
}
