//===- Module.cpp - Compiled kernels --------------------------------------===//
#include "compiler/targets/nvptx/emulator/Module.h"
#include "compiler/targets/nvptx/emulator/DeviceMemory.h"
#include "compiler/targets/nvptx/emulator/KernelRewriter.h"
#include "compiler/targets/nvptx/emulator/Ops.h"
#include "compiler/targets/nvptx/emulator/Settings.h"
#include "compiler/targets/nvptx/emulator/SharedMemory.h"

#include "llvm/AsmParser/Parser.h"
#include "llvm/Bitcode/BitcodeReader.h"
#include "llvm/ExecutionEngine/Orc/AbsoluteSymbols.h"
#include "llvm/ExecutionEngine/Orc/ExecutionUtils.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/IR/Verifier.h"
#include "llvm/IRReader/IRReader.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"

using namespace moec;
using namespace moec::emu;
using namespace llvm;

namespace {

orc::JITTargetMachineBuilder getHost(std::string &problem) {
  static bool once = [] {
    InitializeNativeTarget();
    InitializeNativeTargetAsmPrinter();
    return true;
  }();
  (void)once;
  auto host = orc::JITTargetMachineBuilder::detectHost();
  if (!host) {
    problem = toString(host.takeError());
    return orc::JITTargetMachineBuilder(Triple());
  }
  // Conversions of these flush denormals, which those of the device do not.
  host->addFeatures({"-avx512bf16", "-avxneconvert"});
  host->setCodeGenOptLevel(CodeGenOptLevel::Less);
  return *host;
}

/// The kernels of `module` need at least this architecture: "sm_90a" or "".
StringRef getArchitecture(const llvm::Module &module) {
  for (const Function &function : module)
    if (function.getCallingConv() == CallingConv::PTX_Kernel)
      return function.getFnAttribute("target-cpu").getValueAsString();
  return "";
}

bool runsHere(StringRef architecture) {
  const Settings &settings = getSettings();
  unsigned ours = settings.smMajor * 10 + settings.smMinor, wanted = 0;
  if (!architecture.consume_front("sm_"))
    return true;
  bool isExact = architecture.consume_back("a");
  if (architecture.getAsInteger(10, wanted))
    return true;
  return isExact ? wanted == ours : wanted <= ours;
}

void optimise(llvm::Module &module, TargetMachine &machine) {
  LoopAnalysisManager loops;
  FunctionAnalysisManager functions;
  CGSCCAnalysisManager graph;
  ModuleAnalysisManager modules;
  PassBuilder builder(&machine);
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(graph);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, graph, modules);
  builder.buildPerModuleDefaultPipeline(OptimizationLevel::O1)
      .run(module, modules);
}

std::unique_ptr<llvm::Module> parse(const void *data, size_t size,
                                    LLVMContext &context,
                                    std::string &problem) {
  StringRef bytes(static_cast<const char *>(data), size);
  // The parser of text wants a NUL behind it.
  auto buffer = MemoryBuffer::getMemBufferCopy(bytes, "kernels");
  SMDiagnostic diagnostic;
  auto module = parseIR(buffer->getMemBufferRef(), diagnostic, context);
  if (!module) {
    raw_string_ostream stream(problem);
    diagnostic.print(nullptr, stream, /*ShowColors=*/false);
  }
  return module;
}

} // namespace

LoadedModule::~LoadedModule() {
  for (uint64_t address : addresses)
    DeviceMemory::get().removeVariable(address);
}

std::unique_ptr<LoadedModule> LoadedModule::load(const void *data, size_t size,
                                                 CUresult &code,
                                                 std::string &message) {
  code = CUDA_ERROR_INVALID_IMAGE;
  auto context = std::make_unique<LLVMContext>();
  auto module = parse(data, size, *context, message);
  if (!module)
    return nullptr;
  if (raw_string_ostream stream(message); verifyModule(*module, &stream))
    return nullptr;
  message.clear();
  if (StringRef architecture = getArchitecture(*module);
      !runsHere(architecture)) {
    code = CUDA_ERROR_NO_BINARY_FOR_GPU;
    const Settings &settings = getSettings();
    message = ("the kernels need " + architecture + ", the device is sm_" +
               Twine(settings.smMajor) + Twine(settings.smMinor))
                  .str();
    return nullptr;
  }
  if (!SharedMemory::get().getBase()) {
    message = "the host has no room for shared memory below 2 GiB";
    return nullptr;
  }
  orc::JITTargetMachineBuilder host = getHost(message);
  if (!message.empty())
    return nullptr;
  auto machine = host.createTargetMachine();
  if (!machine) {
    message = toString(machine.takeError());
    return nullptr;
  }

  auto loaded = std::make_unique<LoadedModule>();
  message = KernelRewriter(*module, *loaded, (*machine)->createDataLayout(),
                           (*machine)->getTargetTriple())
                .run();
  if (!message.empty()) {
    code = CUDA_ERROR_NOT_SUPPORTED;
    return nullptr;
  }
  if (raw_string_ostream stream(message); verifyModule(*module, &stream)) {
    message = "the emulator broke the kernels: " + message;
    return nullptr;
  }
  optimise(*module, **machine);

  auto fail = [&](Error error) {
    message = toString(std::move(error));
    return nullptr;
  };
  auto jit = orc::LLJITBuilder().setJITTargetMachineBuilder(host).create();
  if (!jit)
    return fail(jit.takeError());
  loaded->jit = std::move(*jit);
  orc::LLJIT &compiler = *loaded->jit;
  orc::SymbolMap symbols;
  for (auto [name, at] : getHostSymbols())
    symbols[compiler.mangleAndIntern(name)] = {orc::ExecutorAddr::fromPtr(at),
                                               JITSymbolFlags::Exported |
                                                   JITSymbolFlags::Absolute};
  if (Error error = compiler.getMainJITDylib().define(
          orc::absoluteSymbols(std::move(symbols))))
    return fail(std::move(error));
  if (Error error = compiler.addIRModule(
          orc::ThreadSafeModule(std::move(module), std::move(context))))
    return fail(std::move(error));
  for (auto &[name, kernel] : loaded->kernels) {
    auto address = compiler.lookup(getEntryName(name));
    if (!address)
      return fail(address.takeError());
    kernel.entry = address->toPtr<void (*)(char *, const uint64_t *)>();
  }
  for (const Variable &variable : loaded->variables) {
    auto address = compiler.lookup(variable.symbol);
    if (!address)
      return fail(address.takeError());
    loaded->addresses.push_back(address->getValue());
    DeviceMemory::get().addVariable(address->getValue(), variable.bytes,
                                    variable.isConstant, variable.name);
  }
  code = CUDA_SUCCESS;
  return loaded;
}

Kernel *LoadedModule::find(StringRef name) {
  auto it = kernels.find(name.str());
  return it == kernels.end() ? nullptr : &it->second;
}
