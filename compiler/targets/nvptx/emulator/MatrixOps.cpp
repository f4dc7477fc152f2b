//===- MatrixOps.cpp - ldmatrix, stmatrix, mma.sync -----------------------===//
//
// Who holds which element, from the PTX ISA, "Warp-level matrix instructions".
// For all shapes of mma.sync here one rule gives it: with g = lane / 4,
// t = lane % 4 and E elements in a register of 32 bits,
//
//   A, register r, element i: row g + 8 (r % 2), column t E + i + 4 E (r / 2)
//   B, register r, element i: row (k) t E + i + 4 E r, column g
//   C, element i:             row g + 8 (i / 2), column 2 t + i % 2
//
// A product is summed in double and rounded once; the hardware keeps fewer
// bits and its order is its own.
//
//===----------------------------------------------------------------------===//
#include "compiler/targets/nvptx/emulator/Numbers.h"
#include "compiler/targets/nvptx/emulator/Ops.h"

#include "llvm/ADT/StringSwitch.h"

#include <cstring>

using namespace moec::emu;
using llvm::StringRef;

namespace {

//===----------------------------------------------------------------------===//
// ldmatrix and stmatrix: 8 x 8 matrices of 16-bit elements
//===----------------------------------------------------------------------===//

enum MoveParameter { Count, Transposed };

constexpr unsigned rowBytes = 16;

/// The row that lane `8 matrix + row` points to.
char *getRow(Warp &warp, const Site &site, unsigned matrix, unsigned row,
             Access access) {
  unsigned lane = 8 * matrix + row;
  uint64_t address = warp.getOperand<uint64_t>(site, lane, 0);
  checkShared(*warp.lanes[lane], site, address, rowBytes, rowBytes, access);
  return reinterpret_cast<char *>(address);
}

/// Row and column of element i of a lane's register.
std::pair<unsigned, unsigned> getPlace(const Site &site, unsigned lane,
                                       unsigned i) {
  unsigned row = lane / 4, column = lane % 4 * 2 + i;
  if (site.op->parameters[Transposed])
    std::swap(row, column);
  return {row, column};
}

void executeLdmatrix(Warp &warp, const Site &site, uint32_t) {
  for (unsigned matrix = 0; matrix < site.op->parameters[Count]; ++matrix) {
    uint16_t elements[8][8];
    for (unsigned row = 0; row < 8; ++row)
      std::memcpy(elements[row], getRow(warp, site, matrix, row, Access::Load),
                  rowBytes);
    for (unsigned lane = 0; lane < warpSize; ++lane) {
      uint32_t value = 0;
      for (unsigned i = 0; i < 2; ++i) {
        auto [row, column] = getPlace(site, lane, i);
        value |= uint32_t(elements[row][column]) << 16 * i;
      }
      warp.setResult<uint32_t>(site, lane, value, matrix);
    }
  }
}

void executeStmatrix(Warp &warp, const Site &site, uint32_t) {
  for (unsigned matrix = 0; matrix < site.op->parameters[Count]; ++matrix) {
    uint16_t elements[8][8];
    for (unsigned lane = 0; lane < warpSize; ++lane) {
      auto value = warp.getOperand<uint32_t>(site, lane, 1 + matrix);
      for (unsigned i = 0; i < 2; ++i) {
        auto [row, column] = getPlace(site, lane, i);
        elements[row][column] = uint16_t(value >> 16 * i);
      }
    }
    for (unsigned row = 0; row < 8; ++row)
      std::memcpy(getRow(warp, site, matrix, row, Access::Store), elements[row],
                  rowBytes);
  }
}

bool bindMove(StringRef name, Op &op) {
  bool isLoad = name.consume_front("ldmatrix.sync.aligned.m8n8.x");
  if (!isLoad && !name.consume_front("stmatrix.sync.aligned.m8n8.x"))
    return false;
  unsigned count = 0;
  if (name.consumeInteger(10, count) ||
      (count != 1 && count != 2 && count != 4))
    return false;
  bool transposed = name.consume_front(".trans");
  if (!name.starts_with(".b16"))
    return false;
  op.warp = isLoad ? executeLdmatrix : executeStmatrix;
  op.parameters = {int64_t(count), transposed};
  return true;
}

//===----------------------------------------------------------------------===//
// mma.sync
//===----------------------------------------------------------------------===//

enum MmaParameter { Depth, TypeA, TypeB, TypeC, Saturates };

constexpr unsigned rowsM = 16, columnsN = 8, mostDepth = 64;

template <typename T> struct Tile {
  T a[rowsM][mostDepth], b[mostDepth][columnsN];
};

template <typename T> void gather(Warp &warp, const Site &site, Tile<T> &tile) {
  const auto &p = site.op->parameters;
  auto typeA = Number(p[TypeA]), typeB = Number(p[TypeB]);
  unsigned perRegister = 32 / getBits(typeA);
  unsigned numB = unsigned(p[Depth]) / (4 * perRegister), numA = 2 * numB;
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    unsigned g = lane / 4, t = lane % 4;
    for (unsigned r = 0; r < numA; ++r) {
      auto bits = warp.getOperand<uint32_t>(site, lane, r);
      for (unsigned i = 0; i < perRegister; ++i)
        tile.a[g + 8 * (r % 2)]
              [t * perRegister + i + 4 * perRegister * (r / 2)] =
            decode<T>(typeA, bits, i);
    }
    for (unsigned r = 0; r < numB; ++r) {
      auto bits = warp.getOperand<uint32_t>(site, lane, numA + r);
      for (unsigned i = 0; i < perRegister; ++i)
        tile.b[t * perRegister + i + 4 * perRegister * r][g] =
            decode<T>(typeB, bits, i);
    }
  }
}

template <typename T>
T multiply(const Tile<T> &tile, unsigned depth, unsigned row, unsigned column) {
  T sum = 0;
  for (unsigned k = 0; k < depth; ++k)
    sum += tile.a[row][k] * tile.b[k][column];
  return sum;
}

unsigned getFirstC(const Site &site) {
  const auto &p = site.op->parameters;
  return 3 * unsigned(p[Depth]) * getBits(Number(p[TypeA])) / 128;
}

void executeMmaFloat(Warp &warp, const Site &site, uint32_t) {
  Tile<double> tile;
  gather(warp, site, tile);
  const auto &p = site.op->parameters;
  bool isHalf = Number(p[TypeC]) == Number::F16;
  unsigned first = getFirstC(site);
  for (unsigned lane = 0; lane < warpSize; ++lane)
    for (unsigned i = 0; i < 4; ++i) {
      unsigned row = lane / 4 + 8 * (i / 2), column = lane % 4 * 2 + i % 2;
      double sum = multiply(tile, unsigned(p[Depth]), row, column);
      if (isHalf) {
        auto c = warp.getOperand<uint32_t>(site, lane, first + i / 2);
        sum += decode<double>(Number::F16, c, i % 2);
        warp.setResult<uint16_t>(site, lane, encodeHalf(sum), i);
      } else {
        sum += warp.getOperand<float>(site, lane, first + i);
        warp.setResult<float>(site, lane, float(sum), i);
      }
    }
}

void executeMmaInteger(Warp &warp, const Site &site, uint32_t) {
  Tile<int64_t> tile;
  gather(warp, site, tile);
  const auto &p = site.op->parameters;
  unsigned first = getFirstC(site);
  for (unsigned lane = 0; lane < warpSize; ++lane)
    for (unsigned i = 0; i < 4; ++i) {
      unsigned row = lane / 4 + 8 * (i / 2), column = lane % 4 * 2 + i % 2;
      int64_t sum = multiply(tile, unsigned(p[Depth]), row, column) +
                    warp.getOperand<int32_t>(site, lane, first + i);
      if (p[Saturates])
        sum = std::min<int64_t>(INT32_MAX, std::max<int64_t>(INT32_MIN, sum));
      warp.setResult<int32_t>(site, lane, int32_t(sum), i);
    }
}

/// mma.m16n8k<K>.row.col.[satfinite.]TYPES. Types are A [B] for integers, bf16
/// and tf32; D C for f16; D A B C for 8-bit floats.
bool bindMma(StringRef name, Op &op) {
  unsigned depth = 0;
  if (!name.consume_front("mma.m16n8k") || name.consumeInteger(10, depth) ||
      !name.consume_front(".row.col.") || depth > mostDepth)
    return false;
  bool saturates = name.consume_front("satfinite.");
  llvm::SmallVector<StringRef> words;
  name.split(words, '.');
  llvm::SmallVector<Number> types;
  for (StringRef word : words) {
    types.push_back(parseNumber(word));
    if (types.back() == Number::None)
      return false;
  }
  Number a = types[0], b = types.back(), c = Number::F32;
  auto isHalfOrFloat = [](Number type) {
    return type == Number::F16 || type == Number::F32;
  };
  if (types.size() == 4) {
    if (!isHalfOrFloat(types[0]) || !isHalfOrFloat(types[3]))
      return false;
    a = types[1], b = types[2], c = types[3];
  } else if (isHalfOrFloat(a)) {
    c = b;
    if (types.size() != 2 || types[0] != types[1])
      return false;
    a = b = Number::F16;
  } else if (types.size() > 2) {
    return false;
  }
  bool isInteger = a == Number::S8 || a == Number::U8;
  if (getBits(a) != getBits(b) || depth % (128 / getBits(a)) ||
      isInteger != (b == Number::S8 || b == Number::U8))
    return false;
  op.warp = isInteger ? executeMmaInteger : executeMmaFloat;
  op.parameters = {int64_t(depth), int64_t(a), int64_t(b), int64_t(c),
                   saturates};
  return true;
}

} // namespace

bool moec::emu::bindMatrixOp(StringRef name, Op &op) {
  return bindMove(name, op) || bindMma(name, op);
}
