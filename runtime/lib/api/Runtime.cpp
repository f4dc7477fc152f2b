//===- Runtime.cpp - The C API over the C++ inside ------------------------===//
//
// Every function that can fail goes through guarded(): it turns statuses and
// exceptions into a moe_status and keeps the sentence for moe_last_error.
//
//===----------------------------------------------------------------------===//

#include "runtime/include/moe/runtime.h"
#include "runtime/include/moe/sampling.h"

#include "runtime/abi/manifest_generated.h"
#include "runtime/lib/exec/SequenceHandles.h"
#include "runtime/lib/exec/Session.h"
#include "runtime/lib/sample/Sampler.h"

#include <new>

using namespace moe::rt;

struct moe_engine {
  std::shared_ptr<Team> team;
};
struct moe_artifact {
  Artifact artifact;
};
struct moe_model {
  std::shared_ptr<Model> model;
};
struct moe_session {
  std::shared_ptr<Session> session;
};
struct moe_sampler {
  Sampler sampler;
};

static_assert(MOE_F32 == static_cast<uint32_t>(moe::manifest::DType::f32) &&
                  MOE_BF16 ==
                      static_cast<uint32_t>(moe::manifest::DType::bf16) &&
                  MOE_F16 == static_cast<uint32_t>(moe::manifest::DType::f16) &&
                  MOE_I8 == static_cast<uint32_t>(moe::manifest::DType::i8) &&
                  MOE_U8 == static_cast<uint32_t>(moe::manifest::DType::u8) &&
                  MOE_I32 == static_cast<uint32_t>(moe::manifest::DType::i32),
              "the public numbers of element types are those of the manifest");
static_assert(int{MOE_PTX} == int{MOE_IMAGE_PTX} &&
                  int{MOE_CUBIN} == int{MOE_IMAGE_CUBIN} &&
                  int{MOE_LLVM_IR} == int{MOE_IMAGE_LLVM_IR},
              "the public numbers of images are those of the artifact");
static_assert(sizeof(moe_input) == 40 && sizeof(moe_item) == 48 &&
                  sizeof(moe_batch) == 48 && sizeof(moe_output) == 48 &&
                  sizeof(moe_router_input) == 56,
              "structs of the public API change by appending only");
static_assert(sizeof(moe_engine_options) == 16 &&
                  sizeof(moe_model_options) == 16 &&
                  sizeof(moe_session_options) == 32 &&
                  sizeof(moe_session_stats) == 56 &&
                  sizeof(moe_device_info) == 112 &&
                  sizeof(moe_model_info) == 104 && sizeof(moe_level_info) == 64,
              "structs of the public API change by appending only");
static_assert(sizeof(moe_token_request) == 48 &&
                  sizeof(moe_sampling_info) == 24 &&
                  sizeof(moe_sampling_options) == 56 &&
                  sizeof(moe_sampler_row) == 56 &&
                  sizeof(moe_distribution) == 32,
              "structs of the public API change by appending only");

namespace {

thread_local std::string lastError;

moe_status statusOf(absl::StatusCode code) {
  switch (code) {
  case absl::StatusCode::kOk:
    return MOE_OK;
  case absl::StatusCode::kInvalidArgument:
    return MOE_ERROR_INVALID_ARGUMENT;
  case absl::StatusCode::kNotFound:
    return MOE_ERROR_NOT_FOUND;
  case absl::StatusCode::kDataLoss:
    return MOE_ERROR_BAD_ARTIFACT;
  case absl::StatusCode::kFailedPrecondition:
    return MOE_ERROR_VERSION;
  case absl::StatusCode::kUnimplemented:
    return MOE_ERROR_UNSUPPORTED;
  case absl::StatusCode::kResourceExhausted:
    return MOE_ERROR_CAPACITY;
  case absl::StatusCode::kAborted:
    return MOE_ERROR_BUSY;
  case absl::StatusCode::kUnavailable:
    return MOE_ERROR_SYSTEM;
  case absl::StatusCode::kOutOfRange:
    return MOE_ERROR_OUT_OF_MEMORY;
  case absl::StatusCode::kCancelled:
    return MOE_ERROR_DEVICE;
  default:
    return MOE_ERROR_INTERNAL;
  }
}

/// Keeps the sentence; without memory for it, a shorter one.
moe_status fail(moe_status status, absl::string_view message) noexcept {
  try {
    lastError.assign(message.data(), message.size());
  } catch (...) {
    lastError.clear();
  }
  return status;
}

template <typename Body> moe_status guarded(Body body) noexcept {
  try {
    const absl::Status status = body();
    return status.ok() ? MOE_OK
                       : fail(statusOf(status.code()), status.message());
  } catch (const std::bad_alloc &) {
    return fail(MOE_ERROR_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception &error) {
    return fail(MOE_ERROR_INTERNAL, error.what());
  }
}

absl::Status needs(bool given, const char *what) {
  return given ? absl::OkStatus()
               : invalidArgument(what, ": expected a pointer, found NULL");
}

template <typename Element>
absl::StatusOr<const Element *> at(const std::vector<Element> &elements,
                                   uint32_t index, const char *what) {
  if (index >= elements.size())
    return invalidArgument("expected ", what, " below ", elements.size(),
                           ", found ", index);
  return &elements[index];
}

/// Body of the functions that describe element `index` of a list: `fill` sets
/// the fields after size.
template <typename Info, typename Element, typename Fill>
moe_status describe(const moe_model *model,
                    std::vector<Element> ModelDescription::*list,
                    uint32_t index, const char *what, Info *info, Fill fill) {
  return guarded([&]() -> absl::Status {
    MOE_RETURN_IF_ERROR(needs(model, "model"));
    const auto element = at(model->model->description().*list, index, what);
    if (!element.ok())
      return element.status();
    Info full = {};
    full.size = sizeof(full);
    fill(**element, full);
    return writeInfo(full, info);
  });
}

} // namespace

const char *moe_last_error(void) { return lastError.c_str(); }

const char *moe_status_name(moe_status status) {
  switch (status) {
  case MOE_OK:
    return "ok";
  case MOE_ERROR_INVALID_ARGUMENT:
    return "invalid argument";
  case MOE_ERROR_NOT_FOUND:
    return "not found";
  case MOE_ERROR_BAD_ARTIFACT:
    return "bad artifact";
  case MOE_ERROR_VERSION:
    return "version mismatch";
  case MOE_ERROR_UNSUPPORTED:
    return "unsupported";
  case MOE_ERROR_CAPACITY:
    return "over capacity";
  case MOE_ERROR_BUSY:
    return "busy";
  case MOE_ERROR_OUT_OF_MEMORY:
    return "out of memory";
  case MOE_ERROR_SYSTEM:
    return "system error";
  case MOE_ERROR_INTERNAL:
    return "internal error";
  case MOE_ERROR_DEVICE:
    return "device error";
  default:
    return "unknown status";
  }
}

const char *moe_version(void) { return MOERT_VERSION; }
uint32_t moe_runtime_abi_version(void) { return MOE_ABI_VERSION; }

//===----------------------------------------------------------------------===//
// Engine
//===----------------------------------------------------------------------===//

moe_status moe_engine_create(const moe_engine_options *options,
                             moe_engine **engine) {
  return guarded([&]() -> absl::Status {
    MOE_RETURN_IF_ERROR(needs(engine, "engine"));
    moe_engine_options given;
    MOE_RETURN_IF_ERROR(readOptions(options, given));
    auto team = Team::create(given.threads);
    if (!team.ok())
      return team.status();
    *engine = new moe_engine{*std::move(team)};
    return absl::OkStatus();
  });
}

void moe_engine_destroy(moe_engine *engine) { delete engine; }

uint32_t moe_engine_threads(const moe_engine *engine) {
  return engine ? engine->team->threads() : 0;
}

//===----------------------------------------------------------------------===//
// Artifact
//===----------------------------------------------------------------------===//

moe_status moe_artifact_open(const char *path, moe_artifact **artifact) {
  return guarded([&]() -> absl::Status {
    MOE_RETURN_IF_ERROR(needs(path, "path"));
    MOE_RETURN_IF_ERROR(needs(artifact, "artifact"));
    auto opened = Artifact::open(path);
    if (!opened.ok())
      return opened.status();
    *artifact = new moe_artifact{*std::move(opened)};
    return absl::OkStatus();
  });
}

void moe_artifact_close(moe_artifact *artifact) { delete artifact; }

const void *moe_artifact_manifest(const moe_artifact *artifact,
                                  uint64_t *bytes) {
  if (bytes)
    *bytes = artifact ? artifact->artifact.manifest.size() : 0;
  return artifact ? artifact->artifact.manifest.data() : nullptr;
}

uint64_t moe_artifact_bytes(const moe_artifact *artifact) {
  return artifact ? artifact->artifact.bytes : 0;
}

const char *moe_artifact_entry_layout(const moe_artifact *artifact,
                                      uint32_t entry) {
  if (!artifact)
    return nullptr;
  const std::vector<Entry> &entries = artifact->artifact.description.entries;
  return entry < entries.size() ? entries[entry].layoutText.c_str() : nullptr;
}

const char *moe_artifact_symbol(const moe_artifact *artifact, uint64_t index) {
  return artifact && index < artifact->artifact.symbols.size()
             ? artifact->artifact.symbols[index].c_str()
             : nullptr;
}

//===----------------------------------------------------------------------===//
// Model
//===----------------------------------------------------------------------===//

moe_status moe_model_load(moe_engine *engine, const char *path,
                          const moe_model_options *options, moe_model **model) {
  return guarded([&]() -> absl::Status {
    MOE_RETURN_IF_ERROR(needs(engine, "engine"));
    MOE_RETURN_IF_ERROR(needs(path, "path"));
    MOE_RETURN_IF_ERROR(needs(model, "model"));
    moe_model_options given;
    MOE_RETURN_IF_ERROR(readOptions(options, given));
    auto loaded =
        Model::load(engine->team, path, given.verify != 0, given.populate != 0);
    if (!loaded.ok())
      return loaded.status();
    *model = new moe_model{*std::move(loaded)};
    return absl::OkStatus();
  });
}

void moe_model_destroy(moe_model *model) { delete model; }

moe_status moe_model_get_info(const moe_model *model, moe_model_info *info) {
  return guarded([&]() -> absl::Status {
    MOE_RETURN_IF_ERROR(needs(model, "model"));
    const Model &loaded = *model->model;
    const ModelDescription &from = loaded.description();
    moe_model_info full = {};
    full.size = sizeof(full);
    full.name = from.name.c_str();
    full.compiler = from.compiler.c_str();
    full.target = from.target.c_str();
    full.num_modalities = static_cast<uint32_t>(from.modalities.size());
    full.num_functions = static_cast<uint32_t>(from.functions.size());
    full.num_entries = static_cast<uint32_t>(from.entries.size());
    full.num_variants = static_cast<uint32_t>(from.variants.size());
    full.weight_bytes = loaded.weights().bytes();
    full.cache_bytes_per_token = from.stateBytesPerToken;
    full.manifest = loaded.manifest().data();
    full.manifest_bytes = loaded.manifest().size();
    full.num_routers = static_cast<uint32_t>(from.routers.size());
    full.num_stop_tokens = static_cast<uint32_t>(from.stopTokens.size());
    full.stop_tokens = from.stopTokens.data();
    full.num_levels = static_cast<uint32_t>(loaded.deviceLevels().size());
    return writeInfo(full, info);
  });
}

moe_status moe_model_get_modality(const moe_model *model, uint32_t index,
                                  moe_modality_info *info) {
  return describe(model, &ModelDescription::modalities, index, "a modality",
                  info, [](const Modality &from, moe_modality_info &to) {
                    to.name = from.name.c_str();
                    to.id = from.id;
                    to.is_raw = from.isRaw;
                    to.vocab = from.vocab;
                    to.dtype = from.dtype;
                    to.rank = static_cast<uint32_t>(from.shape.size());
                    to.tokens_per_input = from.tokensPerInput;
                    to.shape = from.shape.data();
                    to.elements = from.elements;
                  });
}

moe_status moe_model_get_function(const moe_model *model, uint32_t index,
                                  moe_function_info *info) {
  return describe(model, &ModelDescription::functions, index, "a function",
                  info, [](const Function &from, moe_function_info &to) {
                    to.name = from.name.c_str();
                    to.cache_tokens = from.cacheTokens;
                    to.max_sequence = from.maxSequence;
                    to.num_outputs = static_cast<uint32_t>(from.outputs.size());
                    to.modalities = from.modalities;
                  });
}

moe_status moe_model_get_entry(const moe_model *model, uint32_t index,
                               moe_entry_info *info) {
  return describe(model, &ModelDescription::entries, index, "an entry", info,
                  [](const Entry &from, moe_entry_info &to) {
                    to.name = from.name.c_str();
                    to.layout = from.layoutText.c_str();
                    to.function = from.function;
                    to.last_only = from.lastOnly;
                    to.routing_out = from.routingOut;
                    to.routing_in = from.routingIn;
                    to.expert_mask = from.expertMask;
                    to.router_bias = from.routerBias;
                    to.k_override = from.kOverride;
                  });
}

moe_status moe_model_get_output(const moe_model *model, uint32_t function,
                                uint32_t index, moe_output_info *info) {
  return guarded([&]() -> absl::Status {
    MOE_RETURN_IF_ERROR(needs(model, "model"));
    const auto of =
        at(model->model->description().functions, function, "a function");
    if (!of.ok())
      return of.status();
    const auto from = at((*of)->outputs, index, "an output");
    if (!from.ok())
      return from.status();
    const moe_output_info full = {sizeof(full), (*from)->name.c_str(),
                                  (*from)->width};
    return writeInfo(full, info);
  });
}

moe_status moe_model_get_variant(const moe_model *model, uint32_t index,
                                 moe_variant_info *info) {
  return describe(model, &ModelDescription::variants, index, "a variant", info,
                  [](const Variant &from, moe_variant_info &to) {
                    to.device = from.device.c_str();
                    to.isa = from.isa.c_str();
                    to.scratch = from.scratch.c_str();
                    to.min_tokens = from.minTokens;
                    to.max_tokens = from.maxTokens;
                    to.function = from.function;
                    to.modalities = from.modalities;
                    to.available = from.available;
                  });
}

moe_status moe_model_get_router(const moe_model *model, uint32_t index,
                                moe_router_info *info) {
  return describe(model, &ModelDescription::routers, index, "a router", info,
                  [](const Router &from, moe_router_info &to) {
                    to.name = from.name.c_str();
                    to.layer = from.layer;
                    to.experts = from.experts;
                    to.slots = from.slots;
                    to.weighs_any = from.weighsAny;
                    to.first_expert = from.firstExpert;
                  });
}

moe_status moe_model_get_level(const moe_model *model, uint32_t index,
                               moe_level_info *info) {
  return guarded([&]() -> absl::Status {
    MOE_RETURN_IF_ERROR(needs(model, "model"));
    const auto from = at(model->model->deviceLevels(), index, "a level");
    if (!from.ok())
      return from.status();
    const DeviceLevel &level = **from;
    moe_level_info full = {};
    full.size = sizeof(full);
    full.name = level.name.c_str();
    full.capability_major = level.major;
    full.capability_minor = level.minor;
    full.exact = level.exact;
    full.num_kernels = static_cast<uint32_t>(level.kernels.size());
    full.num_images = static_cast<uint32_t>(level.images.size());
    full.constant_bytes = level.constantsBytes;
    full.kernels = level.kernels.data();
    full.images = level.images.data();
    return writeInfo(full, info);
  });
}

moe_status moe_model_find_entry(const moe_model *model, const char *name,
                                uint32_t *index) {
  return guarded([&]() -> absl::Status {
    MOE_RETURN_IF_ERROR(needs(model, "model"));
    MOE_RETURN_IF_ERROR(needs(name, "name"));
    MOE_RETURN_IF_ERROR(needs(index, "index"));
    const auto entry = model->model->entryNamed(name);
    if (!entry.ok())
      return entry.status();
    *index = static_cast<uint32_t>(*entry -
                                   model->model->description().entries.data());
    return absl::OkStatus();
  });
}

//===----------------------------------------------------------------------===//
// Session
//===----------------------------------------------------------------------===//

moe_status moe_session_create(moe_model *model,
                              const moe_session_options *options,
                              moe_session **session) {
  return guarded([&]() -> absl::Status {
    MOE_RETURN_IF_ERROR(needs(model, "model"));
    MOE_RETURN_IF_ERROR(needs(session, "session"));
    moe_session_options given;
    MOE_RETURN_IF_ERROR(readOptions(options, given));
    auto created = Session::create(model->model, given);
    if (!created.ok())
      return created.status();
    *session = new moe_session{*std::move(created)};
    return absl::OkStatus();
  });
}

void moe_session_destroy(moe_session *session) { delete session; }

moe_status moe_session_get_stats(moe_session *session,
                                 moe_session_stats *stats) {
  return guarded([&]() -> absl::Status {
    MOE_RETURN_IF_ERROR(needs(session, "session"));
    return session->session->stats(stats);
  });
}

moe_status moe_session_get_device(moe_session *session, moe_device_info *info) {
  return guarded([&]() -> absl::Status {
    MOE_RETURN_IF_ERROR(needs(session, "session"));
    return session->session->deviceInfo(info);
  });
}

moe_status moe_sequence_create(moe_session *session, moe_sequence **sequence) {
  return guarded([&]() -> absl::Status {
    MOE_RETURN_IF_ERROR(needs(session, "session"));
    MOE_RETURN_IF_ERROR(needs(sequence, "sequence"));
    auto created = session->session->createSequence();
    if (!created.ok())
      return created.status();
    *sequence = handles::add(*std::move(created));
    return absl::OkStatus();
  });
}

moe_status moe_sequence_fork(moe_sequence *sequence, moe_sequence **fork) {
  return guarded([&]() -> absl::Status {
    MOE_RETURN_IF_ERROR(needs(sequence, "sequence"));
    MOE_RETURN_IF_ERROR(needs(fork, "fork"));
    const auto session = handles::sessionOf(sequence);
    if (!session)
      return invalidArgument("fork: ", kNoSequence);
    auto created = session->fork(sequence);
    if (!created.ok())
      return created.status();
    *fork = handles::add(*std::move(created));
    return absl::OkStatus();
  });
}

moe_status moe_sequence_trim(moe_sequence *sequence, uint64_t length) {
  return guarded([&]() -> absl::Status {
    MOE_RETURN_IF_ERROR(needs(sequence, "sequence"));
    const auto session = handles::sessionOf(sequence);
    if (!session)
      return invalidArgument("trim: ", kNoSequence);
    return session->trim(sequence, length);
  });
}

void moe_sequence_free(moe_sequence *sequence) {
  std::unique_ptr<SequenceState> state = handles::remove(sequence);
  if (!state)
    return;
  const std::shared_ptr<Session> session = state->session;
  session->release(std::move(state));
}

uint64_t moe_sequence_length(const moe_sequence *sequence) {
  return handles::lengthOf(sequence);
}

moe_status moe_step(moe_session *session, const char *entry,
                    const moe_batch *batch, moe_output *outputs,
                    uint64_t num_outputs) {
  return guarded([&]() -> absl::Status {
    MOE_RETURN_IF_ERROR(needs(session, "session"));
    MOE_RETURN_IF_ERROR(needs(entry, "entry"));
    MOE_RETURN_IF_ERROR(needs(batch, "batch"));
    return session->session->step(entry, *batch, outputs, num_outputs);
  });
}

moe_status moe_step_tokens(moe_session *session, const char *entry,
                           const moe_batch *batch,
                           const moe_token_request *requests,
                           uint64_t num_requests, int32_t *tokens,
                           moe_output *outputs, uint64_t num_outputs) {
  return guarded([&]() -> absl::Status {
    MOE_RETURN_IF_ERROR(needs(session, "session"));
    MOE_RETURN_IF_ERROR(needs(entry, "entry"));
    MOE_RETURN_IF_ERROR(needs(batch, "batch"));
    MOE_RETURN_IF_ERROR(needs(tokens, "tokens"));
    const TokenChoice::Request request = {requests, num_requests, tokens};
    return session->session->step(entry, *batch, outputs, num_outputs,
                                  &request);
  });
}

moe_status moe_session_get_sampling(moe_session *session,
                                    moe_sampling_info *info) {
  return guarded([&]() -> absl::Status {
    MOE_RETURN_IF_ERROR(needs(session, "session"));
    return session->session->samplingInfo(info);
  });
}

moe_status moe_session_get_output(moe_session *session, uint64_t index,
                                  moe_output *output) {
  return guarded([&]() -> absl::Status {
    MOE_RETURN_IF_ERROR(needs(session, "session"));
    return session->session->output(index, output);
  });
}

moe_status moe_session_get_routing(moe_session *session, uint32_t index,
                                   moe_routing *routing) {
  return guarded([&]() -> absl::Status {
    MOE_RETURN_IF_ERROR(needs(session, "session"));
    return session->session->routing(index, routing);
  });
}

moe_status moe_session_get_trace(moe_session *session, moe_trace *trace) {
  return guarded([&]() -> absl::Status {
    MOE_RETURN_IF_ERROR(needs(session, "session"));
    return session->session->trace(trace);
  });
}

//===----------------------------------------------------------------------===//
// Sampler
//===----------------------------------------------------------------------===//

void moe_sampling_default_options(moe_sampling_options *options) {
  if (!options)
    return;
  *options = {};
  options->size = sizeof(*options);
  options->top_p = 1;
  options->repetition_penalty = 1;
}

moe_status moe_sampler_create(const moe_sampling_options *options,
                              moe_sampler **sampler) {
  return guarded([&]() -> absl::Status {
    MOE_RETURN_IF_ERROR(needs(sampler, "sampler"));
    const auto given = readSamplingOptions(options);
    if (!given.ok())
      return given.status();
    *sampler = new moe_sampler{Sampler{*given}};
    return absl::OkStatus();
  });
}

void moe_sampler_destroy(moe_sampler *sampler) { delete sampler; }

moe_status moe_sampler_choose(moe_sampler *sampler, const moe_sampler_row *row,
                              int32_t *token) {
  return guarded([&]() -> absl::Status {
    MOE_RETURN_IF_ERROR(needs(sampler, "sampler"));
    MOE_RETURN_IF_ERROR(needs(row, "row"));
    MOE_RETURN_IF_ERROR(needs(token, "token"));
    return sampler->sampler.choose(*row, token);
  });
}

moe_status moe_sampler_get_distribution(moe_sampler *sampler,
                                        const moe_sampler_row *row,
                                        moe_distribution *distribution) {
  return guarded([&]() -> absl::Status {
    MOE_RETURN_IF_ERROR(needs(sampler, "sampler"));
    MOE_RETURN_IF_ERROR(needs(row, "row"));
    return sampler->sampler.distribution(*row, distribution);
  });
}
