//===- Layouts.cpp - Where codes lie --------------------------------------===//
#include "dialects/moeq/MoeqDialect.h"

#include "llvm/Support/MathExtras.h"

#include <cstring>

using namespace mlir;
using namespace moec;
using namespace moec::moeq;

static int64_t countElements(ArrayRef<int64_t> shape) {
  int64_t count = 1;
  for (int64_t size : shape)
    count *= size;
  return count;
}

//===----------------------------------------------------------------------===//
// Row-major
//===----------------------------------------------------------------------===//

int64_t
RowMajorLayoutAttr::getStorageBytes(ArrayRef<int64_t> shape,
                                    QuantFormatAttrInterface format) const {
  return format.getCodedBytes(shape);
}

void RowMajorLayoutAttr::relayout(ArrayRef<int64_t> shape,
                                  QuantFormatAttrInterface format,
                                  ArrayRef<char> codes,
                                  MutableArrayRef<char> storage) const {
  std::memcpy(storage.data(), codes.data(), codes.size());
}

//===----------------------------------------------------------------------===//
// Blocks of rows of plain numbers
//===----------------------------------------------------------------------===//

LogicalResult
RowBlocksLayoutAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                            int64_t rows, int64_t pack) {
  if (rows < 1 || rows > 64) // C1
    return emitError() << "expected blocks of 1 to 64 rows, found " << rows;
  if (pack != 1 && pack != 2 && pack != 4 && pack != 8) // C2
    return emitError() << "expected groups of 1, 2, 4 or 8 columns, found "
                       << pack;
  return success();
}

int64_t
RowBlocksLayoutAttr::getStorageBytes(ArrayRef<int64_t> shape,
                                     QuantFormatAttrInterface format) const {
  int64_t blocks = llvm::divideCeil(shape[0], getRows());
  return blocks * getBlockCodes(countElements(shape.drop_front())) *
         format.getCodeBits() / 8;
}

void RowBlocksLayoutAttr::relayout(ArrayRef<int64_t> shape,
                                   QuantFormatAttrInterface format,
                                   ArrayRef<char> codes,
                                   MutableArrayRef<char> storage) const {
  int64_t rows = shape[0], columns = countElements(shape.drop_front());
  int64_t n = getRows(), p = getPack(), bytes = format.getCodeBits() / 8;
  int64_t blockBytes = getBlockCodes(columns) * bytes;
  // A group of one row at a time: 4 bytes of bf16 pairs, the common case.
  int64_t groupBytes = p * bytes, whole = columns / p;
  for (int64_t r = 0; r < rows; ++r) {
    const char *from = codes.data() + r * columns * bytes;
    char *to = storage.data() + (r / n) * blockBytes + (r % n) * groupBytes;
    if (groupBytes == 4)
      for (int64_t g = 0; g < whole; ++g)
        std::memcpy(to + g * n * 4, from + g * 4, 4);
    else
      for (int64_t g = 0; g < whole; ++g)
        std::memcpy(to + g * n * groupBytes, from + g * groupBytes, groupBytes);
    std::memcpy(to + whole * n * groupBytes, from + whole * groupBytes,
                (columns - whole * p) * bytes);
  }
}

//===----------------------------------------------------------------------===//
// Blocks of rows of formats with groups
//===----------------------------------------------------------------------===//

GroupUnit moeq::getGroupUnit(QuantFormatAttrInterface format) {
  GroupUnit unit;
  unit.groups = 32 / format.getScaleType().getIntOrFloatBitWidth();
  unit.columns = unit.groups * format.getGroupColumns();
  unit.bytes = 64 + unit.columns * 16 * format.getCodeBits() / 8;
  return unit;
}

int64_t
GroupBlocksLayoutAttr::getStorageBytes(ArrayRef<int64_t> shape,
                                       QuantFormatAttrInterface format) const {
  GroupUnit unit = getGroupUnit(format);
  int64_t columns = countElements(shape.drop_front());
  return llvm::divideCeil(shape[0], 16) *
         llvm::divideCeil(columns, unit.columns) * unit.bytes;
}

void GroupBlocksLayoutAttr::relayout(ArrayRef<int64_t> shape,
                                     QuantFormatAttrInterface format,
                                     ArrayRef<char> codes,
                                     MutableArrayRef<char> storage) const {
  GroupUnit unit = getGroupUnit(format);
  int64_t rows = shape[0], columns = countElements(shape.drop_front());
  int64_t group = format.getGroupColumns(), bits = format.getCodeBits();
  int64_t scaleBytes = format.getScaleType().getIntOrFloatBitWidth() / 8;
  int64_t groups = llvm::divideCeil(columns, group);
  int64_t units = llvm::divideCeil(groups, unit.groups);
  int64_t lineColumns = 32 / bits;
  for (int64_t r = 0; r < rows; ++r) {
    char *block = storage.data() + r / 16 * units * unit.bytes;
    for (int64_t g = 0; g < groups; ++g) {
      const char *from =
          codes.data() + (r * groups + g) * format.getGroupBytes();
      char *to = block + g / unit.groups * unit.bytes;
      int64_t inUnit = g % unit.groups;
      std::memcpy(to + (r % 16 * unit.groups + inUnit) * scaleBytes, from,
                  scaleBytes);
      from += scaleBytes;
      to += 64 + inUnit * group * 16 * bits / 8 + r % 16 * 4;
      for (int64_t c = 0; c < group; c += lineColumns, to += 64) {
        if (bits == 8) {
          std::memcpy(to, from + c, 4);
          continue;
        }
        for (int64_t j = 0; j < 4; ++j) {
          auto code = [&](int64_t column) -> unsigned {
            unsigned byte = static_cast<unsigned char>(from[column / 2]);
            return column % 2 ? byte >> 4 : byte & 15;
          };
          to[j] = static_cast<char>(code(c + j) | code(c + 4 + j) << 4);
        }
      }
    }
  }
}
