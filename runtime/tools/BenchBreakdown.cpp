//===- BenchBreakdown.cpp - Where the time of a step goes -----------------===//

#include "runtime/tools/BenchBreakdown.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include <algorithm>
#include <tuple>

using namespace moe;
using namespace moe::tools;
using namespace moe::manifest;

namespace {

constexpr double kNanoseconds = 1e9;

template <typename... Args> [[noreturn]] void fail(const Args &...args) {
  throw Error(MOE_ERROR_INVALID_ARGUMENT, absl::StrCat(args...));
}

double secondsBetween(uint64_t from, uint64_t to) {
  return to > from ? static_cast<double>(to - from) / kNanoseconds : 0;
}

/// Products and attention; beside one of them the rest of an interval is small.
bool isHeavy(const KernelT &kernel) {
  return kernel.weight_elements || kernel.key_elements ||
         kernel.kind == "attention";
}

double operationsOf(const KernelT &kernel, const StepShape &shape) {
  const auto rows = static_cast<double>(kernel.token_rows * shape.tokens +
                                        kernel.result_rows * shape.rows);
  const double elements = static_cast<double>(kernel.weight_elements) /
                          std::max<uint32_t>(kernel.experts, 1);
  return 2 * (rows * elements +
              static_cast<double>(kernel.key_elements * shape.positions));
}

/// Adds a part to the one of its name and layer.
void addTo(std::vector<BreakdownPart> &parts, const BreakdownPart &part) {
  auto sum = std::find_if(parts.begin(), parts.end(), [&](const auto &each) {
    return each.name == part.name && each.layer == part.layer;
  });
  if (sum == parts.end()) {
    parts.push_back(part);
    return;
  }
  sum->intervals += part.intervals;
  sum->seconds += part.seconds;
  sum->waiting += part.waiting;
  sum->weightBytes += part.weightBytes;
  sum->operations += part.operations;
}

} // namespace

void BreakdownTimes::add(const Trace &trace, double seconds) {
  if (count == 0) {
    ran = trace.variant();
    each.resize(trace.intervals());
  }
  if (trace.variant() != ran || trace.intervals() != each.size())
    fail("--breakdown: expected all steps of a test to run variant ", ran,
         " with ", each.size(), " intervals, found variant ", trace.variant(),
         " with ", trace.intervals());
  for (size_t i = 0; i < each.size(); ++i) {
    uint64_t next = i + 1 < each.size() ? trace.begin(0, i + 1) : 0;
    double busy = 0;
    for (unsigned thread = 0; thread < trace.threads(); ++thread) {
      busy += secondsBetween(trace.begin(thread, i), trace.end(thread, i));
      if (i + 1 == each.size()) // the region ends when the last one does
        next = std::max(next, trace.end(thread, i));
    }
    const double duration = secondsBetween(trace.begin(0, i), next);
    each[i].seconds += duration;
    each[i].waiting += std::max(0.0, duration - busy / trace.threads());
  }
  total += seconds;
  ++count;
}

BreakdownTable::BreakdownTable(const ManifestT &manifest, uint32_t variant,
                               const std::string &path)
    : manifest(manifest), variant(*manifest.variants[variant]) {
  if (this->variant.intervals == 0)
    fail("--breakdown: expected '", path, "' to say which kernels run between ",
         "the barriers of variant ", variant, " (", this->variant.isa,
         "), found nothing; it was compiled by another moec (",
         manifest.compiler, ", ", manifest.build_identity,
         "), or by a target whose barriers depend on the batch");
}

/// What the manifest says of an interval, without what is measured.
BreakdownPart BreakdownTable::describe(size_t interval) const {
  BreakdownPart part;
  part.first = interval;
  part.intervals = 1;
  const auto isIn = [&](const auto &kernel) {
    return kernel->interval == interval;
  };
  const bool anyHeavy = std::any_of(
      variant.kernels.begin(), variant.kernels.end(),
      [&](const auto &kernel) { return isIn(kernel) && isHeavy(*kernel); });
  std::vector<std::string> kinds;
  bool isFirst = true;
  for (const auto &kernel : variant.kernels) {
    if (!isIn(kernel) || (anyHeavy && !isHeavy(*kernel)))
      continue;
    if (std::find(kinds.begin(), kinds.end(), kernel->kind) == kinds.end())
      kinds.push_back(kernel->kind);
    if (isFirst)
      part.layer = kernel->layer;
    isFirst = false;
    if (kernel->weight < 0)
      continue;
    if (part.weights == 0)
      part.weight = manifest.weights[static_cast<size_t>(kernel->weight)]->name;
    part.weights += kernel->weights;
  }
  part.name = absl::StrJoin(kinds, "+");
  return part;
}

void BreakdownTable::addCosts(const KernelT &kernel, const BenchCosts &costs,
                              const StepShape &shape,
                              const std::vector<double> &hits,
                              BreakdownPart &part) const {
  if (kernel.weight >= 0) {
    const WeightT &weight =
        *manifest.weights[static_cast<size_t>(kernel.weight)];
    if (costs.belongsToOther(weight.name))
      return; // a modality that is not fed
    const auto bytes = static_cast<double>(kernel.weight_bytes);
    const size_t pool = kernel.experts ? costs.poolOf(weight) : hits.size();
    part.weightBytes +=
        pool < hits.size() ? bytes * hits[pool] / kernel.experts : bytes;
  }
  part.operations += operationsOf(kernel, shape);
}

Breakdown BreakdownTable::sum(const BreakdownTimes &times,
                              const BenchCosts &costs, const StepShape &shape,
                              const std::vector<double> &hits) const {
  if (times.intervals() != variant.intervals)
    fail("--breakdown: expected ", variant.intervals, " intervals in a step, ",
         "as the artifact says, found ", times.intervals());
  Breakdown result;
  result.seconds = times.whole();
  result.outside = result.seconds;
  for (size_t i = 0; i < times.intervals(); ++i) {
    BreakdownPart part = describe(i);
    part.seconds = times.interval(i);
    part.waiting = times.waiting(i);
    for (const auto &kernel : variant.kernels)
      if (kernel->interval == i)
        addCosts(*kernel, costs, shape, hits, part);
    result.outside -= part.seconds;
    result.kernels.push_back(part);
    BreakdownPart ofKind = part;
    ofKind.layer = -1;
    ofKind.weight.clear();
    addTo(result.kinds, ofKind);
    BreakdownPart ofLayer = part;
    ofLayer.name.clear();
    ofLayer.weight.clear();
    addTo(result.layers, ofLayer);
  }
  result.outside = std::max(result.outside, 0.0);
  std::sort(result.kinds.begin(), result.kinds.end(),
            [](const auto &a, const auto &b) {
              return std::tie(b.seconds, a.first) <
                     std::tie(a.seconds, b.first);
            });
  return result;
}
