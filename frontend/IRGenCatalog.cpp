//===- IRGenCatalog.cpp - Routers and stages that are loaded --------------===//

#include "frontend/IRGenCatalog.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace moec;
using namespace moec::irgen;

/// The call that a signature describes, after the operands `first`.
static OperationSpec describeCall(StringRef spelling,
                                  const Signature &signature,
                                  ArrayRef<OperationParam> first) {
  OperationSpec operation;
  operation.name = spelling;
  operation.params.assign(first.begin(), first.end());
  for (const Argument &argument : signature.arguments) {
    ParamKind kind = ParamKind::Number;
    if (argument.kind == ArgumentKind::Word)
      kind = ParamKind::Choice;
    else if (argument.kind == ArgumentKind::Weight)
      kind = ParamKind::Weight;
    else if (argument.kind == ArgumentKind::Value)
      kind = ParamKind::Value;
    operation.params.push_back(
        {argument.name, kind, argument.mandatory, argument.positional});
  }
  return operation;
}

Catalog::Catalog(MLIRContext &context) {
  for (Dialect *dialect : context.getLoadedDialects())
    if (const auto *interface =
            dialect->getRegisteredInterface<MoecDialectInterface>())
      for (const StageEntry &entry : interface->getStages())
        stages.push_back(
            {entry, describeCall(entry.spelling, entry.signature, {})});
  OperationParam logits = {"logits", ParamKind::Value, /*mandatory=*/true,
                           /*positional=*/true};
  for (RegisteredOperationName name : context.getRegisteredOperations()) {
    auto *interface = name.getInterface<RoutingOpInterface>();
    if (!interface)
      continue;
    StringRef spelling = interface->getSpelling();
    // route() is a built-in operation: its arguments are stages.
    if (spelling.empty() || findOperation(spelling))
      continue;
    Signature signature = interface->getSignature();
    routers.push_back(
        {name, signature, describeCall(spelling, signature, {logits})});
  }
}

void Catalog::addAlias(StringRef alias, llvm::StringSet<> dialects) {
  aliases[alias] = std::move(dialects);
}

SmallVector<const Router *, 1> Catalog::findRouters(StringRef spelling,
                                                    StringRef alias) const {
  SmallVector<const Router *, 1> found;
  auto only = aliases.find(alias);
  for (const Router &router : routers)
    if (router.operation.name == spelling &&
        (only == aliases.end() || only->second.empty() ||
         only->second.contains(router.name.getDialectNamespace())))
      found.push_back(&router);
  return found;
}

SmallVector<const Stage *, 1> Catalog::findStages(StageKind kind,
                                                  StringRef spelling) const {
  SmallVector<const Stage *, 1> found;
  for (const Stage &stage : stages)
    if (stage.entry.kind == kind && stage.entry.spelling == spelling)
      found.push_back(&stage);
  return found;
}

SmallVector<StringRef> Catalog::stageSpellings(StageKind kind) const {
  SmallVector<StringRef> spellings;
  for (const Stage &stage : stages)
    if (stage.entry.kind == kind)
      spellings.push_back(stage.entry.spelling);
  return spellings;
}

SmallVector<StringRef> Catalog::plainSpellings(StageKind kind) const {
  SmallVector<StringRef> spellings;
  for (const Stage &stage : stages)
    if (stage.entry.kind == kind &&
        llvm::none_of(stage.entry.signature.arguments,
                      [](const Argument &a) { return a.mandatory; }))
      spellings.push_back(stage.entry.spelling);
  return spellings.size() > 1 ? spellings : stageSpellings(kind);
}

std::vector<std::string> Catalog::routerSpellings() const {
  std::vector<std::string> spellings;
  for (const Router &router : routers)
    spellings.push_back(router.operation.name.str());
  return spellings;
}
