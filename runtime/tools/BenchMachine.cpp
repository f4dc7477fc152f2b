//===- BenchMachine.cpp - What this processor can do at best --------------===//

#include "runtime/tools/BenchMachine.h"

#include "runtime/tools/BenchLoops.h"

#include "moe/runtime.hpp"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <numeric>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <system_error>
#include <thread>

using namespace moe;
using namespace moe::tools;

namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kHugePage = uint64_t{2} << 20;

/// Anonymous memory in huge pages where the kernel grants them, written once so
/// that every page exists.
class Buffer {
public:
  explicit Buffer(uint64_t bytes) : mapped(bytes + kHugePage) {
    void *start = mmap(nullptr, mapped, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
      throw Error(MOE_ERROR_OUT_OF_MEMORY,
                  absl::StrCat("cannot get ", bytes,
                               " bytes for the bandwidth measurement; "
                               "--buffer-mib asks for less"));
    base = static_cast<char *>(start);
    const auto address = reinterpret_cast<uintptr_t>(start);
    aligned = base + (kHugePage - address % kHugePage) % kHugePage;
    madvise(aligned, bytes, MADV_HUGEPAGE); // a wish; the result is measured
    std::memset(aligned, 1, bytes);
  }
  Buffer(const Buffer &) = delete;
  ~Buffer() { munmap(base, mapped); }
  const char *data() const { return aligned; }

private:
  const uint64_t mapped;
  char *base = nullptr;
  char *aligned = nullptr;
};

std::vector<int> allowedCpus() {
  std::vector<int> cpus;
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0)
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &set))
        cpus.push_back(cpu);
  return cpus;
}

void pinTo(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  // Without it the measurement is only less steady.
  (void)sched_setaffinity(0, sizeof(set), &set);
}

/// Runs `body(thread)` in all threads at once, `passes` times, and returns the
/// seconds from the first start to the last end of each pass.
std::vector<double> timePasses(unsigned threads, unsigned passes,
                               const std::function<void(unsigned)> &body) {
  struct Interval {
    Clock::time_point start, end;
  };
  std::vector<Interval> intervals(uint64_t{threads} * passes);
  const std::vector<int> cpus = allowedCpus();
  pthread_barrier_t barrier;
  pthread_barrier_init(&barrier, nullptr, threads);
  const auto work = [&](unsigned thread) {
    if (!cpus.empty())
      pinTo(cpus[thread % cpus.size()]);
    for (unsigned pass = 0; pass < passes; ++pass) {
      pthread_barrier_wait(&barrier);
      Interval &interval = intervals[uint64_t{pass} * threads + thread];
      interval.start = Clock::now();
      body(thread);
      interval.end = Clock::now();
    }
  };
  std::vector<std::thread> workers;
  for (unsigned thread = 0; thread < threads; ++thread)
    workers.emplace_back(work, thread);
  for (std::thread &worker : workers)
    worker.join();
  pthread_barrier_destroy(&barrier);
  std::vector<double> seconds;
  for (unsigned pass = 0; pass < passes; ++pass) {
    const Interval *first = &intervals[uint64_t{pass} * threads];
    Interval all = *first;
    for (unsigned thread = 1; thread < threads; ++thread) {
      all.start = std::min(all.start, first[thread].start);
      all.end = std::max(all.end, first[thread].end);
    }
    seconds.push_back(
        std::chrono::duration<double>(all.end - all.start).count());
  }
  return seconds;
}

Rate rate(std::string name, double work, const std::vector<double> &seconds) {
  std::vector<double> perSecond;
  for (const double each : seconds)
    perSecond.push_back(work / each);
  return {std::move(name), summarize(std::move(perSecond))};
}

} // namespace

Summary moe::tools::summarize(std::vector<double> values) {
  Summary summary;
  const size_t count = values.size();
  if (count == 0)
    return summary;
  std::sort(values.begin(), values.end());
  summary.best = values.back();
  summary.median = (values[(count - 1) / 2] + values[count / 2]) / 2;
  summary.mean = std::accumulate(values.begin(), values.end(), 0.0) /
                 static_cast<double>(count);
  double squares = 0;
  for (const double value : values)
    squares += (value - summary.mean) * (value - summary.mean);
  if (count > 1)
    summary.deviation = std::sqrt(squares / static_cast<double>(count - 1));
  return summary;
}

std::vector<Rate> moe::tools::measureReads(unsigned threads, uint64_t bytes,
                                           unsigned passes) {
  // Whole pages for every thread.
  constexpr uint64_t kPage = 4096;
  const uint64_t share = bytes / threads / kPage * kPage;
  const Buffer buffer(share * threads);
  std::vector<Rate> rates;
  for (const ReadLoop &loop : readLoops())
    rates.push_back(rate(loop.name, static_cast<double>(share * threads),
                         timePasses(threads, passes, [&](unsigned thread) {
                           loop.read(buffer.data() + share * thread, share);
                         })));
  return rates;
}

const Rate &moe::tools::fastest(const std::vector<Rate> &rates) {
  return *std::max_element(rates.begin(), rates.end(),
                           [](const Rate &a, const Rate &b) {
                             return a.perSecond.median < b.perSecond.median;
                           });
}

std::vector<Rate> moe::tools::measurePeaks(unsigned threads, unsigned passes) {
  // Some ten milliseconds a pass: long against the start, short against the
  // patience of people.
  constexpr uint64_t kRounds = 4'000'000;
  std::vector<Rate> rates;
  for (const PeakLoop &loop : peakLoops())
    rates.push_back(rate(
        loop.name,
        static_cast<double>(loop.operationsPerRound) * kRounds * threads,
        timePasses(threads, passes, [&](unsigned) { loop.run(kRounds); })));
  return rates;
}

ResidentMemory moe::tools::residentMemory() {
  ResidentMemory memory;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    uint64_t kilobytes = 0;
    if (std::sscanf(line.c_str(), "RssAnon: %lu", &kilobytes) == 1)
      memory.anonymous = kilobytes;
    else if (std::sscanf(line.c_str(), "RssFile: %lu", &kilobytes) == 1)
      memory.file = kilobytes;
  }
  return memory;
}

std::string moe::tools::processorName() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    const size_t colon = line.find(':');
    if (absl::StartsWith(line, "model name") && colon != std::string::npos)
      return std::string(absl::StripAsciiWhitespace(line.substr(colon + 1)));
  }
  return "unknown";
}
