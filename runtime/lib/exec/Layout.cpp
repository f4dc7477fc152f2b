//===- Layout.cpp - Matching inputs against an entry's layout -------------===//

#include "runtime/lib/exec/Layout.h"

#include <algorithm>

using namespace moe::rt;

bool LayoutMatcher::add(const Modality &modality, uint64_t inputs) {
  while (segment < layout.size()) {
    const LayoutSegment &current = layout[segment];
    if (current.modalities >> modality.id & 1) {
      const uint64_t unit = current.isAny ? modality.tokensPerInput : 1;
      const uint64_t taken = std::min(inputs, (current.max - used) / unit);
      used += taken * unit;
      inputs -= taken;
      if (inputs == 0)
        return true;
    }
    if (!leaveSegment())
      return false;
  }
  return false;
}

bool LayoutMatcher::finish() {
  while (segment < layout.size())
    if (!leaveSegment())
      return false;
  return true;
}

bool LayoutMatcher::leaveSegment() {
  const LayoutSegment &current = layout[segment];
  const bool complete = used >= current.min || (used == 0 && current.optional);
  ++segment;
  used = 0;
  return complete || !fresh;
}
