//===- SemaOperations.cpp - Operations and their arguments ----------------===//

#include "frontend/SemaOperations.h"

#include "frontend/SpellCheck.h"

#include "llvm/ADT/STLExtras.h"

using namespace moec;
using llvm::ArrayRef;
using llvm::StringRef;
using llvm::Twine;

//===----------------------------------------------------------------------===//
// The table
//===----------------------------------------------------------------------===//

namespace {
OperationParam operand(StringRef name, ParamKind kind) {
  return {name, kind, /*mandatory=*/true, /*positional=*/true};
}
OperationParam needed(StringRef name, ParamKind kind) {
  return {name, kind, /*mandatory=*/true, /*positional=*/false};
}
OperationParam optional(StringRef name, ParamKind kind) {
  return {name, kind, /*mandatory=*/false, /*positional=*/false};
}
OperationParam notBuilt(StringRef name) {
  return {name, ParamKind::NotBuilt, /*mandatory=*/false,
          /*positional=*/false};
}

OperationSpec attention() {
  using K = ParamKind;
  return {"attention",
          {operand("x", K::Value),
           needed("heads", K::Number),
           needed("kv_heads", K::Number),
           needed("head_dim", K::Number),
           needed("mask", K::Choice),
           needed("rope", K::Choice),
           needed("q", K::Weight),
           needed("k", K::Weight),
           needed("v", K::Weight),
           needed("o", K::Weight),
           optional("q_norm", K::Partial),
           optional("k_norm", K::Partial),
           optional("value_dim", K::Number),
           optional("v_norm", K::Partial),
           optional("norm_after_rope", K::Choice),
           optional("scale", K::Number),
           optional("q_scale", K::Choice),
           optional("softcap", K::Number),
           optional("sinks", K::Weight),
           optional("clip", K::Number),
           optional("gate", K::Weight),
           optional("gate_per", K::Choice),
           optional("key_bias", K::Value),
           optional("dtype", K::Choice),
           optional("route", K::Routing),
           notBuilt("within"),
           notBuilt("over")}};
}

OperationSpec mla() {
  using K = ParamKind;
  return {"mla",
          {operand("x", K::Value),
           needed("heads", K::Number),
           optional("q_rank", K::Number),
           needed("kv_rank", K::Number),
           needed("nope_dim", K::Number),
           needed("rope_dim", K::Number),
           needed("value_dim", K::Number),
           needed("mask", K::Choice),
           needed("rope", K::Choice),
           optional("q", K::Weight),
           optional("q_a", K::Weight),
           optional("q_norm", K::Partial),
           optional("q_b", K::Weight),
           needed("kv_a", K::Weight),
           needed("kv_norm", K::Partial),
           needed("kv_b", K::Weight),
           needed("o", K::Weight),
           optional("scale", K::Number),
           optional("q_scale", K::Choice),
           optional("kv_scale", K::Number),
           optional("softcap", K::Number),
           optional("sinks", K::Weight),
           optional("dtype", K::Choice)}};
}

OperationSpec routing() {
  using K = ParamKind;
  return {"route",
          {operand("logits", K::Value), optional("pool", K::Number),
           optional("always", K::Number), optional("score", K::Choice),
           optional("rank", K::Choice), optional("groups", K::Choice),
           optional("select", K::Choice), optional("weigh", K::Choice),
           optional("renorm", K::Choice), optional("scale", K::Choice),
           optional("skip", K::Choice), optional("capacity", K::Choice),
           notBuilt("per")}};
}

OperationSpec norm(StringRef name) {
  using K = ParamKind;
  return {name,
          {operand("x", K::Value),
           {"weight", K::Weight, /*mandatory=*/false, /*positional=*/true},
           needed("eps", K::Number), optional("over", K::Choice),
           optional("dtype", K::Choice)}};
}

OperationSpec function(StringRef name) {
  return {name, {operand("x", ParamKind::Value)}};
}

/// A body of experts that is no operation on a value.
OperationSpec expert(StringRef name) {
  OperationSpec spec = function(name);
  spec.isExpertOnly = true;
  return spec;
}

OperationSpec constantExpert() {
  OperationSpec spec = expert("constant");
  spec.params.push_back(operand("vector", ParamKind::Weight));
  return spec;
}

OperationSpec reserved(StringRef name) { return {name, {}, /*built=*/false}; }

/// `capacity = slots(...)` of route().
OperationSpec slots() {
  using K = ParamKind;
  return {"slots",
          {operand("factor", K::Number), optional("multiple", K::Number),
           needed("order", K::Choice), needed("overflow", K::Choice)}};
}

std::vector<OperationSpec> makeOperations() {
  using K = ParamKind;
  OperationSpec experts = {"experts",
                           {operand("x", K::Value), operand("r", K::Routing),
                            optional("apply", K::Choice)},
                           /*built=*/true,
                           /*takesArms=*/true};
  return {
      {"embed",
       {operand("ids", K::Value), operand("table", K::Weight),
        needed("to", K::Number)}},
      {"patches",
       {operand("pixels", K::Value), needed("size", K::Number),
        needed("order", K::Choice)}},
      {"add_positions", {operand("x", K::Value), operand("table", K::Weight)}},
      {"linear",
       {operand("x", K::Value), operand("weight", K::Weight),
        needed("to", K::Number), optional("dtype", K::Choice)}},
      norm("rms_norm"),
      norm("layer_norm"),
      attention(),
      mla(),
      {"glu",
       {operand("x", K::Value), needed("act", K::Choice),
        needed("width", K::Number), optional("to", K::Number),
        needed("gate", K::Weight), needed("up", K::Weight),
        needed("down", K::Weight), optional("clamp", K::Choice),
        optional("up_offset", K::Number), optional("dtype", K::Choice)}},
      {"mlp",
       {operand("x", K::Value), needed("act", K::Choice),
        needed("width", K::Number), optional("to", K::Number),
        needed("up", K::Weight), needed("down", K::Weight),
        optional("dtype", K::Choice), notBuilt("clamp")}},
      function("sigmoid"),
      function("silu"),
      function("tanh"),
      function("gelu"),
      function("relu"),
      function("relu2"),
      function("exp"),
      function("softplus"),
      {"softcap", {operand("x", K::Value), operand("cap", K::Number)}},
      routing(),
      experts,
      reserved("expert_choice"),
      reserved("pixel_shuffle"),
      reserved("gru_cell"),
      reserved("zeros"),
      reserved("cosine"),
      reserved("standardise"),
      reserved("low_rank"),
      reserved("lora"),
      reserved("film"),
      // Expert bodies without matrices.
      expert("identity"),
      expert("null"),
      constantExpert(),
  };
}
} // namespace

ArrayRef<OperationSpec> moec::builtinOperations() {
  static const std::vector<OperationSpec> operations = makeOperations();
  return operations;
}

const OperationSpec *moec::findOperation(StringRef name) {
  ArrayRef<OperationSpec> operations = builtinOperations();
  const auto *it = llvm::find_if(
      operations, [&](const OperationSpec &o) { return o.name == name; });
  return it == operations.end() ? nullptr : it;
}

const OperationSpec &moec::slotsRecord() {
  static const OperationSpec record = slots();
  return record;
}

const OperationParam *OperationSpec::find(StringRef param) const {
  const auto *it = llvm::find_if(
      params, [&](const OperationParam &p) { return p.name == param; });
  return it == params.end() ? nullptr : it;
}

//===----------------------------------------------------------------------===//
// Binding
//===----------------------------------------------------------------------===//

const ast::CallArgument *BoundCall::find(StringRef param) const {
  const OperationParam *found = operation.find(param);
  return found ? arguments[found - operation.params.begin()] : nullptr;
}

void moec::reportNotBuilt(Diagnostics &diagnostics, SourceRange range,
                          const Twine &what) {
  diagnostics.error(DiagId::E217, range, what + " is not built yet");
}

namespace {
/// Binds the arguments of one call.
class Binder {
public:
  Binder(BoundCall &bound, FirstOperand first, Diagnostics &diagnostics)
      : bound(bound), operation(bound.operation), first(first),
        diagnostics(diagnostics) {}

  bool run();

private:
  void bindPositional(const ast::CallArgument &argument);
  void bindNamed(const ast::CallArgument &argument);
  void put(size_t param, const ast::CallArgument &argument, SourceRange where);
  void checkMissing();
  bool fromContext(size_t param) const {
    return param == 0 && first == FirstOperand::FromContext;
  }

  BoundCall &bound;
  const OperationSpec &operation;
  FirstOperand first;
  Diagnostics &diagnostics;
  size_t nextPositional = 0;
  bool failed = false;
};
} // namespace

bool Binder::run() {
  nextPositional = first == FirstOperand::FromContext ? 1 : 0;
  for (const ast::CallArgument &argument : bound.call.arguments) {
    if (argument.name)
      bindNamed(argument);
    else
      bindPositional(argument);
  }
  checkMissing();
  return !failed;
}

void Binder::bindPositional(const ast::CallArgument &argument) {
  if (nextPositional < operation.params.size() &&
      operation.params[nextPositional].positional) {
    put(nextPositional++, argument, argument.value->range);
    return;
  }
  if (operation.takesArms) {
    bound.arms.push_back(&argument);
    return;
  }
  failed = true;
  diagnostics
      .error(DiagId::E210, argument.value->range,
             "too many arguments without a name in " + operation.name + "()")
      .hint(argument.value->range, "name the argument: 'name = ...'");
}

void Binder::bindNamed(const ast::CallArgument &argument) {
  StringRef name = argument.name->str();
  SourceRange where = argument.name->range;
  const OperationParam *param = operation.find(name);
  size_t index = param - operation.params.begin();
  if (!param || fromContext(index)) {
    failed = true;
    llvm::SmallVector<StringRef> candidates;
    for (const OperationParam &p : operation.params)
      candidates.push_back(p.name);
    diagnostics
        .error(DiagId::E203, where,
               operation.name + "() has no argument '" + name + "'")
        .suggest(where, closestName(name, candidates));
    return;
  }
  if (param->kind == ParamKind::NotBuilt) {
    failed = true;
    reportNotBuilt(diagnostics, where,
                   "'" + name + "' of " + operation.name + "()");
    return;
  }
  put(index, argument, where);
}

void Binder::put(size_t param, const ast::CallArgument &argument,
                 SourceRange where) {
  if (const ast::CallArgument *before = bound.arguments[param]) {
    failed = true;
    diagnostics
        .error(DiagId::E205, where,
               "argument '" + operation.params[param].name + "' of " +
                   operation.name + "() is given twice")
        .note(before->range, "the first is here");
    return;
  }
  bound.arguments[param] = &argument;
}

void Binder::checkMissing() {
  for (size_t i = 0; i < operation.params.size(); ++i) {
    const OperationParam &param = operation.params[i];
    if (!param.mandatory || bound.arguments[i] || fromContext(i))
      continue;
    failed = true;
    diagnostics.error(DiagId::E204, bound.call.callee->range,
                      operation.name + "() lacks '" + param.name + "'");
  }
}

std::optional<BoundCall> moec::bindCall(const ast::CallExpr &call,
                                        const OperationSpec &operation,
                                        FirstOperand first,
                                        Diagnostics &diagnostics) {
  BoundCall bound(call, operation);
  if (!Binder(bound, first, diagnostics).run())
    return std::nullopt;
  return bound;
}
