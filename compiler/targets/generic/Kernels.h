//===- Kernels.h - Kernels of the generic CPU target ------------*- C++ -*-===//
//
// One function per family builds the body of a kernel. All of them divide their
// tasks by the fixed rule of `moex`, so nothing depends on timing or on the
// number of participants.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_COMPILER_TARGETS_GENERIC_KERNELS_H
#define MOEC_COMPILER_TARGETS_GENERIC_KERNELS_H

#include "passes/target/CodeBuilder.h"
#include "passes/target/KernelEmitter.h"

#include "dialects/moex/MoexDialect.h"

namespace moec::generic {

using mlir::Type;
using mlir::Value;
using target::CodeBuilder;
using target::kLanes;
using target::KernelModule;
using target::KernelOperand;

/// What a generator of one kernel works with.
struct Kernel {
  const target::KernelRequest &request;
  const target::KernelArguments &arguments;
  CodeBuilder &b;
  KernelModule &module;

  const target::IsaLevel &getLevel() const { return request.level; }
  /// Index of an operand of the operation, which is also that of its pointer.
  unsigned indexOf(mlir::OpOperand &operand) const {
    return operand.getOperandNumber();
  }
};

/// Half-open range of tasks.
struct TaskRange {
  Value low, high;
};

/// Part `part` of `parts` of `total` tasks: total * part / parts on.
TaskRange splitTasks(CodeBuilder &b, Value total, Value part, Value parts);
/// The rows of this participant.
TaskRange splitRows(Kernel &kernel, Value rows);

/// Address of row `row` of operand `index`.
Value rowPointer(Kernel &kernel, unsigned index, Value row);

/// The sequence of token `token`: the first from `start` on that ends behind it.
Value findSequence(CodeBuilder &b, Value cuSeqlens, Value token, Value start);

/// Refuses a weight whose layout is not the wanted one; null is row-major.
mlir::LogicalResult requireLayout(const target::KernelRequest &request,
                                  unsigned index, mlir::Attribute wanted);

/// `moe_<family>_<in>_<weight>_<shape>` of a kernel of any operation of moex.
mlir::FailureOr<std::string>
describeKernel(const target::KernelRequest &request, llvm::StringRef target);

mlir::LogicalResult emitRowwise(Kernel &kernel, moex::RowwiseOp op);
mlir::LogicalResult emitRouteSort(Kernel &kernel, moex::RouteSortOp op);
mlir::LogicalResult emitPlan(Kernel &kernel, moex::PlanOp op);
mlir::LogicalResult emitLimitSlots(Kernel &kernel, moex::LimitSlotsOp op);
/// The code of one participant, which decides alone: who comes first depends on
/// all tokens of a sequence. `pointers` are the operands', `taken` is memory for
/// one i32 per expert.
void buildLimitSlots(CodeBuilder &b, Value step, moex::LimitSlotsOp op,
                     llvm::ArrayRef<Value> pointers, Value taken);
/// Where the elements of `moex.routing_operand` come from.
struct RoutingSource {
  /// The caller's array, NULL without one, and whether there is one.
  Value array, isThere;
  /// Of `count`, one for all routers: the index of this router's.
  Value router;
  /// Types of the array's and of the operand's elements.
  Type from, to;
  /// The element that means nothing.
  Value nothing;

  /// Element `index`, where there is an array.
  Value load(CodeBuilder &b, Value index) const;
};
RoutingSource findRoutingSource(CodeBuilder &b, Value step,
                                moex::RoutingOperandOp op);
mlir::LogicalResult emitRoutingOperand(Kernel &kernel,
                                       moex::RoutingOperandOp op);
mlir::LogicalResult emitExportRouting(Kernel &kernel,
                                      moex::ExportRoutingOp op);
mlir::LogicalResult emitCombineRows(Kernel &kernel, moex::CombineRowsOp op);
mlir::LogicalResult emitLookup(Kernel &kernel, moex::LookupOp op);
mlir::LogicalResult emitStateAppend(Kernel &kernel, moex::StateAppendOp op);
mlir::LogicalResult emitSequenceLengths(Kernel &kernel,
                                        moex::SequenceLengthsOp op);

} // namespace moec::generic

#endif // MOEC_COMPILER_TARGETS_GENERIC_KERNELS_H
