//===- PagePool.h - Cache pages of a session ------------------------------===//
//
// A page holds MOE_PAGE_TOKENS tokens of every state of the model. Sequences
// hold pages by number; forks hold the same pages until one of them writes.
//
// The memory of each state is in one piece, as the ABI wants it, and moves when
// it grows. Pointers to it are therefore taken anew for every step.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_RUNTIME_LIB_EXEC_PAGEPOOL_H
#define MOEC_RUNTIME_LIB_EXEC_PAGEPOOL_H

#include "runtime/lib/exec/PageMemory.h"
#include "runtime/lib/load/ModelDescription.h"

#include <atomic>
#include <memory>
#include <vector>

namespace moe::rt {

/// Pages that hold `tokens` tokens.
constexpr uint64_t pagesFor(uint64_t tokens) {
  return (tokens + MOE_PAGE_TOKENS - 1) / MOE_PAGE_TOKENS;
}

/// The tokens of one sequence. Only its session's pool changes it.
struct PageList {
  std::vector<int32_t> pages; // exactly pagesFor(length) between steps
  // Read by moe_sequence_length from any thread.
  std::atomic<uint64_t> length{0};
};

class PagePool {
public:
  /// `maxPages` 0: the pool grows on demand, beginning with `initialPages`.
  PagePool(const ModelDescription &model, std::unique_ptr<PageMemory> memory,
           uint64_t initialPages, uint64_t maxPages);

  /// Pages that adding `tokens` to `list` takes from the pool, at most: when
  /// all holders of a shared page are in one batch, the last one keeps it.
  uint64_t pagesNeeded(const PageList &list, uint64_t tokens) const;
  /// Pages that can still be taken.
  uint64_t pagesAvailable() const;
  /// Makes sure that `count` pages can be taken without a further allocation.
  /// They must be available.
  absl::Status reserve(uint64_t count);
  /// Gives `list` pages of its own for `tokens` more tokens; the pages must
  /// have been reserved.
  void extend(PageList &list, uint64_t tokens);
  /// Lets `list` hold the pages of `length` tokens, at most those it has.
  void shrink(PageList &list, uint64_t length);
  /// Lets `fork` hold the pages of `list` as well.
  void share(const PageList &list, PageList &fork);

  uint64_t pages() const { return uses.size(); }
  uint64_t pageBytes() const; // of all states
  uint64_t pagesUsed() const { return uses.size() - freePages.size(); }
  /// [S] of moe_step_v1, until the next reserve.
  void *const *pointers() const { return bases.data(); }

private:
  absl::Status grow(uint64_t pages);
  int32_t take();
  void drop(int32_t page);
  bool writesToSharedPage(const PageList &list) const;

  std::vector<uint64_t> rowBytes;
  const std::unique_ptr<PageMemory> memory;
  std::vector<void *> bases;
  std::vector<uint32_t> uses;     // by page: lists that hold it
  std::vector<int32_t> freePages; // a stack; the lowest page on top at first
  uint64_t firstGrowth;
  uint64_t limit;
};

} // namespace moe::rt

#endif // MOEC_RUNTIME_LIB_EXEC_PAGEPOOL_H
