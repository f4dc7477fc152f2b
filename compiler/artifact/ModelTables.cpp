//===- ModelTables.cpp - The tables of moe_abi.h in LLVM IR ---------------===//

#include "compiler/artifact/ModelTables.h"

#include "compiler/artifact/ElfPatcher.h"
#include "runtime/abi/moe_abi.h"

#include "llvm/IR/Constants.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/Transforms/Utils/ModuleUtils.h"

#include <cstddef>

using namespace moec;
using namespace llvm;

namespace {
/// A function of the host table that generated code calls.
struct HostImport {
  uint64_t offset;
  unsigned since; ///< ABI version that has it
};

constexpr HostImport hostImports[] = {
#define MOE_IMPORT(FIELD, SINCE) {offsetof(moe_host_v1, FIELD), SINCE},
#include "runtime/abi/moe_imports.def"
#undef MOE_IMPORT
};

/// Builds constants laid out as the structs of moe_abi.h, field by field.
class TableBuilder {
public:
  explicit TableBuilder(Module &module)
      : module(module), context(module.getContext()),
        int32(Type::getInt32Ty(context)), int64(Type::getInt64Ty(context)),
        pointer(PointerType::getUnqual(context)) {}

  GlobalVariable *addManifest(StringRef bytes);
  Constant *addSegments(const ObjectContents &contents);
  Expected<Constant *> addVariants(ArrayRef<VariantFunctions> variants);
  /// moe_device_level_v1 of all levels; null where there are none.
  Expected<Constant *> addDevices(ArrayRef<DeviceLevelCode> devices);
  GlobalVariable *addModel(GlobalVariable *manifest, uint64_t manifestBytes,
                           Constant *variants, uint32_t numVariants,
                           Constant *segments, Constant *devices,
                           uint64_t numDevices);
  Function *addQuery(GlobalVariable *model, bool hasDevices);

private:
  Constant *i32(uint32_t value) { return ConstantInt::get(int32, value); }
  Constant *i64(uint64_t value) { return ConstantInt::get(int64, value); }
  Constant *null() { return ConstantPointerNull::get(pointer); }
  /// A constant of internal linkage.
  GlobalVariable *define(Constant *value, const Twine &name) {
    auto *variable =
        new GlobalVariable(module, value->getType(), /*isConstant=*/true,
                           GlobalValue::InternalLinkage, value, name);
    variable->setAlignment(Align(MOE_ALIGNMENT));
    return variable;
  }
  Constant *addReservedWeights(uint64_t bytes);
  Constant *defineText(StringRef text, bool addNull, const Twine &name) {
    return define(ConstantDataArray::getString(context, text, addNull), name);
  }
  /// An array of structs of one type.
  Constant *defineRows(ArrayRef<Constant *> rows, const Twine &name) {
    if (rows.empty())
      return null();
    return define(ConstantArray::get(
                      ArrayType::get(rows.front()->getType(), rows.size()),
                      rows),
                  name);
  }

  Module &module;
  LLVMContext &context;
  IntegerType *int32;
  IntegerType *int64;
  PointerType *pointer;
};
} // namespace

GlobalVariable *TableBuilder::addManifest(StringRef bytes) {
  GlobalVariable *manifest =
      define(ConstantDataArray::getString(context, bytes, /*AddNull=*/false),
             "moe.manifest");
  manifest->setSection(MOE_MANIFEST_SECTION);
  return manifest;
}

/// Addresses for the weights: zero-initialised, so that they take no room in
/// the object, and of the large code model, which puts them into a section of
/// their own behind everything else and allows any number of them.
Constant *TableBuilder::addReservedWeights(uint64_t bytes) {
  Type *type = ArrayType::get(Type::getInt8Ty(context), bytes);
  auto *weights = new GlobalVariable(
      module, type, /*isConstant=*/false, GlobalValue::InternalLinkage,
      ConstantAggregateZero::get(type), "moe.weights");
  weights->setCodeModel(CodeModel::Large);
  weights->setAlignment(Align(elfPageBytes));
  // What will be there is not what the initialiser says.
  weights->setExternallyInitialized(true);
  return weights;
}

Constant *TableBuilder::addSegments(const ObjectContents &contents) {
  bool mapped = contents.embedded && contents.segmentBytes != 0;
  Constant *data = mapped ? addReservedWeights(contents.segmentBytes) : null();
  return define(ConstantStruct::getAnon({i64(sizeof(moe_segment_v1)),
                                         i64(contents.segmentBytes), data}),
                "moe.segments");
}

Expected<Constant *>
TableBuilder::addVariants(ArrayRef<VariantFunctions> variants) {
  SmallVector<Constant *> rows;
  for (const VariantFunctions &variant : variants) {
    Function *step = module.getFunction(variant.step);
    Function *scratch = module.getFunction(variant.scratch);
    if (!step || step->isDeclaration() || !scratch || scratch->isDeclaration())
      return createStringError("expected the functions '" + variant.step +
                               "' and '" + variant.scratch +
                               "' of a variant, found no code");
    rows.push_back(
        ConstantStruct::getAnon({i64(sizeof(moe_variant_v1)), scratch, step}));
  }
  if (rows.empty())
    return createStringError("expected at least one variant, found none");
  return defineRows(rows, "moe.variants");
}

Expected<Constant *>
TableBuilder::addDevices(ArrayRef<DeviceLevelCode> devices) {
  SmallVector<Constant *> levels;
  for (const DeviceLevelCode &device : devices) {
    SmallVector<Constant *> kernels, images;
    for (const DeviceKernel &kernel : device.kernels)
      kernels.push_back(ConstantStruct::getAnon(
          {i64(sizeof(moe_kernel_v1)),
           defineText(kernel.name, /*addNull=*/true, "moe.kernel"),
           i32(kernel.threads), i32(kernel.sharedBytes)}));
    for (const DeviceImage &image : device.images) {
      // Drivers read PTX as a string.
      bool isText = image.kind == MOE_IMAGE_PTX;
      images.push_back(ConstantStruct::getAnon(
          {i64(sizeof(moe_device_image_v1)), i32(image.kind), i32(0),
           i64(image.bytes.size() + isText),
           defineText(image.bytes, isText, "moe.image")}));
    }
    StringRef constants(
        reinterpret_cast<const char *>(device.constants.data()),
        device.constants.size() * sizeof(int32_t));
    Constant *sample = null();
    if (!device.sample.empty()) {
      Function *function = module.getFunction(device.sample);
      if (!function || function->isDeclaration())
        return createStringError("expected the function '" + device.sample +
                                 "' of a level, found no code");
      sample = function;
    }
    levels.push_back(ConstantStruct::getAnon(
        {i64(sizeof(moe_device_level_v1)),
         defineText(device.name, /*addNull=*/true, "moe.level"),
         i32(device.major), i32(device.minor), i32(device.exact),
         i32(kernels.size()), i32(images.size()), i32(0),
         defineRows(kernels, "moe.kernels"), defineRows(images, "moe.images"),
         constants.empty() ? null()
                           : defineText(constants, false, "moe.constants"),
         i64(constants.size()), sample}));
  }
  return defineRows(levels, "moe.levels");
}

GlobalVariable *TableBuilder::addModel(GlobalVariable *manifest,
                                       uint64_t manifestBytes,
                                       Constant *variants, uint32_t numVariants,
                                       Constant *segments, Constant *devices,
                                       uint64_t numDevices) {
  return define(
      ConstantStruct::getAnon({i64(sizeof(moe_model_v1)), i32(MOE_ABI_VERSION),
                               i32(numVariants), i32(/*num_segments=*/1),
                               i32(/*reserved=*/0), manifest,
                               i64(manifestBytes), variants, segments,
                               i64(numDevices), devices}),
      "moe.model");
}

/// moe_model_query_v1(max_abi, host): the model table, or null where the host
/// is older than this ABI or lacks a function.
Function *TableBuilder::addQuery(GlobalVariable *model, bool hasDevices) {
  auto *type = FunctionType::get(pointer, {int32, pointer}, /*isVarArg=*/false);
  auto *query = Function::Create(type, GlobalValue::ExternalLinkage,
                                 MOE_MODEL_QUERY_SYMBOL, module);
  Value *host = query->getArg(1);
  auto *refuse = BasicBlock::Create(context, "refuse", query);
  ReturnInst::Create(context, null(), refuse);
  IRBuilder<> builder(BasicBlock::Create(context, "entry", query, refuse));
  auto require = [&](Value *condition) {
    auto *next = BasicBlock::Create(context, "next", query, refuse);
    builder.CreateCondBr(condition, next, refuse);
    builder.SetInsertPoint(next);
  };
  require(builder.CreateICmpUGE(query->getArg(0), i32(MOE_ABI_VERSION)));
  require(builder.CreateIsNotNull(host));
  Value *hostBytes = builder.CreateLoad(int64, host);
  SmallVector<HostImport> imports(std::begin(hostImports),
                                  std::end(hostImports));
  if (hasDevices)
    imports.push_back({offsetof(moe_host_v1, launch), 1});
  for (const HostImport &import : imports) {
    if (import.since > MOE_ABI_VERSION)
      continue;
    uint64_t end = import.offset + sizeof(void *);
    require(builder.CreateICmpUGE(hostBytes, i64(end)));
    Value *field = builder.CreateConstInBoundsGEP1_64(Type::getInt8Ty(context),
                                                      host, import.offset);
    require(builder.CreateIsNotNull(builder.CreateLoad(pointer, field)));
  }
  builder.CreateRet(model);
  return query;
}

/// Steps of several sessions run at once, and the weights must be the only
/// writable-looking addresses (ElfPatcher::mapWeights).
static Error checkGlobals(const Module &module) {
  for (const GlobalVariable &variable : module.globals())
    if (!variable.isConstant())
      return createStringError("expected generated code without variables of "
                               "its own, found '" +
                               variable.getName() + "'");
  return Error::success();
}

Error moec::addModelTables(Module &module, const ObjectContents &contents,
                           ArrayRef<VariantFunctions> variants,
                           ArrayRef<DeviceLevelCode> devices) {
  if (Error error = checkGlobals(module))
    return error;
  TableBuilder builder(module);
  Expected<Constant *> variantTable = builder.addVariants(variants);
  if (!variantTable)
    return variantTable.takeError();
  Expected<Constant *> deviceTable = builder.addDevices(devices);
  if (!deviceTable)
    return deviceTable.takeError();
  GlobalVariable *model = builder.addModel(
      builder.addManifest(contents.manifest), contents.manifest.size(),
      *variantTable, static_cast<uint32_t>(variants.size()),
      builder.addSegments(contents), *deviceTable,
      devices.size());
  Function *query = builder.addQuery(model, !devices.empty());
  // The optimiser may then drop, inline and specialise all the rest.
  for (GlobalValue &value : module.global_values())
    if (&value != query && !value.isDeclaration())
      value.setLinkage(GlobalValue::InternalLinkage);
  return Error::success();
}
