//===- KernelTable.cpp - Which kernels run between two barriers -----------===//
#include "passes/target/KernelTable.h"

#include "dialects/moex/MoexDialect.h"
#include "dialects/row/RowDialect.h"

#include "mlir/IR/AffineMap.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace moec;
using namespace moec::target;

static Operation *getMemory(Value buffer) {
  while (auto view = buffer.getDefiningOp<moex::ViewOp>())
    buffer = view.getSource();
  return buffer.getDefiningOp();
}

static moe::WeightOp getWeight(Value buffer, const Declarations &declarations) {
  auto weight = dyn_cast_if_present<moex::WeightOp>(getMemory(buffer));
  return weight ? declarations.weights.lookup(weight.getWeight())
                : moe::WeightOp();
}

static bool feedsRouter(moex::RowwiseOp op) {
  return llvm::any_of(op.getOuts(), [](Value out) {
    return llvm::any_of(out.getUsers(), [](Operation *user) {
      return isa<moex::RouteSortOp>(user);
    });
  });
}

/// Coefficient of extent `dim` in a map that is linear in the extents.
static int64_t getCoefficient(AffineMap rows, unsigned dim) {
  Builder b(rows.getContext());
  SmallVector<Attribute> at(moex::kNumExtents, b.getIndexAttr(0)), base, one;
  if (failed(rows.constantFold(at, base)))
    return 0;
  at[dim] = b.getIndexAttr(1);
  if (failed(rows.constantFold(at, one)))
    return 0;
  return cast<IntegerAttr>(one[0]).getInt() -
         cast<IntegerAttr>(base[0]).getInt();
}

/// Extents T and R.
constexpr unsigned kTokensDim = 0, kResultsDim = 2;

static std::string getGemmKind(moex::GroupedGemmOp gemm,
                               const Declarations &declarations) {
  SmallVector<StringRef> roles;
  for (Value weight : gemm.getWeights()) {
    if (auto experts =
            dyn_cast_if_present<moex::ExpertWeightsOp>(getMemory(weight)))
      roles.push_back(experts.getRole());
    else if (moe::WeightOp dense = getWeight(weight, declarations);
             dense && dense.getRole() == "router")
      return "router";
  }
  if (!roles.empty())
    return "experts " + llvm::join(roles, "+");
  // Its logits are sorted at once, or after a row body has scored them.
  if (llvm::any_of(gemm.getOut().getUsers(), [](Operation *user) {
        auto rowwise = dyn_cast<moex::RowwiseOp>(user);
        return isa<moex::RouteSortOp>(user) ||
               (rowwise && feedsRouter(rowwise));
      }))
    return "router";
  bool isOutside = llvm::any_of(gemm.getWeights(), [&](Value weight) {
    moe::WeightOp declared = getWeight(weight, declarations);
    return declared && static_cast<int64_t>(declared.getLayer()) < 0;
  });
  // The last layer, too, may compute no more than the rows that are wanted.
  AffineMap rows = gemm.getRows();
  return isOutside && getCoefficient(rows, kTokensDim) == 0 &&
                 getCoefficient(rows, kResultsDim) != 0
             ? "head"
             : "dense";
}

std::string moec::target::getKernelKind(Operation *op,
                                        const Declarations &declarations) {
  return llvm::TypeSwitch<Operation *, std::string>(op)
      .Case([&](moex::GroupedGemmOp gemm) {
        return getGemmKind(gemm, declarations);
      })
      .Case([&](moex::RowwiseOp rowwise) -> std::string {
        if (feedsRouter(rowwise))
          return "router";
        bool reduces = false;
        rowwise.getBody().walk([&](row::ReduceOp) { reduces = true; });
        return reduces ? "norm" : "rows";
      })
      .Case<moex::RouteSortOp, moex::PlanOp, moex::ExportRoutingOp,
            moex::RoutingOperandOp>([](auto) { return "router"; })
      .Case([](moex::CombineRowsOp) { return "combine"; })
      .Case([](moex::StateAppendOp) { return "append"; })
      .Default([](Operation *other) {
        return other->getName().stripDialect().str();
      });
}

/// The weights that a kernel reads whole, and the layer they belong to.
void KernelTable::addWeights(Operation *op, NamedAttrList &record) {
  Builder b(op->getContext());
  SmallVector<int64_t> ordinals;
  int64_t experts = 0;
  auto add = [&](StringRef name) {
    name = declarations->resolve(target, name);
    if (moe::WeightOp weight = declarations->weights.lookup(name))
      layer = weight.getLayer();
    ordinals.push_back(declarations->weightOrdinals.lookup(name));
  };
  for (Value operand : op->getOperands()) {
    Operation *memory = getMemory(operand);
    if (auto weight = dyn_cast_if_present<moex::WeightOp>(memory))
      add(weight.getWeight());
    auto group = dyn_cast_if_present<moex::ExpertWeightsOp>(memory);
    if (!group)
      continue;
    moe::ExpertTableOp table = declarations->tables.lookup(group.getTable());
    experts = table.getNumExperts();
    for (int64_t e = 0; e < experts; ++e)
      if (auto symbol =
              table.getExpert(e).getWeights().getAs<FlatSymbolRefAttr>(
                  group.getRole()))
        add(symbol.getValue());
  }
  // Of a table only the rows that are looked up are read.
  if (isa<moex::LookupOp>(op))
    ordinals.clear();
  record.set("weights", b.getDenseI64ArrayAttr(ordinals));
  record.set("experts", b.getI64IntegerAttr(experts));
}

void KernelTable::addKernel(Operation *op, std::optional<unsigned> barriers) {
  Builder b(op->getContext());
  NamedAttrList record;
  auto set = [&](StringRef name, int64_t value) {
    record.set(name, b.getI64IntegerAttr(value));
  };
  record.set("kind", b.getStringAttr(getKernelKind(op, *declarations)));
  for (StringRef name : {"state", "key_state", "value_state"})
    if (auto symbol = op->getAttrOfType<FlatSymbolRefAttr>(name))
      if (nn::StateOp state = declarations->states.lookup(symbol.getValue()))
        layer = state.getLayer();
  addWeights(op, record);
  set("layer", layer);
  if (auto gemm = dyn_cast<moex::GroupedGemmOp>(op)) {
    int64_t elements = 0;
    for (Value weight : gemm.getWeights())
      elements += cast<MemRefType>(weight.getType()).getNumElements();
    set("elements", elements);
    set("token_rows", getCoefficient(gemm.getRows(), kTokensDim));
    set("result_rows", getCoefficient(gemm.getRows(), kResultsDim));
  }
  // A window's keys cannot be counted without the positions.
  if (auto attention = dyn_cast<moex::AttentionOp>(op);
      attention && !attention.getWindow())
    set("key_elements",
        cast<MemRefType>(attention.getQuery().getType()).getDimSize(1) +
            cast<MemRefType>(attention.getOut().getType()).getDimSize(1));
  numbered &= barriers.has_value();
  set("interval", interval);
  records.push_back(record.getDictionary(op->getContext()));
  // Behind a barrier of its own the kernel goes on; what it reads and computes
  // was counted before.
  for (StringRef once :
       {"elements", "token_rows", "result_rows", "key_elements"})
    record.erase(once);
  record.set("weights", b.getDenseI64ArrayAttr({}));
  for (unsigned i = 0; i < barriers.value_or(0); ++i) {
    set("interval", ++interval);
    records.push_back(record.getDictionary(op->getContext()));
  }
}

void KernelTable::addLaunches(Operation *op, size_t launches) {
  if (launches == 0)
    return;
  if (!records.empty())
    addBarrier();
  addKernel(op, static_cast<unsigned>(launches - 1));
}

ArrayAttr KernelTable::getKernels(MLIRContext *context) const {
  return ArrayAttr::get(context, numbered ? ArrayRef<Attribute>(records)
                                          : ArrayRef<Attribute>());
}
