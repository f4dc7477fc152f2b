//===- Layout.h - Matching inputs against an entry's layout ---------------===//
#ifndef MOEC_RUNTIME_LIB_EXEC_LAYOUT_H
#define MOEC_RUNTIME_LIB_EXEC_LAYOUT_H

#include "runtime/lib/load/ModelDescription.h"

namespace moe::rt {

/// Takes the inputs of one item in order and says whether they fit. A fresh
/// sequence must match the whole layout; one that holds tokens already may get
/// any part of it, in order: how far earlier steps came is not remembered, for
/// they may have used other entries.
class LayoutMatcher {
public:
  LayoutMatcher(const Entry &entry, bool fresh)
      : layout(entry.layout), fresh(fresh) {}

  /// `inputs` raw inputs or ids of `modality` come next.
  bool add(const Modality &modality, uint64_t inputs);
  /// No more come.
  bool finish();

private:
  bool leaveSegment();

  const std::vector<LayoutSegment> &layout;
  const bool fresh;
  size_t segment = 0;
  uint64_t used = 0; // of the segment's maximum, in its unit
};

} // namespace moe::rt

#endif // MOEC_RUNTIME_LIB_EXEC_LAYOUT_H
