//===- GemmFrame.cpp - What products on tensor cores share ----------------===//
#include "compiler/targets/nvptx/kernels/GemmFrame.h"

using namespace mlir;
using namespace moec;
using namespace moec::nvptx;

GemmShape::GemmShape(const KernelRequest &request)
    : op(cast<moex::GroupedGemmOp>(request.op)),
      xType(request.operands[0].getElementType()),
      outIndex(request.op->getNumOperands() - 1),
      heads(op.getHeads().value_or(1)),
      depth(request.operands[0].getRowElements() / heads),
      width(request.operands[outIndex].getRowElements() / heads),
      numWeights(op.getWeights().size()),
      experts(op.getSegments() ? request.operands[1].type.getDimSize(0) : 0) {
  outType = request.operands[outIndex].getElementType();
}

GemmFrame::GemmFrame(const KernelRequest &request,
                     const KernelArguments &arguments, CodeBuilder &b)
    : request(request), arguments(arguments), b(b), shape(request) {
  unsigned next = 1 + shape.numWeights + shape.op.getBiases().size();
  if (shape.op.getGather())
    gather = arguments.pointers[next++];
  if (shape.op.getSegments())
    segments = arguments.pointers[next];
}

void GemmFrame::bindWeights(Value expert) {
  auto find = [&](unsigned index) {
    return expert ? expertPointer(b, arguments, index, expert)
                  : arguments.pointers[index];
  };
  unsigned next = 1;
  matrices.clear();
  biases.clear();
  for (int64_t i = 0; i < shape.numWeights; ++i)
    matrices.push_back(find(next++));
  for (size_t i = 0; i < shape.op.getBiases().size(); ++i)
    biases.push_back(find(next++));
}

Value GemmFrame::compute(ArrayRef<Value> sums, Value column) {
  FailureOr<Value> result =
      buildEpilogue(b, shape.op, request, sums, biases, column);
  if (succeeded(result))
    return *result;
  status = failure();
  return b.constant(shape.outType, 0.0);
}

Value GemmFrame::outPointer(Value row, Value column) {
  return b.element(rowPointer(b, request, arguments, shape.outIndex, row),
                   column, shape.outType);
}

void GemmFrame::storeRun(Value row, Value column, ArrayRef<Values> sums) {
  Type type = shape.outType;
  int64_t count = sums[0].size(), width = shape.width;
  Value end = endColumn ? endColumn : b.i64(width);
  Value to = outPointer(row, column);
  auto computeAt = [&](int64_t i) {
    SmallVector<Value> values;
    for (const Values &weight : sums)
      values.push_back(weight[i]);
    return compute(values, b.add(column, i));
  };
  if (width % count != 0) {
    for (int64_t i = 0; i < count; ++i)
      b.ifThen(b.lessThan(b.add(column, i), end),
               [&] { b.store(computeAt(i), b.element(to, b.i64(i), type)); });
    return;
  }
  b.ifThen(b.lessThan(column, end), [&] {
    Type storage = CodeBuilder::storageType(type);
    int64_t wide = std::min<int64_t>(count, 16 / CodeBuilder::byteSize(type));
    for (int64_t start = 0; start < count; start += wide) {
      Value vector = b.create<LLVM::PoisonOp>(b.vectorOf(storage, wide));
      for (int64_t i = 0; i < wide; ++i) {
        Value x = computeAt(start + i);
        if (storage != type)
          x = b.create<arith::BitcastOp>(storage, x);
        vector = b.create<LLVM::InsertElementOp>(vector, x, b.i32(i));
      }
      storeWide(b, vector, b.element(to, b.i64(start), type));
    }
  });
}

Value nvptx::isInRange(CodeBuilder &host, Value rows, const GemmShape &shape,
                       RowRange range) {
  Value average = shape.experts ? ceilDiv(host, rows, shape.experts) : rows;
  return host.create<arith::AndIOp>(
      host.lessThan(host.i64(range.low), average),
      host.compare(arith::CmpIPredicate::sle, average, host.i64(range.high)));
}

Value nvptx::countRowTiles(CodeBuilder &host, Value rows,
                           const GemmShape &shape, int64_t tileRows) {
  return shape.experts
             ? countSegmentTiles(host, rows, shape.experts, tileRows)
             : ceilDiv(host, rows, tileRows);
}
