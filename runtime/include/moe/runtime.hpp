// runtime.hpp - C++17 owners over runtime.h.
//
// Header-only: everything here is compiled into the caller, so the library's
// border stays C. Failures throw moe::Error. Each owner follows the lifetime,
// sharing and thread rule of the C type it owns; owners move, they do not copy.
//
//   moe::Engine engine;
//   auto model = moe::Model::load(engine, "fashion.so");
//   moe::Session session(model);
//   auto sequence = session.create_sequence();
//   auto logits = session.step("prefill", sequence,
//                              {moe::input("image", pixels),
//                               moe::input("text", "a photo of")});
//   int next = logits.argmax(0);
#ifndef MOEC_RUNTIME_INCLUDE_MOE_RUNTIME_HPP
#define MOEC_RUNTIME_INCLUDE_MOE_RUNTIME_HPP

#include "moe/runtime.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace moe {

/// A failed call: its status and its sentence.
class Error : public std::runtime_error {
public:
  Error(moe_status status, const std::string &message)
      : std::runtime_error(message), code(status) {}
  moe_status status() const { return code; }

private:
  moe_status code;
};

/// Throws what the C call that returned `status` reported.
inline void check(moe_status status) {
  if (status != MOE_OK)
    throw Error(status, moe_last_error());
}

namespace detail {

template <typename Handle, void (*Destroy)(Handle *)> struct Deleter {
  void operator()(Handle *handle) const { Destroy(handle); }
};
template <typename Handle, void (*Destroy)(Handle *)>
using Owner = std::unique_ptr<Handle, Deleter<Handle, Destroy>>;

/// A versioned struct of the C API with its size filled in.
template <typename Struct> Struct sized() {
  Struct value;
  std::memset(&value, 0, sizeof(value));
  value.size = sizeof(value);
  return value;
}

template <typename Element> constexpr moe_dtype dtypeOf() {
  static_assert(
      std::is_same_v<Element, float> || std::is_same_v<Element, std::int8_t> ||
          std::is_same_v<Element, std::uint8_t> ||
          std::is_same_v<Element, std::int32_t>,
      "inputs are float, int8_t, uint8_t or int32_t; give bf16 and f16 by "
      "moe::input(modality, dtype, data, count)");
  if constexpr (std::is_same_v<Element, float>)
    return MOE_F32;
  else if constexpr (std::is_same_v<Element, std::int8_t>)
    return MOE_I8;
  else if constexpr (std::is_same_v<Element, std::uint8_t>)
    return MOE_U8;
  else
    return MOE_I32;
}

} // namespace detail

//===----------------------------------------------------------------------===//
// Inputs. They point to the caller's data, which must outlive the step; a
// temporary in the call expression does.
//===----------------------------------------------------------------------===//

using Input = moe_input;
using Item = moe_item;
using RouterInput = moe_router_input;

/// `count` elements of `dtype` at `data`.
inline Input input(const char *modality, moe_dtype dtype, const void *data,
                   std::uint64_t count) {
  auto result = detail::sized<Input>();
  result.modality = modality;
  result.dtype = dtype;
  result.data = data;
  result.count = count;
  return result;
}

/// The bytes of a text, for a token modality of 256 ids. A template, so that a
/// list in braces is never taken for a string.
template <typename Text, typename = std::enable_if_t<std::is_convertible_v<
                             const Text &, std::string_view>>>
Input input(const char *modality, const Text &text) {
  const std::string_view bytes = text;
  return input(modality, MOE_U8, bytes.data(), bytes.size());
}

/// Ids, or the elements of one or more raw inputs.
template <typename Element>
Input input(const char *modality, const std::vector<Element> &elements) {
  return input(modality, detail::dtypeOf<Element>(), elements.data(),
               elements.size());
}
template <typename Element>
Input input(const char *modality, std::initializer_list<Element> elements) {
  return input(modality, detail::dtypeOf<Element>(), elements.begin(),
               elements.size());
}

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

/// One row of an output.
class Row {
public:
  Row(const float *data, std::size_t width) : first(data), count(width) {}
  const float *data() const { return first; }
  const float *begin() const { return first; }
  const float *end() const { return first + count; }
  std::size_t size() const { return count; }
  float operator[](std::size_t column) const { return first[column]; }
  /// Column of the largest element; the lowest one on ties.
  int argmax() const {
    return static_cast<int>(std::max_element(begin(), end()) - begin());
  }

private:
  const float *first;
  std::size_t count;
};

/// A view of one output of a step: f32 [rows, width]. It points into the
/// session and is valid until the session's next step; vector() copies it.
class Logits {
public:
  explicit Logits(const moe_output &output) : output(output) {}
  const float *data() const { return output.data; }
  std::size_t rows() const { return output.rows; }
  std::size_t width() const { return output.width; }
  Row row(std::size_t index) const {
    return Row(output.data + index * output.width, output.width);
  }
  Row operator[](std::size_t index) const { return row(index); }
  /// Last row of an item of the batch.
  Row last(std::size_t item = 0) const {
    return row(output.row_starts[item + 1] - 1);
  }
  /// First row of an item; the row after the last one for item + 1.
  std::size_t row_start(std::size_t item) const {
    return output.row_starts[item];
  }
  int argmax(std::size_t index) const { return row(index).argmax(); }
  std::vector<float> vector() const {
    return std::vector<float>(data(), data() + rows() * width());
  }

private:
  moe_output output;
};

/// What a router chose in a step. It points into the session and is valid until
/// the session's next step.
class Routing {
public:
  explicit Routing(const moe_routing &routing) : routing(routing) {}
  std::size_t tokens() const { return routing.tokens; }
  std::size_t slots() const { return routing.slots; }
  /// [tokens, slots]; id -1 where there is no expert.
  const std::int32_t *ids() const { return routing.ids; }
  const float *weights() const { return routing.weights; }
  int id(std::size_t token, std::size_t slot) const {
    return routing.ids[token * routing.slots + slot];
  }
  float weight(std::size_t token, std::size_t slot) const {
    return routing.weights[token * routing.slots + slot];
  }

private:
  moe_routing routing;
};

/// When the participants of a step reached its barriers. It points into the
/// session and is valid until the session's next step.
class Trace {
public:
  explicit Trace(const moe_trace &trace) : trace(trace) {}
  std::size_t intervals() const { return trace.intervals; }
  unsigned threads() const { return trace.threads; }
  unsigned variant() const { return trace.variant; }
  /// Nanoseconds of a monotonic clock.
  std::uint64_t begin(unsigned thread, std::size_t interval) const {
    return trace.stamps[2 * (thread * trace.intervals + interval)];
  }
  std::uint64_t end(unsigned thread, std::size_t interval) const {
    return trace.stamps[2 * (thread * trace.intervals + interval) + 1];
  }

private:
  moe_trace trace;
};

//===----------------------------------------------------------------------===//
// Owners
//===----------------------------------------------------------------------===//

/// The threads. See moe_engine.
class Engine {
public:
  /// 0 threads: MOE_THREADS, else all CPUs that the process may use.
  explicit Engine(unsigned threads = 0) {
    auto options = detail::sized<moe_engine_options>();
    options.threads = threads;
    moe_engine *created = nullptr;
    check(moe_engine_create(&options, &created));
    handle.reset(created);
  }
  unsigned threads() const { return moe_engine_threads(handle.get()); }
  moe_engine *get() const { return handle.get(); }

private:
  detail::Owner<moe_engine, moe_engine_destroy> handle;
};

/// A loaded artifact. See moe_model; info structs point into the model.
class Model {
public:
  static Model load(const Engine &engine, const std::string &path,
                    bool verify = false, bool populate = false) {
    auto options = detail::sized<moe_model_options>();
    options.verify = verify;
    options.populate = populate;
    moe_model *loaded = nullptr;
    check(moe_model_load(engine.get(), path.c_str(), &options, &loaded));
    return Model(loaded);
  }

  moe_model_info info() const {
    auto result = detail::sized<moe_model_info>();
    check(moe_model_get_info(handle.get(), &result));
    return result;
  }
  moe_modality_info modality(std::uint32_t index) const {
    auto result = detail::sized<moe_modality_info>();
    check(moe_model_get_modality(handle.get(), index, &result));
    return result;
  }
  moe_function_info function(std::uint32_t index) const {
    auto result = detail::sized<moe_function_info>();
    check(moe_model_get_function(handle.get(), index, &result));
    return result;
  }
  moe_entry_info entry(std::uint32_t index) const {
    auto result = detail::sized<moe_entry_info>();
    check(moe_model_get_entry(handle.get(), index, &result));
    return result;
  }
  moe_entry_info entry(const std::string &name) const {
    std::uint32_t index = 0;
    check(moe_model_find_entry(handle.get(), name.c_str(), &index));
    return entry(index);
  }
  moe_output_info output(std::uint32_t function, std::uint32_t index) const {
    auto result = detail::sized<moe_output_info>();
    check(moe_model_get_output(handle.get(), function, index, &result));
    return result;
  }
  moe_variant_info variant(std::uint32_t index) const {
    auto result = detail::sized<moe_variant_info>();
    check(moe_model_get_variant(handle.get(), index, &result));
    return result;
  }
  moe_router_info router(std::uint32_t index) const {
    auto result = detail::sized<moe_router_info>();
    check(moe_model_get_router(handle.get(), index, &result));
    return result;
  }
  /// Code for devices.
  moe_level_info level(std::uint32_t index) const {
    auto result = detail::sized<moe_level_info>();
    check(moe_model_get_level(handle.get(), index, &result));
    return result;
  }
  moe_model *get() const { return handle.get(); }

private:
  explicit Model(moe_model *loaded) : handle(loaded) {}
  detail::Owner<moe_model, moe_model_destroy> handle;
};

/// The cached tokens of one sequence. See moe_sequence.
class Sequence {
public:
  explicit Sequence(moe_sequence *created) : handle(created) {}
  Sequence fork() const {
    moe_sequence *created = nullptr;
    check(moe_sequence_fork(handle.get(), &created));
    return Sequence(created);
  }
  void trim(std::uint64_t length) {
    check(moe_sequence_trim(handle.get(), length));
  }
  std::uint64_t length() const { return moe_sequence_length(handle.get()); }
  moe_sequence *get() const { return handle.get(); }

private:
  detail::Owner<moe_sequence, moe_sequence_free> handle;
};

/// New tokens of one sequence, for a step over several. `inputs` must be in the
/// expression of the call or outlive the step.
inline Item item(Sequence &sequence, std::initializer_list<Input> inputs) {
  auto result = detail::sized<Item>();
  result.sequence = sequence.get();
  result.inputs = inputs.begin();
  result.num_inputs = inputs.size();
  return result;
}
/// The same for entries without a cache.
inline Item item(std::initializer_list<Input> inputs) {
  auto result = detail::sized<Item>();
  result.inputs = inputs.begin();
  result.num_inputs = inputs.size();
  return result;
}

/// What a step gives to router `router`, nothing at first.
inline RouterInput router_input(std::uint32_t router) {
  auto result = detail::sized<RouterInput>();
  result.router = router;
  return result;
}

/// Scratch, cache and steps. See moe_session.
class Session {
public:
  explicit Session(const Model &model, std::uint32_t maxSequences = 0,
                   std::uint64_t cacheTokens = 0,
                   moe_device device = MOE_DEVICE_AUTO) {
    auto options = detail::sized<moe_session_options>();
    options.max_sequences = maxSequences;
    options.cache_tokens = cacheTokens;
    options.device = device;
    moe_session *created = nullptr;
    check(moe_session_create(model.get(), &options, &created));
    handle.reset(created);
  }

  Sequence create_sequence() {
    moe_sequence *created = nullptr;
    check(moe_sequence_create(handle.get(), &created));
    return Sequence(created);
  }

  /// Steps of one sequence, of one item without a cache, and of many items.
  /// They return the first output; output(i) has the others.
  Logits step(const char *entry, Sequence &sequence,
              std::initializer_list<Input> inputs) {
    const Item one = item(sequence, inputs);
    return step(entry, &one, 1);
  }
  Logits step(const char *entry, std::initializer_list<Input> inputs) {
    const Item one = item(inputs);
    return step(entry, &one, 1);
  }
  Logits step(const char *entry, const std::vector<Item> &items) {
    return step(entry, items.data(), items.size());
  }
  /// With `keepRouting` what the routers choose is kept for routing(i), with
  /// `keepTrace` the time stamps for trace().
  /// `routers` says what is given to routers.
  Logits step(const char *entry, const Item *items, std::size_t count,
              bool keepRouting = false, uint32_t keepTrace = MOE_TRACE_NONE,
              const std::vector<RouterInput> &routers = {}) {
    auto batch = detail::sized<moe_batch>();
    batch.routers = routers.data();
    batch.num_routers = routers.size();
    batch.items = items;
    batch.num_items = count;
    batch.routing_out = keepRouting;
    batch.trace = keepTrace;
    // Nothing of the session is touched before moe_step has it for itself.
    auto first = detail::sized<moe_output>();
    check(moe_step(handle.get(), entry, &batch, &first, 1));
    return Logits(first);
  }

  /// Output `index` of the last step.
  Logits output(std::size_t index) const {
    auto result = detail::sized<moe_output>();
    check(moe_session_get_output(handle.get(), index, &result));
    return Logits(result);
  }

  /// The choice of a router in the last step, which must have kept it.
  Routing routing(std::uint32_t index) const {
    auto result = detail::sized<moe_routing>();
    check(moe_session_get_routing(handle.get(), index, &result));
    return Routing(result);
  }

  /// The time stamps of the last step, which must have kept them.
  Trace trace() const {
    auto result = detail::sized<moe_trace>();
    check(moe_session_get_trace(handle.get(), &result));
    return Trace(result);
  }

  moe_session_stats stats() const {
    auto result = detail::sized<moe_session_stats>();
    check(moe_session_get_stats(handle.get(), &result));
    return result;
  }
  /// Where it runs; strings live as long as the session.
  moe_device_info device() const {
    auto result = detail::sized<moe_device_info>();
    check(moe_session_get_device(handle.get(), &result));
    return result;
  }
  moe_session *get() const { return handle.get(); }

private:
  detail::Owner<moe_session, moe_session_destroy> handle;
};

} // namespace moe

#endif // MOEC_RUNTIME_INCLUDE_MOE_RUNTIME_HPP
