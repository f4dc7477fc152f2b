//===- SharedLinker.h - From object to shared library -----------*- C++ -*-===//
#ifndef MOEC_COMPILER_ARTIFACT_SHAREDLINKER_H
#define MOEC_COMPILER_ARTIFACT_SHAREDLINKER_H

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

namespace moec {

/// Links one object into a shared library that exports `moe_model_query_v1` and
/// nothing else. lld runs in this process; calls from several threads wait for
/// each other. The library may need `memcpy` and its like of the process that
/// loads it, and no other symbol; a further one is an error.
llvm::Expected<llvm::SmallVector<char, 0>> linkShared(llvm::StringRef object);

} // namespace moec

#endif // MOEC_COMPILER_ARTIFACT_SHAREDLINKER_H
