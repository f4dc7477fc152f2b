//===- RoutingTest.cpp - Plans, routing, combination ----------------------===//
#include "test/unit/target/TargetTestSupport.h"

#include <algorithm>
#include <cmath>

using namespace moec::test;

namespace {

std::string text(int64_t value) { return std::to_string(value); }

/// The dispatch contract: pairs sorted by (expert, token, slot).
struct Plan {
  std::vector<int32_t> rows, offsets, slotRows;

  Plan(const std::vector<int32_t> &ids, int64_t slots, int64_t experts)
      : offsets(experts + 1), slotRows(ids.size(), -1) {
    for (int64_t e = 0; e < experts; ++e) {
      for (size_t pair = 0; pair < ids.size(); ++pair)
        if (ids[pair] == e) {
          slotRows[pair] = static_cast<int32_t>(rows.size());
          rows.push_back(static_cast<int32_t>(pair / slots));
        }
      offsets[e + 1] = static_cast<int32_t>(rows.size());
    }
  }
};

class RoutingTest : public LevelTest {
protected:
  void declarePlan(StepProgram &program, int64_t tokens, int64_t slots,
                   int64_t experts) {
    std::string k = text(slots);
    program.buffer("rows", "memref<?xi32>",
                   std::vector<int32_t>(tokens * slots, 77));
    program.buffer("offsets", "memref<" + text(experts + 1) + "xi32>",
                   std::vector<int32_t>(experts + 1, 77));
    program.buffer("slots", "memref<?x" + k + "xi32>",
                   std::vector<int32_t>(tokens * slots, 77));
  }

  void checkPlan(const StepProgram &program, const std::vector<int32_t> &ids,
                 int64_t slots, int64_t experts) {
    Plan plan(ids, slots, experts);
    std::vector<int32_t> rows = program.read<int32_t>("rows");
    rows.resize(plan.rows.size());
    EXPECT_EQ(rows, plan.rows);
    EXPECT_EQ(program.read<int32_t>("offsets"), plan.offsets);
    EXPECT_EQ(program.read<int32_t>("slots"), plan.slotRows);
  }
};

} // namespace

TEST_P(RoutingTest, Plan) {
  for (int64_t tokens : {0, 1, 17, 130})
    for (auto [experts, slots] :
         {std::pair<int64_t, int64_t>{1, 1}, {8, 2}, {60, 4}}) {
      Random random(tokens + experts);
      std::vector<int32_t> ids;
      for (int64_t i = 0; i < tokens * slots; ++i)
        ids.push_back(random.integer(-1, experts - 1));
      StepProgram program;
      program.tokens = tokens;
      program.buffer("ids", "memref<?x" + text(slots) + "xi32>", ids);
      declarePlan(program, tokens, slots, experts);
      program.op("moex.plan ins(%ids : $ids) outs(%rows, %offsets, %slots : "
                 "$rows, $offsets, $slots) experts = " + text(experts));
      for (unsigned threads : kTeams) {
        ASSERT_EQ(program.run(level(), threads), "");
        checkPlan(program, ids, slots, experts);
      }
    }
}

/// What is over the capacity of a sequence goes, later slots first.
TEST_P(RoutingTest, LimitSlots) {
  struct Case {
    std::vector<int32_t> starts;
    int64_t experts, slots, millionths, multiple;
  };
  for (const Case &c :
       {Case{{0, 17}, 4, 2, 500000, 1},
        Case{{0, 1, 1, 9, 40}, 3, 2, 1000000, 4},
        Case{{0, 130}, 8, 3, 1250000, 1}, Case{{0, 0}, 2, 1, 1000000, 1}}) {
    int64_t tokens = c.starts.back();
    Random random(tokens + c.experts);
    std::vector<int32_t> ids, expected;
    std::vector<float> weights = random.values(tokens * c.slots), kept;
    for (int64_t i = 0; i < tokens * c.slots; ++i)
      ids.push_back(random.integer(-1, c.experts - 1));
    expected = ids;
    kept = weights;
    for (size_t b = 0; b + 1 < c.starts.size(); ++b) {
      double n = c.starts[b + 1] - c.starts[b];
      int64_t capacity =
          std::ceil(n * c.slots * (c.millionths / 1e6) / c.experts);
      while (capacity % c.multiple != 0)
        ++capacity;
      std::vector<int64_t> taken(c.experts, 0);
      for (int64_t s = 0; s < c.slots; ++s)
        for (int64_t t = c.starts[b]; t < c.starts[b + 1]; ++t) {
          int64_t pair = t * c.slots + s;
          if (ids[pair] >= 0 && taken[ids[pair]] < capacity) {
            ++taken[ids[pair]];
            continue;
          }
          expected[pair] = -1;
          kept[pair] = 0.0f;
        }
    }
    StepProgram program;
    program.tokens = tokens;
    program.cuSeqlens = c.starts;
    std::string k = text(c.slots);
    program.buffer("ids", "memref<?x" + k + "xi32>", ids);
    program.buffer("w", "memref<?x" + k + "xf32>", weights);
    program.buffer("starts", "memref<?xi32>", c.starts);
    program.buffer("j", "memref<?x" + k + "xi32>",
                   std::vector<int32_t>(ids.size(), 77));
    program.buffer("v", "memref<?x" + k + "xf32>",
                   std::vector<float>(ids.size(), 77.0f));
    program.op("moex.limit_slots ins(%ids, %w, %starts : $ids, $w, $starts) "
               "outs(%j, %v : $j, $v) experts = " +
               text(c.experts) + " millionths = " + text(c.millionths) +
               " multiple = " + text(c.multiple));
    for (unsigned threads : kTeams) {
      ASSERT_EQ(program.run(level(), threads), "");
      EXPECT_EQ(program.read<int32_t>("j"), expected);
      EXPECT_EQ(program.read<float>("v"), kept);
    }
  }
}

TEST_P(RoutingTest, RouteSort) {
  for (int64_t tokens : {1, 17, 130})
    for (int64_t experts : {4, 37}) {
      Random random(tokens * experts);
      std::vector<float> z = random.values(tokens * experts);
      std::vector<float> bias = random.values(experts, "f32", 0.3f);
      StepProgram program;
      program.tokens = tokens;
      std::string e = text(experts), row = "tensor<" + e + "xf32>";
      program.buffer("z", "memref<?x" + e + "xf32>", z);
      program.weight("b", e + "xf32", "", bias);
      program.buffer("ids", "memref<?x2xi32>", std::vector<int32_t>(tokens * 2));
      program.buffer("w", "memref<?x2xf32>", std::vector<float>(tokens * 2));
      declarePlan(program, tokens, 2, experts);
      program.op(
          "moex.route_sort ins(%z, %b : $z, $b) ids(%ids : $ids) "
          "weights(%w : $w) plan(%rows, %offsets, %slots : $rows, $offsets, "
          "$slots) experts = " + e + " body {\n"
          "^bb0(%r: " + row + ", %bias: " + row + "):\n"
          "%s = row.map %r, %bias : (" + row + ", " + row + ") -> " + row +
          " {\n^bb0(%a: f32, %c: f32):\n%d = arith.addf %a, %c : f32\n"
          "row.yield %d : f32\n}\n"
          "%v, %i = row.top_k %s : " + row + " -> tensor<2xf32>, tensor<2xi32>\n"
          "%p = row.gather %r[%i] : " + row + ", tensor<2xi32> -> "
          "tensor<2xf32>\n"
          "row.yield %i, %p : tensor<2xi32>, tensor<2xf32>\n}");
      std::vector<int32_t> ids;
      std::vector<float> weights;
      for (int64_t t = 0; t < tokens; ++t) {
        std::vector<int32_t> order(experts);
        for (int64_t i = 0; i < experts; ++i)
          order[i] = static_cast<int32_t>(i);
        auto key = [&](int32_t i) { return z[t * experts + i] + bias[i]; };
        std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
          return key(a) > key(b);
        });
        for (int slot = 0; slot < 2; ++slot) {
          ids.push_back(order[slot]);
          weights.push_back(z[t * experts + order[slot]]);
        }
      }
      for (unsigned threads : kTeams) {
        ASSERT_EQ(program.run(level(), threads), "");
        EXPECT_EQ(program.read<int32_t>("ids"), ids);
        EXPECT_TRUE(sameBits(program.read<float>("w"), weights));
        checkPlan(program, ids, 2, experts);
      }
    }
}

TEST_P(RoutingTest, Combine) {
  for (int64_t tokens : {0, 1, 17})
    for (int64_t width : {5, 16, 70})
      for (const char *type : {"f32", "bf16"}) {
        constexpr int64_t slots = 3, rows = 40;
        std::string t = type, w = text(width);
        Random random(tokens + width);
        std::vector<float> d = random.values(rows * width);
        std::vector<float> weights = random.values(tokens * slots);
        std::vector<int32_t> slotRows;
        for (int64_t i = 0; i < tokens * slots; ++i)
          slotRows.push_back(random.integer(-1, rows - 1));
        for (int64_t i = 0; i < std::min<int64_t>(slots, slotRows.size()); ++i)
          slotRows[i] = -1;
        StepProgram program;
        program.tokens = tokens;
        program.buffer("d", "memref<?x" + w + "xf32>", d);
        program.buffer("s", "memref<?x3xi32>", slotRows);
        program.buffer("w", "memref<?x3xf32>", weights);
        program.buffer("y", "memref<?x" + w + "x" + t + ">",
                       encode(std::vector<float>(tokens * width), t));
        program.op("moex.combine_rows ins(%d, %s, %w : $d, $s, $w) "
                   "outs(%y : $y)");
        std::vector<float> expected;
        for (int64_t r = 0; r < tokens; ++r)
          for (int64_t c = 0; c < width; ++c) {
            float sum = 0;
            for (int64_t s = 0; s < slots; ++s)
              if (slotRows[r * slots + s] >= 0)
                sum += weights[r * slots + s] *
                       d[slotRows[r * slots + s] * width + c];
            expected.push_back(roundToType(sum, t));
          }
        for (unsigned threads : kTeams) {
          ASSERT_EQ(program.run(level(), threads), "");
          EXPECT_TRUE(sameBits(decode(program.read<char>("y"), t), expected));
        }
      }
}

MOEC_FOR_LEVELS(RoutingTest);
