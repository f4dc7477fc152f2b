//===- TensorCore.cpp - Asynchronous copies, matrix fragments -------------===//
#include "compiler/targets/nvptx/TensorCore.h"

using namespace mlir;
using namespace moec;
using namespace moec::nvptx;

static Value inSpace(CodeBuilder &b, Value pointer, unsigned space) {
  auto type = LLVM::LLVMPointerType::get(b.getContext(), space);
  return b.create<LLVM::AddrSpaceCastOp>(type, pointer);
}

static Value asShared(CodeBuilder &b, Value pointer) {
  return inSpace(b, pointer, /*space=*/3);
}

/// The members of a struct.
static CodeBuilder::Values unpack(CodeBuilder &b, Value aggregate) {
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
            {asShared(b, shared), inSpace(b, global, /*space=*/1), bytes});
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
  return unpack(
      b, intrinsic(b, name, structOf(b.getI32Type(), 4), asShared(b, shared)));
}

CodeBuilder::Values nvptx::multiplyTiles(CodeBuilder &b, ValueRange a,
                                         ValueRange pair, ValueRange c) {
  SmallVector<Value> operands(a);
  operands.append(pair.begin(), pair.end());
  operands.append(c.begin(), c.end());
  return unpack(b, intrinsic(b, "mma.m16n8k16.row.col.bf16",
                             structOf(b.getF32Type(), 4), operands));
}

Value nvptx::packBf16(CodeBuilder &b, Value low, Value high) {
  Value pair =
      intrinsic(b, "ff2bf16x2.rn", b.vectorOf(b.getBF16Type(), 2), {high, low});
  return b.create<LLVM::BitcastOp>(b.getI32Type(), pair);
}
