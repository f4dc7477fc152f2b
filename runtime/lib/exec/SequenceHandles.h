//===- SequenceHandles.h - Which sequences there are ------------*- C++ -*-===//
//
// A moe_sequence * of the C API is a number in the shape of a pointer. Numbers
// are never given twice, so a handle that was freed, or never was one, is found
// out in every call and never touched. All functions are safe in every thread.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_RUNTIME_LIB_EXEC_SEQUENCEHANDLES_H
#define MOEC_RUNTIME_LIB_EXEC_SEQUENCEHANDLES_H

#include "runtime/lib/exec/Session.h"

namespace moe::rt {
/// What to say of a handle that find() does not know.
constexpr const char *kNoSequence =
    "expected a sequence, found one that was freed or never was one";
} // namespace moe::rt

namespace moe::rt::handles {

/// Takes the sequence and gives it a handle.
moe_sequence *add(std::unique_ptr<SequenceState> sequence);
/// Gives the sequence back; null for a handle that is none.
std::unique_ptr<SequenceState> remove(const moe_sequence *handle);
/// The sequence, null if there is none. It lives on while the caller is inside
/// its session.
SequenceState *find(const moe_sequence *handle);
/// Its session, null if there is no such sequence.
std::shared_ptr<Session> sessionOf(const moe_sequence *handle);
/// Tokens held; 0 if there is no such sequence.
uint64_t lengthOf(const moe_sequence *handle);

} // namespace moe::rt::handles

#endif // MOEC_RUNTIME_LIB_EXEC_SEQUENCEHANDLES_H
