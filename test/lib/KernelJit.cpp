//===- KernelJit.cpp - Runs lowered step functions in tests ---------------===//
#include "test/lib/KernelJit.h"

#include "compiler/artifact/DeviceImages.h"
#include "dialects/moe/MoeDialect.h"
#include "dialects/moeq/MoeqDialect.h"
#include "dialects/moex/MoexDialect.h"
#include "dialects/nn/NnDialect.h"
#include "dialects/row/RowDialect.h"
#include "passes/target/Passes.h"

#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/ExecutionEngine/Orc/AbsoluteSymbols.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/IR/Module.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"

#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

using namespace mlir;
using namespace moec::test;

std::unique_ptr<MLIRContext> moec::test::createContext() {
  DialectRegistry registry;
  registry.insert<moe::MoeDialect, moeq::MoeqDialect, moex::MoexDialect,
                  nn::NnDialect, row::RowDialect, arith::ArithDialect,
                  func::FuncDialect, LLVM::LLVMDialect, math::MathDialect>();
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
  auto context =
      std::make_unique<MLIRContext>(registry, MLIRContext::Threading::DISABLED);
  context->loadAllAvailableDialects();
  return context;
}

bool moec::test::canRunLevel(const std::string &level) {
  if (level == "avx2")
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("f16c");
  if (level == "avx512")
    return canRunLevel("avx2") && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni") &&
           __builtin_cpu_supports("avx512bf16");
  return level == "generic";
}

KernelJit::KernelJit() = default;
KernelJit::~KernelJit() = default;

/// Optimises for the processors that each function names.
static void optimize(llvm::Module &module, llvm::TargetMachine &machine) {
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager graphs;
  llvm::ModuleAnalysisManager modules;
  llvm::PassBuilder builder(&machine);
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(graphs);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, graphs, modules);
  builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O2)
      .run(module, modules);
}

std::unique_ptr<KernelJit> KernelJit::compile(const std::string &text,
                                              const std::string &level,
                                              std::string &error) {
  std::unique_ptr<MLIRContext> context = createContext();
  ScopedDiagnosticHandler diagnostics(context.get(), [&](Diagnostic &d) {
    llvm::raw_string_ostream os(error);
    d.getLocation().print(os);
    os << ": " << d << "\n";
    return success();
  });
  OwningOpRef<ModuleOp> module =
      parseSourceString<ModuleOp>(text, context.get());
  if (!module)
    return nullptr;
  PassManager passes(context.get());
  target::LowerToLlvmOptions options;
  options.levels.push_back(level);
  bool isDevice = level.compare(0, 3, "sm_") == 0;
  if (isDevice)
    options.targets.push_back("nvptx");
  passes.addPass(target::createLowerToLlvm(options));
  if (failed(passes.run(*module)))
    return nullptr;
  std::unique_ptr<KernelJit> result(new KernelJit());
  result->level = level;
  if (isDevice) {
    DeviceOptions device;
    device.kernelIr = true;
    FailureOr<std::vector<DeviceLevelCode>> levels =
        emitDeviceLevels(*module, device);
    if (failed(levels))
      return nullptr;
    const DeviceLevelCode &code = levels->front();
    result->kernels = std::make_unique<JitKernels>();
    for (const DeviceKernel &kernel : code.kernels)
      result->kernels->kernels.push_back(
          {kernel.name, kernel.threads, kernel.sharedBytes});
    for (const DeviceImage &image : code.images)
      if (image.kind == MOE_IMAGE_LLVM_IR)
        result->kernels->ir = image.bytes;
    result->kernels->constants = code.constants;
  }
  // Declarations are for the rest of the compiler.
  for (Operation &op : llvm::make_early_inc_range(*module->getBody()))
    if (!isa<LLVM::LLVMDialect>(op.getDialect()))
      op.erase();
  auto llvmContext = std::make_unique<llvm::LLVMContext>();
  std::unique_ptr<llvm::Module> llvmModule =
      translateModuleToLLVMIR(*module, *llvmContext);
  if (!llvmModule)
    return nullptr;

  static std::once_flag once;
  std::call_once(once, [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
  });
  auto fail = [&](llvm::Error e) {
    error += llvm::toString(std::move(e));
    return nullptr;
  };
  auto machineBuilder = llvm::orc::JITTargetMachineBuilder::detectHost();
  if (!machineBuilder)
    return fail(machineBuilder.takeError());
  // The baseline; functions name what they need on top.
  machineBuilder->setCPU("x86-64");
  machineBuilder->getFeatures() = llvm::SubtargetFeatures();
  auto machine = machineBuilder->createTargetMachine();
  if (!machine)
    return fail(machine.takeError());
  llvmModule->setDataLayout((*machine)->createDataLayout());
  llvmModule->setTargetTriple((*machine)->getTargetTriple());
  optimize(*llvmModule, **machine);

  llvm::raw_string_ostream(result->ir) << *llvmModule;
  auto jit = llvm::orc::LLJITBuilder()
                 .setJITTargetMachineBuilder(*machineBuilder)
                 .setLinkProcessSymbolsByDefault(false)
                 .setPlatformSetUp(llvm::orc::setUpInactivePlatform)
                 .create();
  if (!jit)
    return fail(jit.takeError());
  llvm::orc::SymbolMap library;
  auto define = [&](const char *name, void *address) {
    library[(*jit)->mangleAndIntern(name)] = {
        llvm::orc::ExecutorAddr::fromPtr(address),
        llvm::JITSymbolFlags::Exported};
  };
  define("memcpy", reinterpret_cast<void *>(&std::memcpy));
  define("memmove", reinterpret_cast<void *>(&std::memmove));
  define("memset", reinterpret_cast<void *>(&std::memset));
  if (llvm::Error e = (*jit)->getMainJITDylib().define(
          llvm::orc::absoluteSymbols(std::move(library))))
    return fail(std::move(e));
  if (llvm::Error e = (*jit)->addIRModule(llvm::orc::ThreadSafeModule(
          std::move(llvmModule), std::move(llvmContext))))
    return fail(std::move(e));
  result->jit = std::move(*jit);
  return result;
}

void *KernelJit::lookup(const std::string &name) {
  auto symbol = jit->lookup(name);
  if (symbol)
    return symbol->toPtr<void *>();
  llvm::errs() << llvm::toString(symbol.takeError()) << "\n";
  return nullptr;
}

KernelJit::StepFunction KernelJit::getStep(const std::string &function) {
  return reinterpret_cast<StepFunction>(lookup(function + "_step__" + level));
}

KernelJit::ScratchFunction KernelJit::getScratch(const std::string &function) {
  return reinterpret_cast<ScratchFunction>(
      lookup(function + "_scratch__" + level));
}

//===----------------------------------------------------------------------===//
// Host
//===----------------------------------------------------------------------===//

namespace {
/// A team for one step.
struct Team {
  unsigned threads;
  std::mutex mutex;
  std::condition_variable changed;
  unsigned waiting = 0;
  uint64_t phase = 0;

  void wait() {
    std::unique_lock<std::mutex> lock(mutex);
    uint64_t before = phase;
    if (++waiting == threads) {
      waiting = 0;
      ++phase;
      changed.notify_all();
      return;
    }
    changed.wait(lock, [&] { return phase != before; });
  }
};
} // namespace

static int32_t runTeam(void *user, moe_region_fn region, void *context) {
  auto *team = static_cast<Team *>(user);
  auto body = [&](unsigned thread) {
    moe_worker_v1 worker{sizeof(worker), thread, team->threads, team};
    region(context, &worker);
  };
  std::vector<std::thread> others;
  for (unsigned thread = 1; thread < team->threads; ++thread)
    others.emplace_back(body, thread);
  body(0);
  for (std::thread &other : others)
    other.join();
  return 0;
}

int32_t KernelJit::run(const std::string &function, moe_step_v1 step,
                       unsigned threads) {
  Team team;
  team.threads = threads;
  moe_host_v1 host{};
  host.size = sizeof(host);
  host.abi_version = MOE_ABI_VERSION;
  host.user = &team;
  host.parallel = threads == 0 ? [](void *, moe_region_fn, void *) {
    return int32_t(7);
  } : runTeam;
  host.barrier = [](const moe_worker_v1 *worker) {
    static_cast<Team *>(worker->team)->wait();
  };
  step.size = sizeof(step);
  step.host = &host;
  StepFunction entry = getStep(function);
  return entry ? entry(&step) : -1;
}
