//===- DeviceModel.cpp - A model's code and weights on a device -----------===//

#include "runtime/lib/device/DeviceModel.h"

#include "runtime/lib/device/DeviceChoice.h"
#include "runtime/lib/device/Uploader.h"

#include "absl/strings/ascii.h"
#include "absl/strings/string_view.h"

#include <algorithm>

using namespace moe::rt;
using namespace moe::rt::cuda;

namespace {

/// What cuMemAlloc aligns to, hence what the parts of one allocation get.
constexpr uint64_t kAlignment = 256;

uint64_t alignUp(uint64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

/// A part of a segment that the device needs. Several weights may lie in it,
/// one a view of another.
struct Range {
  uint32_t segment;
  uint64_t begin; // aligned
  uint64_t end;
  uint64_t at = 0; // from the start of the device's memory
};

/// What the weights at `used` cover, without overlaps, in order.
std::vector<Range> rangesOf(const ModelDescription &model,
                            const std::vector<bool> &used) {
  std::vector<Range> all;
  for (size_t i = 0; i < used.size(); ++i) {
    const Weight &weight = model.weights[i];
    if (used[i])
      all.push_back({weight.segment, weight.offset / kAlignment * kAlignment,
                     weight.offset + weight.bytes});
  }
  std::sort(all.begin(), all.end(), [](const Range &a, const Range &b) {
    return a.segment != b.segment ? a.segment < b.segment : a.begin < b.begin;
  });
  std::vector<Range> merged;
  uint64_t bytes = 0;
  for (const Range &range : all) {
    if (!merged.empty() && merged.back().segment == range.segment &&
        range.begin <= merged.back().end) {
      merged.back().end = std::max(merged.back().end, range.end);
    } else {
      merged.push_back(range);
      merged.back().at = bytes;
    }
    bytes = alignUp(merged.back().at + merged.back().end - merged.back().begin);
  }
  return merged;
}

/// The version that a text of PTX asks for: "8.6".
std::string ptxVersion(const moe_level_image &image) {
  const absl::string_view text(static_cast<const char *>(image.data),
                               image.bytes - 1);
  constexpr absl::string_view kDirective = ".version";
  const size_t at = text.find(kDirective);
  if (at == absl::string_view::npos)
    return "an unknown version";
  const absl::string_view rest =
      absl::StripLeadingAsciiWhitespace(text.substr(at + kDirective.size()));
  return std::string(rest.substr(0, rest.find_first_of("\r\n \t")));
}

} // namespace

absl::StatusOr<std::unique_ptr<DeviceModel>>
DeviceModel::load(const std::string &path, const ModelDescription &model,
                  const std::vector<DeviceLevel> &levels, WeightStore &store) {
  if (levels.empty())
    return unsupported("'", path, "' has no code for a device");
  auto driver = CudaDriver::open();
  if (!driver.ok())
    return driver.status();
  const auto choice = chooseDevice(path, **driver, levels);
  if (!choice.ok())
    return choice.status();
  auto device = CudaDevice::open(*driver, choice->ordinal);
  if (!device.ok())
    return device.status();
  std::unique_ptr<DeviceModel> loaded(
      new DeviceModel(*std::move(device), *choice->level));
  MOE_RETURN_IF_ERROR(loaded->checkVariants(path, model));
  const CudaScope scope(*loaded->gpu);
  MOE_RETURN_IF_ERROR(scope.status());
  MOE_RETURN_IF_ERROR(store.attachDevice(path, model));
  MOE_RETURN_IF_ERROR(loaded->loadCode(path));
  MOE_RETURN_IF_ERROR(loaded->upload(path, model, store));
  return loaded;
}

DeviceModel::~DeviceModel() {
  if (!module)
    return;
  const CudaScope scope(*gpu);
  if (scope.status().ok())
    static_cast<void>(gpu->api().cuModuleUnload(module));
}

/// A session has all functions, for they share its cache.
absl::Status DeviceModel::checkVariants(const std::string &path,
                                        const ModelDescription &model) const {
  std::vector<bool> hasCode(model.functions.size());
  for (const Variant &variant : model.variants)
    if (hasVariant(variant))
      hasCode[variant.function] = true;
  for (size_t i = 0; i < hasCode.size(); ++i)
    if (!hasCode[i])
      return unsupported("'", path, "': device level '", chosen->name,
                         "' has no variant of function '",
                         model.functions[i].name, "'");
  return absl::OkStatus();
}

absl::Status DeviceModel::loadCode(const std::string &path) {
  MOE_RETURN_IF_ERROR(loadImage(path));
  return findKernels(path);
}

absl::Status DeviceModel::loadImage(const std::string &path) {
  const std::string where =
      absl::StrCat("'", path, "': device level '", chosen->name, "': ");
  if (gpu->driver().isEmulator()) {
    const moe_level_image *code = chosen->image(MOE_IMAGE_LLVM_IR);
    if (!code)
      return unsupported(where, "expected LLVM IR for the emulator, found ",
                         "none: compile with -femit-kernel-ir");
    const absl::Status status = MOE_CUDA_CALL(*gpu, moeEmuModuleLoadIr, &module,
                                              code->data, code->bytes);
    return status.ok() ? status
                       : absl::Status(status.code(),
                                      absl::StrCat(where, status.message()));
  }
  const moe_level_image *binary = chosen->image(MOE_IMAGE_CUBIN);
  const moe_level_image *ptx = chosen->image(MOE_IMAGE_PTX);
  if (binary && gpu->major() == chosen->major &&
      gpu->minor() == chosen->minor) {
    const Result result = gpu->api().cuModuleLoadDataEx(&module, binary->data,
                                                        0, nullptr, nullptr);
    // A driver older than the binary may still translate the text.
    const bool isForeign = result == NoBinaryForGpu || result == InvalidImage;
    if (!isForeign || !ptx)
      return gpu->check("cuModuleLoadDataEx", result);
  }
  if (!ptx)
    return unsupported(where, "expected PTX, or a cubin for ", gpu->describe(),
                       ", found none");
  const absl::Status status = loadPtx(*ptx);
  return status.ok() ? status
                     : absl::Status(status.code(),
                                    absl::StrCat(where, status.message()));
}

absl::Status DeviceModel::loadPtx(const moe_level_image &image) {
  std::vector<char> log(1 << 14);
  JitOption options[] = {ErrorLogBuffer, ErrorLogBufferBytes};
  void *values[] = {log.data(),
                    reinterpret_cast<void *>(uintptr_t{log.size() - 1})};
  const Result result =
      gpu->api().cuModuleLoadDataEx(&module, image.data, 2, options, values);
  if (result == Success)
    return absl::OkStatus();
  module = nullptr;
  const std::string text =
      absl::StrCat("the driver does not translate its PTX ", ptxVersion(image),
                   ": ", gpu->driver().describe("cuModuleLoadDataEx", result));
  const std::string said(
      absl::StripAsciiWhitespace(absl::string_view(log.data())));
  const std::string detail =
      said.empty() ? "" : absl::StrCat("; it says: ", said);
  // Drivers say InvalidPtx to directives that are younger than they are.
  if (result == UnsupportedPtxVersion || result == InvalidPtx ||
      result == NoBinaryForGpu || result == JitCompilerNotFound)
    return unsupported(text, "; the driver is for CUDA ",
                       gpu->driver().versionText(),
                       ", a newer one may be needed", detail);
  const absl::Status status = gpu->check("cuModuleLoadDataEx", result);
  return absl::Status(status.code(), absl::StrCat(text, detail));
}

absl::Status DeviceModel::findKernels(const std::string &path) {
  for (const moe_level_kernel &kernel : chosen->kernels) {
    Kernel entry = {kernel.name, nullptr, kernel.threads, kernel.shared_bytes};
    absl::Status status = MOE_CUDA_CALL(*gpu, cuModuleGetFunction,
                                        &entry.function, module, kernel.name);
    if (status.ok() && kernel.shared_bytes > kPlainSharedBytes)
      status = MOE_CUDA_CALL(*gpu, cuFuncSetAttribute, entry.function,
                             MaxDynamicSharedBytes,
                             static_cast<int>(kernel.shared_bytes));
    if (!status.ok())
      return absl::Status(status.code(),
                          absl::StrCat("'", path, "': kernel '", kernel.name,
                                       "' of device level '", chosen->name,
                                       "': ", status.message()));
    entries.push_back(entry);
  }
  return absl::OkStatus();
}

absl::Status DeviceModel::upload(const std::string &path,
                                 const ModelDescription &model,
                                 const WeightStore &store) {
  std::vector<bool> used(model.weights.size());
  for (const Variant &variant : model.variants)
    if (hasVariant(variant))
      for (const uint32_t weight : variant.weights)
        used[weight] = true;
  const std::vector<Range> ranges = rangesOf(model, used);
  uint64_t bytes = 0;
  for (const Range &range : ranges)
    bytes = range.at + alignUp(range.end - range.begin);
  MOE_RETURN_IF_ERROR(weights.reserve(bytes, "the weights"));
  // The arrays are never empty, so that their addresses are never NULL.
  pointers.assign(std::max<size_t>(model.weights.size(), 1), nullptr);
  const uint64_t tableBytes = pointers.size() * sizeof(pointers[0]);
  MOE_RETURN_IF_ERROR(table.reserve(tableBytes, "the addresses of weights"));
  if (chosen->constantsBytes)
    MOE_RETURN_IF_ERROR(
        constantData.reserve(chosen->constantsBytes, "the constants"));
  for (size_t i = 0; i < used.size(); ++i) {
    const Weight &weight = model.weights[i];
    if (!used[i])
      continue;
    const auto after =
        std::upper_bound(ranges.begin(), ranges.end(), weight,
                         [](const Weight &each, const Range &range) {
                           return each.segment != range.segment
                                      ? each.segment < range.segment
                                      : each.offset < range.begin;
                         });
    const Range &range = *(after - 1);
    pointers[i] = reinterpret_cast<const void *>(weights.address() + range.at +
                                                 weight.offset - range.begin);
  }
  Uploader uploader(gpu);
  MOE_RETURN_IF_ERROR(
      uploader.begin(std::max({bytes, tableBytes, chosen->constantsBytes})));
  for (const Range &range : ranges)
    MOE_RETURN_IF_ERROR(uploader.copy(
        weights.address() + range.at,
        store.segment(range.segment) + range.begin, range.end - range.begin));
  MOE_RETURN_IF_ERROR(
      uploader.copy(table.address(), pointers.data(), tableBytes));
  MOE_RETURN_IF_ERROR(uploader.copy(constantData.address(), chosen->constants,
                                    chosen->constantsBytes));
  MOE_RETURN_IF_ERROR(uploader.finish());
  if (store.failed())
    return badArtifact("'", path, "': expected the weights that were loaded, ",
                       "found their file cut short");
  return absl::OkStatus();
}
