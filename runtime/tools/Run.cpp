//===- Run.cpp - moe-run: one entry of a model on given inputs ------------===//
//
// Results go to standard output, speed to standard error. Everything is read,
// checked and, but for generated text, computed before the first byte of output
// is written. Text is written as it comes.
//
//===----------------------------------------------------------------------===//

#include "moe/generate.hpp"
#include "runtime/tools/ArrayFile.h"
#include "runtime/tools/CommandLine.h"
#include "runtime/tools/RunInputs.h"
#include "runtime/tools/RunOptions.h"
#include "runtime/tools/RunRouting.h"

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
const std::string kTool = "moe-run";

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
        session(model, 0, 0, options.device) {
    const moe_device_info device = session.device();
    if (*device.remark)
      remark(kTool, absl::StrCat("on the processor: ", device.remark));
    for (const std::vector<InputOption> &prompt : options.prompts) {
      prompts.push_back(RunInputs::load(model, entry, prompt));
      if (function.cache_tokens)
        sequences.push_back(session.create_sequence());
    }
    if (options.maxTokens)
      prepareGeneration();
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
  uint64_t tokensOf(const RunInputs &prompt) const;
  uint64_t inputTokens() const;
  template <typename Element>
  static void writeFile(const std::string &path,
                        const std::vector<Element> &data,
                        const std::vector<uint64_t> &shape);
  Row lastRow(size_t prompt = 0) const {
    return Row(logits.data() + (rowEnds[prompt] - 1) * width, width);
  }

  // Each computes something and appends its lines to `out`.
  void prefill();
  void collectRouting();
  void showTop();
  void showTop(const Row &row);
  void showLogits();
  void rankChoices();
  void compare();

  // Generation writes its text itself.
  void prepareGeneration();
  void generate();
  std::string spell(const std::vector<int32_t> &ids) const;
  void showToken(size_t prompt, int32_t id);

  double scoreChoice(const std::string &text, const char *modality);

  const RunOptions &options;
  const Model &model;
  const moe_entry_info entry;
  const moe_function_info function;
  std::vector<RunInputs> prompts;
  Session session;
  std::vector<Sequence> sequences; // of the prompts; empty without a cache
  std::optional<RunRouting> routing; // of all steps that generate
  std::optional<Generator> generator;
  std::optional<Array> reference;
  std::vector<Choice> choices;
  std::vector<float> logits; // of the inputs, [rows, width]
  uint64_t rows = 0;
  uint64_t width = 0;
  std::vector<uint64_t> rowEnds;  // behind the last row of each prompt
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

uint64_t Run::tokensOf(const RunInputs &prompt) const {
  uint64_t tokens = 0;
  for (const Input &each : prompt.views()) {
    const moe_modality_info modality = detail::modalityOf(model, each);
    tokens += each.count / modality.elements * modality.tokens_per_input;
  }
  return tokens;
}

uint64_t Run::inputTokens() const {
  uint64_t tokens = 0;
  for (const RunInputs &prompt : prompts)
    tokens += tokensOf(prompt);
  return tokens;
}

void Run::prefill() {
  std::vector<Item> items(prompts.size(), detail::sized<Item>());
  for (size_t i = 0; i < items.size(); ++i) {
    items[i].sequence = sequences.empty() ? nullptr : sequences[i].get();
    items[i].inputs = prompts[i].views().data();
    items[i].num_inputs = prompts[i].views().size();
  }
  const RunRouting routing(options, model, inputTokens());
  const Stopwatch watch;
  const bool keepRouting =
      !options.routingIds.empty() || !options.routingWeights.empty();
  const Logits result =
      session.step(entry.name, items.data(), items.size(), keepRouting,
                   MOE_TRACE_NONE, routing.views());
  printSpeed("prefill", inputTokens(), watch.seconds());
  logits = result.vector();
  rows = result.rows();
  width = result.width();
  for (size_t i = 0; i < items.size(); ++i)
    rowEnds.push_back(result.row_start(i + 1));
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
  const bool hasOtherResult = generator || !choices.empty() ||
                              !options.output.empty() || reference ||
                              !expertIds.empty();
  if (options.print == RunOptions::Logits)
    showLogits();
  else if (options.print == RunOptions::Top ||
           (options.print == RunOptions::Default && !hasOtherResult))
    showTop();
  if (!choices.empty())
    rankChoices();
  if (reference)
    compare();
  writeFile(options.output, logits, {rows, width});
  writeFile(options.routingIds, expertIds, routingShape);
  writeFile(options.routingWeights, expertWeights, routingShape);
  std::fwrite(out.data(), 1, out.size(), stdout);
  if (generator)
    generate();
  if (options.printMemory)
    std::fputs(describeMemory(session.device()).c_str(), stderr);
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

void Run::showTop() {
  for (size_t i = 0; i < prompts.size(); ++i) {
    if (prompts.size() > 1)
      absl::StrAppend(&out, "prompt ", i, ":\n");
    showTop(lastRow(i));
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

/// Refuses what can be refused before anything is computed.
void Run::prepareGeneration() {
  GenerateOptions wanted;
  wanted.prefill = entry.name;
  if (!options.decodeEntry.empty())
    wanted.decode = options.decodeEntry;
  wanted.maxTokens = options.maxTokens;
  wanted.sampling = options.sampling;
  if (options.stop) {
    wanted.stop.emplace();
    if (*options.stop != "none")
      *wanted.stop = parseIds(*options.stop, "--stop-ids");
  }
  routing.emplace(options, model, inputTokens());
  wanted.routers = routing->views();
  generator.emplace(model, session, wanted);
  const moe_sampling_info sampling = sampling_info(session);
  if (*sampling.remark)
    remark(kTool, absl::StrCat("tokens are chosen on the processor: ",
                               sampling.remark));
  for (const RunInputs &prompt : prompts)
    generator->check_room(tokensOf(prompt));
}

/// A text where ids are bytes.
std::string Run::spell(const std::vector<int32_t> &ids) const {
  return width == kByteIds ? std::string(ids.begin(), ids.end())
                           : absl::StrJoin(ids, ",");
}

/// One text is written as it comes, several are lines in the order in which
/// they end.
void Run::showToken(size_t prompt, int32_t id) {
  const Generated &text = (*generator)[prompt];
  std::string shown;
  if (prompts.size() == 1) {
    const bool isNext = width != kByteIds && text.tokens.size() > 1;
    shown = (isNext ? "," : "") + spell({id});
    if (text.end != Generated::Running)
      shown += '\n';
  } else if (text.end != Generated::Running) {
    shown = absl::StrCat(prompt, "\t", absl::CEscape(spell(text.tokens)), "\n");
  }
  std::fwrite(shown.data(), 1, shown.size(), stdout);
  std::fflush(stdout);
}

void Run::generate() {
  const Stopwatch watch;
  uint64_t tokens = 0;
  generator->onToken = [&](size_t prompt, int32_t id) {
    showToken(prompt, id);
    ++tokens;
    return std::ferror(stdout) == 0;
  };
  for (size_t i = 0; i < prompts.size(); ++i)
    generator->resume(std::move(sequences[i]), lastRow(i),
                      generator->ids_of(prompts[i].views()),
                      options.stream + i);
  while (generator->step())
    ;
  // The first ones came of the inputs.
  if (tokens > prompts.size())
    printSpeed("decode", tokens - prompts.size(), watch.seconds());
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
  item.sequence = sequences.front().get();
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
  if (sequences.empty())
    fail("--choices: expected an entry with a cache, found '", entry.name,
         "' without");
  const moe_modality_info modality = byteModality(model, entry, "--choices");
  if (width != kByteIds)
    fail("--choices: expected a first output of ", kByteIds, " columns, found ",
         width);
  Sequence &sequence = sequences.front();
  const uint64_t base = sequence.length();
  const Stopwatch watch;
  uint64_t tokens = 0;
  for (Choice &choice : choices) {
    const std::string ended = choice.text + options.choiceEnd;
    choice.score = scoreChoice(ended, modality.name);
    sequence.trim(base);
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
  // Writing more than a limit on files allows is to be an error of that call.
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    bool done = false;
    const auto options = parseRunOptions(argc, argv, done);
    if (!options.ok())
      return reportUsage(kTool, std::string(options.status().message()));
    if (!done) {
      const Engine engine(static_cast<unsigned>(options->threads));
      const Model model =
          Model::load(engine, options->artifact, options->verify);
      Run(*options, model).run();
    }
    return finishOutput(kTool);
  } catch (const std::exception &error) {
    return report(kTool, error.what());
  }
}
