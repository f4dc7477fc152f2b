//===- WeightStore.cpp - Where the weights of a model lie in memory -------===//

#include "runtime/lib/weights/WeightStore.h"

#include "runtime/lib/base/MappingGuard.h"

#include "absl/strings/str_format.h"

#include <sys/mman.h>
#include <unistd.h>

// Header-only, so that the runtime does not depend on the shared library.
#define XXH_INLINE_ALL
#include <xxhash.h>

using namespace moe::rt;

namespace {

/// Starts reading the pages in; a refusal changes nothing but speed.
void prefetch(const void *data, uint64_t bytes) {
  const auto page = static_cast<uintptr_t>(getpagesize());
  const auto begin = reinterpret_cast<uintptr_t>(data) / page * page;
  const auto end = reinterpret_cast<uintptr_t>(data) + bytes;
  madvise(reinterpret_cast<void *>(begin), end - begin, MADV_WILLNEED);
}

std::string folderOf(const std::string &path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash + 1);
}

std::string hex(uint64_t checksum) {
  return absl::StrFormat("%016x", checksum);
}

} // namespace

void WeightStore::detach() {
  for (GuardedRange *guard : guards)
    releaseMapping(guard);
  guards.clear();
}

absl::Status WeightStore::attach(const std::string &artifactPath,
                                 const ModelDescription &description,
                                 const moe_segment_v1 *segments,
                                 uint64_t stride) {
  const auto *cursor = reinterpret_cast<const uint8_t *>(segments);
  for (const Segment &segment : description.segments) {
    const auto &given = *reinterpret_cast<const moe_segment_v1 *>(cursor);
    cursor += stride;
    const uint64_t index = bases.size();
    bases.push_back(nullptr);
    embedded.push_back(given.data);
    if (given.bytes != segment.bytes)
      return badArtifact("'", artifactPath, "': segment ", index, ": expected ",
                         segment.bytes, " bytes as in the manifest, found ",
                         given.bytes);
    if (!segment.onCpu || segment.bytes == 0)
      continue;
    MOE_RETURN_IF_ERROR(
        segment.file.empty()
            ? attachEmbedded(artifactPath, index, segment, given.data)
            : attachSideFile(artifactPath, index, segment));
    prefetch(bases[index], segment.bytes);
    totalBytes += segment.bytes;
  }
  weights.reserve(description.weights.size());
  for (const Weight &weight : description.weights) {
    const uint8_t *base = bases[weight.segment];
    weights.push_back(base ? base + weight.offset : nullptr);
  }
  return absl::OkStatus();
}

absl::Status WeightStore::attachDevice(const std::string &artifactPath,
                                       const ModelDescription &description) {
  for (uint64_t index = 0; index < bases.size(); ++index) {
    const Segment &segment = description.segments[index];
    if (!segment.onDevice || segment.bytes == 0 || bases[index])
      continue;
    MOE_RETURN_IF_ERROR(
        segment.file.empty()
            ? attachEmbedded(artifactPath, index, segment, embedded[index])
            : attachSideFile(artifactPath, index, segment));
    prefetch(bases[index], segment.bytes);
  }
  return absl::OkStatus();
}

absl::Status WeightStore::attachEmbedded(const std::string &artifactPath,
                                         uint64_t index, const Segment &segment,
                                         const void *data) {
  if (!data || reinterpret_cast<uintptr_t>(data) % MOE_ALIGNMENT)
    return badArtifact("'", artifactPath, "': segment ", index,
                       ": expected embedded weights aligned to ", MOE_ALIGNMENT,
                       " bytes, found ", data ? "another alignment" : "none");
  bases[index] = static_cast<const uint8_t *>(data);
  guards.push_back(guardMapping(data, segment.bytes, &lost));
  return absl::OkStatus();
}

absl::Status WeightStore::attachSideFile(const std::string &artifactPath,
                                         uint64_t index,
                                         const Segment &segment) {
  const std::string path = folderOf(artifactPath) + segment.file;
  auto file = File::open(path);
  if (!file.ok())
    return absl::Status(file.status().code(),
                        absl::StrCat("'", artifactPath,
                                     "' needs the weights of its side file: ",
                                     file.status().message()));
  if (file->size() != segment.bytes)
    return badArtifact("'", path, "': expected ", segment.bytes,
                       " bytes of weights for '", artifactPath, "', found ",
                       file->size());
  auto mapped = MappedFile::map(*file, &lost);
  if (!mapped.ok())
    return mapped.status();
  bases[index] = (*mapped)->data();
  sideFiles.push_back(*std::move(mapped));
  return absl::OkStatus();
}

void WeightStore::populate(const ModelDescription &description) const {
  for (size_t i = 0; i < bases.size(); ++i) {
    if (!bases[i] || !description.segments[i].onCpu)
      continue;
    const auto page = static_cast<uintptr_t>(getpagesize());
    const auto begin = reinterpret_cast<uintptr_t>(bases[i]) / page * page;
    const auto end =
        reinterpret_cast<uintptr_t>(bases[i]) + description.segments[i].bytes;
#ifdef MADV_POPULATE_READ
    if (madvise(reinterpret_cast<void *>(begin), end - begin,
                MADV_POPULATE_READ) == 0)
      continue;
#endif
    // Kernels before 5.14: a byte of each page will do.
    for (uintptr_t at = reinterpret_cast<uintptr_t>(bases[i]); at < end;
         at = at / page * page + page)
      static_cast<void>(*reinterpret_cast<const volatile uint8_t *>(at));
  }
}

absl::Status WeightStore::verify(const std::string &artifactPath,
                                 const ModelDescription &description) const {
  const auto where = [&](const Segment &segment) {
    return segment.file.empty() ? artifactPath
                                : folderOf(artifactPath) + segment.file;
  };
  // Weights first: their message says more.
  for (size_t i = 0; i < weights.size(); ++i) {
    const Weight &weight = description.weights[i];
    const Segment &segment = description.segments[weight.segment];
    const uint8_t *base = bases[weight.segment];
    if (!segment.onCpu && !base)
      continue;
    const uint64_t found = weight.bytes
                               ? XXH3_64bits(base + weight.offset, weight.bytes)
                               : XXH3_64bits("", 0);
    if (found != weight.checksum)
      return badArtifact("'", where(segment), "': weight '", weight.name,
                         "': expected checksum ", hex(weight.checksum),
                         ", found ", hex(found));
  }
  for (size_t i = 0; i < bases.size(); ++i) {
    const Segment &segment = description.segments[i];
    if (!segment.onCpu && !bases[i])
      continue;
    const uint64_t found =
        bases[i] ? XXH3_64bits(bases[i], segment.bytes) : XXH3_64bits("", 0);
    if (found != segment.checksum)
      return badArtifact("'", where(segment), "': segment ", i,
                         ": expected checksum ", hex(segment.checksum),
                         ", found ", hex(found));
  }
  if (failed())
    return badArtifact("'", artifactPath,
                       "': weights cut short while they were read");
  return absl::OkStatus();
}
