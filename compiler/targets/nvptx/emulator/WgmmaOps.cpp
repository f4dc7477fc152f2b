//===- WgmmaOps.cpp - wgmma -----------------------------------------------===//
//
// The warps of a warpgroup meet at each wgmma; warp w computes rows 16 w .. 16
// w + 15. Accumulator i of a lane is row lane / 4 + 8 (i / 2 % 2), column 8 (i
// / 4) + 2 (lane % 4) + i % 2.
//
// The matrices in shared memory are read when the instruction is issued, and
// must not change until a wait for its group: any write before is an error. The
// results are kept aside under a number; the registers hold NaNs with that
// number until the wait hands the values out.
//
//===----------------------------------------------------------------------===//
#include "compiler/targets/nvptx/emulator/Async.h"
#include "compiler/targets/nvptx/emulator/Numbers.h"
#include "compiler/targets/nvptx/emulator/Ops.h"
#include "compiler/targets/nvptx/emulator/Placeholders.h"
#include "compiler/targets/nvptx/emulator/SharedMemory.h"

#include "llvm/IR/DerivedTypes.h"

#include <cstring>

using namespace moec::emu;
using llvm::StringRef;

namespace {

enum Parameter {
  SizeN,
  DepthK,
  TypeD,
  TypeA,
  TypeB,
  InRegisters,
  TransposesA,
  TransposesB
};

constexpr unsigned warpRows = 16, chunkBytes = 16;

//===----------------------------------------------------------------------===//
// Matrices in shared memory
//===----------------------------------------------------------------------===//

/// A matrix descriptor of the PTX ISA, fields in bytes.
class Descriptor {
public:
  explicit Descriptor(uint64_t bits)
      : start((bits & 0x3fff) << 4), leading((bits >> 16 & 0x3fff) << 4),
        stride((bits >> 32 & 0x3fff) << 4) {
    // 1: 128 bytes, 2: 64, 3: 32
    unsigned mode = unsigned(bits >> 62);
    swizzle = mode ? 256 >> mode : 0;
    // base_offset, bits 49 to 51, shifts where the pattern begins.
    hasBaseOffset = (bits >> 49 & 7) != 0;
  }

  /// Offset of the 16 bytes of row `mn` that begin `byte` bytes along k.
  uint32_t getKMajor(unsigned mn, unsigned byte) const {
    if (!swizzle)
      return start + mn / 8 * stride + byte / chunkBytes * leading +
             mn % 8 * chunkBytes;
    return permute(start + mn / 8 * stride + mn % 8 * swizzle + byte);
  }
  /// Offset of the 8 16-bit elements from `mn` on at depth k.
  uint32_t getMnMajor(unsigned mn, unsigned k) const {
    if (!swizzle)
      return start + mn / 8 * stride + k / 8 * leading + k % 8 * chunkBytes;
    unsigned across = swizzle / 2;
    return permute(start + mn / across * leading + k / 8 * stride +
                   k % 8 * swizzle + mn % across * 2);
  }

  bool hasBaseOffset;

private:
  uint32_t permute(uint32_t at) const {
    uint32_t mask = swizzle / chunkBytes - 1;
    return at ^ ((at >> 7 & mask) << 4);
  }

  uint32_t start, leading, stride, swizzle;
};

/// Elements [first, first + count) x k of a matrix, as decode<> takes them.
template <typename T>
void readMatrix(Warp &warp, const Site &site, uint64_t bits, Number type,
                bool transposed, unsigned first, unsigned count, unsigned depth,
                std::vector<T> &to) {
  Thread &thread = *warp.lanes[0];
  Descriptor descriptor(bits);
  if (descriptor.hasBaseOffset)
    thread.block->failAt(thread, site, CUDA_ERROR_NOT_SUPPORTED,
                         "a matrix descriptor with a base offset is not "
                         "emulated");
  unsigned size = getBits(type) / 8, inChunk = chunkBytes / size;
  to.resize(count * depth);
  uint64_t base = SharedMemory::get().getBase();
  auto readChunk = [&](uint32_t offset, uint32_t (&words)[4]) {
    checkSharedBounds(thread, site, base + offset, chunkBytes, chunkBytes,
                      Access::Load);
    Async::get().read(thread, site, offset, chunkBytes);
    std::memcpy(words, reinterpret_cast<const void *>(base + offset),
                chunkBytes);
  };
  uint32_t words[4];
  if (!transposed) {
    for (unsigned mn = 0; mn < count; ++mn)
      for (unsigned k = 0; k < depth; k += inChunk) {
        readChunk(descriptor.getKMajor(first + mn, k * size), words);
        for (unsigned i = 0; i < inChunk; ++i)
          to[mn * depth + k + i] =
              decode<T>(type, words[i * size / 4], i % (4 / size));
      }
    return;
  }
  for (unsigned k = 0; k < depth; ++k)
    for (unsigned mn = 0; mn < count; mn += inChunk) {
      readChunk(descriptor.getMnMajor(first + mn, k), words);
      for (unsigned i = 0; i < inChunk; ++i)
        to[(mn + i) * depth + k] =
            decode<T>(type, words[i * size / 4], i % (4 / size));
    }
}

template <typename T>
void gatherA(Warp &warp, const Site &site, Number type, unsigned depth,
             std::vector<T> &to) {
  unsigned each = 32 / getBits(type);
  to.resize(warpRows * depth);
  for (unsigned lane = 0; lane < warpSize; ++lane)
    for (unsigned r = 0; r < 4; ++r) {
      auto bits = warp.getOperand<uint32_t>(site, lane, 1 + r);
      unsigned row = lane / 4 + 8 * (r % 2);
      unsigned column = lane % 4 * each + 4 * each * (r / 2);
      for (unsigned i = 0; i < each; ++i)
        to[row * depth + column + i] = decode<T>(type, bits, i);
    }
}

//===----------------------------------------------------------------------===//
// Accumulators in flight
//===----------------------------------------------------------------------===//

constexpr uint32_t flightMark = 0xffd00000, flightMask = 0xfff00000;

/// Results that have not been waited for, of one warp.
struct Flight {
  uint32_t group = 0; // number of the group that it belongs to
  std::vector<uint32_t> values[warpSize];
};

/// The state of a warp between wgmmas. Keyed by block and warp, forgotten with
/// the block.
struct WarpFlights {
  std::map<uint32_t, Flight> flights; // by number
  uint32_t committed = 0;             // groups
  bool isFenced = false;
};

std::vector<WarpFlights> warpFlights;
uint32_t nextFlight = 0;

WarpFlights &getFlights(Warp &warp) {
  if (warpFlights.size() <= warp.index)
    warpFlights.resize(warp.index + 1);
  return warpFlights[warp.index];
}

const uint32_t *getAccumulators(Warp &warp, const Site &site, unsigned lane) {
  return reinterpret_cast<const uint32_t *>(warp.lanes[lane]->buffer +
                                            site.op->operandOffsets[0]);
}

/// The flight whose number the accumulators of lane 0 carry, or null.
Flight *findFlight(Warp &warp, const Site &site) {
  uint32_t bits = *getAccumulators(warp, site, 0);
  if ((bits & flightMask) != flightMark)
    return nullptr;
  auto &flights = getFlights(warp).flights;
  auto it = flights.find(bits & ~flightMask);
  return it == flights.end() ? nullptr : &it->second;
}

//===----------------------------------------------------------------------===//
// Instructions
//===----------------------------------------------------------------------===//

template <typename T, typename D>
void multiply(Warp &warp, const Site &site, Flight *before, bool scales,
              Flight &after) {
  const auto &p = site.op->parameters;
  auto n = unsigned(p[SizeN]), depth = unsigned(p[DepthK]);
  unsigned next = 1;
  // Kept: a failure abandons the frame.
  static std::vector<T> a, b;
  if (p[InRegisters]) {
    gatherA(warp, site, Number(p[TypeA]), depth, a);
    next += 4;
  } else {
    readMatrix(warp, site, warp.getOperand<uint64_t>(site, 0, next++),
               Number(p[TypeA]), p[TransposesA], warp.index % 4 * warpRows,
               warpRows, depth, a);
  }
  readMatrix(warp, site, warp.getOperand<uint64_t>(site, 0, next),
             Number(p[TypeB]), p[TransposesB], 0, n, depth, b);
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    const uint32_t *old = before ? before->values[lane].data()
                                 : getAccumulators(warp, site, lane);
    after.values[lane].resize(n / 2);
    for (unsigned i = 0; i < n / 2; ++i) {
      const T *left = &a[(lane / 4 + 8 * (i / 2 % 2)) * depth];
      const T *right = &b[(8 * (i / 4) + 2 * (lane % 4) + i % 2) * depth];
      T sum = 0;
      for (unsigned k = 0; k < depth; ++k)
        sum += left[k] * right[k];
      D value;
      if (scales) {
        std::memcpy(&value, &old[i], sizeof value);
        sum += T(value);
      }
      value = D(sum);
      std::memcpy(&after.values[lane][i], &value, sizeof value);
    }
  }
}

void executeWgmma(Warp &warp, const Site &site, uint32_t) {
  const auto &p = site.op->parameters;
  Thread &thread = *warp.lanes[0];
  WarpFlights &state = getFlights(warp);
  Flight *before = findFlight(warp, site);
  if (!state.isFenced && (!before || p[InRegisters]))
    thread.block->failAt(thread, site, CUDA_ERROR_LAUNCH_FAILED,
                         "missing wgmma.fence between ordinary writes of "
                         "registers and wgmma");
  bool scales = warp.getOperand<uint8_t>(site, 0, p[InRegisters] ? 6 : 3) & 1;
  static Flight after;
  after.group = state.committed;
  if (Number(p[TypeD]) == Number::F32)
    multiply<double, float>(warp, site, before, scales, after);
  else
    multiply<int64_t, int32_t>(warp, site, before, scales, after);
  uint32_t number = nextFlight++ & ~flightMask;
  for (unsigned lane = 0; lane < warpSize; ++lane)
    for (unsigned i = 0; i < p[SizeN] / 2; ++i)
      warp.setResult<uint32_t>(site, lane, flightMark | number, i);
  state.flights[number] = std::move(after);
}

void executeFence(Warp &warp, const Site &, uint32_t) {
  getFlights(warp).isFenced = true;
}

void executeCommit(Warp &warp, const Site &, uint32_t) {
  Async::get().commitReads(warp);
  ++getFlights(warp).committed;
}

void wait(Warp &warp, uint64_t mostGroups) {
  Async::get().waitReads(warp, mostGroups);
  getFlights(warp).isFenced = false;
}

void executeWaitGroup(Warp &warp, const Site &site, uint32_t) {
  wait(warp, warp.getOperand<uint64_t>(site, 0, 0));
}

void executeTiedWait(Warp &warp, const Site &site, uint32_t) {
  auto count = unsigned(site.op->parameters[0]);
  auto mostGroups = warp.getOperand<uint32_t>(site, 0, 1);
  wait(warp, mostGroups);
  WarpFlights &state = getFlights(warp);
  Flight *flight = count ? findFlight(warp, site) : nullptr;
  bool isDone = flight && flight->group + mostGroups < state.committed;
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    const uint32_t *from = isDone ? flight->values[lane].data()
                                  : getAccumulators(warp, site, lane);
    for (unsigned i = 0; i < count; ++i)
      warp.setResult<uint32_t>(site, lane, from[i], i);
  }
}

/// Elements of the accumulators, as many as the name says.
unsigned countElements(llvm::Type *type) {
  if (auto *array = llvm::dyn_cast<llvm::ArrayType>(type))
    return unsigned(array->getNumElements());
  if (auto *structure = llvm::dyn_cast<llvm::StructType>(type))
    return structure->getNumElements();
  return 0;
}

bool bindMultiply(StringRef name, const llvm::FunctionType &type, Op &op) {
  WgmmaName shape;
  if (!parseWgmmaName(name, shape))
    return false;
  Number a = parseNumber(shape.a), b = parseNumber(shape.b);
  bool isInteger = a == Number::S8 || a == Number::U8;
  bool isFloat = a == Number::F16 || a == Number::Bf16 || a == Number::Tf32 ||
                 a == Number::E4m3 || a == Number::E5m2;
  bool isTransposed = shape.transposesA || shape.transposesB;
  if ((!isInteger && !isFloat) || getBits(a) != getBits(b) ||
      shape.k * getBits(a) != 256 || (isTransposed && getBits(a) != 16) ||
      (shape.transposesA && shape.aInRegisters) ||
      shape.d != (isInteger ? "s32" : "f32") ||
      type.getNumParams() != (shape.aInRegisters ? 7u : 4u) ||
      countElements(type.getReturnType()) != shape.n / 2 ||
      type.getParamType(0) != type.getReturnType())
    return false;
  op.warp = executeWgmma;
  op.ofWarpgroup = true;
  op.parameters = {int64_t(shape.n),
                   int64_t(shape.k),
                   int64_t(isInteger ? Number::S8 : Number::F32),
                   int64_t(a),
                   int64_t(b),
                   shape.aInRegisters,
                   shape.transposesA,
                   shape.transposesB};
  return true;
}

} // namespace

void moec::emu::beginWgmma() { warpFlights.clear(); }

bool moec::emu::bindWgmmaOp(StringRef name, const llvm::FunctionType &type,
                            Op &op) {
  if (bindMultiply(name, type, op))
    return true;
  if (name.consume_front("wgmma.wait.")) {
    unsigned count = 0;
    if (name.consumeInteger(10, count) || (name != "xf32" && name != "xs32") ||
        type.getNumParams() != 2 ||
        countElements(type.getReturnType()) != count)
      return false;
    op.warp = executeTiedWait;
    op.parameters = {int64_t(count)};
    return true;
  }
  op.warp = llvm::StringSwitch<Op::WarpFn>(name)
                .Case("wgmma.fence.sync.aligned", executeFence)
                .Case("wgmma.commit_group.sync.aligned", executeCommit)
                .Case("wgmma.wait_group.sync.aligned", executeWaitGroup)
                .Default(nullptr);
  return op.warp != nullptr;
}
