//===- ArenaPlanner.h - Placing buffers of symbolic size --------*- C++ -*-===//
//
// Plain algorithm, no IR: test/unit/passes/ArenaPlannerTest.cpp.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_PASSES_SCHEDULE_ARENAPLANNER_H
#define MOEC_PASSES_SCHEDULE_ARENAPLANNER_H

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace moec {

/// A number of bytes c0 + c1 * x1 + .. + cn * xn with coefficients >= 0, the x
/// being extents (T, B, R, M0 .. M7).
struct LinearBytes {
  static constexpr size_t kTerms = 12;
  std::array<int64_t, kTerms> terms{}; ///< constant first

  LinearBytes operator+(const LinearBytes &other) const;
  /// Term by term; an upper bound of both for all extents.
  static LinearBytes max(const LinearBytes &a, const LinearBytes &b);
  /// Whether no term is larger than the other's: then it holds for all extents.
  bool isAtMost(const LinearBytes &other) const;
  int64_t evaluate(const std::array<int64_t, kTerms> &extents) const;
};

/// A buffer, alive in the closed interval [first, last] of epochs.
struct ArenaBuffer {
  LinearBytes bytes;
  int64_t first = 0;
  int64_t last = 0;
};

/// Offsets such that buffers whose intervals meet do not overlap, whatever the
/// extents.
class ArenaPlanner {
public:
  /// Greedy by size, largest first: each buffer goes to the lowest offset among
  /// the ends of those it conflicts with. Sizes are compared at `reference`.
  void plan(const std::vector<ArenaBuffer> &buffers,
            const std::array<int64_t, LinearBytes::kTerms> &reference);

  const LinearBytes &getOffset(size_t buffer) const { return offsets[buffer]; }
  /// Bytes of the whole arena.
  const LinearBytes &getTotal() const { return total; }

private:
  std::vector<LinearBytes> offsets;
  LinearBytes total;
};

} // namespace moec

#endif // MOEC_PASSES_SCHEDULE_ARENAPLANNER_H
