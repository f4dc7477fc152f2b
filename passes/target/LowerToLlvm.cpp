//===- LowerToLlvm.cpp - Step functions to LLVM dialect -------------------===//
#include "passes/target/ArithmeticExpansion.h"
#include "passes/target/DeviceCode.h"
#include "passes/target/KernelEmitter.h"
#include "passes/target/KernelTable.h"
#include "passes/target/Passes.h"
#include "passes/target/StepFunctions.h"

#include "dialects/moeq/MoeqDialect.h"
#include "dialects/moex/MoexDialect.h"
#include "runtime/abi/moe_abi.h"

#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/ReconcileUnrealizedCasts/ReconcileUnrealizedCasts.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Conversion/UBToLLVM/UBToLLVM.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVMPass.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/xxhash.h"

#include <cstddef>
#include <set>

namespace moec::target {
#define GEN_PASS_DEF_LOWERTOLLVM
#include "passes/target/Passes.h.inc"
} // namespace moec::target

using namespace mlir;
using namespace moec;
using namespace moec::target;

namespace {

//===----------------------------------------------------------------------===//
// Structure of a kernel operation
//===----------------------------------------------------------------------===//

/// Writes all that distinguishes one kernel from another: the attributes, types
/// and bodies of its operation, but no symbols and no row counts.
class StructurePrinter {
public:
  explicit StructurePrinter(raw_ostream &os) : os(os) {}

  void print(const KernelRequest &request) {
    os << request.op->getName();
    printAttributes(request.op);
    for (const KernelOperand &operand : request.operands) {
      os << " " << static_cast<int>(operand.kind) << ":" << operand.type;
      if (operand.layout)
        os << "/" << operand.layout;
      if (operand.format)
        os << "/" << operand.format;
    }
    // Whether two operands are one memory matters to a kernel that reads after
    // it writes.
    for (Value operand : request.op->getOperands())
      os << " " << number(operand);
    // As it does of states.
    if (Attribute keys = request.op->getAttr("key_state"))
      os << (keys == request.op->getAttr("value_state") ? " one state" : "");
    for (Region &region : request.op->getRegions())
      printRegion(region);
  }

private:
  static bool isIgnored(Operation *op, StringRef name) {
    return isa<moex::MoexDialect>(op->getDialect()) &&
           llvm::is_contained({"rows", "state", "key_state", "value_state"},
                              name);
  }

  void printAttributes(Operation *op) {
    os << "{";
    for (NamedAttribute attribute : op->getAttrDictionary())
      if (!isIgnored(op, attribute.getName()))
        os << attribute.getName().getValue() << "=" << attribute.getValue()
           << ";";
    os << "}";
  }

  void printRegion(Region &region) {
    os << "(";
    for (Block &block : region) {
      for (BlockArgument argument : block.getArguments())
        os << number(argument) << ":" << argument.getType() << ",";
      for (Operation &op : block) {
        os << "\n" << op.getName();
        printAttributes(&op);
        for (Value operand : op.getOperands())
          os << " " << number(operand);
        for (Value result : op.getResults())
          os << " =" << number(result) << ":" << result.getType();
        for (Region &nested : op.getRegions())
          printRegion(nested);
      }
    }
    os << ")";
  }

  size_t number(Value value) {
    return numbers.try_emplace(value, numbers.size()).first->second;
  }

  raw_ostream &os;
  DenseMap<Value, size_t> numbers;
};

//===----------------------------------------------------------------------===//
// One level
//===----------------------------------------------------------------------===//

/// Lowers the step functions of a module for one level.
class LevelLowering {
public:
  LevelLowering(ModuleOp module, const Declarations &declarations,
                const KernelEmitter &emitter, const IsaLevel &level)
      : declarations(declarations), emitter(emitter), level(level),
        hostLevel(getHostLevel(level)), functions(module, hostLevel),
        table(declarations, emitter.getName()) {
    if (level.isDevice())
      device.emplace(module, emitter, level);
  }

  LogicalResult lower(func::FuncOp step);
  /// Builds what chooses tokens, on devices.
  LogicalResult lowerSampling(ModuleOp module);
  LogicalResult expand() {
    for (LLVM::LLVMFuncOp func : functions.getFunctions())
      if (failed(expandArithmetic(func, hostLevel)))
        return failure();
    return device ? device->finish() : success();
  }

  /// Ordinals of the weights that the step function lowered last may read.
  SmallVector<int64_t> takeUsedWeights() {
    SmallVector<int64_t> ordinals(usedWeights.begin(), usedWeights.end());
    llvm::sort(ordinals);
    usedWeights.clear();
    return ordinals;
  }

  /// Scratch of the step function lowered last: its buffers', and behind them
  /// that of device kernels.
  AffineMap getScratch() const { return scratch; }

  /// The kernels of the step function lowered last.
  KernelTable takeKernelTable() {
    return std::exchange(table,
                         KernelTable(declarations, emitter.getName()));
  }

  unsigned numKernels = 0, numShared = 0;

private:
  /// The memory of a value of the region.
  struct Memory {
    KernelOperand operand;
    Value pointer;
    Value ordinals;
  };

  /// A function, and how often it waits for all participants; nothing where
  /// that depends on the batch.
  struct SharedKernel {
    LLVM::LLVMFuncOp function;
    std::optional<unsigned> barriers;
  };

  /// The level of the functions that the host calls: of a device, any
  /// processor's.
  static IsaLevel getHostLevel(const IsaLevel &level) {
    if (!level.isDevice())
      return level;
    IsaLevel host;
    host.name = level.name;
    host.features = {"+sse2"};
    return host;
  }

  LogicalResult lowerBody(moex::ParallelOp parallel, CodeBuilder &b, Value step,
                          Value worker);
  LLVM::LLVMFuncOp createHostFunction(func::FuncOp step, StringRef suffix,
                                      Type result, ArrayRef<Type> arguments);
  LogicalResult lowerToTeam(func::FuncOp step, moex::ParallelOp parallel);
  LogicalResult lowerToLaunches(func::FuncOp step, moex::ParallelOp parallel);
  void returnStatus(CodeBuilder &b);
  FailureOr<Memory> lowerMemory(Operation *op, CodeBuilder &b, Value step,
                                Extents &extents);
  FailureOr<KernelOperand> describeWeight(Operation *op, StringRef name,
                                          MemRefType type);
  FailureOr<Memory> lowerState(Operation *op, FlatSymbolRefAttr symbol,
                               CodeBuilder &b, Value step);
  LogicalResult lowerKernel(Operation *op, CodeBuilder &b, Value step,
                            Value worker, Extents &extents);
  FailureOr<SharedKernel> getKernel(const KernelRequest &request);
  LogicalResult launchKernels(const KernelRequest &request, CodeBuilder &b,
                              Value step, Extents &extents, Value rows,
                              ValueRange operands);
  FailureOr<std::string> getName(const KernelRequest &request,
                                 StringRef structure);

  const Declarations &declarations;
  const KernelEmitter &emitter;
  const IsaLevel &level;
  const IsaLevel hostLevel;
  KernelModule functions;
  /// Of a device level; the functions are then its host code.
  std::optional<DeviceCode> device;
  llvm::StringMap<DeviceCode::Launches> launches;
  /// Of the present step function; `kernelScratch` is what kernels need of
  /// scratch, from the end of the buffers on.
  std::optional<LaunchBuilder> launcher;
  AffineMap scratch;
  int64_t kernelScratch = 0;
  KernelTable table;
  llvm::StringMap<SharedKernel> kernels;
  llvm::StringMap<unsigned> kernelNames;
  DenseMap<Value, Memory> memory;
  llvm::DenseSet<int64_t> usedWeights;
};

} // namespace

LogicalResult LevelLowering::lower(func::FuncOp step) {
  MLIRContext *context = step.getContext();
  auto bytes = step->getAttrOfType<AffineMapAttr>("moex.scratch");
  if (!bytes)
    return step.emitOpError("has no 'moex.scratch': expected the form after "
                            "phase schedule");
  AffineMap map = bytes.getValue();
  if (map.getNumDims() != moex::kNumExtents || map.getNumSymbols() != 0 ||
      map.getNumResults() != 1)
    return step.emitOpError("expected 'moex.scratch' to map 11 extents to one "
                            "number, found ")
           << bytes;
  Block &block = step.getBody().front();
  auto parallel = dyn_cast<moex::ParallelOp>(block.front());
  if (!step.getBody().hasOneBlock() || !parallel ||
      !llvm::hasNItems(block, 2) || step.getNumArguments() != 0 ||
      step.getNumResults() != 0)
    return step.emitOpError("expected one moex.parallel and a return: the form "
                            "after phase schedule");

  scratch = map;
  kernelScratch = 0;
  // plan-arena makes it a multiple.
  if (device && !map.getResult(0).isMultipleOf(MOE_ALIGNMENT))
    scratch = AffineMap::get(map.getNumDims(), 0,
                             map.getResult(0).ceilDiv(MOE_ALIGNMENT) *
                                 MOE_ALIGNMENT);
  if (failed(device ? lowerToLaunches(step, parallel)
                    : lowerToTeam(step, parallel)))
    return failure();
  scratch = kernelScratch
                ? AffineMap::get(map.getNumDims(), 0,
                                 scratch.getResult(0) + kernelScratch)
                : map;
  LLVM::LLVMFuncOp size =
      createHostFunction(step, "scratch", IntegerType::get(context, 64),
                         {LLVM::LLVMPointerType::get(context)});
  size.setLinkage(LLVM::Linkage::External);
  buildScratchFunction(size, scratch);
  return success();
}

LLVM::LLVMFuncOp LevelLowering::createHostFunction(func::FuncOp step,
                                                   StringRef suffix,
                                                   Type result,
                                                   ArrayRef<Type> arguments) {
  std::string name =
      (step.getSymName() + "_" + suffix + "__" + level.name).str();
  return functions.createFunction(
      step.getLoc(), name, LLVM::LLVMFunctionType::get(result, arguments));
}

/// On a processor: every participant of a team runs all kernels.
LogicalResult LevelLowering::lowerToTeam(func::FuncOp step,
                                         moex::ParallelOp parallel) {
  MLIRContext *context = step.getContext();
  auto ptr = LLVM::LLVMPointerType::get(context);
  LLVM::LLVMFuncOp body = createHostFunction(
      step, "body", LLVM::LLVMVoidType::get(context), {ptr, ptr});
  Block &entry = body.getBody().front();
  CodeBuilder b(parallel.getLoc(), &entry);
  if (failed(lowerBody(parallel, b, entry.getArgument(0),
                       entry.getArgument(1))))
    return failure();
  b.create<LLVM::ReturnOp>(ValueRange());
  LLVM::LLVMFuncOp function = createHostFunction(
      step, "step", IntegerType::get(context, 32), {ptr});
  function.setLinkage(LLVM::Linkage::External);
  buildStepFunction(function, body);
  return success();
}

/// On a device: the host starts one kernel after the other. It refuses all after
/// one that failed, so their results need not be looked at one by one.
LogicalResult LevelLowering::lowerToLaunches(func::FuncOp step,
                                             moex::ParallelOp parallel) {
  MLIRContext *context = step.getContext();
  LLVM::LLVMFuncOp function =
      createHostFunction(step, "step", IntegerType::get(context, 32),
                         {LLVM::LLVMPointerType::get(context)});
  function.setLinkage(LLVM::Linkage::External);
  Block &entry = function.getBody().front();
  CodeBuilder b(parallel.getLoc(), &entry);
  // Operands, the states that attributes name, and scratch.
  unsigned most = 0;
  for (Operation &op : parallel.getBody().front())
    most = std::max(most, op.getNumOperands() + 3);
  launcher.emplace(b, entry.getArgument(0), most);
  if (mlir::failed(lowerBody(parallel, b, entry.getArgument(0), Value())))
    return failure();
  returnStatus(b);
  return success();
}

void LevelLowering::returnStatus(CodeBuilder &b) {
  Value failed = b.compare(arith::CmpIPredicate::ne,
                           launcher->getStatus(), b.i32(0));
  b.create<LLVM::ReturnOp>(b.select(failed, b.i32(MOE_STEP_LAUNCH_FAILED),
                                    b.i32(MOE_STEP_OK)));
}

LogicalResult LevelLowering::lowerSampling(ModuleOp module) {
  if (!device)
    return success();
  std::string name = ("moe_sample__" + level.name).str();
  FailureOr<SmallVector<DeviceCode::Launch>> added =
      device->addSampling(module.getLoc(), name);
  if (mlir::failed(added) || added->empty())
    return added;
  MLIRContext *context = module.getContext();
  LLVM::LLVMFuncOp function = functions.createFunction(
      module.getLoc(), name,
      LLVM::LLVMFunctionType::get(IntegerType::get(context, 32),
                                  {LLVM::LLVMPointerType::get(context)}));
  function.setLinkage(LLVM::Linkage::External);
  Block &entry = function.getBody().front();
  CodeBuilder b(module.getLoc(), &entry);
  Value step = entry.getArgument(0);
  launcher.emplace(b, step, /*most=*/0);
  for (const DeviceCode::Launch &launch : *added)
    launcher->launch(launch, Extents::ofStep(b, step).getResultRows(), {});
  returnStatus(b);
  return success();
}

LogicalResult LevelLowering::lowerBody(moex::ParallelOp parallel,
                                       CodeBuilder &b, Value step,
                                       Value worker) {
  Extents extents = Extents::ofStep(b, step);
  memory.clear();
  for (Operation &op : parallel.getBody().front()) {
    b.setLoc(op.getLoc());
    if (isa<moex::BarrierOp>(op)) {
      // Launches run one after the other anyway, each an interval of its own.
      if (!device) {
        abi::callBarrier(b, step, worker);
        table.addBarrier();
      }
      continue;
    }
    if (op.getNumResults() == 1) {
      FailureOr<Memory> result = lowerMemory(&op, b, step, extents);
      if (failed(result))
        return failure();
      memory[op.getResult(0)] = *result;
      continue;
    }
    if (failed(lowerKernel(&op, b, step, worker, extents)))
      return failure();
  }
  return success();
}

FailureOr<KernelOperand> LevelLowering::describeWeight(Operation *op,
                                                       StringRef name,
                                                       MemRefType type) {
  moe::WeightOp weight = declarations.weights.lookup(name);
  if (!weight)
    return op->emitOpError("expected a moe.weight @") << name << ", found none";
  if (auto format = weight.getFormatAttr()) {
    auto plain = dyn_cast<moeq::PlainFormatAttr>(format);
    if (plain && plain.getType() != type.getElementType()) {
      InFlightDiagnostic error = op->emitOpError("target '")
                                 << emitter.getName() << "' reads @" << name
                                 << " as plain " << type.getElementType()
                                 << ", but it is stored as " << format;
      error.attachNote(weight.getLoc()) << "the weight";
      return error;
    }
  }
  usedWeights.insert(declarations.weightOrdinals.lookup(name));
  KernelOperand operand;
  operand.kind = KernelOperand::Weight;
  operand.type = type;
  if (QuantFormatAttrInterface format = weight.getFormatAttr();
      format && format.getScaleType())
    operand.format = format;
  // Row-major is the same as no layout, so kernels are shared.
  if (!isa_and_nonnull<moeq::RowMajorLayoutAttr>(weight.getLayoutAttr()))
    operand.layout = weight.getLayoutAttr();
  return operand;
}

FailureOr<LevelLowering::Memory>
LevelLowering::lowerMemory(Operation *op, CodeBuilder &b, Value step,
                           Extents &extents) {
  auto type = cast<MemRefType>(op->getResult(0).getType());
  if (!type.getLayout().isIdentity())
    return op->emitOpError("expected contiguous memory, found ") << type;
  Memory result;
  result.operand.type = type;
  return llvm::TypeSwitch<Operation *, FailureOr<Memory>>(op)
      .Case([&](moex::InputOp input) {
        result.pointer =
            getBatchField(b, step, static_cast<unsigned>(input.getField()),
                          input.getModality().value_or(0));
        return result;
      })
      .Case([&](moex::OutputOp output) {
        result.pointer = abi::getOutput(b, step, output.getIndex());
        return result;
      })
      .Case([&](moex::ArenaSliceOp slice) {
        Value offset = extents.evaluate(slice.getOffset());
        result.pointer =
            b.element(abi::getScratch(b, step), offset, b.getI8Type());
        return result;
      })
      .Case([&](moex::ViewOp view) {
        Memory viewed = memory[view.getSource()];
        viewed.operand.type = type;
        return viewed;
      })
      .Case([&](moex::WeightOp weight) -> FailureOr<Memory> {
        StringRef name =
            declarations.resolve(emitter.getName(), weight.getWeight());
        FailureOr<KernelOperand> operand = describeWeight(op, name, type);
        if (failed(operand))
          return failure();
        result.operand = *operand;
        result.pointer = abi::getWeight(
            b, step, declarations.weightOrdinals.lookup(name));
        return result;
      })
      .Case([&](moex::ExpertWeightsOp weights) -> FailureOr<Memory> {
        moe::ExpertTableOp table =
            declarations.tables.lookup(weights.getTable());
        if (!table)
          return op->emitOpError("expected a moe.expert_table @")
                 << weights.getTable() << ", found none";
        SmallVector<int32_t> ordinals;
        for (int64_t e = 0; e < table.getNumExperts(); ++e) {
          auto symbol = table.getExpert(e).getWeights().getAs<FlatSymbolRefAttr>(
              weights.getRole());
          if (!symbol)
            return op->emitOpError("expected a weight of role '")
                   << weights.getRole() << "' in expert " << e << " of @"
                   << weights.getTable() << ", found none";
          StringRef name =
              declarations.resolve(emitter.getName(), symbol.getValue());
          FailureOr<KernelOperand> operand = describeWeight(op, name, type);
          if (failed(operand))
            return failure();
          if (e > 0 && (operand->layout != result.operand.layout ||
                        operand->format != result.operand.format))
            return op->emitOpError("expected one layout and format for all "
                                   "experts of @")
                   << weights.getTable() << ", found another in expert " << e;
          result.operand = *operand;
          ordinals.push_back(declarations.weightOrdinals.lookup(name));
        }
        result.operand.kind = KernelOperand::Experts;
        if (device) {
          // A kernel takes the array of weights from the step.
          Value constants = b.load(
              b.field(step, offsetof(moe_step_v1, constants)), b.ptrType());
          result.pointer = b.element(
              constants, b.i64(device->addConstants(ordinals)), b.getI8Type());
          return result;
        }
        result.pointer = abi::getWeights(b, step);
        auto tableType =
            RankedTensorType::get({static_cast<int64_t>(ordinals.size())},
                                  b.getI32Type());
        result.ordinals = functions.getConstant(
            b, DenseElementsAttr::get(tableType, ArrayRef<int32_t>(ordinals)));
        return result;
      })
      .Default([&](Operation *) -> FailureOr<Memory> {
        return op->emitOpError("is not supported by lower-to-llvm: expected "
                               "the form after phase schedule");
      });
}

FailureOr<LevelLowering::Memory>
LevelLowering::lowerState(Operation *op, FlatSymbolRefAttr symbol,
                          CodeBuilder &b, Value step) {
  nn::StateOp state = declarations.states.lookup(symbol.getValue());
  if (!state)
    return op->emitOpError("expected an nn.state ") << symbol << ", found none";
  auto row = cast<RankedTensorType>(state.getType());
  Memory result;
  result.operand.kind = KernelOperand::State;
  result.operand.type = MemRefType::get({ShapedType::kDynamic, row.getDimSize(0)},
                                        row.getElementType());
  result.pointer = abi::getState(
      b, step, declarations.stateOrdinals.lookup(symbol.getValue()));
  return result;
}

LogicalResult LevelLowering::lowerKernel(Operation *op, CodeBuilder &b,
                                         Value step, Value worker,
                                         Extents &extents) {
  KernelRequest request{op, level, {}};
  SmallVector<Value> arguments = {step, worker, Value()};
  auto add = [&](const Memory &operand) {
    request.operands.push_back(operand.operand);
    arguments.push_back(operand.pointer);
    if (operand.ordinals)
      arguments.push_back(operand.ordinals);
  };
  for (Value operand : op->getOperands()) {
    auto known = memory.find(operand);
    if (known == memory.end())
      return op->emitOpError("uses memory from outside of its region");
    add(known->second);
  }
  for (StringRef name : {"state", "key_state", "value_state"})
    if (auto symbol = op->getAttrOfType<FlatSymbolRefAttr>(name)) {
      FailureOr<Memory> state = lowerState(op, symbol, b, step);
      if (failed(state))
        return failure();
      add(*state);
    }
  if (failed(checkArithmetic(op)))
    return failure();
  auto rows = op->getAttrOfType<AffineMapAttr>("rows");
  arguments[2] = rows ? extents.evaluate(rows.getValue()) : extents.getTokens();
  if (device)
    return launchKernels(request, b, step, extents, arguments[2],
                         ArrayRef<Value>(arguments).drop_front(3));
  FailureOr<SharedKernel> kernel = getKernel(request);
  if (failed(kernel))
    return failure();
  b.create<LLVM::CallOp>(kernel->function, arguments);
  table.addKernel(op, kernel->barriers);
  return success();
}

/// Kernels that differ in more than their base name says get a hash of the rest.
FailureOr<std::string> LevelLowering::getName(const KernelRequest &request,
                                              StringRef structure) {
  FailureOr<std::string> base = emitter.getKernelName(request);
  if (failed(base))
    return failure();
  std::string name = *base;
  if (kernelNames[name]++ > 0)
    name += "_" + llvm::utohexstr(llvm::xxh3_64bits(structure),
                                  /*LowerCase=*/true, /*Width=*/16);
  return name + ("__" + level.name).str();
}

static std::string printStructure(const KernelRequest &request) {
  std::string structure;
  llvm::raw_string_ostream os(structure);
  StructurePrinter(os).print(request);
  return structure;
}

LogicalResult LevelLowering::launchKernels(const KernelRequest &request,
                                           CodeBuilder &b, Value step,
                                           Extents &extents, Value rows,
                                           ValueRange operands) {
  std::string structure = printStructure(request);
  auto known = launches.find(structure);
  if (known == launches.end()) {
    FailureOr<std::string> name = getName(request, structure);
    if (failed(name))
      return failure();
    FailureOr<DeviceCode::Launches> added = device->addKernels(request, *name);
    if (failed(added))
      return failure();
    numKernels += added->launches.size();
    known = launches.try_emplace(structure, std::move(*added)).first;
  } else {
    ++numShared;
  }
  const DeviceCode::Launches &added = known->second;
  SmallVector<Value> addresses(operands);
  if (added.scratchBytes) {
    // Launches run one after the other: all operations use the same memory.
    kernelScratch = std::max(kernelScratch, added.scratchBytes);
    addresses.push_back(b.element(abi::getScratch(b, step),
                                  extents.evaluate(scratch), b.getI8Type()));
  }
  for (const DeviceCode::Launch &launch : added.launches)
    launcher->launch(launch, rows, addresses);
  table.addLaunches(request.op, added.launches.size());
  return success();
}

FailureOr<LevelLowering::SharedKernel>
LevelLowering::getKernel(const KernelRequest &request) {
  std::string structure = printStructure(request);
  SharedKernel &shared = kernels[structure];
  LLVM::LLVMFuncOp &kernel = shared.function;
  if (kernel) {
    ++numShared;
    return shared;
  }
  FailureOr<std::string> name = getName(request, structure);
  if (failed(name))
    return failure();

  MLIRContext *context = request.op->getContext();
  auto ptr = LLVM::LLVMPointerType::get(context);
  SmallVector<Type> types = {ptr, ptr, IntegerType::get(context, 64)};
  for (const KernelOperand &operand : request.operands)
    types.append(operand.kind == KernelOperand::Experts ? 2 : 1, ptr);
  auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(context),
                                          types);
  Location loc = request.op->getLoc();
  kernel = functions.createFunction(loc, *name, type);
  Block &entry = kernel.getBody().front();
  KernelArguments arguments;
  arguments.step = entry.getArgument(0);
  arguments.worker = entry.getArgument(1);
  arguments.rows = entry.getArgument(2);
  unsigned next = 3;
  for (const KernelOperand &operand : request.operands) {
    bool hasOrdinals = operand.kind == KernelOperand::Experts;
    arguments.pointers.push_back(entry.getArgument(next++));
    arguments.ordinals.push_back(hasOrdinals ? entry.getArgument(next++)
                                             : Value());
  }
  CodeBuilder b(loc, &entry);
  if (failed(emitter.emit(request, arguments, b, functions)))
    return failure();
  b.create<LLVM::ReturnOp>(ValueRange());
  // A fiber or a small thread has little stack (docs/abi.md).
  constexpr int64_t kMaxStack = 1 << 20;
  if (b.getStackBytes() > kMaxStack)
    return request.op->emitOpError("needs ")
           << b.getStackBytes() << " bytes of stack for its rows, more than "
           << kMaxStack;
  ++numKernels;
  shared.barriers = b.getBarriers();
  return shared;
}

//===----------------------------------------------------------------------===//
// Pass
//===----------------------------------------------------------------------===//

namespace {
struct LowerToLlvm : target::impl::LowerToLlvmBase<LowerToLlvm> {
  using LowerToLlvmBase::LowerToLlvmBase;

  void runOnOperation() override {
    FailureOr<SmallVector<EmitterLevel>> chosen = chooseLevels();
    if (failed(chosen) || failed(lower(*chosen)))
      return signalPassFailure();
    OpPassManager pipeline(ModuleOp::getOperationName());
    pipeline.addPass(createCSEPass());
    pipeline.addPass(createSCFToControlFlowPass());
    pipeline.addPass(createConvertVectorToLLVMPass());
    pipeline.addPass(createArithToLLVMConversionPass());
    pipeline.addPass(createConvertControlFlowToLLVMPass());
    pipeline.addPass(createUBToLLVMConversionPass());
    pipeline.addPass(createReconcileUnrealizedCastsPass());
    if (failed(runPipeline(pipeline, getOperation())))
      return signalPassFailure();
  }

  using EmitterLevel = std::pair<const KernelEmitter *, const IsaLevel *>;

  /// The levels of the options, best first, those of devices before those of
  /// processors.
  FailureOr<SmallVector<EmitterLevel>> chooseLevels() {
    SmallVector<EmitterLevel> devices, processors;
    std::set<std::string> found;
    SmallVector<std::string> names = llvm::to_vector(targets);
    if (names.empty())
      names.push_back("x86_64");
    for (const std::string &name : names) {
      const KernelEmitter *emitter = lookupKernelEmitter(name);
      if (!emitter)
        return getOperation().emitError("unknown target '")
               << name << "': expected one of "
               << llvm::join(getKernelEmitterNames(), ", ");
      // Levels are chosen for each target that has one of them.
      auto isChosen = [&](const IsaLevel &level) {
        return llvm::is_contained(levels, level.name);
      };
      bool all = llvm::none_of(emitter->getLevels(), isChosen);
      for (const IsaLevel &level : llvm::reverse(emitter->getLevels())) {
        if (!all && !isChosen(level))
          continue;
        (level.isDevice() ? devices : processors).push_back({emitter, &level});
        found.insert(level.name.str());
      }
    }
    for (const std::string &name : levels)
      if (!found.count(name))
        return getOperation().emitError("target '")
               << llvm::join(names, ",") << "' has no level '" << name << "'";
    devices.append(processors);
    return devices;
  }

  LogicalResult lower(ArrayRef<EmitterLevel> chosen) {
    ModuleOp module = getOperation();
    Declarations declarations(module);
    auto steps = llvm::to_vector(module.getOps<func::FuncOp>());
    DenseMap<std::pair<Operation *, const IsaLevel *>, SmallVector<int64_t>>
        usedWeights;
    DenseMap<std::pair<Operation *, const IsaLevel *>, NamedAttrList> tables;
    DenseMap<std::pair<Operation *, const IsaLevel *>, AffineMap> scratch;
    for (auto [emitter, level] : chosen) {
      LevelLowering lowering(module, declarations, *emitter, *level);
      for (func::FuncOp step : steps) {
        if (!step.isExternal() && failed(lowering.lower(step)))
          return failure();
        usedWeights[{step, level}] = lowering.takeUsedWeights();
        scratch[{step, level}] = lowering.getScratch();
        KernelTable table = lowering.takeKernelTable();
        NamedAttrList &facts = tables[{step, level}];
        facts.set("intervals", IntegerAttr::get(IntegerType::get(&getContext(), 64),
                                                table.getIntervals()));
        facts.set("kernels", table.getKernels(&getContext()));
      }
      if (failed(lowering.lowerSampling(module)) || failed(lowering.expand()))
        return failure();
      numKernels += lowering.numKernels;
      numShared += lowering.numShared;
    }
    Builder b(&getContext());
    SmallVector<Attribute> variants;
    for (func::FuncOp step : steps) {
      for (auto [emitter, level] : chosen) {
        if (step.isExternal())
          continue;
        NamedAttrList variant;
        variant.set("function", b.getStringAttr(step.getSymName()));
        // A variant of another function has code of its own and serves batches
        // of its modalities only.
        auto facts = step->getAttrOfType<DictionaryAttr>("moe.function");
        if (auto of = facts ? facts.getAs<FlatSymbolRefAttr>("variant_of")
                            : FlatSymbolRefAttr()) {
          variant.set("function", of.getAttr());
          variant.set("code", b.getStringAttr(step.getSymName()));
          variant.set("modalities", facts.get("modalities"));
        }
        variant.set("isa", b.getStringAttr(level->name));
        if (level->isDevice())
          variant.set("device", b.getStringAttr(level->device));
        // Of the processor: any runs the host code of a device variant.
        variant.set("features", level->isDevice()
                                    ? b.getStrArrayAttr({})
                                    : b.getStrArrayAttr(level->features));
        variant.set("scratch", b.getStringAttr(printExtentsFormula(
                                   scratch[{step, level}])));
        variant.set("weights", b.getDenseI64ArrayAttr(usedWeights[{step, level}]));
        variant.append(tables[{step, level}]);
        variants.push_back(variant.getDictionary(&getContext()));
      }
      declare(step);
    }
    module->setAttr("moex.variants", b.getArrayAttr(variants));
    return success();
  }

  /// Leaves the name and the attributes of a step function: entries refer to
  /// it, and the manifest needs what it says.
  static void declare(func::FuncOp step) {
    OpBuilder b(step);
    auto type = LLVM::LLVMFunctionType::get(
        LLVM::LLVMVoidType::get(step.getContext()), {});
    auto declaration =
        LLVM::LLVMFuncOp::create(b, step.getLoc(), step.getSymName(), type);
    for (NamedAttribute attribute : step->getDiscardableAttrs())
      declaration->setAttr(attribute.getName(), attribute.getValue());
    step.erase();
  }
};
} // namespace
