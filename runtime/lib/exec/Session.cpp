//===- Session.cpp - Scratch, cache and steps of one user -----------------===//

#include "runtime/lib/exec/Session.h"

#include "runtime/lib/exec/SequenceHandles.h"

#include "absl/strings/str_join.h"

#include <cstddef>
#include <cstdlib>

using namespace moe::rt;

namespace {

/// What the caller or the environment asks for.
absl::StatusOr<moe_device> wantedDevice(moe_device asked) {
  if (asked > MOE_DEVICE_CUDA)
    return invalidArgument("device: expected 0 to ", MOE_DEVICE_CUDA,
                           ", found ", asked);
  if (asked != MOE_DEVICE_AUTO)
    return asked;
  const char *named = std::getenv("MOE_DEVICE");
  const std::string name = named ? named : "";
  if (name == "cpu")
    return MOE_DEVICE_CPU;
  if (name == "cuda")
    return MOE_DEVICE_CUDA;
  if (!name.empty() && name != "auto")
    return invalidArgument("MOE_DEVICE: expected auto, cpu or cuda, found '",
                           name, "'");
  // Who asks for a level of the processor means the processor.
  const char *level = std::getenv("MOE_ISA");
  return level && *level ? MOE_DEVICE_CPU : MOE_DEVICE_AUTO;
}

absl::StatusOr<std::unique_ptr<DeviceSession>> openDevice(Model &model) {
  const auto device = model.onDevice();
  if (!device.ok())
    return device.status();
  return DeviceSession::create(**device, model.description());
}

std::unique_ptr<PageMemory> makePages(DeviceSession *device,
                                      const ModelDescription &model) {
  if (device)
    return device->makePages(model.states.size());
  return std::make_unique<HostPageMemory>(model.states.size());
}

/// Room for a full sequence; on a device, whose memory is taken at once, a
/// start.
uint64_t firstPages(bool onDevice, const ModelDescription &model) {
  constexpr uint64_t kStartBytes = 256 << 20;
  const uint64_t full = pagesFor(model.cacheTokens);
  const uint64_t pageBytes =
      std::max<uint64_t>(model.stateBytesPerToken * MOE_PAGE_TOKENS, 1);
  return onDevice ? std::min(full, kStartBytes / pageBytes + 1) : full;
}

} // namespace

absl::StatusOr<std::shared_ptr<Session>>
Session::create(std::shared_ptr<Model> model,
                const moe_session_options &options) {
  auto wanted = wantedDevice(options.device);
  if (!wanted.ok())
    return wanted.status();
  std::unique_ptr<DeviceSession> device;
  std::string remark;
  const bool mayBeOnDevice =
      *wanted == MOE_DEVICE_CUDA ||
      (*wanted == MOE_DEVICE_AUTO && !model->deviceLevels().empty());
  if (mayBeOnDevice) {
    auto made = openDevice(*model);
    if (made.ok())
      device = *std::move(made);
    else if (*wanted == MOE_DEVICE_CUDA || !model->onProcessor().ok())
      return made.status();
    else
      remark = std::string(made.status().message());
  }
  if (!device)
    MOE_RETURN_IF_ERROR(model->onProcessor());
  return std::shared_ptr<Session>(new Session(
      std::move(model), options, std::move(device), std::move(remark)));
}

Session::Session(std::shared_ptr<Model> loaded,
                 const moe_session_options &options,
                 std::unique_ptr<DeviceSession> onDevice, std::string why)
    : model(std::move(loaded)), device(std::move(onDevice)),
      remark(std::move(why)), maxSequences(options.max_sequences),
      pool(model->description(), makePages(device.get(), model->description()),
           firstPages(device != nullptr, model->description()),
           options.cache_tokens / MOE_PAGE_TOKENS +
               (options.cache_tokens % MOE_PAGE_TOKENS != 0)),
      builder(model->description()), routingExport(model->description()),
      routingInputs(model->description()) {
  size_t most = 0;
  for (const Function &function : model->description().functions)
    most = std::max(most, function.outputs.size());
  outputBuffers.resize(most);
  outputPointers.resize(most);
}

Session::~Session() { drainReleased(); }

//===----------------------------------------------------------------------===//
// One thread at a time
//===----------------------------------------------------------------------===//

Session::Entered::Entered(Session &session)
    : session(session),
      inside(!session.occupied.test_and_set(std::memory_order_acquire)) {
  if (inside)
    session.drainReleased();
}

Session::Entered::~Entered() {
  if (inside)
    session.occupied.clear(std::memory_order_release);
}

absl::Status Session::busy() {
  return absl::AbortedError("expected one thread at a time in a session, "
                            "found another one inside");
}

void Session::drainReleased() {
  SequenceState *sequence =
      released.exchange(nullptr, std::memory_order_acquire);
  while (sequence) {
    const std::unique_ptr<SequenceState> owner(sequence);
    sequence = sequence->nextReleased;
    pool.shrink(owner->list, 0);
    --numSequences;
  }
}

//===----------------------------------------------------------------------===//
// Sequences
//===----------------------------------------------------------------------===//

absl::StatusOr<std::unique_ptr<SequenceState>> Session::newSequence() {
  const ModelDescription &description = model->description();
  if (description.cacheTokens == 0)
    return invalidArgument("'", model->path(), "' has no entry with a cache, ",
                           "hence no sequences");
  if (maxSequences && numSequences >= maxSequences)
    return overCapacity("expected at most ", maxSequences,
                        " sequences as the session's options say, found one "
                        "more");
  auto sequence = std::make_unique<SequenceState>();
  // Room for all pages, so that no step allocates.
  sequence->list.pages.reserve(pagesFor(description.cacheTokens));
  sequence->session = shared_from_this();
  ++numSequences;
  return sequence;
}

absl::StatusOr<std::unique_ptr<SequenceState>> Session::createSequence() {
  const Entered entered(*this);
  return entered ? newSequence() : busy();
}

absl::StatusOr<std::unique_ptr<SequenceState>>
Session::fork(const moe_sequence *from) {
  const Entered entered(*this);
  if (!entered)
    return busy();
  const SequenceState *sequence = handles::find(from);
  if (!sequence)
    return invalidArgument("fork: ", kNoSequence);
  auto copy = newSequence();
  if (copy.ok())
    pool.share(sequence->list, (*copy)->list);
  return copy;
}

absl::Status Session::trim(const moe_sequence *handle, uint64_t length) {
  const Entered entered(*this);
  if (!entered)
    return busy();
  SequenceState *sequence = handles::find(handle);
  if (!sequence)
    return invalidArgument("trim: ", kNoSequence);
  if (length > sequence->list.length)
    return invalidArgument("trim: expected at most the ",
                           sequence->list.length.load(),
                           " tokens of the sequence, found ", length);
  pool.shrink(sequence->list, length);
  return absl::OkStatus();
}

void Session::release(std::unique_ptr<SequenceState> sequence) {
  // The sequence must not keep the session alive while it waits in it.
  const std::shared_ptr<Session> self = std::move(sequence->session);
  if (const Entered entered(*this); entered) {
    pool.shrink(sequence->list, 0);
    --numSequences;
    return;
  }
  SequenceState *node = sequence.release();
  node->nextReleased = released.load(std::memory_order_relaxed);
  while (!released.compare_exchange_weak(node->nextReleased, node,
                                         std::memory_order_release,
                                         std::memory_order_relaxed)) {
  }
}

//===----------------------------------------------------------------------===//
// Steps
//===----------------------------------------------------------------------===//

absl::Status Session::step(const char *name, const moe_batch &given,
                           moe_output *outputArray, uint64_t numOutputs,
                           const TokenChoice::Request *request) {
  const Entered entered(*this);
  if (!entered)
    return busy();
  published = nullptr;
  routingKept = false;
  traceKept = false;
  if (given.size < offsetof(moe_batch, routing_out))
    return invalidArgument("batch: expected size ", sizeof(moe_batch),
                           ", found ", given.size);
  moe_batch batch;
  MOE_RETURN_IF_ERROR(readOptions(&given, batch));
  const auto found = model->entryNamed(name);
  if (!found.ok())
    return found.status();
  const Entry *entry = *found;
  const Function &function = model->description().functions[entry->function];
  const StructArray<moe_output> outputs(outputArray, numOutputs);
  MOE_RETURN_IF_ERROR(outputs.check("outputs"));
  if (batch.routing_out && !entry->routingOut)
    return invalidArgument("entry '", entry->name,
                           "': expected a batch without routing_out, which "
                           "the entry was compiled without, found one with");
  MOE_RETURN_IF_ERROR(collect(*entry, batch));
  const auto variant = chooseVariant(*entry);
  if (!variant.ok())
    return variant.status();
  const auto pages = countPages(*entry);
  if (!pages.ok())
    return pages.status();
  MOE_RETURN_IF_ERROR(checkOutputs(function, outputs));
  if (batch.trace > MOE_TRACE_STEP)
    return invalidArgument("expected a batch with trace of at most ",
                           uint32_t{MOE_TRACE_STEP}, ", found ", batch.trace);
  if (batch.trace && device && !device->canTrace())
    return unsupported("expected a batch without trace, for the driver has no "
                       "events, found one with");
  MOE_RETURN_IF_ERROR(prepareRouting(*entry, batch));
  MOE_RETURN_IF_ERROR(prepareTokens(*entry, request));
  outputsKept = !request || outputs.size();
  MOE_RETURN_IF_ERROR(prepareMemory(function, *variant, *pages, outputs));
  if (batch.trace && !device && !stepTrace)
    stepTrace = std::make_unique<StepTrace>(model->host(), model->threads());
  MOE_RETURN_IF_ERROR(run(*variant, batch.trace));
  published = &function;
  routingKept = batch.routing_out != 0;
  if (device)
    collectResults();
  for (uint64_t i = 0; i < outputs.size(); ++i) {
    const uint64_t capacity = outputs[i].capacity;
    MOE_RETURN_IF_ERROR(writeInfo(describeOutput(i), &outputs[i]));
    outputs[i].capacity = capacity;
  }
  return absl::OkStatus();
}

absl::Status Session::prepareRouting(const Entry &entry,
                                     const moe_batch &batch) {
  const uint64_t tokens = builder.batch().extents.tokens;
  routingArrays = {};
  routingArrays.size = sizeof(routingArrays);
  if (batch.routing_out) {
    MOE_RETURN_IF_ERROR(routingExport.prepare(tokens));
    routingExport.addTo(routingArrays);
  }
  if (batch.num_routers) {
    MOE_RETURN_IF_ERROR(routingInputs.take(entry, batch, tokens));
    routingInputs.addTo(routingArrays);
  }
  if (batch.routing_out || batch.num_routers)
    builder.setRouting(&routingArrays);
  return absl::OkStatus();
}

absl::Status Session::prepareTokens(const Entry &entry,
                                    const TokenChoice::Request *request) {
  choice.clear();
  if (!request)
    return absl::OkStatus();
  const Function &function = model->description().functions[entry.function];
  if (function.outputs.empty())
    return invalidArgument("entry '", entry.name,
                           "': expected an output to choose tokens from, ",
                           "found none");
  const absl::Status taken =
      choice.take(*request, builder.batch().extents.logits_rows,
                  function.outputs.front().width);
  if (!taken.ok())
    choice.clear();
  return taken;
}

absl::Status Session::collect(const Entry &entry, const moe_batch &batch) {
  const StructArray<const moe_item> items(batch.items, batch.num_items);
  MOE_RETURN_IF_ERROR(items.check("items"));
  if (items.size() == 0)
    return invalidArgument("entry '", entry.name,
                           "': expected at least one item, found none");
  ++batches;
  builder.begin(entry);
  batchSequences.clear();
  for (uint64_t i = 0; i < items.size(); ++i) {
    auto sequence = sequenceOf(entry, items[i], i);
    if (!sequence.ok())
      return sequence.status();
    MOE_RETURN_IF_ERROR(builder.add(items[i], *sequence));
    if (*sequence)
      batchSequences.push_back(*sequence);
  }
  return builder.finish();
}

absl::StatusOr<PageList *>
Session::sequenceOf(const Entry &entry, const moe_item &item, uint64_t index) {
  const bool cached =
      model->description().functions[entry.function].cacheTokens != 0;
  if (cached != (item.sequence != nullptr))
    return invalidArgument("entry '", entry.name, "', item ", index,
                           ": expected ",
                           cached ? "a sequence, found NULL"
                                  : "no sequence, for it has no cache, found "
                                    "one");
  if (!item.sequence)
    return nullptr;
  SequenceState *sequence = handles::find(item.sequence);
  if (!sequence)
    return invalidArgument("entry '", entry.name, "', item ", index, ": ",
                           kNoSequence);
  if (sequence->session.get() != this)
    return invalidArgument("entry '", entry.name, "', item ", index,
                           ": expected a sequence of this session, found one "
                           "of another");
  if (sequence->lastBatch == batches)
    return invalidArgument("entry '", entry.name, "', item ", index,
                           ": expected each sequence once in a batch, found "
                           "one twice");
  sequence->lastBatch = batches;
  return &sequence->list;
}

absl::StatusOr<uint32_t> Session::chooseVariant(const Entry &entry) const {
  const std::vector<Variant> &variants = model->description().variants;
  const uint64_t tokens = builder.batch().extents.tokens;
  std::vector<std::string> ranges;
  const auto isRunnable = [&](const Variant &variant) {
    return variant.function == entry.function &&
           (device ? device->model().hasVariant(variant) : variant.available);
  };
  for (uint32_t i = 0; i < variants.size(); ++i) {
    const Variant &variant = variants[i];
    if (isRunnable(variant) && variant.minTokens <= tokens &&
        tokens <= variant.maxTokens &&
        (builder.modalities() & ~variant.modalities) == 0)
      return i;
  }
  for (const Variant &variant : variants)
    if (isRunnable(variant))
      ranges.push_back(absl::StrCat(variant.isa, " ", variant.minTokens, "..",
                                    variant.maxTokens));
  return unsupported("entry '", entry.name, "': expected a batch that one of ",
                     "its variants accepts (", absl::StrJoin(ranges, ", "),
                     " tokens, each for some modalities), found ", tokens,
                     " tokens");
}

absl::StatusOr<uint64_t> Session::countPages(const Entry &entry) const {
  uint64_t pages = 0;
  uint64_t tokens = 0;
  for (size_t i = 0; i < batchSequences.size(); ++i) {
    pages += pool.pagesNeeded(*batchSequences[i], builder.tokensOf(i));
    tokens += builder.tokensOf(i);
  }
  if (pages > pool.pagesAvailable())
    return overCapacity(
        "entry '", entry.name, "': needs ", pages * MOE_PAGE_TOKENS,
        " tokens of cache for ", tokens, " new ones, ",
        pool.pagesAvailable() * MOE_PAGE_TOKENS,
        " are available in the session (pages of ", MOE_PAGE_TOKENS, ")");
  return pages;
}

absl::Status Session::checkOutputs(const Function &function,
                                   StructArray<moe_output> outputs) const {
  const uint64_t rows = builder.batch().extents.logits_rows;
  for (uint64_t i = 0; i < outputs.size() && i < function.outputs.size(); ++i) {
    const Output &output = function.outputs[i];
    const uint64_t needed = rows * output.width;
    if (outputs[i].capacity == 0)
      continue;
    if (!outputs[i].data || outputs[i].capacity < needed)
      return invalidArgument("output '", output.name, "': expected room for ",
                             needed, " floats, found ",
                             outputs[i].data ? outputs[i].capacity : 0);
  }
  return absl::OkStatus();
}

absl::Status Session::prepareMemory(const Function &function, uint32_t variant,
                                    uint64_t pages,
                                    StructArray<moe_output> outputs) {
  const moe_extents_v1 &extents = builder.batch().extents;
  const absl::Status reserved = pool.reserve(pages);
  if (!reserved.ok())
    return device ? device->withPlan(reserved) : reserved;
  const uint64_t scratchBytes = model->code(variant).scratch_bytes(&extents);
  if (device) {
    uint64_t columns = 0;
    for (size_t i = 0; i < batchSequences.size(); ++i)
      columns = std::max(
          columns, pagesFor(batchSequences[i]->length + builder.tokensOf(i)));
    const bool choosesThere = choosesOnDevice();
    MOE_RETURN_IF_ERROR(device->withPlan(device->prepare(
        {&builder.batch(), &function, columns,
         choosesThere ? &choice : nullptr},
        scratchBytes, outputsKept || (choice.isWanted() && !choosesThere))));
  } else {
    MOE_RETURN_IF_ERROR(scratch.grow(scratchBytes));
  }
  for (size_t i = 0; i < function.outputs.size(); ++i) {
    if (i < outputs.size() && outputs[i].capacity != 0) {
      outputPointers[i] = outputs[i].data;
      continue;
    }
    if (device) { // where the results will arrive
      outputPointers[i] = nullptr;
      continue;
    }
    // One float more, so that a step without rows has buffers as well.
    const uint64_t floats = extents.logits_rows * function.outputs[i].width + 1;
    MOE_RETURN_IF_ERROR(outputBuffers[i].grow(floats * sizeof(float)));
    outputPointers[i] = outputBuffers[i].data();
  }
  return absl::OkStatus();
}

absl::Status Session::run(uint32_t variant, uint32_t trace) {
  for (size_t i = 0; i < batchSequences.size(); ++i)
    pool.extend(*batchSequences[i], builder.tokensOf(i));
  if (!batchSequences.empty())
    builder.setPages(batchSequences);
  int32_t status = MOE_STEP_OK;
  absl::Status ran = device ? runOnDevice(variant, trace, status)
                            : runOnHost(variant, trace, status);
  if (ran.ok() && status == MOE_STEP_OK && choice.isWanted())
    ran = chooseTokens();
  const bool done = ran.ok() && status == MOE_STEP_OK;
  for (size_t i = 0; i < batchSequences.size(); ++i) {
    PageList &list = *batchSequences[i];
    pool.shrink(list, list.length + (done ? builder.tokensOf(i) : 0));
  }
  MOE_RETURN_IF_ERROR(ran);
  if (status == MOE_STEP_PARALLEL_FAILED)
    return systemError("the threads of the engine could not run the step");
  if (status != MOE_STEP_OK)
    return absl::InternalError(
        absl::StrCat("'", model->path(), "': the step returned status ", status,
                     ", which this runtime does not know"));
  ++steps;
  lastVariant = variant;
  // A step that has happened does not fail for want of its stamps.
  traceKept = trace != MOE_TRACE_NONE;
  traceStatus = trace == MOE_TRACE_BARRIERS && !device
                    ? stepTrace->finish(model->path())
                    : absl::OkStatus();
  return absl::OkStatus();
}

absl::Status Session::runOnHost(uint32_t variant, uint32_t trace,
                                int32_t &status) {
  moe_step_v1 step = {};
  step.size = sizeof(step);
  step.host = trace == MOE_TRACE_BARRIERS ? stepTrace->begin() : model->host();
  step.batch = &builder.batch();
  step.weights = model->weights().pointers();
  step.states = pool.pointers();
  step.scratch = scratch.data();
  step.outputs = outputPointers.data();
  if (trace == MOE_TRACE_STEP)
    stepTrace->beginWhole();
  if (!model->weights().failed())
    status = model->code(variant).step(&step);
  if (trace == MOE_TRACE_STEP)
    stepTrace->finishWhole();
  if (model->weights().failed())
    return badArtifact("'", model->path(),
                       "': expected the weights that were "
                       "loaded, found their file cut short");
  return absl::OkStatus();
}

absl::Status Session::runOnDevice(uint32_t variant, uint32_t trace,
                                  int32_t &status) {
  return device->run(model->code(variant), model->host(), pool.pointers(),
                     trace, status);
}

absl::Status Session::chooseTokens() {
  if (!choosesOnDevice())
    return choice.choose(
        device ? device->output(0)
               : static_cast<const float *>(outputPointers.front()));
  const int32_t *tokens = device->tokens();
  const uint64_t rows = builder.batch().extents.logits_rows;
  const uint64_t bad = static_cast<uint64_t>(
      std::find_if(tokens, tokens + rows,
                   [](int32_t token) { return token < 0; }) -
      tokens);
  if (bad == rows) {
    choice.assign(tokens);
    return absl::OkStatus();
  }
  // The host knows what to say.
  const auto logits = device->fetchRow(bad);
  if (!logits.ok())
    return logits.status();
  MOE_RETURN_IF_ERROR(choice.chooseRow(bad, *logits));
  return absl::InternalError(absl::StrCat(
      "row ", bad, ": the device found no token, the host found one"));
}

void Session::collectResults() {
  const uint64_t rows = builder.batch().extents.logits_rows;
  for (size_t i = 0; outputsKept && i < published->outputs.size(); ++i) {
    const float *from = device->output(i);
    if (outputPointers[i])
      std::copy_n(from, rows * published->outputs[i].width,
                  static_cast<float *>(outputPointers[i]));
    else
      outputPointers[i] = const_cast<float *>(from);
  }
  if (routingKept)
    routingExport.assign(device->routingIds(), device->routingWeights());
}

moe_output Session::describeOutput(uint64_t index) const {
  moe_output output = {};
  output.size = sizeof(output);
  output.row_starts = builder.rowStarts();
  if (index < published->outputs.size()) {
    output.data = static_cast<float *>(outputPointers[index]);
    output.rows = builder.batch().extents.logits_rows;
    output.width = published->outputs[index].width;
  }
  return output;
}

absl::Status Session::output(uint64_t index, moe_output *into) {
  const Entered entered(*this);
  if (!entered)
    return busy();
  if (published && !outputsKept)
    return invalidArgument("expected a last step that was asked for outputs, "
                           "found one for tokens alone");
  if (!published || index >= published->outputs.size())
    return invalidArgument("expected an output below ",
                           published ? published->outputs.size() : 0,
                           " of the last step, found ", index);
  return writeInfo(describeOutput(index), into);
}

absl::Status Session::routing(uint32_t index, moe_routing *into) {
  const Entered entered(*this);
  if (!entered)
    return busy();
  if (!routingKept)
    return invalidArgument("expected a last step with routing_out");
  const size_t routers = model->description().routers.size();
  if (index >= routers)
    return invalidArgument("expected a router below ", routers, ", found ",
                           index);
  return writeInfo(routingExport.describe(index), into);
}

absl::Status Session::trace(moe_trace *into) {
  const Entered entered(*this);
  if (!entered)
    return busy();
  if (!traceKept)
    return invalidArgument("expected a last step with trace");
  MOE_RETURN_IF_ERROR(traceStatus);
  moe_trace described = device ? device->trace() : stepTrace->describe();
  described.variant = lastVariant;
  return writeInfo(described, into);
}

absl::Status Session::samplingInfo(moe_sampling_info *into) {
  const Entered entered(*this);
  if (!entered)
    return busy();
  moe_sampling_info info = {};
  info.size = sizeof(info);
  info.on_device = device && device->canChoose();
  info.remark =
      device && !info.on_device
          ? "the artifact is older than the kernel that chooses tokens"
          : "";
  return writeInfo(info, into);
}

absl::Status Session::deviceInfo(moe_device_info *into) {
  const Entered entered(*this);
  if (!entered)
    return busy();
  moe_device_info info = {};
  info.size = sizeof(info);
  info.device = device ? MOE_DEVICE_CUDA : MOE_DEVICE_CPU;
  info.remark = remark.c_str();
  info.name = "";
  info.level = "";
  if (device) {
    const DeviceModel &shared = device->model();
    const CudaDevice::Memory memory = shared.device()->memory();
    const DeviceSession::Memory own = device->memory();
    info.name = shared.device()->name().c_str();
    info.level = shared.level().name.c_str();
    info.capability_major = shared.device()->major();
    info.capability_minor = shared.device()->minor();
    info.total_bytes = memory.total;
    info.free_bytes = memory.free;
    info.weight_bytes = shared.weightBytes();
    info.constant_bytes = shared.constantBytes();
    info.cache_bytes = own.cache;
    info.scratch_bytes = own.scratch;
    info.output_bytes = own.outputs;
    info.batch_bytes = own.batch;
  }
  return writeInfo(info, into);
}

absl::Status Session::stats(moe_session_stats *into) {
  const Entered entered(*this);
  if (!entered)
    return busy();
  moe_session_stats stats = {};
  stats.size = sizeof(stats);
  stats.scratch_bytes = device ? device->memory().scratch : scratch.size();
  stats.cache_pages = pool.pages();
  stats.cache_pages_used = pool.pagesUsed();
  stats.sequences = numSequences;
  stats.steps = steps;
  stats.last_variant = lastVariant;
  return writeInfo(stats, into);
}
