//===- KernelRewriter.cpp - From device IR to host IR ---------------------===//
#include "compiler/targets/nvptx/emulator/KernelRewriter.h"
#include "compiler/targets/nvptx/emulator/Block.h"
#include "compiler/targets/nvptx/emulator/Ops.h"
#include "compiler/targets/nvptx/emulator/Settings.h"
#include "compiler/targets/nvptx/emulator/SharedMemory.h"

#include "llvm/Analysis/ValueTracking.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/DebugInfoMetadata.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/Intrinsics.h"

#include <algorithm>

using namespace moec;
using namespace moec::emu;
using namespace llvm;

namespace {

constexpr unsigned globalSpace = 1, sharedSpace = 3, constantSpace = 4,
                   localSpace = 5;

uint32_t alignTo16(uint64_t value) { return (value + 15) / 16 * 16; }

/// All functions in whose code `constant` occurs.
void collectUsers(const Constant &constant, SmallPtrSetImpl<Function *> &users,
                  SmallPtrSetImpl<const Constant *> &seen) {
  if (!seen.insert(&constant).second)
    return;
  for (const User *user : constant.users()) {
    if (const auto *instruction = dyn_cast<Instruction>(user))
      users.insert(const_cast<Function *>(instruction->getFunction()));
    else if (const auto *other = dyn_cast<Constant>(user))
      collectUsers(*other, users, seen);
  }
}

/// The kernels that reach one of `users`.
SmallPtrSet<Function *, 4> collectKernelsOf(SmallPtrSetImpl<Function *> &users,
                                            ArrayRef<Function *> kernels) {
  SmallVector<Function *> work(users.begin(), users.end());
  SmallPtrSet<Function *, 8> reached(users.begin(), users.end());
  while (!work.empty()) {
    SmallPtrSet<Function *, 8> callers;
    SmallPtrSet<const Constant *, 8> seen;
    collectUsers(*work.pop_back_val(), callers, seen);
    for (Function *caller : callers)
      if (reached.insert(caller).second)
        work.push_back(caller);
  }
  SmallPtrSet<Function *, 4> result;
  for (Function *kernel : kernels)
    if (reached.count(kernel))
      result.insert(kernel);
  return result;
}

/// "1,2,3" of an attribute; missing numbers are 1.
void parseThreads(StringRef text, uint32_t (&to)[3]) {
  SmallVector<StringRef, 3> parts;
  text.split(parts, ',');
  for (unsigned i = 0; i < 3; ++i)
    if (i >= parts.size() || parts[i].trim().getAsInteger(10, to[i]))
      to[i] = 1;
}

} // namespace

std::string emu::getEntryName(StringRef kernel) {
  return ("moe.emu.entry." + kernel).str();
}

void KernelRewriter::complain(const Instruction &at, const Twine &what) {
  if (problem.empty())
    problem = ("function `" + at.getFunction()->getName() + "`: " + what).str();
}

std::string KernelRewriter::run() {
  collectKernels();
  for (Function &function : module)
    printTexts(function);
  retarget();
  placeShared();
  nameVariables();
  SmallVector<Function *> defined;
  for (Function &function : module)
    if (!function.isDeclaration())
      defined.push_back(&function);
  const Settings &settings = getSettings();
  bool checks =
      settings.checkBounds || settings.checkRaces || settings.checkBlocks;
  for (Function *function : defined) {
    if (checks)
      checkAccesses(*function);
    rewriteCalls(*function);
  }
  if (!problem.empty())
    return problem;
  for (Function *kernel : kernelFunctions)
    emitEntry(*kernel);
  for (Function &function : make_early_inc_range(module))
    if (function.isDeclaration() && function.use_empty())
      function.eraseFromParent();
  return problem;
}

void KernelRewriter::collectKernels() {
  for (Function &function : module) {
    if (function.isDeclaration() ||
        function.getCallingConv() != CallingConv::PTX_Kernel)
      continue;
    kernelFunctions.push_back(&function);
    Kernel &kernel = loaded.kernels[function.getName().str()];
    kernel.name = function.getName().str();
    kernel.module = &loaded;
    for (Argument &argument : function.args()) {
      Type *type = argument.hasByValAttr() ? argument.getParamByValType()
                                           : argument.getType();
      kernel.parameterBytes.push_back(layout.getTypeAllocSize(type));
    }
    uint32_t most[3] = {1024, 1, 1};
    if (Attribute a = function.getFnAttribute("nvvm.maxntid"); a.isValid())
      parseThreads(a.getValueAsString(), most);
    if (Attribute a = function.getFnAttribute("nvvm.reqntid"); a.isValid()) {
      parseThreads(a.getValueAsString(), kernel.requiredThreads);
      std::copy(kernel.requiredThreads, kernel.requiredThreads + 3, most);
    }
    kernel.maxThreads = std::min(1024u, most[0] * most[1] * most[2]);
    uint64_t local = 0;
    for (Instruction &instruction : instructions(function))
      if (auto *alloca = dyn_cast<AllocaInst>(&instruction))
        if (auto size = alloca->getAllocationSize(layout))
          local += size->getFixedValue();
    kernel.localBytes = uint32_t(local);
  }
}

void KernelRewriter::retarget() {
  module.setTargetTriple(triple);
  module.setDataLayout(layout);
  for (const char *name : {"llvm.used", "llvm.compiler.used"})
    if (GlobalVariable *used = module.getGlobalVariable(name))
      used->eraseFromParent();
  for (Function &function : module) {
    function.setCallingConv(CallingConv::C);
    if (function.isIntrinsic())
      continue;
    // What held of one thread alone does not where others run in between.
    for (Attribute::AttrKind kind :
         {Attribute::Memory, Attribute::NoSync, Attribute::WillReturn,
          Attribute::MustProgress, Attribute::NoFree, Attribute::Convergent})
      function.removeFnAttr(kind);
    for (const char *name : {"target-cpu", "target-features"})
      function.removeFnAttr(name);
    if (!function.isDeclaration() && !is_contained(kernelFunctions, &function))
      function.setLinkage(GlobalValue::InternalLinkage);
    for (Instruction &instruction : instructions(function))
      if (auto *call = dyn_cast<CallBase>(&instruction)) {
        call->setCallingConv(CallingConv::C);
        for (Attribute::AttrKind kind :
             {Attribute::Memory, Attribute::NoSync, Attribute::WillReturn})
          if (!call->getCalledFunction() ||
              !call->getCalledFunction()->isIntrinsic())
            call->removeFnAttr(kind);
      }
  }
}

void KernelRewriter::placeShared() {
  // A kernel's variables lie one behind the other from offset 0; those of
  // different kernels share the space. Dynamic memory begins after them.
  DenseMap<Function *, uint64_t> ends;
  uint64_t base = SharedMemory::get().getBase();
  SmallVector<GlobalVariable *> fixed, dynamic;
  for (GlobalVariable &variable : module.globals())
    if (variable.getAddressSpace() == sharedSpace)
      (variable.isDeclaration() ? dynamic : fixed).push_back(&variable);
  auto place = [&](GlobalVariable &variable, bool isDynamic) {
    SmallPtrSet<Function *, 8> users;
    SmallPtrSet<const Constant *, 8> seen;
    collectUsers(variable, users, seen);
    auto kernels = collectKernelsOf(users, kernelFunctions);
    uint64_t at = 0;
    for (Function *kernel : kernels)
      at = std::max(at, ends.lookup(kernel));
    Align align = variable.getAlign().value_or(
        layout.getABITypeAlign(variable.getValueType()));
    at = alignTo(at, std::max(align, Align(16)));
    uint64_t size =
        isDynamic ? 0
                  : uint64_t(layout.getTypeAllocSize(variable.getValueType()));
    for (Function *function : kernels) {
      Kernel &kernel = loaded.kernels[function->getName().str()];
      if (isDynamic) {
        kernel.dynamicOffset = uint32_t(at);
      } else {
        ends[function] = at + size;
        kernel.staticSharedBytes = kernel.dynamicOffset = uint32_t(at + size);
      }
    }
    if (at + size > SharedMemory::arenaBytes && problem.empty())
      problem = "shared variables need " + std::to_string(at + size) + " bytes";
    variable.replaceAllUsesWith(ConstantExpr::getIntToPtr(
        ConstantInt::get(Type::getInt64Ty(module.getContext()), base + at),
        variable.getType()));
    variable.eraseFromParent();
  };
  for (GlobalVariable *variable : fixed)
    place(*variable, false);
  for (GlobalVariable *variable : dynamic)
    place(*variable, true);
}

void KernelRewriter::nameVariables() {
  for (GlobalVariable &variable : module.globals()) {
    if (variable.isDeclaration()) {
      if (problem.empty())
        problem = "variable `" + variable.getName().str() + "` is not defined";
      return;
    }
    LoadedModule::Variable entry;
    entry.name = variable.getName().str();
    entry.symbol =
        "moe.emu.variable." + std::to_string(loaded.variables.size());
    entry.bytes = layout.getTypeAllocSize(variable.getValueType());
    entry.isConstant =
        variable.isConstant() || variable.getAddressSpace() == constantSpace;
    variable.setName(entry.symbol);
    variable.setLinkage(GlobalValue::ExternalLinkage);
    variable.setVisibility(GlobalValue::DefaultVisibility);
    variable.setComdat(nullptr);
    loaded.variables.push_back(entry);
  }
}

Constant *KernelRewriter::getAddress(const void *object) {
  LLVMContext &context = module.getContext();
  return ConstantExpr::getIntToPtr(
      ConstantInt::get(Type::getInt64Ty(context),
                       reinterpret_cast<uint64_t>(object)),
      PointerType::getUnqual(context));
}

void KernelRewriter::printTexts(Function &function) {
  slots.incorporateFunction(function);
  for (Instruction &instruction : instructions(function)) {
    if (!isa<CallBase>(instruction) && !instruction.mayReadOrWriteMemory())
      continue;
    std::string whole;
    raw_string_ostream stream(whole);
    instruction.print(stream, slots);
    // Without metadata and leading blanks; long operand lists help nobody.
    StringRef text = StringRef(whole).trim();
    text = text.take_front(std::min(text.find(", !"), text.find(" #")));
    textOf[&instruction] =
        text.size() > 160 ? (text.take_front(160) + "..").str() : text.str();
  }
}

Site &KernelRewriter::makeSite(Instruction &instruction) {
  loaded.sites.emplace_back();
  Site &site = loaded.sites.back();
  site.text = textOf.lookup(&instruction);
  site.function = instruction.getFunction()->getName().str();
  if (const DebugLoc &loc = instruction.getDebugLoc())
    if (auto *scope = dyn_cast_or_null<DIScope>(loc.getScope()))
      site.location = (scope->getFilename() + ":" + Twine(loc.getLine()) + ":" +
                       Twine(loc.getCol()))
                          .str();
  return site;
}

//===----------------------------------------------------------------------===//
// Operations
//===----------------------------------------------------------------------===//

void KernelRewriter::rewriteCalls(Function &function) {
  SmallVector<CallBase *> calls;
  SmallVector<FenceInst *> fences;
  for (Instruction &instruction : instructions(function))
    if (auto *call = dyn_cast<CallBase>(&instruction))
      calls.push_back(call);
    else if (auto *fence = dyn_cast<FenceInst>(&instruction))
      fences.push_back(fence);
  for (CallBase *call : calls)
    rewriteCall(*call);
  for (FenceInst *fence : fences)
    noteFence(*fence);
}

void KernelRewriter::noteFence(FenceInst &fence) {
  auto scope = module.getContext().getSyncScopeName(fence.getSyncScopeID());
  if (scope && (*scope == "block" || *scope == "singlethread"))
    return;
  IRBuilder<> builder(&fence);
  builder.CreateCall(
      module.getOrInsertFunction("moe_emu_fence_device", builder.getVoidTy()));
}

void KernelRewriter::rewriteCall(CallBase &call) {
  if (call.isInlineAsm())
    return complain(call, "inline PTX cannot be emulated");
  Function *callee = call.getCalledFunction();
  if (!callee)
    return complain(call, "an indirect call cannot be emulated");
  StringRef name = callee->getName();
  if (name.starts_with("moe_emu_"))
    return;
  bool isOurs = name.consume_front("llvm.nvvm.") ||
                name.consume_front("moec.nv.") || name == "llvm.trap" ||
                name == "llvm.debugtrap";
  if (!isOurs) {
    if (callee->isIntrinsic() && callee->isTargetIntrinsic())
      complain(call, "`" + name + "` is of another target");
    else if (callee->isDeclaration() && !callee->isIntrinsic())
      complain(call, "`" + name + "` is not defined");
    return;
  }
  IRBuilder<> builder(&call);
  Value *result = nullptr;
  if (expandScalar(builder, name, call, result)) {
    if (result)
      call.replaceAllUsesWith(result);
    call.eraseFromParent();
    return;
  }
  if (const Op *op = getOp(*callee))
    callModel(call, *op);
  else
    complain(call, "`" + callee->getName() + "` is not emulated");
}

const Op *KernelRewriter::getOp(Function &callee) {
  auto [it, isNew] = opOf.try_emplace(&callee, nullptr);
  if (!isNew)
    return it->second;
  Op op;
  op.name = callee.getName().str();
  StringRef name = callee.getName();
  if (!name.consume_front("llvm.nvvm."))
    name.consume_front("moec.nv.");
  if (!bindOp(name, *callee.getFunctionType(), op))
    return nullptr;
  uint64_t offset = 0;
  for (Type *type : callee.getFunctionType()->params()) {
    op.operandOffsets.push_back(uint32_t(offset));
    if (!type->isMetadataTy())
      offset += alignTo16(layout.getTypeAllocSize(type));
  }
  op.resultOffset = uint32_t(offset);
  loaded.ops.push_back(std::move(op));
  return it->second = &loaded.ops.back();
}

AllocaInst *KernelRewriter::getBuffer(Function &function, uint64_t bytes) {
  AllocaInst *&buffer = bufferOf[&function];
  Type *byte = Type::getInt8Ty(module.getContext());
  if (!buffer) {
    IRBuilder<> builder(&*function.getEntryBlock().begin());
    buffer = builder.CreateAlloca(ArrayType::get(byte, bytes), nullptr,
                                  "moe.emu.buffer");
    buffer->setAlignment(Align(16));
  } else if (layout.getTypeAllocSize(buffer->getAllocatedType()) < bytes) {
    buffer->setAllocatedType(ArrayType::get(byte, bytes));
  }
  return buffer;
}

void KernelRewriter::callModel(CallBase &call, const Op &op) {
  Site &site = makeSite(call);
  site.op = &op;
  Type *resultType = call.getType();
  uint64_t bytes = op.resultOffset;
  if (!resultType->isVoidTy())
    bytes += alignTo16(layout.getTypeAllocSize(resultType));
  AllocaInst *buffer =
      getBuffer(*call.getFunction(), std::max<uint64_t>(bytes, 16));
  IRBuilder<> builder(&call);
  for (unsigned i = 0; i < call.arg_size(); ++i) {
    Value *operand = call.getArgOperand(i);
    if (operand->getType()->isMetadataTy())
      continue;
    // An i1 takes a whole byte, so that the model can read it as one.
    if (operand->getType()->isIntegerTy(1))
      operand = builder.CreateZExt(operand, builder.getInt8Ty());
    builder.CreateAlignedStore(
        operand,
        builder.CreateConstInBoundsGEP1_32(builder.getInt8Ty(), buffer,
                                           op.operandOffsets[i]),
        Align(16));
  }
  FunctionCallee model = module.getOrInsertFunction(
      op.warp ? "moe_emu_collect" : "moe_emu_execute", builder.getVoidTy(),
      builder.getPtrTy(), builder.getPtrTy());
  builder.CreateCall(model, {getAddress(&site), buffer});
  if (!resultType->isVoidTy()) {
    Value *at = builder.CreateConstInBoundsGEP1_32(builder.getInt8Ty(), buffer,
                                                   op.resultOffset);
    Value *result;
    if (resultType->isIntegerTy(1))
      result =
          builder.CreateIsNotNull(builder.CreateLoad(builder.getInt8Ty(), at));
    else
      result = builder.CreateAlignedLoad(resultType, at, Align(16));
    call.replaceAllUsesWith(result);
  }
  call.eraseFromParent();
}

//===----------------------------------------------------------------------===//
// Accesses
//===----------------------------------------------------------------------===//

void KernelRewriter::checkAccesses(Function &function) {
  SmallVector<Instruction *> accesses;
  for (Instruction &instruction : instructions(function))
    if (isa<LoadInst, StoreInst, AtomicRMWInst, AtomicCmpXchgInst,
            MemIntrinsic>(instruction))
      accesses.push_back(&instruction);
    else if (auto *call = dyn_cast<IntrinsicInst>(&instruction);
             call &&
             call->getCalledFunction()->getName().starts_with("llvm.masked."))
      complain(*call, "`" + call->getCalledFunction()->getName() +
                          "` is not emulated");
  for (Instruction *access : accesses)
    checkAccess(*access);
}

bool KernelRewriter::isLocal(Instruction &before, Value *pointer, Value *size,
                             uint64_t bytes) {
  unsigned space = pointer->getType()->getPointerAddressSpace();
  if (space != 0 && space != localSpace)
    return false;
  auto *alloca =
      dyn_cast<AllocaInst>(getUnderlyingObject(pointer, /*MaxLookup=*/0));
  if (!alloca)
    return false;
  auto most = alloca->getAllocationSize(layout);
  if (!most)
    return false;
  APInt offset(layout.getIndexTypeSizeInBits(pointer->getType()), 0);
  Value *base = pointer->stripAndAccumulateConstantOffsets(
      layout, offset, /*AllowNonInbounds=*/true);
  if (!size && base == alloca && !offset.isNegative() &&
      offset.getZExtValue() + bytes <= most->getFixedValue())
    return true;
  IRBuilder<> builder(&before);
  Site &site = makeSite(before);
  site.bytes = uint32_t(bytes);
  FunctionCallee check = module.getOrInsertFunction(
      "moe_emu_local", builder.getVoidTy(), builder.getPtrTy(),
      builder.getPtrTy(), builder.getPtrTy(), builder.getInt64Ty(),
      builder.getInt64Ty());
  Value *length = size ? builder.CreateZExtOrTrunc(size, builder.getInt64Ty())
                       : builder.getInt64(bytes);
  builder.CreateCall(check,
                     {getAddress(&site),
                      builder.CreateAddrSpaceCast(pointer, builder.getPtrTy()),
                      builder.CreateAddrSpaceCast(alloca, builder.getPtrTy()),
                      length, builder.getInt64(most->getFixedValue())});
  return true;
}

void KernelRewriter::emitCheck(Instruction &before, Value *pointer, Value *size,
                               Access access, uint64_t bytes, uint64_t align) {
  if (isLocal(before, pointer, size, bytes))
    return;
  Site &site = makeSite(before);
  site.access = access;
  site.bytes = uint32_t(bytes);
  site.align = uint32_t(align);
  site.polls = access == Access::Load && before.isVolatile();
  if (auto *load = dyn_cast<LoadInst>(&before))
    site.polls |= load->isAtomic();
  if (auto *rmw = dyn_cast<AtomicRMWInst>(&before))
    site.releases = isReleaseOrStronger(rmw->getOrdering());
  if (auto *swap = dyn_cast<AtomicCmpXchgInst>(&before)) {
    site.releases = isReleaseOrStronger(swap->getSuccessOrdering());
    site.polls = true;
  }
  switch (pointer->getType()->getPointerAddressSpace()) {
  case globalSpace:
    site.space = Space::Global;
    break;
  case sharedSpace:
  case 7:
    site.space = Space::Shared;
    break;
  case constantSpace:
    site.space = Space::Constant;
    break;
  default:
    site.space = Space::Generic;
  }
  IRBuilder<> builder(&before);
  Value *generic = builder.CreateAddrSpaceCast(pointer, builder.getPtrTy());
  SmallVector<Value *, 3> arguments = {getAddress(&site), generic};
  SmallVector<Type *, 3> types(2, builder.getPtrTy());
  if (size) {
    arguments.push_back(builder.CreateZExtOrTrunc(size, builder.getInt64Ty()));
    types.push_back(builder.getInt64Ty());
  }
  FunctionCallee check = module.getOrInsertFunction(
      size ? "moe_emu_access_bytes" : "moe_emu_access",
      FunctionType::get(builder.getVoidTy(), types, false));
  // It neither switches fibers nor changes what the kernel sees, so values
  // stay in registers over it.
  auto *function = cast<Function>(check.getCallee());
  function->setMemoryEffects(MemoryEffects::inaccessibleMemOnly());
  function->setDoesNotThrow();
  builder.CreateCall(check, arguments);
}

bool KernelRewriter::checkAccess(Instruction &instruction) {
  auto store = [&](Type *type) {
    return uint64_t(layout.getTypeStoreSize(type));
  };
  if (auto *load = dyn_cast<LoadInst>(&instruction)) {
    emitCheck(*load, load->getPointerOperand(), nullptr, Access::Load,
              store(load->getType()), load->getAlign().value());
  } else if (auto *to = dyn_cast<StoreInst>(&instruction)) {
    emitCheck(*to, to->getPointerOperand(), nullptr, Access::Store,
              store(to->getValueOperand()->getType()), to->getAlign().value());
  } else if (auto *rmw = dyn_cast<AtomicRMWInst>(&instruction)) {
    emitCheck(*rmw, rmw->getPointerOperand(), nullptr, Access::Atomic,
              store(rmw->getType()), rmw->getAlign().value());
  } else if (auto *swap = dyn_cast<AtomicCmpXchgInst>(&instruction)) {
    emitCheck(*swap, swap->getPointerOperand(), nullptr, Access::Atomic,
              store(swap->getCompareOperand()->getType()),
              swap->getAlign().value());
  } else if (auto *memory = dyn_cast<MemIntrinsic>(&instruction)) {
    emitCheck(*memory, memory->getDest(), memory->getLength(), Access::Store, 0,
              1);
    if (auto *transfer = dyn_cast<MemTransferInst>(memory))
      emitCheck(*transfer, transfer->getSource(), transfer->getLength(),
                Access::Load, 0, 1);
  }
  return true;
}

void KernelRewriter::emitEntry(Function &kernel) {
  LLVMContext &context = module.getContext();
  Type *pointer = PointerType::getUnqual(context);
  auto *type =
      FunctionType::get(Type::getVoidTy(context), {pointer, pointer}, false);
  Function *entry = Function::Create(type, GlobalValue::ExternalLinkage,
                                     getEntryName(kernel.getName()), module);
  IRBuilder<> builder(BasicBlock::Create(context, "", entry));
  SmallVector<Value *> arguments;
  for (Argument &argument : kernel.args()) {
    Value *slot = builder.CreateConstInBoundsGEP1_64(
        builder.getInt64Ty(), entry->getArg(1), argument.getArgNo());
    Value *at = builder.CreateInBoundsGEP(
        builder.getInt8Ty(), entry->getArg(0),
        builder.CreateLoad(builder.getInt64Ty(), slot));
    if (!argument.hasByValAttr()) {
      arguments.push_back(builder.CreateLoad(argument.getType(), at));
      continue;
    }
    argument.removeAttr(Attribute::ByVal);
    arguments.push_back(builder.CreateAddrSpaceCast(at, argument.getType()));
  }
  builder.CreateCall(&kernel, arguments);
  builder.CreateRetVoid();
  kernel.setLinkage(GlobalValue::InternalLinkage);
}
