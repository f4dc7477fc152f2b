//===- SequenceHandles.cpp - Which sequences there are --------------------===//

#include "runtime/lib/exec/SequenceHandles.h"

#include <mutex>
#include <unordered_map>

using namespace moe::rt;

namespace {

struct Registry {
  std::mutex mutex;
  std::unordered_map<uintptr_t, std::unique_ptr<SequenceState>> live;
  /// No address of this process has these upper bits, so that code which takes
  /// a handle for an address fails at once.
  uintptr_t last = uintptr_t{0x5e} << 56;
};

/// Never destroyed: objects of other translation units may be freed later.
Registry &registry() {
  static auto &instance = *new Registry;
  return instance;
}

uintptr_t numberOf(const moe_sequence *handle) {
  return reinterpret_cast<uintptr_t>(handle);
}

/// Calls `use` with the sequence, under the lock; a default value if there is
/// none.
template <typename Use>
auto withSequence(const moe_sequence *handle, Use use)
    -> decltype(use(std::declval<SequenceState &>())) {
  Registry &all = registry();
  const std::lock_guard<std::mutex> lock(all.mutex);
  const auto found = all.live.find(numberOf(handle));
  if (found == all.live.end())
    return {};
  return use(*found->second);
}

} // namespace

moe_sequence *handles::add(std::unique_ptr<SequenceState> sequence) {
  Registry &all = registry();
  const std::lock_guard<std::mutex> lock(all.mutex);
  all.live.emplace(all.last + 1, std::move(sequence));
  return reinterpret_cast<moe_sequence *>(++all.last);
}

std::unique_ptr<SequenceState> handles::remove(const moe_sequence *handle) {
  Registry &all = registry();
  const std::lock_guard<std::mutex> lock(all.mutex);
  const auto found = all.live.find(numberOf(handle));
  if (found == all.live.end())
    return nullptr;
  std::unique_ptr<SequenceState> sequence = std::move(found->second);
  all.live.erase(found);
  return sequence;
}

SequenceState *handles::find(const moe_sequence *handle) {
  return withSequence(handle, [](SequenceState &state) { return &state; });
}

std::shared_ptr<Session> handles::sessionOf(const moe_sequence *handle) {
  return withSequence(handle,
                      [](SequenceState &state) { return state.session; });
}

uint64_t handles::lengthOf(const moe_sequence *handle) {
  return withSequence(
      handle, [](SequenceState &state) { return state.list.length.load(); });
}
