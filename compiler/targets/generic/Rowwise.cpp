//===- Rowwise.cpp - Row bodies on buffers --------------------------------===//
#include "compiler/targets/generic/Kernels.h"
#include "compiler/targets/generic/RowBody.h"

#include "passes/target/StepFunctions.h"

using namespace mlir;
using namespace moec;
using namespace moec::generic;

LogicalResult generic::emitRowwise(Kernel &kernel, moex::RowwiseOp op) {
  CodeBuilder &b = kernel.b;
  unsigned numIns = op.getIns().size();
  for (unsigned i = 0; i < numIns; ++i)
    if (failed(requireLayout(kernel.request, i, {})))
      return failure();
  // A body may read all of an in before it has written an out: when they are
  // one buffer, results wait on the stack.
  bool isInPlace = llvm::any_of(op.getOuts(), [&](Value out) {
    return llvm::is_contained(op.getIns(), out);
  });

  Value rows = kernel.arguments.rows;
  TaskRange range;
  switch (op.getTasks()) {
  case moex::Tasks::Rows:
    range = splitRows(kernel, rows);
    break;
  case moex::Tasks::One: {
    Value thread = target::abi::getThread(b, kernel.arguments.worker);
    Value isFirst = b.compare(arith::CmpIPredicate::eq, thread, b.i64(0));
    range = {b.i64(0), b.select(isFirst, rows, b.i64(0))};
    break;
  }
  case moex::Tasks::Columns:
    return op.emitOpError("cannot divide its columns on a CPU");
  }

  Block &body = op.getBody().front();
  LogicalResult status = success();
  b.loop(range.low, range.high, 1, [&](Value row) {
    RowBody rowBody(b, kernel.module);
    for (auto [i, argument] : llvm::enumerate(body.getArguments())) {
      MemRefType type = kernel.request.operands[i].type;
      int64_t period = op.getPeriod()[i];
      Value pointer = kernel.arguments.pointers[i];
      if (period != 0)
        pointer = rowPointer(kernel, i, b.rem(row, period));
      else if (type.getRank() > 0 && type.isDynamicDim(0))
        pointer = rowPointer(kernel, i, row);
      rowBody.bind(argument, pointer);
    }
    if (failed(rowBody.run(body))) {
      status = failure();
      return;
    }
    OperandRange yielded = body.getTerminator()->getOperands();
    if (isInPlace)
      for (Value value : yielded)
        rowBody.materialize(value);
    for (auto [i, value] : llvm::enumerate(yielded))
      rowBody.store(value, rowPointer(kernel, numIns + i, row));
    status = rowBody.getStatus();
  });
  return status;
}
