//===- KernelEmitter.cpp - How a target provides kernels ------------------===//
#include "passes/target/KernelEmitter.h"

#include <mutex>

using namespace mlir;
using namespace moec::target;

int64_t KernelOperand::getRowElements() const {
  int64_t elements = 1;
  for (int64_t size : type.getShape().drop_front())
    elements *= size;
  return elements;
}

//===----------------------------------------------------------------------===//
// KernelModule
//===----------------------------------------------------------------------===//

KernelModule::KernelModule(ModuleOp module, const IsaLevel &level)
    : module(module), level(level) {}

LLVM::LLVMFuncOp KernelModule::createFunction(Location loc, StringRef name,
                                              LLVM::LLVMFunctionType type) {
  OpBuilder b = OpBuilder::atBlockEnd(module.getBody());
  auto func = LLVM::LLVMFuncOp::create(b, loc, name, type,
                                       LLVM::Linkage::Internal);
  func.setNoUnwindAttr(b.getUnitAttr());
  if (level.isDevice()) {
    // A call would cost registers and shared-memory pipelines.
    func.setAlwaysInlineAttr(b.getUnitAttr());
  } else {
    func.setTargetFeaturesAttr(
        LLVM::TargetFeaturesAttr::get(b.getContext(), level.features));
    // The features say it all: no more, whatever the object is compiled for.
    func.setTargetCpuAttr(b.getStringAttr("x86-64"));
    // Kernels are shared; copies in every step function would only cost time.
    func.setNoInlineAttr(b.getUnitAttr());
  }
  func.addEntryBlock(b);
  functions.push_back(func);
  return func;
}

LLVM::LLVMFuncOp
KernelModule::getHelper(Location loc, StringRef name,
                        LLVM::LLVMFunctionType type,
                        function_ref<void(CodeBuilder &, ValueRange)> build) {
  if (LLVM::LLVMFuncOp known = helpers.lookup(name))
    return known;
  LLVM::LLVMFuncOp func =
      createFunction(loc, (name + "__" + level.name).str(), type);
  helpers[name] = func;
  Block &entry = func.getBody().front();
  CodeBuilder b(loc, &entry);
  build(b, entry.getArguments());
  return func;
}

Value KernelModule::getConstant(CodeBuilder &b, DenseElementsAttr value) {
  LLVM::GlobalOp &global = constants[value];
  if (!global) {
    OpBuilder top = OpBuilder::atBlockBegin(module.getBody());
    auto flat = RankedTensorType::get({value.getNumElements()},
                                      value.getElementType());
    auto type = LLVM::LLVMArrayType::get(value.getElementType(),
                                         value.getNumElements());
    std::string name =
        ("moe_const_" + Twine(constants.size() - 1) + "__" + level.name).str();
    global = LLVM::GlobalOp::create(top, b.getLoc(), type, /*isConstant=*/true,
                                    LLVM::Linkage::Internal, name,
                                    value.reshape(flat), /*alignment=*/64);
  }
  return b.create<LLVM::AddressOfOp>(b.ptrType(), global.getSymName());
}

//===----------------------------------------------------------------------===//
// Registration
//===----------------------------------------------------------------------===//

KernelEmitter::~KernelEmitter() = default;

LogicalResult KernelEmitter::emit(const KernelRequest &request,
                                  const KernelArguments &, CodeBuilder &,
                                  KernelModule &) const {
  return request.op->emitOpError("target '")
         << getName() << "' has no kernels for processors";
}

FailureOr<SmallVector<DeviceLaunch>>
KernelEmitter::getLaunches(const KernelRequest &request) const {
  return request.op->emitOpError("target '")
         << getName() << "' has no kernels for devices";
}

SmallVector<DeviceLaunch> KernelEmitter::getSamplingLaunches() const {
  return {};
}

namespace {
/// Static initialisers of several libraries use it, in any order.
struct Registry {
  std::mutex mutex;
  SmallVector<const KernelEmitter *> emitters;

  static Registry &get() {
    static Registry registry;
    return registry;
  }
};
} // namespace

void moec::target::registerKernelEmitter(const KernelEmitter *emitter) {
  Registry &registry = Registry::get();
  std::lock_guard<std::mutex> lock(registry.mutex);
  registry.emitters.push_back(emitter);
}

const KernelEmitter *moec::target::lookupKernelEmitter(StringRef name) {
  Registry &registry = Registry::get();
  std::lock_guard<std::mutex> lock(registry.mutex);
  for (const KernelEmitter *emitter : registry.emitters)
    if (emitter->getName() == name)
      return emitter;
  return nullptr;
}

SmallVector<StringRef> moec::target::getKernelEmitterNames() {
  Registry &registry = Registry::get();
  std::lock_guard<std::mutex> lock(registry.mutex);
  SmallVector<StringRef> names;
  for (const KernelEmitter *emitter : registry.emitters)
    names.push_back(emitter->getName());
  return names;
}
