//===- PluginLoader.cpp - Loading dialect and pass plugins ----------------===//
#include "compiler/plugin/PluginLoader.h"

#include "compiler/plugin/BuildIdentity.h"

#include "mlir/Tools/Plugins/DialectPlugin.h"
#include "mlir/Tools/Plugins/PassPlugin.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

#include <cstdlib>
#include <dlfcn.h>
#include <optional>

using namespace moec;
using llvm::Error;
using llvm::StringRef;
using llvm::Twine;

namespace {
using DialectEntry = mlir::DialectPluginLibraryInfo (*)();
using PassEntry = mlir::PassPluginLibraryInfo (*)();
using CoreFunction = void (*)(CoreAddresses *);

/// Handle of dlopen; closes it unless the plugin is kept.
class Library {
public:
  explicit Library(StringRef path)
      : handle(dlopen(path.str().c_str(), RTLD_NOW | RTLD_LOCAL)) {}
  Library(const Library &) = delete;
  Library &operator=(const Library &) = delete;
  ~Library() {
    if (handle && !kept)
      dlclose(handle);
  }

  explicit operator bool() const { return handle; }
  void keep() { kept = true; }
  template <typename Function> Function find(const char *name) const {
    return reinterpret_cast<Function>(dlsym(handle, name));
  }

private:
  void *handle;
  bool kept = false;
};
} // namespace

static Error refuse(StringRef path, const Twine &why,
                    std::error_code code = llvm::inconvertibleErrorCode()) {
  return llvm::createStringError(code, "plugin '" + path + "' " + why);
}

/// The code of refusals that building the plugin anew will cure.
static std::error_code otherBuild() {
  return std::make_error_code(std::errc::executable_format_error);
}

/// The contents of `moec_plugin_identity`, read from the file: a plugin of
/// another build may fail in dlopen already, and its constructors must not run.
static llvm::Expected<std::optional<std::string>> readIdentity(StringRef path) {
  // A device or a pipe may have no end.
  if (!llvm::sys::fs::is_regular_file(path))
    return refuse(path, "is not a regular file");
  auto binary = llvm::object::ObjectFile::createObjectFile(path);
  if (!binary)
    return refuse(path, "cannot be read: " + toString(binary.takeError()));
  auto *elf =
      llvm::dyn_cast<llvm::object::ELFObjectFileBase>(binary->getBinary());
  if (!elf || elf->getEType() != llvm::ELF::ET_DYN)
    return refuse(path, "is not a shared library");
  for (llvm::object::ELFSymbolRef symbol : elf->getDynamicSymbolIterators()) {
    llvm::Expected<StringRef> name = symbol.getName();
    if (!name) {
      llvm::consumeError(name.takeError());
      continue;
    }
    if (*name != "moec_plugin_identity")
      continue;
    auto section = symbol.getSection();
    if (!section)
      return section.takeError();
    if (*section == elf->section_end())
      break; // A reference, not a definition.
    llvm::Expected<StringRef> contents = (*section)->getContents();
    llvm::Expected<uint64_t> address = symbol.getAddress();
    if (!contents || !address)
      return llvm::joinErrors(contents.takeError(), address.takeError());
    StringRef text = contents->substr(*address - (*section)->getAddress());
    return text.take_until([](char c) { return c == '\0'; }).str();
  }
  return std::nullopt;
}

/// Checks that must pass before code of the plugin runs.
static Error checkIdentity(StringRef path) {
  llvm::Expected<std::optional<std::string>> found = readIdentity(path);
  if (!found)
    return found.takeError();
  if (!*found)
    return refuse(path,
                  "does not say for which build of moec it was built, "
                  "and this is '" +
                      getBuildIdentity() + "'; build it with moec_add_plugin()",
                  otherBuild());
  if (**found != getBuildIdentity())
    return refuse(path,
                  "was built for '" + **found + "', but this is '" +
                      getBuildIdentity() +
                      "'; build it against this installation",
                  otherBuild());
  return Error::success();
}

/// A plugin that was linked with parts of libmoec or libMLIR would register its
/// operations and interfaces under other type ids, so that no pass sees them.
static Error checkCore(StringRef path, const Library &library) {
  auto core = library.find<CoreFunction>("moec_plugin_core");
  if (!core)
    return refuse(path, "does not say which core it uses; build it with "
                        "moec_add_plugin()");
  CoreAddresses theirs = {}, ours = getCoreAddresses();
  core(&theirs);
  if (theirs.moec != ours.moec || theirs.mlir != ours.mlir)
    return refuse(path, Twine("carries its own copy of ") +
                            (theirs.moec != ours.moec ? "moec" : "MLIR") +
                            ", and nothing in it would reach this program; "
                            "link it with moec::sdk alone, as "
                            "moec_add_plugin() does");
  return Error::success();
}

static Error checkVersion(StringRef path, uint32_t found) {
  if (found == MLIR_PLUGIN_API_VERSION)
    return Error::success();
  return refuse(path,
                "uses version " + Twine(found) +
                    " of MLIR's plugin interface, expected " +
                    Twine(MLIR_PLUGIN_API_VERSION),
                otherBuild());
}

Error PluginLoader::load(StringRef path) {
  llvm::SmallString<256> realPath;
  if (std::error_code error = llvm::sys::fs::real_path(path, realPath))
    return refuse(path, "cannot be read: " + error.message());
  if (llvm::any_of(plugins, [&](const LoadedPlugin &plugin) {
        return plugin.path == realPath;
      }))
    return Error::success();

  if (Error error = checkIdentity(realPath))
    return error;
  Library library(realPath);
  if (!library)
    return refuse(realPath, Twine("cannot be loaded: ") + dlerror());
  if (Error error = checkCore(realPath, library))
    return error;

  auto dialectEntry = library.find<DialectEntry>("mlirGetDialectPluginInfo");
  auto passEntry = library.find<PassEntry>("mlirGetPassPluginInfo");
  LoadedPlugin plugin;
  plugin.path = realPath.str();
  if (!dialectEntry && !passEntry)
    return refuse(realPath, "exports neither mlirGetDialectPluginInfo nor "
                            "mlirGetPassPluginInfo");
  mlir::DialectPluginLibraryInfo dialects = {};
  mlir::PassPluginLibraryInfo passes = {};
  if (passEntry) {
    passes = passEntry();
    if (Error error = checkVersion(realPath, passes.apiVersion))
      return error;
    plugin.name = passes.pluginName;
    plugin.version = passes.pluginVersion;
  }
  if (dialectEntry) {
    dialects = dialectEntry();
    if (Error error = checkVersion(realPath, dialects.apiVersion))
      return error;
    plugin.name = dialects.pluginName;
    plugin.version = dialects.pluginVersion;
  }
  if (const LoadedPlugin *other = find(plugin.name))
    return refuse(realPath, "calls itself '" + plugin.name + "', as '" +
                                other->path + "' does");
  library.keep();
  if (dialects.registerDialectRegistryCallbacks)
    dialects.registerDialectRegistryCallbacks(&registry);
  if (passes.registerPassRegistryCallbacks)
    passes.registerPassRegistryCallbacks();
  plugins.push_back(std::move(plugin));
  return Error::success();
}

const LoadedPlugin *PluginLoader::find(StringRef name) const {
  auto found = llvm::find_if(plugins, [&](const LoadedPlugin &plugin) {
    StringRef stem = llvm::sys::path::stem(plugin.path);
    return plugin.name == name || stem == name ||
           (stem.consume_front("lib") && stem == name);
  });
  return found == plugins.end() ? nullptr : &*found;
}

Error PluginLoader::use(StringRef name, StringRef sourceFolder) {
  if (find(name))
    return Error::success();
  if (name.empty() || llvm::sys::path::filename(name) != name)
    return llvm::createStringError(
        "expected the name of a plugin, found '" + name +
        "'; a file is loaded with --load-plugin=FILE");

  llvm::SmallVector<StringRef> folders;
  if (const char *path = std::getenv("MOEC_PLUGIN_PATH"))
    llvm::SplitString(path, folders, ":");
  folders.push_back(sourceFolder.empty() ? "." : sourceFolder);
  for (StringRef folder : folders)
    for (const char *prefix : {"", "lib"}) {
      llvm::SmallString<256> path(folder);
      llvm::sys::path::append(path, prefix + name + ".so");
      if (llvm::sys::fs::is_regular_file(path))
        return load(path);
    }
  return llvm::createStringError(
      std::make_error_code(std::errc::no_such_file_or_directory),
      "cannot find plugin '" + name + "': expected " + name + ".so or lib" +
          name + ".so in " + llvm::join(folders, ", ") +
          "; other folders are given by MOEC_PLUGIN_PATH, a file by "
          "--load-plugin");
}

/// Takes the name of an option that loads a plugin off the front: ours, or one
/// that MLIR has, too, without the checks of load().
static bool consumePluginOption(StringRef &option) {
  StringRef rest = option;
  if (!rest.consume_front("-"))
    return false;
  rest.consume_front("-");
  for (StringRef name :
       {"load-plugin", "load-dialect-plugin", "load-pass-plugin"})
    if (rest.consume_front(name)) {
      option = rest;
      return true;
    }
  return false;
}

Error PluginLoader::takeArguments(int &argc, char **argv) {
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    StringRef option = argv[i];
    if (option == "--") {
      // What follows names inputs.
      while (i < argc)
        argv[kept++] = argv[i++];
      break;
    }
    if (!consumePluginOption(option)) {
      argv[kept++] = argv[i];
      continue;
    }
    if (option.empty()) {
      if (++i == argc)
        return llvm::createStringError("expected a file after --load-plugin");
      option = argv[i];
    } else if (!option.consume_front("=")) {
      argv[kept++] = argv[i];
      continue;
    }
    if (Error error = load(option))
      return error;
  }
  argc = kept;
  argv[argc] = nullptr;
  return Error::success();
}
