//===- ScalarOps.cpp - Instructions that become plain IR ------------------===//
#include "compiler/targets/nvptx/emulator/Ops.h"
#include "compiler/targets/nvptx/emulator/SharedMemory.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/IR/Intrinsics.h"
#include "llvm/IR/Module.h"

#include <cstddef>

using namespace moec::emu;
using namespace llvm;

namespace {

/// Offset of a 32-bit special register in Thread, or -1.
int getRegisterOffset(StringRef name) {
  char axis = name.empty() ? 'x' : name.back();
  unsigned index = axis == 'y' ? 4 : axis == 'z' ? 8 : 0;
  StringRef family = name.drop_back(name.size() > 2 ? 2 : 0);
  if (axis == 'x' || axis == 'y' || axis == 'z') {
    int base = StringSwitch<int>(family)
                   .Case("tid", offsetof(Thread, tid))
                   .Case("ctaid", offsetof(Thread, ctaid))
                   .Case("ntid", offsetof(Thread, ntid))
                   .Case("nctaid", offsetof(Thread, nctaid))
                   // A block is a cluster of its own.
                   .Case("clusterid", offsetof(Thread, ctaid))
                   .Case("nclusterid", offsetof(Thread, nctaid))
                   .Default(-1);
    if (base >= 0)
      return base + int(index);
  }
  return StringSwitch<int>(name)
      .Case("laneid", offsetof(Thread, lane))
      .Case("warpid", offsetof(Thread, warpIndex))
      .Case("total_smem_size", offsetof(Thread, sharedBytes))
      .Case("dynamic_smem_size", offsetof(Thread, dynamicSharedBytes))
      .Default(-1);
}

Value *loadRegister(IRBuilder<> &b, int offset) {
  Module &module = *b.GetInsertBlock()->getModule();
  auto *self = cast<GlobalVariable>(
      module.getOrInsertGlobal("moe_emu_self", b.getPtrTy()));
  // A call of a function stays in one fiber, so for it both loads always give
  // the same.
  MDNode *none = MDNode::get(b.getContext(), {});
  LoadInst *thread = b.CreateLoad(b.getPtrTy(), self);
  thread->setMetadata(LLVMContext::MD_invariant_load, none);
  LoadInst *value = b.CreateLoad(
      b.getInt32Ty(),
      b.CreateConstInBoundsGEP1_32(b.getInt8Ty(), thread, unsigned(offset)));
  value->setMetadata(LLVMContext::MD_invariant_load, none);
  return value;
}

Value *expandRegister(IRBuilder<> &b, StringRef name) {
  if (!name.consume_front("read.ptx.sreg."))
    return nullptr;
  if (int offset = getRegisterOffset(name); offset >= 0)
    return loadRegister(b, offset);
  if (name == "warpsize")
    return b.getInt32(warpSize);
  if (name.starts_with("cluster.nctaid") || name == "cluster.nctarank")
    return b.getInt32(1);
  if (name.starts_with("cluster.ctaid") || name == "cluster.ctarank")
    return b.getInt32(0);
  if (name.consume_front("lanemask.")) {
    Value *lane = loadRegister(b, offsetof(Thread, lane));
    Value *bit = b.CreateShl(b.getInt32(1), lane);
    Value *below = b.CreateSub(bit, b.getInt32(1));
    if (name == "eq")
      return bit;
    if (name == "lt")
      return below;
    if (name == "le")
      return b.CreateOr(below, bit);
    if (name == "ge")
      return b.CreateNot(below);
    if (name == "gt")
      return b.CreateNot(b.CreateOr(below, bit));
  }
  return nullptr;
}

Value *callFloat(IRBuilder<> &b, const Twine &symbol, Value *x) {
  Module &module = *b.GetInsertBlock()->getModule();
  SmallString<32> text;
  FunctionCallee callee = module.getOrInsertFunction(
      symbol.toStringRef(text), b.getFloatTy(), b.getFloatTy());
  auto *function = cast<Function>(callee.getCallee());
  function->setDoesNotAccessMemory();
  function->setDoesNotThrow();
  return b.CreateCall(callee, x);
}

/// Removes ".word" anywhere in the name.
bool consumeWord(std::string &name, StringRef word) {
  std::string dotted = ("." + word).str();
  for (size_t at = name.find(dotted); at != std::string::npos;
       at = name.find(dotted, at + 1)) {
    size_t end = at + dotted.size();
    if (end != name.size() && name[end] != '.')
      continue;
    name.erase(at, dotted.size());
    return true;
  }
  return false;
}

/// Approximations and roundings of one float.
Value *expandUnary(IRBuilder<> &b, StringRef full, CallBase &call) {
  if (call.arg_size() != 1 ||
      call.getType() != call.getArgOperand(0)->getType())
    return nullptr;
  Type *type = call.getType();
  std::string name = full.str();
  bool flush = consumeWord(name, "ftz");
  StringRef base = StringRef(name).split('.').first;
  bool isApproximate = consumeWord(name, "approx");
  Value *x = call.getArgOperand(0);
  Intrinsic::ID id = StringSwitch<Intrinsic::ID>(base)
                         .Case("ceil", Intrinsic::ceil)
                         .Case("floor", Intrinsic::floor)
                         .Case("trunc", Intrinsic::trunc)
                         .Case("round", Intrinsic::roundeven)
                         .Case("fabs", Intrinsic::fabs)
                         .Default(Intrinsic::not_intrinsic);
  auto flushed = [&](Value *value) {
    return flush && type->isFloatTy() ? callFloat(b, "moe_emu_flush", value)
                                      : value;
  };
  if (id)
    return flushed(b.CreateUnaryIntrinsic(id, flushed(x)));
  if (base == "saturate") {
    Value *low = b.CreateMaxNum(flushed(x), ConstantFP::get(type, 0.0));
    return b.CreateMinNum(low, ConstantFP::get(type, 1.0));
  }
  bool isRounded = StringRef(name).contains(".rn");
  if (base == "sqrt" && (isRounded || isApproximate || name == "sqrt.f"))
    return flushed(b.CreateUnaryIntrinsic(Intrinsic::sqrt, flushed(x)));
  if (base == "rcp" && isRounded)
    return flushed(b.CreateFDiv(ConstantFP::get(type, 1.0), flushed(x)));
  bool isKnown = base == "ex2" || base == "lg2" || base == "rcp" ||
                 base == "rsqrt" || base == "sin" || base == "cos" ||
                 base == "tanh";
  if (!isKnown || !isApproximate || type->isDoubleTy() || type->isVectorTy())
    return nullptr;
  Value *wide = b.CreateFPCast(x, b.getFloatTy());
  Value *result = flushed(callFloat(b, "moe_emu_" + base, flushed(wide)));
  return b.CreateFPCast(result, type);
}

/// add, mul, div, fma, fmin, fmax.
Value *expandArithmetic(IRBuilder<> &b, StringRef full, CallBase &call) {
  std::string name = full.str();
  Type *type = call.getType();
  if (!type->isFPOrFPVectorTy())
    return nullptr;
  bool flush = consumeWord(name, "ftz") && type->isFloatTy();
  bool saturate = consumeWord(name, "sat");
  bool clampNegative = consumeWord(name, "relu");
  bool keepNan = consumeWord(name, "nan");
  if (StringRef(name).contains("xorsign"))
    return nullptr;
  auto flushed = [&](Value *value) {
    return flush ? callFloat(b, "moe_emu_flush", value) : value;
  };
  SmallVector<Value *, 3> x;
  for (Value *operand : call.args()) {
    if (operand->getType() != type)
      return nullptr;
    x.push_back(flushed(operand));
  }
  StringRef text = name;
  bool isNearest = text.contains(".rn");
  Value *result = nullptr;
  if (x.size() == 3 && text.starts_with("fma") && isNearest)
    result = b.CreateIntrinsic(Intrinsic::fma, {type}, x);
  else if (x.size() == 2 && text.starts_with("add") && isNearest)
    result = b.CreateFAdd(x[0], x[1]);
  else if (x.size() == 2 && text.starts_with("mul") && isNearest)
    result = b.CreateFMul(x[0], x[1]);
  else if (x.size() == 2 && text.starts_with("div.") &&
           (isNearest || text.contains("approx") || text.contains("full")))
    result = b.CreateFDiv(x[0], x[1]);
  else if (x.size() == 2 && text.starts_with("fmin"))
    result = keepNan ? b.CreateMinimum(x[0], x[1]) : b.CreateMinNum(x[0], x[1]);
  else if (x.size() == 2 && text.starts_with("fmax"))
    result = keepNan ? b.CreateMaximum(x[0], x[1]) : b.CreateMaxNum(x[0], x[1]);
  if (!result)
    return nullptr;
  result = flushed(result);
  if (saturate || clampNegative)
    result = b.CreateMaxNum(result, ConstantFP::get(type, 0.0));
  if (saturate)
    result = b.CreateMinNum(result, ConstantFP::get(type, 1.0));
  return result;
}

/// Conversions between floats and integers: f2i.rz, ui2f.rn, ..
Value *expandConversion(IRBuilder<> &b, StringRef full, CallBase &call) {
  if (call.arg_size() != 1)
    return nullptr;
  std::string name = full.str();
  consumeWord(name, "ftz");
  auto [base, mode] = StringRef(name).split('.');
  Value *x = call.getArgOperand(0);
  bool fromFloat = base.starts_with("f2") || base.starts_with("d2");
  StringRef to = base.drop_front(fromFloat ? 2 : 0);
  if (fromFloat && (to == "i" || to == "ui" || to == "ll" || to == "ull")) {
    Intrinsic::ID id = StringSwitch<Intrinsic::ID>(mode)
                           .Case("rn", Intrinsic::roundeven)
                           .Case("rz", Intrinsic::trunc)
                           .Case("rm", Intrinsic::floor)
                           .Case("rp", Intrinsic::ceil)
                           .Default(Intrinsic::not_intrinsic);
    if (!id)
      return nullptr;
    return b.CreateIntrinsic(
        to.starts_with("u") ? Intrinsic::fptoui_sat : Intrinsic::fptosi_sat,
        {call.getType(), x->getType()}, {b.CreateUnaryIntrinsic(id, x)});
  }
  if (mode != "rn" || !call.getType()->isFloatingPointTy())
    return nullptr;
  if (base == "i2f" || base == "ll2f" || base == "i2d" || base == "ll2d")
    return b.CreateSIToFP(x, call.getType());
  if (base == "ui2f" || base == "ull2f" || base == "ui2d" || base == "ull2d")
    return b.CreateUIToFP(x, call.getType());
  if (base == "f2bf16" || base == "f2f16" || base == "d2f")
    return b.CreateFPCast(x, call.getType());
  return nullptr;
}

Value *expandPacked(IRBuilder<> &b, StringRef name, CallBase &call) {
  if (name == "f2h.rn" || name == "f2h.rn.ftz")
    return b.CreateBitCast(
        b.CreateFPTrunc(call.getArgOperand(0), b.getHalfTy()), b.getInt16Ty());
  bool relu = name.consume_back(".relu");
  if (name != "ff2bf16x2.rn" && name != "ff2f16x2.rn")
    return nullptr;
  // The first operand goes to the upper half.
  auto *type = dyn_cast<FixedVectorType>(call.getType());
  if (!type)
    return nullptr;
  Value *result = PoisonValue::get(type);
  for (unsigned i = 0; i < 2; ++i) {
    Value *x = call.getArgOperand(1 - i);
    if (relu)
      x = b.CreateMaxNum(x, ConstantFP::get(x->getType(), 0.0));
    result = b.CreateInsertElement(
        result, b.CreateFPTrunc(x, type->getElementType()), i);
  }
  return result;
}

Value *expandInteger(IRBuilder<> &b, StringRef name, CallBase &call) {
  if (name.starts_with("mulhi.")) {
    bool isUnsigned = name.drop_front(6).starts_with("u");
    auto *type = cast<IntegerType>(call.getType());
    Type *wide = b.getIntNTy(2 * type->getBitWidth());
    Value *x = call.getArgOperand(0), *y = call.getArgOperand(1);
    x = isUnsigned ? b.CreateZExt(x, wide) : b.CreateSExt(x, wide);
    y = isUnsigned ? b.CreateZExt(y, wide) : b.CreateSExt(y, wide);
    return b.CreateTrunc(b.CreateLShr(b.CreateMul(x, y), type->getBitWidth()),
                         type);
  }
  if (name == "lohi.i2d" || name == "d2i.lo" || name == "d2i.hi") {
    Value *x = call.getArgOperand(0);
    if (name == "lohi.i2d") {
      Value *high =
          b.CreateShl(b.CreateZExt(call.getArgOperand(1), b.getInt64Ty()), 32);
      return b.CreateBitCast(b.CreateOr(high, b.CreateZExt(x, b.getInt64Ty())),
                             b.getDoubleTy());
    }
    Value *bits = b.CreateBitCast(x, b.getInt64Ty());
    return b.CreateTrunc(name == "d2i.hi" ? b.CreateLShr(bits, 32) : bits,
                         b.getInt32Ty());
  }
  if (name.consume_front("isspacep.") &&
      (name == "shared" || name == "shared.cluster" || name == "global")) {
    uint64_t base = SharedMemory::get().getBase();
    Value *at = b.CreatePtrToInt(call.getArgOperand(0), b.getInt64Ty());
    Value *isShared = b.CreateICmpULT(b.CreateSub(at, b.getInt64(base)),
                                      b.getInt64(SharedMemory::arenaBytes));
    // A kernel that asks about local memory too is not told apart here.
    return name == "global" ? b.CreateNot(isShared) : isShared;
  }
  return nullptr;
}

/// Hints, which change nothing that a program sees.
bool isHint(StringRef name) {
  return name.starts_with("griddepcontrol.") || name.starts_with("prefetch") ||
         name.starts_with("applypriority") ||
         name.starts_with("cp.async.bulk.prefetch") || name == "pm.event.mask";
}

} // namespace

bool moec::emu::expandScalar(IRBuilder<> &b, StringRef name, CallBase &call,
                             Value *&result) {
  if (isHint(name))
    return true;
  result = expandRegister(b, name);
  for (auto expand : {expandUnary, expandArithmetic, expandConversion,
                      expandPacked, expandInteger})
    if (!result)
      result = expand(b, name, call);
  return result != nullptr;
}
