//===- DeviceImages.cpp - Kernels of devices as images --------------------===//

#include "compiler/artifact/DeviceImages.h"

#include "compiler/artifact/CodeGeneration.h"
#include "compiler/artifact/DevicePlaceholders.h"
#include "runtime/abi/moe_abi.h"

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Bitcode/BitcodeWriter.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"

using namespace moec;
using namespace mlir;
using llvm::StringRef;

static constexpr StringRef kTriple = "nvptx64-nvidia-cuda";

StringRef DeviceLevelCode::getText() const {
  for (const DeviceImage &image : images)
    if (image.kind == MOE_IMAGE_PTX)
      return image.bytes;
  return {};
}

std::vector<ModuleOp> moec::findDeviceModules(ModuleOp module) {
  std::vector<ModuleOp> found;
  for (auto nested : module.getOps<ModuleOp>())
    if (nested->hasAttr("moex.level"))
      found.push_back(nested);
  return found;
}

/// The attributes that phase `target` wrote.
static LogicalResult readFacts(ModuleOp module, DeviceLevelCode &level,
                               std::string &features) {
  auto facts = module->getAttrOfType<DictionaryAttr>("moex.level");
  auto kernels = module->getAttrOfType<ArrayAttr>("moex.kernels");
  auto constants = module->getAttrOfType<DenseI32ArrayAttr>("moex.constants");
  auto name = facts ? facts.getAs<StringAttr>("name") : StringAttr();
  auto major = facts ? facts.getAs<IntegerAttr>("major") : IntegerAttr();
  auto minor = facts ? facts.getAs<IntegerAttr>("minor") : IntegerAttr();
  auto exact = facts ? facts.getAs<BoolAttr>("exact") : BoolAttr();
  auto flags = facts ? facts.getAs<ArrayAttr>("features") : ArrayAttr();
  if (!name || !major || !minor || !exact || !flags || !kernels || !constants)
    return module.emitError("expected the attributes 'moex.level', "
                            "'moex.kernels' and 'moex.constants' of a level "
                            "after phase 'target'");
  level.name = name.str();
  if (auto sample = module->getAttrOfType<StringAttr>("moex.sample"))
    level.sample = sample.str();
  level.major = static_cast<uint32_t>(major.getInt());
  level.minor = static_cast<uint32_t>(minor.getInt());
  level.exact = exact.getValue();
  level.constants.assign(constants.asArrayRef().begin(),
                         constants.asArrayRef().end());
  for (auto flag : flags.getAsRange<StringAttr>())
    features += (features.empty() ? "" : ",") + flag.str();
  for (auto kernel : kernels.getAsRange<DictionaryAttr>()) {
    auto name = kernel.getAs<StringAttr>("name");
    auto threads = kernel.getAs<IntegerAttr>("threads");
    auto shared = kernel.getAs<IntegerAttr>("shared_bytes");
    if (!name || !threads || !shared)
      return module.emitError()
             << "expected name, threads and shared_bytes of a kernel, found "
             << kernel;
    level.kernels.push_back({name.str(),
                             static_cast<uint32_t>(threads.getInt()),
                             static_cast<uint32_t>(shared.getInt())});
  }
  return success();
}

/// Runs ptxas on the text; its messages are part of the error.
static FailureOr<std::string> assemble(ModuleOp module, StringRef ptxas,
                                       StringRef arch, StringRef text) {
  llvm::SmallString<128> input, output, log;
  auto create = [&](StringRef suffix, llvm::SmallString<128> &path) {
    return llvm::sys::fs::createTemporaryFile("moec-kernels", suffix, path);
  };
  llvm::scope_exit cleanup([&] {
    for (llvm::SmallString<128> *path : {&input, &output, &log})
      if (!path->empty())
        llvm::sys::fs::remove(*path);
  });
  std::error_code code = create("ptx", input);
  if (!code)
    code = create("cubin", output);
  if (!code)
    code = create("log", log);
  if (!code) {
    llvm::raw_fd_ostream stream(input, code);
    stream << text;
  }
  if (code)
    return module.emitError("cannot write a temporary file: ")
           << code.message();
  std::string archOption = ("-arch=" + arch).str();
  StringRef arguments[] = {ptxas, archOption, "-o", output, input};
  std::optional<StringRef> redirects[] = {std::nullopt, StringRef(log),
                                          StringRef(log)};
  std::string message;
  int status = llvm::sys::ExecuteAndWait(ptxas, arguments, std::nullopt,
                                         redirects, 0, 0, &message);
  auto read = [](StringRef path) {
    auto buffer = llvm::MemoryBuffer::getFile(path);
    return buffer ? (*buffer)->getBuffer().str() : std::string();
  };
  if (status != 0)
    return module.emitError("'") << ptxas << "' failed on the kernels of level "
                                 << arch << ": " << message << read(log);
  return read(output);
}

static FailureOr<DeviceLevelCode> emitLevel(ModuleOp module,
                                            const DeviceOptions &options) {
  DeviceLevelCode level;
  std::string features, error;
  if (failed(readFacts(module, level, features)))
    return failure();
  std::unique_ptr<llvm::TargetMachine> machine = createTargetMachine(
      kTriple, level.name, features, options.optLevel, error);
  if (!machine)
    return module.emitError() << error;
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> code =
      translateModuleToLLVMIR(module, context, level.name);
  if (!code)
    return module.emitError("cannot translate the kernels of level ")
           << level.name << " to LLVM IR";
  if (failed(optimise(module, *code, *machine, options.optLevel)))
    return failure();
  DeviceImage ir{MOE_IMAGE_LLVM_IR, {}};
  if (options.kernelIr) {
    llvm::raw_string_ostream stream(ir.bytes);
    llvm::WriteBitcodeToFile(*code, stream);
  }
  std::string unknown = replacePlaceholders(*code);
  if (!unknown.empty())
    return module.emitError("kernels of level ")
           << level.name << " call '" << unknown << "', which has no PTX";
  llvm::SmallVector<char, 0> text;
  llvm::raw_svector_ostream stream(text);
  if (failed(writeMachineCode(module, *code, *machine,
                              llvm::CodeGenFileType::AssemblyFile, stream)))
    return failure();
  level.images.push_back(
      {MOE_IMAGE_PTX, std::string(text.begin(), text.end())});
  if (!options.ptxas.empty()) {
    FailureOr<std::string> cubin =
        assemble(module, options.ptxas, level.name, level.getText());
    if (failed(cubin))
      return failure();
    level.images.push_back({MOE_IMAGE_CUBIN, std::move(*cubin)});
  }
  if (options.kernelIr)
    level.images.push_back(std::move(ir));
  return level;
}

FailureOr<std::vector<DeviceLevelCode>>
moec::emitDeviceLevels(ModuleOp module, const DeviceOptions &options) {
  std::vector<DeviceLevelCode> levels;
  for (ModuleOp nested : findDeviceModules(module)) {
    FailureOr<DeviceLevelCode> level = emitLevel(nested, options);
    if (failed(level))
      return failure();
    levels.push_back(std::move(*level));
  }
  return levels;
}
