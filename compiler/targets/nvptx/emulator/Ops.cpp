//===- Ops.cpp - What compiled code calls ---------------------------------===//
#include "compiler/targets/nvptx/emulator/Ops.h"
#include "compiler/targets/nvptx/emulator/DeviceMemory.h"
#include "compiler/targets/nvptx/emulator/Settings.h"
#include "compiler/targets/nvptx/emulator/SharedMemory.h"

#include <cmath>
#include <cstring>

using namespace moec::emu;

namespace {

std::string hex(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx",
                static_cast<unsigned long long>(value));
  return text;
}

std::string describeAccess(uint64_t address, uint64_t bytes, Access access) {
  const char *verb = access == Access::Load    ? "read"
                     : access == Access::Store ? "write"
                                               : "atomic access";
  return std::string(verb) + " of " + std::to_string(bytes) + " bytes at " +
         hex(address);
}

/// Where the address lies relative to the nearest allocation.
std::string describeNearest(uint64_t address) {
  const Region *region = DeviceMemory::get().findNearest(address);
  if (!region)
    return "nothing is allocated";
  std::string what = region->name.empty()
                         ? "the allocation of " +
                               std::to_string(region->bytes) + " bytes at " +
                               hex(region->base)
                         : "variable `" + region->name + "` of " +
                               std::to_string(region->bytes) + " bytes";
  if (address < region->base)
    return std::to_string(region->base - address) + " bytes before " + what;
  if (address >= region->base + region->bytes)
    return std::to_string(address - region->base - region->bytes) +
           " bytes past the end of " + what;
  return std::to_string(address - region->base) + " bytes into " + what;
}

void checkAlignment(Thread &thread, const Site &site, uint64_t address,
                    uint64_t bytes, uint64_t align, Access access) {
  if (address & (align - 1))
    thread.block->failAt(thread, site, CUDA_ERROR_MISALIGNED_ADDRESS,
                         describeAccess(address, bytes, access) +
                             " is misaligned: expected a multiple of " +
                             std::to_string(align));
}

void checkAccess(Thread &thread, const Site &site, uint64_t at,
                 uint64_t bytes) {
  thread.block->countAccess(thread, site);
  if (site.space == Space::Shared ||
      (site.space == Space::Generic && SharedMemory::get().contains(at)))
    checkShared(thread, site, at, bytes, site.align, site.access);
  else if (site.space != Space::Generic || !thread.block->isOnStack(thread, at))
    checkGlobal(thread, site, at, bytes, site.align, site.access);
}

extern "C" {

void moe_emu_access_bytes(Site *site, uint64_t address, uint64_t bytes) {
  if (bytes)
    checkAccess(*currentThread, *site, address, bytes);
}

void moe_emu_access(Site *site, uint64_t address) {
  checkAccess(*currentThread, *site, address, site->bytes);
}

void moe_emu_local(Site *site, uint64_t address, uint64_t base, uint64_t bytes,
                   uint64_t most) {
  uint64_t offset = address - base;
  if (bytes && (offset > most || bytes > most - offset) &&
      getSettings().checkBounds)
    currentThread->block->failAt(
        *currentThread, *site, CUDA_ERROR_ILLEGAL_ADDRESS,
        "local access of " + std::to_string(bytes) + " bytes at offset " +
            std::to_string(int64_t(offset)) + " of a variable of " +
            std::to_string(most) + " bytes is out of bounds");
}

void moe_emu_fence_device() { currentThread->block->fenceDevice(); }

void moe_emu_execute(Site *site, char *buffer) {
  site->op->thread(*currentThread, *site, buffer);
}

void moe_emu_collect(Site *site, char *buffer) {
  currentThread->block->collect(*currentThread, *site, buffer);
}

// Approximations. The hardware's differ in the last bits from these, which are
// rounded once; .ftz flushes denormal operands and results to a zero of the
// same sign.
float moe_emu_flush(float x) {
  return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x;
}
float moe_emu_ex2(float x) { return float(std::exp2(double(x))); }
float moe_emu_lg2(float x) { return float(std::log2(double(x))); }
float moe_emu_rcp(float x) { return float(1.0 / double(x)); }
float moe_emu_rsqrt(float x) { return float(1.0 / std::sqrt(double(x))); }
float moe_emu_sin(float x) { return float(std::sin(double(x))); }
float moe_emu_cos(float x) { return float(std::cos(double(x))); }
float moe_emu_tanh(float x) { return float(std::tanh(double(x))); }

// What the host's code generator calls for bf16: the result is in the low half
// of a vector register.
float moe_emu_truncate_to_bf16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  if ((bits & 0x7fffffff) > 0x7f800000)
    bits = (bits >> 16) | 0x40;
  else
    bits = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  std::memcpy(&x, &bits, 4);
  return x;
}
float moe_emu_truncate_double_to_bf16(double x) {
  // To odd first, so that the second rounding sees what the first dropped.
  float narrow = float(x);
  uint32_t bits;
  std::memcpy(&bits, &narrow, 4);
  if (std::isfinite(narrow) && double(narrow) != x) {
    bool isAway = std::fabs(double(narrow)) > std::fabs(x);
    if (isAway)
      --bits;
    bits |= 1;
    std::memcpy(&narrow, &bits, 4);
  }
  return moe_emu_truncate_to_bf16(narrow);
}

} // extern "C"

template <typename F> void *address(F *function) {
  return reinterpret_cast<void *>(function);
}

} // namespace

void moec::emu::checkSharedBounds(Thread &thread, const Site &site,
                                  uint64_t address, uint64_t bytes,
                                  uint64_t align, Access access) {
  uint64_t offset = address - SharedMemory::get().getBase();
  if (offset > thread.sharedBytes || bytes > thread.sharedBytes - offset) {
    std::string what = "shared " + describeAccess(address, bytes, access) +
                       " is out of bounds: ";
    if (offset < SharedMemory::arenaBytes)
      what += "shared offset " + std::to_string(offset);
    else
      what += "not in shared memory";
    what += ", the block has " + std::to_string(thread.sharedBytes) + " bytes";
    thread.block->failAt(thread, site, CUDA_ERROR_ILLEGAL_ADDRESS,
                         std::move(what));
  }
  checkAlignment(thread, site, address, bytes, align, access);
}

void moec::emu::checkShared(Thread &thread, const Site &site, uint64_t address,
                            uint64_t bytes, uint64_t align, Access access) {
  checkSharedBounds(thread, site, address, bytes, align, access);
  SharedMemory::get().access(thread, site, getSharedOffset(address),
                             uint32_t(bytes), access);
}

void moec::emu::checkGlobal(Thread &thread, const Site &site, uint64_t address,
                            uint64_t bytes, uint64_t align, Access access) {
  DeviceMemory &memory = DeviceMemory::get();
  if (site.generation != memory.getGeneration() || !site.region ||
      !site.region->contains(address, bytes)) {
    site.region = memory.find(address);
    site.generation = memory.getGeneration();
    if (!site.region || !site.region->contains(address, bytes)) {
      std::string what = "global " + describeAccess(address, bytes, access) +
                         " is out of bounds: " + describeNearest(address);
      if (SharedMemory::get().contains(address))
        what += " (the address is of shared memory)";
      thread.block->failAt(thread, site, CUDA_ERROR_ILLEGAL_ADDRESS,
                           std::move(what));
    }
  }
  if (access != Access::Load && site.region->isConstant) {
    std::string what = describeAccess(address, bytes, access) +
                       " of a constant: " + describeNearest(address);
    thread.block->failAt(thread, site, CUDA_ERROR_ILLEGAL_ADDRESS,
                         std::move(what));
  }
  checkAlignment(thread, site, address, bytes, align, access);
  if (getSettings().checkBlocks && !site.region->isConstant)
    thread.block->trackBlocks(thread, site, *site.region,
                              address - site.region->base, bytes, access);
}

std::vector<std::pair<const char *, void *>> moec::emu::getHostSymbols() {
  return {{"moe_emu_self", &currentThread},
          {"moe_emu_access", address(moe_emu_access)},
          {"moe_emu_access_bytes", address(moe_emu_access_bytes)},
          {"moe_emu_local", address(moe_emu_local)},
          {"moe_emu_fence_device", address(moe_emu_fence_device)},
          {"moe_emu_execute", address(moe_emu_execute)},
          {"moe_emu_collect", address(moe_emu_collect)},
          {"moe_emu_flush", address(moe_emu_flush)},
          {"moe_emu_ex2", address(moe_emu_ex2)},
          {"moe_emu_lg2", address(moe_emu_lg2)},
          {"moe_emu_rcp", address(moe_emu_rcp)},
          {"moe_emu_rsqrt", address(moe_emu_rsqrt)},
          {"moe_emu_sin", address(moe_emu_sin)},
          {"moe_emu_cos", address(moe_emu_cos)},
          {"moe_emu_tanh", address(moe_emu_tanh)},
          {"__truncsfbf2", address(moe_emu_truncate_to_bf16)},
          {"__truncdfbf2", address(moe_emu_truncate_double_to_bf16)}};
}

bool moec::emu::bindOp(llvm::StringRef name, const llvm::FunctionType &type,
                       Op &op) {
  return bindBarrierOp(name, op) || bindWarpOp(name, op) ||
         bindMatrixOp(name, op) || bindAsyncOp(name, type, op) ||
         bindWgmmaOp(name, type, op) || bindIntegerOp(name, op);
}
