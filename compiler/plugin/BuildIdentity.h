//===- BuildIdentity.h - Which build a plugin belongs to --------*- C++ -*-===//
//
// A plugin shares types, vtables and inline functions with libmoec, so it works
// only with the build of moec whose headers it was compiled against. The
// identity is that build in words. A plugin carries it as
// `moec_plugin_identity` (PluginIdentity.cpp); PluginLoader compares.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_PLUGIN_BUILDIDENTITY_H
#define MOEC_COMPILER_PLUGIN_BUILDIDENTITY_H

// Generated: MOEC_BUILD_VERSION, and MOEC_HEADERS_HASH over all installed
// headers.
#include "compiler/plugin/BuildIdentity.h.inc"

#include "llvm/ADT/StringRef.h"
#include "llvm/Config/llvm-config.h"

#include <string>

#ifdef __GXX_RTTI
#define MOEC_BUILD_RTTI "RTTI"
#else
#define MOEC_BUILD_RTTI "no RTTI"
#endif

#if defined(_LIBCPP_VERSION)
#define MOEC_BUILD_STDLIB "libc++"
#elif defined(_GLIBCXX_USE_CXX11_ABI) && !_GLIBCXX_USE_CXX11_ABI
#define MOEC_BUILD_STDLIB "old libstdc++ ABI"
#else
#define MOEC_BUILD_STDLIB "libstdc++ C++11 ABI"
#endif

/// The identity of the translation unit that expands it. The C++ compiler is no
/// part of it: compilers that agree on the rest agree on the C++ ABI.
#define MOEC_BUILD_IDENTITY                                                    \
  "moec " MOEC_BUILD_VERSION ", headers " MOEC_HEADERS_HASH                    \
  ", LLVM " LLVM_VERSION_STRING ", " MOEC_BUILD_RTTI ", " MOEC_BUILD_STDLIB

namespace moec {

/// The identity of this libmoec.
llvm::StringRef getBuildIdentity();

/// Where the core lies that a binary uses: an address in libmoec and one in
/// libMLIR. They differ between two binaries of a process exactly when one of
/// them brought its own copy.
struct CoreAddresses {
  const void *moec;
  const void *mlir;
};
CoreAddresses getCoreAddresses();

/// Stands for libmoec in CoreAddresses.
extern const char coreAnchor;

} // namespace moec

#endif // MOEC_COMPILER_PLUGIN_BUILDIDENTITY_H
