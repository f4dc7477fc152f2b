//===- BenchBreakdown.h - Where the time of a step goes -------------------===//
//
// A step is cut into intervals by its barriers. Their times come from traces,
// what runs in them from the manifest; here they are put together, once by kind
// of kernel, once by layer, and as they follow each other.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_RUNTIME_TOOLS_BENCHBREAKDOWN_H
#define MOEC_RUNTIME_TOOLS_BENCHBREAKDOWN_H

#include "moe/runtime.hpp"
#include "runtime/tools/BenchCosts.h"

#include <string>
#include <vector>

namespace moe::tools {

/// Sums over the traced steps of one test.
class BreakdownTimes {
public:
  /// Adds a step that took `seconds` from call to return. Throws moe::Error
  /// where it ran another variant than the steps before.
  void add(const Trace &trace, double seconds);

  uint64_t steps() const { return count; }
  uint32_t variant() const { return ran; }
  uint64_t intervals() const { return each.size(); }
  /// Seconds per step, from call to return.
  double whole() const { return total / static_cast<double>(count); }
  /// Seconds per step from the beginning of an interval to that of the next
  /// one. They add up to the time within the team.
  double interval(size_t index) const {
    return each[index].seconds / static_cast<double>(count);
  }
  /// Seconds per step and participant of waiting for others.
  double waiting(size_t index) const {
    return each[index].waiting / static_cast<double>(count);
  }

private:
  struct Sum {
    double seconds = 0;
    double waiting = 0;
  };
  std::vector<Sum> each;
  double total = 0;
  uint64_t count = 0;
  uint32_t ran = 0;
};

/// A kind of kernel, a layer, or an interval. All values are per step.
struct BreakdownPart {
  std::string name;   // of kernels, joined by '+'; empty: all of a layer
  int32_t layer = -1; // of the first kernel; -1: outside of the layers
  uint64_t first = 0; // interval
  uint64_t intervals = 0;
  double seconds = 0;
  double waiting = 0;     // of a participant, within `seconds`
  double weightBytes = 0; // read
  double operations = 0;  // in products, a multiply-add being two
  std::string weight;     // the first that an interval reads; empty: none
  uint64_t weights = 0;   // that it reads
};

struct Breakdown {
  double seconds = 0; // of a step, from call to return
  double outside = 0; // of them outside of all intervals
  std::vector<BreakdownPart> kinds, layers, kernels;
};

/// The kernels of a variant and what they cost.
class BreakdownTable {
public:
  /// Throws moe::Error where the artifact does not say what runs when.
  BreakdownTable(const manifest::ManifestT &manifest, uint32_t variant,
                 const std::string &path);

  Breakdown sum(const BreakdownTimes &times, const BenchCosts &costs,
                const StepShape &shape, const std::vector<double> &hits) const;

private:
  BreakdownPart describe(size_t interval) const;
  void addCosts(const manifest::KernelT &kernel, const BenchCosts &costs,
                const StepShape &shape, const std::vector<double> &hits,
                BreakdownPart &part) const;

  const manifest::ManifestT &manifest;
  const manifest::VariantT &variant;
};

} // namespace moe::tools

#endif // MOEC_RUNTIME_TOOLS_BENCHBREAKDOWN_H
