//===- AstPrinter.cpp - The one text of a tree ----------------------------===//
//
// An expression is written on the current line if it fits into 80 columns.
// Otherwise it is broken: lists fill lines that are aligned after their opening
// bracket (or hang four columns in, where aligned ones would not fit), chains
// of operators break before an operator, `by` puts each arm on its lines.
//
//===----------------------------------------------------------------------===//

#include "frontend/AstPrinter.h"

#include "frontend/AstFlatWriter.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/raw_ostream.h"

using namespace moec;
using namespace moec::ast;
using llvm::cast;
using llvm::dyn_cast;
using llvm::isa;
using llvm::StringRef;

namespace {

//===----------------------------------------------------------------------===//
// On several lines
//===----------------------------------------------------------------------===//

/// Writes a file and keeps the column. `margin` is where the lines of the
/// construct around an expression begin, `after` the columns that signs behind
/// it on its last line will take.
class Layout {
public:
  explicit Layout(llvm::raw_ostream &os) : os(os) {}

  void file(const File &file);

private:
  static constexpr unsigned width = 80;
  static constexpr unsigned hang = 4;
  /// One element of a list: how to write it, flat and broken.
  struct Element {
    llvm::function_ref<void(FlatWriter &, size_t)> flat;
    llvm::function_ref<void(size_t, unsigned margin, unsigned after)> broken;
    llvm::function_ref<unsigned(size_t)> least;
  };

  void put(StringRef s) {
    os << s;
    column += static_cast<unsigned>(s.size());
  }
  void newline(unsigned indent) {
    os << '\n';
    os.indent(indent);
    column = indent;
    ++line;
  }
  unsigned room(unsigned after) const {
    return column + after < width ? width - column - after : 0;
  }
  bool putIfFits(llvm::function_ref<void(FlatWriter &)> write, unsigned after);

  // Expressions.
  void expr(const Expr &e, Level level, unsigned margin, unsigned after);
  void bare(const Expr &e, unsigned margin, unsigned after);
  void chain(const BinaryExpr &e, unsigned margin, unsigned after);
  void conditional(const ConditionalExpr &e, unsigned margin, unsigned after);
  void by(const ByExpr &e, unsigned margin, unsigned after);
  void argument(const CallArgument &a, unsigned margin, unsigned after);
  void arguments(const std::vector<CallArgument> &list, unsigned margin,
                 unsigned after);
  void list(size_t count, StringRef close, unsigned margin, unsigned after,
            const Element &element);
  void expressions(const std::vector<ExprPtr> &list, StringRef close,
                   unsigned margin, unsigned after);
  unsigned headWidth(const Expr &e);
  unsigned alignedWidth(const Expr &e);
  unsigned leastWidth(const Expr &e);
  unsigned leastWidth(const CallArgument &a);
  unsigned computeLeastWidth(const Expr &e);

  // Statements and items.
  void body(const Body &statements, unsigned indent);
  void statement(const Stmt &s, unsigned indent);
  void layers(const LayersStmt &s, unsigned indent);
  void when(const WhenStmt &s, unsigned indent);
  void prefix(const std::unique_ptr<StringExpr> &prefix);
  void names(const std::vector<Name> &names, StringRef separator);
  void item(const Item &item);
  void block(const BlockItem &item);
  void entry(const EntryItem &item);
  void bindings(const BindingsItem &item);
  void valueAfterHead(const Expr &value);
  void params(const std::vector<Param> &params);
  static std::string flatParam(const Param &param);
  static std::string flatType(const Type &type);
  static std::string quoted(const PlainText &text) {
    return "\"" + escaped(text.value) + "\"";
  }

  llvm::raw_ostream &os;
  unsigned column = 0;
  unsigned line = 0;
  llvm::DenseMap<const Expr *, unsigned> leastWidths;
};

bool Layout::putIfFits(llvm::function_ref<void(FlatWriter &)> write,
                       unsigned after) {
  FlatWriter flat(room(after));
  write(flat);
  if (!flat.fits())
    return false;
  put(flat.take());
  return true;
}

void Layout::expr(const Expr &e, Level level, unsigned margin, unsigned after) {
  if (putIfFits([&](FlatWriter &flat) { flat.expr(e, level); }, after))
    return;
  if (levelOf(e) >= level)
    return bare(e, margin, after);
  put("(");
  bare(e, margin, after + 1);
  put(")");
}

/// Writes an expression that does not fit on the line.
void Layout::bare(const Expr &expression, unsigned margin, unsigned after) {
  switch (expression.getKind()) {
  case ExprKind::Number:
  case ExprKind::String:
  case ExprKind::Name:
    return put(flatExpr(expression, LevelExpr));
  case ExprKind::List:
    put("[");
    return expressions(cast<ListExpr>(expression).elements, "]", margin, after);
  case ExprKind::Call: {
    const auto &e = cast<CallExpr>(expression);
    expr(*e.callee, LevelPostfix, margin, 1);
    return arguments(e.arguments, margin, after);
  }
  case ExprKind::Index: {
    const auto &e = cast<IndexExpr>(expression);
    FlatWriter flat;
    flat.subscripts(e);
    std::string subscripts = flat.take();
    expr(*e.base, LevelPostfix, margin,
         after + static_cast<unsigned>(subscripts.size()));
    return put(subscripts);
  }
  case ExprKind::Member: {
    const auto &e = cast<MemberExpr>(expression);
    unsigned member = static_cast<unsigned>(e.member.text.size()) + 1;
    expr(*e.base, LevelPostfix, margin, after + member);
    put(".");
    return put(e.member.text);
  }
  case ExprKind::Unary: {
    const auto &e = cast<UnaryExpr>(expression);
    put(e.op == UnaryOp::Not ? "not " : "-");
    return expr(*e.operand, levelOf(e), margin, after);
  }
  case ExprKind::Binary:
    return chain(cast<BinaryExpr>(expression), margin, after);
  case ExprKind::Range: {
    const auto &e = cast<RangeExpr>(expression);
    expr(*e.first, LevelSum, margin, 2);
    put("..");
    return expr(*e.last, LevelSum, margin, after);
  }
  case ExprKind::Conditional:
    return conditional(cast<ConditionalExpr>(expression), margin, after);
  case ExprKind::Family: {
    const auto &e = cast<FamilyExpr>(expression);
    put("for " + e.variable.text + " in ");
    expr(*e.domain, LevelRange, margin, 1);
    put(": ");
    return expr(*e.body, LevelExpr, margin, after);
  }
  case ExprKind::By:
    return by(cast<ByExpr>(expression), margin, after);
  }
}

/// `a + b - c`: operands of one precedence, a new line before an operator whose
/// operand does not fit. The last operand may begin on the line and break
/// inside, which keeps `x = x + attention(...)` together.
void Layout::chain(const BinaryExpr &root, unsigned margin, unsigned after) {
  llvm::SmallVector<const BinaryExpr *, 8> links;
  const Expr *first = &root;
  while (const auto *link = dyn_cast<BinaryExpr>(first)) {
    if (levelOf(link->op) != levelOf(root.op) ||
        (link != &root && levelOf(root.op) == LevelCompare))
      break;
    links.push_back(link);
    first = link->lhs.get();
  }
  unsigned start = column, startLine = line;
  expr(*first, leftLevel(root.op), margin, 0);
  for (const BinaryExpr *link : llvm::reverse(links)) {
    bool isLast = link == &root;
    unsigned behind = isLast ? after : 0;
    std::string op = " " + spelling(link->op).str() + " ";
    Level level = rightLevel(link->op);
    bool sameLine = line == startLine;
    if (sameLine && putIfFits(
                        [&](FlatWriter &flat) {
                          flat.put(op);
                          flat.expr(*link->rhs, level);
                        },
                        behind))
      continue;
    unsigned opWidth = sizeOf(op);
    bool breaksInside =
        isLast && isa<CallExpr, ByExpr>(*link->rhs) &&
        headWidth(*link->rhs) + opWidth <= room(0) &&
        (opWidth + alignedWidth(*link->rhs) <= room(behind) ||
         start + opWidth - 1 + alignedWidth(*link->rhs) + behind > width);
    if (sameLine && breaksInside) {
      put(op);
      expr(*link->rhs, level, margin, behind);
      continue;
    }
    newline(start);
    put(StringRef(op).drop_front());
    startLine = line;
    expr(*link->rhs, level, start, behind);
  }
}

void Layout::conditional(const ConditionalExpr &e, unsigned margin,
                         unsigned after) {
  unsigned start = column;
  expr(*e.value, LevelOr, margin, 0);
  newline(start);
  put("if ");
  expr(*e.condition, LevelOr, start, 0);
  newline(start);
  put("else ");
  expr(*e.otherwise, LevelExpr, start, after);
}

void Layout::by(const ByExpr &e, unsigned margin, unsigned after) {
  put("by " + e.subject.text + " {");
  for (const ByExpr::Arm &arm : e.arms) {
    newline(margin + 2);
    put(arm.name.text + ": ");
    expr(*arm.value, LevelExpr, margin + 2, 1);
    put(",");
  }
  newline(margin);
  put("}");
}

/// Elements up to a closing bracket; the opening one is written.
void Layout::list(size_t count, StringRef close, unsigned margin,
                  unsigned after, const Element &element) {
  auto signsBehind = [&](size_t i) {
    return i + 1 == count ? static_cast<unsigned>(close.size()) + after : 1;
  };
  unsigned least = 0;
  for (size_t i = 0; i < count; ++i)
    least = std::max(least, element.least(i) + signsBehind(i));
  unsigned left = column;
  if (left + least > width && margin + hang < left) {
    left = margin + hang;
    newline(left);
  }
  unsigned previousLine = line;
  for (size_t i = 0; i < count; ++i) {
    unsigned behind = signsBehind(i);
    auto flat = [&](FlatWriter &writer) {
      if (i != 0)
        writer.put(" ");
      element.flat(writer, i);
    };
    bool sameLine = line == previousLine;
    previousLine = line;
    if (!sameLine || !putIfFits(flat, behind)) {
      if (i != 0) {
        newline(left);
        previousLine = line;
      }
      element.broken(i, left, behind);
    }
    if (i + 1 != count)
      put(",");
  }
  put(close);
}

void Layout::argument(const CallArgument &a, unsigned margin, unsigned after) {
  if (a.name)
    put(a.name->text + " = ");
  expr(*a.value, LevelExpr, margin, after);
}

void Layout::arguments(const std::vector<CallArgument> &all, unsigned margin,
                       unsigned after) {
  put("(");
  list(all.size(), ")", margin, after,
       {[&](FlatWriter &flat, size_t i) { flat.argument(all[i]); },
        [&](size_t i, unsigned left, unsigned behind) {
          argument(all[i], left, behind);
        },
        [&](size_t i) { return leastWidth(all[i]); }});
}

void Layout::expressions(const std::vector<ExprPtr> &all, StringRef close,
                         unsigned margin, unsigned after) {
  list(all.size(), close, margin, after,
       {[&](FlatWriter &flat, size_t i) { flat.expr(*all[i], LevelExpr); },
        [&](size_t i, unsigned left, unsigned behind) {
          expr(*all[i], LevelExpr, left, behind);
        },
        [&](size_t i) { return leastWidth(*all[i]); }});
}

//===----------------------------------------------------------------------===//
// How narrow an expression can be made
//===----------------------------------------------------------------------===//

/// The columns up to where an expression can go on in a new line that begins at
/// the margin.
unsigned Layout::headWidth(const Expr &e) {
  if (const auto *call = dyn_cast<CallExpr>(&e))
    return leastWidth(*call->callee) + 1;
  if (const auto *by = dyn_cast<ByExpr>(&e))
    return sizeOf(by->subject.text) + 5;
  return leastWidth(e);
}

/// The columns of a call whose arguments are aligned after its bracket; of
/// other expressions those of the head, since nothing in them is aligned.
unsigned Layout::alignedWidth(const Expr &e) {
  const auto *call = dyn_cast<CallExpr>(&e);
  if (!call)
    return headWidth(e);
  unsigned least = 0;
  for (const CallArgument &a : call->arguments)
    least = std::max(least, leastWidth(a));
  return headWidth(e) + least + 1;
}

/// A lower bound of the columns from the margin that an expression needs,
/// however it is broken. Kept for every node, since each list asks for those of
/// all its elements.
unsigned Layout::leastWidth(const Expr &e) {
  auto known = leastWidths.find(&e);
  if (known != leastWidths.end())
    return known->second;
  unsigned least = std::min(computeLeastWidth(e), width);
  leastWidths[&e] = least;
  return least;
}

unsigned Layout::leastWidth(const CallArgument &a) {
  unsigned name = a.name ? sizeOf(a.name->text) + 3 : 0;
  return std::max(name + headWidth(*a.value), leastWidth(*a.value));
}

unsigned Layout::computeLeastWidth(const Expr &expression) {
  switch (expression.getKind()) {
  case ExprKind::Number:
  case ExprKind::String:
  case ExprKind::Name:
    return sizeOf(flatExpr(expression, LevelExpr));
  case ExprKind::List: {
    unsigned least = 0;
    for (const ExprPtr &e : cast<ListExpr>(expression).elements)
      least = std::max(least, leastWidth(*e));
    return least + 1;
  }
  case ExprKind::Call: {
    const auto &e = cast<CallExpr>(expression);
    // Views read best in one piece.
    if (isa<MemberExpr>(*e.callee))
      return sizeOf(flatExpr(expression, LevelExpr));
    unsigned least = leastWidth(*e.callee) + 1;
    for (const CallArgument &a : e.arguments)
      least = std::max(least, hang + leastWidth(a));
    return least;
  }
  case ExprKind::Index: {
    const auto &e = cast<IndexExpr>(expression);
    FlatWriter flat(width);
    flat.subscripts(e);
    return leastWidth(*e.base) + sizeOf(flat.take());
  }
  case ExprKind::Member: {
    const auto &e = cast<MemberExpr>(expression);
    return leastWidth(*e.base) + 1 + sizeOf(e.member.text);
  }
  case ExprKind::Unary:
    return leastWidth(*cast<UnaryExpr>(expression).operand) + 1;
  case ExprKind::Binary: {
    const auto &e = cast<BinaryExpr>(expression);
    return std::max(leastWidth(*e.lhs), leastWidth(*e.rhs) + 2);
  }
  case ExprKind::Range: {
    const auto &e = cast<RangeExpr>(expression);
    return leastWidth(*e.first) + 2 + leastWidth(*e.last);
  }
  case ExprKind::Conditional: {
    const auto &e = cast<ConditionalExpr>(expression);
    return std::max({leastWidth(*e.value), leastWidth(*e.condition) + 3,
                     leastWidth(*e.otherwise) + 5});
  }
  case ExprKind::Family: {
    const auto &e = cast<FamilyExpr>(expression);
    unsigned head = leastWidth(*e.domain) + sizeOf(e.variable.text) + 10;
    return std::max(head + headWidth(*e.body), leastWidth(*e.body));
  }
  case ExprKind::By: {
    unsigned least = 4;
    for (const ByExpr::Arm &arm : cast<ByExpr>(expression).arms)
      least =
          std::max({least, 4 + sizeOf(arm.name.text) + headWidth(*arm.value),
                    2 + leastWidth(*arm.value)});
    return least;
  }
  }
  return 0;
}

//===----------------------------------------------------------------------===//
// Statements
//===----------------------------------------------------------------------===//

void Layout::names(const std::vector<Name> &all, StringRef separator) {
  for (const Name &name : all) {
    if (&name != &all.front())
      put(separator);
    put(name.text);
  }
}

void Layout::prefix(const std::unique_ptr<StringExpr> &prefix) {
  if (prefix)
    put(" at " + flatExpr(*prefix, LevelExpr));
}

/// ` { ... }` with the closing brace at `indent`.
void Layout::body(const Body &statements, unsigned indent) {
  put(" {");
  for (const StmtPtr &s : statements) {
    newline(indent + 2);
    statement(*s, indent + 2);
  }
  newline(indent);
  put("}");
}

void Layout::statement(const Stmt &s, unsigned indent) {
  switch (s.getKind()) {
  case StmtKind::Assign: {
    const auto &assign = cast<AssignStmt>(s);
    names(assign.targets, ", ");
    put(" = ");
    return expr(*assign.value, LevelExpr, indent, 0);
  }
  case StmtKind::Layers:
    return layers(cast<LayersStmt>(s), indent);
  case StmtKind::When:
    return when(cast<WhenStmt>(s), indent);
  }
}

void Layout::layers(const LayersStmt &s, unsigned indent) {
  put("layers " + s.variable.text + " in ");
  expr(*s.domain, LevelRange, indent, 0);
  put(" carry ");
  names(s.carried, ", ");
  prefix(s.prefix);
  body(s.body, indent);
}

void Layout::when(const WhenStmt &s, unsigned indent) {
  for (const WhenStmt::Arm &arm : s.arms) {
    if (&arm != &s.arms.front())
      put(" otherwise ");
    put("when ");
    expr(*arm.condition, LevelExpr, indent, 2);
    body(arm.body, indent);
  }
  if (s.otherwise) {
    put(" otherwise");
    body(*s.otherwise, indent);
  }
}

//===----------------------------------------------------------------------===//
// Items
//===----------------------------------------------------------------------===//

std::string Layout::flatType(const Type &type) {
  std::string text;
  auto list = [&](const auto &all, auto write) {
    for (const auto &element : all) {
      if (&element != &all.front())
        text += ", ";
      write(element);
    }
  };
  if (type.kind == TypeKind::Named) {
    text = type.name.text;
    if (type.dims.empty())
      return text;
    text += "[";
    list(type.dims, [&](const ExprPtr &e) { text += flatExpr(*e, LevelExpr); });
    return text + "]";
  }
  text = "seq(";
  list(type.segments, [&](const Segment &segment) {
    if (segment.isAny)
      text += "any(";
    list(segment.modalities, [&](const Name &name) { text += name.text; });
    if (segment.isAny)
      text += ")";
    if (segment.count)
      text += "[" + flatExpr(*segment.count, LevelExpr) + "]";
    if (segment.isOptional)
      text += "?";
  });
  return text + ")";
}

std::string Layout::flatParam(const Param &param) {
  if (!param.type)
    return param.name.text;
  return param.name.text + ": " + flatType(*param.type);
}

void Layout::params(const std::vector<Param> &all) {
  put("(");
  list(all.size(), ")", 0, 3,
       {[&](FlatWriter &flat, size_t i) { flat.put(flatParam(all[i])); },
        [&](size_t i, unsigned, unsigned) { put(flatParam(all[i])); },
        [&](size_t i) {
          return static_cast<unsigned>(flatParam(all[i]).size());
        }});
}

/// ` = value`; on a line of its own if it fits there and not on this one.
void Layout::valueAfterHead(const Expr &value) {
  put(" =");
  auto spaced = [&](FlatWriter &flat) {
    flat.put(" ");
    flat.expr(value, LevelExpr);
  };
  if (putIfFits(spaced, 0))
    return;
  newline(2);
  expr(value, LevelExpr, 2, 0);
}

void Layout::bindings(const BindingsItem &item) {
  put(item.isDim ? "dim " : "const ");
  const std::vector<Binding> &all = item.bindings;
  list(all.size(), "", 0, 0,
       {[&](FlatWriter &flat, size_t i) {
          flat.put(all[i].name.text);
          flat.put(" = ");
          flat.expr(*all[i].value, LevelExpr);
        },
        [&](size_t i, unsigned left, unsigned behind) {
          put(all[i].name.text + " = ");
          expr(*all[i].value, LevelExpr, left, behind);
        },
        [&](size_t) { return 0u; }});
}

void Layout::block(const BlockItem &item) {
  put("block " + item.name.text);
  params(item.params);
  prefix(item.prefix);
  put(" {");
  for (const StmtPtr &s : item.body) {
    newline(2);
    statement(*s, 2);
  }
  newline(2);
  put("return ");
  expressions(item.results, "", 2, 0);
  newline(0);
  put("}");
}

void Layout::entry(const EntryItem &item) {
  put("entry " + item.name.text);
  params(item.params);
  valueAfterHead(*item.value);
  if (item.options.empty())
    return;
  auto options = [&](FlatWriter &flat) {
    flat.put("with ");
    for (const EntryOption &option : item.options) {
      if (&option != &item.options.front())
        flat.put(", ");
      flat.put(option.name.text);
      if (option.arguments.empty())
        continue;
      flat.put("(");
      for (const CallArgument &a : option.arguments) {
        if (&a != &option.arguments.front())
          flat.put(", ");
        flat.argument(a);
      }
      flat.put(")");
    }
  };
  if (putIfFits(
          [&](FlatWriter &flat) {
            flat.put(" ");
            options(flat);
          },
          0))
    return;
  newline(2);
  FlatWriter flat;
  options(flat);
  put(flat.take());
}

void Layout::item(const Item &item) {
  switch (item.getKind()) {
  case ItemKind::Use: {
    const auto &use = cast<UseItem>(item);
    put("use " + quoted(use.plugin));
    return put(use.alias ? " as " + use.alias->text : "");
  }
  case ItemKind::Weights: {
    const auto &weights = cast<WeightsItem>(item);
    put("weights " + (weights.alias ? weights.alias->text + " = " : ""));
    return put(quoted(weights.pattern));
  }
  case ItemKind::Storage: {
    const auto &storage = cast<StorageItem>(item);
    put("storage " + quoted(storage.pattern));
    return valueAfterHead(*storage.format);
  }
  case ItemKind::Keep: {
    const auto &keep = cast<KeepItem>(item);
    return put("keep " + keep.dtype.text + " for " + quoted(keep.pattern));
  }
  case ItemKind::Ignore: {
    const std::vector<PlainText> &all = cast<IgnoreItem>(item).patterns;
    put("ignore ");
    return list(all.size(), "", 0, 0,
                {[&](FlatWriter &flat, size_t i) { flat.put(quoted(all[i])); },
                 [&](size_t i, unsigned, unsigned) { put(quoted(all[i])); },
                 [&](size_t) { return 0u; }});
  }
  case ItemKind::StopTokens: {
    const std::vector<ExprPtr> &all = cast<StopTokensItem>(item).ids;
    put("stop_tokens ");
    return list(all.size(), "", 0, 0,
                {[&](FlatWriter &flat, size_t i) {
                   flat.expr(*all[i], LevelExpr);
                 },
                 [&](size_t i, unsigned, unsigned) {
                   put(flatExpr(*all[i], LevelExpr));
                 },
                 [&](size_t) { return 0u; }});
  }
  case ItemKind::Dtype:
    return put("dtype " + cast<DtypeItem>(item).dtype.text);
  case ItemKind::Bindings:
    return bindings(cast<BindingsItem>(item));
  case ItemKind::Switch: {
    const auto &choice = cast<SwitchItem>(item);
    put("switch " + choice.name.text + " = ");
    return names(choice.alternatives, " | ");
  }
  case ItemKind::Modality: {
    const auto &modality = cast<ModalityItem>(item);
    put("modality " + modality.name.text);
    params(modality.params);
    return valueAfterHead(*modality.value);
  }
  case ItemKind::Block:
    return block(cast<BlockItem>(item));
  case ItemKind::Entry:
    return entry(cast<EntryItem>(item));
  }
}

/// Items of one section stand together; blocks stand alone.
ItemKind sectionOf(const Item &item) {
  switch (item.getKind()) {
  case ItemKind::Modality:
  case ItemKind::Block:
  case ItemKind::Entry:
    return item.getKind();
  default:
    return ItemKind::Use;
  }
}

void Layout::file(const File &file) {
  put("moe " + std::to_string(file.version));
  newline(0);
  put("model " + file.model.text);
  newline(0);
  const Item *previous = nullptr;
  for (const ItemPtr &next : file.items) {
    if (!previous || sectionOf(*previous) != sectionOf(*next) ||
        isa<BlockItem>(*next))
      newline(0);
    item(*next);
    newline(0);
    previous = next.get();
  }
}

} // namespace

void ast::print(const File &file, llvm::raw_ostream &os) {
  Layout(os).file(file);
}

void ast::print(const Expr &expr, llvm::raw_ostream &os) {
  os << flatExpr(expr, LevelExpr);
}

std::string ast::toString(const Expr &expr) {
  return flatExpr(expr, LevelExpr);
}
