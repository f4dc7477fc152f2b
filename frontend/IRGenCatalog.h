//===- IRGenCatalog.h - Routers and stages that are loaded ------*- C++ -*-===//
//
// Asks the dialects of a context which routers and which stages of route()
// they bring: built-in ones and those of plugins come the same way.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_FRONTEND_IRGENCATALOG_H
#define MOEC_FRONTEND_IRGENCATALOG_H

#include "dialects/interfaces/MoecDialectInterface.h"
#include "frontend/SemaOperations.h"

#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OperationSupport.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"

#include <deque>
#include <memory>

namespace moec::irgen {

/// A router that has a spelling of its own.
struct Router {
  mlir::RegisteredOperationName name;
  Signature signature;
  /// The call: the logits, then the signature's arguments.
  OperationSpec operation;
};

/// A stage of route().
struct Stage {
  StageEntry entry;
  /// The call; its arguments are those of the signature.
  OperationSpec operation;
};

class Catalog {
public:
  /// Lists what the dialects of `context` bring. Loaded dialects count;
  /// a plugin's must have been loaded.
  explicit Catalog(mlir::MLIRContext &context);

  /// Dialects that the plugin called `alias` brought; none if they were loaded
  /// before, so that all count.
  void addAlias(llvm::StringRef alias, llvm::StringSet<> dialects);
  bool hasAlias(llvm::StringRef alias) const { return aliases.count(alias); }

  /// Routers of that spelling; only those of the plugin `alias` unless it is
  /// empty.
  llvm::SmallVector<const Router *, 1> findRouters(llvm::StringRef spelling,
                                                   llvm::StringRef alias) const;
  llvm::SmallVector<const Stage *, 1>
  findStages(StageKind kind, llvm::StringRef spelling) const;
  /// The spellings of a kind, in order of their dialects.
  llvm::SmallVector<llvm::StringRef> stageSpellings(StageKind kind) const;
  /// What to offer someone who gave none: words that need no arguments, if
  /// there are several.
  llvm::SmallVector<llvm::StringRef> plainSpellings(StageKind kind) const;
  /// The spellings of all routers.
  std::vector<std::string> routerSpellings() const;

private:
  std::deque<Router> routers;
  std::deque<Stage> stages;
  llvm::StringMap<llvm::StringSet<>> aliases;
};

} // namespace moec::irgen

#endif // MOEC_FRONTEND_IRGENCATALOG_H
