//===- Backend.cpp - The generic CPU target -------------------------------===//
//
// Kernels for every moex operation of a CPU. A level only changes vector length,
// tile sizes and whether products are fused with sums; the target itself has
// just the baseline.
//
//===----------------------------------------------------------------------===//
#include "compiler/targets/TargetBackend.h"
#include "compiler/targets/generic/CpuEmitter.h"

#include "passes/target/StepFunctions.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moec;
using namespace moec::generic;
using target::IsaLevel;
using target::KernelArguments;
using target::KernelRequest;

//===----------------------------------------------------------------------===//
// Shared by the generators
//===----------------------------------------------------------------------===//

TaskRange generic::splitTasks(CodeBuilder &b, Value total, Value part,
                          Value parts) {
  Value low = b.div(b.mul(total, part), parts);
  Value high = b.div(b.mul(total, b.add(part, 1)), parts);
  return {low, high};
}

TaskRange generic::splitRows(Kernel &kernel, Value rows) {
  CodeBuilder &b = kernel.b;
  Value worker = kernel.arguments.worker;
  return splitTasks(b, rows, target::abi::getThread(b, worker),
                    target::abi::getThreads(b, worker));
}

Value generic::rowPointer(Kernel &kernel, unsigned index, Value row) {
  const KernelOperand &operand = kernel.request.operands[index];
  CodeBuilder &b = kernel.b;
  return b.element(kernel.arguments.pointers[index],
                   b.mul(row, operand.getRowElements()),
                   operand.getElementType());
}

Value generic::findSequence(CodeBuilder &b, Value cuSeqlens, Value token,
                            Value start) {
  return b.advance(start, [&](Value sequence) {
    Value end =
        b.widen(b.load(cuSeqlens, b.add(sequence, 1), b.getI32Type()));
    return b.compare(arith::CmpIPredicate::sle, end, token);
  });
}

LogicalResult generic::requireLayout(const KernelRequest &request,
                                     unsigned index, Attribute wanted) {
  const KernelOperand &operand = request.operands[index];
  if (operand.layout == wanted)
    return success();
  InFlightDiagnostic error =
      request.op->emitOpError("kernel wants layout ");
  if (wanted)
    error << wanted;
  else
    error << "#moeq.row_major";
  Operation *source = request.op->getOperand(index).getDefiningOp();
  if (auto weight = dyn_cast_or_null<moex::WeightOp>(source))
    error << ", weight @" << weight.getWeight() << " has ";
  else if (auto experts = dyn_cast_or_null<moex::ExpertWeightsOp>(source))
    error << ", weights '" << experts.getRole() << "' of @"
          << experts.getTable() << " have ";
  else
    error << ", operand " << index << " has ";
  if (operand.layout)
    error << operand.layout;
  else
    error << "#moeq.row_major";
  return error;
}

//===----------------------------------------------------------------------===//
// Backend
//===----------------------------------------------------------------------===//

namespace {

std::string typeName(Type type) {
  std::string name;
  llvm::raw_string_ostream(name) << type;
  return name;
}

class GenericBackend : public TargetBackend {
public:
  GenericBackend() : emitter("generic", {getBaselineLevel()}, createAnyTile,
                createPlainScores) {}

  StringRef getName() const override { return "generic"; }
  StringRef getDescription() const override {
    return "plain loops for any x86-64 processor";
  }

  const TargetModel &getModel() const override { return model; }
  const target::KernelEmitter &getKernelEmitter() const override {
    return emitter;
  }

private:
  CpuTargetModel model;
  CpuEmitter emitter;
};

TargetRegistration<GenericBackend> registration;

} // namespace

IsaLevel generic::getBaselineLevel() {
  IsaLevel level;
  level.name = "generic";
  level.features = {"+sse2"};
  return level;
}

FailureOr<std::string>
CpuEmitter::getKernelName(const KernelRequest &request) const {
  return describeKernel(request, name);
}

FailureOr<std::string> generic::describeKernel(const KernelRequest &request,
                                               StringRef target) {
  std::string kernel;
  llvm::raw_string_ostream os(kernel);
  auto element = [&](unsigned index) {
    return typeName(request.operands[index].getElementType());
  };
  auto width = [&](unsigned index) {
    return request.operands[index].type.getShape().back();
  };
  unsigned last = request.op->getNumOperands() - 1;
  bool known =
      llvm::TypeSwitch<Operation *, bool>(request.op)
          .Case([&](moex::RowwiseOp op) {
            unsigned out = op.getIns().size();
            os << "moe_rowwise_" << element(0) << "_" << element(out) << "_";
            if (request.operands[out].type.getRank() > 1)
              os << request.operands[out].getRowElements();
            else
              os << 1;
            return true;
          })
          .Case([&](moex::GroupedGemmOp op) {
            os << (op.getSegments() ? "moe_grouped_gemm_"
                   : op.getHeads()  ? "moe_head_gemm_"
                                    : "moe_gemm_")
               << element(0) << "_" << element(1) << "_k" << width(0) << "_n"
               << width(last);
            return true;
          })
          .Case([&](moex::RouteSortOp op) {
            os << "moe_route_sort_" << element(0) << "_e" << op.getExperts()
               << "_k" << cast<MemRefType>(op.getIds().getType()).getDimSize(1);
            return true;
          })
          .Case([&](moex::PlanOp op) {
            os << "moe_plan_e" << op.getExperts() << "_k" << width(0);
            return true;
          })
          .Case([&](moex::LimitSlotsOp op) {
            os << "moe_limit_slots_e" << op.getExperts() << "_k" << width(0);
            return true;
          })
          .Case([&](moex::ExportRoutingOp op) {
            os << "moe_export_routing_r" << op.getRouter() << "_k" << width(0);
            return true;
          })
          .Case([&](moex::RoutingOperandOp op) {
            os << "moe_routing_" << op.getField() << "_r" << op.getRouter()
               << "_k" << width(0);
            return true;
          })
          .Case([&](moex::CombineRowsOp op) {
            os << "moe_combine_rows_" << element(0) << "_" << element(last)
               << "_" << width(last) << "_k" << width(1);
            return true;
          })
          .Case([&](moex::LookupOp op) {
            os << "moe_lookup_" << element(0) << "_" << element(last) << "_"
               << width(last);
            return true;
          })
          .Case([&](moex::StateAppendOp op) {
            os << "moe_state_append_" << element(0) << "_" << width(0);
            return true;
          })
          .Case([&](moex::SequenceLengthsOp op) {
            os << "moe_sequence_lengths";
            return true;
          })
          .Case([&](moex::AttentionOp op) {
            os << (op.getKeyState() ? "moe_attention_paged_" : "moe_attention_")
               << element(0) << "_"
               << typeName(
                      request.operands[op.getKeyState() ? last + 1 : 1]
                          .getElementType())
               << "_h" << op.getHeads() << "_kv" << op.getKvHeads() << "_d"
               << width(0) / op.getHeads();
            return true;
          })
          .Default([](Operation *) { return false; });
  if (!known)
    return request.op->emitOpError("has no kernel on target '")
           << target << "'";
  return kernel;
}

LogicalResult CpuEmitter::emit(const KernelRequest &request,
                                   const KernelArguments &arguments,
                                   CodeBuilder &builder,
                                   KernelModule &module) const {
  for (auto [index, operand] : llvm::enumerate(request.operands))
    if (!CodeBuilder::isMemoryType(operand.getElementType()))
      return request.op->emitOpError("operand ")
             << index << " has elements that a CPU kernel cannot load: "
             << operand.getElementType();
  for (auto [index, operand] : llvm::enumerate(request.operands))
    if (operand.format && !isa<moex::GroupedGemmOp>(request.op))
      return request.op->emitOpError("operand ")
             << index << " is a weight in format " << operand.format
             << ": expected plain numbers";
  Kernel kernel{request, arguments, builder, module};
  return llvm::TypeSwitch<Operation *, LogicalResult>(request.op)
      .Case([&](moex::RowwiseOp op) { return emitRowwise(kernel, op); })
      .Case([&](moex::GroupedGemmOp op) {
        return emitGemm(kernel, op, createTile);
      })
      .Case([&](moex::RouteSortOp op) { return emitRouteSort(kernel, op); })
      .Case([&](moex::PlanOp op) { return emitPlan(kernel, op); })
      .Case([&](moex::LimitSlotsOp op) { return emitLimitSlots(kernel, op); })
      .Case([&](moex::ExportRoutingOp op) {
        return emitExportRouting(kernel, op);
      })
      .Case([&](moex::RoutingOperandOp op) {
        return emitRoutingOperand(kernel, op);
      })
      .Case([&](moex::CombineRowsOp op) { return emitCombineRows(kernel, op); })
      .Case([&](moex::LookupOp op) { return emitLookup(kernel, op); })
      .Case([&](moex::StateAppendOp op) { return emitStateAppend(kernel, op); })
      .Case([&](moex::SequenceLengthsOp op) {
        return emitSequenceLengths(kernel, op);
      })
      .Case([&](moex::AttentionOp op) {
        return emitAttention(kernel, op, createScores);
      });
}
