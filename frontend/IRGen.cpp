//===- IRGen.cpp - From a tree to IR --------------------------------------===//

#include "frontend/IRGen.h"

#include "dialects/moe/MoeDialect.h"
#include "dialects/nn/NnDialect.h"
#include "frontend/IRGenExpander.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

#include <system_error>

using namespace mlir;
using namespace moec;
using namespace moec::irgen;

namespace {
/// A plugin's name in the file and the dialects that came with it.
struct PluginAlias {
  std::string alias;
  llvm::StringSet<> dialects;
};
} // namespace

static llvm::StringSet<> loadedDialects(MLIRContext &context) {
  llvm::StringSet<> names;
  for (Dialect *dialect : context.getLoadedDialects())
    names.insert(dialect->getNamespace());
  return names;
}

/// Loads the plugin of one `use` item. False after reporting an error.
static bool loadPlugin(const ast::UseItem &item, Diagnostics &diagnostics,
                       MLIRContext &context, const ImportOptions &options,
                       std::vector<PluginAlias> &aliases) {
  StringRef name = item.plugin.str();
  if (!options.loadPlugin) {
    diagnostics.error(DiagId::E901, item.plugin.range,
                      "plugin '" + name +
                          "' is not found: this tool loads "
                          "no plugins");
    return false;
  }
  llvm::StringSet<> before = loadedDialects(context);
  DiagId id = DiagId::E902;
  std::string text;
  llvm::handleAllErrors(options.loadPlugin(name),
                        [&](const llvm::ErrorInfoBase &info) {
                          text = info.message();
                          std::error_code code = info.convertToErrorCode();
                          if (code == std::errc::no_such_file_or_directory)
                            id = DiagId::E901;
                          else if (code == std::errc::executable_format_error)
                            id = DiagId::E903;
                        });
  if (!text.empty()) {
    diagnostics.error(id, item.plugin.range, text);
    return false;
  }
  context.loadAllAvailableDialects();
  if (!item.alias)
    return true;
  PluginAlias alias;
  alias.alias = item.alias->str().str();
  for (const auto &dialect : loadedDialects(context))
    if (!before.contains(dialect.first()))
      alias.dialects.insert(dialect.first());
  aliases.push_back(std::move(alias));
  return true;
}

OwningOpRef<ModuleOp> moec::importModel(const ast::File &file,
                                        Diagnostics &diagnostics,
                                        MLIRContext &context,
                                        const ImportOptions &options) {
  context.loadDialect<moe::MoeDialect, nn::NnDialect, func::FuncDialect,
                      arith::ArithDialect, math::MathDialect>();
  unsigned before = diagnostics.errorCount();
  std::vector<PluginAlias> aliases;
  bool ok = true;
  for (const ast::ItemPtr &item : file.items)
    if (const auto *use = dyn_cast<ast::UseItem>(item.get()))
      ok &= loadPlugin(*use, diagnostics, context, options, aliases);
  // Without its plugins a file is full of unknown words.
  if (!ok)
    return nullptr;
  Catalog catalog(context);
  for (PluginAlias &alias : aliases)
    catalog.addAlias(alias.alias, std::move(alias.dialects));
  SemaModel model = analyseModel(file, catalog.routerSpellings(), diagnostics);
  OwningOpRef<ModuleOp> module =
      Expander(model, catalog, options, context, diagnostics).run();
  if (diagnostics.errorCount() != before || diagnostics.limitReached())
    return nullptr;
  return module;
}
