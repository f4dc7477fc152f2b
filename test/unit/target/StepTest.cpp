//===- StepTest.cpp - What a host calls -----------------------------------===//
#include "test/unit/target/TargetTestSupport.h"

using namespace moec::test;

namespace {
class StepTest : public LevelTest {};
} // namespace

TEST_P(StepTest, ScratchIsTheMap) {
  StepProgram program;
  program.scratch =
      "affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7) -> (T * 512 + "
      "((R + 63) floordiv 64) * 4096 + (B ceildiv 4) * 64 + (M3 mod 10) + M7 + "
      "((T - 9) floordiv 4) + 128)>";
  std::string error;
  KernelJit *jit = program.compile(level(), error);
  ASSERT_NE(jit, nullptr) << error;
  KernelJit::ScratchFunction scratch = jit->getScratch("f");
  ASSERT_NE(scratch, nullptr);
  moe_extents_v1 extents{};
  extents.size = sizeof(extents);
  extents.tokens = 7;
  extents.sequences = 5;
  extents.logits_rows = 65;
  extents.raw_inputs[3] = 23;
  extents.raw_inputs[7] = 1000;
  EXPECT_EQ(scratch(&extents),
            7 * 512 + 2 * 4096 + 2 * 64 + 3 + 1000 - 1 + 128u);
}

TEST_P(StepTest, HostWithoutTeam) {
  StepProgram program;
  program.op("moex.barrier");
  EXPECT_EQ(program.run(level(), 0), "status 1");
  EXPECT_EQ(program.run(level(), 3), "");
}

/// Fields of the batch and results.
TEST_P(StepTest, InputsAndOutputs) {
  StepProgram program;
  program.tokens = 6;
  program.logitsRows = 2;
  program.outputRowBytes = 4 * 4;
  program.ids = {5, 4, 3, 2, 1, 0};
  program.positions = {10, 11, 12, 13, 14, 15};
  program.logitsRowIndices = {5, 2};
  std::vector<float> x(6 * 4);
  for (size_t i = 0; i < x.size(); ++i)
    x[i] = static_cast<float>(i);
  program.buffer("x", "memref<?x4xf32>", x);
  program.define("o", "memref<?x4xf32>", "moex.output 0 : memref<?x4xf32>");
  program.define("r", "memref<?xi32>", "moex.input logits_rows : memref<?xi32>");
  program.op("moex.lookup ins(%x : $x) indices(%r : $r) outs(%o : $o) rows #R");
  program.define("t", "memref<?xi32>", "moex.input tokens : memref<?xi32>");
  program.define("p", "memref<?xi32>", "moex.input positions : memref<?xi32>");
  program.buffer("s", "memref<?xi32>", std::vector<int32_t>(6));
  program.op("moex.rowwise ins(%t, %p : $t, $p) outs(%s : $s) rows #T "
             "period = [0, 0] body {\n^bb0(%a: i32, %b: i32):\n"
             "%c = arith.muli %a, %b : i32\nrow.yield %c : i32\n}");
  for (unsigned threads : kTeams) {
    ASSERT_EQ(program.run(level(), threads), "");
    EXPECT_EQ(program.read<float>("output"),
              (std::vector<float>{20, 21, 22, 23, 8, 9, 10, 11}));
    EXPECT_EQ(program.read<int32_t>("s"),
              (std::vector<int32_t>{50, 44, 36, 26, 14, 0}));
  }
}

MOEC_FOR_LEVELS(StepTest);
