//===- DeviceAttentionTest.cpp - Attention on the emulated device ---------===//
//
// Tensor cores add in another order than a processor, so results are compared
// with the reference, within the same bounds; schedules of threads give the
// same bits. What sums are divided by is no part of the numbers: the launches
// say that the case in question was met.
//
//===----------------------------------------------------------------------===//
#include "test/lib/KernelDevice.h"
#include "test/unit/target/AttentionProgram.h"

using namespace moec::test;

namespace {

struct DeviceAttention : public ::testing::Test {
  using Results = std::vector<std::vector<float>>;

  static Config bf16() {
    Config c;
    c.heads = 8;
    c.size = c.valueSize = 64;
    c.type = c.compute = "bf16";
    return c;
  }

  static std::vector<Content> makeContents(const Config &c,
                                           const std::vector<Sequence> &of) {
    std::vector<Content> contents;
    for (size_t b = 0; b < of.size(); ++b)
      contents.push_back(
          makeContent(c, of[b].cached + of[b].fresh, unsigned(b)));
    return contents;
  }

  Results run(Attention &attention, KernelDevice &device,
              const std::vector<Sequence> &sequences,
              const std::vector<Content> &contents) {
    std::vector<const Content *> pointers;
    for (const Content &content : contents)
      pointers.push_back(&content);
    attention.program.runner = [&](KernelJit &jit, const moe_step_v1 &step,
                                   const StepProgram::Memory &memory) {
      return device.run(jit, step, memory);
    };
    Results results = attention.run(level, sequences, pointers, 1);
    launches = device.getLaunches();
    return results;
  }

  /// Compares with the reference, and `schedules` with each other.
  void check(const Config &c, const std::vector<Sequence> &sequences,
             int64_t pages = 4, unsigned schedules = 1) {
    std::vector<Content> contents = makeContents(c, sequences);
    Attention attention(c, pages);
    Results first;
    for (unsigned seed = 1; seed <= schedules; ++seed) {
      KernelDevice device(seed);
      Results results = run(attention, device, sequences, contents);
      if (seed == 1)
        first = results;
      for (size_t b = 0; b < sequences.size(); ++b)
        ASSERT_TRUE(sameBits(results[b], first[b])) << "sequence " << b;
    }
    for (size_t b = 0; b < sequences.size(); ++b)
      for (int64_t t = 0; t < sequences[b].fresh; ++t)
        ASSERT_NO_FATAL_FAILURE(
            checkAttentionRow(c, contents[b], sequences[b].cached + t,
                              &first[b][t * attention.outWidth]))
            << "sequence " << b;
  }

  /// Blocks of the launches of a kernel that is named so, along z.
  unsigned splitsOf(const std::string &part) const {
    for (const KernelDevice::Launch &launch : launches)
      if (launch.kernel.find("_" + part) != std::string::npos)
        return launch.grid[2];
    return 0;
  }
  bool hasKernel(const std::string &part) const { return splitsOf(part) > 0; }

  std::string level = "sm_80";
  std::vector<KernelDevice::Launch> launches;
};

} // namespace

/// Keys divided among blocks: long and short sequences side by side, some of
/// whose blocks have none.
TEST_F(DeviceAttention, Splits) {
  std::vector<Sequence> sequences = {{0, 1}, {699, 1}, {63, 1}, {1100, 1}};
  Config c = bf16();
  check(c, sequences, 20, /*schedules=*/3);
  EXPECT_EQ(splitsOf("few"), 5u);
  EXPECT_TRUE(hasKernel("merge"));
  c.sinks = true;
  c.softcap = 2.5;
  check(c, sequences, 20);
  // One split has all: nothing is merged.
  check(c, {{400, 1}, {3, 1}}, 7);
  EXPECT_EQ(splitsOf("few"), 1u);
  EXPECT_FALSE(hasKernel("merge"));
}

TEST_F(DeviceAttention, SplitMasks) {
  std::vector<Sequence> sequences = {{1200, 1}, {3, 1}, {640, 1}};
  Config c = bf16();
  c.window = 600;
  c.sinks = true;
  check(c, sequences, 20);
  EXPECT_EQ(splitsOf("few"), 2u);
  c.window = 0;
  c.chunk = 1000;
  check(c, sequences, 20);
  EXPECT_EQ(splitsOf("few"), 4u);
  // A short window is not worth it.
  c.chunk = 0;
  c.window = 128;
  check(c, sequences, 20);
  EXPECT_EQ(splitsOf("few"), 1u);
}

/// Several tokens of a sequence in a tile, and sequences that are not for it.
TEST_F(DeviceAttention, SplitTokens) {
  Config c = bf16();
  check(c, {{700, 2}, {0, 30}, {600, 4}, {1000, 3}}, 20, /*schedules=*/2);
  EXPECT_TRUE(hasKernel("merge"));
  EXPECT_TRUE(hasKernel("many"));
  c.window = 500;
  check(c, {{700, 2}, {900, 1}, {600, 4}, {0, 0}}, 20);
  // No more tokens than sequences.
  check(c, {{700, 3}, {0, 0}, {0, 0}, {0, 0}}, 20);
  EXPECT_FALSE(hasKernel("many"));
}

/// All query heads of a token and one key head, of which tiles have parts.
TEST_F(DeviceAttention, ManyHeads) {
  Config c = bf16();
  for (int64_t heads : {20, 7}) {
    c.heads = heads;
    c.kvHeads = 1;
    check(c, {{530, 1}, {70, 3}}, 12);
  }
}

/// Values are the first elements of keys, which are read once.
TEST_F(DeviceAttention, Latent) {
  Config c = bf16();
  c.heads = 20;
  c.kvHeads = 1;
  c.size = 576;
  c.valueSize = 512;
  c.scale = 0.0625;
  c.valuesInKeys = true;
  check(c, {{520, 1}, {0, 1}, {60, 3}}, 12, /*schedules=*/2);
  EXPECT_EQ(splitsOf("few"), 3u);
  EXPECT_FALSE(hasKernel("many"));
}

/// Widths that no instruction divides, queries of f32.
TEST_F(DeviceAttention, Widths) {
  Config c = bf16();
  for (auto [size, valueSize] :
       {std::pair<int64_t, int64_t>{72, 72}, {33, 80}, {80, 7}}) {
    SCOPED_TRACE(text(size) + " " + text(valueSize));
    c.size = size;
    c.valueSize = valueSize;
    check(c, {{530, 1}, {0, 30}, {9, 2}}, 12);
    EXPECT_TRUE(hasKernel("many"));
  }
  // Half blocks in both kernels.
  c.heads = 2;
  c.size = 300;
  c.valueSize = 250;
  check(c, {{100, 1}, {0, 70}});
  EXPECT_TRUE(hasKernel("many"));
  c.heads = 8;
  c.valuesInKeys = true;
  c.size = 24;
  c.valueSize = 16;
  check(c, {{530, 1}, {0, 70}}, 12);
}

/// Weights are sums of other numbers than in bf16.
TEST_F(DeviceAttention, F16) {
  Config c = bf16();
  c.type = c.compute = "f16";
  check(c, {{600, 1}, {0, 70}, {80, 2}}, 12);
  EXPECT_TRUE(hasKernel("merge"));
  EXPECT_TRUE(hasKernel("many"));
}

TEST_F(DeviceAttention, Prefill) {
  for (bool paged : {false, true}) {
    Config c = bf16();
    c.paged = paged;
    check(c, {{0, 130}, {0, 1}, {0, 64}}, 4, /*schedules=*/2);
    EXPECT_TRUE(hasKernel("many"));
    c.full = true;
    check(c, {{0, 70}, {0, 1}});
    c.full = false;
    c.window = 20;
    c.heads = c.kvHeads = 2;
    check(c, {{0, 90}, {0, 7}});
  }
}

/// Infinite and undefined numbers reach no token that does not see them, in
/// tiles where others do, nor from pages that nobody wrote.
TEST_F(DeviceAttention, WhatIsNotSeen) {
  for (auto [window, heads] :
       {std::pair<int64_t, int64_t>{0, 8}, {20, 2}, {0, 32}}) {
    Config c = bf16();
    c.window = window;
    c.heads = heads;
    std::vector<Sequence> sequences = {{0, 150}, {500, 2}};
    std::vector<Content> plain = makeContents(c, sequences), broken = plain;
    int64_t width = c.kvHeads * c.size;
    for (size_t b : {0, 1}) {
      int64_t at = b ? 501 : 100;
      std::fill_n(broken[b].v.begin() + at * width, width, INFINITY);
      std::fill_n(broken[b].k.begin() + at * width, width, NAN);
      std::fill_n(broken[b].v.begin() + (b ? at : 120) * width, width, NAN);
      broken[b].update(c);
    }
    Attention attention(c, 9);
    KernelDevice device;
    Results expected = run(attention, device, sequences, plain);
    Results found = run(attention, device, sequences, broken);
    for (size_t b : {0, 1})
      for (int64_t t = 0; t < sequences[b].fresh; ++t) {
        int64_t position = sequences[b].cached + t, at = b ? 501 : 100;
        int64_t last = b ? 501 : 120;
        bool seesIt =
            position >= at && (window == 0 || position < last + window);
        auto begin = t * attention.outWidth;
        auto end = begin + attention.outWidth;
        if (seesIt)
          EXPECT_FALSE(std::isfinite(found[b][begin])) << position;
        else
          ASSERT_TRUE(sameBits(
              {found[b].begin() + begin, found[b].begin() + end},
              {expected[b].begin() + begin, expected[b].begin() + end}))
              << heads << " heads, window " << window << ", position "
              << position;
      }
  }
}

/// A whole split of scores of minus infinity weighs nothing.
TEST_F(DeviceAttention, InfiniteScores) {
  Config c = bf16();
  std::vector<Sequence> sequences = {{700, 1}};
  std::vector<Content> contents = makeContents(c, sequences);
  std::fill(contents[0].q.begin(), contents[0].q.end(), 1e20f);
  std::fill_n(contents[0].k.begin(), 300 * c.kvHeads * c.size, -1e20f);
  for (size_t i = 300 * c.kvHeads * c.size; i < contents[0].k.size(); ++i)
    contents[0].k[i] = roundToBf16(1e-20f);
  for (float &x : contents[0].q)
    x = roundToBf16(x);
  for (float &x : contents[0].k)
    x = roundToBf16(x);
  contents[0].update(c);
  Attention attention(c, 12);
  KernelDevice device;
  Results found = run(attention, device, sequences, contents);
  EXPECT_EQ(splitsOf("few"), 3u);
  checkAttentionRow(c, contents[0], 700, found[0].data());
}

/// Any heads, widths, masks and batches.
TEST_F(DeviceAttention, Drawn) {
  for (unsigned seed = 0; seed < 4; ++seed) {
    Random random(seed + 77);
    Config c = bf16();
    c.kvHeads = random.integer(1, 3);
    c.heads = c.kvHeads * random.integer(1, 1 + 24 / c.kvHeads);
    c.size = random.integer(1, 150);
    c.valueSize = random.integer(1, 150);
    int64_t mask = random.integer(0, 3);
    (mask == 1 ? c.window : c.chunk) = mask == 3 ? 0 : random.integer(1, 700);
    if (mask == 0)
      c.chunk = 0;
    c.full = mask == 3;
    c.sinks = random.integer(0, 1) != 0;
    c.softcap = random.integer(0, 3) == 0 ? 3 : 0;
    c.paged = random.integer(0, 3) > 0;
    c.valuesInKeys =
        c.paged && c.size >= c.valueSize && random.integer(0, 1) != 0;
    if (seed % 2)
      level = "sm_90a";
    std::vector<Sequence> sequences = {{0, 3}};
    int64_t left = 100;
    for (int64_t n = random.integer(1, 4); n > 0; --n) {
      int64_t cached = c.paged ? random.integer(0, 700) : 0;
      int64_t fresh = random.integer(0, std::min<int64_t>(left, 50));
      if (random.integer(0, 1))
        fresh = std::min<int64_t>(fresh, 3);
      left -= fresh;
      sequences.push_back({cached, fresh});
    }
    SCOPED_TRACE("seed " + text(seed));
    ASSERT_NO_FATAL_FAILURE(check(c, sequences, 12));
  }
}
