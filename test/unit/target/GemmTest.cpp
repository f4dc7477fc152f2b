//===- GemmTest.cpp - Matrix products against plain C++ -------------------===//
//
// The order of sums is fixed, so results are compared bit for bit.
//
//===----------------------------------------------------------------------===//
#include "test/unit/target/TargetTestSupport.h"

#include <numeric>

using namespace moec::test;

namespace {

std::string text(int64_t value) { return std::to_string(value); }

struct Shape {
  int64_t rows, depth, width;
  std::string x = "f32", weight = "f32", out = "f32", compute = "f32";
  std::string tasks = "columns";
  /// Block-diagonal: x holds as many heads of `depth`, `width` is that of all.
  int64_t heads = 1;
};

class GemmTest : public LevelTest {
protected:
  /// One element: the ascending chain of the contract. Dot-product instructions
  /// take pairs of bf16, the odd one first.
  float dot(const float *x, const float *w, int64_t depth,
            const std::string &compute, const std::string &weight = "bf16") {
    float sum = 0;
    if (level() == "avx512" && compute == "bf16" && weight == "bf16") {
      for (int64_t k = 0; k < depth; k += 2) {
        if (k + 1 < depth)
          sum = mulAdd(roundToBf16(x[k + 1]), w[k + 1], sum);
        sum = mulAdd(roundToBf16(x[k]), w[k], sum);
      }
      return sum;
    }
    for (int64_t k = 0; k < depth; ++k)
      sum = mulAdd(roundToType(x[k], compute), roundToType(w[k], compute), sum);
    return sum;
  }

  void runTeams(StepProgram &program, const std::vector<float> &expected,
                const std::string &type, const std::string &what) {
    for (unsigned threads : kTeams) {
      ASSERT_EQ(program.run(level(), threads), "") << what;
      ASSERT_TRUE(sameBits(decode(program.read<char>("y"), type), expected))
          << what << ", " << threads << " threads";
    }
  }

  void checkDense(const Shape &s) {
    std::string what = text(s.rows) + "x" + text(s.depth) + "x" +
                       text(s.width) + " " + s.x + " " + s.weight + " " +
                       s.out + " " + s.compute + " " + s.tasks + " " +
                       text(s.heads);
    Random random(s.rows * 7 + s.depth * 3 + s.width);
    int64_t xWidth = s.depth * s.heads;
    std::vector<float> x = random.values(s.rows * xWidth, s.x, 2);
    std::vector<float> w = random.values(s.width * s.depth, s.weight);
    StepProgram program;
    program.tokens = s.rows;
    program.buffer("x", "memref<?x" + text(xWidth) + "x" + s.x + ">",
                   encode(x, s.x));
    program.weight("w", text(s.width) + "x" + text(s.depth) + "x" + s.weight,
                   blockLayout(s.weight),
                   encodeBlocks(w, s.width, s.depth, s.weight));
    size_t outBytes = s.rows * s.width * (s.out == "f32" ? 4 : 2);
    program.buffer("y", "memref<?x" + text(s.width) + "x" + s.out + ">",
                   std::vector<char>(outBytes));
    program.op("moex.grouped_gemm ins(%x : $x) weights(%w : $w) outs(%y : $y) "
               "rows #T compute = " + s.compute +
               (s.heads > 1 ? " heads = " + text(s.heads) : "") +
               " tasks = " + s.tasks);
    std::vector<float> expected;
    for (int64_t r = 0; r < s.rows; ++r)
      for (int64_t c = 0; c < s.width; ++c) {
        int64_t head = c / (s.width / s.heads);
        expected.push_back(
            roundToType(dot(&x[r * xWidth + head * s.depth], &w[c * s.depth],
                            s.depth, s.compute, s.weight),
                        s.out));
      }
    runTeams(program, expected, s.out, what);
  }
};

} // namespace

TEST_P(GemmTest, Sizes) {
  for (int64_t rows : {0, 1, 2, 3, 4, 5, 6, 7, 17, 130})
    checkDense({rows, 33, 40});
  for (int64_t width : {1, 15, 16, 17, 64, 100})
    checkDense({7, 16, width});
  for (int64_t rows : {1, 2, 9})
    checkDense({rows, 65, 210});
}

TEST_P(GemmTest, Types) {
  for (const char *x : {"f32", "bf16", "f16"})
    for (const char *weight : {"f32", "bf16", "f16"})
      for (const char *compute : {"f32", "bf16", "f16"})
        checkDense({5, 37, 20, x, weight, "f32", compute});
  for (const char *out : {"bf16", "f16"})
    for (int64_t rows : {1, 8})
      checkDense({rows, 64, 35, "bf16", "bf16", out, "bf16"});
}

TEST_P(GemmTest, Tasks) {
  for (const char *tasks : {"rows", "columns", "one"})
    for (int64_t rows : {1, 3, 13})
      for (int64_t width : {16, 40, 96})
        checkDense({rows, 24, width, "f32", "bf16", "f32", "f32", tasks});
}

/// Heads of a multiple of 16 columns, and heads that share blocks of them.
TEST_P(GemmTest, Heads) {
  for (auto [rows, heads, depth, width] :
       {std::tuple<int64_t, int64_t, int64_t, int64_t>{0, 2, 24, 32},
        {1, 4, 8, 128},
        {5, 3, 7, 15},
        {40, 5, 33, 100},
        {1, 7, 5, 7}})
    for (const char *tasks : {"rows", "columns"}) {
      Shape s{rows, depth, width};
      s.heads = heads;
      s.tasks = tasks;
      checkDense(s);
      s.x = s.weight = s.out = s.compute = "bf16";
      checkDense(s);
    }
}

/// More contraction indices than a panel holds.
TEST_P(GemmTest, Deep) {
  checkDense({1, 4096, 16, "f32", "bf16"});
  checkDense({7, 4097, 33, "bf16", "bf16", "f32", "bf16"});
  checkDense({2, 9001, 20, "f32", "f32"});
}

/// Enough columns that the weights are walked in several passes.
TEST_P(GemmTest, Wide) {
  checkDense({13, 1024, 300, "f32", "f32"});
}

/// A row's result does not depend on the rows around it.
TEST_P(GemmTest, BatchComposition) {
  constexpr int64_t depth = 129, width = 50, rows = 23;
  Random random(4);
  std::vector<float> x = random.values(rows * depth);
  std::vector<float> w = random.values(width * depth, "bf16");
  std::vector<float> whole;
  for (int64_t count : {rows, int64_t(1), int64_t(5)}) {
    for (int64_t first = 0; first + count <= rows; first += count) {
      StepProgram program;
      program.tokens = count;
      program.buffer("x", "memref<?x129xf32>",
                     std::vector<float>(x.begin() + first * depth,
                                        x.begin() + (first + count) * depth));
      program.weight("w", "50x129xbf16", blockLayout("bf16"),
                     encodeBlocks(w, width, depth, "bf16"));
      program.buffer("y", "memref<?x50xf32>",
                     std::vector<float>(count * width));
      program.op("moex.grouped_gemm ins(%x : $x) weights(%w : $w) "
                 "outs(%y : $y) rows #T compute = f32");
      ASSERT_EQ(program.run(level(), 2), "");
      std::vector<float> y = program.read<float>("y");
      if (whole.empty())
        whole = y;
      ASSERT_TRUE(
          sameBits(y, {whole.begin() + first * width,
                       whole.begin() + (first + count) * width}));
      if (count == 1 && first > 3)
        break;
    }
  }
}

/// Several weights, biases, an epilogue, gathered rows.
TEST_P(GemmTest, BiasesEpilogueGather) {
  for (int64_t rows : {1, 2, 11}) {
    constexpr int64_t depth = 48, width = 37;
    Random random(rows);
    std::vector<float> x = random.values(20 * depth, "bf16");
    std::vector<float> gate = random.values(width * depth, "bf16");
    std::vector<float> up = random.values(width * depth, "bf16");
    std::vector<float> bias1 = random.values(width),
                       bias2 = random.values(width);
    std::vector<int32_t> gather;
    for (int64_t r = 0; r < rows; ++r)
      gather.push_back(random.integer(0, 19));
    StepProgram program;
    program.tokens = rows;
    program.buffer("x", "memref<?x48xbf16>", encode(x, "bf16"));
    program.buffer("g", "memref<?xi32>", gather);
    program.weight("u", "37x48xbf16", blockLayout("bf16"),
                   encodeBlocks(gate, width, depth, "bf16"));
    program.weight("v", "37x48xbf16", blockLayout("bf16"),
                   encodeBlocks(up, width, depth, "bf16"));
    program.weight("b", "37xf32", "", bias1);
    program.weight("c", "37xf32", "#moeq.row_major", bias2);
    program.buffer("y", "memref<?x37xf32>", std::vector<float>(rows * width));
    program.op("moex.grouped_gemm ins(%x : $x) weights(%u, %v : $u, $v) "
               "biases(%b, %c : $b, $c) gather(%g : $g) outs(%y : $y) rows #T "
               "compute = f32 epilogue {\n^bb0(%p: f32, %q: f32):\n"
               "%zero = arith.constant 0.0 : f32\n"
               "%is = arith.cmpf ogt, %p, %zero : f32\n"
               "%r = arith.select %is, %p, %zero : f32\n"
               "%m = arith.mulf %r, %q : f32\nrow.yield %m : f32\n}");
    std::vector<float> expected;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < width; ++c) {
        const float *row = &x[gather[r] * depth];
        float p = dot(row, &gate[c * depth], depth, "f32") + bias1[c];
        float q = dot(row, &up[c * depth], depth, "f32") + bias2[c];
        expected.push_back((p > 0 ? p : 0) * q);
      }
    runTeams(program, expected, "f32", text(rows) + " rows");
  }
}

/// Experts with empty segments; weights that are not adjacent.
TEST_P(GemmTest, Segments) {
  struct Case {
    std::vector<int32_t> counts;
    int64_t depth, width;
    std::string tasks;
    bool biased = false;
  };
  std::vector<Case> cases = {{{3, 0, 8, 1}, 40, 33, "columns"},
                             {{0, 0, 0}, 16, 16, "columns"},
                             {{0, 130, 0, 7, 2}, 17, 48, "columns"},
                             {{1, 1, 1, 1}, 32, 130, "columns"},
                             {{5, 0, 9, 4}, 24, 32, "rows"},
                             {{2, 3}, 8, 20, "one"},
                             {{3, 0, 8, 1}, 40, 33, "columns", true},
                             {{5, 9}, 24, 32, "rows", true}};
  for (const Case &c : cases) {
    int64_t experts = c.counts.size();
    int64_t rows = std::accumulate(c.counts.begin(), c.counts.end(), 0);
    Random random(rows);
    std::vector<float> x = random.values(50 * c.depth);
    std::vector<int32_t> offsets = {0}, gather;
    for (int32_t count : c.counts)
      offsets.push_back(offsets.back() + count);
    for (int64_t r = 0; r < rows + 3; ++r)
      gather.push_back(random.integer(0, 49));
    StepProgram program;
    program.tokens = rows + 3;
    std::string shape = text(c.width) + "x" + text(c.depth) + "xbf16";
    std::string back = text(c.depth) + "x" + text(c.width) + "xbf16";
    std::string table;
    std::vector<std::vector<float>> gates, ups, biases;
    for (int64_t e = 0; e < experts; ++e) {
      auto add = [&](const std::string &role, std::vector<std::vector<float>> &to) {
        to.push_back(random.values(c.width * c.depth, "bf16"));
        program.hiddenWeight(role + text(e), shape, blockLayout("bf16"),
                             encodeBlocks(to.back(), c.width, c.depth, "bf16"));
      };
      add("gate", gates);
      program.hiddenWeight("down" + text(e), back, "", std::vector<char>());
      add("up", ups);
      biases.push_back(random.values(c.width));
      program.hiddenWeight("bias" + text(e), text(c.width) + "xf32", "",
                           StepProgram::bytesOf(biases.back()));
      table += (e ? ", " : "") + std::string("#moe.expert<width = ") +
               text(c.width) + ", weights = {down = @down" + text(e) +
               ", gate = @gate" + text(e) + ", gate_bias = @bias" + text(e) +
               ", up = @up" + text(e) + ", up_bias = @bias" + text(e) + "}>";
    }
    program.declare("moe.expert_table @e body = \"glu\" [" + table + "]");
    std::string type = "memref<" + text(experts) + "x" + shape + ">";
    program.define("g", type, "moex.expert_weights @e role \"gate\" : " + type);
    program.define("u", type, "moex.expert_weights @e role \"up\" : " + type);
    program.buffer("x", "memref<?x" + text(c.depth) + "xf32>", x);
    if (c.biased) {
      std::string type =
          "memref<" + text(experts) + "x" + text(c.width) + "xf32>";
      program.define("b", type,
                     "moex.expert_weights @e role \"gate_bias\" : " + type);
      program.define("c", type,
                     "moex.expert_weights @e role \"up_bias\" : " + type);
    }
    program.buffer("i", "memref<?xi32>", gather);
    program.buffer("s", "memref<" + text(experts + 1) + "xi32>", offsets);
    std::vector<float> untouched((rows + 3) * c.width, 9.0f);
    program.buffer("y", "memref<?x" + text(c.width) + "xf32>", untouched);
    std::string biasOperands =
        c.biased ? "biases(%b, %c : $b, $c) " : std::string();
    program.op("moex.grouped_gemm ins(%x : $x) weights(%g, %u : $g, $u) " +
               biasOperands +
               "gather(%i : $i) segments(%s : $s) outs(%y : $y) rows #T "
               "compute = f32 tasks = " +
               c.tasks +
               " epilogue {\n^bb0(%p: f32, %q: f32):\n"
               "%m = arith.mulf %p, %q : f32\nrow.yield %m : f32\n}");
    std::vector<float> expected = untouched;
    for (int64_t e = 0; e < experts; ++e)
      for (int64_t r = offsets[e]; r < offsets[e + 1]; ++r)
        for (int64_t n = 0; n < c.width; ++n) {
          const float *row = &x[gather[r] * c.depth];
          auto biased = [&](float sum) {
            return c.biased ? sum + biases[e][n] : sum;
          };
          expected[r * c.width + n] =
              biased(dot(row, &gates[e][n * c.depth], c.depth, "f32")) *
              biased(dot(row, &ups[e][n * c.depth], c.depth, "f32"));
        }
    runTeams(program, expected, "f32", table);
  }
}

MOEC_FOR_LEVELS(GemmTest);
