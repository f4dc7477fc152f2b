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
                            int64_t rows) {
  if (rows >= 1 && rows <= 64) // C1
    return success();
  return emitError() << "expected blocks of 1 to 64 rows, found " << rows;
}

int64_t RowBlocksLayoutAttr::getStorageBytes(ArrayRef<int64_t> shape,
                                             unsigned bytesPerCode) const {
  int64_t blocks = (shape[0] + getRows() - 1) / getRows();
  return blocks * getRows() * countElements(shape.drop_front()) * bytesPerCode;
}

void RowBlocksLayoutAttr::relayout(ArrayRef<int64_t> shape,
                                   unsigned bytesPerCode, ArrayRef<char> codes,
                                   MutableArrayRef<char> storage) const {
  int64_t rows = shape[0], columns = countElements(shape.drop_front());
  int64_t n = getRows();
  for (int64_t r = 0; r < rows; ++r) {
    const char *from = codes.data() + r * columns * bytesPerCode;
    char *block = storage.data() + (r / n) * n * columns * bytesPerCode;
    for (int64_t c = 0; c < columns; ++c)
      std::memcpy(block + (c * n + r % n) * bytesPerCode,
                  from + c * bytesPerCode, bytesPerCode);
  }
}
