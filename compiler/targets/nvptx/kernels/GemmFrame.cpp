//===- GemmFrame.cpp - What products on tensor cores share ----------------===//
#include "compiler/targets/nvptx/kernels/GemmFrame.h"

#include "compiler/targets/nvptx/TensorCore.h"

#include "dialects/moeq/MoeqDialect.h"

using namespace mlir;
using namespace moec;
using namespace moec::nvptx;

GemmShape::GemmShape(const KernelRequest &request)
    : op(cast<moex::GroupedGemmOp>(request.op)), compute(op.getCompute()),
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
    : GemmShape(request), request(request), arguments(arguments), b(b) {
  unsigned next = 1 + numWeights + op.getBiases().size();
  if (op.getGather())
    gather = arguments.pointers[next++];
  if (op.getSegments())
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
  for (int64_t i = 0; i < numWeights; ++i)
    matrices.push_back(find(next++));
  for (size_t i = 0; i < op.getBiases().size(); ++i)
    biases.push_back(asGlobal(b, find(next++)));
}

Value GemmFrame::buildOutput(ArrayRef<Values> sums, int64_t i, Value column) {
  SmallVector<Value> values;
  for (const Values &weight : sums)
    values.push_back(weight[i]);
  FailureOr<Value> result =
      buildEpilogue(b, op, request, values, biases, column);
  if (succeeded(result))
    return *result;
  status = failure();
  return b.constant(b.getF32Type(), 0.0);
}

Value GemmFrame::outPointer(Value row, Value column) {
  return b.element(rowPointer(b, request, arguments, outIndex, row), column,
                   outType);
}

void GemmFrame::storePair(Value row, Value column, ArrayRef<Values> sums,
                          Value end) {
  Value to = outPointer(row, column);
  Value columns[] = {column, b.add(column, 1)};
  if (width % 2 != 0) {
    for (int64_t i : {0, 1})
      b.ifThen(b.lessThan(columns[i], end), [&] {
        Value x = b.fromF32(buildOutput(sums, i, columns[i]), outType);
        b.store(x, to, b.i64(i));
      });
    return;
  }
  b.ifThen(b.lessThan(column, end), [&] {
    Value outputs[2];
    for (int64_t i : {0, 1})
      outputs[i] = buildOutput(sums, i, columns[i]);
    if (CodeBuilder::isSmallFloat(outType)) {
      b.store(packPair(b, outputs[0], outputs[1], outType), to);
      return;
    }
    Value vector = b.create<LLVM::PoisonOp>(b.vectorOf(outType, 2));
    for (int64_t i : {0, 1})
      vector = b.create<LLVM::InsertElementOp>(
          vector, b.fromF32(outputs[i], outType), b.i32(i));
    storeWide(b, vector, to);
  });
}

void GemmFrame::storeSums(const WarpSums &layout, ValueRange sums, Value lane,
                          Value row, Value inTile, Value rows, Value column,
                          Value end) {
  Value g = b.div(lane, 4), t = b.rem(lane, 4);
  column = b.add(column, b.mul(t, 2));
  for (int64_t m = 0; m < layout.rowTiles; ++m)
    for (int64_t half : {0, 1}) {
      Value mine = b.add(inTile, b.add(g, m * 16 + half * 8));
      b.ifThen(b.lessThan(mine, rows), [&] {
        for (int64_t n = 0; n < layout.pieces; ++n) {
          SmallVector<Values> run(numWeights);
          for (int64_t w = 0; w < numWeights; ++w)
            for (int64_t i : {0, 1})
              run[w].push_back(sums[layout.getPlace(w, m, n) + half * 2 + i]);
          storePair(b.add(row, mine), b.add(column, n * 8), run, end);
        }
      });
    }
}

bool nvptx::canCopyWeights(const KernelRequest &request) {
  auto op = cast<moex::GroupedGemmOp>(request.op);
  Attribute layout = moeq::RowBlocksLayoutAttr::get(
      op.getContext(), kBlockColumns, kUnitIndices);
  return llvm::all_of(
      ArrayRef(request.operands).slice(1, op.getWeights().size()),
      [&](const KernelOperand &weight) {
        return weight.getElementType() == op.getCompute() && !weight.format &&
               weight.layout == layout;
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
  return shape.experts ? countSegmentTiles(host, rows, shape.experts, tileRows)
                       : ceilDiv(host, rows, tileRows);
}
