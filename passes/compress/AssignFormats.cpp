//===- AssignFormats.cpp - Give every weight its format -------------------===//
#include "dialects/interfaces/MoecDialectInterface.h"
#include "dialects/interfaces/QuantizableOpInterface.h"
#include "dialects/interfaces/RoutingInterfaces.h"
#include "dialects/moe/MoeDialect.h"
#include "dialects/moeq/MoeqDialect.h"
#include "dialects/nn/NnDialect.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"

namespace moec {
#define GEN_PASS_DECL_ASSIGNFORMATS
#define GEN_PASS_DEF_ASSIGNFORMATS
#include "passes/compress/Passes.h.inc"
} // namespace moec

using namespace mlir;
using namespace moec;

namespace {

/// What a product is for, as far as its format depends on it.
enum class Purpose { Router, Head, Other };

/// Follows the result of a product through elementwise operations.
Purpose findPurpose(Value value, unsigned depth = 4) {
  for (Operation *user : value.getUsers()) {
    if (isa<RoutingOpInterface>(user))
      return Purpose::Router;
    if (isa<func::ReturnOp>(user))
      return Purpose::Head;
    if (depth > 0 && isa<nn::MapOp>(user)) {
      Purpose found = findPurpose(user->getResult(0), depth - 1);
      if (found != Purpose::Other)
        return found;
    }
  }
  return Purpose::Other;
}

/// The products of a module and the matrices that each multiplies by.
class Products {
public:
  explicit Products(ModuleOp module) : symbols(module) {
    module.walk([&](QuantizableOpInterface op) { add(op); });
    // A matrix that anything else reads, such as a lookup of embeddings, cannot
    // change.
    module.walk([&](moe::WeightRefOp reference) {
      for (OpOperand &use : reference->getUses())
        if (!isMatrixOperand(use))
          fixed.insert(reference.getWeight());
    });
  }

  struct Product {
    QuantizableOpInterface op;
    SmallVector<moe::WeightOp> matrices;
  };
  ArrayRef<Product> get() const { return products; }
  bool isFixed(moe::WeightOp weight) const {
    return fixed.contains(weight.getSymName());
  }

private:
  static bool isMatrixOperand(OpOperand &use) {
    auto op = dyn_cast<QuantizableOpInterface>(use.getOwner());
    return op && llvm::is_contained(op.getMatrixOperands(), &use);
  }

  void add(QuantizableOpInterface op) {
    Product product{op, {}};
    auto addWeight = [&](StringRef name) {
      // Biases are no matrices.
      if (auto weight = symbols.lookup<moe::WeightOp>(name);
          weight && weight.getTensorType().getRank() == 2)
        product.matrices.push_back(weight);
    };
    for (OpOperand *operand : op.getMatrixOperands())
      if (auto reference = operand->get().getDefiningOp<moe::WeightRefOp>())
        addWeight(reference.getWeight());
    if (FlatSymbolRefAttr symbol = op.getMatrixTable())
      if (auto table = symbols.lookup<moe::ExpertTableOp>(symbol.getValue()))
        for (int64_t e = 0; e < table.getNumExperts(); ++e)
          if (moe::ExpertAttr expert = table.getExpert(e))
            for (NamedAttribute role : expert.getWeights())
              addWeight(cast<FlatSymbolRefAttr>(role.getValue()).getValue());
    if (!product.matrices.empty())
      products.push_back(std::move(product));
  }

  SymbolTable symbols;
  SmallVector<Product> products;
  llvm::StringSet<> fixed;
};

struct AssignFormats : public moec::impl::AssignFormatsBase<AssignFormats> {
  using AssignFormatsBase::AssignFormatsBase;

  void runOnOperation() override {
    if (activations != "int8" && activations != "float") {
      getOperation().emitError("activations: expected int8 or float, found '")
          << activations << "'";
      return signalPassFailure();
    }
    if (!format.empty() && failed(quantize()))
      return signalPassFailure();
    for (auto weight : getOperation().getOps<moe::WeightOp>()) {
      auto element =
          dyn_cast<FloatType>(weight.getTensorType().getElementType());
      if (!weight.getFormat() && element)
        weight.setFormatAttr(
            moeq::PlainFormatAttr::get(&getContext(), element));
    }
  }

private:
  FailureOr<QuantFormatAttrInterface> findFormat(StringRef spelling) {
    std::vector<FormatEntry> all = getAllFormats(&getContext());
    for (const FormatEntry &entry : all)
      if (entry.spelling == spelling)
        return cast<QuantFormatAttrInterface>(
            entry.build(&getContext(), spelling));
    auto names = llvm::map_range(
        all, [](const FormatEntry &entry) { return entry.spelling; });
    getOperation().emitError("expected a format of weights (")
        << llvm::join(names, ", ") << "), found '" << spelling << "'";
    return failure();
  }

  /// Chooses formats of products. A weight may have several products and a
  /// product several weights: one that cannot change keeps the others from it.
  LogicalResult quantize() {
    FailureOr<QuantFormatAttrInterface> most = findFormat(format);
    if (failed(most))
      return failure();
    // The map to the vocabulary decides between near-equal logits.
    FailureOr<QuantFormatAttrInterface> last = *most;
    if (!head.empty() || most->getCodeBits() < 8)
      last = findFormat(head.empty() ? "int8" : StringRef(head));
    if (failed(last))
      return failure();

    Products products(getOperation());
    llvm::MapVector<Operation *, QuantFormatAttrInterface> chosen;
    llvm::DenseSet<Operation *> kept;
    auto formatOf = [&](const Products::Product &product)
        -> QuantFormatAttrInterface {
      Purpose purpose = findPurpose(product.op->getResult(0));
      if (purpose == Purpose::Router)
        return {};
      return purpose == Purpose::Head ? *last : *most;
    };
    for (const Products::Product &product : products.get()) {
      QuantFormatAttrInterface wanted = formatOf(product);
      for (moe::WeightOp weight : product.matrices) {
        ArrayRef<int64_t> shape = weight.getTensorType().getShape();
        bool canChange =
            wanted && shape.size() == 2 && !products.isFixed(weight) &&
            !weight.getFormat() && shape[1] >= wanted.getGroupColumns();
        auto [it, isNew] = chosen.insert({weight, wanted});
        if (!canChange || (!isNew && it->second != wanted))
          kept.insert(weight);
      }
    }
    for (bool changed = true; changed;) {
      changed = false;
      for (const Products::Product &product : products.get())
        if (llvm::any_of(product.matrices,
                         [&](Operation *w) { return kept.contains(w); }))
          for (Operation *weight : product.matrices)
            changed |= kept.insert(weight).second;
    }
    Type i8 = IntegerType::get(&getContext(), 8);
    bool isAny = false;
    for (const Products::Product &product : products.get()) {
      if (llvm::any_of(product.matrices,
                       [&](Operation *w) { return kept.contains(w); })) {
        ++numKept;
        continue;
      }
      bool isInteger = true;
      for (moe::WeightOp weight : product.matrices) {
        QuantFormatAttrInterface wanted = chosen[weight];
        isInteger &= wanted.isInteger();
        weight.setFormatAttr(wanted);
      }
      QuantizableOpInterface op = product.op;
      if (isInteger && activations == "int8")
        op.setComputeType(i8);
      ++numQuantized;
      isAny = true;
    }
    // What most products are computed in, for the manifest.
    if (isAny && most->isInteger() && activations == "int8")
      getOperation()->setAttr("moe.compute", TypeAttr::get(i8));
    return success();
  }
};
} // namespace
