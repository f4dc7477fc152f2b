//===- CheckRouters.cpp - Compare lowerings with references ---------------===//
#include "dialects/interfaces/ReferenceOpInterface.h"
#include "dialects/interfaces/RoutingInterfaces.h"
#include "dialects/row/RowDialect.h"
#include "dialects/row/RowEvaluator.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

#include <cmath>
#include <random>
#include <set>

namespace moec {
#define GEN_PASS_DECL_CHECKROUTERS
#define GEN_PASS_DEF_CHECKROUTERS
#include "passes/verify/Passes.h.inc"
} // namespace moec

using namespace mlir;
using namespace moec;

namespace {
struct CheckRouters : public moec::impl::CheckRoutersBase<CheckRouters> {
  using CheckRoutersBase::CheckRoutersBase;

  void runOnOperation() override {
    auto result = getOperation().walk([&](RoutingOpInterface router) {
      if (!isa<ReferenceOpInterface>(router.getOperation())) {
        router->emitOpError("expected a router to implement "
                            "ReferenceOpInterface");
        return WalkResult::interrupt();
      }
      if (!router.getGuarantees().tokenLocal)
        return WalkResult::advance(); // no token body to compare
      ++checked;
      return failed(check(router)) ? WalkResult::interrupt()
                                   : WalkResult::advance();
    });
    if (result.wasInterrupted())
      return signalPassFailure();
  }

  /// Random numbers for one operand. Routing results that a router reads (arms
  /// of select_routing) must be valid ids, so integers stay small and may be
  /// -1 only where a row may have unused slots.
  HostTensor randomOperand(Type type, std::mt19937 &random) {
    auto tensor = cast<RankedTensorType>(type);
    SmallVector<int64_t> shape(tensor.getShape());
    if (tensor.isDynamicDim(0))
      shape[0] = tokens;
    if (isa<FloatType>(tensor.getElementType())) {
      HostTensor result = HostTensor::zerosF32(shape);
      // Multiples of 1/8: ties happen and must go to the lower id.
      std::uniform_int_distribution<int> eighths(-24, 24);
      for (float &x : result.f32())
        x = static_cast<float>(eighths(random)) / 8.0f;
      return result;
    }
    HostTensor result = HostTensor::zerosI32(shape);
    std::uniform_int_distribution<int> small(0, 3);
    for (int32_t &x : result.i32())
      x = small(random);
    return result;
  }

  LogicalResult check(RoutingOpInterface router) {
    std::mt19937 random(static_cast<unsigned>(seed));
    std::vector<HostTensor> inputs, outputs(2);
    for (Type type : router->getOperandTypes())
      inputs.push_back(randomOperand(type, random));
    if (failed(cast<ReferenceOpInterface>(router.getOperation())
                   .evaluate(inputs, outputs)))
      return failure();

    // The token body, built in a region of its own.
    Region region;
    OpBuilder b(&getContext());
    SmallVector<Type> rows;
    for (Type type : router->getOperandTypes())
      rows.push_back(row::ApplyOp::getRowType(type));
    Block *block =
        b.createBlock(&region, {}, rows,
                      SmallVector<Location>(rows.size(), router->getLoc()));
    FailureOr<RoutedRow> routed = router.lowerToken(b, block->getArguments());
    if (failed(routed))
      return failure();
    row::YieldOp::create(b, router->getLoc(),
                         ValueRange{routed->ids, routed->weights});

    for (int64_t t = 0; t < tokens; ++t) {
      std::vector<RowValue> arguments;
      for (auto [input, type] : llvm::zip(inputs, router->getOperandTypes()))
        arguments.push_back(rowOf(input, type, t));
      FailureOr<std::vector<RowValue>> lowered =
          evaluateRowBody(region, arguments);
      if (failed(lowered) ||
          failed(compare(router, t, outputs[0].rowI32(t), outputs[1].rowF32(t),
                         (*lowered)[0], (*lowered)[1])))
        return failure();
    }
    router->emitRemark("lowerToken agrees with evaluate on ")
        << int64_t(tokens) << " tokens";
    return success();
  }

  /// Routers over the ids of others pass on what they are given, here random.
  static bool readsIds(RoutingOpInterface router) {
    return llvm::any_of(router->getOperandTypes(), [](Type type) {
      auto tensor = cast<RankedTensorType>(type);
      return tensor.getRank() == 2 && !isa<FloatType>(tensor.getElementType());
    });
  }

  LogicalResult compare(RoutingOpInterface router, int64_t token,
                        ArrayRef<int32_t> ids, ArrayRef<float> weights,
                        const RowValue &loweredIds,
                        const RowValue &loweredWeights) {
    RoutingGuarantees promised = router.getGuarantees();
    std::set<int32_t> seen;
    double sum = 0.0;
    for (size_t s = 0; s < ids.size(); ++s) {
      bool close = std::fabs(weights[s] - loweredWeights[s]) <=
                   1e-5 * (1.0 + std::fabs(weights[s]));
      if (ids[s] != loweredIds[s] || !close)
        return router->emitOpError("token ")
               << token << ", slot " << s << ": evaluate gives expert "
               << ids[s] << " with weight " << weights[s]
               << ", lowerToken expert " << int64_t(loweredIds[s])
               << " with weight " << loweredWeights[s];
      if (ids[s] >= router.getNumExperts() && !readsIds(router))
        return router->emitOpError("token ")
               << token << ": expected ids below " << router.getNumExperts()
               << ", found " << ids[s];
      if (ids[s] < 0 && promised.dropFree)
        return router->emitOpError("token ")
               << token << ": promises no unused slot, slot " << s << " is";
      if (ids[s] >= 0 && !seen.insert(ids[s]).second && promised.distinct)
        return router->emitOpError("token ")
               << token << ": promises distinct ids, " << ids[s]
               << " occurs twice";
      sum += weights[s];
    }
    if (promised.normalized && std::fabs(sum - 1.0) > 1e-5)
      return router->emitOpError("token ")
             << token << ": promises weights that sum to 1, they sum to "
             << sum;
    return success();
  }
};
} // namespace
