//===- ConvertToMoex.cpp - Give values buffers and ops kernels ------------===//
//
// Upstream one-shot bufferisation drops encodings silently and knows none of our
// operations. Here every operation writes a fresh destination, so a single walk
// suffices; plan-arena gives the memory back (docs/rationale/bufferisation.md).
//
//===----------------------------------------------------------------------===//
#include "dialects/moe/MoeDialect.h"
#include "dialects/moex/MoexDialect.h"
#include "dialects/nn/NnDialect.h"
#include "dialects/row/RowDialect.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/AffineExpr.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Pass/Pass.h"
#include "llvm/ADT/TypeSwitch.h"

namespace moec {
#define GEN_PASS_DEF_CONVERTTOMOEX
#include "passes/buffers/Passes.h.inc"
} // namespace moec

using namespace mlir;
using namespace moec;

namespace {
/// Positions of the extents among the dimensions of row maps.
enum ExtentIndex : unsigned { kTokens = 0, kSequences = 1, kLogitsRows = 2, kRaw = 3 };

/// Converts one step function.
class FunctionConverter {
public:
  FunctionConverter(func::FuncOp from, func::FuncOp to)
      : from(from), b(OpBuilder::atBlockEnd(&to.getBody().front())),
        context(from.getContext()) {}

  LogicalResult run() {
    for (BlockArgument argument : from.getArguments())
      if (failed(convertArgument(argument)))
        return failure();
    Operation *terminator = from.getBody().front().getTerminator();
    for (auto [index, result] : llvm::enumerate(terminator->getOperands()))
      outputs[result].push_back(index);
    for (Operation &op : from.getBody().front().without_terminator())
      if (failed(convert(op)))
        return failure();
    finishOutputs(terminator);
    func::ReturnOp::create(b, terminator->getLoc());
    return success();
  }

private:
  //===--------------------------------------------------------------------===//
  // Values
  //===--------------------------------------------------------------------===//

  AffineMap mapOf(AffineExpr rows) {
    return AffineMap::get(moex::kNumExtents, 0, rows, context);
  }
  AffineExpr extent(unsigned index) {
    return getAffineDimExpr(index, context);
  }
  AffineExpr rowsOf(Value tensor) { return rows.lookup(tensor); }
  Value bufferOf(Value tensor) { return buffers.lookup(tensor); }
  SmallVector<Value> buffersOf(ValueRange tensors) {
    SmallVector<Value> result;
    for (Value tensor : tensors)
      result.push_back(bufferOf(tensor));
    return result;
  }

  static MemRefType memrefOf(Type tensor) {
    auto type = cast<RankedTensorType>(tensor);
    return MemRefType::get(type.getShape(), type.getElementType());
  }

  void define(Value tensor, Value buffer, AffineExpr count) {
    buffers[tensor] = buffer;
    rows[tensor] = count;
  }

  /// The memory that the op defining `tensor` writes: the output itself for a
  /// result of the function, else a fresh buffer of `count` rows.
  Value allocate(Value tensor, AffineExpr count) {
    auto output = outputs.find(tensor);
    Value buffer;
    if (output != outputs.end() && !output->second.empty() &&
        cast<RankedTensorType>(tensor.getType()).getElementType().isF32()) {
      buffer = moex::OutputOp::create(b, tensor.getLoc(),
                                      memrefOf(tensor.getType()),
                                      output->second.front());
      output->second.erase(output->second.begin());
    } else {
      buffer = moex::AllocOp::create(b, tensor.getLoc(),
                                     memrefOf(tensor.getType()), mapOf(count));
    }
    define(tensor, buffer, count);
    return buffer;
  }

  LogicalResult convertArgument(BlockArgument argument) {
    auto name = from.getArgAttrOfType<StringAttr>(argument.getArgNumber(),
                                                  "moe.input");
    std::optional<moex::BatchField> field;
    if (name)
      field = moex::symbolizeBatchField(name.getValue());
    if (!field)
      return from.emitError("expected operand ")
             << argument.getArgNumber()
             << " to name its batch field in 'moe.input', found "
             << (name ? Attribute(name) : Attribute(UnitAttr::get(context)));
    IntegerAttr modality;
    AffineExpr count = extent(kTokens);
    if (*field == moex::BatchField::Raw) {
      modality = from.getArgAttrOfType<IntegerAttr>(argument.getArgNumber(),
                                                    "moe.modality");
      if (!modality)
        return from.emitError("expected raw operand ")
               << argument.getArgNumber() << " to name its 'moe.modality'";
      count = extent(kRaw + modality.getInt());
    } else if (*field == moex::BatchField::LogitsRows) {
      count = extent(kLogitsRows);
    } else if (*field == moex::BatchField::CuSeqlens) {
      count = extent(kSequences) + 1;
    }
    define(argument,
           moex::InputOp::create(b, argument.getLoc(),
                                 memrefOf(argument.getType()), *field,
                                 modality),
           count);
    return success();
  }

  /// Results that no operation could write in place: operands returned as they
  /// are, values returned twice, results of another element type.
  void finishOutputs(Operation *terminator) {
    for (auto &[tensor, indices] : outputs)
      for (int64_t index : indices) {
        auto type = cast<RankedTensorType>(tensor.getType());
        Value output = moex::OutputOp::create(
            b, terminator->getLoc(),
            MemRefType::get(type.getShape(), b.getF32Type()), index);
        moex::LookupOp::create(b, terminator->getLoc(), bufferOf(tensor),
                               Value(), Value(), Value(), output,
                               mapOf(rowsOf(tensor)), IntegerAttr());
      }
  }

  //===--------------------------------------------------------------------===//
  // Operations
  //===--------------------------------------------------------------------===//

  LogicalResult convert(Operation &op) {
    return llvm::TypeSwitch<Operation *, LogicalResult>(&op)
        .Case<moe::WeightRefOp, row::ApplyOp, nn::EmbedOp, nn::PatchesOp,
              nn::AddPositionsOp, nn::TakeRowsOp, nn::LinearOp,
              nn::HeadLinearOp, nn::JointLinearOp, nn::SequenceLengthsOp,
              nn::StateAppendOp, nn::AttentionOp,
              moe::MergeModalitiesOp, moe::LimitSlotsOp, moe::PlanOp,
              moe::RoutePlanOp, moe::DispatchOp, moe::GroupedMatmulOp,
              moe::CombineOp, moe::ExportRoutingOp, moe::RoutingOperandOp>(
            [&](auto concrete) { return lower(concrete); })
        .Default([](Operation *other) {
          return other->emitOpError("has no kernel operation: expected the "
                                    "operations that phase experts leaves");
        });
  }

  LogicalResult lower(moe::WeightRefOp op) {
    define(op.getResult(),
           moex::WeightOp::create(b, op.getLoc(),
                                  memrefOf(op.getResult().getType()),
                                  op.getWeight()),
           AffineExpr());
    return success();
  }

  /// Rows of an op that works on each row alone: those of its first operand
  /// with a dynamic number of them.
  AffineExpr streamRows(ValueRange operands) {
    for (Value operand : operands)
      if (cast<RankedTensorType>(operand.getType()).isDynamicDim(0))
        return rowsOf(operand);
    return AffineExpr();
  }

  LogicalResult lower(row::ApplyOp op) {
    AffineExpr count = streamRows(op.getInputs());
    if (!count)
      return op.emitOpError("expected an operand with rows");
    SmallVector<Value> outs;
    for (Value result : op.getResults())
      outs.push_back(allocate(result, count));
    rowwise(op.getLoc(), buffersOf(op.getInputs()), outs, count,
            SmallVector<int64_t>(op.getInputs().size(), 0), op.getBody());
    return success();
  }

  moex::RowwiseOp rowwise(Location loc, ValueRange ins, ValueRange outs,
                          AffineExpr count, ArrayRef<int64_t> period,
                          Region &body) {
    auto rowwise = moex::RowwiseOp::create(
        b, loc, ins, outs, mapOf(count), period, moex::Tasks::Rows);
    IRMapping mapping;
    body.cloneInto(&rowwise.getBody(), mapping);
    return rowwise;
  }

  LogicalResult lower(nn::EmbedOp op) {
    AffineExpr count = rowsOf(op.getIds());
    Value out = allocate(op.getResult(), count);
    moex::LookupOp::create(b, op.getLoc(), bufferOf(op.getTable()),
                           bufferOf(op.getIds()),
                           op.getKinds() ? bufferOf(op.getKinds()) : Value(),
                           Value(), out, mapOf(count), op.getKindAttr());
    return success();
  }

  LogicalResult lower(nn::TakeRowsOp op) {
    AffineExpr count = rowsOf(op.getRows());
    Value out = allocate(op.getResult(), count);
    moex::LookupOp::create(b, op.getLoc(), bufferOf(op.getInput()),
                           bufferOf(op.getRows()), Value(), Value(), out,
                           mapOf(count), IntegerAttr());
    return success();
  }

  /// A row body of one gather per image; the patches of an image are the rows
  /// of one line of the buffer.
  LogicalResult lower(nn::PatchesOp op) {
    Location loc = op.getLoc();
    int64_t patches = op.getPatchesPerImage();
    int64_t width = op.getResult().getType().getDimSize(1);
    Type element = op.getResult().getType().getElementType();
    AffineExpr images = rowsOf(op.getImages());
    Value wide = moex::AllocOp::create(
        b, loc,
        MemRefType::get({ShapedType::kDynamic, patches, width}, element),
        mapOf(images));
    auto rowwise = moex::RowwiseOp::create(
        b, loc, bufferOf(op.getImages()), wide, mapOf(images),
        ArrayRef<int64_t>{0}, moex::Tasks::Rows);
    {
      OpBuilder::InsertionGuard guard(b);
      Block *block = b.createBlock(
          &rowwise.getBody(), {},
          row::ApplyOp::getRowType(op.getImages().getType()), loc);
      Value indices = row::ConstantOp::create(b, loc, patchIndices(op));
      Value gathered = row::GatherOp::create(
          b, loc, RankedTensorType::get({patches, width}, element),
          block->getArgument(0), indices);
      row::YieldOp::create(b, loc, gathered);
    }
    define(op.getResult(),
           moex::ViewOp::create(
               b, loc, MemRefType::get({ShapedType::kDynamic, width}, element),
               wide),
           images * patches);
    return success();
  }

  DenseElementsAttr patchIndices(nn::PatchesOp op) {
    int64_t size = op.getSize(), channels = op.getChannels();
    int64_t width = op.getWidth();
    SmallVector<int32_t> indices;
    auto pixel = [&](int64_t y, int64_t x, int64_t c) {
      indices.push_back((y * width + x) * channels + c);
    };
    for (int64_t py = 0; py < int64_t(op.getHeight()) / size; ++py)
      for (int64_t px = 0; px < width / size; ++px) {
        int64_t y0 = py * size, x0 = px * size;
        if (op.getOrder() == nn::PatchOrder::Hwc) {
          for (int64_t y = y0; y < y0 + size; ++y)
            for (int64_t x = x0; x < x0 + size; ++x)
              for (int64_t c = 0; c < channels; ++c)
                pixel(y, x, c);
        } else {
          for (int64_t c = 0; c < channels; ++c)
            for (int64_t y = y0; y < y0 + size; ++y)
              for (int64_t x = x0; x < x0 + size; ++x)
                pixel(y, x, c);
        }
      }
    return DenseElementsAttr::get(
        RankedTensorType::get({op.getPatchesPerImage(),
                               size * size * channels},
                              b.getI32Type()),
        ArrayRef<int32_t>(indices));
  }

  LogicalResult lower(nn::AddPositionsOp op) {
    Location loc = op.getLoc();
    AffineExpr count = rowsOf(op.getInput());
    Value out = allocate(op.getResult(), count);
    int64_t period = op.getTable().getType().getDimSize(0);
    auto rowwise = moex::RowwiseOp::create(
        b, loc, ValueRange{bufferOf(op.getInput()), bufferOf(op.getTable())},
        out, mapOf(count), ArrayRef<int64_t>{0, period}, moex::Tasks::Rows);
    OpBuilder::InsertionGuard guard(b);
    int64_t width = op.getInput().getType().getDimSize(1);
    Type element = op.getInput().getType().getElementType();
    Type tableElement = op.getTable().getType().getElementType();
    auto row = [&](Type type) { return RankedTensorType::get({width}, type); };
    Block *block = b.createBlock(&rowwise.getBody(), {},
                                 {row(element), row(tableElement)}, {loc, loc});
    auto map = row::MapOp::create(b, loc, row(element), block->getArguments());
    row::YieldOp::create(b, loc, map.getResult());
    Block *scalars = b.createBlock(&map.getBody(), {}, {element, tableElement},
                                   {loc, loc});
    auto widen = [&](Value v) -> Value {
      if (v.getType().isF32())
        return v;
      return arith::ExtFOp::create(b, loc, b.getF32Type(), v);
    };
    Value sum = arith::AddFOp::create(b, loc, widen(scalars->getArgument(0)),
                                      widen(scalars->getArgument(1)));
    if (!element.isF32())
      sum = arith::TruncFOp::create(b, loc, element, sum);
    row::YieldOp::create(b, loc, sum);
    return success();
  }

  moex::GroupedGemmOp gemm(Location loc, Value x, ValueRange weights,
                           ValueRange biases, Value gather, Value segments,
                           Value out, AffineExpr count, Type compute) {
    return moex::GroupedGemmOp::create(b, loc, x, weights, biases, gather,
                                       segments, out, mapOf(count), compute,
                                       moex::Tasks::Columns, IntegerAttr());
  }

  LogicalResult lower(nn::LinearOp op) {
    AffineExpr count = rowsOf(op.getInput());
    Value out = allocate(op.getResult(), count);
    SmallVector<Value> biases;
    if (op.getBias())
      biases.push_back(bufferOf(op.getBias()));
    gemm(op.getLoc(), bufferOf(op.getInput()), bufferOf(op.getWeight()), biases,
         Value(), Value(), out, count, op.getCompute());
    return success();
  }

  LogicalResult lower(nn::HeadLinearOp op) {
    AffineExpr count = rowsOf(op.getInput());
    Value out = allocate(op.getResult(), count);
    auto product =
        gemm(op.getLoc(), bufferOf(op.getInput()), bufferOf(op.getWeight()), {},
             Value(), Value(), out, count, op.getCompute());
    product.setHeadsAttr(op.getHeadsAttr());
    return success();
  }

  LogicalResult lower(nn::JointLinearOp op) {
    AffineExpr count = rowsOf(op.getInput());
    Value out = allocate(op.getResult(), count);
    auto fused = gemm(op.getLoc(), bufferOf(op.getInput()),
                      buffersOf(op.getWeights()), buffersOf(op.getBiases()),
                      Value(), Value(), out, count, op.getCompute());
    cloneEpilogue(op.getBody(), fused);
    return success();
  }

  /// Copies a scalar body; its terminator becomes row.yield.
  void cloneEpilogue(Region &body, moex::GroupedGemmOp fused) {
    IRMapping mapping;
    body.cloneInto(&fused.getEpilogue(), mapping);
    Operation *yield = fused.getEpilogue().front().getTerminator();
    OpBuilder inner(yield);
    row::YieldOp::create(inner, yield->getLoc(), yield->getOperands());
    yield->erase();
  }

  LogicalResult lower(nn::SequenceLengthsOp op) {
    Value out = allocate(op.getResult(), rowsOf(op.getPositions()));
    moex::SequenceLengthsOp::create(b, op.getLoc(), out);
    return success();
  }

  LogicalResult lower(nn::StateAppendOp op) {
    moex::StateAppendOp::create(b, op.getLoc(), op.getState(),
                                bufferOf(op.getRows()));
    return success();
  }

  LogicalResult lower(nn::AttentionOp op) {
    Value out = allocate(op.getResult(), rowsOf(op.getQuery()));
    moex::AttentionOp::create(
        b, op.getLoc(), bufferOf(op.getQuery()),
        op.getKey() ? bufferOf(op.getKey()) : Value(),
        op.getValue() ? bufferOf(op.getValue()) : Value(), out,
        op.getKeyStateAttr(), op.getValueStateAttr(),
        op.getSinks() ? bufferOf(op.getSinks()) : Value(), op.getHeadsAttr(),
        op.getKvHeadsAttr(), op.getScaleAttr(), op.getSoftcapAttr(),
        op.getWindowAttr(), op.getChunkAttr(), op.getFullAttr(),
        op.getComputeAttr());
    return success();
  }

  LogicalResult lower(moe::MergeModalitiesOp op) {
    AffineExpr count = rowsOf(op.getTokens());
    Value out = allocate(op.getResult(), count);
    for (auto [stream, id, indexed] :
         llvm::zip(op.getStreams(), op.getIds(), op.getIndexed()))
      moex::LookupOp::create(b, op.getLoc(), bufferOf(stream),
                             indexed ? bufferOf(op.getTokens()) : Value(),
                             bufferOf(op.getKinds()), Value(), out,
                             mapOf(count), b.getI64IntegerAttr(id));
    return success();
  }

  /// Rows of the sorted pairs of `ids`: every slot may be valid.
  AffineExpr pairRows(Value ids) {
    return rowsOf(ids) * cast<RankedTensorType>(ids.getType()).getDimSize(1);
  }

  LogicalResult lower(moe::PlanOp op) {
    Value sorted = allocate(op.getRows(), pairRows(op.getIds()));
    Value offsets = allocate(op.getOffsets(), offsetRows(op.getOffsets()));
    Value slots = allocate(op.getSlotRows(), rowsOf(op.getIds()));
    moex::PlanOp::create(b, op.getLoc(), bufferOf(op.getIds()), sorted, offsets,
                         slots, op.getExperts());
    return success();
  }

  LogicalResult lower(moe::LimitSlotsOp op) {
    AffineExpr count = rowsOf(op.getIds());
    Value ids = allocate(op.getLimitedIds(), count);
    Value weights = allocate(op.getLimitedWeights(), count);
    moex::LimitSlotsOp::create(
        b, op.getLoc(), bufferOf(op.getIds()), bufferOf(op.getWeights()),
        bufferOf(op.getCuSeqlens()), ids, weights, op.getExperts(),
        op.getMillionths(), op.getMultiple());
    return success();
  }

  AffineExpr offsetRows(Value offsets) {
    return getAffineConstantExpr(
        cast<RankedTensorType>(offsets.getType()).getDimSize(0), context);
  }

  LogicalResult lower(moe::RoutePlanOp op) {
    AffineExpr count = streamRows(op.getInputs());
    if (!count)
      return op.emitOpError("expected an operand with rows");
    Value ids = allocate(op.getIds(), count);
    Value weights = allocate(op.getWeights(), count);
    Value sorted = allocate(op.getRows(), pairRows(op.getIds()));
    Value offsets = allocate(op.getOffsets(), offsetRows(op.getOffsets()));
    Value slots = allocate(op.getSlotRows(), count);
    auto sort = moex::RouteSortOp::create(
        b, op.getLoc(), buffersOf(op.getInputs()), ids, weights, sorted,
        offsets, slots, op.getExperts());
    IRMapping mapping;
    op.getBody().cloneInto(&sort.getBody(), mapping);
    return success();
  }

  LogicalResult lower(moe::DispatchOp op) {
    AffineExpr count = rowsOf(op.getRows());
    Value out = allocate(op.getResult(), count);
    moex::LookupOp::create(b, op.getLoc(), bufferOf(op.getTokens()),
                           bufferOf(op.getRows()), Value(),
                           bufferOf(op.getOffsets()), out, mapOf(count),
                           IntegerAttr());
    return success();
  }

  LogicalResult lower(moe::GroupedMatmulOp op) {
    auto table = SymbolTable::lookupNearestSymbolFrom<moe::ExpertTableOp>(
        op, op.getTableAttr());
    auto weightsOf = [&](ArrayAttr roles) {
      SmallVector<Value> weights;
      for (Attribute role : roles) {
        StringRef name = cast<StringAttr>(role).getValue();
        auto weight = SymbolTable::lookupNearestSymbolFrom<moe::WeightOp>(
            op,
            table.getFirstExpert().getWeights().getAs<FlatSymbolRefAttr>(name));
        RankedTensorType type = weight.getTensorType();
        SmallVector<int64_t> shape{table.getNumExperts()};
        llvm::append_range(shape, type.getShape());
        weights.push_back(moex::ExpertWeightsOp::create(
            b, op.getLoc(), MemRefType::get(shape, type.getElementType()),
            op.getTable(), name));
      }
      return weights;
    };
    SmallVector<Value> biases;
    if (op.getBiases())
      biases = weightsOf(*op.getBiases());
    AffineExpr count =
        op.getGather() ? rowsOf(op.getGather()) : rowsOf(op.getInput());
    Value out = allocate(op.getResult(), count);
    auto fused =
        gemm(op.getLoc(), bufferOf(op.getInput()), weightsOf(op.getRoles()),
             biases, op.getGather() ? bufferOf(op.getGather()) : Value(),
             bufferOf(op.getOffsets()), out, count, op.getCompute());
    if (!op.getEpilogue().empty())
      cloneEpilogue(op.getEpilogue(), fused);
    return success();
  }

  LogicalResult lower(moe::CombineOp op) {
    Value out = allocate(op.getResult(), rowsOf(op.getSlotRows()));
    moex::CombineRowsOp::create(b, op.getLoc(), bufferOf(op.getRows()),
                                bufferOf(op.getSlotRows()),
                                bufferOf(op.getWeights()), out);
    return success();
  }

  LogicalResult lower(moe::ExportRoutingOp op) {
    moex::ExportRoutingOp::create(
        b, op.getLoc(), bufferOf(op.getIds()), bufferOf(op.getWeights()),
        op.getKinds() ? bufferOf(op.getKinds()) : Value(), op.getKindAttr(),
        op.getRouterAttr());
    return success();
  }

  LogicalResult lower(moe::RoutingOperandOp op) {
    AffineExpr count = op.getLike() ? rowsOf(op.getLike())
                                    : offsetRows(op.getResult());
    Value out = allocate(op.getResult(), count);
    moex::RoutingOperandOp::create(b, op.getLoc(), op.getFieldAttr(),
                                   op.getRouterAttr(), out);
    return success();
  }

  func::FuncOp from;
  OpBuilder b;
  MLIRContext *context;
  llvm::DenseMap<Value, Value> buffers;
  llvm::DenseMap<Value, AffineExpr> rows;
  llvm::MapVector<Value, SmallVector<int64_t, 1>> outputs;
};

struct ConvertToMoex : public moec::impl::ConvertToMoexBase<ConvertToMoex> {
  void runOnOperation() override {
    SmallVector<func::FuncOp> functions(
        getOperation().getOps<func::FuncOp>());
    for (func::FuncOp from : functions) {
      if (!from->hasAttr("moe.function"))
        continue;
      OpBuilder b(from);
      auto to = func::FuncOp::create(b, from.getLoc(), from.getSymName(),
                                     b.getFunctionType({}, {}));
      to->setAttr("moe.function", from->getAttr("moe.function"));
      to.addEntryBlock();
      if (failed(FunctionConverter(from, to).run())) {
        to.erase();
        return signalPassFailure();
      }
      from.erase();
    }
  }
};
} // namespace
