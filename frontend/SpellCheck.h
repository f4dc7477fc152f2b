//===- SpellCheck.h - The name that was probably meant ----------*- C++ -*-===//
#ifndef MOEC_FRONTEND_SPELLCHECK_H
#define MOEC_FRONTEND_SPELLCHECK_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"

namespace moec {

/// The candidate nearest to `name` by edit distance (case counts less than a
/// letter), empty if none is near: at most one edit for every three letters,
/// and one for short names. Of equally near ones the first is taken.
llvm::StringRef closestName(llvm::StringRef name,
                            llvm::ArrayRef<llvm::StringRef> candidates);

/// The same over names that are not in an array: `each` must call its argument
/// for every candidate. The StringRefs must outlive the call.
llvm::StringRef closestName(
    llvm::StringRef name,
    llvm::function_ref<void(llvm::function_ref<void(llvm::StringRef)>)> each);

} // namespace moec

#endif // MOEC_FRONTEND_SPELLCHECK_H
