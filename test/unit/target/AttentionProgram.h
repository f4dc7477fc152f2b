//===- AttentionProgram.h - Attention and its reference ---------*- C++ -*-===//
//
// One attention as a step function, and what it must give, in plain C++ and
// f64.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_TEST_UNIT_TARGET_ATTENTIONPROGRAM_H
#define MOEC_TEST_UNIT_TARGET_ATTENTIONPROGRAM_H

#include "test/unit/target/TargetTestSupport.h"

#include <algorithm>

namespace moec::test {

/// Most tokens and sequences of a batch.
constexpr int64_t kTokens = 208, kSequences = 5;

inline std::string text(int64_t value) { return std::to_string(value); }

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

inline Content makeContent(const Config &c, int64_t length, unsigned seed) {
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

inline Expected reference(const Config &c, const Content &content,
                          int64_t position) {
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
  /// `pages` of each sequence.
  explicit Attention(const Config &c, int64_t pages = 4)
      : c(c), pages(pages), elementBytes(c.type == "f32" ? 4 : 2) {
    int64_t lines = (pages * kSequences + 1) * 64;
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
  StepProgram program;

private:
  static constexpr float kUntouched = 12345;

  /// Pages in an order of their own; what no token wrote is NaN (in all types).
  void fillPages(const std::vector<Sequence> &sequences,
                 const std::vector<const Content *> &contents) {
    int64_t lines = (pages * kSequences + 1) * 64 * elementBytes;
    Bytes keys(lines * c.kvHeads * c.size, char(0xff));
    Bytes values(lines * c.kvHeads * c.valueRow(), char(0xff));
    int64_t next = pages * kSequences;
    program.pagesPerSequence = pages;
    program.pageTable.clear();
    for (size_t b = 0; b < sequences.size(); ++b) {
      int64_t length = sequences[b].cached + sequences[b].fresh;
      for (int64_t p = 0; p < pages; ++p, --next) {
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

  int64_t pages, elementBytes;
};

/// Compares a row of the result with the reference.
inline void checkAttentionRow(const Config &c, const Content &content,
                              int64_t position, const float *row) {
  Expected expected = reference(c, content, position);
  for (size_t i = 0; i < expected.row.size(); ++i)
    ASSERT_NEAR(row[i], expected.row[i], expected.bound[i])
        << "position " << position << " element " << i;
}

} // namespace moec::test

#endif // MOEC_TEST_UNIT_TARGET_ATTENTIONPROGRAM_H
