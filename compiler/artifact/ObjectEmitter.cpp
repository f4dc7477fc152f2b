//===- ObjectEmitter.cpp - From LLVM dialect to object code ---------------===//

#include "compiler/artifact/ObjectEmitter.h"

#include "compiler/artifact/ManifestBuilder.h"
#include "compiler/artifact/ModelTables.h"

#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Verifier.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"

#include <mutex>

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

static std::unique_ptr<llvm::TargetMachine>
createTargetMachine(unsigned level, std::string &error) {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeX86AsmParser();
  });
  llvm::Triple triple(targetTriple);
  const llvm::Target *target =
      llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target)
    return nullptr;
  auto codegen = llvm::CodeGenOpt::getLevel(static_cast<int>(level));
  return std::unique_ptr<llvm::TargetMachine>(target->createTargetMachine(
      triple, /*CPU=*/"x86-64", /*Features=*/"", llvm::TargetOptions(),
      llvm::Reloc::PIC_, /*CM=*/std::nullopt,
      codegen.value_or(llvm::CodeGenOptLevel::Default)));
}

static void optimise(llvm::Module &module, llvm::TargetMachine &machine,
                     unsigned level) {
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager components;
  llvm::ModuleAnalysisManager modules;
  llvm::PassBuilder builder(&machine);
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);
  const llvm::OptimizationLevel levels[] = {
      llvm::OptimizationLevel::O0, llvm::OptimizationLevel::O1,
      llvm::OptimizationLevel::O2, llvm::OptimizationLevel::O3};
  llvm::ModulePassManager passes =
      level == 0 ? builder.buildO0DefaultPipeline(levels[0])
                 : builder.buildPerModuleDefaultPipeline(levels[level]);
  passes.run(module, modules);
}

static LogicalResult writeMachineCode(ModuleOp source, llvm::Module &module,
                                      llvm::TargetMachine &machine,
                                      CodeKind kind,
                                      llvm::raw_pwrite_stream &stream) {
  llvm::legacy::PassManager passes;
  auto type = kind == CodeKind::Object ? llvm::CodeGenFileType::ObjectFile
                                       : llvm::CodeGenFileType::AssemblyFile;
  if (machine.addPassesToEmitFile(passes, stream, nullptr, type))
    return source.emitError("the target cannot write this kind of file");
  passes.run(module);
  return success();
}

static LogicalResult verify(ModuleOp source, llvm::Module &module,
                            llvm::StringRef when) {
  std::string message;
  llvm::raw_string_ostream stream(message);
  if (llvm::verifyModule(module, &stream))
    return source.emitError() << "invalid LLVM IR " << when << ": " << message;
  return success();
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
  std::unique_ptr<llvm::TargetMachine> machine =
      createTargetMachine(level, error);
  if (!machine)
    return module.emitError() << error;

  eraseDeclarations(module);
  llvm::LLVMContext context;
  auto model = module->getAttrOfType<StringAttr>("moe.model");
  std::unique_ptr<llvm::Module> code = translateModuleToLLVMIR(
      module, context, model ? model.getValue() : "model");
  if (!code)
    return module.emitError("cannot translate the module to LLVM IR");
  code->setTargetTriple(machine->getTargetTriple());
  code->setDataLayout(machine->createDataLayout());
  if (llvm::Error failure = addModelTables(*code, contents, *variants))
    return module.emitError() << llvm::toString(std::move(failure));
  if (failed(verify(module, *code, "before optimisation")))
    return failure();
  optimise(*code, *machine, level);
  if (failed(verify(module, *code, "after optimisation")))
    return failure();

  llvm::raw_svector_ostream stream(output);
  if (kind == CodeKind::LlvmIr) {
    code->print(stream, nullptr);
    return success();
  }
  return writeMachineCode(module, *code, *machine, kind, stream);
}
