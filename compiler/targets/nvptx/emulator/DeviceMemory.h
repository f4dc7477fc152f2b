//===- DeviceMemory.h - Global memory of the emulated device ----*- C++ -*-===//
//
// An allocation is a mapping of host memory, and a device address the host
// address of the byte. A region is what one access may touch: an allocation, or
// a variable of a module. Each region has, on demand, a shadow: the block that
// wrote each byte last.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_DEVICEMEMORY_H
#define MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_DEVICEMEMORY_H

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

namespace moec {
namespace emu {

struct Region {
  uint64_t base = 0, bytes = 0;
  uint64_t mappedBytes = 0; // 0: not ours, a variable of a module
  bool isConstant = false;
  std::string name;            // of a variable
  uint32_t *writers = nullptr; // [bytes], null before the first write

  bool contains(uint64_t address, uint64_t size) const {
    return address - base < bytes && size <= bytes - (address - base);
  }
  ~Region();
};

class DeviceMemory {
public:
  static DeviceMemory &get();

  /// Null where more than `limit` bytes would be allocated in all.
  void *allocate(uint64_t bytes, uint64_t limit, bool poison);
  /// False where nothing was allocated at `address`.
  bool free(uint64_t address);
  void addVariable(uint64_t address, uint64_t bytes, bool isConstant,
                   std::string name);
  void removeVariable(uint64_t address);
  void clear();

  /// The live region that holds the address, or null.
  Region *find(uint64_t address);
  /// The region that ends last before, or begins first after the address.
  const Region *findNearest(uint64_t address) const;
  uint64_t getUsedBytes() const { return usedBytes; }
  /// Changes whenever a region goes, so that a pointer to one can be cached.
  uint32_t getGeneration() const { return generation; }
  /// The shadow of the region, made now if need be; null if there is no
  /// memory for it.
  static uint32_t *getWriters(Region &region);
  /// Forgets all writers.
  void clearWriters();

private:
  std::map<uint64_t, std::unique_ptr<Region>> regions; // by base
  uint64_t usedBytes = 0;
  uint32_t generation = 1;
};

} // namespace emu
} // namespace moec

#endif // MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_DEVICEMEMORY_H
