//===- MappingGuard.h - Mapped files that are cut short -------------------===//
//
// Reading a mapped page that the file no longer has raises SIGBUS. For ranges
// registered here a handler, chained before whatever was installed, puts zero
// pages under the reader, marks the owner as failed and lets it go on; the step
// then ends with a status. Faults elsewhere go to the previous handler.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_RUNTIME_LIB_BASE_MAPPINGGUARD_H
#define MOEC_RUNTIME_LIB_BASE_MAPPINGGUARD_H

#include <atomic>
#include <cstdint>

namespace moe::rt {

struct GuardedRange;

/// Guards [base, base + bytes); `*failed` becomes true on the first fault.
/// Installs the handler on first use.
GuardedRange *guardMapping(const void *base, uint64_t bytes,
                           std::atomic<bool> *failed);

/// Ends the guard; to be called before the range is unmapped. NULL is fine.
void releaseMapping(GuardedRange *range);

} // namespace moe::rt

#endif // MOEC_RUNTIME_LIB_BASE_MAPPINGGUARD_H
