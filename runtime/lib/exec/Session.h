//===- Session.h - Scratch, cache and steps of one user -------------------===//
#ifndef MOEC_RUNTIME_LIB_EXEC_SESSION_H
#define MOEC_RUNTIME_LIB_EXEC_SESSION_H

#include "runtime/lib/device/DeviceSession.h"
#include "runtime/lib/exec/BatchBuilder.h"
#include "runtime/lib/exec/RoutingExport.h"
#include "runtime/lib/exec/RoutingInputs.h"
#include "runtime/lib/exec/StepTrace.h"
#include "runtime/lib/exec/TokenChoice.h"
#include "runtime/lib/load/Model.h"

namespace moe::rt {

class Session;

/// What a moe_sequence stands for; see SequenceHandles.h.
struct SequenceState {
  std::shared_ptr<Session> session;
  PageList list;
  uint64_t lastBatch = 0;                // number of the last batch it was in
  SequenceState *nextReleased = nullptr; // in Session::released
};

class Session : public std::enable_shared_from_this<Session> {
public:
  static absl::StatusOr<std::shared_ptr<Session>>
  create(std::shared_ptr<Model> model, const moe_session_options &options);
  Session(const Session &) = delete;
  ~Session();

  absl::StatusOr<std::unique_ptr<SequenceState>> createSequence();
  /// Of a sequence that may have been freed.
  absl::StatusOr<std::unique_ptr<SequenceState>> fork(const moe_sequence *from);
  absl::Status trim(const moe_sequence *handle, uint64_t length);
  /// Never fails: while another thread is inside, it leaves the sequence for
  /// the next call to take apart.
  void release(std::unique_ptr<SequenceState> sequence);
  /// With a request also chooses tokens; outputs that are not asked for are
  /// then not kept.
  absl::Status step(const char *entry, const moe_batch &batch,
                    moe_output *outputs, uint64_t numOutputs,
                    const TokenChoice::Request *request = nullptr);
  absl::Status output(uint64_t index, moe_output *into);
  absl::Status routing(uint32_t index, moe_routing *into);
  absl::Status trace(moe_trace *into);
  absl::Status samplingInfo(moe_sampling_info *into);
  absl::Status stats(moe_session_stats *into);
  absl::Status deviceInfo(moe_device_info *into);

private:
  Session(std::shared_ptr<Model> model, const moe_session_options &options,
          std::unique_ptr<DeviceSession> device, std::string remark);

  /// Holds the session for one call; false when another thread has it.
  class Entered {
  public:
    explicit Entered(Session &session);
    ~Entered();
    explicit operator bool() const { return inside; }

  private:
    Session &session;
    const bool inside;
  };

  static absl::Status busy();
  absl::StatusOr<std::unique_ptr<SequenceState>> newSequence();
  void drainReleased();

  // Parts of a step, in order. All checks come before the first change.
  absl::Status collect(const Entry &entry, const moe_batch &batch);
  absl::Status prepareRouting(const Entry &entry, const moe_batch &batch);
  absl::StatusOr<PageList *> sequenceOf(const Entry &entry,
                                        const moe_item &item, uint64_t index);
  absl::StatusOr<uint32_t> chooseVariant(const Entry &entry) const;
  absl::StatusOr<uint64_t> countPages(const Entry &entry) const;
  absl::Status checkOutputs(const Function &function,
                            StructArray<moe_output> outputs) const;
  absl::Status prepareTokens(const Entry &entry,
                             const TokenChoice::Request *request);
  absl::Status prepareMemory(const Function &function, uint32_t variant,
                             uint64_t pages, StructArray<moe_output> outputs);
  bool choosesOnDevice() const {
    return device && device->canChoose() && choice.isWanted();
  }
  absl::Status chooseTokens();
  /// `trace` (MOE_TRACE_) keeps time stamps in `stepTrace`.
  absl::Status run(uint32_t variant, uint32_t trace);
  absl::Status runOnHost(uint32_t variant, uint32_t trace, int32_t &status);
  absl::Status runOnDevice(uint32_t variant, uint32_t trace, int32_t &status);
  /// Gives what a device has computed to the caller and the session.
  void collectResults();
  moe_output describeOutput(uint64_t index) const;

  const std::shared_ptr<Model> model;
  const std::unique_ptr<DeviceSession> device; // NULL: on the processor
  const std::string remark; // why it is not on a device, if it might be
  const uint32_t maxSequences;
  PagePool pool;
  BatchBuilder builder;
  Region scratch;
  std::vector<Region> outputBuffers;
  std::vector<void *> outputPointers;
  std::vector<PageList *> batchSequences;
  uint64_t numSequences = 0;
  uint64_t batches = 0; // begun, failed ones included
  uint64_t steps = 0;
  uint32_t lastVariant = 0;
  const Function *published = nullptr; // of the last step; NULL: it failed
  bool outputsKept = false;            // of the last step
  TokenChoice choice;                  // of the present step
  RoutingExport routingExport;
  RoutingInputs routingInputs;
  moe_routing_io_v1 routingArrays = {};
  bool routingKept = false;             // of the last step
  std::unique_ptr<StepTrace> stepTrace; // made by the first step that wants it
  bool traceKept = false;               // of the last step
  absl::Status traceStatus;             // where it was kept

  std::atomic_flag occupied = ATOMIC_FLAG_INIT;
  std::atomic<SequenceState *> released{nullptr}; // freed while occupied
};

} // namespace moe::rt

#endif // MOEC_RUNTIME_LIB_EXEC_SESSION_H
