//===- KernelConformance.cpp - Matrix products of every format ------------===//
//
//   kernel-conformance [--load-plugin=FILE]...
//
// For every format of weights of the loaded dialects and the plain ones, every
// type of computation and every level of target x86_64 that this processor runs:
// a row's result has the same bits whatever the batch around it, and with one,
// two and five threads (contract 4.1), and it is what the numbers say, within the
// rounding of the type. Batches of one to thirteen rows take every shape of tile.
//
//===----------------------------------------------------------------------===//
#include "compiler/driver/Registration.h"
#include "compiler/plugin/PluginLoader.h"
#include "dialects/interfaces/MoecDialectInterface.h"
#include "dialects/moeq/MoeqDialect.h"
#include "passes/schedule/TargetModel.h"
#include "test/lib/KernelJitProgram.h"

#include "llvm/Support/raw_ostream.h"

#include <cmath>
#include <random>

using namespace mlir;
using namespace moec;
using namespace moec::test;

namespace {

constexpr int64_t kRows = 13, kDepth = 300, kWidth = 83;

std::string text(int64_t value) { return std::to_string(value); }

class Conformance {
public:
  Conformance(QuantFormatAttrInterface format, std::string compute,
              std::string level)
      : format(format), compute(std::move(compute)), level(std::move(level)) {}

  /// What is wrong, or nothing.
  std::string check() {
    std::normal_distribution<float> normal(0.0f, 1.0f);
    for (int64_t i = 0; i < kRows * kDepth; ++i)
      x.push_back(normal(generator));
    std::vector<float> numbers;
    for (int64_t i = 0; i < kWidth * kDepth; ++i)
      numbers.push_back(normal(generator));
    build(numbers);
    program.tokens = kRows;
    if (std::string wrong = program.run(level, 1); !wrong.empty())
      return wrong;
    std::vector<float> all = program.read<float>("y");
    if (std::string wrong = compareWithNumbers(all); !wrong.empty())
      return wrong;
    for (int64_t rows = 1; rows <= kRows; ++rows)
      for (unsigned threads : {1u, 2u, 5u}) {
        program.tokens = rows;
        program.cuSeqlens.clear();
        if (std::string wrong = program.run(level, threads); !wrong.empty())
          return wrong;
        std::vector<float> some = program.read<float>("y");
        if (std::memcmp(some.data(), all.data(),
                        rows * kWidth * sizeof(float)) != 0)
          return text(rows) + " rows on " + text(threads) +
                 " threads differ from " + text(kRows) + " on one";
      }
    return "";
  }

private:
  /// The operation, on rows in another order than they lie in.
  void build(const std::vector<float> &numbers) {
    std::vector<char> codes(format.getCodedBytes({kWidth, kDepth}));
    format.encode(numbers, kDepth, codes);
    decoded.resize(numbers.size());
    format.decode(codes, kDepth, decoded);
    WeightLayoutAttrInterface layout =
        CpuTargetModel().layoutFor(format, WeightUse::Matmul);
    std::vector<char> storage(
        layout.getStorageBytes({kWidth, kDepth}, format), 0);
    layout.relayout({kWidth, kDepth}, format, codes, storage);
    for (int64_t r = 0; r < kRows; ++r)
      order.push_back(static_cast<int32_t>(r * 5 % kRows));

    Type element = format.getStorageType();
    if (!element)
      element = Float32Type::get(format.getContext());
    program.tokens = kRows;
    program.buffer("x", "memref<?x" + text(kDepth) + "xf32>", x);
    program.buffer("g", "memref<?xi32>", order);
    program.weight("w",
                   text(kWidth) + "x" + text(kDepth) + "x" + print(element),
                   print(Attribute(layout)), storage,
                   print(Attribute(format)));
    program.buffer("y", "memref<?x" + text(kWidth) + "xf32>",
                   std::vector<float>(kRows * kWidth));
    program.op("moex.grouped_gemm ins(%x : $x) weights(%w : $w) "
               "gather(%g : $g) outs(%y : $y) rows #T compute = " +
               compute);
  }

  /// Each factor is rounded once: relative errors of 2^-8 in bf16, half a step
  /// of the group's largest magnitude in i8, 2^-24 in f32, and the sum's.
  std::string compareWithNumbers(const std::vector<float> &y) const {
    for (int64_t r = 0; r < kRows; ++r)
      for (int64_t n = 0; n < kWidth; ++n) {
        const float *row = &x[order[r] * kDepth], *w = &decoded[n * kDepth];
        double sum = 0, size = 0, largest = 0, weights = 0;
        for (int64_t k = 0; k < kDepth; ++k) {
          sum += double(row[k]) * w[k];
          size += std::fabs(double(row[k]) * w[k]);
          largest = std::max(largest, std::fabs(double(row[k])));
          weights += std::fabs(double(w[k]));
        }
        double bound = size * kDepth * 0x1p-23;
        if (compute == "bf16")
          bound += size * 0x1p-7;
        if (compute == "i8")
          bound += weights * largest / 254 * 1.01;
        double found = y[r * kWidth + n];
        if (!(std::fabs(found - sum) <= bound))
          return "row " + text(r) + ", column " + text(n) + ": expected " +
                 std::to_string(sum) + " within " + std::to_string(bound) +
                 ", found " + std::to_string(found);
      }
    return "";
  }

  template <typename T> static std::string print(T value) {
    std::string result;
    llvm::raw_string_ostream(result) << value;
    return result;
  }

  QuantFormatAttrInterface format;
  std::string compute, level;
  StepProgram program;
  std::vector<float> x, decoded;
  std::vector<int32_t> order;
  std::mt19937 generator{1};
};

} // namespace

int main(int argc, char **argv) {
  DialectRegistry registry;
  registerAllMoecDialects(registry);
  PluginLoader plugins(registry);
  if (llvm::Error error = plugins.takeArguments(argc, argv)) {
    llvm::errs() << "kernel-conformance: error: "
                 << llvm::toString(std::move(error)) << "\n";
    return 1;
  }
  if (argc > 1) {
    llvm::errs() << "kernel-conformance: unknown argument " << argv[1] << "\n";
    return 2;
  }
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  context.loadAllAvailableDialects();
  Builder b(&context);
  std::vector<QuantFormatAttrInterface> formats;
  for (FloatType type : {FloatType(b.getF32Type()), FloatType(b.getBF16Type()),
                         FloatType(b.getF16Type())})
    formats.push_back(cast<QuantFormatAttrInterface>(
        Attribute(moeq::PlainFormatAttr::get(&context, type))));
  for (const FormatEntry &entry : getAllFormats(&context))
    formats.push_back(
        cast<QuantFormatAttrInterface>(entry.build(&context, entry.spelling)));
  unsigned checked = 0, failed = 0;
  for (QuantFormatAttrInterface format : formats)
    for (std::string compute : {"f32", "bf16", "i8"})
      for (std::string level : {"generic", "avx2", "avx512"}) {
        if ((compute == "i8" && !format.isInteger()) || !canRunLevel(level))
          continue;
        std::string wrong = Conformance(format, compute, level).check();
        llvm::outs() << (wrong.empty() ? "ok   " : "FAIL ")
                     << Attribute(format) << " " << compute << " " << level
                     << (wrong.empty() ? "" : ": ") << wrong << "\n";
        ++checked;
        failed += !wrong.empty();
      }
  llvm::outs() << checked << " checked, " << failed << " failed\n";
  return failed != 0;
}
