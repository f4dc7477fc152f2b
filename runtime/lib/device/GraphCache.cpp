//===- GraphCache.cpp - Steps that have been captured ---------------------===//

#include "runtime/lib/device/GraphCache.h"

#include <algorithm>
#include <cstring>

using namespace moe::rt;

bool GraphKey::operator==(const GraphKey &other) const {
  return variant == other.variant &&
         std::memcmp(&extents, &other.extents, sizeof(extents)) == 0 &&
         pageColumns == other.pageColumns && options == other.options &&
         operands == other.operands;
}

GraphCache::Entry &GraphCache::find(GraphKey key) {
  const auto found =
      std::find_if(entries.begin(), entries.end(),
                   [&](const Entry &entry) { return entry.key == key; });
  if (found != entries.end()) {
    entries.splice(entries.begin(), entries, found);
    return entries.front();
  }
  if (entries.size() == kMost) {
    drop(entries.back());
    entries.pop_back();
  }
  entries.emplace_front();
  entries.front().key = std::move(key);
  return entries.front();
}

void GraphCache::clear() {
  for (Entry &entry : entries)
    drop(entry);
  entries.clear();
}

void GraphCache::drop(Entry &entry) {
  if (!entry.graph)
    return;
  const CudaScope scope(*device);
  if (scope.status().ok())
    static_cast<void>(device->api().cuGraphExecDestroy(entry.graph));
}
