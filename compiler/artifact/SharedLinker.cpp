//===- SharedLinker.cpp - From object to shared library -------------------===//

#include "compiler/artifact/SharedLinker.h"

#include "compiler/artifact/ElfPatcher.h"
#include "runtime/abi/moe_abi.h"

#include "lld/Common/Driver.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

#include <mutex>

LLD_HAS_DRIVER(elf)

using namespace moec;
using llvm::Error;
using llvm::Expected;
using llvm::SmallVector;
using llvm::StringRef;
namespace fs = llvm::sys::fs;

static Error writeFile(StringRef path, StringRef text) {
  std::error_code code;
  llvm::raw_fd_ostream stream(path, code);
  if (!code) {
    stream << text;
    stream.close();
    code = stream.error();
    stream.clear_error();
  }
  if (code)
    return llvm::createStringError(code, "cannot write '" + path +
                                             "': " + code.message());
  return Error::success();
}

/// Runs lld on files; its messages become the error.
static Error runLinker(llvm::ArrayRef<const char *> arguments) {
  // lld keeps its state in globals while it runs.
  static std::mutex mutex;
  static bool usable = true;
  std::lock_guard<std::mutex> lock(mutex);
  if (!usable)
    return llvm::createStringError("linker: an earlier run failed fatally");
  std::string messages;
  llvm::raw_string_ostream stream(messages);
  lld::Result result =
      lld::lldMain(arguments, stream, stream, {{lld::Gnu, &lld::elf::link}});
  usable = result.canRunAgain;
  if (result.retCode != 0)
    return llvm::createStringError("linker: " + StringRef(messages).trim());
  return Error::success();
}

/// What any process that can load the library has: functions of libc into
/// which the code generator turns loops.
static bool isOfLibc(StringRef symbol) {
  return llvm::StringSwitch<bool>(symbol)
      .Cases({"memcpy", "memmove", "memset", "memcmp", "bcmp"}, true)
      .Default(false);
}

static Error checkSymbols(llvm::MutableArrayRef<char> library) {
  ElfPatcher elf(library);
  auto exported = elf.exportedSymbols();
  if (!exported)
    return exported.takeError();
  if (exported->size() != 1 || exported->front() != MOE_MODEL_QUERY_SYMBOL)
    return llvm::createStringError(
        "linked library: expected to export " MOE_MODEL_QUERY_SYMBOL
        " alone, found " +
        llvm::Twine(exported->size()) + " symbols");
  auto undefined = elf.undefinedSymbols();
  if (!undefined)
    return undefined.takeError();
  for (const std::string &symbol : *undefined)
    if (!isOfLibc(symbol))
      return llvm::createStringError(
          "linked library: its code calls '" + symbol +
          "', which a process that loads it need not have");
  return Error::success();
}

Expected<SmallVector<char, 0>> moec::linkShared(StringRef object) {
  SmallVector<char, 128> folder;
  if (std::error_code code = fs::createUniqueDirectory("moec-link", folder))
    return llvm::createStringError(code, "cannot make a temporary folder: " +
                                             code.message());
  llvm::scope_exit removeFolder([&] { fs::remove_directories(folder); });
  auto inFolder = [&](StringRef name) {
    llvm::SmallString<128> path(StringRef(folder.data(), folder.size()));
    llvm::sys::path::append(path, name);
    return path;
  };
  llvm::SmallString<128> input = inFolder("model.o");
  llvm::SmallString<128> script = inFolder("exports");
  llvm::SmallString<128> output = inFolder("model.so");
  if (Error error = writeFile(input, object))
    return std::move(error);
  if (Error error = writeFile(script, "{ global: " MOE_MODEL_QUERY_SYMBOL
                                      "; local: *; };\n"))
    return std::move(error);

  std::string scriptOption = ("--version-script=" + script).str();
  // No soname: the loader must not take two models for one library. No build
  // id: equal inputs give equal bytes, and the manifest has checksums. Separate
  // segments, so that the weights start on a page of their own.
  const char *arguments[] = {"ld.lld",
                             "-shared",
                             "-m",
                             "elf_x86_64",
                             "-z",
                             "relro",
                             "-z",
                             "now",
                             "-z",
                             "noexecstack",
                             "-z",
                             "separate-loadable-segments",
                             "--build-id=none",
                             "--hash-style=gnu",
                             scriptOption.c_str(),
                             "-o",
                             output.c_str(),
                             input.c_str()};
  if (Error error = runLinker(arguments))
    return std::move(error);

  auto linked = llvm::MemoryBuffer::getFile(output);
  if (!linked)
    return llvm::createStringError(linked.getError(),
                                   "cannot read the linked library: " +
                                       linked.getError().message());
  StringRef bytes = (*linked)->getBuffer();
  SmallVector<char, 0> library(bytes.begin(), bytes.end());
  if (Error error = checkSymbols(library))
    return std::move(error);
  return std::move(library);
}
