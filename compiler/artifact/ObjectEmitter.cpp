//===- ObjectEmitter.cpp - From LLVM dialect to object code ---------------===//

#include "compiler/artifact/ObjectEmitter.h"

#include "compiler/artifact/CodeGeneration.h"
#include "compiler/artifact/ManifestBuilder.h"
#include "compiler/artifact/ModelTables.h"

#include "mlir/Target/LLVMIR/Export.h"

using namespace moec;
using namespace mlir;

/// Declarations of our dialects and of step functions say nothing to LLVM.
static void eraseDeclarations(ModuleOp module) {
  for (Operation &op : llvm::make_early_inc_range(*module.getBody()))
    if (!isa<LLVM::LLVMDialect>(op.getDialect()) &&
        llvm::all_of(op.getRegions(),
                     [](Region &region) { return region.empty(); }))
      op.erase();
}

/// The functions of the variants, by the naming rule of phase `target`.
static FailureOr<std::vector<VariantFunctions>> findVariants(ModuleOp module) {
  std::vector<VariantFunctions> variants;
  auto records = module->getAttrOfType<ArrayAttr>("moex.variants");
  if (!records)
    return module.emitError("expected the attribute 'moex.variants' of a "
                            "module after phase 'target', found none");
  for (auto record : records.getAsRange<DictionaryAttr>()) {
    auto function = record.getAs<StringAttr>("function");
    auto isa = record.getAs<StringAttr>("isa");
    if (!function || !isa)
      return module.emitError()
             << "expected a function and a level, found " << record;
    // A variant for some modalities has code of its own.
    if (auto code = record.getAs<StringAttr>("code"))
      function = code;
    variants.push_back(
        {(function.getValue() + "_step__" + isa.getValue()).str(),
         (function.getValue() + "_scratch__" + isa.getValue()).str()});
  }
  return variants;
}

LogicalResult moec::emitCode(ModuleOp module, const ObjectContents &contents,
                             unsigned level, CodeKind kind,
                             llvm::SmallVectorImpl<char> &output) {
  FailureOr<std::vector<VariantFunctions>> variants = findVariants(module);
  if (failed(variants))
    return failure();
  std::string error;
  std::unique_ptr<llvm::TargetMachine> machine = createTargetMachine(
      targetTriple, /*cpu=*/"x86-64", /*features=*/"", level, error);
  if (!machine)
    return module.emitError() << error;
  FailureOr<std::vector<DeviceLevelCode>> devices =
      emitDeviceLevels(module, contents.device);
  if (failed(devices))
    return failure();
  if (kind == CodeKind::DeviceText) {
    if (devices->empty())
      return module.emitError("has no code for devices: expected a target "
                              "such as nvptx");
    for (const DeviceLevelCode &device : *devices)
      output.append(device.getText().begin(), device.getText().end());
    return success();
  }
  for (ModuleOp device : findDeviceModules(module))
    device.erase();

  eraseDeclarations(module);
  llvm::LLVMContext context;
  auto model = module->getAttrOfType<StringAttr>("moe.model");
  std::unique_ptr<llvm::Module> code = translateModuleToLLVMIR(
      module, context, model ? model.getValue() : "model");
  if (!code)
    return module.emitError("cannot translate the module to LLVM IR");
  code->setTargetTriple(machine->getTargetTriple());
  code->setDataLayout(machine->createDataLayout());
  if (llvm::Error failure =
          addModelTables(*code, contents, *variants, *devices))
    return module.emitError() << llvm::toString(std::move(failure));
  if (failed(optimise(module, *code, *machine, level)))
    return failure();

  llvm::raw_svector_ostream stream(output);
  if (kind == CodeKind::LlvmIr) {
    code->print(stream, nullptr);
    return success();
  }
  auto type = kind == CodeKind::Object ? llvm::CodeGenFileType::ObjectFile
                                       : llvm::CodeGenFileType::AssemblyFile;
  return writeMachineCode(module, *code, *machine, type, stream);
}
