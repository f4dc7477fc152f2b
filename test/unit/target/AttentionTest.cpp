//===- AttentionTest.cpp - Attention against plain C++ --------------------===//
#include "test/unit/target/TargetTestSupport.h"

#include <algorithm>

using namespace moec::test;

namespace {

/// Most tokens and sequences of a batch, and pages of a sequence.
constexpr int64_t kTokens = 208, kSequences = 5, kPages = 4;

std::string text(int64_t value) { return std::to_string(value); }

/// One sequence of a batch: tokens [cached, cached + fresh) are computed.
struct Sequence {
  int64_t cached, fresh;
};

struct Config {
  int64_t heads = 4, kvHeads = 2, size = 24, valueSize = 24;
  std::string type = "f32", compute = "f32";
  int64_t window = 0;
  bool paged = true;
  double scale = 0.25;
  /// Further masks, as the operation has them.
  int64_t chunk = 0;
  bool full = false;
  /// Zero: scores are not bent.
  double softcap = 0;
  bool sinks = false;
  /// Latent attention: values are the first elements of keys.
  bool valuesInKeys = false;

  float sinkOf(int64_t head) const {
    return static_cast<float>(head % 3) * 4 - 3;
  }
  int64_t valueRow() const { return valuesInKeys ? size : valueSize; }
};

using Bytes = std::vector<char>;

/// Numbers of one sequence, by absolute position, and how memory holds them.
struct Content {
  std::vector<float> q, k, v;
  Bytes queries, keys, values;
  /// Rounded for products.
  std::vector<float> roundedQ, roundedK;

  /// Follows changes of the numbers.
  void update(const Config &c) {
    queries = encode(q, c.type);
    keys = encode(k, c.type);
    values = encode(v, c.type);
    auto round = [&](std::vector<float> x) {
      for (float &each : x)
        each = roundToType(each, c.compute);
      return x;
    };
    roundedQ = round(q);
    roundedK = round(k);
  }
};

Content makeContent(const Config &c, int64_t length, unsigned seed) {
  Random random(seed);
  Content content;
  content.q = random.values(length * c.heads * c.size, c.type, 2);
  content.k = random.values(length * c.kvHeads * c.size, c.type, 2);
  content.v = random.values(length * c.kvHeads * c.valueSize, c.type);
  if (c.valuesInKeys)
    content.v = content.k;
  content.update(c);
  return content;
}

/// Row `position` of the result in f64, and how far f32 may be off: a score by
/// one rounding per term (two where products are not fused), a weight by its
/// score's error and that of exp, a sum by one rounding per key.
struct Expected {
  std::vector<double> row, bound;
};

Expected reference(const Config &c, const Content &content, int64_t position) {
  constexpr double unit = 0x1p-24;
  Expected expected;
  int64_t low = c.window ? std::max<int64_t>(0, position + 1 - c.window) : 0;
  if (c.chunk)
    low = position / c.chunk * c.chunk;
  int64_t last = position;
  if (c.full)
    last = static_cast<int64_t>(content.k.size()) / (c.kvHeads * c.size) - 1;
  for (int64_t h = 0; h < c.heads; ++h) {
    int64_t kv = h / (c.heads / c.kvHeads);
    std::vector<double> scores;
    double scoreError = 0;
    for (int64_t p = low; p <= last; ++p) {
      double dot = 0, size = 0;
      for (int64_t i = 0; i < c.size; ++i) {
        double term =
            double(content.roundedQ[(position * c.heads + h) * c.size + i]) *
            content.roundedK[(p * c.kvHeads + kv) * c.size + i];
        dot += term;
        size += std::fabs(term);
      }
      double score = dot * c.scale;
      if (c.softcap > 0) {
        // tanh is off by a few units; its slope is at most one.
        scoreError = std::max(scoreError, c.softcap * 8 * unit);
        score = c.softcap * std::tanh(score / c.softcap);
      }
      scores.push_back(score);
      scoreError = std::max(scoreError, size * c.scale * 2 * unit *
                                            static_cast<double>(c.size + 1));
    }
    if (c.sinks)
      scores.push_back(c.sinkOf(h));
    double largest = *std::max_element(scores.begin(), scores.end()), sum = 0;
    double spread = 0;
    for (double &s : scores) {
      if (std::isfinite(s))
        spread = std::max(spread, largest - s);
      sum += s = std::exp(s - largest);
    }
    // A difference of scores is rounded, and up to 5 units of exp.
    double weightError = 2 * scoreError + (std::min(spread, 20.0) + 5) * unit;
    for (int64_t i = 0; i < c.valueSize; ++i) {
      double x = 0, size = 0;
      for (int64_t p = low; p <= last; ++p) {
        double term = scores[p - low] / sum *
                      content.v[(p * c.kvHeads + kv) * c.valueRow() + i];
        x += scores[p - low] == 0 ? 0 : term;
        size += scores[p - low] == 0 ? 0 : std::fabs(term);
      }
      expected.row.push_back(x);
      expected.bound.push_back(
          size * (2 * weightError +
                  4 * static_cast<double>(scores.size() + 2) * unit));
    }
  }
  return expected;
}

/// One program for all batches of a configuration.
class Attention {
public:
  explicit Attention(const Config &c)
      : c(c), elementBytes(c.type == "f32" ? 4 : 2) {
    int64_t lines = (kPages * kSequences + 1) * 64;
    auto add = [&](const char *name, int64_t width) {
      program.buffer(name, "memref<?x" + text(width) + "x" + c.type + ">",
                     encode(std::vector<float>(kTokens * width), c.type));
    };
    auto addState = [&](const char *name, int64_t width) {
      program.state(name, text(width) + "x" + c.type,
                    encode(std::vector<float>(lines * width), c.type));
    };
    int64_t keyWidth = c.kvHeads * c.size;
    int64_t valueWidth = c.kvHeads * c.valueRow();
    add("q", c.heads * c.size);
    std::string source = "keys(%k, %v : $k, $v)";
    if (c.paged) {
      addState("k", keyWidth);
      addState("v", valueWidth);
      source = c.valuesInKeys ? "state(@k, @k)" : "state(@k, @v)";
    } else {
      add("k", keyWidth);
      add("v", valueWidth);
    }
    outWidth = c.heads * c.valueSize;
    program.buffer("y", "memref<?x" + text(outWidth) + "xf32>",
                   std::vector<float>(kTokens * outWidth, kUntouched));
    std::string sinks;
    if (c.sinks) {
      std::vector<float> numbers;
      for (int64_t h = 0; h < c.heads; ++h)
        numbers.push_back(c.sinkOf(h));
      std::string shape = text(c.heads) + "xf32";
      program.weight("s", shape, "", numbers);
      sinks = " sinks(%s : $s)";
    }
    program.op(
        "moex.attention ins(%q : $q) " + source + sinks +
        " outs(%y : $y) heads = " + text(c.heads) + " kv_heads = " +
        text(c.kvHeads) + " scale = " + std::to_string(c.scale) +
        (c.softcap > 0 ? " softcap = " + std::to_string(c.softcap) : "") +
        (c.window ? " window = " + text(c.window) : "") +
        (c.chunk ? " chunk = " + text(c.chunk) : "") + (c.full ? " full" : "") +
        " compute = " + c.compute);
  }

  /// The rows of the fresh tokens of each sequence.
  std::vector<std::vector<float>>
  run(const std::string &level, const std::vector<Sequence> &sequences,
      const std::vector<const Content *> &contents, unsigned threads) {
    Bytes q, k, v;
    program.positions.clear();
    program.cuSeqlens = {0};
    for (size_t b = 0; b < sequences.size(); ++b) {
      auto [cached, fresh] = sequences[b];
      auto append = [&, cached = cached, fresh = fresh](
                        Bytes &to, const Bytes &from, int64_t width) {
        width *= elementBytes;
        to.insert(to.end(), from.begin() + cached * width,
                  from.begin() + (cached + fresh) * width);
      };
      append(q, contents[b]->queries, c.heads * c.size);
      append(k, contents[b]->keys, c.kvHeads * c.size);
      append(v, contents[b]->values, c.kvHeads * c.valueRow());
      for (int64_t p = cached; p < cached + fresh; ++p)
        program.positions.push_back(static_cast<int32_t>(p));
      program.cuSeqlens.push_back(
          static_cast<int32_t>(program.positions.size()));
    }
    program.tokens = program.positions.size();
    program.fill("q", q);
    if (c.paged) {
      fillPages(sequences, contents);
    } else {
      program.fill("k", k);
      program.fill("v", v);
    }
    EXPECT_EQ(program.run(level, threads), "");
    std::vector<float> y = program.read<float>("y");
    auto end = y.begin() + program.tokens * outWidth;
    EXPECT_TRUE(
        std::all_of(end, y.end(), [](float x) { return x == kUntouched; }));
    std::vector<std::vector<float>> results;
    for (size_t b = 0; b < sequences.size(); ++b)
      results.emplace_back(y.begin() + program.cuSeqlens[b] * outWidth,
                           y.begin() + program.cuSeqlens[b + 1] * outWidth);
    return results;
  }

  const Config c;
  int64_t outWidth;

private:
  static constexpr float kUntouched = 12345;

  /// Pages in an order of their own; what no token wrote is NaN (in all types).
  void fillPages(const std::vector<Sequence> &sequences,
                 const std::vector<const Content *> &contents) {
    int64_t lines = (kPages * kSequences + 1) * 64 * elementBytes;
    Bytes keys(lines * c.kvHeads * c.size, char(0xff));
    Bytes values(lines * c.kvHeads * c.valueRow(), char(0xff));
    int64_t next = kPages * kSequences;
    program.pagesPerSequence = kPages;
    program.pageTable.clear();
    for (size_t b = 0; b < sequences.size(); ++b) {
      int64_t length = sequences[b].cached + sequences[b].fresh;
      for (int64_t p = 0; p < kPages; ++p, --next) {
        program.pageTable.push_back(static_cast<int32_t>(next));
        for (int64_t line = 0; line < 64 && p * 64 + line < length; ++line) {
          auto copy = [&](Bytes &to, const Bytes &from, int64_t width) {
            width *= elementBytes;
            std::copy_n(from.begin() + (p * 64 + line) * width, width,
                        to.begin() + (next * 64 + line) * width);
          };
          copy(keys, contents[b]->keys, c.kvHeads * c.size);
          copy(values, contents[b]->values, c.kvHeads * c.valueRow());
        }
      }
    }
    program.fill("k", keys);
    program.fill("v", values);
  }

  int64_t elementBytes;
  StepProgram program;
};

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
        checkRow(c, contents[b], sequences[b].cached + t,
                 &first[b][t * attention.outWidth]);
  }

  void checkRow(const Config &c, const Content &content, int64_t position,
                const float *row) {
    Expected expected = reference(c, content, position);
    for (size_t i = 0; i < expected.row.size(); ++i)
      ASSERT_NEAR(row[i], expected.row[i], expected.bound[i])
          << "position " << position << " element " << i;
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
        checkRow(c, content, t, &whole[t * attention.outWidth]));
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
        checkRow(c, content, t, &found[t * attention.outWidth]));
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
