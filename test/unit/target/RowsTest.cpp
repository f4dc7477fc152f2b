//===- RowsTest.cpp - Lookups and states ----------------------------------===//
#include "test/unit/target/TargetTestSupport.h"

using namespace moec::test;

namespace {

std::string text(int64_t value) { return std::to_string(value); }

class RowsTest : public LevelTest {};

} // namespace

TEST_P(RowsTest, LookupOfWeights) {
  for (const char *layout :
       {"", "#moeq.row_major", "#moeq.row_blocks<16>", "#moeq.row_blocks<16, 2>"})
    for (const char *weight : {"f32", "bf16", "f16"})
      for (const char *out : {"f32", "bf16"})
        for (int64_t width : {3, 16, 41}) {
          constexpr int64_t entries = 37, rows = 19;
          std::string w = weight, o = out;
          Random random(width);
          std::vector<float> table = random.values(entries * width, w);
          std::vector<int32_t> ids;
          for (int64_t r = 0; r < rows; ++r)
            ids.push_back(random.integer(0, entries - 1));
          StepProgram program;
          program.tokens = rows;
          program.ids = ids;
          int64_t pack = std::string(layout) == "#moeq.row_blocks<16, 2>" ? 2 : 1;
          bool isBlocked = std::string(layout).find("blocks") != std::string::npos;
          program.weight(
              "w", text(entries) + "x" + text(width) + "x" + w, layout,
              encode(isBlocked ? rowBlocks(table, entries, width, pack) : table,
                     w));
          program.define("i", "memref<?xi32>",
                         "moex.input tokens : memref<?xi32>");
          program.buffer("y", "memref<?x" + text(width) + "x" + o + ">",
                         encode(std::vector<float>(rows * width), o));
          program.op("moex.lookup ins(%w : $w) indices(%i : $i) outs(%y : $y) "
                     "rows #T");
          std::vector<float> expected;
          for (int32_t id : ids)
            for (int64_t c = 0; c < width; ++c)
              expected.push_back(roundToType(table[id * width + c], o));
          for (unsigned threads : kTeams) {
            ASSERT_EQ(program.run(level(), threads), "");
            ASSERT_TRUE(sameBits(decode(program.read<char>("y"), o), expected))
                << layout << " " << w << " " << o << " " << width;
          }
        }
}

/// Only rows of a modality, only rows below the last offset.
TEST_P(RowsTest, LookupOfSomeRows) {
  constexpr int64_t width = 18, rows = 21;
  Random random(1);
  std::vector<float> table = random.values(rows * width);
  std::vector<float> before(rows * width, 4.5f);
  StepProgram program;
  program.tokens = rows;
  for (int64_t r = 0; r < rows; ++r)
    program.kinds.push_back(static_cast<int8_t>(random.integer(0, 2)));
  program.buffer("x", "memref<?x18xf32>", table);
  program.buffer("u", "memref<4xi32>", std::vector<int32_t>{0, 3, 9, 13});
  program.buffer("y", "memref<?x18xf32>", before);
  program.buffer("z", "memref<?x18xf32>", before);
  program.define("k", "memref<?xi8>", "moex.input kinds : memref<?xi8>");
  program.op("moex.lookup ins(%x : $x) where(%k : $k) is 1 outs(%y : $y) "
             "rows #T");
  program.op("moex.lookup ins(%x : $x) until(%u : $u) outs(%z : $z) rows #T");
  std::vector<float> y = before, z = before;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < width; ++c) {
      if (program.kinds[r] == 1)
        y[r * width + c] = table[r * width + c];
      if (r < 13)
        z[r * width + c] = table[r * width + c];
    }
  for (unsigned threads : kTeams) {
    ASSERT_EQ(program.run(level(), threads), "");
    EXPECT_TRUE(sameBits(program.read<float>("y"), y));
    EXPECT_TRUE(sameBits(program.read<float>("z"), z));
  }
}

TEST_P(RowsTest, StateAppend) {
  constexpr int64_t width = 20, pages = 3;
  Random random(2);
  // Three sequences, the middle one empty; the last crosses a page.
  StepProgram program;
  program.tokens = 9;
  program.cuSeqlens = {0, 2, 2, 9};
  program.positions = {0, 1, 60, 61, 62, 63, 64, 65, 66};
  program.pagesPerSequence = pages;
  program.pageTable = {4, -1, -1, -1, -1, -1, 2, 0, -1};
  std::vector<float> rows = random.values(9 * width, "bf16");
  program.buffer("k", "memref<?x20xbf16>", encode(rows, "bf16"));
  std::vector<uint16_t> pool(5 * 64 * width, 0x1234);
  program.state("other", "4xf32", std::vector<float>());
  program.state("s", "20xbf16", pool);
  program.op("moex.state_append @s ins(%k : $k)");
  std::vector<uint16_t> expected = pool;
  for (int64_t t = 0; t < 9; ++t) {
    int64_t sequence = t < 2 ? 0 : 2;
    int64_t position = program.positions[t];
    int64_t page = program.pageTable[sequence * pages + position / 64];
    for (int64_t c = 0; c < width; ++c)
      expected[(page * 64 + position % 64) * width + c] =
          bf16Code(rows[t * width + c]);
  }
  for (unsigned threads : kTeams) {
    ASSERT_EQ(program.run(level(), threads), "");
    EXPECT_EQ(program.read<uint16_t>("s"), expected);
  }
}

TEST_P(RowsTest, SequenceLengths) {
  // Four sequences, one of them empty.
  StepProgram program;
  program.tokens = 6;
  program.cuSeqlens = {0, 2, 2, 3, 6};
  program.positions = {0, 1, 60, 7, 8, 9};
  program.buffer("n", "memref<?xi32>", std::vector<int32_t>(6));
  program.op("moex.sequence_lengths outs(%n : $n)");
  std::vector<int32_t> expected = {2, 2, 61, 10, 10, 10};
  for (unsigned threads : kTeams) {
    ASSERT_EQ(program.run(level(), threads), "");
    EXPECT_EQ(program.read<int32_t>("n"), expected);
  }
}

MOEC_FOR_LEVELS(RowsTest);
