//===- StepStaging.h - Everything a device step reads, in one piece -------===//
//
// The structs, arrays and pointers of a step lie in one buffer, so that one
// copy brings them to the device. Where each lies depends on nothing but the
// sizes of the step: steps of the same sizes find everything at the same
// addresses, which a captured graph relies on. What the step writes for the
// host, tokens, routing and outputs, lies likewise in a second buffer.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_RUNTIME_LIB_DEVICE_STEPSTAGING_H
#define MOEC_RUNTIME_LIB_DEVICE_STEPSTAGING_H

#include "runtime/lib/exec/TokenChoice.h"
#include "runtime/lib/load/ModelDescription.h"

namespace moe::rt {

class Cursor;

/// What a step is about, its arrays in the memory of the host.
struct DeviceBatch {
  const moe_batch_v1 *batch;
  const Function *function;
  /// Columns of the page table on the device, at least those of the batch:
  /// more than needed, so that the sizes of steps change rarely.
  uint64_t pageColumns;
  /// The tokens to choose behind the first output; NULL: none.
  const TokenChoice *choice;
};

/// Addresses of the device.
struct DeviceAddresses {
  uint64_t staging;
  uint64_t results;
  uint64_t scratch;
  uint64_t weightTable;
  uint64_t constants;

  bool operator==(const DeviceAddresses &other) const {
    return staging == other.staging && results == other.results &&
           scratch == other.scratch && weightTable == other.weightTable &&
           constants == other.constants;
  }
};

class StepStaging {
public:
  explicit StepStaging(const ModelDescription &model);

  /// Decides where everything lies.
  void layOut(const DeviceBatch &given);
  uint64_t stagingBytes() const { return places.end; }
  uint64_t resultBytes() const { return results.end; }
  /// What the host may want of them, and that without the outputs.
  uint64_t bytesWithOutputs() const { return results.afterOutputs; }
  uint64_t bytesBeforeOutputs() const { return results.beforeOutputs; }

  /// Writes the step into `host`, for its place on the device, and makes
  /// step() describe it. `states` are [S] addresses of the device.
  void write(uint8_t *host, const DeviceAddresses &at,
             const void *const *weights, void *const *states);
  /// For the generated code; `host` and `device` are left to the caller. Until
  /// the next layOut.
  moe_step_v1 &step() { return hostStep; }

  const DeviceBatch &batch() const { return given; }
  /// What routers get from the caller, a bit for each array; empty: nothing.
  const std::vector<uint64_t> &operands() const { return operandBits; }

  /// Where things lie in the results.
  uint64_t tokens() const { return results.tokens; }
  uint64_t output(size_t index) const { return results.outputs[index]; }
  uint64_t routingIds() const { return results.ids; }
  uint64_t routingWeights() const { return results.weights; }
  /// Elements of each of the two.
  uint64_t routingCount() const { return results.routingCount; }

private:
  /// Lists of arrays in moe_routing_io_v1 that the step reads.
  static constexpr size_t kRoutingInputs = 4;

  template <typename Element>
  const Element *put(uint8_t *host, uint64_t staging, uint64_t place,
                     const Element *from, uint64_t count);
  void writeBatch(uint8_t *host, uint64_t staging);
  const moe_sampling_v1 *writeSampling(uint8_t *host,
                                       const DeviceAddresses &at);
  void writeRouting(uint8_t *host, const DeviceAddresses &at);
  void writeExports(const DeviceAddresses &at);
  void writeInputs(uint8_t *host, const DeviceAddresses &at,
                   moe_routing_io_v1 &there);
  void layOutInputs(Cursor &cursor);
  void setOperand(size_t list, size_t element);
  uint64_t rawBytes(size_t modality) const;

  const ModelDescription &model;
  DeviceBatch given = {};
  struct {
    uint64_t step, batch, routing, idTable, weightTable, outputs, states;
    uint64_t tokens, kinds, positions, cuSeqlens, pageTable, slots, logitsRows;
    uint64_t raw[MOE_MAX_MODALITIES];
    uint64_t sampling, samplingRows, history;
    // What routers get: lists of addresses, and what they lead to.
    uint64_t inputLists[kRoutingInputs], inputs[kRoutingInputs], counts;
    uint64_t end;
  } places = {};
  struct {
    uint64_t tokens, ids, weights, routingCount, beforeOutputs;
    std::vector<uint64_t> outputs;
    uint64_t afterOutputs, saved, end;
  } results = {};

  // The host's structs, whose pointers to data are addresses of the device.
  moe_step_v1 hostStep = {};
  moe_batch_v1 hostBatch = {};
  moe_routing_io_v1 hostRouting = {};
  moe_sampling_v1 hostSampling = {};
  std::vector<void *> outputs;
  std::vector<int32_t *> ids;
  std::vector<float *> weights;
  std::vector<const void *> inputs[kRoutingInputs]; // by router
  std::vector<uint64_t> operandBits;
};

} // namespace moe::rt

#endif // MOEC_RUNTIME_LIB_DEVICE_STEPSTAGING_H
