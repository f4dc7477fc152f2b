//===- NamePattern.h - Patterns of tensor and file names --------*- C++ -*-===//
//
// `*` matches any text, the empty one included; every other character matches
// itself. Used by `storage`, `keep`, `ignore` and `weights`.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_FRONTEND_WEIGHTS_NAMEPATTERN_H
#define MOEC_FRONTEND_WEIGHTS_NAMEPATTERN_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"

#include <optional>
#include <string>

namespace moec {

/// Matches the whole of `text`; the result holds what each `*` stood for, from
/// the left, each as short as it can be. Time is linear in the lengths' product
/// at worst.
std::optional<llvm::SmallVector<llvm::StringRef, 2>>
matchPattern(llvm::StringRef pattern, llvm::StringRef text);

/// Puts the texts found by matchPattern in the places of `*`, in order:
/// ("*.weight_scale", {"l.0"}) gives "l.0.weight_scale". Nothing if `pattern`
/// has another number of `*` than `texts` has entries.
std::optional<std::string>
substitutePattern(llvm::StringRef pattern,
                  llvm::ArrayRef<llvm::StringRef> texts);

} // namespace moec

#endif // MOEC_FRONTEND_WEIGHTS_NAMEPATTERN_H
