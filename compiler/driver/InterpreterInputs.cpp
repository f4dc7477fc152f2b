//===- InterpreterInputs.cpp - Inputs of moe-interp as operands -----------===//

#include "compiler/driver/InterpreterInputs.h"

#include "llvm/ADT/SmallSet.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace moec;
using namespace mlir;

moe::ModalityOp InterpreterInputs::findModality(llvm::StringRef name,
                                                bool isRaw) {
  SmallVector<moe::ModalityOp> fitting;
  for (auto modality : module.getOps<moe::ModalityOp>())
    if (modality.getRawType().has_value() == isRaw &&
        (name.empty() || modality.getSymName() == name))
      fitting.push_back(modality);
  if (fitting.size() == 1)
    return fitting.front();
  function.emitError() << "expected one " << (isRaw ? "raw" : "token")
                       << " modality" << (name.empty() ? "" : " '") << name
                       << (name.empty() ? "" : "'") << ", found "
                       << fitting.size();
  return {};
}

LogicalResult InterpreterInputs::addIds(llvm::StringRef text) {
  auto [name, list] =
      text.contains('=') ? text.split('=') : std::pair(llvm::StringRef(), text);
  moe::ModalityOp modality = findModality(name, /*isRaw=*/false);
  if (!modality)
    return failure();
  SmallVector<llvm::StringRef> words;
  list.split(words, ',');
  for (llvm::StringRef word : words) {
    int32_t id;
    if (word.trim().getAsInteger(10, id) || id < 0 ||
        id >= int64_t(*modality.getVocab()))
      return function.emitError()
             << "expected ids of '" << modality.getSymName() << "' from 0 to "
             << *modality.getVocab() - 1 << ", found '" << word << "'";
    tokens.push_back(id);
    kinds.push_back(static_cast<int32_t>(modality.getId()));
  }
  return success();
}

namespace {
/// A npy file, taken apart.
struct NpyFile {
  llvm::StringRef header, elements;
};
} // namespace

static FailureOr<NpyFile> splitNpy(llvm::StringRef bytes) {
  if (bytes.size() < 12 || !bytes.starts_with("\x93NUMPY") || bytes[6] < 1 ||
      bytes[6] > 2)
    return failure();
  auto byte = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  size_t start = bytes[6] == 1 ? 10 : 12, length = byte(8) | byte(9) << 8;
  if (bytes[6] == 2)
    length |= byte(10) << 16 | size_t(byte(11)) << 24;
  llvm::StringRef header = bytes.substr(start, length);
  if (!header.contains("False") || bytes.size() < start + length)
    return failure();
  return NpyFile{header, bytes.drop_front(start + length)};
}

/// The elements of a file, u8 or f32: of a npy file the part after its header.
static FailureOr<llvm::StringRef> elementsOf(llvm::StringRef bytes,
                                             bool isFloat) {
  if (!bytes.starts_with("\x93NUMPY"))
    return bytes;
  FailureOr<NpyFile> file = splitNpy(bytes);
  if (failed(file) || !file->header.contains(isFloat ? "'<f4'" : "'|u1'"))
    return failure();
  return file->elements;
}

LogicalResult InterpreterInputs::addRouting(RoutingField field,
                                            llvm::StringRef path) {
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false);
  if (!buffer)
    return function.emitError()
           << "cannot read '" << path << "': " << buffer.getError().message();
  bool isFloat = field == RoutingField::Weights || field == RoutingField::Bias;
  bool isByte = field == RoutingField::Mask;
  llvm::StringRef type = isFloat ? "'<f4'" : isByte ? "'|u1'" : "'<i4'";
  Array array;
  array.path = path.str();
  FailureOr<NpyFile> file = splitNpy((*buffer)->getBuffer());
  bool isGood = succeeded(file) && file->header.contains(type);
  int64_t elements = 1;
  if (isGood) {
    llvm::StringRef sizes = file->header.split("'shape': (").second;
    SmallVector<llvm::StringRef> words;
    sizes.split(')').first.split(words, ',', -1, /*KeepEmpty=*/false);
    for (llvm::StringRef word : words) {
      int64_t size = 0;
      if (word.trim().empty())
        continue;
      isGood &= !word.trim().getAsInteger(10, size) && size > 0;
      array.shape.push_back(size);
      elements *= size;
    }
  }
  size_t rank = isPerToken(field) ? 3 : 2;
  size_t bytes = isByte ? 1 : 4;
  if (!isGood || array.shape.size() != rank ||
      file->elements.size() != elements * bytes)
    return function.emitError()
           << "'" << path << "': expected a npy file of " << type
           << " and rank " << rank << ", found another file";
  for (int64_t i = 0; i < elements; ++i) {
    const char *place = file->elements.data() + i * bytes;
    float number = static_cast<uint8_t>(*place);
    int32_t integer;
    if (isFloat)
      std::memcpy(&number, place, sizeof(number));
    else if (!isByte) {
      std::memcpy(&integer, place, sizeof(integer));
      number = static_cast<float>(integer);
    }
    array.numbers.push_back(number);
  }
  routing[field] = std::move(array);
  return success();
}

LogicalResult InterpreterInputs::giveRouting(ModelEvaluator &evaluator,
                                             int64_t first, int64_t count) {
  llvm::SmallSet<RoutingField, 8> taken;
  auto result = function.walk([&](moe::RoutingOperandOp op) {
    RoutingField field = *symbolizeRoutingField(op.getField());
    auto found = routing.find(field);
    if (found == routing.end())
      return WalkResult::advance();
    taken.insert(field);
    const Array &array = found->second;
    auto type = cast<RankedTensorType>(op.getResult().getType());
    SmallVector<int64_t> shape(type.getShape());
    if (isPerToken(field))
      shape[0] = count;
    int64_t router = op.getRouter(), width = shape.back();
    int64_t columns = array.shape.back();
    int64_t rows = isPerToken(field) ? array.shape[1] : 1;
    if (router >= array.shape[0] || width > columns ||
        (isPerToken(field) && rows != tokenCount())) {
      op.emitOpError("expected an array for router ")
          << router << " and " << width << " columns, for " << tokenCount()
          << " tokens, found [" << array.shape << "] in '" << array.path << "'";
      return WalkResult::interrupt();
    }
    bool isFloat = isa<FloatType>(type.getElementType());
    HostTensor operand =
        isFloat ? HostTensor::zerosF32(shape) : HostTensor::zerosI32(shape);
    int64_t begin = isPerToken(field) ? first : 0;
    for (int64_t r = 0; r < (isPerToken(field) ? count : 1); ++r)
      for (int64_t c = 0; c < width; ++c) {
        float number = array.numbers[(router * rows + begin + r) * columns + c];
        if (isFloat)
          operand.f32()[r * width + c] = number;
        else
          operand.i32()[r * width + c] = static_cast<int32_t>(number);
      }
    evaluator.setRoutingOperand(op.getField(), router, std::move(operand));
    return WalkResult::advance();
  });
  if (result.wasInterrupted())
    return failure();
  for (auto &[field, array] : routing)
    if (!taken.contains(field))
      return function.emitError()
             << "expected a function that takes the "
             << stringifyRoutingField(field)
             << " of routers, in the form after phase route or experts";
  return success();
}

LogicalResult InterpreterInputs::addRaw(llvm::StringRef text) {
  auto [name, path] = text.split('=');
  moe::ModalityOp modality = findModality(name, /*isRaw=*/true);
  if (!modality)
    return failure();
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false);
  if (!buffer)
    return function.emitError()
           << "cannot read '" << path << "': " << buffer.getError().message();
  auto type = cast<RankedTensorType>(*modality.getRawType());
  bool isFloat = type.getElementType().isF32();
  size_t size = isFloat ? sizeof(float) : 1;
  FailureOr<llvm::StringRef> bytes =
      elementsOf((*buffer)->getBuffer(), isFloat);
  size_t expected = type.getNumElements() * size;
  if (failed(bytes) || bytes->empty() || bytes->size() % expected != 0)
    return function.emitError()
           << "'" << path << "': expected inputs of " << expected
           << " bytes, plain or npy of " << type.getElementType()
           << ", found another file";
  std::vector<float> &all = raw[modality.getId()];
  int64_t row = all.size() / type.getNumElements() * modality.getTokens();
  for (size_t i = 0; i < bytes->size(); i += size) {
    float number = static_cast<uint8_t>((*bytes)[i]);
    if (isFloat)
      std::memcpy(&number, bytes->data() + i, sizeof(number));
    all.push_back(number);
  }
  int64_t rows = bytes->size() / expected * modality.getTokens();
  for (int64_t r = 0; r < rows; ++r) {
    tokens.push_back(static_cast<int32_t>(row + r));
    kinds.push_back(static_cast<int32_t>(modality.getId()));
  }
  return success();
}

static HostTensor vectorOf(ArrayRef<int32_t> numbers) {
  HostTensor tensor =
      HostTensor::zerosI32({static_cast<int64_t>(numbers.size())});
  llvm::copy(numbers, tensor.i32().begin());
  return tensor;
}

FailureOr<HostTensor> InterpreterInputs::operand(unsigned index, int64_t first,
                                                 int64_t count) {
  auto name = function.getArgAttrOfType<StringAttr>(index, "moe.input");
  llvm::StringRef field = name ? name.getValue() : "";
  std::vector<int32_t> counted;
  for (int64_t i = 0; i < count; ++i)
    counted.push_back(static_cast<int32_t>(i));
  if (field == "tokens")
    return vectorOf(ArrayRef(tokens).slice(first, count));
  if (field == "kinds")
    return vectorOf(ArrayRef(kinds).slice(first, count));
  if (field == "logits_rows")
    return vectorOf(counted);
  if (field == "cu_seqlens")
    return vectorOf({0, static_cast<int32_t>(count)});
  if (field == "positions") {
    for (int32_t &position : counted)
      position += static_cast<int32_t>(first);
    return vectorOf(counted);
  }
  auto modality = function.getArgAttrOfType<IntegerAttr>(index, "moe.modality");
  if (field != "raw" || !modality)
    return function.emitError()
           << "expected operand " << index << " to name its 'moe.input'";
  auto type = cast<RankedTensorType>(function.getArgumentTypes()[index]);
  const std::vector<float> &numbers = raw[modality.getInt()];
  SmallVector<int64_t> shape{static_cast<int64_t>(numbers.size()) /
                                 type.getDimSize(1),
                             type.getDimSize(1)};
  HostTensor tensor = isa<FloatType>(type.getElementType())
                          ? HostTensor::zerosF32(shape)
                          : HostTensor::zerosI32(shape);
  if (tensor.isFloat())
    llvm::copy(numbers, tensor.f32().begin());
  else
    llvm::copy(numbers, tensor.i32().begin());
  return tensor;
}

FailureOr<std::vector<HostTensor>> InterpreterInputs::operands(int64_t first,
                                                               int64_t count) {
  if (count < 1 || first + count > tokenCount())
    return function.emitError()
           << "expected steps within the " << tokenCount()
           << " tokens of the inputs, found " << count << " from " << first;
  std::vector<HostTensor> all;
  for (unsigned i = 0; i < function.getNumArguments(); ++i) {
    FailureOr<HostTensor> tensor = operand(i, first, count);
    if (failed(tensor))
      return failure();
    all.push_back(std::move(*tensor));
  }
  return all;
}
