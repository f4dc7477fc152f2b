//===- SpellCheck.cpp - The name that was probably meant ------------------===//

#include "frontend/SpellCheck.h"

#include <algorithm>

using namespace moec;
using llvm::StringRef;

StringRef moec::closestName(
    StringRef name,
    llvm::function_ref<void(llvm::function_ref<void(StringRef)>)> each) {
  // Distances are doubled, so that a difference in case alone is nearer than
  // any other one.
  unsigned allowed =
      std::max<unsigned>(1, static_cast<unsigned>(name.size() / 3));
  unsigned best = 2 * allowed + 1;
  StringRef found;
  each([&](StringRef candidate) {
    size_t shorter = std::min(name.size(), candidate.size());
    size_t longer = std::max(name.size(), candidate.size());
    // Exact answers for most candidates of a large list without the table.
    if (longer - shorter > allowed || candidate == name || best == 1)
      return;
    unsigned distance = 1;
    if (!candidate.equals_insensitive(name))
      distance = 2 * name.edit_distance(candidate, /*AllowReplacements=*/true,
                                        /*MaxEditDistance=*/allowed);
    // Two unrelated short names, such as 'a' and 'b', are one edit apart.
    if (distance > 1 && distance >= 2 * longer)
      return;
    if (distance < best) {
      best = distance;
      found = candidate;
    }
  });
  return found;
}

StringRef moec::closestName(StringRef name,
                            llvm::ArrayRef<StringRef> candidates) {
  return closestName(name, [&](llvm::function_ref<void(StringRef)> visit) {
    for (StringRef candidate : candidates)
      visit(candidate);
  });
}
