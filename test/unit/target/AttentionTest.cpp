//===- AttentionTest.cpp - Attention against plain C++ --------------------===//
#include "test/unit/target/TargetTestSupport.h"

#include <algorithm>

using namespace moec::test;

namespace {

std::string text(int64_t value) { return std::to_string(value); }

/// One sequence of a batch: tokens [cached, cached + fresh) are computed.
struct Sequence {
  int64_t cached, fresh;
};

struct Config {
  int64_t heads = 4, kvHeads = 2, size = 24, valueSize = 24;
  std::string type = "f32", compute = "f32";
  int64_t window = 0, chunk = 0;
  bool full = false, sinks = false;
  double softcap = 0;
  /// Elements of a stored value head, of which the first `valueSize` count; 0
  /// for as many. With `shared` keys are values.
  int64_t stored = 0;
  bool shared = false;
  bool paged = true;

  int64_t valueRow() const {
    return kvHeads * (shared ? size : stored ? stored : valueSize);
  }
};

/// Numbers of one sequence, by absolute position.
struct Content {
  std::vector<float> q, k, v;
};

Content makeContent(const Config &c, int64_t length, unsigned seed) {
  Random random(seed);
  return {random.values(length * c.heads * c.size, c.type, 2),
          random.values(length * c.kvHeads * c.size, c.type, 2),
          random.values(length * c.valueRow(), c.type)};
}

float sinkOf(int64_t head) { return 0.75f * float(head % 3) - 0.5f; }

/// Row `position` of the result, in f64.
std::vector<float> reference(const Config &c, const Content &content,
                             int64_t position) {
  std::vector<float> row;
  const std::vector<float> &values = c.shared ? content.k : content.v;
  int64_t stride = c.valueRow() / c.kvHeads;
  int64_t low = c.window ? std::max<int64_t>(0, position + 1 - c.window) : 0;
  int64_t last = position;
  if (c.chunk)
    low = position / c.chunk * c.chunk;
  if (c.full)
    last = content.q.size() / (c.heads * c.size) - 1;
  for (int64_t h = 0; h < c.heads; ++h) {
    int64_t kv = h / (c.heads / c.kvHeads);
    std::vector<double> scores;
    for (int64_t p = low; p <= last; ++p) {
      double dot = 0;
      for (int64_t i = 0; i < c.size; ++i)
        dot += roundToType(content.q[(position * c.heads + h) * c.size + i],
                           c.compute) *
               double(roundToType(content.k[(p * c.kvHeads + kv) * c.size + i],
                                  c.compute));
      dot *= 0.25;
      scores.push_back(c.softcap ? c.softcap * std::tanh(dot / c.softcap)
                                 : dot);
    }
    if (c.sinks)
      scores.push_back(sinkOf(h));
    double largest = *std::max_element(scores.begin(), scores.end()), sum = 0;
    for (double &s : scores)
      sum += s = std::exp(s - largest);
    for (int64_t i = 0; i < c.valueSize; ++i) {
      double x = 0;
      for (int64_t p = low; p <= last; ++p)
        x += scores[p - low] / sum * values[(p * c.kvHeads + kv) * stride + i];
      row.push_back(static_cast<float>(x));
    }
  }
  return row;
}

class AttentionTest : public LevelTest {
protected:
  /// Runs a batch; returns the rows of the fresh tokens of each sequence.
  void runBatch(const Config &c, const std::vector<Sequence> &sequences,
                const std::vector<Content> &contents, unsigned threads,
                std::vector<std::vector<float>> &results) {
    StepProgram program;
    std::vector<float> q, k, v;
    int64_t longest = 1;
    program.cuSeqlens = {0};
    for (size_t b = 0; b < sequences.size(); ++b) {
      auto [cached, fresh] = sequences[b];
      longest = std::max(longest, cached + fresh);
      auto append = [&](std::vector<float> &to, const std::vector<float> &from,
                        int64_t width) {
        to.insert(to.end(), from.begin() + cached * width,
                  from.begin() + (cached + fresh) * width);
      };
      append(q, contents[b].q, c.heads * c.size);
      append(k, contents[b].k, c.kvHeads * c.size);
      append(v, contents[b].v, c.valueRow());
      for (int64_t p = cached; p < cached + fresh; ++p)
        program.positions.push_back(static_cast<int32_t>(p));
      program.cuSeqlens.push_back(
          static_cast<int32_t>(program.positions.size()));
    }
    program.tokens = program.positions.size();
    std::string out = text(c.heads * c.valueSize);
    auto buffer = [&](const char *name, int64_t width,
                      const std::vector<float> &values) {
      program.buffer(name, "memref<?x" + text(width) + "x" + c.type + ">",
                     encode(values, c.type));
    };
    buffer("q", c.heads * c.size, q);
    program.buffer("y", "memref<?x" + out + "xf32>",
                   std::vector<float>(program.tokens * c.heads * c.valueSize));
    std::string source;
    if (c.paged) {
      // Pages in an order of their own; what no token wrote is NaN.
      int64_t perSequence = (longest + 63) / 64;
      int64_t total = perSequence * sequences.size() + 1;
      program.pagesPerSequence = perSequence;
      std::vector<float> keys(total * 64 * c.kvHeads * c.size, NAN);
      std::vector<float> values(total * 64 * c.valueRow(), NAN);
      int64_t next = total - 1;
      for (size_t b = 0; b < sequences.size(); ++b) {
        int64_t length = sequences[b].cached + sequences[b].fresh;
        for (int64_t p = 0; p < perSequence; ++p) {
          program.pageTable.push_back(static_cast<int32_t>(next));
          for (int64_t line = 0; line < 64 && p * 64 + line < length; ++line) {
            auto copy = [&](std::vector<float> &to,
                            const std::vector<float> &from, int64_t width) {
              std::copy_n(from.begin() + (p * 64 + line) * width, width,
                          to.begin() + (next * 64 + line) * width);
            };
            copy(keys, contents[b].k, c.kvHeads * c.size);
            copy(values, contents[b].v, c.valueRow());
          }
          --next;
        }
      }
      program.state("k", text(c.kvHeads * c.size) + "x" + c.type,
                    encode(keys, c.type));
      program.state("v", text(c.valueRow()) + "x" + c.type,
                    encode(values, c.type));
      source = c.shared ? "state(@k, @k)" : "state(@k, @v)";
    } else {
      buffer("k", c.kvHeads * c.size, k);
      buffer("v", c.valueRow(), v);
      source = c.shared ? "keys(%k, %k : $k, $k)" : "keys(%k, %v : $k, $v)";
    }
    std::string sinks;
    if (c.sinks) {
      std::vector<float> numbers;
      for (int64_t h = 0; h < c.heads; ++h)
        numbers.push_back(sinkOf(h));
      program.buffer("s", "memref<" + text(c.heads) + "xf32>", numbers);
      sinks = " sinks(%s : $s)";
    }
    program.op(
        "moex.attention ins(%q : $q) " + source + sinks +
        " outs(%y : $y) heads = " + text(c.heads) +
        " kv_heads = " + text(c.kvHeads) + " scale = 0.25 " +
        (c.softcap ? "softcap = " + std::to_string(c.softcap) + " " : "") +
        (c.window ? "window = " + text(c.window) + " " : "") +
        (c.chunk ? "chunk = " + text(c.chunk) + " " : "") +
        (c.full ? "full " : "") + "compute = " + c.compute);
    ASSERT_EQ(program.run(level(), threads), "");
    std::vector<float> y = program.read<float>("y");
    results.clear();
    for (size_t b = 0; b < sequences.size(); ++b)
      results.emplace_back(
          y.begin() + program.cuSeqlens[b] * c.heads * c.valueSize,
          y.begin() + program.cuSeqlens[b + 1] * c.heads * c.valueSize);
  }

  void check(const Config &c, const std::vector<Sequence> &sequences) {
    std::vector<Content> contents;
    for (size_t b = 0; b < sequences.size(); ++b)
      contents.push_back(makeContent(
          c, sequences[b].cached + sequences[b].fresh, unsigned(b)));
    std::vector<std::vector<float>> first;
    for (unsigned threads : kTeams) {
      std::vector<std::vector<float>> results;
      runBatch(c, sequences, contents, threads, results);
      if (HasFatalFailure())
        return;
      if (first.empty())
        first = results;
      for (size_t b = 0; b < results.size(); ++b)
        ASSERT_TRUE(sameBits(results[b], first[b])) << threads << " threads";
    }
    int64_t width = c.heads * c.valueSize;
    for (size_t b = 0; b < sequences.size(); ++b)
      for (int64_t t = 0; t < sequences[b].fresh; ++t) {
        std::vector<float> expected =
            reference(c, contents[b], sequences[b].cached + t);
        for (int64_t i = 0; i < width; ++i)
          ASSERT_NEAR(first[b][t * width + i], expected[i], 4e-6)
              << "sequence " << b << " token " << t << " element " << i;
      }
  }
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
          {4, 4, 64, 64},
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
    for (const char *compute : {"f32", "bf16"}) {
      Config c;
      c.type = type;
      c.compute = compute;
      check(c, {{0, 66}});
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

TEST_P(AttentionTest, Chunk) {
  for (int64_t chunk : {1, 10, 64, 100})
    for (bool paged : {false, true}) {
      Config c;
      c.chunk = chunk;
      c.paged = paged;
      check(c, {{0, 150}});
    }
  Config c;
  c.chunk = 50;
  check(c, {{0, 1}, {49, 1}, {50, 1}, {120, 50}});
}

/// Every token of the step sees the cached ones and all of the step.
TEST_P(AttentionTest, Full) {
  for (bool paged : {false, true}) {
    Config c;
    c.full = true;
    c.paged = paged;
    check(c, {{0, 70}, {0, 1}, {0, 64}});
  }
  Config c;
  c.full = true;
  check(c, {{100, 30}, {3, 4}});
}

TEST_P(AttentionTest, SinksAndSoftcap) {
  for (bool paged : {false, true})
    for (int64_t window : {0, 3}) {
      Config c;
      c.sinks = true;
      c.window = window;
      c.paged = paged;
      check(c, {{0, 70}, {0, 1}});
      c.softcap = 1.25;
      check(c, {{0, 70}});
    }
}

/// Values are a part of what is stored, or of the keys.
TEST_P(AttentionTest, WiderValues) {
  for (bool paged : {false, true}) {
    Config c;
    c.stored = 40;
    c.paged = paged;
    check(c, {{0, 70}, {0, 3}});
    c.stored = 0;
    c.shared = true;
    c.kvHeads = 1;
    c.valueSize = 17;
    check(c, {{0, 70}, {0, 3}});
  }
}

TEST_P(AttentionTest, Decode) {
  check(Config(), {{0, 1}, {63, 1}, {64, 1}, {200, 1}, {130, 5}});
}

/// A token's result depends on its position and its sequence only: whole
/// prompts, chunks of them, and single tokens agree bit for bit.
TEST_P(AttentionTest, BatchComposition) {
  Config c;
  constexpr int64_t length = 140;
  std::vector<Content> contents = {makeContent(c, length, 1),
                                   makeContent(c, length, 2)};
  std::vector<std::vector<float>> whole, part;
  runBatch(c, {{0, length}}, contents, 2, whole);
  ASSERT_FALSE(HasFatalFailure());
  int64_t width = c.heads * c.valueSize;
  auto expectPart = [&](int64_t first, int64_t count) {
    ASSERT_TRUE(
        sameBits(part[0], {whole[0].begin() + first * width,
                           whole[0].begin() + (first + count) * width}));
  };
  for (auto [first, count] :
       {std::pair<int64_t, int64_t>{0, 65}, {65, 75}, {139, 1}, {64, 1}}) {
    runBatch(c, {{first, count}, {17, 30}}, contents, 3, part);
    ASSERT_FALSE(HasFatalFailure());
    expectPart(first, count);
  }
  // Without pages the same numbers in the same order.
  c.paged = false;
  runBatch(c, {{0, length}, {0, 50}}, contents, 2, part);
  ASSERT_FALSE(HasFatalFailure());
  expectPart(0, length);
}

MOEC_FOR_LEVELS(AttentionTest);
