//===- Processor.cpp - Which variants this processor can run --------------===//

#include "runtime/lib/exec/Processor.h"

#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"

#include <cstdlib>
#include <set>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

using namespace moe::rt;

namespace {

enum Register { EAX, EBX, ECX, EDX };

/// Bits of XCR0: state that the operating system saves.
constexpr uint64_t kNone = 0;
constexpr uint64_t kAvx = 0x6;     // xmm, ymm
constexpr uint64_t kAvx512 = 0xe6; // also opmask and zmm
constexpr uint64_t kAmx = 0x60000; // tile configuration and data

/// Where CPUID reports a feature, and which state it needs.
struct Feature {
  const char *name;
  uint32_t leaf;
  uint32_t subleaf;
  Register reg;
  uint32_t bit;
  uint64_t state;
};

constexpr Feature kFeatures[] = {
    {"cx8", 1, 0, EDX, 8, kNone},
    {"cmov", 1, 0, EDX, 15, kNone},
    {"mmx", 1, 0, EDX, 23, kNone},
    {"fxsr", 1, 0, EDX, 24, kNone},
    {"sse", 1, 0, EDX, 25, kNone},
    {"sse2", 1, 0, EDX, 26, kNone},
    {"sse3", 1, 0, ECX, 0, kNone},
    {"pclmul", 1, 0, ECX, 1, kNone},
    {"ssse3", 1, 0, ECX, 9, kNone},
    {"fma", 1, 0, ECX, 12, kAvx},
    {"cx16", 1, 0, ECX, 13, kNone},
    {"sse4.1", 1, 0, ECX, 19, kNone},
    {"sse4.2", 1, 0, ECX, 20, kNone},
    {"movbe", 1, 0, ECX, 22, kNone},
    {"crc32", 1, 0, ECX, 20, kNone},
    {"popcnt", 1, 0, ECX, 23, kNone},
    {"xsave", 1, 0, ECX, 27, kNone},
    {"avx", 1, 0, ECX, 28, kAvx},
    {"f16c", 1, 0, ECX, 29, kAvx},
    {"bmi", 7, 0, EBX, 3, kNone},
    {"avx2", 7, 0, EBX, 5, kAvx},
    {"bmi2", 7, 0, EBX, 8, kNone},
    {"avx512f", 7, 0, EBX, 16, kAvx512},
    {"avx512dq", 7, 0, EBX, 17, kAvx512},
    {"avx512ifma", 7, 0, EBX, 21, kAvx512},
    {"avx512cd", 7, 0, EBX, 28, kAvx512},
    {"avx512bw", 7, 0, EBX, 30, kAvx512},
    {"avx512vl", 7, 0, EBX, 31, kAvx512},
    {"avx512vbmi", 7, 0, ECX, 1, kAvx512},
    {"avx512vbmi2", 7, 0, ECX, 6, kAvx512},
    {"avx512vnni", 7, 0, ECX, 11, kAvx512},
    {"avx512bitalg", 7, 0, ECX, 12, kAvx512},
    {"avx512vpopcntdq", 7, 0, ECX, 14, kAvx512},
    {"amx-bf16", 7, 0, EDX, 22, kAmx},
    {"avx512fp16", 7, 0, EDX, 23, kAvx512},
    {"amx-tile", 7, 0, EDX, 24, kAmx},
    {"amx-int8", 7, 0, EDX, 25, kAmx},
    {"avxvnni", 7, 1, EAX, 4, kAvx},
    {"avx512bf16", 7, 1, EAX, 5, kAvx512},
    {"sahf", 0x80000001u, 0, ECX, 0, kNone},
    {"lzcnt", 0x80000001u, 0, ECX, 5, kNone},
    {"64bit", 0x80000001u, 0, EDX, 29, kNone},
};

struct Level {
  const char *name;
  std::vector<const char *> features;
};

/// What MOE_ISA may name, and the least a processor needs for it.
const std::vector<Level> &levels() {
  static const std::vector<Level> all = {
      {"generic", {}},
      {"avx2", {"avx2", "fma"}},
      {"avx512", {"avx512f", "avx512bw", "avx512dq", "avx512vl"}},
  };
  return all;
}

#if defined(__x86_64__)
uint64_t savedState() {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  constexpr uint32_t kOsxsave = 1u << 27;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & kOsxsave))
    return 0;
  __asm__("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
  return static_cast<uint64_t>(edx) << 32 | eax;
}

bool detect(const Feature &feature) {
  uint32_t registers[4] = {};
  if (!__get_cpuid_count(feature.leaf, feature.subleaf, &registers[EAX],
                         &registers[EBX], &registers[ECX], &registers[EDX]))
    return false;
  return (registers[feature.reg] >> feature.bit & 1) &&
         (savedState() & feature.state) == feature.state;
}
#else
bool detect(const Feature &) { return false; }
#endif

/// First of `features` that the processor lacks; "" when it has all.
std::string missingFeature(const std::vector<std::string> &features) {
  for (const std::string &feature : features)
    if (!processorHas(feature))
      return feature;
  return "";
}

/// The level that MOE_ISA asks for; NULL when it is not set.
absl::StatusOr<const Level *> forcedLevel() {
  const char *name = std::getenv("MOE_ISA");
  if (!name || !*name)
    return nullptr;
  for (const Level &level : levels()) {
    if (std::string(name) != level.name)
      continue;
    for (const char *feature : level.features)
      if (!processorHas(feature))
        return unsupported("MOE_ISA=", name,
                           ": expected a level that this processor has, but "
                           "it lacks ",
                           feature);
    return &level;
  }
  return invalidArgument("MOE_ISA: expected generic, avx2 or avx512, found '",
                         name, "'");
}

absl::Status nothingLeft(const std::string &path, const ModelDescription &model,
                         uint32_t function, const Level *forced) {
  std::set<std::string> offered;
  std::string missing;
  for (const Variant &variant : model.variants) {
    if (variant.function != function)
      continue;
    offered.insert(absl::StrCat(variant.device, " ", variant.isa));
    if (missing.empty() && variant.device == "cpu")
      missing = missingFeature(variant.features);
  }
  const std::string of =
      absl::StrCat("'", path, "': function '", model.functions[function].name,
                   "' has no variant for ");
  const std::string found =
      offered.empty() ? "none" : absl::StrJoin(offered, ", ");
  if (forced)
    return unsupported(of, "MOE_ISA=", forced->name, ", found ", found);
  return unsupported(of, "this processor, found ", found,
                     missing.empty() ? "" : ", and the processor lacks ",
                     missing);
}

} // namespace

bool moe::rt::processorHas(const std::string &feature) {
  const std::string name(absl::StripPrefix(feature, "+"));
  for (const Feature &known : kFeatures)
    if (name == known.name)
      return detect(known);
  return false;
}

absl::Status moe::rt::markAvailableVariants(const std::string &path,
                                            ModelDescription &model,
                                            absl::Status &runnable) {
  auto forced = forcedLevel();
  if (!forced.ok())
    return forced.status();
  std::vector<bool> hasVariant(model.functions.size());
  for (Variant &variant : model.variants) {
    variant.available = variant.device == "cpu" &&
                        (!*forced || variant.isa == (*forced)->name) &&
                        missingFeature(variant.features).empty();
    if (variant.available)
      hasVariant[variant.function] = true;
  }
  for (uint32_t i = 0; i < hasVariant.size() && runnable.ok(); ++i)
    if (!hasVariant[i])
      runnable = nothingLeft(path, model, i, *forced);
  return absl::OkStatus();
}
