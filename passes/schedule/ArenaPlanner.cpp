//===- ArenaPlanner.cpp - Placing buffers of symbolic size ----------------===//
#include "passes/schedule/ArenaPlanner.h"

#include <algorithm>
#include <numeric>

using namespace moec;

LinearBytes LinearBytes::operator+(const LinearBytes &other) const {
  LinearBytes sum;
  for (size_t i = 0; i < kTerms; ++i)
    sum.terms[i] = terms[i] + other.terms[i];
  return sum;
}

LinearBytes LinearBytes::max(const LinearBytes &a, const LinearBytes &b) {
  LinearBytes result;
  for (size_t i = 0; i < kTerms; ++i)
    result.terms[i] = std::max(a.terms[i], b.terms[i]);
  return result;
}

bool LinearBytes::isAtMost(const LinearBytes &other) const {
  for (size_t i = 0; i < kTerms; ++i)
    if (terms[i] > other.terms[i])
      return false;
  return true;
}

int64_t
LinearBytes::evaluate(const std::array<int64_t, kTerms> &extents) const {
  int64_t sum = 0;
  for (size_t i = 0; i < kTerms; ++i)
    sum += terms[i] * extents[i];
  return sum;
}

void ArenaPlanner::plan(
    const std::vector<ArenaBuffer> &buffers,
    const std::array<int64_t, LinearBytes::kTerms> &reference) {
  offsets.assign(buffers.size(), LinearBytes());
  total = LinearBytes();
  std::vector<size_t> order(buffers.size());
  std::iota(order.begin(), order.end(), size_t(0));
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    int64_t sizeA = buffers[a].bytes.evaluate(reference);
    int64_t sizeB = buffers[b].bytes.evaluate(reference);
    return sizeA != sizeB ? sizeA > sizeB : a < b;
  });
  std::vector<size_t> placed;
  for (size_t index : order) {
    const ArenaBuffer &buffer = buffers[index];
    std::vector<size_t> conflicts;
    LinearBytes above;
    std::vector<LinearBytes> candidates{LinearBytes()};
    for (size_t other : placed) {
      if (buffers[other].last < buffer.first ||
          buffer.last < buffers[other].first)
        continue;
      conflicts.push_back(other);
      LinearBytes end = offsets[other] + buffers[other].bytes;
      candidates.push_back(end);
      above = LinearBytes::max(above, end);
    }
    candidates.push_back(above); // above everything: always possible
    std::sort(candidates.begin(), candidates.end(),
              [&](const LinearBytes &a, const LinearBytes &b) {
                return a.evaluate(reference) < b.evaluate(reference);
              });
    for (const LinearBytes &offset : candidates) {
      LinearBytes end = offset + buffer.bytes;
      bool fits = std::all_of(
          conflicts.begin(), conflicts.end(), [&](size_t other) {
            LinearBytes otherEnd = offsets[other] + buffers[other].bytes;
            return otherEnd.isAtMost(offset) || end.isAtMost(offsets[other]);
          });
      if (!fits)
        continue;
      offsets[index] = offset;
      total = LinearBytes::max(total, end);
      break;
    }
    placed.push_back(index);
  }
}
