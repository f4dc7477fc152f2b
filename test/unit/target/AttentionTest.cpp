//===- AttentionTest.cpp - Attention against plain C++ --------------------===//
#include "test/unit/target/AttentionProgram.h"

using namespace moec::test;

namespace {

class AttentionTest : public LevelTest {
protected:
  /// Compares with the reference, and teams of threads with each other.
  void check(const Config &c, const std::vector<Sequence> &sequences) {
    std::vector<Content> contents;
    std::vector<const Content *> pointers;
    for (size_t b = 0; b < sequences.size(); ++b)
      contents.push_back(makeContent(
          c, sequences[b].cached + sequences[b].fresh, unsigned(b)));
    for (const Content &content : contents)
      pointers.push_back(&content);
    Attention attention(c);
    std::vector<std::vector<float>> first;
    for (unsigned threads : kTeams) {
      auto results = attention.run(level(), sequences, pointers, threads);
      if (first.empty())
        first = results;
      for (size_t b = 0; b < results.size(); ++b)
        ASSERT_TRUE(sameBits(results[b], first[b])) << threads << " threads";
    }
    for (size_t b = 0; b < sequences.size(); ++b)
      for (int64_t t = 0; t < sequences[b].fresh; ++t)
        checkAttentionRow(c, contents[b], sequences[b].cached + t,
                          &first[b][t * attention.outWidth]);
  }

  void checkComposition(Config c);
};

} // namespace

TEST_P(AttentionTest, Prefill) {
  for (bool paged : {false, true}) {
    Config c;
    c.paged = paged;
    check(c, {{0, 17}});
    check(c, {{0, 1}, {0, 130}, {0, 0}, {0, 64}});
  }
}

TEST_P(AttentionTest, Shapes) {
  for (bool paged : {false, true})
    for (auto [heads, kvHeads, size, valueSize] :
         {std::tuple<int64_t, int64_t, int64_t, int64_t>{1, 1, 16, 16},
          {3, 1, 7, 5},
          {8, 2, 33, 80}}) {
      Config c;
      c.paged = paged;
      c.heads = heads;
      c.kvHeads = kvHeads;
      c.size = size;
      c.valueSize = valueSize;
      check(c, {{0, 70}, {0, 3}});
    }
}

TEST_P(AttentionTest, Types) {
  for (const char *type : {"bf16", "f16"})
    for (const char *compute : {"f32", "bf16", "f16"}) {
      Config c;
      c.type = type;
      c.compute = compute;
      check(c, {{0, 66}});
      c.size = c.valueSize = 7;
      check(c, {{0, 20}});
    }
}

TEST_P(AttentionTest, Window) {
  for (int64_t window : {1, 10, 64, 100})
    for (bool paged : {false, true}) {
      Config c;
      c.window = window;
      c.paged = paged;
      check(c, {{0, 150}});
    }
}

TEST_P(AttentionTest, Decode) {
  check(Config(), {{0, 1}, {63, 1}, {64, 1}, {200, 1}, {130, 5}});
}

TEST_P(AttentionTest, Sinks) {
  Config c;
  c.sinks = true;
  check(c, {{0, 70}, {150, 1}, {0, 1}});
  c.window = 20;
  checkComposition(c);
}

TEST_P(AttentionTest, SoftCap) {
  Config c;
  c.softcap = 2.5;
  check(c, {{0, 70}, {150, 1}, {0, 1}});
}

TEST_P(AttentionTest, Chunks) {
  Config c;
  for (int64_t chunk : {24, 64, 100}) {
    c.chunk = chunk;
    check(c, {{0, 150}, {130, 1}});
  }
  checkComposition(c);
}

/// All tokens of a sequence see all that are there.
TEST_P(AttentionTest, Full) {
  Config c;
  c.full = true;
  for (bool paged : {false, true}) {
    c.paged = paged;
    check(c, {{0, 1}, {0, 130}, {0, 64}});
  }
  check(c, {{60, 70}, {64, 3}});
}

/// A key head with many query heads: tasks take parts of them.
TEST_P(AttentionTest, ManyHeads) {
  Config c;
  c.heads = 70;
  c.kvHeads = 1;
  c.size = 16;
  c.valueSize = 32;
  check(c, {{100, 1}});
  check(c, {{0, 20}, {64, 1}});
}

/// Keys and values as wide as those of latent attention leave little of the
/// stack for rows.
TEST_P(AttentionTest, WideHeads) {
  Config c;
  c.heads = 20;
  c.kvHeads = 1;
  c.size = 576;
  c.valueSize = 512;
  c.scale = 0.0625;
  c.type = "bf16";
  check(c, {{70, 2}});
  c.valuesInKeys = true;
  check(c, {{60, 5}});
  c.paged = false;
  c.size = 40;
  c.valueSize = 24;
  check(c, {{0, 70}, {0, 1}});
}

/// A token's result depends on its position and its sequence only: whole
/// prompts, chunks of them, single tokens, several sequences in a batch and any
/// number of threads agree bit for bit, and with the reference.
void AttentionTest::checkComposition(Config c) {
  constexpr int64_t length = 150;
  Content content = makeContent(c, length, 1), other = makeContent(c, 80, 2);
  Attention attention(c);
  std::vector<float> whole =
      attention.run(level(), {{0, length}}, {&content}, 1)[0];
  for (int64_t t = 0; t < length; ++t)
    ASSERT_NO_FATAL_FAILURE(
        checkAttentionRow(c, content, t, &whole[t * attention.outWidth]));
  auto expectPart = [&](const std::vector<float> &part, int64_t first,
                        int64_t count) {
    ASSERT_TRUE(
        sameBits(part, {whole.begin() + first * attention.outWidth,
                        whole.begin() + (first + count) * attention.outWidth}))
        << count << " tokens from " << first;
  };
  for (unsigned threads : {2u, 5u})
    ASSERT_NO_FATAL_FAILURE(expectPart(
        attention.run(level(), {{0, length}}, {&content}, threads)[0], 0,
        length));
  int64_t first = 0;
  unsigned threads = 0;
  for (int64_t count : {1, 7, 64, 78}) {
    auto alone = attention.run(level(), {{first, count}}, {&content},
                               kTeams[threads++ % kTeams.size()]);
    ASSERT_NO_FATAL_FAILURE(expectPart(alone[0], first, count));
    // Between tokens of another sequence, before which and behind which it
    // lies.
    auto between = attention.run(level(), {{17, 30}, {first, count}, {47, 3}},
                                 {&other, &content, &other}, 2);
    ASSERT_NO_FATAL_FAILURE(expectPart(between[1], first, count));
    first += count;
  }
  for (int64_t t = 0; t < length; ++t)
    ASSERT_NO_FATAL_FAILURE(expectPart(
        attention.run(level(), {{t, 1}}, {&content}, 1 + t % 2)[0], t, 1));
  // Without pages the same numbers in the same order.
  c.paged = false;
  ASSERT_NO_FATAL_FAILURE(
      expectPart(Attention(c).run(level(), {{0, length}, {0, 50}},
                                  {&content, &other}, 2)[0],
                 0, length));
}

TEST_P(AttentionTest, Composition) {
  struct Case {
    int64_t size, group, kvHeads, window;
    const char *type, *compute;
  };
  for (Case each : {Case{16, 1, 2, 0, "f32", "f32"},
                    {24, 5, 1, 0, "bf16", "bf16"},
                    {24, 2, 2, 40, "f32", "bf16"},
                    {64, 8, 1, 0, "bf16", "f32"},
                    {64, 1, 2, 100, "bf16", "bf16"},
                    {80, 2, 1, 0, "f32", "f32"},
                    {80, 1, 3, 3, "bf16", "f32"},
                    {128, 5, 1, 70, "f32", "bf16"},
                    {128, 8, 1, 0, "bf16", "bf16"}}) {
    Config c;
    c.heads = each.group * each.kvHeads;
    c.kvHeads = each.kvHeads;
    c.size = c.valueSize = each.size;
    c.window = each.window;
    c.type = each.type;
    c.compute = each.compute;
    SCOPED_TRACE("size " + text(each.size) + " group " + text(each.group) +
                 " window " + text(each.window) + " " + each.type + " " +
                 each.compute);
    ASSERT_NO_FATAL_FAILURE(checkComposition(c));
  }
}

/// Infinite and undefined numbers reach no token that does not see them.
TEST_P(AttentionTest, WhatIsNotSeen) {
  for (int64_t window : {0, 20}) {
    Config c;
    c.window = window;
    Content content = makeContent(c, 150, 1), broken = content;
    int64_t width = c.kvHeads * c.size;
    std::fill_n(broken.v.begin() + 100 * width, width, INFINITY);
    std::fill_n(broken.k.begin() + 120 * width, width, NAN);
    broken.update(c);
    Attention attention(c);
    auto plain = attention.run(level(), {{0, 150}}, {&content}, 1)[0];
    auto found = attention.run(level(), {{0, 150}}, {&broken}, 1)[0];
    for (int64_t t = 0; t < 150; ++t) {
      bool seesIt = t >= 100 && (window == 0 || t < 120 + window);
      auto begin = t * attention.outWidth, end = begin + attention.outWidth;
      if (seesIt)
        EXPECT_FALSE(std::isfinite(found[begin])) << t;
      else
        ASSERT_TRUE(sameBits({found.begin() + begin, found.begin() + end},
                             {plain.begin() + begin, plain.begin() + end}))
            << t;
    }
  }
}

/// A whole block of scores of minus infinity weighs nothing.
TEST_P(AttentionTest, InfiniteScores) {
  Config c;
  Content content = makeContent(c, 130, 1);
  std::fill(content.q.begin(), content.q.end(), 1e20f);
  std::fill_n(content.k.begin(), 70 * c.kvHeads * c.size, -1e20f);
  for (size_t i = 70 * c.kvHeads * c.size; i < content.k.size(); ++i)
    content.k[i] = 1e-20f;
  content.update(c);
  Attention attention(c);
  auto found = attention.run(level(), {{0, 130}}, {&content}, 1)[0];
  for (int64_t t = 70; t < 130; ++t)
    ASSERT_NO_FATAL_FAILURE(
        checkAttentionRow(c, content, t, &found[t * attention.outWidth]));
}

/// Any heads, widths, types, masks and batches.
TEST_P(AttentionTest, Drawn) {
  const char *types[] = {"f32", "bf16", "f16"};
  for (unsigned seed = 0; seed < 5; ++seed) {
    Random random(seed + 1000 * unsigned(level().size()));
    Config c;
    c.kvHeads = random.integer(1, 4);
    c.heads = c.kvHeads * random.integer(1, 1 + 24 / c.kvHeads);
    c.size = random.integer(1, 150);
    c.valueSize = random.integer(1, 150);
    c.type = types[random.integer(0, 2)];
    c.compute = types[random.integer(0, 1)];
    int64_t mask = random.integer(0, 3);
    (mask == 1 ? c.window : c.chunk) = mask == 3 ? 0 : random.integer(1, 150);
    if (mask == 0)
      c.chunk = 0;
    c.full = mask == 3;
    c.sinks = random.integer(0, 1) != 0;
    c.softcap = random.integer(0, 3) == 0 ? 3 : 0;
    c.paged = random.integer(0, 2) > 0;
    c.valuesInKeys =
        c.paged && c.size >= c.valueSize && random.integer(0, 1) != 0;
    std::vector<Sequence> sequences = {{0, 3}};
    int64_t left = 200;
    for (int64_t n = random.integer(1, 4); n > 0; --n) {
      int64_t cached = c.paged ? random.integer(0, 150) : 0;
      int64_t fresh = random.integer(0, std::min(left, 200 - cached));
      left -= fresh;
      sequences.push_back({cached, fresh});
    }
    SCOPED_TRACE("seed " + text(seed));
    ASSERT_NO_FATAL_FAILURE(check(c, sequences));
  }
}

MOEC_FOR_LEVELS(AttentionTest);
