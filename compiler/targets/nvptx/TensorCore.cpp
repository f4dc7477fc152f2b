//===- TensorCore.cpp - Asynchronous copies, matrix fragments -------------===//
#include "compiler/targets/nvptx/TensorCore.h"

#include "mlir/IR/BuiltinOps.h"

using namespace mlir;
using namespace moec;
using namespace moec::nvptx;

CodeBuilder::Values nvptx::unpackStruct(CodeBuilder &b, Value aggregate) {
  auto type = cast<LLVM::LLVMStructType>(aggregate.getType());
  CodeBuilder::Values members;
  for (size_t i = 0; i < type.getBody().size(); ++i)
    members.push_back(b.create<LLVM::ExtractValueOp>(
        aggregate, ArrayRef<int64_t>{static_cast<int64_t>(i)}));
  return members;
}

static Type structOf(Type member, unsigned count) {
  return LLVM::LLVMStructType::getLiteral(member.getContext(),
                                          SmallVector<Type>(count, member));
}

void nvptx::copyAsync(CodeBuilder &b, Value shared, Value global,
                      Value isThere) {
  Value bytes = b.select(isThere, b.i32(16), b.i32(0));
  intrinsic(b, "cp.async.cg.shared.global.16.s", {},
            {asShared(b, shared), asGlobal(b, global), bytes});
}

void nvptx::commitCopies(CodeBuilder &b) {
  intrinsic(b, "cp.async.commit.group", {});
}

void nvptx::waitCopies(CodeBuilder &b, int64_t pending) {
  intrinsic(b, "cp.async.wait.group", {}, b.i32(pending));
}

CodeBuilder::Values nvptx::loadMatrices(CodeBuilder &b, Value shared,
                                        bool transposed) {
  StringRef name = transposed ? "ldmatrix.sync.aligned.m8n8.x4.trans.b16"
                              : "ldmatrix.sync.aligned.m8n8.x4.b16";
  return unpackStruct(
      b, intrinsic(b, name, structOf(b.getI32Type(), 4), asShared(b, shared)));
}

CodeBuilder::Values nvptx::multiplyTiles(CodeBuilder &b, ValueRange a,
                                         ValueRange pair, ValueRange c,
                                         Type element) {
  SmallVector<Value> operands(a);
  operands.append(pair.begin(), pair.end());
  StringRef name = "mma.m16n8k16.row.col.bf16";
  if (element && element.isF16()) {
    name = "mma.m16n8k16.row.col.f32.f32";
    for (Value &operand : operands)
      operand = b.create<LLVM::BitcastOp>(b.vectorOf(element, 2), operand);
  }
  operands.append(c.begin(), c.end());
  return unpackStruct(
      b, intrinsic(b, name, structOf(b.getF32Type(), 4), operands));
}

CodeBuilder::Values nvptx::multiplyIntegers(CodeBuilder &b, ValueRange a,
                                            ValueRange pair, ValueRange c) {
  SmallVector<Value> operands(a);
  operands.append(pair.begin(), pair.end());
  operands.append(c.begin(), c.end());
  return unpackStruct(b, intrinsic(b, "mma.m16n8k32.row.col.s8",
                                   structOf(b.getI32Type(), 4), operands));
}

Value nvptx::packBf16(CodeBuilder &b, Value low, Value high) {
  Value pair =
      intrinsic(b, "ff2bf16x2.rn", b.vectorOf(b.getBF16Type(), 2), {high, low});
  return b.create<LLVM::BitcastOp>(b.getI32Type(), pair);
}

Value nvptx::packPair(CodeBuilder &b, Value low, Value high, Type element) {
  if (element.isBF16())
    return packBf16(b, low, high);
  Value pair = intrinsic(b, "ff2f16x2.rn", b.vectorOf(element, 2), {high, low});
  return b.create<LLVM::BitcastOp>(b.getI32Type(), pair);
}

//===----------------------------------------------------------------------===//
// wgmma
//===----------------------------------------------------------------------===//

void nvptx::fenceShared(CodeBuilder &b) {
  intrinsic(b, "fence.proxy.async.shared_cta", {});
}

Value nvptx::describeMatrix(CodeBuilder &b, Value shared,
                            const MatrixPlace &place) {
  constexpr int64_t kSwizzle128 = 1;
  Value address =
      b.create<LLVM::PtrToIntOp>(b.getI64Type(), asShared(b, shared));
  address = b.create<arith::AndIOp>(b.div(address, 16), b.i64(0x3fff));
  int64_t rest = (place.isSwizzled ? 1 : place.along / 16) << 16 |
                 place.across / 16 << 32 |
                 (place.isSwizzled ? kSwizzle128 << 62 : 0);
  return b.create<arith::OrIOp>(address, b.i64(rest));
}

static Type sumsType(CodeBuilder &b, int64_t columns) {
  return structOf(b.getF32Type(), columns / 2);
}

Value nvptx::zeroSums(CodeBuilder &b, int64_t columns) {
  return b.create<LLVM::ZeroOp>(sumsType(b, columns));
}

void nvptx::waitProducts(CodeBuilder &b, int64_t pending) {
  intrinsic(b, "wgmma.wait_group.sync.aligned", {}, b.i64(pending));
}

/// Calls a function that is declared only.
static Value callPlaceholder(CodeBuilder &b, StringRef name, Type result,
                             ValueRange operands) {
  auto module =
      b.getInsertionBlock()->getParentOp()->getParentOfType<ModuleOp>();
  auto function = module.lookupSymbol<LLVM::LLVMFuncOp>(name);
  if (!function) {
    OpBuilder top = OpBuilder::atBlockBegin(module.getBody());
    function = LLVM::LLVMFuncOp::create(
        top, module.getLoc(), name,
        LLVM::LLVMFunctionType::get(result,
                                    SmallVector<Type>(operands.getTypes())));
    function.setConvergent(true);
    function.setNoUnwindAttr(top.getUnitAttr());
  }
  return b.create<LLVM::CallOp>(function, operands).getResult();
}

Value nvptx::multiplyAsync(CodeBuilder &b, Value sums, Value a, Value right,
                           int64_t columns, Type element) {
  StringRef type = element && element.isF16() ? "f16" : "bf16";
  std::string name = ("moec.nv.wgmma.m64n" + Twine(columns) + "k16.f32." +
                      type + "." + type + ".ss")
                         .str();
  return callPlaceholder(b, name, sums.getType(),
                         {sums, a, right, b.constant(b.getI1Type(), 1)});
}

void nvptx::beginProducts(CodeBuilder &b) {
  intrinsic(b, "wgmma.fence.sync.aligned", {});
}

void nvptx::commitProducts(CodeBuilder &b) {
  intrinsic(b, "wgmma.commit_group.sync.aligned", {});
}

Value nvptx::waitSums(CodeBuilder &b, Value sums) {
  size_t count = cast<LLVM::LLVMStructType>(sums.getType()).getBody().size();
  return callPlaceholder(b,
                         "moec.nv.wgmma.wait." + std::to_string(count) + "xf32",
                         sums.getType(), {sums, b.i32(0)});
}
