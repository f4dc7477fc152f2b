//===- WeightPacker.cpp - Weights of a module as bytes --------------------===//

#include "compiler/artifact/WeightPacker.h"

#include "compiler/artifact/RecipeTensor.h"
#include "dialects/moeq/MoeqDialect.h"
#include "passes/schedule/TargetModel.h"
#include "runtime/abi/moe_abi.h"

#include "llvm/Support/MathExtras.h"
#include "llvm/Support/Parallel.h"
#include "llvm/Support/xxhash.h"

#include <cmath>
#include <cstring>

using namespace moec;
using namespace mlir;

WeightSupply::~WeightSupply() = default;

//===----------------------------------------------------------------------===//
// Sizes and offsets
//===----------------------------------------------------------------------===//

Type moec::getStoredElementType(moe::WeightOp op) {
  QuantFormatAttrInterface format = op.getFormatAttr();
  if (format && format.getStorageType())
    return format.getStorageType();
  return op.getTensorType().getElementType();
}

/// The format of numbers; null for integers, which are stored as they are.
static QuantFormatAttrInterface formatOf(moe::WeightOp op) {
  if (auto format = op.getFormatAttr())
    return format;
  auto type = dyn_cast<FloatType>(op.getTensorType().getElementType());
  if (!type)
    return {};
  return moeq::PlainFormatAttr::get(op.getContext(), type);
}

static int64_t codedBytes(moe::WeightOp op) {
  RankedTensorType type = op.getTensorType();
  if (QuantFormatAttrInterface format = formatOf(op))
    return format.getCodedBytes(type.getShape());
  return type.getNumElements() * type.getElementTypeBitWidth() / 8;
}

static WeightLayoutAttrInterface layoutOf(moe::WeightOp op) {
  if (auto layout = op.getLayoutAttr())
    return layout;
  return moeq::RowMajorLayoutAttr::get(op.getContext());
}

FailureOr<WeightPlan> moec::planWeights(ModuleOp module) {
  WeightPlan plan;
  for (auto op : module.getOps<moe::WeightOp>()) {
    WeightLayoutAttrInterface layout = layoutOf(op);
    bool isRowMajor = isa<moeq::RowMajorLayoutAttr>(layout);
    QuantFormatAttrInterface format = formatOf(op);
    if (!isRowMajor && (!format || bool(format.getScaleType()) !=
                                       isa<moeq::GroupBlocksLayoutAttr>(layout)))
      return op.emitError() << "layout " << layout
                            << " does not go with format " << format;
    PlacedWeight weight;
    weight.op = op;
    weight.offset = llvm::alignTo(plan.segmentBytes, MOE_ALIGNMENT);
    weight.bytes =
        isRowMajor ? codedBytes(op)
                   : layout.getStorageBytes(op.getTensorType().getShape(),
                                            format);
    plan.segmentBytes = weight.offset + weight.bytes;
    plan.weights.push_back(weight);
  }
  return plan;
}

//===----------------------------------------------------------------------===//
// Packing
//===----------------------------------------------------------------------===//

LogicalResult moec::packWeights(WeightPlan &plan, WeightSupply &supply,
                                SegmentSink sink) {
  std::vector<char> codes, storage;
  for (PlacedWeight &weight : plan.weights) {
    moe::WeightOp op = weight.op;
    auto shape = op.getTensorType().getShape();
    codes.resize(codedBytes(op));
    if (failed(supply.supply(op, codes)))
      return failure();
    llvm::StringRef bytes(codes.data(), codes.size());
    WeightLayoutAttrInterface layout = layoutOf(op);
    if (!isa<moeq::RowMajorLayoutAttr>(layout)) {
      storage.assign(weight.bytes, 0);
      layout.relayout(shape, formatOf(op), codes, storage);
      bytes = llvm::StringRef(storage.data(), storage.size());
    }
    weight.checksum = llvm::xxh3_64bits(bytes);
    if (llvm::Error error = sink(weight.offset, bytes))
      return op.emitError() << llvm::toString(std::move(error));
  }
  return success();
}

/// Writes `numbers` in the format of `op`.
static void encode(moe::WeightOp op, llvm::ArrayRef<float> numbers,
                   MutableArrayRef<char> codes) {
  formatOf(op).encode(numbers, op.getTensorType().getRank()
                                   ? op.getTensorType().getShape().back()
                                   : 1,
                      codes);
}

//===----------------------------------------------------------------------===//
// From a checkpoint
//===----------------------------------------------------------------------===//

/// The builtin type of stored elements that a recipe can begin with.
static Type elementType(MLIRContext *context, DType dtype) {
  switch (dtype) {
  case DType::F32:
    return Float32Type::get(context);
  case DType::BF16:
    return BFloat16Type::get(context);
  case DType::F16:
    return Float16Type::get(context);
  case DType::I32:
    return IntegerType::get(context, 32);
  case DType::I64:
    return IntegerType::get(context, 64);
  default:
    return {};
  }
}

static FailureOr<RecipeTensor> readTensor(moe::WeightOp op,
                                          const TensorFiles &files,
                                          moe::TensorStepAttr step) {
  llvm::StringRef alias = step.getFile() ? step.getFile().getValue() : "";
  llvm::StringRef name = step.getName();
  FoundTensor found = files.find(alias, name);
  if (!found) {
    InFlightDiagnostic error = op.emitError() << "tensor '" << name
                                              << "' is in no weight file";
    if (!alias.empty())
      error << " of '" << alias << "'";
    llvm::StringRef near = files.suggest(alias, name);
    if (!near.empty())
      error.attachNote() << "did you mean '" << near << "'?";
    return failure();
  }
  Type element = elementType(op.getContext(), found.info->dtype);
  if (!element)
    return op.emitError() << "tensor '" << name << "' of '"
                          << found.source->path()
                          << "': expected f32, bf16, f16, i32 or i64, found "
                          << dtypeName(found.info->dtype);
  auto data = found.source->data(*found.info);
  if (!data)
    return op.emitError() << "tensor '" << name << "' of '"
                          << found.source->path()
                          << "': " << llvm::toString(data.takeError());
  return RecipeTensor(element, found.info->shape, *data);
}

/// "bf16 [32, 4096]".
static std::string describeTensor(Type element, llvm::ArrayRef<int64_t> shape) {
  std::string text;
  llvm::raw_string_ostream(text) << element << ' ' << describeShape(shape);
  return text;
}

LogicalResult FileWeights::supply(moe::WeightOp op,
                                  MutableArrayRef<char> codes) {
  llvm::SmallVector<RecipeTensor, 2> stack;
  llvm::StringRef tensorName;
  auto emitError = [&] {
    return op.emitError() << "tensor '" << tensorName << "': ";
  };
  for (Attribute step : op.getRecipe()) {
    if (auto tensor = dyn_cast<moe::TensorStepAttr>(step)) {
      tensorName = tensor.getName();
      FailureOr<RecipeTensor> read = readTensor(op, files, tensor);
      if (failed(read))
        return failure();
      stack.push_back(std::move(*read));
    } else if (stack.empty()) {
      return op.emitError("expected the recipe to begin with a tensor");
    } else if (failed(stack.back().apply(step, emitError))) {
      return failure();
    }
  }
  if (stack.size() != 1)
    return op.emitError() << "expected the recipe to leave one tensor, found "
                          << stack.size();
  RecipeTensor &result = stack.back();
  RankedTensorType type = op.getTensorType();
  if (type.getElementType().isInteger(32) &&
      failed(result.narrowIntegers(emitError)))
    return failure();
  if (result.shape() != type.getShape() ||
      result.elementType() != type.getElementType()) {
    return emitError() << "expected "
                       << describeTensor(type.getElementType(), type.getShape())
                       << ", found "
                       << describeTensor(result.elementType(), result.shape());
  }
  // Numbers that already have the stored type keep their bits.
  QuantFormatAttrInterface format = formatOf(op);
  if (!format || format.getStorageType() == result.elementType())
    result.copyElements(codes);
  else
    encode(op, result.numbers(), codes);
  return success();
}

//===----------------------------------------------------------------------===//
// Without a checkpoint
//===----------------------------------------------------------------------===//

/// Number `index` of the generator splitmix64 that starts at `seed`: any number
/// can be had without those before it.
static uint64_t splitmix(uint64_t seed, uint64_t index) {
  uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/// A number of mean 0 and deviation 1: the sum of 12 uniform ones. Integers
/// only, so that no mathematical library has a say in the value.
static float standardNormal(uint64_t seed, uint64_t index) {
  // Four numbers of 16 bits in a word, summed two at a time in its halves.
  constexpr uint64_t lanes = 0x0000ffff0000ffffu;
  constexpr unsigned words = 3;
  uint64_t sums = 0;
  for (unsigned word = 0; word < words; ++word) {
    uint64_t bits = splitmix(seed, index * words + word);
    sums += (bits & lanes) + (bits >> 16 & lanes);
  }
  int64_t sum = static_cast<int64_t>((sums & 0xffffffffu) + (sums >> 32));
  // The mean of 12 numbers in 0 .. 65535 is 6 * 65535.
  return static_cast<float>(sum - 6 * 65535) / 65536.0f;
}

static bool isNorm(moe::WeightOp op) {
  return op.getTensorType().getRank() == 1 &&
         (op.getRole().contains("norm") || op.getSymName().contains("norm"));
}

LogicalResult SyntheticWeights::supply(moe::WeightOp op,
                                       MutableArrayRef<char> codes) {
  RankedTensorType type = op.getTensorType();
  if (!isa<FloatType>(type.getElementType())) {
    std::fill(codes.begin(), codes.end(), 0);
    return success();
  }
  // A copy for a device has the numbers of what it is a copy of.
  StringRef name = op.getSymName();
  if (auto of = op->getAttrOfType<FlatSymbolRefAttr>(kCopyOfAttrName))
    name = of.getValue();
  uint64_t start = seed ^ llvm::xxh3_64bits(name);
  int64_t rowLength = type.getRank() == 0 ? 1 : type.getShape().back();
  // Sqrt is correctly rounded everywhere.
  float deviation = 1.0f / std::sqrt(static_cast<float>(rowLength));
  bool norm = isNorm(op);
  // In pieces of whole rows: a table of embeddings as f32 is larger than all
  // else that the compiler holds.
  constexpr int64_t pieceElements = 1 << 18;
  int64_t rows = rowLength ? type.getNumElements() / rowLength : 0;
  int64_t pieceRows =
      std::max<int64_t>(1, pieceElements / std::max<int64_t>(rowLength, 1));
  size_t rowBytes = rows ? codes.size() / rows : 0;
  llvm::parallelFor(0, llvm::divideCeil(rows, pieceRows), [&](size_t piece) {
    int64_t first = static_cast<int64_t>(piece) * pieceRows;
    int64_t count = std::min(pieceRows, rows - first);
    std::vector<float> numbers(count * rowLength, 1.0f);
    for (int64_t i = 0; !norm && i < count * rowLength; ++i)
      numbers[i] = deviation * standardNormal(start, first * rowLength + i);
    encode(op, numbers, codes.slice(first * rowBytes, count * rowBytes));
  });
  return success();
}
