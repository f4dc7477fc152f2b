//===- Clocks.h - What happens before what ----------------------*- C++ -*-===//
//
// Vector clocks. Each thread has a slot, and so has each mbarrier, for what
// asynchronous copies that complete on it write, and each warpgroup, for what
// its wgmmas read. An epoch is a slot and its clock at some time; a thread
// knows, for every slot, up to which clock things are ordered before what it
// does now.
//
// Threads that met at a barrier know the same, so they share one vector.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_CLOCKS_H
#define MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_CLOCKS_H

#include <cstdint>
#include <memory>
#include <vector>

namespace moec {
namespace emu {

using Clock = std::vector<uint32_t>;
using SharedClock = std::shared_ptr<const Clock>;
using Epoch = uint32_t; // slot << 21 | clock; 0: never

class Clocks {
public:
  static constexpr unsigned clockBits = 21;
  static constexpr uint32_t mostClock = (1u << clockBits) - 1;
  static constexpr unsigned numMbarrierSlots = 64;
  static constexpr unsigned numExtraSlots = numMbarrierSlots + 8;

  static unsigned getSlot(Epoch epoch) { return epoch >> clockBits; }
  static uint32_t getClock(Epoch epoch) { return epoch & mostClock; }

  /// Clocks go on from launch to launch unless the number of threads changes;
  /// true where all earlier epochs lost their meaning.
  bool beginLaunch(unsigned numThreads);
  /// Everything so far is before everything from now on. True where earlier
  /// epochs lost their meaning.
  bool beginBlock();

  Epoch now(unsigned slot) const { return slot << clockBits | own[slot]; }
  bool isBefore(Epoch epoch, unsigned slot) const {
    unsigned other = getSlot(epoch);
    return other == slot || getClock(epoch) <= (*known[slot])[other];
  }
  /// From here on the slot's epochs are new ones.
  void advance(unsigned slot) {
    if (own[slot] < mostClock)
      ++own[slot];
  }
  /// All that `slot` knows and did, added to `to`.
  void addTo(Clock &to, unsigned slot) const;
  void learn(unsigned slot, const SharedClock &what);
  SharedClock getKnown(unsigned slot) const { return known[slot]; }
  /// `arrived` threads, then `waiting` ones learn all of it.
  template <typename Threads>
  void synchronise(const Threads &arrived, const Threads &waiting) {
    auto sum = std::make_shared<Clock>(own.size(), 0);
    const Clock *last = nullptr;
    for (auto *thread : arrived) {
      const Clock *theirs = known[thread->index].get();
      if (theirs != last)
        add(*sum, *theirs);
      last = theirs;
    }
    for (auto *thread : arrived) {
      uint32_t &mine = (*sum)[thread->index];
      mine = std::max(mine, own[thread->index]);
      advance(thread->index);
    }
    for (auto *thread : waiting)
      known[thread->index] = sum;
  }
  size_t getSize() const { return own.size(); }

private:
  static void add(Clock &to, const Clock &from);

  std::vector<uint32_t> own;
  std::vector<SharedClock> known;
  /// The last sum of learn(): many threads learn the same.
  SharedClock lastBefore, lastWhat, lastSum;
};

} // namespace emu
} // namespace moec

#endif // MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_CLOCKS_H
