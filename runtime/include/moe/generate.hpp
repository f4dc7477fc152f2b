// generate.hpp - C++17 over sampling.h, and a loop that decodes many prompts.
//
// Header-only, like runtime.hpp, whose rules hold here, too. Failures throw
// moe::Error.
//
//   moe::GenerateOptions options;
//   options.maxTokens = 40;
//   options.sampling.temperature = 0.7;
//   auto texts = moe::generate(model, session,
//                              {{moe::input("text", "A bag of ")},
//                               {moe::input("text", "The coat is ")}},
//                              options);
//   for (int32_t id : texts[0].tokens) ...
#ifndef MOEC_RUNTIME_INCLUDE_MOE_GENERATE_HPP
#define MOEC_RUNTIME_INCLUDE_MOE_GENERATE_HPP

#include "moe/runtime.hpp"
#include "moe/sampling.h"

#include <functional>
#include <optional>
#include <utility>

namespace moe {

/// The defaults of sampling.h: the most probable token, no filter, seed 0.
inline moe_sampling_options sampling_options() {
  moe_sampling_options options;
  moe_sampling_default_options(&options);
  return options;
}

/// What is left of a row. It points into the sampler and is valid until the
/// sampler's next call.
class Distribution {
public:
  explicit Distribution(const moe_distribution &distribution)
      : distribution(distribution) {}
  std::size_t size() const { return distribution.count; }
  std::int32_t id(std::size_t index) const { return distribution.ids[index]; }
  double probability(std::size_t index) const {
    return distribution.probabilities[index];
  }

private:
  moe_distribution distribution;
};

/// Chooses tokens. See moe_sampler.
class Sampler {
public:
  explicit Sampler(const moe_sampling_options &options = sampling_options()) {
    moe_sampler *created = nullptr;
    check(moe_sampler_create(&options, &created));
    handle.reset(created);
  }

  /// The token at `position` of the sequence with number `stream`, behind a row
  /// of logits; `history` is for the penalty.
  std::int32_t choose(const Row &row, std::uint64_t stream,
                      std::uint64_t position,
                      const std::vector<std::int32_t> &history = {}) {
    const moe_sampler_row given = describe(row, stream, position, history);
    std::int32_t token = 0;
    check(moe_sampler_choose(handle.get(), &given, &token));
    return token;
  }
  Distribution distribution(const Row &row,
                            const std::vector<std::int32_t> &history = {}) {
    const moe_sampler_row given = describe(row, 0, 0, history);
    auto result = detail::sized<moe_distribution>();
    check(moe_sampler_get_distribution(handle.get(), &given, &result));
    return Distribution(result);
  }
  moe_sampler *get() const { return handle.get(); }

private:
  static moe_sampler_row describe(const Row &row, std::uint64_t stream,
                                  std::uint64_t position,
                                  const std::vector<std::int32_t> &history) {
    auto given = detail::sized<moe_sampler_row>();
    given.logits = row.data();
    given.width = row.size();
    given.stream = stream;
    given.position = position;
    given.history = history.data();
    given.num_history = history.size();
    return given;
  }

  detail::Owner<moe_sampler, moe_sampler_destroy> handle;
};

using TokenRequest = moe_token_request;

/// A token at `position` of the sequence with number `stream`, by `options`,
/// which must outlive the step.
inline TokenRequest token_request(const moe_sampling_options &options,
                                  std::uint64_t stream,
                                  std::uint64_t position) {
  auto request = detail::sized<TokenRequest>();
  request.options = &options;
  request.stream = stream;
  request.position = position;
  return request;
}

/// A step that gives tokens in place of results, one for each row of its first
/// output. See moe_step_tokens.
inline std::vector<std::int32_t>
step_tokens(Session &session, const char *entry, const Item *items,
            std::size_t count, const std::vector<TokenRequest> &requests,
            const std::vector<RouterInput> &routers = {}) {
  auto batch = detail::sized<moe_batch>();
  batch.routers = routers.data();
  batch.num_routers = routers.size();
  batch.items = items;
  batch.num_items = count;
  // Never empty, so that it has an address.
  std::vector<std::int32_t> tokens(requests.size() + 1);
  check(moe_step_tokens(session.get(), entry, &batch, requests.data(),
                        requests.size(), tokens.data(), nullptr, 0));
  tokens.pop_back();
  return tokens;
}

/// Where a session chooses tokens.
inline moe_sampling_info sampling_info(const Session &session) {
  auto result = detail::sized<moe_sampling_info>();
  check(moe_session_get_sampling(session.get(), &result));
  return result;
}

struct GenerateOptions {
  std::string prefill = "prefill"; ///< entry that runs prompts
  std::string decode = "decode";   ///< entry that runs generated tokens
  std::uint64_t maxTokens = 64;    ///< of each prompt, at least 1
  /// Tokens that end a text, being its last; nothing: those of the model.
  std::optional<std::vector<std::int32_t>> stop;
  moe_sampling_options sampling = sampling_options();
  /// Most prompts in a batch; the others wait. 0: no limit.
  std::size_t atOnce = 0;
  /// What every step gives to its routers: count, bias and expert_mask, whose
  /// arrays must outlive the generator; ids are of single steps.
  std::vector<RouterInput> routers;
};

/// What came of a prompt.
struct Generated {
  enum End { Running, Stopped, Full, Cancelled };
  std::vector<std::int32_t> tokens;
  End end = Running; ///< Stopped: by a stop token; Full: maxTokens
};

/// Decodes prompts of any lengths in one batch. A prompt joins the batch at a
/// step in which the others go on, and leaves it, freeing its cache, as soon as
/// its text ends. What it gets depends on neither: on the prompt, the options
/// and its stream only.
///
/// Lifetime: the model, the session and the data of prompts that have not run
/// yet must outlive it. Threads: those of the session.
class Generator {
public:
  Generator(const Model &model, Session &session, GenerateOptions options);

  /// Adds a prompt and returns its number, counted from 0. `stream` numbers its
  /// random numbers; without it that is the prompt's own number.
  std::size_t add(std::vector<Input> prompt);
  std::size_t add(std::vector<Input> prompt, std::uint64_t stream);
  /// Adds a sequence that has run already. `row` is the result of its last
  /// token, from which the first token is chosen now; `history` is for the
  /// penalty.
  std::size_t resume(Sequence sequence, const Row &row,
                     std::vector<std::int32_t> history, std::uint64_t stream);

  /// One step: chooses a token for each prompt of the batch. False, and nothing
  /// is done, when all texts have ended. After an exception the generator can
  /// only be asked for what it has.
  bool step();

  /// Throws unless a prompt of so many tokens leaves room for its text.
  void check_room(std::uint64_t tokens) const;
  /// The ids among inputs that the penalty counts: of the generated modality.
  std::vector<std::int32_t> ids_of(const std::vector<Input> &inputs) const;

  std::size_t size() const { return results.size(); }
  const Generated &operator[](std::size_t prompt) const {
    return results[prompt];
  }

  /// Called with every token as it is chosen; false ends that text.
  std::function<bool(std::size_t prompt, std::int32_t token)> onToken;

private:
  struct Running {
    std::size_t prompt = 0;
    std::uint64_t stream = 0;
    std::vector<Input> inputs; // of a prompt that has not run
    std::optional<Sequence> sequence;
    std::vector<std::int32_t> history;
    std::int32_t next = 0; // the token to feed
  };

  std::uint64_t tokensOf(const std::vector<Input> &inputs) const;
  void accept(Running &running, std::int32_t token);
  bool hasEnded(const Running &running) const {
    return results[running.prompt].end != Generated::Running;
  }

  const Model &model;
  Session &session;
  GenerateOptions options;
  Sampler sampler;
  moe_entry_info prefill, decode;
  moe_modality_info modality; // of generated tokens
  std::vector<std::int32_t> stop;
  std::vector<Running> waiting, active; // waiting: the next one first
  std::vector<Generated> results;
};

/// Runs all prompts to their ends. `onToken` as in Generator.
inline std::vector<Generated>
generate(const Model &model, Session &session,
         const std::vector<std::vector<Input>> &prompts,
         const GenerateOptions &options,
         std::function<bool(std::size_t, std::int32_t)> onToken = {}) {
  Generator generator(model, session, options);
  generator.onToken = std::move(onToken);
  for (const std::vector<Input> &prompt : prompts)
    generator.add(prompt);
  while (generator.step())
    ;
  std::vector<Generated> results;
  for (std::size_t i = 0; i < generator.size(); ++i)
    results.push_back(generator[i]);
  return results;
}

//===----------------------------------------------------------------------===//
// Bodies
//===----------------------------------------------------------------------===//

namespace detail {

[[noreturn]] inline void refuse(const std::string &message) {
  throw Error(MOE_ERROR_INVALID_ARGUMENT, "generate: " + message);
}

/// The modality of generated tokens: as many ids as the first output of the
/// decoding entry is wide.
inline moe_modality_info generatedModality(const Model &model,
                                           const moe_entry_info &decode) {
  const moe_function_info function = model.function(decode.function);
  const std::uint64_t width = model.output(decode.function, 0).width;
  for (std::uint32_t i = 0; i < model.info().num_modalities; ++i) {
    const moe_modality_info modality = model.modality(i);
    if (!modality.is_raw && modality.vocab == width &&
        function.modalities >> modality.id & 1)
      return modality;
  }
  refuse("expected a token modality of " + std::to_string(width) +
         " ids, as many as the first output is wide, in entry '" + decode.name +
         "', found none");
}

inline moe_modality_info modalityOf(const Model &model, const Input &input) {
  for (std::uint32_t i = 0; i < model.info().num_modalities; ++i) {
    const moe_modality_info modality = model.modality(i);
    if (input.modality ? std::strcmp(input.modality, modality.name) == 0
                       : input.modality_id == modality.id)
      return modality;
  }
  refuse(std::string("expected a modality of the model, found '") +
         (input.modality ? input.modality
                         : std::to_string(input.modality_id).c_str()) +
         "'");
}

} // namespace detail

inline Generator::Generator(const Model &model, Session &session,
                            GenerateOptions wanted)
    : model(model), session(session), options(std::move(wanted)),
      sampler(options.sampling), prefill(model.entry(options.prefill)),
      decode(model.entry(options.decode)) {
  for (const moe_entry_info &entry : {prefill, decode})
    if (model.function(entry.function).cache_tokens == 0)
      detail::refuse(std::string("expected entries with a cache, found '") +
                     entry.name + "' without");
  modality = detail::generatedModality(model, decode);
  if (options.maxTokens == 0)
    detail::refuse("expected at least 1 token, found 0");
  if (options.stop)
    stop = *options.stop;
  else
    stop.assign(model.info().stop_tokens,
                model.info().stop_tokens + model.info().num_stop_tokens);
  for (const RouterInput &router : options.routers)
    if (router.ids || router.weights)
      detail::refuse("expected no ids or weights for routers, which belong to "
                     "a single step, found some for router " +
                     std::to_string(router.router));
  for (const std::int32_t id : stop)
    if (id < 0 || static_cast<std::uint32_t>(id) >= modality.vocab)
      detail::refuse("expected stop tokens below " +
                     std::to_string(modality.vocab) + ", found " +
                     std::to_string(id));
}

inline std::uint64_t
Generator::tokensOf(const std::vector<Input> &inputs) const {
  std::uint64_t tokens = 0;
  for (const Input &each : inputs) {
    const moe_modality_info of = detail::modalityOf(model, each);
    tokens += each.count / of.elements * of.tokens_per_input;
  }
  return tokens;
}

/// What a step will refuse is left out.
inline std::vector<std::int32_t>
Generator::ids_of(const std::vector<Input> &inputs) const {
  std::vector<std::int32_t> ids;
  for (const Input &each : inputs) {
    if (!each.data || detail::modalityOf(model, each).id != modality.id)
      continue;
    for (std::uint64_t i = 0; i < each.count; ++i)
      if (each.dtype == MOE_I32)
        ids.push_back(static_cast<const std::int32_t *>(each.data)[i]);
      else if (each.dtype == MOE_U8)
        ids.push_back(static_cast<const std::uint8_t *>(each.data)[i]);
  }
  return ids;
}

/// The last token of a text is not fed.
inline void Generator::check_room(std::uint64_t tokens) const {
  for (const moe_entry_info &entry : {prefill, decode})
    if (const std::uint64_t room = model.function(entry.function).cache_tokens;
        options.maxTokens > room || tokens + options.maxTokens - 1 > room)
      detail::refuse("needs a cache of " + std::to_string(tokens) + " + " +
                     std::to_string(options.maxTokens - 1) +
                     " tokens, entry '" + entry.name + "' has " +
                     std::to_string(room));
}

inline std::size_t Generator::add(std::vector<Input> prompt) {
  return add(std::move(prompt), results.size());
}

inline std::size_t Generator::add(std::vector<Input> prompt,
                                  std::uint64_t stream) {
  const std::uint64_t tokens = tokensOf(prompt);
  if (tokens == 0)
    detail::refuse("expected a prompt of at least one token, found none");
  check_room(tokens);
  Running running;
  running.stream = stream;
  running.history = ids_of(prompt);
  running.inputs = std::move(prompt);
  running.prompt = results.size();
  results.emplace_back();
  waiting.push_back(std::move(running));
  return results.size() - 1;
}

inline std::size_t Generator::resume(Sequence sequence, const Row &row,
                                     std::vector<std::int32_t> history,
                                     std::uint64_t stream) {
  check_room(sequence.length());
  Running running;
  running.stream = stream;
  running.history = std::move(history);
  running.sequence = std::move(sequence);
  running.prompt = results.size();
  results.emplace_back();
  accept(running, sampler.choose(row, running.stream,
                                 running.sequence->length(), running.history));
  if (!hasEnded(running))
    active.push_back(std::move(running));
  return results.size() - 1;
}

/// Takes the next token of a text.
inline void Generator::accept(Running &running, std::int32_t token) {
  Generated &result = results[running.prompt];
  running.next = token;
  running.history.push_back(running.next);
  running.inputs.clear();
  result.tokens.push_back(running.next);
  if (std::find(stop.begin(), stop.end(), running.next) != stop.end())
    result.end = Generated::Stopped;
  else if (result.tokens.size() >= options.maxTokens)
    result.end = Generated::Full;
  if (onToken && !onToken(running.prompt, running.next) &&
      result.end == Generated::Running)
    result.end = Generated::Cancelled;
}

inline bool Generator::step() {
  while (!waiting.empty() &&
         (options.atOnce == 0 || active.size() < options.atOnce)) {
    waiting.front().sequence = session.create_sequence();
    active.push_back(std::move(waiting.front()));
    waiting.erase(waiting.begin());
  }
  if (active.empty())
    return false;
  const auto isNew = [](const Running &each) { return !each.inputs.empty(); };
  const bool anyNew = std::any_of(active.begin(), active.end(), isNew);
  // An entry of another function takes its own tokens only.
  const bool mixes = prefill.function == decode.function;
  std::vector<Running *> stepped;
  for (Running &each : active)
    if (!anyNew || mixes || isNew(each))
      stepped.push_back(&each);
  std::vector<Input> tokens(stepped.size());
  std::vector<Item> items(stepped.size(), detail::sized<Item>());
  std::vector<std::uint32_t> rows(stepped.size());
  std::vector<TokenRequest> requests;
  for (std::size_t i = 0; i < stepped.size(); ++i) {
    Running &each = *stepped[i];
    tokens[i] = input(modality.name, MOE_I32, &each.next, 1);
    items[i].sequence = each.sequence->get();
    items[i].inputs = isNew(each) ? each.inputs.data() : &tokens[i];
    items[i].num_inputs = isNew(each) ? each.inputs.size() : 1;
    rows[i] =
        static_cast<std::uint32_t>(isNew(each) ? tokensOf(each.inputs) - 1 : 0);
    items[i].rows = &rows[i];
    items[i].num_rows = 1;
    requests.push_back(token_request(
        options.sampling, each.stream,
        each.sequence->length() + (isNew(each) ? tokensOf(each.inputs) : 1)));
    requests[i].history = each.history.data();
    requests[i].num_history = each.history.size();
  }
  const std::vector<std::int32_t> chosen =
      step_tokens(session, anyNew ? prefill.name : decode.name, items.data(),
                  items.size(), requests, options.routers);
  for (std::size_t i = 0; i < stepped.size(); ++i)
    accept(*stepped[i], chosen[i]);
  active.erase(
      std::remove_if(active.begin(), active.end(),
                     [this](const Running &each) { return hasEnded(each); }),
      active.end());
  return true;
}

} // namespace moe

#endif // MOEC_RUNTIME_INCLUDE_MOE_GENERATE_HPP
