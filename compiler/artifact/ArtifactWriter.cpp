//===- ArtifactWriter.cpp - From module to file ---------------------------===//

#include "compiler/artifact/ArtifactWriter.h"

#include "compiler/artifact/ElfPatcher.h"
#include "compiler/artifact/ManifestBuilder.h"
#include "compiler/artifact/OutputFile.h"
#include "compiler/artifact/SharedLinker.h"
#include "compiler/artifact/StandingArtifact.h"
#include "runtime/abi/manifest_generated.h"
#include "runtime/abi/moe_abi.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using llvm::Error;

// Not `using namespace moec`: the manifest's namespace is ::moe, and the
// dialect's would make that name ambiguous.
namespace moec {

static LogicalResult report(ModuleOp module, Error error) {
  return emitError(UnknownLoc::get(module.getContext()))
         << llvm::toString(std::move(error));
}

static WeightPlace resolve(const ArtifactOptions &options, uint64_t bytes) {
  if (options.weights != WeightPlace::Auto)
    return options.weights;
  return bytes <= options.embedLimit ? WeightPlace::Embedded
                                     : WeightPlace::SideFile;
}

static Error saveTemp(llvm::StringRef folder, llvm::StringRef name,
                      llvm::ArrayRef<char> bytes) {
  if (folder.empty())
    return Error::success();
  if (std::error_code code = llvm::sys::fs::create_directories(folder))
    return llvm::createStringError(code, "cannot make the folder '" + folder +
                                             "': " + code.message());
  llvm::SmallString<128> path(folder);
  llvm::sys::path::append(path, name);
  llvm::Expected<OutputFile> file = OutputFile::create(path);
  if (!file)
    return file.takeError();
  if (Error error = file->append(llvm::StringRef(bytes.data(), bytes.size())))
    return error;
  return file->commit();
}

namespace {
/// One artifact on its way to disk.
class Writer {
public:
  Writer(ModuleOp module, const ArtifactOptions &options, llvm::StringRef path)
      : module(module), options(options), path(path) {}

  /// Everything that can be known without reading weights.
  LogicalResult plan();
  LogicalResult emit(CodeKind kind, llvm::SmallVectorImpl<char> &output);
  LogicalResult write(WeightSupply &supply);

private:
  LogicalResult link();
  LogicalResult writeWeights(WeightSupply &supply, OutputFile &artifact,
                             std::optional<OutputFile> &side);
  Error finish(OutputFile &artifact, std::optional<OutputFile> &side);
  Error commit(OutputFile &artifact, std::optional<OutputFile> &side);
  void adoptWeights();
  std::string beside(llvm::StringRef name) const;

  ModuleOp module;
  const ArtifactOptions &options;
  llvm::StringRef path;
  WeightPlan weights;
  WeightPlace place = WeightPlace::Embedded;
  std::unique_ptr<::moe::manifest::ManifestT> manifest;
  llvm::SmallVector<char, 0> library;
  /// Where the segment begins: in the artifact, or in the side file.
  uint64_t segmentOffset = 0;
};
} // namespace

LogicalResult Writer::plan() {
  FailureOr<WeightPlan> planned = planWeights(module);
  if (failed(planned))
    return failure();
  weights = std::move(*planned);
  place = resolve(options, weights.segmentBytes);
  // A name as long as the one that is known when the weights are.
  manifest = buildManifest(
      module, weights,
      place == WeightPlace::Embedded ? "" : sideFileName(path, 0));
  if (manifest && place == WeightPlace::Absent)
    adoptWeights();
  return success(manifest != nullptr);
}

std::string Writer::beside(llvm::StringRef name) const {
  llvm::SmallString<128> result(llvm::sys::path::parent_path(path));
  llvm::sys::path::append(result, name);
  return result.str().str();
}

/// Takes the side file of the artifact that is replaced, and its checksums, if
/// the weights have the same places. There may be no such artifact: then the
/// name is one that somebody else has to provide.
void Writer::adoptWeights() {
  namespace fb = ::moe::manifest;
  fb::SegmentT &segment = *manifest->segments.front();
  segment.file = (llvm::sys::path::stem(path) + ".weights").str();
  std::unique_ptr<fb::ManifestT> old = readStandingManifest(path);
  if (!old || old->segments.size() != 1 ||
      old->segments.front()->bytes != segment.bytes ||
      old->segments.front()->file.empty() ||
      old->weights.size() != manifest->weights.size())
    return;
  for (auto [ours, theirs] : llvm::zip(manifest->weights, old->weights))
    if (ours->name != theirs->name || ours->offset != theirs->offset ||
        ours->bytes != theirs->bytes || ours->format != theirs->format ||
        ours->layout != theirs->layout)
      return;
  segment.file = old->segments.front()->file;
  segment.checksum = old->segments.front()->checksum;
  for (auto [ours, theirs] : llvm::zip(manifest->weights, old->weights))
    ours->checksum = theirs->checksum;
}

LogicalResult Writer::emit(CodeKind kind, llvm::SmallVectorImpl<char> &output) {
  std::string bytes = serializeManifest(*manifest);
  ObjectContents contents;
  contents.manifest = bytes;
  contents.segmentBytes = weights.segmentBytes;
  contents.embedded = place == WeightPlace::Embedded;
  contents.device = options.device;
  contents.device.optLevel = options.optLevel;
  // The declarations of weights are still needed: emission works on a copy.
  OwningOpRef<ModuleOp> copy = module.clone();
  return emitCode(*copy, contents, options.optLevel, kind, output);
}

LogicalResult Writer::link() {
  llvm::SmallVector<char, 0> object;
  if (failed(emit(CodeKind::Object, object)))
    return failure();
  if (Error error = saveTemp(options.saveTemps, "model.o", object))
    return report(module, std::move(error));
  auto linked = linkShared(llvm::StringRef(object.data(), object.size()));
  if (!linked)
    return report(module, linked.takeError());
  library = std::move(*linked);
  if (Error error = saveTemp(options.saveTemps, "model-linked.so", library))
    return report(module, std::move(error));
  if (place != WeightPlace::Embedded || weights.segmentBytes == 0)
    return success();
  auto offset = ElfPatcher(library).mapWeights(weights.segmentBytes);
  if (!offset)
    return report(module, offset.takeError());
  segmentOffset = *offset;
  return success();
}

LogicalResult Writer::writeWeights(WeightSupply &supply, OutputFile &artifact,
                                   std::optional<OutputFile> &side) {
  if (place == WeightPlace::Absent)
    return success();
  OutputFile &file = side ? *side : artifact;
  if (weights.segmentBytes != 0)
    if (Error error = file.growTo(segmentOffset + weights.segmentBytes))
      return report(module, std::move(error));
  if (failed(packWeights(weights, supply,
                         [&](uint64_t offset, llvm::StringRef bytes) {
                           return file.writeAt(segmentOffset + offset, bytes);
                         })))
    return failure();
  auto checksum = file.checksum(segmentOffset, weights.segmentBytes);
  if (!checksum)
    return report(module, checksum.takeError());
  manifest->segments.front()->checksum = *checksum;
  if (side)
    manifest->segments.front()->file = sideFileName(path, *checksum);
  for (auto [ordinal, weight] : llvm::enumerate(weights.weights))
    manifest->weights[ordinal]->checksum = weight.checksum;
  return success();
}

/// Puts the final manifest in the place of the one that was linked, and the
/// files in theirs.
Error Writer::finish(OutputFile &artifact, std::optional<OutputFile> &side) {
  manifest->artifact_bytes = artifact.size();
  std::string bytes = serializeManifest(*manifest);
  auto section = ElfPatcher(library).findSection(MOE_MANIFEST_SECTION);
  if (!section)
    return section.takeError();
  if (section->bytes != bytes.size())
    return llvm::createStringError("the manifest changed its size");
  if (Error error = artifact.writeAt(section->offset, bytes))
    return error;
  return commit(artifact, side);
}

/// The side file first: an artifact never stands without its weights. The file
/// of the artifact that is replaced goes last; a process that ends before that
/// leaves it behind, which does no harm.
Error Writer::commit(OutputFile &artifact, std::optional<OutputFile> &side) {
  std::string oldFile;
  if (std::unique_ptr<::moe::manifest::ManifestT> old =
          readStandingManifest(path))
    if (old->segments.size() == 1)
      oldFile = old->segments.front()->file;
  const std::string &newFile = manifest->segments.front()->file;
  bool isNew = side && !llvm::sys::fs::exists(beside(newFile));
  if (side)
    if (Error error = side->commitAs(beside(newFile)))
      return error;
  if (Error error = artifact.commit()) {
    if (isNew)
      llvm::sys::fs::remove(beside(newFile));
    return error;
  }
  if (oldFile != newFile && isSideFileOf(path, oldFile))
    llvm::sys::fs::remove(beside(oldFile));
  return Error::success();
}

LogicalResult Writer::write(WeightSupply &supply) {
  // Before the work: a place that cannot be written is found at once.
  auto artifact = OutputFile::create(path, OutputFile::Kind::Code);
  if (!artifact)
    return report(module, artifact.takeError());
  if (failed(plan()))
    return failure();
  std::optional<OutputFile> side;
  if (place == WeightPlace::SideFile) {
    auto file = OutputFile::create(beside(sideFileName(path, 0)));
    if (!file)
      return report(module, file.takeError());
    side.emplace(std::move(*file));
  }
  if (failed(link()))
    return failure();
  if (Error error =
          artifact->append(llvm::StringRef(library.data(), library.size())))
    return report(module, std::move(error));
  if (failed(writeWeights(supply, *artifact, side)))
    return failure();
  if (Error error = finish(*artifact, side))
    return report(module, std::move(error));
  return success();
}

LogicalResult writeArtifact(ModuleOp module, const ArtifactOptions &options,
                            WeightSupply &weights, llvm::StringRef path) {
  return Writer(module, options, path).write(weights);
}

LogicalResult emitModelCode(ModuleOp module, const ArtifactOptions &options,
                            llvm::StringRef path, CodeKind kind,
                            llvm::SmallVectorImpl<char> &output) {
  Writer writer(module, options, path);
  if (failed(writer.plan()))
    return failure();
  return writer.emit(kind, output);
}

} // namespace moec
