//===- MappingGuard.cpp - Mapped files that are cut short -----------------===//

#include "runtime/lib/base/MappingGuard.h"

#include <cerrno>
#include <csignal>
#include <mutex>
#include <sys/mman.h>
#include <unistd.h>

using namespace moe::rt;

/// A node of a list that the signal handler walks: nodes are reused but never
/// freed, so that no handler can hold a stale one. Free when failed is null.
struct moe::rt::GuardedRange {
  std::atomic<uintptr_t> begin{0};
  std::atomic<uintptr_t> end{0};
  std::atomic<std::atomic<bool> *> failed{nullptr};
  GuardedRange *next = nullptr;
};

namespace {

std::atomic<GuardedRange *> ranges{nullptr};
std::mutex rangesMutex; // of writers
struct sigaction previous;

bool putZeroPages(uintptr_t address) {
  const uintptr_t pageMask = static_cast<uintptr_t>(getpagesize()) - 1;
  for (GuardedRange *range = ranges.load(std::memory_order_acquire); range;
       range = range->next) {
    std::atomic<bool> *failed = range->failed.load(std::memory_order_acquire);
    const uintptr_t end = range->end.load(std::memory_order_relaxed);
    if (!failed || address >= end ||
        address < range->begin.load(std::memory_order_relaxed))
      continue;
    // All pages behind the missing one are missing as well.
    const uintptr_t first = address & ~pageMask;
    const uintptr_t last = (end + pageMask) & ~pageMask;
    void *zeros = mmap(reinterpret_cast<void *>(first), last - first, PROT_READ,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (zeros == MAP_FAILED)
      return false;
    failed->store(true, std::memory_order_release);
    return true;
  }
  return false;
}

void onBusError(int signal, siginfo_t *info, void *context) {
  const int savedErrno = errno;
  const bool handled = putZeroPages(reinterpret_cast<uintptr_t>(info->si_addr));
  errno = savedErrno;
  if (handled)
    return;
  if (previous.sa_flags & SA_SIGINFO) {
    previous.sa_sigaction(signal, info, context);
  } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
    previous.sa_handler(signal);
  } else {
    // The fault repeats when we return and then takes the default action.
    sigaction(signal, &previous, nullptr);
  }
}

void installHandler() {
  struct sigaction action = {};
  action.sa_sigaction = onBusError;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, &previous);
}

} // namespace

GuardedRange *moe::rt::guardMapping(const void *base, uint64_t bytes,
                                    std::atomic<bool> *failed) {
  static std::once_flag installed;
  std::call_once(installed, installHandler);
  std::lock_guard<std::mutex> lock(rangesMutex);
  GuardedRange *range = ranges.load(std::memory_order_relaxed);
  while (range && range->failed.load(std::memory_order_relaxed))
    range = range->next;
  const bool isNew = !range;
  if (isNew)
    range = new GuardedRange;
  const auto begin = reinterpret_cast<uintptr_t>(base);
  range->begin.store(begin, std::memory_order_relaxed);
  range->end.store(begin + bytes, std::memory_order_relaxed);
  range->failed.store(failed, std::memory_order_release);
  if (isNew) {
    range->next = ranges.load(std::memory_order_relaxed);
    ranges.store(range, std::memory_order_release);
  }
  return range;
}

void moe::rt::releaseMapping(GuardedRange *range) {
  if (!range)
    return;
  std::lock_guard<std::mutex> lock(rangesMutex);
  range->failed.store(nullptr, std::memory_order_release);
}
