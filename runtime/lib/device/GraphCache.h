//===- GraphCache.h - Steps that have been captured -----------------------===//
#ifndef MOEC_RUNTIME_LIB_DEVICE_GRAPHCACHE_H
#define MOEC_RUNTIME_LIB_DEVICE_GRAPHCACHE_H

#include "runtime/abi/moe_abi.h"
#include "runtime/lib/device/CudaDevice.h"

#include <list>
#include <vector>

namespace moe::rt {

/// Options of a step, bits of GraphKey::options.
enum : uint64_t { kKeepsRouting = 1, kChoosesTokens = 2 };

/// What decides the launches of a step, beside the addresses of the session's
/// memory.
struct GraphKey {
  const moe_variant_v1 *variant;
  moe_extents_v1 extents;
  uint64_t pageColumns;
  uint64_t options;
  std::vector<uint64_t> operands; // of routers: which there are

  bool operator==(const GraphKey &other) const;
};

/// The graphs of a session, the one that was used last in front; the last ones
/// go when there are too many. One thread at a time; nothing runs when one
/// goes.
class GraphCache {
public:
  static constexpr size_t kMost = 64;

  explicit GraphCache(std::shared_ptr<CudaDevice> device)
      : device(std::move(device)) {}
  GraphCache(const GraphCache &) = delete;
  ~GraphCache() { clear(); }

  struct Entry {
    GraphKey key;
    bool isNew = true;               // its step has not run yet
    cuda::GraphExec graph = nullptr; // NULL: not captured
  };

  /// The entry of a step; a new one where there was none. Until the next call.
  Entry &find(GraphKey key);
  void clear();

private:
  void drop(Entry &entry);

  const std::shared_ptr<CudaDevice> device;
  std::list<Entry> entries;
};

} // namespace moe::rt

#endif // MOEC_RUNTIME_LIB_DEVICE_GRAPHCACHE_H
