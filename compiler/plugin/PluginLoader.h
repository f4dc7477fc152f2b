//===- PluginLoader.h - Loading dialect and pass plugins --------*- C++ -*-===//
//
// Plugins are MLIR's: a shared library with `mlirGetDialectPluginInfo` or
// `mlirGetPassPluginInfo`. This loader refuses those that MLIR's would load and
// that would then misbehave: built against another moec, or with a core of
// their own. docs/rationale/one-shared-library.md has the reasons.
//
// Order in a tool:
//   mlir::DialectRegistry registry;
//   moec::PluginLoader plugins(registry);
//   if (llvm::Error error = plugins.takeArguments(argc, argv)) ...
//   if (llvm::Error error = plugins.use("acme", folderOfTheSource)) ...
//   mlir::MLIRContext context(registry);
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_PLUGIN_PLUGINLOADER_H
#define MOEC_COMPILER_PLUGIN_PLUGINLOADER_H

#include "mlir/IR/DialectRegistry.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <string>
#include <vector>

namespace moec {

/// A plugin that has been loaded. Plugins stay in memory until the process
/// ends, since types and operations of theirs may outlive every object here.
struct LoadedPlugin {
  std::string name;    ///< what it calls itself
  std::string version; ///< likewise
  std::string path;    ///< absolute, without symbolic links
};

/// Loads plugins into one dialect registry. Every error is one sentence that
/// names the file. One thread at a time.
class PluginLoader {
public:
  /// `registry` receives the dialects and must outlive this object. Passes go
  /// to MLIR's global pass registry.
  explicit PluginLoader(mlir::DialectRegistry &registry) : registry(registry) {}

  /// Loads the plugin in the file `path`. Loading a file again does nothing.
  llvm::Error load(llvm::StringRef path);

  /// Provides the plugin of `use "name"` in a source in `sourceFolder`. In this
  /// order: a loaded plugin that calls itself `name` or lies in a file of that
  /// name; else the first file NAME.so or libNAME.so in the folders of the
  /// environment variable MOEC_PLUGIN_PATH (separated by colons), then in
  /// `sourceFolder`. The error's code is no_such_file_or_directory where there
  /// is none, executable_format_error where it belongs to another build.
  llvm::Error use(llvm::StringRef name, llvm::StringRef sourceFolder);

  /// Loads every `--load-plugin=FILE` (or `--load-plugin FILE`) of a command
  /// line and removes it from there. Called before the options are parsed, so
  /// that the passes of plugins can be options, too. MLIR's own options for
  /// plugins, --load-dialect-plugin and --load-pass-plugin, mean the same.
  llvm::Error takeArguments(int &argc, char **argv);

  /// In order of loading.
  llvm::ArrayRef<LoadedPlugin> getPlugins() const { return plugins; }

private:
  const LoadedPlugin *find(llvm::StringRef name) const;

  mlir::DialectRegistry &registry;
  std::vector<LoadedPlugin> plugins;
};

} // namespace moec

#endif // MOEC_COMPILER_PLUGIN_PLUGINLOADER_H
