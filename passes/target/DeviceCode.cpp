//===- DeviceCode.cpp - Kernels of a device level -------------------------===//
#include "passes/target/DeviceCode.h"

#include "passes/target/ArithmeticExpansion.h"
#include "passes/target/StepFunctions.h"
#include "runtime/abi/moe_abi.h"

#include <cstddef>

using namespace mlir;
using namespace moec;
using namespace moec::target;

static ModuleOp createModule(ModuleOp model, const IsaLevel &level) {
  OpBuilder b = OpBuilder::atBlockEnd(model.getBody());
  return ModuleOp::create(b, model.getLoc(),
                          ("moe_device__" + level.name).str());
}

DeviceCode::DeviceCode(ModuleOp model, const KernelEmitter &emitter,
                       const IsaLevel &level)
    : emitter(emitter), level(level), module(createModule(model, level)),
      functions(module, level) {}

/// The parameters of a kernel: the step on the device, the rows, and one
/// address per operand, of the weights of experts that of their ordinals; then
/// that of the operation's scratch, if it has any.
static KernelArguments
readArguments(CodeBuilder &b, const KernelRequest &request, Block &entry) {
  KernelArguments arguments;
  arguments.step = entry.getArgument(0);
  arguments.rows = entry.getArgument(1);
  for (auto [i, operand] : llvm::enumerate(request.operands)) {
    Value argument = entry.getArgument(2 + i);
    bool isExperts = operand.kind == KernelOperand::Experts;
    arguments.pointers.push_back(isExperts ? abi::getWeights(b, arguments.step)
                                           : argument);
    arguments.ordinals.push_back(isExperts ? argument : Value());
  }
  unsigned last = 2 + request.operands.size();
  if (last < entry.getNumArguments())
    arguments.scratch = entry.getArgument(last);
  return arguments;
}

FailureOr<DeviceCode::Launch>
DeviceCode::addKernel(Location loc, const DeviceLaunch &part, StringRef name,
                      size_t operands, Arguments readArguments) {
  MLIRContext *context = module.getContext();
  Builder attributes(context);
  auto ptr = LLVM::LLVMPointerType::get(context);
  SmallVector<Type> types = {ptr, IntegerType::get(context, 64)};
  types.append(operands, ptr);
  auto type =
      LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(context), types);
  std::string full = name.str();
  if (!part.part.empty())
    full += "_" + part.part;
  LLVM::LLVMFuncOp kernel = functions.createFunction(loc, full, type);
  kernel.setLinkage(LLVM::Linkage::External);
  kernel.setAlwaysInline(false);
  kernel.setCConv(LLVM::CConv::PTX_Kernel);
  // ptxas needs the size of a block to know how many registers there are.
  kernel.setPassthroughAttr(attributes.getArrayAttr(
      {attributes.getStrArrayAttr(
           {"nvvm.maxntid", std::to_string(part.threads)}),
       attributes.getStrArrayAttr({"nvvm.minctasm", "1"})}));
  Block &entry = kernel.getBody().front();
  CodeBuilder b(loc, &entry);
  KernelArguments arguments = readArguments(b, entry);
  if (failed(part.emit(arguments, b, functions)))
    return failure();
  b.create<LLVM::ReturnOp>(ValueRange());
  NamedAttrList facts;
  facts.set("name", attributes.getStringAttr(full));
  facts.set("threads", attributes.getI64IntegerAttr(part.threads));
  facts.set("shared_bytes", attributes.getI64IntegerAttr(part.sharedBytes));
  auto grid = part.stepGrid;
  if (!grid)
    grid = [rowGrid = part.grid](CodeBuilder &host, const StepSizes &sizes) {
      return rowGrid(host, sizes.rows);
    };
  auto ordinal = static_cast<unsigned>(kernels.size());
  kernels.push_back(facts.getDictionary(context));
  return Launch{ordinal, part.sharedBytes, grid};
}

FailureOr<DeviceCode::Launches>
DeviceCode::addKernels(const KernelRequest &request, StringRef name) {
  FailureOr<SmallVector<DeviceLaunch>> parts = emitter.getLaunches(request);
  if (failed(parts))
    return failure();
  Launches result;
  for (const DeviceLaunch &part : *parts)
    result.scratchBytes = std::max(
        result.scratchBytes,
        static_cast<int64_t>(llvm::alignTo(part.scratchBytes, MOE_ALIGNMENT)));
  size_t pointers = request.operands.size() + (result.scratchBytes ? 1 : 0);
  for (const DeviceLaunch &part : *parts) {
    FailureOr<Launch> launch = addKernel(
        request.op->getLoc(), part, name, pointers,
        [&](CodeBuilder &b, Block &entry) {
          return readArguments(b, request, entry);
        });
    if (failed(launch))
      return failure();
    result.launches.push_back(*launch);
  }
  return result;
}

FailureOr<SmallVector<DeviceCode::Launch>>
DeviceCode::addSampling(Location loc, StringRef function) {
  SmallVector<Launch> launches;
  for (const DeviceLaunch &part : emitter.getSamplingLaunches()) {
    FailureOr<Launch> launch =
        addKernel(loc, part, ("moe_sampling__" + level.name).str(),
                  /*operands=*/0, [](CodeBuilder &, Block &entry) {
                    KernelArguments arguments;
                    arguments.step = entry.getArgument(0);
                    arguments.rows = entry.getArgument(1);
                    return arguments;
                  });
    if (failed(launch))
      return failure();
    launches.push_back(*launch);
  }
  if (!launches.empty())
    module->setAttr("moex.sample",
                    StringAttr::get(module.getContext(), function));
  return launches;
}

int64_t DeviceCode::addConstants(ArrayRef<int32_t> values) {
  auto [known, isNew] = knownConstants.try_emplace(
      std::vector<int32_t>(values.begin(), values.end()),
      constants.size() * sizeof(int32_t));
  if (isNew) {
    constants.insert(constants.end(), values.begin(), values.end());
    constants.resize(
        llvm::alignTo(constants.size(), MOE_ALIGNMENT / sizeof(int32_t)));
  }
  return known->second;
}

LogicalResult DeviceCode::finish() {
  for (LLVM::LLVMFuncOp func : functions.getFunctions())
    if (failed(expandArithmetic(func, level)))
      return failure();
  Builder b(module.getContext());
  NamedAttrList facts;
  facts.set("name", b.getStringAttr(level.name));
  facts.set("major", b.getI64IntegerAttr(level.major));
  facts.set("minor", b.getI64IntegerAttr(level.minor));
  facts.set("exact", b.getBoolAttr(level.exact));
  facts.set("features", b.getStrArrayAttr(level.features));
  module->setAttr("moex.level", facts.getDictionary(b.getContext()));
  module->setAttr("moex.kernels", b.getArrayAttr(kernels));
  module->setAttr("moex.constants", b.getDenseI32ArrayAttr(constants));
  return success();
}

LaunchBuilder::LaunchBuilder(CodeBuilder &b, Value step, int64_t most)
    : b(b), step(step), values(b.stack((1 + most) * sizeof(uint64_t))),
      record(b.stack(sizeof(moe_launch_v1))), status(b.i32(0)) {}

void LaunchBuilder::launch(const DeviceCode::Launch &launch, Value rows,
                           ValueRange operands) {
  Type i32 = b.getI32Type();
  b.store(rows, values);
  for (auto [i, operand] : llvm::enumerate(operands)) {
    Value word = b.create<LLVM::PtrToIntOp>(b.getI64Type(), operand);
    b.store(word, b.field(values, (1 + i) * sizeof(uint64_t)));
  }
  auto set = [&](Value value, size_t offset) {
    b.store(value, b.field(record, offset));
  };
  set(b.i64(sizeof(moe_launch_v1)), offsetof(moe_launch_v1, size));
  set(b.i32(launch.kernel), offsetof(moe_launch_v1, kernel));
  set(b.i32(launch.sharedBytes), offsetof(moe_launch_v1, shared_bytes));
  StepSizes sizes = {rows, Extents::ofStep(b, step).getSequences(),
                     abi::getPagesPerSequence(b, abi::getBatch(b, step))};
  for (auto [i, blocks] : llvm::enumerate(launch.grid(b, sizes)))
    set(b.createOrFold<arith::TruncIOp>(i32, blocks),
        offsetof(moe_launch_v1, grid) + i * sizeof(uint32_t));
  set(b.i32(1 + operands.size()), offsetof(moe_launch_v1, num_args));
  set(values, offsetof(moe_launch_v1, args));
  Value start =
      b.load(b.field(abi::getHost(b, step), offsetof(moe_host_v1, launch)),
             b.ptrType());
  auto type = LLVM::LLVMFunctionType::get(i32, {b.ptrType(), b.ptrType()});
  Value result =
      b.create<LLVM::CallOp>(type, ValueRange{start, step, record}).getResult();
  status = b.create<arith::OrIOp>(status, result);
}
