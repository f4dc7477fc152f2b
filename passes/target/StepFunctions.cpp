//===- StepFunctions.cpp - The functions that a host calls ----------------===//
#include "passes/target/StepFunctions.h"

#include "dialects/moex/MoexDialect.h"
#include "runtime/abi/moe_abi.h"

#include "mlir/IR/AffineExpr.h"
#include "llvm/Support/raw_ostream.h"

#include <cstddef>

using namespace mlir;
using namespace moec;
using namespace moec::target;

//===----------------------------------------------------------------------===//
// Structs
//===----------------------------------------------------------------------===//

static Value loadPointer(CodeBuilder &b, Value base, size_t offset) {
  return b.load(b.field(base, offset), b.ptrType());
}

Value abi::getHost(CodeBuilder &b, Value step) {
  return loadPointer(b, step, offsetof(moe_step_v1, host));
}
Value abi::getBatch(CodeBuilder &b, Value step) {
  return loadPointer(b, step, offsetof(moe_step_v1, batch));
}
Value abi::getScratch(CodeBuilder &b, Value step) {
  return loadPointer(b, step, offsetof(moe_step_v1, scratch));
}
Value abi::getWeights(CodeBuilder &b, Value step) {
  return loadPointer(b, step, offsetof(moe_step_v1, weights));
}
Value abi::getWeight(CodeBuilder &b, Value step, int64_t ordinal) {
  return loadPointer(b, getWeights(b, step), ordinal * sizeof(void *));
}
Value abi::getState(CodeBuilder &b, Value step, int64_t ordinal) {
  Value states = loadPointer(b, step, offsetof(moe_step_v1, states));
  return loadPointer(b, states, ordinal * sizeof(void *));
}
Value abi::getOutput(CodeBuilder &b, Value step, int64_t ordinal) {
  Value outputs = loadPointer(b, step, offsetof(moe_step_v1, outputs));
  return loadPointer(b, outputs, ordinal * sizeof(void *));
}

Value abi::getPositions(CodeBuilder &b, Value batch) {
  return loadPointer(b, batch, offsetof(moe_batch_v1, positions));
}
Value abi::getCuSeqlens(CodeBuilder &b, Value batch) {
  return loadPointer(b, batch, offsetof(moe_batch_v1, cu_seqlens));
}
Value abi::getPageTable(CodeBuilder &b, Value batch) {
  return loadPointer(b, batch, offsetof(moe_batch_v1, page_table));
}
Value abi::getPagesPerSequence(CodeBuilder &b, Value batch) {
  return b.load(b.field(batch, offsetof(moe_batch_v1, pages_per_sequence)),
                b.getI64Type());
}

Value abi::getThread(CodeBuilder &b, Value worker) {
  return b.widen(b.load(b.field(worker, offsetof(moe_worker_v1, thread)),
                        b.getI32Type()));
}
Value abi::getThreads(CodeBuilder &b, Value worker) {
  return b.widen(b.load(b.field(worker, offsetof(moe_worker_v1, threads)),
                        b.getI32Type()));
}

void abi::callBarrier(CodeBuilder &b, Value step, Value worker) {
  Value barrier =
      loadPointer(b, getHost(b, step), offsetof(moe_host_v1, barrier));
  auto type = LLVM::LLVMFunctionType::get(
      LLVM::LLVMVoidType::get(b.getContext()), {b.ptrType()});
  b.create<LLVM::CallOp>(type, ValueRange{barrier, worker});
  b.noteBarrier();
}

Value moec::target::getBatchField(CodeBuilder &b, Value step, unsigned field,
                                  int64_t modality) {
  Value batch = abi::getBatch(b, step);
  switch (static_cast<moex::BatchField>(field)) {
  case moex::BatchField::Tokens:
    return loadPointer(b, batch, offsetof(moe_batch_v1, tokens));
  case moex::BatchField::Kinds:
    return loadPointer(b, batch, offsetof(moe_batch_v1, kinds));
  case moex::BatchField::Positions:
    return loadPointer(b, batch, offsetof(moe_batch_v1, positions));
  case moex::BatchField::CuSeqlens:
    return loadPointer(b, batch, offsetof(moe_batch_v1, cu_seqlens));
  case moex::BatchField::LogitsRows:
    return loadPointer(b, batch, offsetof(moe_batch_v1, logits_rows));
  case moex::BatchField::Raw:
    return loadPointer(b, batch,
                       offsetof(moe_batch_v1, raw) + modality * sizeof(void *));
  }
  llvm_unreachable("all fields are handled");
}

//===----------------------------------------------------------------------===//
// Extents
//===----------------------------------------------------------------------===//

Extents::Extents(CodeBuilder &b, Value extents)
    : b(b), pointer(extents), values(moex::kNumExtents) {}

Extents Extents::ofStep(CodeBuilder &b, Value step) {
  return Extents(
      b, b.field(abi::getBatch(b, step), offsetof(moe_batch_v1, extents)));
}

Value Extents::evaluate(AffineMap map) { return evaluate(map.getResult(0)); }

Value Extents::getTokens() {
  return evaluate(getAffineDimExpr(0, b.getContext()));
}

Value Extents::getSequences() {
  return evaluate(getAffineDimExpr(1, b.getContext()));
}

Value Extents::getResultRows() {
  return evaluate(getAffineDimExpr(2, b.getContext()));
}

Value Extents::evaluate(AffineExpr expr) {
  static_assert(offsetof(moe_extents_v1, raw_inputs) ==
                    offsetof(moe_extents_v1, tokens) + 3 * sizeof(uint64_t),
                "extents are adjacent");
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return b.i64(constant.getValue());
  if (auto dim = dyn_cast<AffineDimExpr>(expr)) {
    Value &value = values[dim.getPosition()];
    if (!value)
      value = b.load(b.field(pointer, offsetof(moe_extents_v1, tokens) +
                                          dim.getPosition() * sizeof(uint64_t)),
                     b.getI64Type());
    return value;
  }
  auto binary = cast<AffineBinaryOpExpr>(expr);
  Value x = evaluate(binary.getLHS()), y = evaluate(binary.getRHS());
  // Extents are not negative, differences of them may be: quotients round to
  // minus infinity as affine expressions say.
  auto floorDivide = [&](Value x) {
    Value quotient = b.createOrFold<arith::DivSIOp>(x, y);
    Value rest = b.sub(x, b.mul(quotient, y));
    return b.select(b.lessThan(rest, b.i64(0)), b.sub(quotient, b.i64(1)),
                    quotient);
  };
  switch (expr.getKind()) {
  case AffineExprKind::Add:
    return b.add(x, y);
  case AffineExprKind::Mul:
    return b.mul(x, y);
  case AffineExprKind::FloorDiv:
    return floorDivide(x);
  case AffineExprKind::CeilDiv:
    return floorDivide(b.sub(b.add(x, y), b.i64(1)));
  case AffineExprKind::Mod:
    return b.sub(x, b.mul(floorDivide(x), y));
  default:
    llvm_unreachable("maps of extents have no symbols");
  }
}

/// Prints `expr`; a sum inside a product or quotient gets parentheses.
static void printFormula(raw_ostream &os, AffineExpr expr, bool inProduct) {
  static const char *const names[] = {"T",  "B",  "R",  "M0", "M1", "M2",
                                      "M3", "M4", "M5", "M6", "M7"};
  if (auto constant = dyn_cast<AffineConstantExpr>(expr)) {
    os << constant.getValue();
    return;
  }
  if (auto dim = dyn_cast<AffineDimExpr>(expr)) {
    os << names[dim.getPosition()];
    return;
  }
  auto binary = cast<AffineBinaryOpExpr>(expr);
  const char *symbol = expr.getKind() == AffineExprKind::Add        ? " + "
                       : expr.getKind() == AffineExprKind::Mul      ? " * "
                       : expr.getKind() == AffineExprKind::FloorDiv ? " floordiv "
                       : expr.getKind() == AffineExprKind::CeilDiv  ? " ceildiv "
                                                                    : " mod ";
  bool isSum = expr.getKind() == AffineExprKind::Add;
  bool isPlain = isSum || expr.getKind() == AffineExprKind::Mul;
  bool brackets = inProduct && (isSum || !isPlain);
  if (brackets)
    os << "(";
  printFormula(os, binary.getLHS(), !isSum);
  os << symbol;
  printFormula(os, binary.getRHS(), !isSum);
  if (brackets)
    os << ")";
}

std::string moec::target::printExtentsFormula(AffineMap map) {
  std::string text;
  llvm::raw_string_ostream os(text);
  printFormula(os, map.getResult(0), /*inProduct=*/false);
  return text;
}

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

void moec::target::buildStepFunction(LLVM::LLVMFuncOp func,
                                     LLVM::LLVMFuncOp body) {
  Block &entry = func.getBody().front();
  CodeBuilder b(func.getLoc(), &entry);
  Value step = entry.getArgument(0);
  Value host = abi::getHost(b, step);
  Value user = loadPointer(b, host, offsetof(moe_host_v1, user));
  Value parallel = loadPointer(b, host, offsetof(moe_host_v1, parallel));
  Value region = b.create<LLVM::AddressOfOp>(b.ptrType(), body.getSymName());
  auto type = LLVM::LLVMFunctionType::get(
      b.getI32Type(), {b.ptrType(), b.ptrType(), b.ptrType()});
  Value status = b.create<LLVM::CallOp>(
                      type, ValueRange{parallel, user, region, step})
                     .getResult();
  Value failed =
      b.compare(arith::CmpIPredicate::ne, status, b.i32(MOE_STEP_OK));
  b.create<LLVM::ReturnOp>(b.select(failed, b.i32(MOE_STEP_PARALLEL_FAILED),
                                    b.i32(MOE_STEP_OK)));
}

void moec::target::buildScratchFunction(LLVM::LLVMFuncOp func,
                                        AffineMap bytes) {
  Block &entry = func.getBody().front();
  CodeBuilder b(func.getLoc(), &entry);
  Value size = Extents(b, entry.getArgument(0)).evaluate(bytes);
  b.create<LLVM::ReturnOp>(size);
}
