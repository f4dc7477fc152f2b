//===- Clocks.cpp - What happens before what ------------------------------===//
#include "compiler/targets/nvptx/emulator/Clocks.h"

#include <algorithm>

using namespace moec::emu;

void Clocks::add(Clock &to, const Clock &from) {
  for (size_t i = 0; i < to.size(); ++i)
    to[i] = std::max(to[i], from[i]);
}

bool Clocks::beginLaunch(unsigned numThreads) {
  size_t size = numThreads + numExtraSlots;
  if (own.size() == size)
    return false;
  own.assign(size, 0);
  known.assign(size, nullptr);
  return true;
}

bool Clocks::beginBlock() {
  // Half the range is left for a block, and then clocks stand still, which
  // misses races but reports no false ones.
  bool isUsedUp = std::any_of(own.begin(), own.end(), [](uint32_t clock) {
    return clock > mostClock / 2;
  });
  if (isUsedUp)
    own.assign(own.size(), 0);
  auto all = std::make_shared<const Clock>(own);
  std::fill(known.begin(), known.end(), all);
  for (uint32_t &clock : own)
    ++clock;
  lastBefore = lastWhat = lastSum = nullptr;
  return isUsedUp;
}

void Clocks::addTo(Clock &to, unsigned slot) const {
  if (to.empty())
    to.resize(own.size(), 0);
  add(to, *known[slot]);
  to[slot] = std::max(to[slot], own[slot]);
}

void Clocks::learn(unsigned slot, const SharedClock &what) {
  if (!what)
    return;
  SharedClock &mine = known[slot];
  if (mine != lastBefore || what != lastWhat) {
    auto sum = std::make_shared<Clock>(*mine);
    add(*sum, *what);
    lastBefore = mine;
    lastWhat = what;
    lastSum = std::move(sum);
  }
  mine = lastSum;
}
