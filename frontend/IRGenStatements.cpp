//===- IRGenStatements.cpp - Blocks, layers, bindings ---------------------===//

#include "frontend/IRGenExpander.h"

#include "llvm/Support/SaveAndRestore.h"

using namespace mlir;
using namespace moec;
using namespace moec::irgen;

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

bool Expander::isCarried(StringRef name) const {
  return frame->layers &&
         llvm::any_of(frame->layers->carried, [&](const ast::Name &carried) {
           return carried.str() == name;
         });
}

void Expander::bind(const ast::Name &name, Operand operand) {
  if (model.isValueName(name.str())) {
    diagnostics.error(DiagId::E207, name.range,
                      "'" + name.str() +
                          "' is already a dim, const, modality or switch of "
                          "the file");
    return;
  }
  bool carried = isCarried(name.str());
  auto it = frame->names.find(name.str());
  if (it != frame->names.end() && !carried) {
    DiagnosticBuilder message = diagnostics.error(
        DiagId::E207, name.range, "'" + name.str() + "' is bound twice");
    message.note(it->second.range, "the first binding is here");
    if (frame->layers)
      message.hint(name.range, "list it after 'carry' if layers hand it on");
    return;
  }
  if (frame->layers && !carried)
    frame->layerNames.push_back(name.str().str());
  frame->names[name.str()] = {std::move(operand), name.range};
}

/// Binds the variable of layers or of a family; the caller unbinds it.
bool Expander::bindVariable(const ast::Name &name, StaticValue value) {
  auto it = frame->names.find(name.str());
  if (it == frame->names.end() && !model.isValueName(name.str())) {
    frame->names[name.str()] = {Operand::ofStatic(std::move(value)),
                                name.range};
    return true;
  }
  DiagnosticBuilder message = diagnostics.error(
      DiagId::E207, name.range,
      "variable '" + name.str() + "' has the name of another value");
  if (it != frame->names.end())
    message.note(it->second.range, "the other one is here");
  return false;
}

//===----------------------------------------------------------------------===//
// Statements
//===----------------------------------------------------------------------===//

void Expander::execute(const ast::Body &body) {
  for (const ast::StmtPtr &stmt : body) {
    if (stopped() || !spend())
      return;
    if (const auto *assign = dyn_cast<ast::AssignStmt>(stmt.get()))
      executeAssign(*assign);
    else if (const auto *layers = dyn_cast<ast::LayersStmt>(stmt.get()))
      executeLayers(*layers);
    else
      executeWhen(*cast<ast::WhenStmt>(stmt.get()));
  }
}

void Expander::executeAssign(const ast::AssignStmt &assign) {
  Operand result = evaluate(*assign.value);
  size_t have = result.is(OperandKind::Several) ? result.several.size() : 1;
  if (assign.targets.size() == 1 && have == 1) {
    if (result.is(OperandKind::Zero)) {
      diagnostics.error(DiagId::E206, assign.value->range,
                        "'zero' stands only in arms of 'by modality'");
      result = Operand();
    }
    bind(assign.targets[0], std::move(result));
    return;
  }
  bool known = static_cast<bool>(result);
  if (known && have != assign.targets.size()) {
    known = false;
    diagnostics.error(DiagId::E215, assign.range,
                      "expected " + Twine(have) + " name" +
                          (have == 1 ? "" : "s") + " on the left, found " +
                          Twine(assign.targets.size()));
  }
  for (auto [i, target] : llvm::enumerate(assign.targets))
    bind(target, known ? std::move(result.several[i]) : Operand());
}

std::optional<bool> Expander::condition(const ast::Expr &expr) {
  std::optional<StaticValue> value = evaluateStatic(expr, "a condition");
  if (!value)
    return std::nullopt;
  if (value->kind == StaticValue::Kind::Boolean)
    return value->integer != 0;
  diagnostics.error(DiagId::E212, expr.range,
                    "expected a truth value, found " + value->describe());
  return std::nullopt;
}

void Expander::executeWhen(const ast::WhenStmt &when) {
  for (const ast::WhenStmt::Arm &arm : when.arms) {
    std::optional<bool> holds = condition(*arm.condition);
    if (!holds)
      return;
    if (*holds)
      return execute(arm.body);
  }
  if (when.otherwise)
    execute(*when.otherwise);
}

/// The range of layers or of a family: at least one number, none below zero.
std::optional<StaticValue> Expander::counted(const ast::Expr &domain) {
  std::optional<StaticValue> range = evaluateStatic(domain, "a range");
  if (!range)
    return std::nullopt;
  if (range->kind != StaticValue::Kind::Range) {
    diagnostics.error(DiagId::E212, domain.range,
                      "expected a range, found " + range->describe());
    return std::nullopt;
  }
  if (range->integer >= 0 && range->integer < range->end)
    return range;
  diagnostics.error(DiagId::E705, domain.range,
                    "the range must hold at least one number and none below "
                    "zero, found " +
                        Twine(range->integer) + ".." + Twine(range->end));
  return std::nullopt;
}

void Expander::executeLayers(const ast::LayersStmt &layers) {
  if (frame->layers)
    return; // reported with the names of the block
  if (fn->layer >= 0) {
    diagnostics.error(DiagId::E706, layers.range,
                      "'layers' is expanded within another 'layers'");
    return;
  }
  std::optional<StaticValue> range = counted(*layers.domain);
  if (!range)
    return;
  llvm::SaveAndRestore<int64_t> layer(fn->layer);
  llvm::SaveAndRestore<const ast::LayersStmt *> current(frame->layers, &layers);
  std::string outer = frame->prefix;
  for (int64_t l = range->integer; l < range->end && !stopped(); ++l) {
    if (!spend(expansionCost) ||
        !bindVariable(layers.variable, StaticValue::ofInteger(l)))
      break;
    fn->layer = l;
    frame->layerNames.clear();
    frame->prefix = joinPrefix(outer, layers.prefix.get());
    execute(layers.body);
    for (StringRef name : frame->layerNames)
      unbind(name);
    unbind(layers.variable.str());
  }
  frame->layerNames.clear();
  frame->prefix = std::move(outer);
}

/// Prefixes of nested scopes join; one that starts with '/' begins anew.
std::string Expander::joinPrefix(StringRef outer,
                                 const ast::StringExpr *inner) {
  std::optional<std::string> added = inner ? text(*inner) : std::string();
  if (!added)
    return outer.str();
  StringRef name = *added;
  return name.consume_front("/") ? name.str() : (outer + name).str();
}

//===----------------------------------------------------------------------===//
// Calls of blocks
//===----------------------------------------------------------------------===//

/// A parameter without a type takes what is computed; the others take statics.
bool Expander::checkArgument(const ast::Param &param, const ast::Expr &expr,
                             const Operand &argument) {
  if (!argument)
    return false;
  auto report = [&](const Twine &expected) {
    diagnostics
        .error(DiagId::E206, expr.range,
               "'" + param.name.str() + "' takes " + expected + ", found " +
                   argument.describe())
        .hint(param.name.range, "the parameter is declared here");
    return false;
  };
  if (!param.type) {
    if (argument.is(OperandKind::Static) || argument.is(OperandKind::Weight) ||
        argument.is(OperandKind::Zero) || argument.is(OperandKind::Several))
      return report("a value or a routing");
    return true;
  }
  StringRef type = param.type->name.str();
  StaticValue::Kind wanted = type == "index"  ? StaticValue::Kind::Integer
                             : type == "bool" ? StaticValue::Kind::Boolean
                                              : StaticValue::Kind::Modality;
  if (argument.is(OperandKind::Static) && argument.constant.kind == wanted)
    return true;
  return report(type == "index"  ? "an integer"
                : type == "bool" ? "a truth value"
                                 : "a modality");
}

/// `first`, where there is one, is the operand that the context gives.
Operand Expander::callBlock(const ast::BlockItem &block,
                            const ast::CallExpr &call, const Operand &first) {
  std::vector<Operand> arguments(block.params.size());
  std::vector<bool> given(block.params.size(), false);
  bool ok = true;
  size_t next = 0;
  if (first && !block.params.empty()) {
    arguments[next] = first;
    given[next++] = true;
    ok = checkArgument(block.params[0], call, first);
  }
  for (const ast::CallArgument &argument : call.arguments) {
    size_t index = next++;
    if (argument.name)
      index = llvm::find_if(block.params,
                            [&](const ast::Param &p) {
                              return p.name.str() == argument.name->str();
                            }) -
              block.params.begin();
    if (index >= block.params.size() || given[index]) {
      diagnostics.error(DiagId::E218, argument.range,
                        "block '" + block.name.str() +
                            "' has no parameter for this argument");
      return Operand();
    }
    given[index] = true;
    arguments[index] = evaluate(*argument.value);
    ok &= checkArgument(block.params[index], *argument.value, arguments[index]);
  }
  if (llvm::is_contained(given, false)) {
    diagnostics
        .error(DiagId::E218, call.range,
               "expected " + Twine(block.params.size()) +
                   " argument(s) of block '" + block.name.str() + "', found " +
                   Twine(call.arguments.size()))
        .hint(block.name.range, "the block is declared here");
    return Operand();
  }
  return ok ? expandBlock(block, std::move(arguments), call.range) : Operand();
}

Operand Expander::expandBlock(const ast::BlockItem &block,
                              std::vector<Operand> arguments,
                              SourceRange callRange) {
  if (stopped() || !spend(expansionCost))
    return Operand();
  Frame inner;
  inner.block = &block;
  inner.caller = frame;
  inner.callSite = loc(callRange);
  for (auto [param, argument] : llvm::zip(block.params, arguments))
    inner.names[param.name.str()] = {std::move(argument), param.name.range};
  std::string outer = frame ? frame->prefix : std::string();
  llvm::SaveAndRestore<Frame *> guard(frame, &inner);
  inner.prefix = joinPrefix(outer, block.prefix.get());
  for (const ast::Param &param : block.params)
    if (model.isValueName(param.name.str()))
      diagnostics.error(DiagId::E207, param.name.range,
                        "'" + param.name.str() +
                            "' is already a dim, const, modality or switch of "
                            "the file");
  execute(block.body);

  Operand results;
  results.kind = OperandKind::Several;
  for (const ast::ExprPtr &expr : block.results) {
    Operand result = evaluate(*expr);
    if (!result)
      results.kind = OperandKind::Invalid;
    results.several.push_back(std::move(result));
  }
  if (block.results.size() == 1)
    return std::move(results.several.front());
  return results;
}
