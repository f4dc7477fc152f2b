//===- PageMemory.h - Where the cache pages of a session lie --------------===//
#ifndef MOEC_RUNTIME_LIB_EXEC_PAGEMEMORY_H
#define MOEC_RUNTIME_LIB_EXEC_PAGEMEMORY_H

#include "runtime/lib/base/File.h"

#include <cstring>
#include <vector>

namespace moe::rt {

/// The memory of the states of a session, each in one piece.
class PageMemory {
public:
  virtual ~PageMemory() = default;

  /// Makes room for `bytes` of a state and returns where it lies now; what it
  /// holds stays. Where there is less room than that, nothing changes.
  virtual absl::StatusOr<void *> grow(size_t state, uint64_t bytes) = 0;
  /// Copies within a state, before the next step begins.
  virtual void copy(size_t state, uint64_t to, uint64_t from,
                    uint64_t bytes) = 0;
};

/// On the processor: the kernel commits memory when a page is first written,
/// and growing moves page tables, not bytes.
class HostPageMemory : public PageMemory {
public:
  explicit HostPageMemory(size_t states) {
    for (size_t i = 0; i < states; ++i)
      regions.emplace_back();
  }

  absl::StatusOr<void *> grow(size_t state, uint64_t bytes) override {
    MOE_RETURN_IF_ERROR(regions[state].grow(bytes));
    return regions[state].data();
  }
  void copy(size_t state, uint64_t to, uint64_t from, uint64_t bytes) override {
    std::memcpy(regions[state].data() + to, regions[state].data() + from,
                bytes);
  }

private:
  std::vector<Region> regions;
};

} // namespace moe::rt

#endif // MOEC_RUNTIME_LIB_EXEC_PAGEMEMORY_H
