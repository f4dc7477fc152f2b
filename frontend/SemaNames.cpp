//===- SemaNames.cpp - Every name of a file -------------------------------===//
//
// Finds unknown names and operations everywhere, in blocks that no entry
// reaches and in branches that no layer takes as well. Which layer binds what
// is decided while blocks are expanded.
//
//===----------------------------------------------------------------------===//

#include "frontend/Sema.h"
#include "frontend/SemaOperations.h"
#include "frontend/SpellCheck.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/SaveAndRestore.h"

using namespace moec;
using llvm::ArrayRef;
using llvm::cast;
using llvm::dyn_cast;
using llvm::isa;
using llvm::StringRef;
using llvm::Twine;

namespace {
/// A call of a block, for the search for recursion.
struct BlockCall {
  const ast::BlockItem *callee;
  SourceRange range;
};

/// Checks the names of one block, modality or entry.
class NameWalker {
public:
  NameWalker(SemaModel &model, ArrayRef<std::string> routers,
             Diagnostics &diagnostics)
      : model(model), routers(routers), diagnostics(diagnostics) {}

  void walkBlock(const ast::BlockItem &block);
  void walkModality(const ast::ModalityItem &modality);

  std::vector<BlockCall> calls;

private:
  struct Bound {
    SourceRange range;
    bool isRead = false;
  };

  void collectBound(const ast::Body &body);
  void walkBody(const ast::Body &body, bool inLayers);
  void walkLayers(const ast::LayersStmt &layers, bool inLayers);
  void walk(const ast::Expr *expr);
  void walkName(const ast::NameExpr &name);
  void walkString(const ast::StringExpr &string);
  void walkIndexBase(const ast::IndexExpr &index);
  void walkCall(const ast::CallExpr &call);
  void walkArgument(const ast::Expr &value, ParamKind kind,
                    bool mayBeNone = false);
  void walkScoped(const ast::Name &variable, const ast::Expr &body);

  SemaModel &model;
  ArrayRef<std::string> routers;
  Diagnostics &diagnostics;
  bool inPlaceholder = false;
  llvm::StringMap<Bound> bound;
  llvm::StringMap<unsigned> scoped; ///< variables of families and layers
};
} // namespace

void NameWalker::collectBound(const ast::Body &body) {
  for (const ast::StmtPtr &stmt : body) {
    if (const auto *assign = dyn_cast<ast::AssignStmt>(stmt.get())) {
      for (const ast::Name &target : assign->targets)
        bound.try_emplace(target.str(), Bound{target.range});
    } else if (const auto *layers = dyn_cast<ast::LayersStmt>(stmt.get())) {
      collectBound(layers->body);
    } else {
      const auto *when = cast<ast::WhenStmt>(stmt.get());
      for (const ast::WhenStmt::Arm &arm : when->arms)
        collectBound(arm.body);
      if (when->otherwise)
        collectBound(*when->otherwise);
    }
  }
}

void NameWalker::walkBlock(const ast::BlockItem &block) {
  for (const ast::Param &param : block.params)
    bound.try_emplace(param.name.str(), Bound{param.name.range, true});
  collectBound(block.body);
  if (block.prefix)
    walkString(*block.prefix);
  walkBody(block.body, /*inLayers=*/false);
  for (const ast::ExprPtr &result : block.results)
    walk(result.get());
  std::vector<const llvm::StringMapEntry<Bound> *> unused;
  for (const auto &name : bound)
    if (!name.second.isRead && !model.isValueName(name.first()))
      unused.push_back(&name);
  llvm::sort(unused, [](const auto *a, const auto *b) {
    return a->second.range.begin < b->second.range.begin;
  });
  for (const auto *name : unused)
    diagnostics.warning(DiagId::E220, name->second.range,
                        "'" + name->first() + "' is never used");
}

void NameWalker::walkModality(const ast::ModalityItem &modality) {
  for (const ast::Param &param : modality.params)
    bound.try_emplace(param.name.str(), Bound{param.name.range, true});
  walk(modality.value.get());
}

void NameWalker::walkBody(const ast::Body &body, bool inLayers) {
  for (const ast::StmtPtr &stmt : body) {
    if (const auto *assign = dyn_cast<ast::AssignStmt>(stmt.get())) {
      walk(assign->value.get());
    } else if (const auto *layers = dyn_cast<ast::LayersStmt>(stmt.get())) {
      walkLayers(*layers, inLayers);
    } else {
      const auto *when = cast<ast::WhenStmt>(stmt.get());
      for (const ast::WhenStmt::Arm &arm : when->arms) {
        walk(arm.condition.get());
        walkBody(arm.body, inLayers);
      }
      if (when->otherwise)
        walkBody(*when->otherwise, inLayers);
    }
  }
}

void NameWalker::walkLayers(const ast::LayersStmt &layers, bool inLayers) {
  if (inLayers)
    diagnostics.error(DiagId::E706, layers.range,
                      "'layers' stands within another 'layers'");
  walk(layers.domain.get());
  for (const ast::Name &carried : layers.carried) {
    if (auto it = bound.find(carried.str()); it != bound.end())
      it->second.isRead = true;
    if (!bindsName(layers.body, carried.str()))
      diagnostics.error(DiagId::E704, carried.range,
                        "'" + carried.str() +
                            "' is carried, but no statement of the layers "
                            "binds it");
  }
  ++scoped[layers.variable.str()];
  if (layers.prefix)
    walkString(*layers.prefix);
  walkBody(layers.body, /*inLayers=*/true);
  --scoped[layers.variable.str()];
}

void NameWalker::walkScoped(const ast::Name &variable, const ast::Expr &body) {
  ++scoped[variable.str()];
  walk(&body);
  --scoped[variable.str()];
}

void NameWalker::walkName(const ast::NameExpr &name) {
  static const StringRef builtin[] = {"true", "false", "inf", "zero",
                                      "modality"};
  if (auto it = bound.find(name.name); it != bound.end()) {
    it->second.isRead = true;
    return;
  }
  if (scoped.lookup(name.name) || model.isValueName(name.name) ||
      llvm::is_contained(builtin, name.name))
    return;
  for (const ast::WeightsItem *weights : model.weights)
    if (weights->alias && weights->alias->str() == name.name)
      return;
  llvm::SmallVector<StringRef> candidates;
  for (const auto &local : bound)
    candidates.push_back(local.first());
  for (const auto &constant : model.constants)
    candidates.push_back(constant.first());
  for (const auto &variable : scoped)
    if (variable.second)
      candidates.push_back(variable.first());
  llvm::sort(candidates);
  reportUnknownName(name, candidates, inPlaceholder, diagnostics);
}

void NameWalker::walkString(const ast::StringExpr &string) {
  llvm::SaveAndRestore<bool> guard(inPlaceholder, true);
  for (const ast::StringExpr::Part &part : string.parts)
    if (part.placeholder)
      walk(part.placeholder.get());
}

/// Words are no names: `act = silu` names nothing, and `mask = window(w)` only
/// inside the record's brackets. What need not be given may be `none`.
void NameWalker::walkArgument(const ast::Expr &value, ParamKind kind,
                              bool mayBeNone) {
  const auto *word = dyn_cast<ast::NameExpr>(&value);
  if (mayBeNone && word && word->name == "none")
    return;
  const auto *conditional = dyn_cast<ast::ConditionalExpr>(&value);
  if (conditional && (mayBeNone || kind == ParamKind::Choice)) {
    walk(conditional->condition.get());
    walkArgument(*conditional->value, kind, mayBeNone);
    walkArgument(*conditional->otherwise, kind, mayBeNone);
  } else if (kind != ParamKind::Choice) {
    walk(&value);
  } else if (const auto *call = dyn_cast<ast::CallExpr>(&value)) {
    for (const ast::CallArgument &argument : call->arguments)
      walkArgument(*argument.value, kind);
  } else if (const auto *name = dyn_cast<ast::NameExpr>(&value)) {
    if (auto it = bound.find(name->name); it != bound.end())
      it->second.isRead = true;
  } else if (const auto *binary = dyn_cast<ast::BinaryExpr>(&value)) {
    walkArgument(*binary->lhs, kind);
    walkArgument(*binary->rhs, kind);
  } else {
    walk(&value);
  }
}

void NameWalker::walkCall(const ast::CallExpr &call) {
  StringRef name = call.calleeName();
  if (const ast::BlockItem *block = model.findBlock(name)) {
    calls.push_back({block, call.range});
    for (const ast::CallArgument &argument : call.arguments)
      walk(argument.value.get());
    return;
  }
  if (const OperationSpec *operation = findOperation(name)) {
    for (const ast::CallArgument &argument : call.arguments) {
      const OperationParam *param =
          argument.name ? operation->find(argument.name->str()) : nullptr;
      ParamKind kind = param           ? param->kind
                       : argument.name ? ParamKind::Choice
                                       : ParamKind::Value;
      if (kind == ParamKind::NotBuilt || !operation->built)
        kind = ParamKind::Choice; // reported where it is expanded
      walkArgument(*argument.value, kind, param && !param->mandatory);
    }
    return;
  }
  bool isMember = isa<ast::MemberExpr>(call.callee.get());
  if (isMember) // `.view(...)`, or an operation of a named plugin
    walk(cast<ast::MemberExpr>(*call.callee).base.get());
  else if (!StaticMath::isFunction(name) && !llvm::is_contained(routers, name))
    reportUnknownOperation(call, model, routers, diagnostics);
  for (const ast::CallArgument &argument : call.arguments)
    walkArgument(*argument.value,
                 argument.name ? ParamKind::Choice : ParamKind::Value);
}

/// The alias before `["tensor"]` is no value; expansion checks it.
void NameWalker::walkIndexBase(const ast::IndexExpr &index) {
  const ast::Subscript &first = index.subscripts.front();
  if (!isa<ast::NameExpr>(index.base.get()) || first.isSlice ||
      !isa<ast::StringExpr>(first.begin.get()))
    walk(index.base.get());
}

void NameWalker::walk(const ast::Expr *expr) {
  if (!expr)
    return;
  switch (expr->getKind()) {
  case ast::ExprKind::Number:
    return;
  case ast::ExprKind::String:
    return walkString(*cast<ast::StringExpr>(expr));
  case ast::ExprKind::Name:
    return walkName(*cast<ast::NameExpr>(expr));
  case ast::ExprKind::List:
    for (const ast::ExprPtr &element : cast<ast::ListExpr>(expr)->elements)
      walk(element.get());
    return;
  case ast::ExprKind::Call:
    return walkCall(*cast<ast::CallExpr>(expr));
  case ast::ExprKind::Index:
    walkIndexBase(*cast<ast::IndexExpr>(expr));
    for (const ast::Subscript &s : cast<ast::IndexExpr>(expr)->subscripts)
      for (const ast::ExprPtr *part : {&s.begin, &s.end, &s.step})
        walk(part->get());
    return;
  case ast::ExprKind::Member:
    return walk(cast<ast::MemberExpr>(expr)->base.get());
  case ast::ExprKind::Unary:
    return walk(cast<ast::UnaryExpr>(expr)->operand.get());
  case ast::ExprKind::Binary:
    walk(cast<ast::BinaryExpr>(expr)->lhs.get());
    return walk(cast<ast::BinaryExpr>(expr)->rhs.get());
  case ast::ExprKind::Range:
    walk(cast<ast::RangeExpr>(expr)->first.get());
    return walk(cast<ast::RangeExpr>(expr)->last.get());
  case ast::ExprKind::Conditional:
    walk(cast<ast::ConditionalExpr>(expr)->condition.get());
    walk(cast<ast::ConditionalExpr>(expr)->value.get());
    return walk(cast<ast::ConditionalExpr>(expr)->otherwise.get());
  case ast::ExprKind::Family:
    walk(cast<ast::FamilyExpr>(expr)->domain.get());
    return walkScoped(cast<ast::FamilyExpr>(expr)->variable,
                      *cast<ast::FamilyExpr>(expr)->body);
  case ast::ExprKind::By:
    for (const ast::ByExpr::Arm &arm : cast<ast::ByExpr>(expr)->arms)
      walk(arm.value.get());
    return;
  }
}

//===----------------------------------------------------------------------===//
// Recursion
//===----------------------------------------------------------------------===//

namespace {
/// Finds a cycle of block calls by depth-first search without recursion: a
/// file may hold a long chain of blocks.
class RecursionFinder {
public:
  using Graph = llvm::DenseMap<const ast::BlockItem *, std::vector<BlockCall>>;
  explicit RecursionFinder(const Graph &graph) : graph(graph) {}

  /// The calls along a cycle reached from `start`, empty if there is none.
  std::vector<BlockCall> find(const ast::BlockItem *start);

private:
  enum class Mark { Fresh, Active, Done };
  struct Frame {
    BlockCall entered;
    size_t next = 0;
  };
  const Graph &graph;
  llvm::DenseMap<const ast::BlockItem *, Mark> marks;
};
} // namespace

std::vector<BlockCall> RecursionFinder::find(const ast::BlockItem *start) {
  if (marks.lookup(start) != Mark::Fresh)
    return {};
  std::vector<Frame> stack = {{{start, {}}}};
  marks[start] = Mark::Active;
  while (!stack.empty()) {
    Frame &frame = stack.back();
    auto it = graph.find(frame.entered.callee);
    if (it == graph.end() || frame.next == it->second.size()) {
      marks[frame.entered.callee] = Mark::Done;
      stack.pop_back();
      continue;
    }
    const BlockCall &call = it->second[frame.next++];
    Mark mark = marks.lookup(call.callee);
    if (mark == Mark::Active) {
      std::vector<BlockCall> cycle = {call};
      for (size_t i = stack.size();
           i-- > 0 && stack[i].entered.callee != call.callee;)
        cycle.push_back(stack[i].entered);
      return cycle;
    }
    if (mark == Mark::Fresh) {
      marks[call.callee] = Mark::Active;
      stack.push_back({call});
    }
  }
  return {};
}

void detail::checkNames(SemaModel &model, ArrayRef<std::string> routers,
                        Diagnostics &diagnostics) {
  RecursionFinder::Graph graph;
  llvm::DenseMap<const ast::BlockItem *, bool> called;
  std::vector<const ast::BlockItem *> order;
  for (const ast::ItemPtr &item : model.file->items) {
    NameWalker walker(model, routers, diagnostics);
    if (const auto *block = dyn_cast<ast::BlockItem>(item.get())) {
      walker.walkBlock(*block);
      graph[block] = walker.calls;
      order.push_back(block);
    } else if (const auto *modality = dyn_cast<ast::ModalityItem>(item.get())) {
      walker.walkModality(*modality);
    }
    for (const BlockCall &call : walker.calls)
      called[call.callee] = true;
  }
  RecursionFinder finder(graph);
  for (const ast::BlockItem *block : order) {
    std::vector<BlockCall> cycle = finder.find(block);
    if (cycle.empty())
      continue;
    model.expandable = false;
    DiagnosticBuilder message = diagnostics.error(
        DiagId::E209, cycle.front().range,
        "block '" + cycle.front().callee->name.str() + "' calls itself");
    for (const BlockCall &call : llvm::drop_begin(cycle))
      message.hint(call.range, "through the call of '" +
                                   call.callee->name.str() + "' here");
  }
  for (const SemaModel::Entry &entry : model.entries)
    called[entry.block] = true;
  for (const ast::BlockItem *block : order)
    if (!called.lookup(block) && model.findBlock(block->name.str()) == block)
      diagnostics.warning(DiagId::E220, block->name.range,
                          "block '" + block->name.str() + "' is never used");
}
