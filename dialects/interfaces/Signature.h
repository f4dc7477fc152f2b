//===- Signature.h - What .moe may say of an operation ----------*- C++ -*-===//
//
// Every routing op, routing stage, expert body and format describes the call
// that spells it in a .moe file. Semantic analysis, IR generation and the
// reference pages read it; there is no other table of names.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_DIALECTS_INTERFACES_SIGNATURE_H
#define MOEC_DIALECTS_INTERFACES_SIGNATURE_H

#include "mlir/IR/Attributes.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"

namespace moec {

/// Kind of an argument, in the words of docs/language.md.
enum class ArgumentKind {
  Integer, ///< static integer; becomes an IntegerAttr of type i64
  Real,    ///< static number; becomes a FloatAttr of type f64
  Boolean, ///< static truth value; becomes a BoolAttr
  Word,    ///< one of `words`; becomes a StringAttr
  Weight,  ///< a named tensor or a view; becomes an operand
  Value    ///< a tensor computed per token; becomes an operand
};

/// One argument of a call. `name` is its spelling and, for static arguments,
/// the name of the attribute of the op.
struct Argument {
  llvm::StringRef name;
  ArgumentKind kind;
  /// Absence is an error. Routing arguments whose silent default has been a
  /// published bug are mandatory (docs/language.md).
  bool mandatory = true;
  /// May be given without its name, in the order of the list.
  bool positional = false;
  /// Kind Word: what may be written.
  llvm::SmallVector<llvm::StringRef, 4> words = {};
  /// One line for diagnostics and the reference pages.
  llvm::StringRef help = {};
};

/// The arguments of a call besides its first operand (the logits of a router,
/// the state of the stages before).
struct Signature {
  llvm::SmallVector<Argument, 4> arguments;

  const Argument *find(llvm::StringRef name) const {
    const auto *it = llvm::find_if(
        arguments, [&](const Argument &a) { return a.name == name; });
    return it == arguments.end() ? nullptr : it;
  }
};

/// A static argument as evaluated from the source.
struct NamedStatic {
  llvm::StringRef name;
  mlir::Attribute value; ///< i64, f64, bool or string, by ArgumentKind
};

} // namespace moec

#endif // MOEC_DIALECTS_INTERFACES_SIGNATURE_H
