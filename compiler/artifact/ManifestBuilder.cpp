//===- ManifestBuilder.cpp - What an artifact says about itself -----------===//

#include "compiler/artifact/ManifestBuilder.h"

#include "compiler/artifact/ManifestSchema.h"
#include "compiler/pipeline/Pipeline.h"
#include "compiler/plugin/BuildIdentity.h"
#include "dialects/nn/NnDialect.h"
#include "runtime/abi/manifest_generated.h"
#include "runtime/abi/moe_abi.h"

#include "llvm/Support/xxhash.h"

#include <limits>

using namespace mlir;
namespace fb = ::moe::manifest;

// Not `using namespace moec`: the manifest's namespace is ::moe, and the
// dialect's would make that name ambiguous.
namespace moec {

uint64_t manifestSchemaHash() {
  return llvm::xxh3_64bits(llvm::StringRef(manifestSchema));
}

std::string serializeManifest(const fb::ManifestT &manifest) {
  flatbuffers::FlatBufferBuilder builder;
  builder.ForceDefaults(true);
  fb::FinishManifestBuffer(builder, fb::CreateManifest(builder, &manifest));
  return std::string(reinterpret_cast<const char *>(builder.GetBufferPointer()),
                     builder.GetSize());
}

namespace {
/// Fills a manifest from the attributes and declarations of a module. Each
/// member emits a diagnostic where it fails.
class Builder {
public:
  Builder(ModuleOp module, const WeightPlan &plan, llvm::StringRef sideFile,
          fb::ManifestT &manifest)
      : module(module), plan(plan), sideFile(sideFile), manifest(manifest) {}

  LogicalResult build();

private:
  LogicalResult addGeneral();
  LogicalResult addModality(moe::ModalityOp op);
  LogicalResult addFunction(DictionaryAttr facts);
  LogicalResult addEntry(moe::EntryOp op);
  LogicalResult addState(nn::StateOp op);
  LogicalResult addWeight(const PlacedWeight &weight);
  LogicalResult addVariant(DictionaryAttr facts);
  LogicalResult addKernel(DictionaryAttr facts, fb::VariantT &variant);
  LogicalResult addRouter(DictionaryAttr facts);
  void addSegment();

  /// Applies `add` to every dictionary in the array attribute `name` of the
  /// module.
  LogicalResult
  forEachRecord(llvm::StringRef name,
                llvm::function_ref<LogicalResult(DictionaryAttr)> add);
  /// Field `name` of a record; a null attribute after an error.
  template <typename Attr>
  Attr field(DictionaryAttr record, llvm::StringRef name);
  FailureOr<fb::DType> dtype(Location loc, Type type);
  FailureOr<uint32_t> functionOrdinal(Location loc, llvm::StringRef name);

  ModuleOp module;
  const WeightPlan &plan;
  llvm::StringRef sideFile;
  fb::ManifestT &manifest;
};
} // namespace

FailureOr<fb::DType> Builder::dtype(Location loc, Type type) {
  if (type.isF32())
    return fb::DType::f32;
  if (type.isBF16())
    return fb::DType::bf16;
  if (type.isF16())
    return fb::DType::f16;
  if (auto integer = dyn_cast<IntegerType>(type)) {
    if (integer.getWidth() == 32)
      return fb::DType::i32;
    if (integer.getWidth() == 8)
      return integer.isUnsigned() ? fb::DType::u8 : fb::DType::i8;
  }
  return emitError(loc) << "expected f32, bf16, f16, i8, u8 or i32 in an "
                           "artifact, found "
                        << type;
}

template <typename Attr>
Attr Builder::field(DictionaryAttr record, llvm::StringRef name) {
  auto value = record.getAs<Attr>(name);
  if (!value)
    module.emitError() << "expected '" << name << "' in the record " << record;
  return value;
}

LogicalResult
Builder::forEachRecord(llvm::StringRef name,
                       llvm::function_ref<LogicalResult(DictionaryAttr)> add) {
  auto records = module->getAttrOfType<ArrayAttr>(name);
  if (!records)
    return module.emitError()
           << "expected the attribute '" << name
           << "' of a module that went through all phases, found none";
  for (Attribute record : records) {
    auto dictionary = dyn_cast<DictionaryAttr>(record);
    if (!dictionary)
      return module.emitError()
             << "expected records in '" << name << "', found " << record;
    if (failed(add(dictionary)))
      return failure();
  }
  return success();
}

LogicalResult Builder::build() {
  if (failed(addGeneral()))
    return failure();
  for (auto op : module.getOps<moe::ModalityOp>())
    if (failed(addModality(op)))
      return failure();
  if (failed(forEachRecord(functionsAttrName, [&](DictionaryAttr record) {
        return addFunction(record);
      })))
    return failure();
  for (auto op : module.getOps<moe::EntryOp>())
    if (failed(addEntry(op)))
      return failure();
  for (auto op : module.getOps<nn::StateOp>())
    if (failed(addState(op)))
      return failure();
  addSegment();
  for (const PlacedWeight &weight : plan.weights)
    if (failed(addWeight(weight)))
      return failure();
  if (failed(forEachRecord("moex.variants", [&](DictionaryAttr record) {
        return addVariant(record);
      })))
    return failure();
  return forEachRecord(routersAttrName, [&](DictionaryAttr record) {
    return addRouter(record);
  });
}

LogicalResult Builder::addGeneral() {
  auto text = [&](llvm::StringRef name) {
    auto value = module->getAttrOfType<StringAttr>(name);
    return value ? value.str() : std::string();
  };
  auto type = [&](llvm::StringRef name) -> FailureOr<fb::DType> {
    auto value = module->getAttrOfType<TypeAttr>(name);
    if (!value)
      return module.emitError()
             << "expected the attribute '" << name << "' of the module";
    return dtype(module.getLoc(), value.getValue());
  };
  FailureOr<fb::DType> values = type("moe.dtype");
  FailureOr<fb::DType> compute = type("moe.compute");
  if (failed(values) || failed(compute))
    return failure();
  manifest.abi_version = MOE_ABI_VERSION;
  manifest.schema_hash = manifestSchemaHash();
  manifest.compiler = "moec " MOEC_BUILD_VERSION;
  manifest.build_identity = getBuildIdentity().str();
  manifest.model = text("moe.model");
  manifest.source = text("moe.source");
  manifest.target = targetTriple;
  manifest.dtype = *values;
  manifest.compute = *compute;
  if (auto patterns = module->getAttrOfType<ArrayAttr>("moe.ignored"))
    for (auto pattern : patterns.getAsRange<StringAttr>())
      manifest.ignored.push_back(pattern.str());
  if (auto ids = module->getAttrOfType<DenseI64ArrayAttr>("moe.stop_tokens"))
    manifest.stop_tokens.assign(ids.asArrayRef().begin(),
                                ids.asArrayRef().end());
  return success();
}

LogicalResult Builder::addModality(moe::ModalityOp op) {
  auto modality = std::make_unique<fb::ModalityT>();
  modality->name = op.getSymName().str();
  modality->id = static_cast<uint8_t>(op.getId());
  modality->tokens_per_input = static_cast<uint32_t>(op.getTokens());
  if (auto vocab = op.getVocab()) {
    modality->input = fb::InputKind::token;
    modality->vocab = static_cast<uint32_t>(*vocab);
  } else {
    auto raw =
        dyn_cast_if_present<RankedTensorType>(op.getRawType().value_or(Type()));
    if (!raw)
      return op.emitError("expected a vocabulary or a raw tensor type");
    FailureOr<fb::DType> element = dtype(op.getLoc(), raw.getElementType());
    if (failed(element))
      return failure();
    modality->input = fb::InputKind::raw;
    modality->raw_dtype = *element;
    modality->raw_shape.assign(raw.getShape().begin(), raw.getShape().end());
  }
  manifest.modalities.push_back(std::move(modality));
  return success();
}

LogicalResult Builder::addFunction(DictionaryAttr facts) {
  auto function = std::make_unique<fb::FunctionT>();
  auto name = field<StringAttr>(facts, "name");
  auto outputs = field<ArrayAttr>(facts, "outputs");
  auto cache = field<IntegerAttr>(facts, "cache_tokens");
  auto longest = field<IntegerAttr>(facts, "max_sequence");
  auto modalities = field<DenseI64ArrayAttr>(facts, "modalities");
  if (!name || !outputs || !cache || !longest || !modalities)
    return failure();
  function->name = name.str();
  function->cache_tokens = static_cast<uint32_t>(cache.getInt());
  function->max_sequence = static_cast<uint32_t>(longest.getInt());
  function->modalities.assign(modalities.asArrayRef().begin(),
                              modalities.asArrayRef().end());
  for (Attribute each : outputs) {
    auto pair = dyn_cast<ArrayAttr>(each);
    auto outputName =
        pair && pair.size() == 2 ? dyn_cast<StringAttr>(pair[0]) : StringAttr();
    auto width = outputName ? dyn_cast<IntegerAttr>(pair[1]) : IntegerAttr();
    if (!width)
      return module.emitError()
             << "expected a name and a width for an output of '" << name
             << "', found " << each;
    auto output = std::make_unique<fb::OutputT>();
    output->name = outputName.str();
    output->width = static_cast<uint32_t>(width.getInt());
    function->outputs.push_back(std::move(output));
  }
  manifest.functions.push_back(std::move(function));
  return success();
}

FailureOr<uint32_t> Builder::functionOrdinal(Location loc,
                                             llvm::StringRef name) {
  for (auto [ordinal, function] : llvm::enumerate(manifest.functions))
    if (function->name == name)
      return static_cast<uint32_t>(ordinal);
  return emitError(loc) << "expected a step function, found '" << name << "'";
}

LogicalResult Builder::addEntry(moe::EntryOp op) {
  auto entry = std::make_unique<fb::EntryT>();
  entry->name = op.getSymName().str();
  entry->last_only = op.getLast();
  entry->routing_out = op.getRoutingOut();
  entry->routing_in = op.getRoutingIn();
  entry->expert_mask = op.getExpertMask();
  entry->router_bias = op.getRouterBias();
  entry->k_override = op.getKOverride();
  FailureOr<uint32_t> function = functionOrdinal(op.getLoc(), op.getFunction());
  if (failed(function))
    return failure();
  entry->function = *function;
  for (auto segment : op.getLayout().getAsRange<moe::SegmentAttr>()) {
    auto part = std::make_unique<fb::LayoutSegmentT>();
    part->modalities.assign(segment.getModalities().begin(),
                            segment.getModalities().end());
    // The manifest tells "may be absent" from "at least one when present".
    part->optional = segment.getMin() == 0;
    part->min = static_cast<uint32_t>(std::max<int64_t>(segment.getMin(), 1));
    part->max = static_cast<uint32_t>(segment.getMax());
    entry->layout.push_back(std::move(part));
  }
  manifest.entries.push_back(std::move(entry));
  return success();
}

LogicalResult Builder::addState(nn::StateOp op) {
  auto state = std::make_unique<fb::StateT>();
  auto type = dyn_cast<RankedTensorType>(op.getType());
  if (!type || type.getRank() != 1)
    return op.emitError("expected a state of rank 1");
  FailureOr<fb::DType> element = dtype(op.getLoc(), type.getElementType());
  if (failed(element))
    return failure();
  state->name = op.getSymName().str();
  state->layer = static_cast<int32_t>(op.getLayer());
  state->dtype = *element;
  state->width = static_cast<uint32_t>(type.getDimSize(0));
  state->cache_tokens = static_cast<uint32_t>(op.getCacheTokens());
  manifest.states.push_back(std::move(state));
  return success();
}

/// `#moeq.plain<bf16>` as "plain<bf16>": the dialect is understood.
static std::string attributeText(Attribute attribute) {
  std::string text;
  llvm::raw_string_ostream(text) << attribute;
  llvm::StringRef rest(text);
  rest.consume_front("#");
  return rest.substr(rest.find('.') + 1).str();
}

LogicalResult Builder::addWeight(const PlacedWeight &placed) {
  moe::WeightOp op = placed.op;
  auto weight = std::make_unique<fb::WeightT>();
  FailureOr<fb::DType> element = dtype(op.getLoc(), getStoredElementType(op));
  if (failed(element))
    return failure();
  weight->name = op.getSymName().str();
  weight->layer = static_cast<int32_t>(op.getLayer());
  weight->expert = static_cast<int32_t>(op.getExpert());
  weight->role = op.getRole().str();
  weight->shape.assign(op.getTensorType().getShape().begin(),
                       op.getTensorType().getShape().end());
  weight->dtype = *element;
  // The dtype says the rest: "plain", not "plain<bf16>".
  weight->format = "plain";
  if (op.getFormatAttr() && op.getFormatAttr().getScaleType())
    weight->format = attributeText(op.getFormatAttr());
  weight->layout =
      op.getLayoutAttr() ? attributeText(op.getLayoutAttr()) : "row_major";
  weight->segment = 0;
  weight->offset = placed.offset;
  weight->bytes = placed.bytes;
  weight->checksum = placed.checksum;
  manifest.weights.push_back(std::move(weight));
  return success();
}

void Builder::addSegment() {
  auto segment = std::make_unique<fb::SegmentT>();
  segment->device = "cpu";
  segment->bytes = plan.segmentBytes;
  segment->file = sideFile.str();
  manifest.segments.push_back(std::move(segment));
}

LogicalResult Builder::addVariant(DictionaryAttr facts) {
  auto variant = std::make_unique<fb::VariantT>();
  auto function = field<StringAttr>(facts, "function");
  auto isa = field<StringAttr>(facts, "isa");
  auto features = field<ArrayAttr>(facts, "features");
  auto scratch = field<StringAttr>(facts, "scratch");
  if (!function || !isa || !features || !scratch)
    return failure();
  FailureOr<uint32_t> ordinal = functionOrdinal(module.getLoc(), function);
  if (failed(ordinal))
    return failure();
  variant->function = *ordinal;
  auto device = facts.getAs<StringAttr>("device");
  variant->device = device ? device.str() : "cpu";
  variant->isa = isa.str();
  for (auto feature : features.getAsRange<StringAttr>())
    variant->features.push_back(feature.str());
  // Apart from its modalities a variant serves every batch of its function.
  variant->min_tokens = 1;
  variant->max_tokens = std::numeric_limits<uint64_t>::max();
  variant->modalities = manifest.functions[*ordinal]->modalities;
  if (auto modalities = facts.getAs<DenseI64ArrayAttr>("modalities"))
    variant->modalities.assign(modalities.asArrayRef().begin(),
                               modalities.asArrayRef().end());
  if (auto weights = facts.getAs<DenseI64ArrayAttr>("weights"))
    variant->weights.assign(weights.asArrayRef().begin(),
                            weights.asArrayRef().end());
  variant->scratch = scratch.str();
  // IR of other tools need not have the table.
  if (auto intervals = facts.getAs<IntegerAttr>("intervals"))
    variant->intervals = static_cast<uint32_t>(intervals.getInt());
  if (auto kernels = facts.getAs<ArrayAttr>("kernels"))
    for (auto kernel : kernels.getAsRange<DictionaryAttr>())
      if (failed(addKernel(kernel, *variant)))
        return failure();
  manifest.variants.push_back(std::move(variant));
  return success();
}

LogicalResult Builder::addKernel(DictionaryAttr facts, fb::VariantT &variant) {
  auto kernel = std::make_unique<fb::KernelT>();
  auto kind = field<StringAttr>(facts, "kind");
  auto interval = field<IntegerAttr>(facts, "interval");
  auto weights = field<DenseI64ArrayAttr>(facts, "weights");
  if (!kind || !interval || !weights)
    return failure();
  auto number = [&](llvm::StringRef name, int64_t otherwise = 0) {
    auto value = facts.getAs<IntegerAttr>(name);
    return value ? value.getInt() : otherwise;
  };
  kernel->kind = kind.str();
  kernel->interval = static_cast<uint32_t>(interval.getInt());
  kernel->layer = static_cast<int32_t>(number("layer", -1));
  kernel->weight = -1;
  kernel->weights = static_cast<uint32_t>(weights.size());
  for (int64_t ordinal : weights.asArrayRef()) {
    if (ordinal < 0 || ordinal >= int64_t(manifest.weights.size()))
      return module.emitError() << "expected a weight of the module in the "
                                   "record of a kernel, found ordinal "
                                << ordinal;
    if (kernel->weight < 0)
      kernel->weight = static_cast<int32_t>(ordinal);
    kernel->weight_bytes += manifest.weights[ordinal]->bytes;
  }
  kernel->weight_elements = number("elements");
  kernel->experts = static_cast<uint32_t>(number("experts"));
  kernel->token_rows = number("token_rows");
  kernel->result_rows = number("result_rows");
  kernel->key_elements = number("key_elements");
  variant.kernels.push_back(std::move(kernel));
  return success();
}

LogicalResult Builder::addRouter(DictionaryAttr facts) {
  auto router = std::make_unique<fb::RouterT>();
  auto layer = field<IntegerAttr>(facts, "layer");
  auto name = field<StringAttr>(facts, "name");
  auto experts = field<IntegerAttr>(facts, "experts");
  auto slots = field<IntegerAttr>(facts, "slots");
  auto guarantees = field<ArrayAttr>(facts, "guarantees");
  if (!layer || !name || !experts || !slots || !guarantees)
    return failure();
  router->layer = static_cast<int32_t>(layer.getInt());
  router->name = name.str();
  router->experts = static_cast<uint32_t>(experts.getInt());
  router->slots = static_cast<uint32_t>(slots.getInt());
  for (auto guarantee : guarantees.getAsRange<StringAttr>())
    router->guarantees.push_back(guarantee.str());
  router->weighs_any = facts.contains("weighs_any");
  if (auto first = facts.getAs<IntegerAttr>("first_expert"))
    router->first_expert = static_cast<uint32_t>(first.getInt());
  manifest.routers.push_back(std::move(router));
  return success();
}

std::unique_ptr<fb::ManifestT> buildManifest(ModuleOp module,
                                             const WeightPlan &plan,
                                             llvm::StringRef sideFile) {
  auto manifest = std::make_unique<fb::ManifestT>();
  if (failed(Builder(module, plan, sideFile, *manifest).build()))
    return nullptr;
  return manifest;
}

} // namespace moec
