//===- IRGenFunctions.cpp - Step functions and declarations ---------------===//

#include "frontend/IRGenExpander.h"

#include "dialects/moe/MoeDialect.h"
#include "dialects/nn/NnDialect.h"

#include "mlir/IR/Verifier.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SaveAndRestore.h"

using namespace mlir;
using namespace moec;
using namespace moec::irgen;

Expander::Expander(const SemaModel &model, const Catalog &catalog,
                   const ImportOptions &options, MLIRContext &context,
                   Diagnostics &diagnostics)
    : model(model), catalog(catalog), options(options), context(context),
      diagnostics(diagnostics), math(diagnostics), builder(&context),
      weights(model, options, context, symbols, diagnostics),
      tokensPerInput(model.modalities.size(), 0) {
  dtype = floatOfName(builder, model.dtype);
  if (options.compute)
    dtype = *options.compute == ComputeType::F32    ? Type(builder.getF32Type())
            : *options.compute == ComputeType::BF16 ? builder.getBF16Type()
                                                    : builder.getF16Type();
  compute = dtype;
}

//===----------------------------------------------------------------------===//
// Places
//===----------------------------------------------------------------------===//

/// The place of the text, within the layer, called from where blocks were.
Location Expander::loc(SourceRange range) {
  Location place = builder.getUnknownLoc();
  if (range.isValid()) {
    const SourceManager &sources = diagnostics.sourceManager();
    LineColumn at = sources.lineColumn(range);
    place = FileLineColLoc::get(&context, sources.name(range.file), at.line,
                                at.column);
  }
  if (fn && fn->layer >= 0)
    place = NameLoc::get(builder.getStringAttr("layers." + Twine(fn->layer)),
                         place);
  if (frame && frame->callSite)
    return CallSiteLoc::get(place, *frame->callSite);
  return place;
}

/// "layers.3.k", or "k" outside layers.
std::string Expander::symbolBase(StringRef what) const {
  if (fn->layer < 0)
    return what.str();
  return ("layers." + Twine(fn->layer) + "." + what).str();
}

//===----------------------------------------------------------------------===//
// Grouping
//===----------------------------------------------------------------------===//

/// Declarations that are looked up by name keep theirs.
void Expander::reserveSymbols() {
  for (const SemaModel::Modality &modality : model.modalities)
    symbols.take(modality.name(), ".");
  for (const SemaModel::Entry &entry : model.entries)
    symbols.take(entry.item->name.str(), ".");
}

/// Entries that call one block with the same static arguments and the same
/// cache share a step function; lengths and modalities become bounds.
void Expander::groupEntries() {
  for (const SemaModel::Entry &entry : model.entries) {
    std::string key;
    for (const std::optional<StaticValue> &argument : entry.arguments)
      key += argument ? argument->key() + ";" : "x;";
    int64_t cache = entry.cacheTokens.value_or(0);
    auto it = llvm::find_if(steps, [&](const StepFunction &step) {
      return step.block == entry.block && step.key == key &&
             step.cacheTokens == cache;
    });
    if (it == steps.end()) {
      steps.emplace_back();
      it = std::prev(steps.end());
      it->block = entry.block;
      it->key = key;
      it->cacheTokens = cache;
    }
    it->entries.push_back(&entry);
    it->routing.include(entry.routing);
    for (const SemaModel::Segment &segment : entry.layout)
      for (int64_t modality : segment.modalities)
        if (!llvm::is_contained(it->modalities, modality))
          it->modalities.push_back(modality);
    llvm::sort(it->modalities);
  }
}

//===----------------------------------------------------------------------===//
// One step function
//===----------------------------------------------------------------------===//

void Expander::addInputs(StepFunction &step) {
  Block *block = step.function.addEntryBlock();
  Location where = step.function.getLoc();
  auto add = [&](StringRef name, Type type) {
    unsigned index = block->getNumArguments();
    BlockArgument argument = block->addArgument(type, where);
    step.function.setType(
        builder.getFunctionType(block->getArgumentTypes(), {}));
    step.function.setArgAttr(index, "moe.input", builder.getStringAttr(name));
    return argument;
  };
  auto vector = [&](Type element) {
    return RankedTensorType::get({ShapedType::kDynamic}, element);
  };
  Type i32 = builder.getI32Type();
  step.tokens = add("tokens", vector(i32));
  step.kinds = add("kinds", vector(builder.getI8Type()));
  step.positions = add("positions", vector(i32));
  step.cuSeqlens = add("cu_seqlens", vector(i32));
  step.logitsRows = add("logits_rows", vector(i32));
  for (int64_t id : step.modalities) {
    const SemaModel::Modality &modality = model.modalities[id];
    if (modality.isToken || !modality.valid)
      continue;
    int64_t elements = 1;
    for (int64_t size : modality.dims)
      elements *= size;
    Type element =
        modality.isUnsigned8 ? Type(builder.getI8Type()) : builder.getF32Type();
    unsigned index = block->getNumArguments();
    step.raw[id] = add("raw", streamType(elements, element));
    step.function.setArgAttr(index, "moe.modality",
                             builder.getI64IntegerAttr(id));
  }
}

/// Expands the expression of a modality for all its tokens of the call.
Operand Expander::expandModality(const SemaModel::Modality &modality) {
  if (!modality.valid)
    return Operand();
  Frame inner;
  llvm::SaveAndRestore<Frame *> guard(frame, &inner);
  llvm::SaveAndRestore<const SemaModel::Modality *> expression(fn->expression,
                                                               &modality);
  SmallVector<int64_t, 4> present = {modality.id};
  std::swap(present, fn->present);
  Operand input;
  input.kind = modality.isToken ? OperandKind::Ids : OperandKind::Raw;
  input.value = modality.isToken ? fn->tokens : fn->raw.lookup(modality.id);
  input.modality = &modality;
  input.rows = 1;
  const ast::ModalityItem &item = *modality.item;
  inner.names[modality.param()] = {input, item.params.front().name.range};
  Operand result = asStream(evaluate(*item.value), item.value->range);
  std::swap(present, fn->present);
  if (result && !result.is(OperandKind::Value)) {
    diagnostics.error(DiagId::E505, item.value->range,
                      "modality '" + modality.name() +
                          "' must become vectors, found " + result.describe());
    return Operand();
  }
  if (result)
    tokensPerInput[modality.id] = result.rows;
  return result;
}

/// The merged sequence of the function's modalities.
Value Expander::buildStream(SourceRange range) {
  SmallVector<Value, 4> streams;
  SmallVector<bool, 4> indexed;
  const SemaModel::Modality *first = nullptr;
  bool ok = true;
  for (int64_t id : fn->modalities) {
    const SemaModel::Modality &modality = model.modalities[id];
    Operand result = expandModality(modality);
    if (!result) {
      ok = false;
      continue;
    }
    Location where = loc(modality.item->value->range);
    streams.push_back(convert(where, result.value, dtype));
    indexed.push_back(!modality.isToken);
    if (first && width(streams.back()) != width(streams.front())) {
      diagnostics
          .error(DiagId::E505, modality.item->value->range,
                 "expected vectors of width " + Twine(width(streams.front())) +
                     ", found " + Twine(width(streams.back())))
          .note(first->item->value->range,
                "the width of modality '" + first->name() + "' is set here");
      ok = false;
      streams.pop_back();
      indexed.pop_back();
    }
    if (!first)
      first = &modality;
  }
  if (!ok)
    return {};
  // Tokens of a token modality alone lie in the order of the sequence.
  if (streams.size() == 1 && !indexed.front())
    return streams.front();
  auto op = moe::MergeModalitiesOp::create(
      builder, loc(range), streams.front().getType(), fn->tokens, fn->kinds,
      streams, fn->modalities, indexed);
  return op.getResult();
}

bool Expander::buildFunction(StepFunction &step) {
  const SemaModel::Entry &entry = *step.entries.front();
  fn = &step;
  std::string name = symbols.take("step_" + entry.item->name.str().str(), ".");
  builder.setInsertionPointToEnd(module->getBody());
  step.function = func::FuncOp::create(builder, loc(entry.item->range), name,
                                       builder.getFunctionType({}, {}));
  addInputs(step);
  step.present = step.modalities;
  builder.setInsertionPointToStart(&step.function.getBody().front());
  Value stream = buildStream(entry.item->range);
  if (!stream)
    return false;
  step.streamOfWidth.clear(); // rows of raw inputs are no tokens
  remember(stream);

  std::vector<Operand> arguments;
  for (const std::optional<StaticValue> &argument : entry.arguments)
    arguments.push_back(argument ? Operand::ofStatic(*argument)
                                 : Operand::ofValue(stream));
  Operand result =
      expandBlock(*step.block, std::move(arguments), entry.call->range);
  return result && finishFunction(result, entry);
}

/// Takes the rows that the call asks for and returns them in f32.
bool Expander::finishFunction(const Operand &result,
                              const SemaModel::Entry &entry) {
  std::vector<Operand> single = {result};
  const std::vector<Operand> &results =
      result.is(OperandKind::Several) ? result.several : single;
  Location where = loc(entry.item->range);
  SmallVector<Value> values;
  for (const Operand &operand : results) {
    if (!operand.is(OperandKind::Value)) {
      diagnostics.error(DiagId::E806, entry.call->range,
                        "an entry returns values, found " + operand.describe());
      return false;
    }
    Value rows = nn::TakeRowsOp::create(builder, where, operand.value.getType(),
                                        operand.value, fn->logitsRows);
    values.push_back(convert(where, rows, builder.getF32Type()));
  }
  func::ReturnOp::create(builder, where, values);
  fn->function.setType(builder.getFunctionType(fn->function.getArgumentTypes(),
                                               ValueRange(values).getTypes()));
  for (size_t i = 0; i < values.size(); ++i)
    fn->function.setResultAttr(
        i, "moe.output",
        builder.getStringAttr(i == 0 ? Twine("logits") : "logits" + Twine(i)));
  return true;
}

//===----------------------------------------------------------------------===//
// Layouts
//===----------------------------------------------------------------------===//

/// Tokens of the longest sequence that the entry takes.
int64_t Expander::longestLayout(const SemaModel::Entry &entry) const {
  int64_t tokens = 0;
  for (const SemaModel::Segment &segment : entry.layout) {
    int64_t each =
        segment.source->isAny ? 1 : tokensPerInput[segment.modalities.front()];
    tokens += segment.max * each; // both below 2^31
  }
  return tokens;
}

bool Expander::checkLayouts() {
  bool ok = true;
  for (StepFunction &step : steps) {
    int64_t longest = 0;
    for (const SemaModel::Entry *entry : step.entries) {
      int64_t tokens = longestLayout(*entry);
      longest = std::max(longest, tokens);
      if (!entry->cacheTokens || tokens <= *entry->cacheTokens)
        continue;
      ok = false;
      diagnostics
          .error(DiagId::E802, entry->cacheRange,
                 "expected a cache of at least " + Twine(tokens) +
                     " tokens, the longest input of entry '" +
                     entry->item->name.str() + "', found " +
                     Twine(*entry->cacheTokens))
          .note(entry->item->params.front().type->range,
                "the layout is given here");
    }
    int64_t maximum = step.cacheTokens ? step.cacheTokens : longest;
    NamedAttrList facts;
    facts.set("cache_tokens", builder.getI64IntegerAttr(step.cacheTokens));
    facts.set("max_sequence", builder.getI64IntegerAttr(maximum));
    facts.set("modalities", builder.getDenseI64ArrayAttr(step.modalities));
    auto option = [&](StringRef name, bool isThere) {
      if (isThere)
        facts.set(name, builder.getUnitAttr());
    };
    option("routing_out", step.routing.out);
    option("routing_in", step.routing.in);
    option("expert_mask", step.routing.expertMask);
    option("router_bias", step.routing.routerBias);
    option("k_override", step.routing.maxExperts != 0);
    step.function->setAttr("moe.function", facts.getDictionary(&context));
  }
  return ok;
}

//===----------------------------------------------------------------------===//
// Declarations
//===----------------------------------------------------------------------===//

void Expander::emitEntry(OpBuilder &b, const StepFunction &step,
                         const SemaModel::Entry &entry) {
  SmallVector<Attribute, 4> layout;
  for (const SemaModel::Segment &segment : entry.layout)
    layout.push_back(moe::SegmentAttr::get(&context, segment.modalities,
                                           segment.min, segment.max));
  func::FuncOp function = step.function;
  auto unit = [&](bool isThere) {
    return isThere ? b.getUnitAttr() : UnitAttr();
  };
  const SemaModel::RoutingOptions &routing = entry.routing;
  moe::EntryOp::create(
      b, loc(entry.item->range), b.getStringAttr(entry.item->name.str()),
      FlatSymbolRefAttr::get(&context, function.getName()),
      unit(entry.last), unit(routing.out), unit(routing.in),
      unit(routing.expertMask), unit(routing.routerBias),
      unit(routing.maxExperts != 0), b.getArrayAttr(layout));
}

/// Declares what functions refer to, above them: their order gives the
/// ordinals of the manifest.
void Expander::emitDeclarations() {
  fn = nullptr;
  OpBuilder b(&context);
  b.setInsertionPointToStart(module->getBody());
  for (const SemaModel::Modality &modality : model.modalities) {
    int64_t tokens = tokensPerInput[modality.id];
    const ast::Name &name = modality.item->name;
    if (tokens == 0) {
      diagnostics.warning(DiagId::E220, name.range,
                          "no entry takes modality '" + name.str() + "'");
      continue;
    }
    Type element =
        modality.isUnsigned8
            ? Type(IntegerType::get(&context, 8, IntegerType::Unsigned))
            : b.getF32Type();
    TypeAttr raw;
    if (!modality.isToken)
      raw = TypeAttr::get(RankedTensorType::get(modality.dims, element));
    moe::ModalityOp::create(
        b, loc(name.range), b.getStringAttr(name.str()),
        b.getI64IntegerAttr(modality.id),
        modality.isToken ? b.getI64IntegerAttr(modality.vocab) : IntegerAttr(),
        raw, b.getI64IntegerAttr(tokens));
  }
  for (const State &state : states)
    nn::StateOp::create(b, state.loc, b.getStringAttr(state.symbol),
                        TypeAttr::get(state.type),
                        b.getI64IntegerAttr(state.cacheTokens),
                        b.getI64IntegerAttr(state.layer));
  weights.emit(b);
  for (const Table &table : tables)
    moe::ExpertTableOp::create(b, table.loc, b.getStringAttr(table.symbol),
                               table.body, table.experts);
  for (const SemaModel::Entry &entry : model.entries)
    for (const StepFunction &step : steps)
      if (llvm::is_contained(step.entries, &entry))
        emitEntry(b, step, entry);
}

void Expander::setModuleAttributes() {
  FileId source = model.file->range.file;
  StringRef path = source ? diagnostics.sourceManager().name(source) : "";
  auto set = [&](StringRef name, Attribute value) {
    (*module)->setAttr(name, value);
  };
  set("moe.model", builder.getStringAttr(model.file->model.str()));
  set("moe.source", builder.getStringAttr(llvm::sys::path::filename(path)));
  set("moe.dtype", TypeAttr::get(dtype));
  set("moe.compute", TypeAttr::get(compute));
  set("moe.weight_files", weights.fileList());
  SmallVector<Attribute> ignored, kept;
  for (const ast::PlainText *pattern : model.ignored)
    ignored.push_back(builder.getStringAttr(pattern->str()));
  for (const ast::KeepItem *keep : model.keeps)
    kept.push_back(
        builder.getStrArrayAttr({keep->dtype.str(), keep->pattern.str()}));
  set("moe.ignored", builder.getArrayAttr(ignored));
  if (!kept.empty())
    set("moe.kept", builder.getArrayAttr(kept));
  if (!model.stopTokens.empty())
    set("moe.stop_tokens", builder.getDenseI64ArrayAttr(model.stopTokens));
}

//===----------------------------------------------------------------------===//
// The module
//===----------------------------------------------------------------------===//

bool Expander::verifyModule() {
  bool valid = true;
  std::string said =
      takeMessages([&] { valid = succeeded(mlir::verify(*module)); });
  if (!valid)
    diagnostics.error(DiagId::E222, model.file->model.range,
                      "the module does not verify: " + said);
  return valid;
}

OwningOpRef<ModuleOp> Expander::run() {
  bool ok = weights.openFiles() && !diagnostics.hasErrors();
  // Shapes cannot be compared without the files, but the text can be checked.
  if (!model.expandable || model.entries.empty())
    return nullptr;
  module = ModuleOp::create(loc(model.file->range));
  reserveSymbols();
  groupEntries();
  for (StepFunction &step : steps) {
    ok &= buildFunction(step);
    if (stopped())
      break;
  }
  weights.completeMissing();
  if (stopped())
    return nullptr;
  ok = ok && !diagnostics.hasErrors() && checkLayouts();
  if (!ok)
    return nullptr;
  weights.checkUnused();
  if (diagnostics.hasErrors())
    return nullptr;
  emitDeclarations();
  setModuleAttributes();
  if (!verifyModule())
    return nullptr;
  return std::move(module);
}
