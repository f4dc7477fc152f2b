//===- StructSize.h - Structs that begin with their size ------------------===//
//
// The caller may have been compiled against another version of the header: its
// structs may be longer than ours (we ignore the rest) or, for options, shorter
// (the rest is zero).
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_RUNTIME_LIB_BASE_STRUCTSIZE_H
#define MOEC_RUNTIME_LIB_BASE_STRUCTSIZE_H

#include "runtime/lib/base/Error.h"

#include <algorithm>
#include <cstring>

namespace moe::rt {

/// A caller's array whose elements are as long as the first one says.
template <typename Struct> class StructArray {
public:
  StructArray(Struct *first, uint64_t count)
      : first(first), count(count), stride(count && first ? first->size : 0) {}

  /// Fails when the array or a size is missing. `what` is for the message.
  absl::Status check(const char *what) const {
    if (count && !first)
      return invalidArgument(what, ": expected ", count, ", found NULL");
    if (count && stride < sizeof(Struct))
      return invalidArgument(what, ": expected structs of at least ",
                             sizeof(Struct), " bytes, found size ", stride);
    for (uint64_t i = 0; i < count; ++i)
      if ((*this)[i].size != stride)
        return invalidArgument(what, " ", i, ": expected size ", stride,
                               " as of the first, found ", (*this)[i].size);
    return absl::OkStatus();
  }

  uint64_t size() const { return count; }
  Struct &operator[](uint64_t index) const {
    using Byte = std::conditional_t<std::is_const_v<Struct>, const char, char>;
    return *reinterpret_cast<Struct *>(reinterpret_cast<Byte *>(first) +
                                       index * stride);
  }

private:
  Struct *first;
  uint64_t count;
  uint64_t stride;
};

/// The caller's options; zero where it gave none.
template <typename Options>
absl::Status readOptions(const Options *from, Options &to) {
  std::memset(&to, 0, sizeof(to));
  if (!from)
    return absl::OkStatus();
  if (from->size < sizeof(from->size))
    return invalidArgument("options: expected size to be set, found ",
                           from->size);
  std::memcpy(&to, from, std::min<uint64_t>(from->size, sizeof(to)));
  return absl::OkStatus();
}

/// Gives the caller as much of `from` as it knows.
template <typename Info> absl::Status writeInfo(const Info &from, Info *to) {
  if (!to || to->size < sizeof(to->size))
    return invalidArgument("info: expected a struct with size set, found ",
                           to ? "size 0" : "NULL");
  const uint64_t size = to->size;
  std::memcpy(to, &from, std::min<uint64_t>(size, sizeof(from)));
  to->size = size;
  return absl::OkStatus();
}

} // namespace moe::rt

#endif // MOEC_RUNTIME_LIB_BASE_STRUCTSIZE_H
