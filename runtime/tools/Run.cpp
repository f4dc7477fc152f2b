//===- Run.cpp - moe-run: one entry of a model on given inputs ------------===//
//
// Results go to standard output, speed to standard error. Everything is read
// and computed before the first byte of output is written.
//
//===----------------------------------------------------------------------===//

#include "runtime/tools/ArrayFile.h"
#include "runtime/tools/CommandLine.h"
#include "runtime/tools/RunInputs.h"
#include "runtime/tools/RunOptions.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <numeric>
#include <optional>

using namespace moe;
using namespace moe::tools;

namespace {

constexpr uint32_t kByteIds = 256;

template <typename... Args> [[noreturn]] void fail(const Args &...args) {
  throw Error(MOE_ERROR_INVALID_ARGUMENT, absl::StrCat(args...));
}

class Stopwatch {
public:
  double seconds() const {
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start = Clock::now();
};

void printSpeed(const char *what, uint64_t tokens, double seconds) {
  std::fprintf(stderr, "%s: %llu tokens in %.3f ms, %.1f tokens/s\n", what,
               static_cast<unsigned long long>(tokens), seconds * 1e3,
               static_cast<double>(tokens) / seconds);
}

/// log(softmax(row)[column]).
double logProbability(const Row &row, size_t column) {
  const double top = row[static_cast<size_t>(row.argmax())];
  double sum = 0;
  for (const float logit : row)
    sum += std::exp(logit - top);
  return row[column] - top - std::log(sum);
}

class Run {
public:
  Run(const RunOptions &options, const Model &model)
      : options(options), model(model), entry(chooseEntry()),
        function(model.function(entry.function)),
        inputs(RunInputs::load(model, entry, options.inputs)), session(model) {
    if (function.cache_tokens)
      sequence.emplace(session.create_sequence());
    if (!options.check.empty())
      reference = readReference(options.check);
    if (!options.choices.empty())
      choices = readChoices(options.choices);
  }

  void run();

private:
  struct Choice {
    std::string text;
    size_t line;
    double score;
  };

  static Array readReference(const std::string &path);
  static std::vector<Choice> readChoices(const std::string &path);
  moe_entry_info chooseEntry() const;
  uint64_t inputTokens() const;
  template <typename Element>
  static void writeFile(const std::string &path,
                        const std::vector<Element> &data,
                        const std::vector<uint64_t> &shape);
  Row lastRow() const { return Row(logits.data() + (rows - 1) * width, width); }

  // Each computes something and appends its lines to `out`.
  void prefill();
  void collectRouting();
  void showTop(const Row &row);
  void showLogits();
  void generate();
  void rankChoices();
  void compare();

  moe_modality_info generatedModality(const moe_entry_info &decode) const;
  double scoreChoice(const std::string &text, const char *modality);

  const RunOptions &options;
  const Model &model;
  const moe_entry_info entry;
  const moe_function_info function;
  const RunInputs inputs;
  Session session;
  std::optional<Sequence> sequence;
  std::optional<Array> reference;
  std::vector<Choice> choices;
  std::vector<float> logits; // of the inputs, [rows, width]
  uint64_t rows = 0;
  uint64_t width = 0;
  std::vector<int32_t> expertIds; // of the inputs, by router
  std::vector<float> expertWeights;
  std::vector<uint64_t> routingShape;
  std::string out;     // for standard output
  std::string problem; // why the comparison failed; empty: it did not
};

moe_entry_info Run::chooseEntry() const {
  if (!options.entry.empty())
    return model.entry(options.entry);
  if (model.info().num_entries == 1)
    return model.entry(0u);
  return model.entry(std::string("prefill"));
}

uint64_t Run::inputTokens() const {
  uint64_t tokens = 0;
  const uint32_t count = model.info().num_modalities;
  for (const Input &each : inputs.views())
    for (uint32_t i = 0; i < count; ++i) {
      const moe_modality_info modality = model.modality(i);
      if (std::string(each.modality) == modality.name)
        tokens += each.count / modality.elements * modality.tokens_per_input;
    }
  return tokens;
}

void Run::prefill() {
  Item item = detail::sized<Item>();
  item.sequence = sequence ? sequence->get() : nullptr;
  item.inputs = inputs.views().data();
  item.num_inputs = inputs.views().size();
  const Stopwatch watch;
  const bool keepRouting =
      !options.routingIds.empty() || !options.routingWeights.empty();
  const Logits result = session.step(entry.name, &item, 1, keepRouting);
  printSpeed("prefill", inputTokens(), watch.seconds());
  logits = result.vector();
  rows = result.rows();
  width = result.width();
  if (keepRouting)
    collectRouting();
}

/// Routers with fewer slots than others are filled up.
void Run::collectRouting() {
  const uint32_t routers = model.info().num_routers;
  uint64_t slots = 0;
  for (uint32_t r = 0; r < routers; ++r)
    slots = std::max<uint64_t>(slots, model.router(r).slots);
  const uint64_t tokens = inputTokens();
  routingShape = {routers, tokens, slots};
  expertIds.assign(routers * tokens * slots, -1);
  expertWeights.assign(expertIds.size(), 0.0f);
  for (uint32_t r = 0; r < routers; ++r) {
    const Routing routing = session.routing(r);
    for (uint64_t t = 0; t < tokens; ++t)
      for (uint64_t s = 0; s < routing.slots(); ++s) {
        expertIds[(r * tokens + t) * slots + s] = routing.id(t, s);
        expertWeights[(r * tokens + t) * slots + s] = routing.weight(t, s);
      }
  }
}

/// Where the file was asked for.
template <typename Element>
void Run::writeFile(const std::string &path, const std::vector<Element> &data,
                    const std::vector<uint64_t> &shape) {
  if (path.empty())
    return;
  const absl::Status status = writeNpy(path, data.data(), shape);
  if (!status.ok())
    fail(status.message());
}

void Run::run() {
  prefill();
  const bool hasOtherResult = options.generate || !choices.empty() ||
                              !options.output.empty() || reference ||
                              !expertIds.empty();
  if (options.print == RunOptions::Logits)
    showLogits();
  else if (options.print == RunOptions::Top ||
           (options.print == RunOptions::Default && !hasOtherResult))
    showTop(lastRow());
  if (options.generate)
    generate();
  if (!choices.empty())
    rankChoices();
  if (reference)
    compare();
  writeFile(options.output, logits, {rows, width});
  writeFile(options.routingIds, expertIds, routingShape);
  writeFile(options.routingWeights, expertWeights, routingShape);
  std::fwrite(out.data(), 1, out.size(), stdout);
  if (!problem.empty())
    fail(problem);
}

void Run::showLogits() {
  for (uint64_t i = 0; i < rows; ++i) {
    for (uint64_t j = 0; j < width; ++j)
      absl::StrAppendFormat(&out, "%s%.9g", j ? " " : "",
                            logits[i * width + j]);
    out += '\n';
  }
}

void Run::showTop(const Row &row) {
  constexpr size_t kTop = 5;
  std::vector<size_t> order(row.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const size_t count = std::min(kTop, order.size());
  std::partial_sort(order.begin(),
                    order.begin() + static_cast<std::ptrdiff_t>(count),
                    order.end(), [&](size_t a, size_t b) {
                      return row[a] != row[b] ? row[a] > row[b] : a < b;
                    });
  for (size_t i = 0; i < count; ++i) {
    const size_t id = order[i];
    absl::StrAppendFormat(&out, "%6d  logit %10.5f  probability %.5f", id,
                          row[id], std::exp(logProbability(row, id)));
    if (row.size() == kByteIds)
      absl::StrAppend(&out, "  '",
                      absl::CEscape(std::string(1, static_cast<char>(id))),
                      "'");
    out += '\n';
  }
}

Array Run::readReference(const std::string &path) {
  const auto bytes = readWholeFile(path);
  if (!bytes.ok())
    fail(bytes.status().message());
  auto array = parseNpy(path, *bytes);
  if (!array.ok())
    fail(array.status().message());
  return *std::move(array);
}

void Run::compare() {
  const bool isDouble = reference->type == ElementType::F64;
  std::vector<uint64_t> shape = reference->shape;
  if (shape.size() == 1 && rows == 1)
    shape.insert(shape.begin(), 1);
  if ((!isDouble && reference->type != ElementType::F32) ||
      shape != std::vector<uint64_t>{rows, width})
    fail("'", options.check, "': expected f32 or f64 [", rows, ", ", width,
         "] to compare with, found ", reference->describe());
  double largest = 0;
  size_t where = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    double expected = 0;
    float single = 0;
    if (isDouble) {
      std::memcpy(&expected, &reference->bytes[i * sizeof(double)],
                  sizeof(double));
    } else {
      std::memcpy(&single, &reference->bytes[i * sizeof(float)], sizeof(float));
      expected = single;
    }
    double difference = std::fabs(logits[i] - expected);
    if (std::isnan(difference)) // a NaN, or two infinities
      difference = logits[i] == expected ? 0 : HUGE_VAL;
    if (difference > largest) {
      largest = difference;
      where = i;
    }
  }
  if (largest > options.tolerance)
    problem =
        absl::StrCat("'", options.check, "': expected all differences within ",
                     options.tolerance, ", found ", largest, " at row ",
                     where / width, ", column ", where % width);
  else
    absl::StrAppendFormat(&out, "check: largest difference %g, within %g\n",
                          largest, options.tolerance);
}

/// The modality of a generated token: as many ids as the output is wide.
moe_modality_info Run::generatedModality(const moe_entry_info &decode) const {
  const uint32_t mask = model.function(decode.function).modalities;
  const uint32_t count = model.info().num_modalities;
  for (uint32_t i = 0; i < count; ++i) {
    const moe_modality_info modality = model.modality(i);
    if (!modality.is_raw && modality.vocab == width && mask >> modality.id & 1)
      return modality;
  }
  fail("--generate: expected a token modality of ", width,
       " ids, as many as the first output is wide, in entry '", decode.name,
       "', found none");
}

void Run::generate() {
  const moe_entry_info decode =
      model.entry(options.decodeEntry.empty() ? "decode" : options.decodeEntry);
  if (!sequence || !model.function(decode.function).cache_tokens)
    fail("--generate: expected entries with a cache, found '",
         sequence ? decode.name : entry.name, "' without");
  const moe_modality_info modality = generatedModality(decode);
  // The last token is not fed back.
  const uint64_t needed = sequence->length() + options.generate - 1;
  if (needed > model.function(decode.function).cache_tokens)
    fail("--generate: needs a cache of ", needed, " tokens, entry '",
         decode.name, "' has ", model.function(decode.function).cache_tokens);
  std::vector<int32_t> ids;
  ids.push_back(lastRow().argmax());
  const Stopwatch watch;
  while (ids.size() < options.generate &&
         !(options.stop && static_cast<uint64_t>(ids.back()) == *options.stop))
    ids.push_back(session
                      .step(decode.name, *sequence,
                            {input(modality.name, MOE_I32, &ids.back(), 1)})
                      .last()
                      .argmax());
  if (ids.size() > 1)
    printSpeed("decode", ids.size() - 1, watch.seconds());
  if (modality.vocab == kByteIds)
    for (const int32_t id : ids)
      out += static_cast<char>(id);
  else
    absl::StrAppend(&out, absl::StrJoin(ids, ","));
  out += '\n';
}

double Run::scoreChoice(const std::string &text, const char *modality) {
  // A row predicts the token after it, so the last token need not be fed.
  const auto byteAt = [&](size_t i) {
    return static_cast<size_t>(static_cast<unsigned char>(text[i]));
  };
  double score = logProbability(lastRow(), byteAt(0));
  if (text.size() == 1)
    return score;
  const Input fed = input(modality, MOE_U8, text.data(), text.size() - 1);
  std::vector<uint32_t> all(text.size() - 1);
  std::iota(all.begin(), all.end(), 0u);
  Item item = detail::sized<Item>();
  item.sequence = sequence->get();
  item.inputs = &fed;
  item.num_inputs = 1;
  item.rows = all.data();
  item.num_rows = all.size();
  const Logits result = session.step(entry.name, &item, 1);
  for (size_t i = 1; i < text.size(); ++i)
    score += logProbability(result[i - 1], byteAt(i));
  return score;
}

std::vector<Run::Choice> Run::readChoices(const std::string &path) {
  const auto bytes = readWholeFile(path);
  if (!bytes.ok())
    fail(bytes.status().message());
  const absl::string_view lines(reinterpret_cast<const char *>(bytes->data()),
                                bytes->size());
  std::vector<Choice> choices;
  for (const absl::string_view line :
       absl::StrSplit(lines, '\n', absl::SkipEmpty()))
    choices.push_back({std::string(line), choices.size(), 0});
  if (choices.empty())
    fail("'", path, "': expected a choice per line, found none");
  return choices;
}

void Run::rankChoices() {
  if (!sequence)
    fail("--choices: expected an entry with a cache, found '", entry.name,
         "' without");
  const moe_modality_info modality = byteModality(model, entry, "--choices");
  if (width != kByteIds)
    fail("--choices: expected a first output of ", kByteIds, " columns, found ",
         width);
  const uint64_t base = sequence->length();
  const Stopwatch watch;
  uint64_t tokens = 0;
  for (Choice &choice : choices) {
    const std::string ended = choice.text + options.choiceEnd;
    choice.score = scoreChoice(ended, modality.name);
    sequence->trim(base);
    tokens += ended.size();
  }
  printSpeed("choices", tokens, watch.seconds());
  std::sort(choices.begin(), choices.end(),
            [](const Choice &a, const Choice &b) {
              return a.score != b.score ? a.score > b.score : a.line < b.line;
            });
  for (size_t i = 0; i < choices.size(); ++i)
    absl::StrAppendFormat(&out, "%d\t%.6f\t%s\n", i + 1, choices[i].score,
                          choices[i].text);
}

} // namespace

int main(int argc, char **argv) {
  const std::string tool = "moe-run";
  // Writing more than a limit on files allows is to be an error of that call.
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    bool done = false;
    const auto options = parseRunOptions(argc, argv, done);
    if (!options.ok())
      return reportUsage(tool, std::string(options.status().message()));
    if (!done) {
      const Engine engine(static_cast<unsigned>(options->threads));
      const Model model =
          Model::load(engine, options->artifact, options->verify);
      Run(*options, model).run();
    }
    return finishOutput(tool);
  } catch (const std::exception &error) {
    return report(tool, error.what());
  }
}
