//===- SemaOperations.h - Operations and their arguments --------*- C++ -*-===//
//
// What may be written between the brackets of a call. Built-in operations have
// a table here; routers and routing stages bring their own signatures
// (dialects/interfaces/Signature.h), which IRGen turns into the same form.
// Binding a call reports unknown, missing and repeated arguments, and those
// that are part of the language but not built yet.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_FRONTEND_SEMAOPERATIONS_H
#define MOEC_FRONTEND_SEMAOPERATIONS_H

#include "frontend/Ast.h"
#include "frontend/Diagnostics.h"

#include "llvm/ADT/SmallVector.h"

namespace moec {

enum class ParamKind {
  Value,   ///< computed per token
  Routing, ///< ids and weights of experts
  Weight,  ///< a named tensor, a view or a map
  Number,  ///< static
  Choice,  ///< a word or a record, such as causal or window(128)
  Partial, ///< a call without its first operand
  NotBuilt ///< part of the language; no implementation yet
};

struct OperationParam {
  llvm::StringRef name;
  ParamKind kind;
  bool mandatory = true;
  /// May be given without its name, in the order of the list.
  bool positional = false;
};

struct OperationSpec {
  llvm::StringRef name;
  llvm::SmallVector<OperationParam, 8> params;
  /// False: a word of the language that has no implementation yet.
  bool built = true;
  /// Takes any number of further positional arguments (the arms of experts).
  bool takesArms = false;
  /// Stands only as an expert: identity, null.
  bool isExpertOnly = false;

  const OperationParam *find(llvm::StringRef param) const;
};

/// The built-in operation of that name, or null.
const OperationSpec *findOperation(llvm::StringRef name);
/// The record that route() takes as `capacity`.
const OperationSpec &slotsRecord();
/// Every built-in operation.
llvm::ArrayRef<OperationSpec> builtinOperations();

/// The arguments of a call by parameter.
class BoundCall {
public:
  BoundCall(const ast::CallExpr &call, const OperationSpec &operation)
      : call(call), operation(operation),
        arguments(operation.params.size(), nullptr) {}

  /// The argument for a parameter; null if it was not given.
  const ast::CallArgument *find(llvm::StringRef param) const;
  /// Its expression; null if it was not given.
  const ast::Expr *get(llvm::StringRef param) const {
    const ast::CallArgument *argument = find(param);
    return argument ? argument->value.get() : nullptr;
  }

  const ast::CallExpr &call;
  const OperationSpec &operation;
  llvm::SmallVector<const ast::CallArgument *, 8> arguments;
  llvm::SmallVector<const ast::CallArgument *, 4> arms;
};

/// Where the first operand of a call comes from.
enum class FirstOperand { Written, FromContext };

/// Binds the arguments of `call`. Gives nothing after reporting errors.
std::optional<BoundCall> bindCall(const ast::CallExpr &call,
                                  const OperationSpec &operation,
                                  FirstOperand first, Diagnostics &diagnostics);

/// Reports the construct `what` as part of the language that is not built.
void reportNotBuilt(Diagnostics &diagnostics, SourceRange range,
                    const llvm::Twine &what);

} // namespace moec

#endif // MOEC_FRONTEND_SEMAOPERATIONS_H
