//===- Error.h - How failures travel inside the runtime -------------------===//
//
// Inside, a failure is an absl::Status whose message is the sentence that the
// user reads. The C API turns it into a moe_status and a thread-local text.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_RUNTIME_LIB_BASE_ERROR_H
#define MOEC_RUNTIME_LIB_BASE_ERROR_H

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace moe::rt {

// One maker per moe_status; api/Runtime.cpp maps the codes back.
template <typename... Args> absl::Status invalidArgument(const Args &...args) {
  return absl::InvalidArgumentError(absl::StrCat(args...));
}
template <typename... Args> absl::Status notFound(const Args &...args) {
  return absl::NotFoundError(absl::StrCat(args...));
}
template <typename... Args> absl::Status badArtifact(const Args &...args) {
  return absl::DataLossError(absl::StrCat(args...));
}
template <typename... Args> absl::Status versionMismatch(const Args &...args) {
  return absl::FailedPreconditionError(absl::StrCat(args...));
}
template <typename... Args> absl::Status unsupported(const Args &...args) {
  return absl::UnimplementedError(absl::StrCat(args...));
}
template <typename... Args> absl::Status overCapacity(const Args &...args) {
  return absl::ResourceExhaustedError(absl::StrCat(args...));
}
template <typename... Args> absl::Status systemError(const Args &...args) {
  return absl::UnavailableError(absl::StrCat(args...));
}
template <typename... Args> absl::Status outOfMemory(const Args &...args) {
  return absl::OutOfRangeError(absl::StrCat(args...));
}
template <typename... Args> absl::Status deviceFailed(const Args &...args) {
  return absl::CancelledError(absl::StrCat(args...));
}

} // namespace moe::rt

#define MOE_RETURN_IF_ERROR(expression)                                        \
  do {                                                                         \
    if (absl::Status status_ = (expression); !status_.ok())                    \
      return status_;                                                          \
  } while (false)

#endif // MOEC_RUNTIME_LIB_BASE_ERROR_H
