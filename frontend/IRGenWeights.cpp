//===- IRGenWeights.cpp - Weights by name and view ------------------------===//

#include "frontend/IRGenWeights.h"

#include "dialects/moe/MoeDialect.h"
#include "frontend/SemaOperations.h"
#include "frontend/SpellCheck.h"
#include "frontend/weights/NamePattern.h"

using namespace mlir;
using namespace moec;
using namespace moec::irgen;

SmallVector<int64_t, 2> WeightUse::shape() const {
  return llvm::map_to_vector<2>(dims,
                                [](const DimSource &d) { return d.value; });
}

//===----------------------------------------------------------------------===//
// Symbols
//===----------------------------------------------------------------------===//

std::string SymbolNames::take(StringRef base, StringRef separator) {
  if (used.insert(base).second)
    return base.str();
  return takeNumbered(base, separator);
}

std::string SymbolNames::takeNumbered(StringRef base, StringRef separator) {
  unsigned &number = next[(base + separator).str()];
  std::string name;
  do
    name = (base + separator + Twine(++number)).str();
  while (!used.insert(name).second);
  return name;
}

//===----------------------------------------------------------------------===//
// Files
//===----------------------------------------------------------------------===//

WeightTable::WeightTable(const SemaModel &model, const ImportOptions &options,
                         MLIRContext &context, SymbolNames &symbols,
                         Diagnostics &diagnostics)
    : model(model), options(options), context(context), symbols(symbols),
      diagnostics(diagnostics) {}

bool WeightTable::openFiles() {
  if (options.weights == WeightsMode::None)
    return true;
  bool ok = true;
  for (const ast::WeightsItem *item : model.weights) {
    StringRef alias = item->alias ? item->alias->str() : StringRef();
    ok &= files.add(alias, item->pattern.str(), options.folder,
                    item->pattern.range, diagnostics);
  }
  return ok;
}

ArrayAttr WeightTable::fileList() {
  Builder b(&context);
  SmallVector<Attribute> list;
  for (const ast::WeightsItem *item : model.weights) {
    StringRef alias = item->alias ? item->alias->str() : StringRef();
    // Files are listed once, under the alias of their item; several items may
    // share one.
    llvm::StringSet<> seen;
    files.forEach([&](StringRef space, FoundTensor tensor) {
      StringRef path = tensor.source->path();
      if (space != alias || !seen.insert(path).second)
        return;
      ArrayAttr pair = b.getStrArrayAttr({alias, path});
      if (!llvm::is_contained(list, pair))
        list.push_back(pair);
    });
  }
  return b.getArrayAttr(list);
}

/// True the first time a message of this id is reported at `range`. A weight
/// name is expanded once per layer and expert, but it is one place in the text.
bool WeightTable::firstAt(DiagId id, SourceRange range) {
  return !range.isValid() ||
         reported.insert({static_cast<unsigned>(id), range.begin}).second;
}

std::optional<FoundTensor> WeightTable::findTensor(const WeightTerm &term) {
  named.insert(term.alias + '\0' + term.name);
  if (options.weights == WeightsMode::None)
    return FoundTensor();
  if (FoundTensor found = files.find(term.alias, term.name))
    return found;
  if (auto known = missing.find(term.range.begin);
      term.range.isValid() && known != missing.end()) {
    // The names of one place come in the order of layers, once for each entry.
    if (!llvm::is_contained(known->second.names, term.name))
      known->second.names.push_back(term.name);
    return std::nullopt;
  }
  // By value: the chain ends in a reference to a temporary.
  DiagnosticBuilder message =
      diagnostics
          .error(DiagId::E601, term.range,
                 files.empty() ? "tensor '" + term.name +
                                     "' is named, but no 'weights' item gives "
                                     "a file"
                               : "no file has a tensor '" + term.name + "'")
          .suggest(term.range, files.suggest(term.alias, term.name));
  missing.try_emplace(term.range.begin,
                      Missing{message, term.range, {term.name}});
  return std::nullopt;
}

Type irgen::floatOfName(Builder &builder, StringRef name) {
  if (name == "bf16")
    return builder.getBF16Type();
  if (name == "f16")
    return builder.getF16Type();
  return builder.getF32Type();
}

Type WeightTable::elementType(FoundTensor tensor, const WeightTerm &term) {
  Builder b(&context);
  if (!tensor)
    return floatOfName(b, model.dtype);
  switch (tensor.info->dtype) {
  case DType::F32:
    return b.getF32Type();
  case DType::BF16:
    return b.getBF16Type();
  case DType::F16:
    return b.getF16Type();
  default:
    break;
  }
  if (firstAt(DiagId::E612, term.range))
    diagnostics
        .error(DiagId::E612, term.range,
               "a weight must be stored in f32, bf16 or f16, found " +
                   Twine(dtypeName(tensor.info->dtype)))
        .fileNote(tensor.source->path(),
                  "tensor '" + term.name + "' is " + describe(*tensor.info));
  return {};
}

Type WeightTable::idType(FoundTensor tensor, const WeightTerm &term) {
  if (!tensor || tensor.info->dtype == DType::I32 ||
      tensor.info->dtype == DType::I64)
    return IntegerType::get(&context, 32);
  if (firstAt(DiagId::E612, term.range))
    diagnostics
        .error(DiagId::E612, term.range,
               "a table of ids must be stored in i32 or i64, found " +
                   Twine(dtypeName(tensor.info->dtype)))
        .fileNote(tensor.source->path(),
                  "tensor '" + term.name + "' is " + describe(*tensor.info));
  return {};
}

//===----------------------------------------------------------------------===//
// Views of a tensor of known shape
//===----------------------------------------------------------------------===//

static moe::SliceStepAttr sliceStep(MLIRContext *context,
                                    ArrayRef<int64_t> starts,
                                    ArrayRef<int64_t> sizes,
                                    ArrayRef<int64_t> steps,
                                    ArrayRef<int64_t> drop) {
  return moe::SliceStepAttr::get(context, starts, sizes, steps, drop);
}

bool WeightTable::applySlice(const WeightView &view, Shape &shape,
                             Steps &steps) {
  if (view.dims.size() > shape.size()) {
    diagnostics.error(DiagId::E305, view.range,
                      Twine(view.dims.size()) +
                          " subscripts for a tensor of shape " +
                          describeShape(shape));
    return false;
  }
  SmallVector<int64_t> starts, sizes, strides, drop, result;
  for (auto [i, size] : llvm::enumerate(shape)) {
    WeightView::Dim dim;
    if (i < view.dims.size())
      dim = view.dims[i];
    int64_t end = dim.isIndex ? dim.begin + 1 : dim.end.value_or(size);
    if (dim.begin < 0 || dim.step < 1 || dim.begin >= end || end > size) {
      diagnostics.error(DiagId::E305, view.range,
                        "subscript " + Twine(i + 1) + " takes " +
                            Twine(dim.begin) + " to " + Twine(end) +
                            " of a dimension of " + Twine(size) +
                            " in a tensor of shape " + describeShape(shape));
      return false;
    }
    starts.push_back(dim.begin);
    strides.push_back(dim.step);
    sizes.push_back((end - dim.begin + dim.step - 1) / dim.step);
    drop.push_back(dim.isIndex);
    if (!dim.isIndex)
      result.push_back(sizes.back());
  }
  if (ArrayRef<int64_t>(result) != ArrayRef<int64_t>(shape))
    steps.push_back(sliceStep(&context, starts, sizes, strides, drop));
  shape.assign(result.begin(), result.end());
  return true;
}

static std::optional<int64_t> elementCount(ArrayRef<int64_t> shape) {
  int64_t count = 1;
  for (int64_t size : shape)
    if (llvm::MulOverflow(count, size, count))
      return std::nullopt;
  return count;
}

bool WeightTable::applyReshape(const WeightView &view, Shape &shape,
                               Steps &steps) {
  std::optional<int64_t> have = elementCount(shape),
                         want = elementCount(view.shape);
  if (!have || !want || *have != *want) {
    diagnostics.error(DiagId::E306, view.range,
                      "a tensor of shape " + describeShape(shape) +
                          " cannot be viewed as " + describeShape(view.shape));
    return false;
  }
  shape.assign(view.shape.begin(), view.shape.end());
  steps.push_back(moe::ReshapeStepAttr::get(&context, view.shape));
  return true;
}

bool WeightTable::applyTranspose(const WeightView &view, Shape &shape,
                                 Steps &steps) {
  if (shape.size() < 2) {
    diagnostics.error(DiagId::E309, view.range,
                      "'.T' needs a tensor of two dimensions or more, found "
                      "shape " +
                          describeShape(shape));
    return false;
  }
  std::swap(shape[shape.size() - 2], shape.back());
  steps.push_back(moe::TransposeStepAttr::get(&context));
  return true;
}

bool WeightTable::applyViews(ArrayRef<WeightView> views, Shape &shape,
                             Steps &steps) {
  return llvm::all_of(views, [&](const WeightView &view) {
    switch (view.kind) {
    case WeightView::Kind::Slice:
      return applySlice(view, shape, steps);
    case WeightView::Kind::Transpose:
      return applyTranspose(view, shape, steps);
    case WeightView::Kind::Reshape:
      return applyReshape(view, shape, steps);
    }
    return false;
  });
}

//===----------------------------------------------------------------------===//
// Views without a checkpoint
//===----------------------------------------------------------------------===//

/// From the shape of a slice to the least shape of what it is a slice of.
bool WeightTable::invertSlice(const WeightView &view, Shape &shape,
                              Steps &steps) {
  Shape whole;
  SmallVector<int64_t> starts, sizes, strides, drop;
  size_t next = 0;
  for (const WeightView::Dim &dim : view.dims) {
    if (dim.begin < 0 || dim.step < 1 || (!dim.isIndex && next == shape.size()))
      return false;
    int64_t size = dim.isIndex ? 1 : shape[next++];
    if (!dim.isIndex && dim.end &&
        (*dim.end - dim.begin + dim.step - 1) / dim.step != size)
      return false;
    starts.push_back(dim.begin);
    sizes.push_back(size);
    strides.push_back(dim.step);
    drop.push_back(dim.isIndex);
    whole.push_back(dim.end.value_or(dim.begin + (size - 1) * dim.step + 1));
  }
  for (; next < shape.size(); ++next) {
    starts.push_back(0);
    sizes.push_back(shape[next]);
    strides.push_back(1);
    drop.push_back(0);
    whole.push_back(shape[next]);
  }
  steps.push_back(sliceStep(&context, starts, sizes, strides, drop));
  shape = whole;
  return true;
}

/// The recipe of a view whose tensor has no known shape: forwards from the
/// first `.view(...)`, otherwise backwards from the expected result.
bool WeightTable::planWithoutFile(const WeightTerm &term, const WeightUse &use,
                                  Shape &shape, Steps &steps) {
  ArrayRef<WeightView> views = term.views;
  const auto *reshape = llvm::find_if(views, [](const WeightView &view) {
    return view.kind == WeightView::Kind::Reshape;
  });
  if (reshape != views.end()) {
    if (reshape != views.begin()) {
      reportNotBuilt(diagnostics, reshape->range,
                     "'.view' of a part of a tensor, without a checkpoint,");
      return false;
    }
    shape.assign(reshape->shape.begin(), reshape->shape.end());
    steps.push_back(moe::ReshapeStepAttr::get(&context, reshape->shape));
    return applyViews(views.drop_front(), shape, steps);
  }
  Shape at = Shape(use.shape());
  shape = at;
  Steps reversed;
  for (const WeightView &view : llvm::reverse(views)) {
    bool ok = view.kind == WeightView::Kind::Slice
                  ? invertSlice(view, at, reversed)
                  : applyTranspose(view, at, reversed);
    if (ok)
      continue;
    if (view.kind == WeightView::Kind::Slice &&
        firstAt(DiagId::E604, term.range))
      diagnostics.error(DiagId::E604, term.range,
                        "'" + use.argument + "' of " + use.operation +
                            " must be " + describeShape(use.shape()) + " (" +
                            use.formula + "), which this view cannot have");
    return false;
  }
  steps.append(reversed.rbegin(), reversed.rend());
  return true;
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

/// What to write instead, if one thing is likely meant.
std::string WeightTable::adviceFor(const WeightTerm &term, const WeightUse &use,
                                   ArrayRef<int64_t> found) {
  SmallVector<int64_t, 2> want = use.shape();
  if (found.size() != want.size() || want.empty())
    return "";
  if (want.size() == 2 && found[0] == want[1] && found[1] == want[0])
    return ": write '.T' if it is stored transposed";
  if (found[0] != 2 * want[0] ||
      found.drop_front() != ArrayRef<int64_t>(want).drop_front())
    return "";
  std::string before = "[";
  if (!term.views.empty()) {
    const WeightView &last = term.views.back();
    StringRef text = diagnostics.sourceManager().text(last.range);
    if (last.kind != WeightView::Kind::Slice || !text.consume_back("]") ||
        !llvm::all_of(last.dims,
                      [](const WeightView::Dim &d) { return d.isIndex; }))
      return ": twice the rows";
    before = (text + ", ").str();
  }
  StringRef half = use.dims[0].name;
  std::string rows = half.empty() ? std::to_string(want[0]) : half.str();
  return ": twice the rows; write '" + before +
         "0::2]' if gate and up rows alternate, '" + before + "0:" + rows +
         "]' if they are stacked";
}

void WeightTable::reportShape(const WeightTerm &term, const WeightUse &use,
                              ArrayRef<int64_t> found, FoundTensor tensor) {
  if (!firstAt(DiagId::E604, term.range))
    return;
  DiagnosticBuilder message = diagnostics.error(
      DiagId::E604, term.range,
      "'" + use.argument + "' of " + use.operation + " must be " +
          describeShape(use.shape()) + " (" + use.formula + "), this " +
          (term.views.empty() ? "tensor" : "view") + " is " +
          describeShape(found));
  for (const DimSource &dim : use.dims)
    if (!dim.name.empty())
      message.hint(dim.range,
                   "'" + dim.name + "' is " + Twine(dim.value) + " here");
  if (tensor)
    message.fileNote(tensor.source->path(),
                     "tensor '" + term.name + "' is " +
                         describeShape(tensor.info->shape) +
                         adviceFor(term, use, found));
}

std::optional<WeightSymbol> WeightTable::get(const WeightTerm &term,
                                             const WeightUse &use) {
  std::optional<FoundTensor> tensor = findTensor(term);
  if (!tensor)
    return std::nullopt;
  Type element = use.isIds ? idType(*tensor, term) : elementType(*tensor, term);
  if (!element)
    return std::nullopt;

  StringAttr alias;
  if (!term.alias.empty())
    alias = StringAttr::get(&context, term.alias);
  Steps steps = {moe::TensorStepAttr::get(&context, term.name, alias)};
  Shape shape;
  if (*tensor) {
    shape.assign(tensor->info->shape.begin(), tensor->info->shape.end());
    if (!applyViews(term.views, shape, steps))
      return std::nullopt;
  } else if (!planWithoutFile(term, use, shape, steps)) {
    return std::nullopt;
  }
  if (ArrayRef<int64_t>(shape) != ArrayRef<int64_t>(use.shape())) {
    reportShape(term, use, shape, *tensor);
    return std::nullopt;
  }
  if (!applyViews(use.parts, shape, steps))
    return std::nullopt;
  Builder b(&context);
  bool isView = steps.size() > 1 || term.offset;
  if (term.offset) {
    steps.push_back(moe::AddConstantStepAttr::get(
        &context, b.getF64FloatAttr(*term.offset)));
    element = b.getF32Type();
  }

  ArrayAttr recipe = b.getArrayAttr(steps);
  auto [it, isNew] = byRecipe.try_emplace(recipe, entries.size());
  if (!isNew) {
    const Entry &entry = entries[it->second];
    if (entry.symbol.type.getShape() == ArrayRef<int64_t>(shape))
      return entry.symbol;
    // Only without a checkpoint: nothing says which of the uses is right.
    if (firstAt(DiagId::E604, term.range))
      diagnostics
          .error(DiagId::E604, term.range,
                 "'" + use.argument + "' of " + use.operation + " must be " +
                     describeShape(shape) + " (" + use.formula +
                     "), elsewhere tensor '" + term.name + "' is " +
                     describeShape(entry.symbol.type.getShape()))
          .note(entry.range, "the other use is here");
    return std::nullopt;
  }
  std::string base =
      term.alias.empty() ? term.name : term.alias + ":" + term.name;
  std::string name =
      isView ? symbols.takeNumbered(base, "#") : symbols.take(base, "#");
  WeightSymbol symbol = {b.getStringAttr(name),
                         RankedTensorType::get(shape, element)};
  bySymbol[name] = entries.size();
  entries.push_back({symbol, recipe, use.layer, use.expert, use.role.str(),
                     use.loc.value_or(b.getUnknownLoc()), term.range});
  return symbol;
}

std::optional<int64_t> WeightTable::lengthOf(const WeightTerm &term) {
  if (options.weights == WeightsMode::None || !term.views.empty())
    return std::nullopt;
  FoundTensor found = files.find(term.alias, term.name);
  if (!found || found.info->shape.size() != 1)
    return std::nullopt;
  return found.info->shape[0];
}

void WeightTable::setRole(StringRef symbol, StringRef role) {
  if (auto it = bySymbol.find(symbol); it != bySymbol.end())
    entries[it->second].role = role.str();
}

void WeightTable::emit(OpBuilder &builder) {
  for (const Entry &entry : entries)
    moe::WeightOp::create(builder, entry.loc, entry.symbol.name,
                          TypeAttr::get(entry.symbol.type), entry.recipe,
                          /*format=*/nullptr, /*layout=*/nullptr,
                          builder.getI64IntegerAttr(entry.layer),
                          builder.getI64IntegerAttr(entry.expert),
                          builder.getStringAttr(entry.role));
}

void WeightTable::completeMissing() {
  constexpr size_t shown = 4;
  for (auto &[place, entry] : missing) {
    ArrayRef<std::string> others = ArrayRef(entry.names).drop_front();
    size_t count = others.size();
    if (count == 0)
      continue;
    std::string names;
    for (const std::string &name : others.take_front(shown))
      names += (names.empty() ? "'" : ", '") + name + "'";
    entry.message.hint(
        entry.range,
        Twine(count) +
            (count == 1 ? " more tensor that is" : " more tensors that are") +
            " named here " + (count == 1 ? "is" : "are") +
            " missing: " + names + (count > shown ? ", .." : ""));
  }
}

void WeightTable::checkUnused() {
  constexpr size_t shown = 8;
  if (options.weights == WeightsMode::None)
    return;
  std::vector<bool> ignoreUsed(model.ignored.size(), false);
  std::vector<bool> keepUsed(model.keeps.size(), false);
  std::vector<std::pair<std::string, FoundTensor>> unused;
  files.forEach([&](StringRef alias, FoundTensor tensor) {
    StringRef name = tensor.info->name;
    for (auto [i, keep] : llvm::enumerate(model.keeps))
      if (!keepUsed[i] && matchPattern(keep->pattern.str(), name))
        keepUsed[i] = true;
    bool ignored = false;
    for (auto [i, pattern] : llvm::enumerate(model.ignored))
      if (matchPattern(pattern->str(), name))
        ignored = ignoreUsed[i] = true;
    if (!ignored && !named.contains((alias + Twine('\0') + name).str()))
      unused.push_back({alias.str(), tensor});
  });
  for (auto [i, entry] : llvm::enumerate(unused)) {
    if (i == shown)
      break;
    const FoundTensor &tensor = entry.second;
    DiagnosticBuilder message = diagnostics.error(
        DiagId::E602, DiagnosticPlace::wholeFile(tensor.source->path()),
        "nothing in the model names tensor '" + tensor.info->name + "', " +
            describe(*tensor.info));
    if (i + 1 == shown && unused.size() > shown)
      message.fileNote(tensor.source->path(),
                       Twine(unused.size() - shown) + " more are not shown");
    if (i == 0)
      message.fileNote(tensor.source->path(),
                       "an 'ignore' item says that a tensor is not needed");
  }
  for (auto [i, pattern] : llvm::enumerate(model.ignored))
    if (!ignoreUsed[i])
      diagnostics.warning(DiagId::E605, pattern->range,
                          "the pattern matches no tensor");
  for (auto [i, keep] : llvm::enumerate(model.keeps))
    if (!keepUsed[i])
      diagnostics.warning(DiagId::E605, keep->pattern.range,
                          "the pattern matches no tensor");
}
