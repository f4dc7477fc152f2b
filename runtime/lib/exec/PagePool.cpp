//===- PagePool.cpp - Cache pages of a session ----------------------------===//

#include "runtime/lib/exec/PagePool.h"

#include <algorithm>
#include <climits>

using namespace moe::rt;

PagePool::PagePool(const ModelDescription &model,
                   std::unique_ptr<PageMemory> given, uint64_t initialPages,
                   uint64_t maxPages)
    : memory(std::move(given)), firstGrowth(initialPages),
      limit(maxPages ? std::min<uint64_t>(maxPages, INT32_MAX) : INT32_MAX) {
  for (const State &state : model.states) {
    rowBytes.push_back(state.rowBytes);
    bases.push_back(nullptr);
  }
}

bool PagePool::writesToSharedPage(const PageList &list) const {
  return list.length % MOE_PAGE_TOKENS != 0 &&
         uses[static_cast<size_t>(list.pages.back())] > 1;
}

uint64_t PagePool::pagesNeeded(const PageList &list, uint64_t tokens) const {
  return pagesFor(list.length + tokens) - list.pages.size() +
         writesToSharedPage(list);
}

uint64_t PagePool::pagesAvailable() const {
  return freePages.size() + (limit - uses.size());
}

absl::Status PagePool::reserve(uint64_t count) {
  if (count <= freePages.size())
    return absl::OkStatus();
  const uint64_t before = uses.size();
  const uint64_t needed = before + count - freePages.size();
  uint64_t wanted = std::min(
      limit, std::max({needed, before * 2, std::min(firstGrowth, limit)}));
  absl::Status grown = grow(wanted);
  // What is asked for may still fit where plenty does not.
  if (absl::IsOutOfRange(grown) && needed < wanted) {
    wanted = needed;
    grown = grow(wanted);
  }
  MOE_RETURN_IF_ERROR(grown);
  // Below the pages that are free already, and the lowest number on top.
  std::vector<int32_t> fresh;
  for (uint64_t page = wanted; page > before; --page)
    fresh.push_back(static_cast<int32_t>(page - 1));
  // Room for all pages, so that dropping one never allocates.
  freePages.reserve(wanted);
  uses.resize(wanted);
  freePages.insert(freePages.begin(), fresh.begin(), fresh.end());
  return absl::OkStatus();
}

absl::Status PagePool::grow(uint64_t pages) {
  for (size_t i = 0; i < bases.size(); ++i) {
    const uint64_t bytes = rowBytes[i] * MOE_PAGE_TOKENS;
    if (pages > UINT64_MAX / bytes)
      throw std::bad_alloc();
    const auto base = memory->grow(i, pages * bytes);
    if (!base.ok())
      return base.status();
    bases[i] = *base;
  }
  return absl::OkStatus();
}

uint64_t PagePool::pageBytes() const {
  uint64_t bytes = 0;
  for (const uint64_t row : rowBytes)
    bytes += row * MOE_PAGE_TOKENS;
  return bytes;
}

int32_t PagePool::take() {
  const int32_t page = freePages.back();
  freePages.pop_back();
  uses[static_cast<size_t>(page)] = 1;
  return page;
}

void PagePool::drop(int32_t page) {
  if (--uses[static_cast<size_t>(page)] == 0)
    freePages.push_back(page);
}

void PagePool::extend(PageList &list, uint64_t tokens) {
  const uint64_t length = list.length;
  if (tokens != 0 && writesToSharedPage(list)) {
    const int32_t shared = list.pages.back();
    const int32_t own = take();
    const uint64_t rows = length % MOE_PAGE_TOKENS;
    for (size_t i = 0; i < bases.size(); ++i) {
      const uint64_t bytes = rowBytes[i] * MOE_PAGE_TOKENS;
      memory->copy(i, static_cast<uint64_t>(own) * bytes,
                   static_cast<uint64_t>(shared) * bytes, rows * rowBytes[i]);
    }
    drop(shared);
    list.pages.back() = own;
  }
  while (list.pages.size() < pagesFor(length + tokens))
    list.pages.push_back(take());
}

void PagePool::shrink(PageList &list, uint64_t length) {
  while (list.pages.size() > pagesFor(length)) {
    drop(list.pages.back());
    list.pages.pop_back();
  }
  list.length = length;
}

void PagePool::share(const PageList &list, PageList &fork) {
  fork.pages.assign(list.pages.begin(), list.pages.end());
  for (const int32_t page : fork.pages)
    ++uses[static_cast<size_t>(page)];
  fork.length = list.length.load();
}
