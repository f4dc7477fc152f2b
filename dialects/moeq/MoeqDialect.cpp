//===- MoeqDialect.cpp - Formats and layouts of weights -------------------===//
#include "dialects/moeq/MoeqDialect.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/TypeSwitch.h"

#include <cstring>

using namespace mlir;
using namespace moec::moeq;

#include "dialects/moeq/MoeqDialect.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/moeq/MoeqAttrs.cpp.inc"

void MoeqDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/moeq/MoeqAttrs.cpp.inc"
      >();
}

//===----------------------------------------------------------------------===//
// Layouts
//===----------------------------------------------------------------------===//

static int64_t countElements(ArrayRef<int64_t> shape) {
  int64_t count = 1;
  for (int64_t size : shape)
    count *= size;
  return count;
}

int64_t RowMajorLayoutAttr::getStorageBytes(ArrayRef<int64_t> shape,
                                            unsigned bytesPerCode) const {
  return countElements(shape) * bytesPerCode;
}

void RowMajorLayoutAttr::relayout(ArrayRef<int64_t> shape,
                                  unsigned bytesPerCode, ArrayRef<char> codes,
                                  MutableArrayRef<char> storage) const {
  std::memcpy(storage.data(), codes.data(), codes.size());
}

LogicalResult
RowBlocksLayoutAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                            int64_t rows, int64_t pack) {
  if (rows < 1 || rows > 64) // C1
    return emitError() << "expected blocks of 1 to 64 rows, found " << rows;
  if (pack != 1 && pack != 2 && pack != 4) // C2
    return emitError() << "expected groups of 1, 2 or 4 columns, found "
                       << pack;
  return success();
}

int64_t RowBlocksLayoutAttr::getStorageBytes(ArrayRef<int64_t> shape,
                                             unsigned bytesPerCode) const {
  int64_t blocks = (shape[0] + getRows() - 1) / getRows();
  return blocks * getBlockCodes(countElements(shape.drop_front())) *
         bytesPerCode;
}

void RowBlocksLayoutAttr::relayout(ArrayRef<int64_t> shape,
                                   unsigned bytesPerCode, ArrayRef<char> codes,
                                   MutableArrayRef<char> storage) const {
  int64_t rows = shape[0], columns = countElements(shape.drop_front());
  int64_t n = getRows(), p = getPack();
  int64_t blockBytes = getBlockCodes(columns) * bytesPerCode;
  // A group of one row at a time: 4 bytes of bf16 pairs, the common case.
  int64_t groupBytes = p * bytesPerCode, whole = columns / p;
  for (int64_t r = 0; r < rows; ++r) {
    const char *from = codes.data() + r * columns * bytesPerCode;
    char *to = storage.data() + (r / n) * blockBytes + (r % n) * groupBytes;
    if (groupBytes == 4)
      for (int64_t g = 0; g < whole; ++g)
        std::memcpy(to + g * n * 4, from + g * 4, 4);
    else
      for (int64_t g = 0; g < whole; ++g)
        std::memcpy(to + g * n * groupBytes, from + g * groupBytes, groupBytes);
    std::memcpy(to + whole * n * groupBytes, from + whole * groupBytes,
                (columns - whole * p) * bytesPerCode);
  }
}
