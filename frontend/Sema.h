//===- Sema.h - What the items of a file declare ----------------*- C++ -*-===//
//
// First half of semantic analysis: items, names, static values, entries. It
// needs no IR and no checkpoint. The second half, shapes and kinds of what the
// blocks compute, is done while blocks are expanded (IRGen.h), since a block
// means something only where it is called.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_FRONTEND_SEMA_H
#define MOEC_FRONTEND_SEMA_H

#include "frontend/Ast.h"
#include "frontend/Diagnostics.h"
#include "frontend/SemaStatic.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"

namespace moec {

/// Largest number of modalities: kinds are mapped to eight ids.
constexpr size_t maxModalities = 8;

/// The declarations of a file. Points into the tree, which must outlive it.
struct SemaModel {
  /// A `dim` or `const`.
  struct Constant {
    const ast::Binding *binding = nullptr;
    bool isDim = false;
    /// Nothing for a record (`const r = rope(...)`) and after an error.
    std::optional<StaticValue> value;
    bool isRecord = false;
  };

  struct Modality {
    const ast::ModalityItem *item = nullptr;
    int64_t id = 0;
    /// Token ids below `vocab`, or raw inputs of `dims` elements.
    bool isToken = false;
    int64_t vocab = 0;
    bool isUnsigned8 = false; ///< u8; otherwise f32
    llvm::SmallVector<int64_t, 3> dims;
    bool valid = false;

    llvm::StringRef name() const { return item->name.str(); }
    llvm::StringRef param() const { return item->params.front().name.str(); }
  };

  /// A segment of a layout, in raw inputs or, for several modalities, tokens.
  struct Segment {
    llvm::SmallVector<int64_t, 2> modalities;
    int64_t min = 1;
    int64_t max = 1;
    const ast::Segment *source = nullptr;
  };

  /// What a step exchanges with the routers of an entry.
  struct RoutingOptions {
    bool out = false;        ///< `routing_out`: what they choose can be had
    bool in = false;         ///< `routing_in`: it can be given
    bool expertMask = false; ///< `expert_mask`: experts can be barred
    bool routerBias = false; ///< `router_bias`: experts can be favoured
    /// `k_override(max = n)`: 1 to n experts per token; 0: as it says.
    int64_t maxExperts = 0;

    void include(const RoutingOptions &other) {
      out |= other.out;
      in |= other.in;
      expertMask |= other.expertMask;
      routerBias |= other.routerBias;
      maxExperts = std::max(maxExperts, other.maxExperts);
    }
  };

  struct Entry {
    const ast::EntryItem *item = nullptr;
    llvm::SmallVector<Segment, 2> layout;
    bool last = false;
    const ast::CallExpr *call = nullptr;
    const ast::BlockItem *block = nullptr;
    /// Values of the block's parameters; nothing for the stream.
    std::vector<std::optional<StaticValue>> arguments;
    std::optional<int64_t> cacheTokens;
    SourceRange cacheRange;
    RoutingOptions routing;
  };

  const Constant *findConstant(llvm::StringRef name) const;
  const ast::BlockItem *findBlock(llvm::StringRef name) const;
  /// Null for a name that is no modality.
  const Modality *findModality(llvm::StringRef name) const;
  /// True for a dim, const, modality or switch.
  bool isValueName(llvm::StringRef name) const;

  const ast::File *file = nullptr;
  /// "f32", "bf16" or "f16"; empty after an error.
  std::string dtype;
  llvm::StringMap<Constant> constants;
  llvm::StringMap<const ast::BlockItem *> blocks;
  llvm::StringMap<const ast::SwitchItem *> switches;
  /// The names that `use "plugin" as name` gives.
  llvm::StringSet<> plugins;
  std::vector<Modality> modalities;
  std::vector<Entry> entries;
  std::vector<const ast::WeightsItem *> weights;
  std::vector<const ast::PlainText *> ignored;
  std::vector<int64_t> stopTokens;
  std::vector<const ast::KeepItem *> keeps;
  /// False if expanding blocks would not end.
  bool expandable = true;
};

/// Checks the items of `file` and every name in it. `routers` are the spellings
/// of the routers that are known besides built-in operations. The model can be
/// expanded even after errors, unless `expandable` is false.
SemaModel analyseModel(const ast::File &file,
                       llvm::ArrayRef<std::string> routers,
                       Diagnostics &diagnostics);

/// The types of parameters that hand static values to a block.
bool isStaticParamType(llvm::StringRef name);

/// Reports that `name` is unknown where a value is read.
void reportUnknownName(const ast::NameExpr &name,
                       llvm::ArrayRef<llvm::StringRef> candidates,
                       bool inPlaceholder, Diagnostics &diagnostics);
/// Reports that no operation is spelled like the callee.
void reportUnknownOperation(const ast::CallExpr &call, const SemaModel &model,
                            llvm::ArrayRef<std::string> routers,
                            Diagnostics &diagnostics);

/// True if some statement of `body`, however deep, binds `name`.
bool bindsName(const ast::Body &body, llvm::StringRef name);

namespace detail {
/// Reports unknown names and operations, recursion, unused names.
void checkNames(SemaModel &model, llvm::ArrayRef<std::string> routers,
                Diagnostics &diagnostics);
/// Evaluates what needs nothing but dims and consts.
class GlobalEvaluator {
public:
  GlobalEvaluator(SemaModel &model, Diagnostics &diagnostics)
      : model(model), math(diagnostics), diagnostics(diagnostics) {}

  void evaluateConstants();
  std::optional<StaticValue> evaluate(const ast::Expr &expr);
  /// An integer of at least `least`; `what` names it in messages.
  std::optional<int64_t> integer(const ast::Expr &expr, llvm::StringRef what,
                                 int64_t least = 1);

private:
  std::optional<StaticValue> constant(const ast::NameExpr &name);
  std::optional<StaticValue> compound(const ast::Expr &expr);
  std::optional<StaticValue> call(const ast::CallExpr &call);
  bool evaluateConstant(SemaModel::Constant &constant);

  static constexpr unsigned maxDepth = 2000;

  SemaModel &model;
  StaticMath math;
  Diagnostics &diagnostics;
  unsigned depth = 0;
  llvm::StringSet<> active;
  llvm::StringSet<> done;
};
/// Reads the entries of the file into the model.
void analyseEntries(SemaModel &model, GlobalEvaluator &evaluator,
                    Diagnostics &diagnostics);
} // namespace detail

} // namespace moec

#endif // MOEC_FRONTEND_SEMA_H
