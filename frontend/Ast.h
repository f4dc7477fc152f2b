//===- Ast.h - The tree of a .moe file --------------------------*- C++ -*-===//
//
// What a .moe file says, as it was written: no name is resolved, no kind is
// known, brackets are gone. The parser builds it from text, an importer builds
// it from a checkpoint, AstPrinter writes it, Sema reads it.
//
// Nodes are plain structures that own their children. Each class of nodes has
// a kind for llvm::isa / cast / dyn_cast and a range, which is unknown
// (SourceRange::isValid() false) where no text stood behind the node. The
// height of a parsed expression is limited (Parser.h), so recursion over a tree
// is safe; trees built by hand must keep to it as well.
//
// The grammar is docs/language.md; the comments here name its rules.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_FRONTEND_AST_H
#define MOEC_FRONTEND_AST_H

#include "frontend/SourceManager.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Casting.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace moec {
namespace ast {

class Expr;
class Stmt;
class Item;
using ExprPtr = std::unique_ptr<Expr>;
using StmtPtr = std::unique_ptr<Stmt>;
using ItemPtr = std::unique_ptr<Item>;

/// A word standing for something, with its place.
struct Name {
  std::string text;
  SourceRange range;

  Name() = default;
  Name(llvm::StringRef text, SourceRange range = {})
      : text(text.str()), range(range) {}
  Name(const char *text) : Name(llvm::StringRef(text)) {}
  llvm::StringRef str() const { return text; }
};

/// A string without placeholders, as items take it: a path, a pattern. The
/// value has `{{` and `}}` undone and no quotation marks; the range has them.
struct PlainText {
  std::string value;
  SourceRange range;

  PlainText() = default;
  PlainText(llvm::StringRef value, SourceRange range = {})
      : value(value.str()), range(range) {}
  PlainText(const char *value) : PlainText(llvm::StringRef(value)) {}
  llvm::StringRef str() const { return value; }
};

//===----------------------------------------------------------------------===//
// Expressions
//===----------------------------------------------------------------------===//

enum class ExprKind {
  Number,
  String,
  Name,
  List,
  Call,
  Index,
  Member,
  Unary,
  Binary,
  Range,
  Conditional,
  Family,
  By
};

/// "a call", "a number": for messages.
llvm::StringRef kindName(ExprKind kind);

class Expr {
public:
  virtual ~Expr();
  ExprKind getKind() const { return kind; }

  /// The whole expression; brackets around it are included.
  SourceRange range;

protected:
  Expr(ExprKind kind, SourceRange range) : range(range), kind(kind) {}

private:
  ExprKind kind;
};

/// `12`, `1e-5`, `2.5`. The spelling is kept, so that a file is printed with
/// the digits it was written with and no value is rounded before its type is
/// known.
class NumberExpr : public Expr {
public:
  explicit NumberExpr(llvm::StringRef spelling, SourceRange range = {})
      : Expr(ExprKind::Number, range), spelling(spelling.str()) {}
  explicit NumberExpr(uint64_t value);
  static bool classof(const Expr *e) {
    return e->getKind() == ExprKind::Number;
  }

  /// Digits only.
  bool isInteger() const;
  /// The value of an integer that fits, nothing otherwise.
  std::optional<int64_t> asInteger() const;
  /// The nearest double; infinite where none is near.
  double asReal() const;

  std::string spelling;
};

/// `"experts.{e / 8}.up"`: text with integer expressions or modality names put
/// into it. Literal parts have `{{` and `}}` undone. Two literal parts never
/// stand next to each other and none is empty; the empty string has no part.
class StringExpr : public Expr {
public:
  struct Part {
    std::string literal; ///< where `placeholder` is null
    ExprPtr placeholder;
    SourceRange range; ///< of a placeholder with its braces
  };

  explicit StringExpr(SourceRange range = {}) : Expr(ExprKind::String, range) {}
  explicit StringExpr(llvm::StringRef text, SourceRange range = {});
  static bool classof(const Expr *e) {
    return e->getKind() == ExprKind::String;
  }

  /// True without placeholders; plainText() is the text then.
  bool isPlain() const;
  llvm::StringRef plainText() const;

  std::vector<Part> parts;
};

/// `hidden`, `softmax`, `score`, `modality`.
class NameExpr : public Expr {
public:
  explicit NameExpr(llvm::StringRef name, SourceRange range = {})
      : Expr(ExprKind::Name, range), name(name.str()) {}
  static bool classof(const Expr *e) { return e->getKind() == ExprKind::Name; }

  std::string name;
};

/// `[1024, 1280]`.
class ListExpr : public Expr {
public:
  explicit ListExpr(SourceRange range = {}) : Expr(ExprKind::List, range) {}
  static bool classof(const Expr *e) { return e->getKind() == ExprKind::List; }

  std::vector<ExprPtr> elements;
};

/// `eps = 1e-6` or `x`. Any order of named and positional arguments is syntax.
struct CallArgument {
  std::optional<Name> name;
  ExprPtr value;
  SourceRange range;
};

/// `glu(x, act = silu)`, `"w".view(4, 8)`, also `groups(8, keep = 4)`.
class CallExpr : public Expr {
public:
  explicit CallExpr(ExprPtr callee, SourceRange range = {})
      : Expr(ExprKind::Call, range), callee(std::move(callee)) {}
  static bool classof(const Expr *e) { return e->getKind() == ExprKind::Call; }

  /// The operation's name when the callee is a name, empty otherwise.
  llvm::StringRef calleeName() const;
  /// The argument called `name`, null if absent; the first if given twice.
  const CallArgument *findArgument(llvm::StringRef name) const;

  ExprPtr callee; ///< a NameExpr, or a MemberExpr for `.view(...)`
  std::vector<CallArgument> arguments;
};

/// One position of `[...]`: `e` alone, or a slice `begin:end:step` whose parts
/// may each be missing.
struct Subscript {
  bool isSlice = false;
  ExprPtr begin; ///< the index itself when it is no slice
  ExprPtr end;
  ExprPtr step;
  SourceRange range;
};

/// `width[e]`, `"w"[e, 0::2]`. At least one subscript.
class IndexExpr : public Expr {
public:
  explicit IndexExpr(ExprPtr base, SourceRange range = {})
      : Expr(ExprKind::Index, range), base(std::move(base)) {}
  static bool classof(const Expr *e) { return e->getKind() == ExprKind::Index; }

  ExprPtr base;
  std::vector<Subscript> subscripts;
};

/// `"w".T`, `text.ids`; the callee of `"w".view(...)`.
class MemberExpr : public Expr {
public:
  MemberExpr(ExprPtr base, Name member, SourceRange range = {})
      : Expr(ExprKind::Member, range), base(std::move(base)),
        member(std::move(member)) {}
  static bool classof(const Expr *e) {
    return e->getKind() == ExprKind::Member;
  }

  ExprPtr base;
  Name member;
};

enum class UnaryOp { Negate, Not };

/// `-x`, `not c`.
class UnaryExpr : public Expr {
public:
  UnaryExpr(UnaryOp op, ExprPtr operand, SourceRange range = {})
      : Expr(ExprKind::Unary, range), op(op), operand(std::move(operand)) {}
  static bool classof(const Expr *e) { return e->getKind() == ExprKind::Unary; }

  UnaryOp op;
  ExprPtr operand;
};

enum class BinaryOp {
  Or,
  And,
  Equal,
  NotEqual,
  Less,
  LessEqual,
  Greater,
  GreaterEqual,
  In,
  Add,
  Subtract,
  Multiply,
  Divide,
  Modulo
};

/// "+", "and", "in".
llvm::StringRef spelling(BinaryOp op);

/// `a + b`, `l % 2 == 0`, `l in 8..24`, `a and b`.
class BinaryExpr : public Expr {
public:
  BinaryExpr(BinaryOp op, ExprPtr lhs, ExprPtr rhs, SourceRange range = {},
             SourceRange opRange = {})
      : Expr(ExprKind::Binary, range), op(op), opRange(opRange),
        lhs(std::move(lhs)), rhs(std::move(rhs)) {}
  static bool classof(const Expr *e) {
    return e->getKind() == ExprKind::Binary;
  }

  BinaryOp op;
  SourceRange opRange;
  ExprPtr lhs;
  ExprPtr rhs;
};

/// `0..depth`: first included, last not.
class RangeExpr : public Expr {
public:
  RangeExpr(ExprPtr first, ExprPtr last, SourceRange range = {})
      : Expr(ExprKind::Range, range), first(std::move(first)),
        last(std::move(last)) {}
  static bool classof(const Expr *e) { return e->getKind() == ExprKind::Range; }

  ExprPtr first;
  ExprPtr last;
};

/// `value if condition else otherwise`.
class ConditionalExpr : public Expr {
public:
  ConditionalExpr(ExprPtr value, ExprPtr condition, ExprPtr otherwise,
                  SourceRange range = {})
      : Expr(ExprKind::Conditional, range), value(std::move(value)),
        condition(std::move(condition)), otherwise(std::move(otherwise)) {}
  static bool classof(const Expr *e) {
    return e->getKind() == ExprKind::Conditional;
  }

  ExprPtr value;
  ExprPtr condition;
  ExprPtr otherwise;
};

/// `for e in 0..experts: body`, `for m in modality: body`. The domain is any
/// expression of rule `range`; that it is a range or the word `modality` is
/// Sema's business.
class FamilyExpr : public Expr {
public:
  FamilyExpr(Name variable, ExprPtr domain, ExprPtr body,
             SourceRange range = {})
      : Expr(ExprKind::Family, range), variable(std::move(variable)),
        domain(std::move(domain)), body(std::move(body)) {}
  static bool classof(const Expr *e) {
    return e->getKind() == ExprKind::Family;
  }

  Name variable;
  ExprPtr domain;
  ExprPtr body;
};

/// `by modality { text: a, image: b }`, `by mode { ... }`. At least one arm.
class ByExpr : public Expr {
public:
  struct Arm {
    Name name;
    ExprPtr value;
  };

  explicit ByExpr(Name subject, SourceRange range = {})
      : Expr(ExprKind::By, range), subject(std::move(subject)) {}
  static bool classof(const Expr *e) { return e->getKind() == ExprKind::By; }

  /// The first arm called `name`, null if there is none.
  const Arm *findArm(llvm::StringRef name) const;

  Name subject; ///< "modality" or the name of a switch
  std::vector<Arm> arms;
};

//===----------------------------------------------------------------------===//
// Types of parameters
//===----------------------------------------------------------------------===//

/// One piece of a sequence layout: `text[1..n]`, `image?`, `any(text, image)`.
struct Segment {
  bool isAny = false;           ///< written `any(...)`
  std::vector<Name> modalities; ///< exactly one unless isAny
  ExprPtr count;                ///< what stands in brackets, or null
  bool isOptional = false;      ///< a `?` follows
  SourceRange range;
};

enum class TypeKind {
  Sequence, ///< `seq(image?, text[1..n])`
  Named     ///< `token[vocab]`, `u8[28, 28, 1]`, `index`, `modality`, `bool`
};

struct Type {
  TypeKind kind = TypeKind::Named;
  std::vector<Segment> segments; ///< Sequence
  Name name;                     ///< Named
  std::vector<ExprPtr> dims;     ///< Named; empty without brackets
  SourceRange range;
};

/// `ids: token[vocab]`, or just `x`.
struct Param {
  Name name;
  std::optional<Type> type;
};

//===----------------------------------------------------------------------===//
// Statements
//===----------------------------------------------------------------------===//

enum class StmtKind { Assign, Layers, When };

class Stmt {
public:
  virtual ~Stmt();
  StmtKind getKind() const { return kind; }

  SourceRange range;

protected:
  Stmt(StmtKind kind, SourceRange range) : range(range), kind(kind) {}

private:
  StmtKind kind;
};

using Body = std::vector<StmtPtr>;

/// `x = expr`, `a, b = expr`.
class AssignStmt : public Stmt {
public:
  explicit AssignStmt(SourceRange range = {}) : Stmt(StmtKind::Assign, range) {}
  AssignStmt(Name target, ExprPtr value, SourceRange range = {})
      : Stmt(StmtKind::Assign, range), value(std::move(value)) {
    targets.push_back(std::move(target));
  }
  static bool classof(const Stmt *s) {
    return s->getKind() == StmtKind::Assign;
  }

  std::vector<Name> targets; ///< at least one
  ExprPtr value;
};

/// `layers l in 0..depth carry x, h at "layers.{l}." { ... }`.
class LayersStmt : public Stmt {
public:
  LayersStmt(Name variable, ExprPtr domain, SourceRange range = {})
      : Stmt(StmtKind::Layers, range), variable(std::move(variable)),
        domain(std::move(domain)) {}
  static bool classof(const Stmt *s) {
    return s->getKind() == StmtKind::Layers;
  }

  Name variable;
  ExprPtr domain;                     ///< rule `range`
  std::vector<Name> carried;          ///< at least one
  std::unique_ptr<StringExpr> prefix; ///< after `at`, or null
  Body body;
};

/// `when a { } otherwise when b { } otherwise { }`, flattened: the arms are
/// tried in order, and the last body runs where none holds. A chain of a
/// thousand arms is therefore not a thousand levels deep.
class WhenStmt : public Stmt {
public:
  struct Arm {
    ExprPtr condition;
    Body body;
    SourceRange range; ///< from `when` to the closing brace
  };

  explicit WhenStmt(SourceRange range = {}) : Stmt(StmtKind::When, range) {}
  static bool classof(const Stmt *s) { return s->getKind() == StmtKind::When; }

  std::vector<Arm> arms;         ///< at least one
  std::optional<Body> otherwise; ///< the body after the last `otherwise`
};

//===----------------------------------------------------------------------===//
// Items
//===----------------------------------------------------------------------===//

enum class ItemKind {
  Use,
  Weights,
  Storage,
  Keep,
  Ignore,
  StopTokens,
  Dtype,
  Bindings,
  Switch,
  Modality,
  Block,
  Entry
};

class Item {
public:
  virtual ~Item();
  ItemKind getKind() const { return kind; }

  SourceRange range;

protected:
  Item(ItemKind kind, SourceRange range) : range(range), kind(kind) {}

private:
  ItemKind kind;
};

/// `use "acme" as a`.
class UseItem : public Item {
public:
  explicit UseItem(PlainText plugin, SourceRange range = {})
      : Item(ItemKind::Use, range), plugin(std::move(plugin)) {}
  static bool classof(const Item *i) { return i->getKind() == ItemKind::Use; }

  PlainText plugin;
  std::optional<Name> alias;
};

/// `weights "model-*.safetensors"`, `weights v = "vision.safetensors"`.
class WeightsItem : public Item {
public:
  explicit WeightsItem(PlainText pattern, SourceRange range = {})
      : Item(ItemKind::Weights, range), pattern(std::move(pattern)) {}
  static bool classof(const Item *i) {
    return i->getKind() == ItemKind::Weights;
  }

  std::optional<Name> alias;
  PlainText pattern;
};

/// `storage "*.weight" = fp8_block(rows = 128, ...)`.
class StorageItem : public Item {
public:
  StorageItem(PlainText pattern, ExprPtr format, SourceRange range = {})
      : Item(ItemKind::Storage, range), pattern(std::move(pattern)),
        format(std::move(format)) {}
  static bool classof(const Item *i) {
    return i->getKind() == ItemKind::Storage;
  }

  PlainText pattern;
  ExprPtr format;
};

/// `keep f32 for "*.bias"`.
class KeepItem : public Item {
public:
  KeepItem(Name dtype, PlainText pattern, SourceRange range = {})
      : Item(ItemKind::Keep, range), dtype(std::move(dtype)),
        pattern(std::move(pattern)) {}
  static bool classof(const Item *i) { return i->getKind() == ItemKind::Keep; }

  Name dtype;
  PlainText pattern;
};

/// `ignore "model.mtp.*", "*.inv_freq"`.
class IgnoreItem : public Item {
public:
  explicit IgnoreItem(SourceRange range = {}) : Item(ItemKind::Ignore, range) {}
  static bool classof(const Item *i) {
    return i->getKind() == ItemKind::Ignore;
  }

  std::vector<PlainText> patterns; ///< at least one
};

/// `stop_tokens 2, 50279`.
class StopTokensItem : public Item {
public:
  explicit StopTokensItem(SourceRange range = {})
      : Item(ItemKind::StopTokens, range) {}
  static bool classof(const Item *i) {
    return i->getKind() == ItemKind::StopTokens;
  }

  std::vector<ExprPtr> ids; ///< numbers, at least one
};

/// `dtype bf16`.
class DtypeItem : public Item {
public:
  explicit DtypeItem(Name dtype, SourceRange range = {})
      : Item(ItemKind::Dtype, range), dtype(std::move(dtype)) {}
  static bool classof(const Item *i) { return i->getKind() == ItemKind::Dtype; }

  Name dtype;
};

struct Binding {
  Name name;
  ExprPtr value;
};

/// `dim a = 1, b = 2` and `const eps = 1e-5`.
class BindingsItem : public Item {
public:
  explicit BindingsItem(bool isDim, SourceRange range = {})
      : Item(ItemKind::Bindings, range), isDim(isDim) {}
  static bool classof(const Item *i) {
    return i->getKind() == ItemKind::Bindings;
  }

  bool isDim;                    ///< `dim`; otherwise `const`
  std::vector<Binding> bindings; ///< at least one
};

/// `switch mode = thinking | fast`.
class SwitchItem : public Item {
public:
  explicit SwitchItem(Name name, SourceRange range = {})
      : Item(ItemKind::Switch, range), name(std::move(name)) {}
  static bool classof(const Item *i) {
    return i->getKind() == ItemKind::Switch;
  }

  Name name;
  std::vector<Name> alternatives; ///< at least one
};

/// `modality text(ids: token[vocab]) = embed(...)`.
class ModalityItem : public Item {
public:
  explicit ModalityItem(Name name, SourceRange range = {})
      : Item(ItemKind::Modality, range), name(std::move(name)) {}
  static bool classof(const Item *i) {
    return i->getKind() == ItemKind::Modality;
  }

  Name name;
  std::vector<Param> params;
  ExprPtr value;
};

/// `block dense(u, i: index) at "mlps.{i}." { ... return ... }`.
class BlockItem : public Item {
public:
  explicit BlockItem(Name name, SourceRange range = {})
      : Item(ItemKind::Block, range), name(std::move(name)) {}
  static bool classof(const Item *i) { return i->getKind() == ItemKind::Block; }

  Name name;
  std::vector<Param> params;
  std::unique_ptr<StringExpr> prefix; ///< after `at`, or null
  Body body;
  std::vector<ExprPtr> results; ///< after `return`; at least one
  SourceRange returnRange;      ///< of the word `return`
};

/// One word after `with`: `cache(context)`, `expert_mask`. `cache()` and
/// `cache` are the same tree.
struct EntryOption {
  Name name;
  std::vector<CallArgument> arguments;
  SourceRange range;
};

/// `entry decode(s: seq(text[1])) = decoder(s) with cache(context)`.
class EntryItem : public Item {
public:
  explicit EntryItem(Name name, SourceRange range = {})
      : Item(ItemKind::Entry, range), name(std::move(name)) {}
  static bool classof(const Item *i) { return i->getKind() == ItemKind::Entry; }

  Name name;
  std::vector<Param> params;
  ExprPtr value;
  std::vector<EntryOption> options;
};

/// A whole file.
struct File {
  unsigned version = 1; ///< the number after `moe`
  Name model;
  std::vector<ItemPtr> items; ///< in the order written
  SourceRange range;
};

//===----------------------------------------------------------------------===//
// Queries
//===----------------------------------------------------------------------===//

/// Same tree, places apart: what printing and parsing again must preserve.
bool structurallyEqual(const Expr &a, const Expr &b);
bool structurallyEqual(const Stmt &a, const Stmt &b);
bool structurallyEqual(const Item &a, const Item &b);
bool structurallyEqual(const File &a, const File &b);

/// A copy of the tree with its places.
ExprPtr clone(const Expr &expr);

} // namespace ast
} // namespace moec

#endif // MOEC_FRONTEND_AST_H
