//===- DeviceMemory.cpp - Global memory of the emulated device ------------===//
#include "compiler/targets/nvptx/emulator/DeviceMemory.h"

#include <cstring>
#include <sys/mman.h>

using namespace moec::emu;

namespace {

constexpr uint64_t pageBytes = 4096;
/// The guard after each mapping catches what is not checked.
constexpr uint64_t guardBytes = pageBytes;
/// Larger allocations are not filled with a pattern: weights of gigabytes
/// would be touched twice.
constexpr uint64_t mostPoisonedBytes = 256ull << 20;

uint64_t roundToPages(uint64_t bytes) {
  return (bytes + pageBytes - 1) / pageBytes * pageBytes;
}

void *map(uint64_t bytes, int protection) {
  void *at = mmap(nullptr, bytes, protection,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return at == MAP_FAILED ? nullptr : at;
}

} // namespace

Region::~Region() {
  if (mappedBytes)
    munmap(reinterpret_cast<void *>(base), mappedBytes);
  if (writers)
    munmap(writers, bytes * sizeof(uint32_t));
}

DeviceMemory &DeviceMemory::get() {
  static DeviceMemory memory;
  return memory;
}

void *DeviceMemory::allocate(uint64_t bytes, uint64_t limit, bool poison) {
  if (bytes > limit || usedBytes > limit - bytes)
    return nullptr;
  uint64_t data = roundToPages(bytes);
  char *at = static_cast<char *>(map(data + guardBytes, PROT_NONE));
  if (!at)
    return nullptr;
  if (mprotect(at, data, PROT_READ | PROT_WRITE)) {
    munmap(at, data + guardBytes);
    return nullptr;
  }
  if (poison && bytes <= mostPoisonedBytes)
    std::memset(at, 0xff, bytes);
  auto region = std::make_unique<Region>();
  region->base = reinterpret_cast<uint64_t>(at);
  region->bytes = bytes;
  region->mappedBytes = data + guardBytes;
  usedBytes += bytes;
  regions[region->base] = std::move(region);
  return at;
}

bool DeviceMemory::free(uint64_t address) {
  auto it = regions.find(address);
  if (it == regions.end() || !it->second->mappedBytes)
    return false;
  usedBytes -= it->second->bytes;
  regions.erase(it);
  ++generation;
  return true;
}

void DeviceMemory::addVariable(uint64_t address, uint64_t bytes,
                               bool isConstant, std::string name) {
  auto region = std::make_unique<Region>();
  region->base = address;
  region->bytes = bytes;
  region->isConstant = isConstant;
  region->name = std::move(name);
  regions[address] = std::move(region);
}

void DeviceMemory::removeVariable(uint64_t address) {
  auto it = regions.find(address);
  if (it == regions.end() || it->second->mappedBytes)
    return;
  regions.erase(it);
  ++generation;
}

void DeviceMemory::clear() {
  for (auto it = regions.begin(); it != regions.end();)
    it = it->second->mappedBytes ? regions.erase(it) : std::next(it);
  usedBytes = 0;
  ++generation;
}

Region *DeviceMemory::find(uint64_t address) {
  auto it = regions.upper_bound(address);
  if (it == regions.begin())
    return nullptr;
  Region *region = std::prev(it)->second.get();
  return region->contains(address, 1) ? region : nullptr;
}

const Region *DeviceMemory::findNearest(uint64_t address) const {
  auto it = regions.upper_bound(address);
  const Region *after = it == regions.end() ? nullptr : it->second.get();
  const Region *before =
      it == regions.begin() ? nullptr : std::prev(it)->second.get();
  if (!before || !after)
    return before ? before : after;
  return address - before->base - before->bytes < after->base - address ? before
                                                                        : after;
}

uint32_t *DeviceMemory::getWriters(Region &region) {
  if (!region.writers)
    region.writers = static_cast<uint32_t *>(
        map(region.bytes * sizeof(uint32_t), PROT_READ | PROT_WRITE));
  return region.writers;
}

void DeviceMemory::clearWriters() {
  for (auto &[base, region] : regions)
    if (region->writers)
      madvise(region->writers, region->bytes * sizeof(uint32_t), MADV_DONTNEED);
}
