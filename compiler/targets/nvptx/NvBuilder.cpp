//===- NvBuilder.cpp - Threads, warps and shared memory -------------------===//
#include "compiler/targets/nvptx/NvBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/BuiltinOps.h"

using namespace mlir;
using namespace moec;
using namespace moec::nvptx;

Value nvptx::intrinsic(CodeBuilder &b, StringRef name, Type result,
                       ValueRange operands) {
  auto full = b.getStringAttr("llvm.nvvm." + name);
  if (!result) {
    b.create<LLVM::CallIntrinsicOp>(full, operands);
    return Value();
  }
  return b.create<LLVM::CallIntrinsicOp>(result, full, operands).getResult(0);
}

/// A special register, as i64. Sizes are far below 2^31.
static Value readRegister(CodeBuilder &b, StringRef name) {
  return b.widen(
      nvptx::intrinsic(b, ("read.ptx.sreg." + name).str(), b.getI32Type()));
}

static StringRef dimName(unsigned dim) {
  static constexpr StringRef names[] = {"x", "y", "z"};
  return names[dim];
}

Value nvptx::threadId(CodeBuilder &b) { return readRegister(b, "tid.x"); }

Value nvptx::blockId(CodeBuilder &b, unsigned dim) {
  return readRegister(b, ("ctaid." + dimName(dim)).str());
}

Value nvptx::blockCount(CodeBuilder &b, unsigned dim) {
  return readRegister(b, ("nctaid." + dimName(dim)).str());
}

Value nvptx::laneId(CodeBuilder &b) { return b.rem(threadId(b), kWarp); }
Value nvptx::warpId(CodeBuilder &b) { return b.div(threadId(b), kWarp); }

void nvptx::syncBlock(CodeBuilder &b) {
  intrinsic(b, "barrier.cta.sync.aligned.all", {}, b.i32(0));
}

void nvptx::syncWarp(CodeBuilder &b) {
  intrinsic(b, "bar.warp.sync", {}, b.i32(-1));
}

/// shfl.sync of 32 bits, or of both halves of 64.
static Value shuffle(CodeBuilder &b, StringRef kind, Value value, Value lane,
                     int64_t clamp) {
  if (Type whole = value.getType(); whole.getIntOrFloatBitWidth() == 64) {
    Type i32 = b.getI32Type(), i64 = b.getI64Type();
    constexpr int64_t kHalf = 32;
    Value bits = b.createOrFold<arith::BitcastOp>(i64, value);
    Value low = b.create<arith::TruncIOp>(i32, bits);
    Value high = b.create<arith::TruncIOp>(
        i32, b.create<arith::ShRUIOp>(bits, b.i64(kHalf)).getResult());
    low = b.create<arith::ExtUIOp>(i64, shuffle(b, kind, low, lane, clamp));
    high = b.create<arith::ExtUIOp>(i64, shuffle(b, kind, high, lane, clamp));
    bits = b.create<arith::OrIOp>(
        low, b.create<arith::ShLIOp>(high, b.i64(kHalf)).getResult());
    return b.createOrFold<arith::BitcastOp>(whole, bits);
  }
  StringRef type = value.getType().isF32() ? ".f32" : ".i32";
  return nvptx::intrinsic(b, ("shfl.sync." + kind + type).str(),
                          value.getType(),
                          {b.i32(-1), value, lane, b.i32(clamp)});
}

Value nvptx::shuffleXor(CodeBuilder &b, Value value, int64_t mask) {
  return shuffle(b, "bfly", value, b.i32(mask), 31);
}

Value nvptx::shuffleFrom(CodeBuilder &b, Value value, Value lane) {
  return shuffle(b, "idx", value, lane, 31);
}

Value nvptx::shuffleUp(CodeBuilder &b, Value value, int64_t delta) {
  return shuffle(b, "up", value, b.i32(delta), 0);
}

Value nvptx::ballot(CodeBuilder &b, Value condition) {
  return intrinsic(b, "vote.ballot.sync", b.getI32Type(),
                   {b.i32(-1), condition});
}

Value nvptx::sharedMemory(CodeBuilder &b) {
  constexpr unsigned kShared = 3;
  constexpr StringRef name = "moe_shared";
  auto module =
      b.getInsertionBlock()->getParentOp()->getParentOfType<ModuleOp>();
  if (!module.lookupSymbol(name)) {
    OpBuilder top = OpBuilder::atBlockBegin(module.getBody());
    LLVM::GlobalOp::create(top, module.getLoc(),
                           LLVM::LLVMArrayType::get(b.getI8Type(), 0),
                           /*isConstant=*/false, LLVM::Linkage::External, name,
                           Attribute(), /*alignment=*/1024, kShared);
  }
  auto type = LLVM::LLVMPointerType::get(b.getContext(), kShared);
  Value address = b.create<LLVM::AddressOfOp>(type, name);
  return b.create<LLVM::AddrSpaceCastOp>(b.ptrType(), address);
}

static Value inSpace(CodeBuilder &b, Value pointer, unsigned space) {
  auto type = LLVM::LLVMPointerType::get(b.getContext(), space);
  return b.create<LLVM::AddrSpaceCastOp>(type, pointer);
}

Value nvptx::asGlobal(CodeBuilder &b, Value pointer) {
  return inSpace(b, pointer, /*space=*/1);
}

Value nvptx::asShared(CodeBuilder &b, Value pointer) {
  return inSpace(b, pointer, /*space=*/3);
}

Value nvptx::loadWide(CodeBuilder &b, Value pointer, Type element,
                      int64_t count) {
  VectorType type = b.vectorOf(element, count);
  Type storage = CodeBuilder::storageType(type);
  Value value = b.create<LLVM::LoadOp>(storage, pointer,
                                       count * CodeBuilder::byteSize(element));
  return storage == type ? value
                         : b.create<arith::BitcastOp>(type, value).getResult();
}

void nvptx::storeWide(CodeBuilder &b, Value vector, Value pointer) {
  auto type = cast<VectorType>(vector.getType());
  Type storage = CodeBuilder::storageType(type);
  if (storage != type)
    vector = b.create<arith::BitcastOp>(storage, vector);
  b.create<LLVM::StoreOp>(vector, pointer,
                          type.getNumElements() *
                              CodeBuilder::byteSize(type.getElementType()));
}

Value nvptx::ceilDiv(CodeBuilder &b, Value value, int64_t by) {
  return b.div(b.add(value, by - 1), by);
}
