//===- Uploader.cpp - Copies files that are mapped to a device ------------===//

#include "runtime/lib/device/Uploader.h"

#include <algorithm>
#include <cstring>

using namespace moe::rt;

namespace {

/// Large enough for the full speed of the bus.
constexpr uint64_t kBufferBytes = 16 << 20;

} // namespace

Uploader::Uploader(std::shared_ptr<CudaDevice> given)
    : device(std::move(given)), halves{Half(device), Half(device)} {}

absl::Status Uploader::begin(uint64_t most) {
  for (Half &half : halves) {
    MOE_RETURN_IF_ERROR(half.stream.create());
    MOE_RETURN_IF_ERROR(half.buffer.reserve(
        std::max<uint64_t>(std::min(most, kBufferBytes), 1)));
  }
  return absl::OkStatus();
}

absl::Status Uploader::copy(uint64_t to, const void *from, uint64_t bytes) {
  const auto *source = static_cast<const uint8_t *>(from);
  while (bytes) {
    Half &half = halves[next];
    next = 1 - next;
    const uint64_t part = std::min(bytes, half.buffer.size());
    // The copy of this buffer before.
    MOE_RETURN_IF_ERROR(half.stream.synchronize());
    std::memcpy(half.buffer.data(), source, part);
    MOE_RETURN_IF_ERROR(MOE_CUDA_CALL(*device, cuMemcpyHtoDAsync, to,
                                      half.buffer.data(), part,
                                      half.stream.get()));
    to += part;
    source += part;
    bytes -= part;
  }
  return absl::OkStatus();
}

absl::Status Uploader::finish() {
  for (Half &half : halves)
    MOE_RETURN_IF_ERROR(half.stream.synchronize());
  return absl::OkStatus();
}
