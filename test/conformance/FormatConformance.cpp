//===- FormatConformance.cpp - Every format of weights, found by interface ===//
//
//   format-conformance [--load-plugin=FILE]...
//
// Takes the formats of every loaded dialect and the plain ones, and checks what
// every format promises: sizes, bounds of what is written, the error of coding,
// that coding what was decoded changes no more than coding did, that rows are
// independent, that what is not a number stays visible, and that emitDequantize
// means what decode does. Prints a line for each.
//
//===----------------------------------------------------------------------===//
#include "compiler/driver/Registration.h"
#include "compiler/plugin/PluginLoader.h"
#include "dialects/interfaces/MoecDialectInterface.h"
#include "dialects/moeq/MoeqDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/Support/raw_ostream.h"

#include <cmath>
#include <cstring>
#include <random>

using namespace mlir;
using namespace moec;

namespace {
constexpr char canary = 0x5a;
constexpr size_t guard = 64;

/// One format under test. Every check returns what is wrong, or nothing.
class Conformance {
public:
  Conformance(QuantFormatAttrInterface format) : format(format) {}

  std::string check();

private:
  using Numbers = std::vector<float>;

  /// Codes of numbers, with the bytes around them checked.
  std::vector<char> encode(const Numbers &numbers, int64_t columns);
  Numbers decode(const std::vector<char> &codes, int64_t columns, size_t count);
  Numbers random(size_t count, float size);
  Numbers codeBook();
  double unit();
  void checkSizes();
  void checkErrors(int64_t rows, int64_t columns, float size);
  void checkGroups(const Numbers &before, const Numbers &after, int64_t columns,
                   llvm::StringRef what);
  void checkRows();
  void checkSpecial();
  void checkDequantize();
  void fail(const llvm::Twine &what) {
    if (wrong.empty())
      wrong = what.str();
  }

  QuantFormatAttrInterface format;
  std::string wrong;
  std::mt19937 generator{1};
};
} // namespace

std::vector<char> Conformance::encode(const Numbers &numbers, int64_t columns) {
  int64_t rows = columns ? int64_t(numbers.size()) / columns : 0;
  size_t bytes = format.getCodedBytes({rows, columns});
  std::vector<char> all(bytes + 2 * guard, canary);
  format.encode(numbers, columns,
                MutableArrayRef<char>(all).slice(guard, bytes));
  for (size_t i = 0; i < guard; ++i)
    if (all[i] != canary || all[guard + bytes + i] != canary)
      fail("writes beside its codes");
  return {all.begin() + guard, all.end() - guard};
}

Conformance::Numbers Conformance::decode(const std::vector<char> &codes,
                                         int64_t columns, size_t count) {
  Numbers all(count + 2 * guard, 12345.0f);
  format.decode(codes, columns,
                MutableArrayRef<float>(all).slice(guard, count));
  for (size_t i = 0; i < guard; ++i)
    if (all[i] != 12345.0f || all[guard + count + i] != 12345.0f)
      fail("decodes beside its numbers");
  return {all.begin() + guard, all.end() - guard};
}

Conformance::Numbers Conformance::random(size_t count, float size) {
  std::normal_distribution<float> normal(0.0f, size);
  Numbers numbers;
  for (size_t i = 0; i < count; ++i)
    numbers.push_back(normal(generator));
  return numbers;
}

/// What the codes stand for where the scale is 1, ascending.
Conformance::Numbers Conformance::codeBook() {
  int64_t group = format.getGroupColumns();
  unsigned bits = format.getCodeBits();
  size_t scaleBytes = format.getScaleType().getIntOrFloatBitWidth() / 8;
  uint32_t one = llvm::bit_cast<uint32_t>(1.0f) >> (scaleBytes == 2 ? 16 : 0);
  Numbers values;
  for (int64_t first = 0; first < int64_t(1) << bits; first += group) {
    std::vector<char> codes(format.getGroupBytes(), 0);
    std::memcpy(codes.data(), &one, scaleBytes);
    for (int64_t i = 0; i < group; ++i)
      for (unsigned bit = 0; bit < bits; ++bit) {
        int64_t at = i * bits + bit;
        codes[scaleBytes + at / 8] |= ((first + i) >> bit & 1) << (at % 8);
      }
    Numbers part = decode(codes, group, group);
    values.insert(values.end(), part.begin(), part.end());
  }
  values.resize(int64_t(1) << bits);
  llvm::sort(values);
  return values;
}

/// The largest distance that rounding may move a number whose group goes up to
/// 1: for plain numbers half a unit in the last place, else half of the largest
/// gap of the codes and what rounding the scale adds.
double Conformance::unit() {
  if (auto plain = dyn_cast_or_null<FloatType>(format.getStorageType()))
    return std::ldexp(1.0, -int(plain.getFPMantissaWidth()));
  Numbers values = codeBook();
  double gap = 0.0, largest = 0.0;
  for (size_t i = 0; i < values.size(); ++i) {
    largest = std::max(largest, std::fabs(double(values[i])));
    if (i > 0)
      gap = std::max(gap, double(values[i]) - values[i - 1]);
  }
  auto scale = cast<FloatType>(format.getScaleType());
  return gap / 2 / largest + std::ldexp(1.0, -int(scale.getFPMantissaWidth()));
}

void Conformance::checkSizes() {
  int64_t group = format.getGroupColumns();
  if (group < 1 || format.getCodeBits() < 1)
    return fail("expected a group and bits of at least 1");
  int64_t one = format.getCodedBytes({1, group});
  if (one * 8 < group * int64_t(format.getCodeBits()))
    fail("has less storage than codes");
  for (int64_t columns : {group, group + 1, 2 * group, 3 * group - 1})
    if (format.getCodedBytes({3, columns}) !=
        3 * ((columns + group - 1) / group) * one)
      fail("does not pad each row to whole groups");
  if (format.getCodedBytes({0, group}) != 0)
    fail("needs bytes for no rows");
  if (std::fabs(format.getBitsPerWeight() - 8.0 * one / group) > 1e-9)
    fail("states other bits per weight than it stores");
}

void Conformance::checkErrors(int64_t rows, int64_t columns, float size) {
  Numbers numbers = random(rows * columns, size);
  std::vector<char> codes = encode(numbers, columns);
  if (codes != encode(numbers, columns))
    fail("codes the same numbers differently");
  Numbers once = decode(codes, columns, numbers.size());
  checkGroups(numbers, once, columns, "coding");
  checkGroups(once, decode(encode(once, columns), columns, numbers.size()),
              columns, "coding what was decoded");
}

/// In each group the mean square of what `after` differs by is at most that of
/// rounding to codes. A single number may be further off, where a format clips
/// it for the sake of the others, but not by more than two gaps.
void Conformance::checkGroups(const Numbers &before, const Numbers &after,
                              int64_t columns, llvm::StringRef what) {
  int64_t group = format.getGroupColumns();
  double unit = this->unit();
  for (int64_t row = 0; row < int64_t(before.size()); row += columns)
    for (int64_t start = row; start < row + columns; start += group) {
      int64_t end = std::min(start + group, row + columns);
      double largest = 0.0, error = 0.0, squares = 0.0;
      for (int64_t i = start; i < end; ++i) {
        double difference = std::fabs(double(after[i]) - before[i]);
        largest = std::max(largest, std::fabs(double(before[i])));
        error = std::max(error, difference);
        squares += difference * difference;
      }
      // Numbers below the smallest normal one have no relative precision.
      double allowed = unit * largest + 1e-38;
      if (!(std::sqrt(squares / double(end - start)) <= allowed) ||
          !(error <= 4 * allowed))
        fail((what + " moves a number of a group up to " +
              std::to_string(largest) + " by " + std::to_string(error) +
              ", expected at most about " + std::to_string(allowed))
                 .str());
    }
}

/// The codes of a row are the same in any tensor.
void Conformance::checkRows() {
  int64_t columns = 2 * format.getGroupColumns() + 3;
  Numbers numbers = random(3 * columns, 1.0f);
  std::vector<char> all = encode(numbers, columns), joined;
  for (int64_t r = 0; r < 3; ++r) {
    std::vector<char> row = encode(Numbers(numbers.begin() + r * columns,
                                           numbers.begin() + (r + 1) * columns),
                                   columns);
    joined.insert(joined.end(), row.begin(), row.end());
  }
  if (all != joined)
    fail("codes a row differently beside others");
}

void Conformance::checkSpecial() {
  int64_t columns = format.getGroupColumns() + 1;
  for (float number :
       decode(encode(Numbers(columns, 0.0f), columns), columns, columns))
    if (number != 0.0f)
      fail("codes zero as another number");
  for (float special : {std::numeric_limits<float>::quiet_NaN(),
                        std::numeric_limits<float>::infinity()}) {
    Numbers numbers(columns, 1.0f);
    numbers[0] = special;
    if (std::isfinite(decode(encode(numbers, columns), columns, columns)[0]))
      fail("hides what is not a finite number");
  }
  if (!encode({}, columns).empty())
    fail("writes codes for no rows");
}

/// The vector of f32 that `codes` and `scales` become in emitDequantize.
static FailureOr<SmallVector<float>> fold(QuantFormatAttrInterface format,
                                          ArrayRef<int32_t> codes,
                                          ArrayRef<float> scales) {
  MLIRContext *context = format.getContext();
  OpBuilder b(context);
  Location loc = b.getUnknownLoc();
  OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
  b.setInsertionPointToEnd(module->getBody());
  int64_t count = codes.size();
  auto floats = VectorType::get({count}, b.getF32Type());
  auto function =
      func::FuncOp::create(b, loc, "f", b.getFunctionType({}, {floats}));
  b.setInsertionPointToEnd(function.addEntryBlock());
  auto constant = [&](DenseElementsAttr value) -> Value {
    return arith::ConstantOp::create(b, loc, cast<TypedAttr>(Attribute(value)));
  };
  Value result = format.emitDequantize(
      b, loc,
      constant(DenseElementsAttr::get(VectorType::get({count}, b.getI32Type()),
                                      codes)),
      constant(DenseElementsAttr::get(floats, scales)));
  auto yield = func::ReturnOp::create(b, loc, result);
  PassManager passes(context);
  passes.addPass(createCanonicalizerPass());
  DenseElementsAttr value;
  if (failed(passes.run(*module)) ||
      !matchPattern(yield.getOperand(0), m_Constant(&value)))
    return failure();
  return SmallVector<float>(value.getValues<float>());
}

void Conformance::checkDequantize() {
  if (!format.getScaleType())
    return;
  int64_t group = format.getGroupColumns();
  unsigned bits = format.getCodeBits();
  Numbers numbers = random(group, 1.0f);
  std::vector<char> codes = encode(numbers, group);
  Numbers expected = decode(codes, group, group);
  // The canonical order: the scale, then codes, the first in the lowest bits.
  size_t scaleBytes = format.getScaleType().getIntOrFloatBitWidth() / 8;
  uint32_t word = 0;
  std::memcpy(&word, codes.data(), scaleBytes);
  float scale = scaleBytes == 2 ? llvm::bit_cast<float>(word << 16)
                                : llvm::bit_cast<float>(word);
  SmallVector<int32_t> integers;
  for (int64_t i = 0; i < group; ++i) {
    uint32_t code = 0;
    for (unsigned bit = 0; bit < bits; ++bit) {
      int64_t at = i * bits + bit;
      code |= uint32_t(codes[scaleBytes + at / 8] >> (at % 8) & 1) << bit;
    }
    integers.push_back(static_cast<int32_t>(code));
  }
  FailureOr<SmallVector<float>> found =
      fold(format, integers, SmallVector<float>(group, scale));
  if (failed(found))
    return fail("emitDequantize is not arithmetic that can be folded");
  if (!llvm::equal(*found, expected))
    fail("emitDequantize and decode disagree");
}

std::string Conformance::check() {
  checkSizes();
  if (!wrong.empty())
    return wrong;
  int64_t group = format.getGroupColumns();
  for (int64_t columns : {int64_t(1), group, group + 1, 5 * group - 1})
    for (float size : {1.0f, 1e-3f, 1e4f})
      checkErrors(4, columns, size);
  checkRows();
  checkSpecial();
  checkDequantize();
  return wrong;
}

int main(int argc, char **argv) {
  DialectRegistry registry;
  registerAllMoecDialects(registry);
  PluginLoader plugins(registry);
  if (llvm::Error error = plugins.takeArguments(argc, argv)) {
    llvm::errs() << "format-conformance: error: "
                 << llvm::toString(std::move(error)) << "\n";
    return 1;
  }
  if (argc > 1) {
    llvm::errs() << "format-conformance: unknown argument " << argv[1] << "\n";
    return 2;
  }
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  context.loadAllAvailableDialects();
  Builder b(&context);
  std::vector<Attribute> formats;
  for (FloatType type : {FloatType(b.getF32Type()), FloatType(b.getBF16Type()),
                         FloatType(b.getF16Type())})
    formats.push_back(moeq::PlainFormatAttr::get(&context, type));
  for (const FormatEntry &entry : getAllFormats(&context))
    formats.push_back(entry.build(&context, entry.spelling));
  unsigned failed = 0;
  for (Attribute format : formats) {
    std::string wrong =
        Conformance(cast<QuantFormatAttrInterface>(format)).check();
    llvm::outs() << (wrong.empty() ? "ok   " : "FAIL ") << format
                 << (wrong.empty() ? "" : ": ") << wrong << "\n";
    failed += !wrong.empty();
  }
  llvm::outs() << formats.size() << " checked, " << failed << " failed\n";
  return failed != 0;
}
