/* FakeArtifact.c - an artifact written by hand against runtime/abi/moe_abi.h.
 *
 * FAKE_DIR is the folder of the generated manifest and weights. With
 * FAKE_EXTERNAL the second segment is a side file. With FAKE_DEVICE there is
 * code for devices as well, for the fake driver (FakeCuda.h), and a segment
 * with weights of theirs, which is a side file. */
#include "runtime/abi/moe_abi.h"
#include "test/unit/runtime/fake/FakeModel.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(FAKE_DEVICE)
#define FAKE_MANIFEST FAKE_DIR "/device.moem"
#elif defined(FAKE_EXTERNAL)
#define FAKE_MANIFEST FAKE_DIR "/external.moem"
#else
#define FAKE_MANIFEST FAKE_DIR "/embedded.moem"
#endif

#define EMBED(name, section, file)                                             \
  __asm__(".pushsection " section ",\"a\",@progbits\n"                         \
          ".p2align 6\n"                                                       \
          ".globl " #name "\n"                                                 \
          ".hidden " #name "\n" #name ":\n"                                    \
          ".incbin \"" file "\"\n"                                             \
          ".popsection\n");                                                    \
  __attribute__((visibility("hidden"))) extern const unsigned char name[]

EMBED(fake_manifest, ".moe.manifest", FAKE_MANIFEST);
EMBED(fake_embed, ".moe.weights", FAKE_DIR "/embed.bin");
#ifndef FAKE_EXTERNAL
EMBED(fake_head_data, ".moe.weights", FAKE_DIR "/fake.weights");
#endif

/* One region of a step. Its barrier rounds use the scratch: in each round every
 * participant writes the round to its slot and then checks all slots. */
typedef struct {
  const moe_step_v1 *step;
  int variant;
  int isDecoder;
} Context;

#define FAKE_SLOTS 64

static uint64_t cacheRow(const moe_batch_v1 *batch, int sequence,
                         int position) {
  const uint64_t at = (uint64_t)sequence * batch->pages_per_sequence +
                      (uint64_t)position / MOE_PAGE_TOKENS;
  return (uint64_t)batch->page_table[at] * MOE_PAGE_TOKENS +
         (uint64_t)position % MOE_PAGE_TOKENS;
}

static int sequenceOf(const moe_batch_v1 *batch, int token) {
  int sequence = 0;
  while (batch->cu_seqlens[sequence + 1] <= token)
    ++sequence;
  return sequence;
}

static void storeToken(const moe_step_v1 *step, int token) {
  const moe_batch_v1 *batch = step->batch;
  const int position = batch->positions[token];
  const uint64_t row = cacheRow(batch, sequenceOf(batch, token), position);
  float *values = (float *)step->states[0] + row * FAKE_HIDDEN;
  uint16_t *marks = (uint16_t *)step->states[1] + row * 2;
  const float *embedding = step->weights[0];
  const unsigned char *pixels = batch->raw[FAKE_IMAGE];
  const int id = batch->tokens[token];
  for (int i = 0; i < FAKE_HIDDEN; ++i)
    values[i] = batch->kinds[token] == FAKE_TEXT
                    ? embedding[id * FAKE_HIDDEN + i]
                    : fake_image_value(pixels[id * FAKE_HIDDEN + i]);
  marks[0] = (uint16_t)position;
  marks[1] = (uint16_t)batch->kinds[token];
}

static void decodeRow(const moe_step_v1 *step, int row) {
  const moe_batch_v1 *batch = step->batch;
  const int token = batch->logits_rows[row];
  const int sequence = sequenceOf(batch, token);
  const float *head = step->weights[1];
  float *logits = (float *)step->outputs[0] + row * FAKE_LOGITS;
  memset(logits, 0, FAKE_LOGITS * sizeof(float));
  for (int p = 0; p <= batch->positions[token]; ++p) {
    const uint64_t at = cacheRow(batch, sequence, p);
    const float *values = (const float *)step->states[0] + at * FAKE_HIDDEN;
    const uint16_t *marks = (const uint16_t *)step->states[1] + at * 2;
    /* A page that holds another position is a large error in every column. */
    const float wrong = marks[0] == p ? 0.0f : 1e9f;
    for (int j = 0; j < FAKE_LOGITS; ++j)
      for (int i = 0; i < FAKE_HIDDEN; ++i)
        logits[j] +=
            values[i] * head[i * FAKE_LOGITS + j] * fake_factor(p) + wrong;
  }
}

static void scoreRow(const moe_step_v1 *step, int row) {
  const moe_batch_v1 *batch = step->batch;
  const int token = batch->logits_rows[row];
  float *scores = (float *)step->outputs[0] + row * FAKE_SCORES;
  for (int j = 0; j < FAKE_SCORES; ++j)
    scores[j] = fake_score(batch->tokens[token], batch->kinds[token],
                           batch->positions[token], j);
}

static uint32_t barrierRounds(const moe_step_v1 *step,
                              const moe_worker_v1 *worker) {
  volatile uint32_t *slots = step->scratch;
  uint32_t errors = 0;
  for (uint32_t round = 1; round <= FAKE_BARRIER_ROUNDS; ++round) {
    slots[worker->thread] = round;
    step->host->barrier(worker);
    for (uint32_t i = 0; i < worker->threads; ++i)
      errors += slots[i] != round;
    step->host->barrier(worker);
  }
  return errors;
}

static void region(void *opaque, const moe_worker_v1 *worker) {
  const Context *context = opaque;
  const moe_step_v1 *step = context->step;
  const int tokens = (int)step->batch->extents.tokens;
  const int rows = (int)step->batch->extents.logits_rows;
  const int first = (int)worker->thread;
  const int stride = (int)worker->threads;
  uint32_t *errors = (uint32_t *)step->scratch + FAKE_SLOTS;
  errors[first] = barrierRounds(step, worker);
  if (context->isDecoder)
    for (int t = first; t < tokens; t += stride)
      storeToken(step, t);
  step->host->barrier(worker);
  for (int row = first; row < rows; row += stride) {
    float *trace = (float *)step->outputs[1] + row * FAKE_TRACE;
    if (context->isDecoder)
      decodeRow(step, row);
    else
      scoreRow(step, row);
    trace[0] = (float)context->variant;
    trace[1] = (float)worker->threads;
    trace[2] = 0;
    for (int i = 0; i < stride; ++i)
      trace[2] += (float)errors[i];
    trace[3] = FAKE_BARRIER_ROUNDS;
  }
}

/* Router 0 counts its experts to `count`, adds its bias to all weights, and
 * leaves out experts that are masked. */
static void exportRouting(const moe_batch_v1 *batch) {
  const moe_routing_io_v1 *routing = batch->routing;
  const int32_t *forced = routing->forced_ids ? routing->forced_ids[0] : NULL;
  const float *weights =
      routing->forced_weights ? routing->forced_weights[0] : NULL;
  const uint8_t *mask = routing->expert_mask ? routing->expert_mask[0] : NULL;
  const float *bias = routing->bias ? routing->bias[0] : NULL;
  const int count = routing->count ? routing->count[0] : 0;
  if (!routing->ids)
    return;
  for (int t = 0; t < (int)batch->extents.tokens; ++t)
    for (int s = 0; s < FAKE_SLOTS_PER_TOKEN; ++s) {
      const int at = t * FAKE_SLOTS_PER_TOKEN + s;
      int id = fake_expert(batch->positions[t], s);
      float weight = fake_expert_weight(batch->positions[t], s);
      if ((count && s >= count) || (mask && !mask[id]))
        id = -1;
      else if (bias)
        weight += bias[id];
      if (forced && forced[at] != -2) {
        id = forced[at];
        weight = weights ? weights[at] : weight;
      }
      routing->ids[0][at] = id;
      routing->weights[0][at] = id < 0 ? 0 : weight;
    }
}

static int32_t run(const moe_step_v1 *step, int variant, int isDecoder) {
  const moe_batch_v1 *batch = step->batch;
  if (step->size != sizeof(*step) || batch->size != sizeof(*batch) ||
      (uintptr_t)step->scratch % MOE_ALIGNMENT)
    return FAKE_UNKNOWN_STATUS + 1;
  for (uint64_t t = 0; isDecoder && t < batch->extents.tokens; ++t) {
    if (batch->kinds[t] != FAKE_TEXT)
      continue;
    if (batch->tokens[t] == FAKE_ID_FAILS)
      return MOE_STEP_PARALLEL_FAILED;
    if (batch->tokens[t] == FAKE_ID_UNKNOWN)
      return FAKE_UNKNOWN_STATUS;
    if (batch->tokens[t] == FAKE_ID_SLOW) {
      const struct timespec third = {0, 333000000};
      nanosleep(&third, NULL);
    }
  }
  if (batch->routing)
    exportRouting(batch);
  Context context = {step, variant, isDecoder};
  if (step->host->parallel(step->host->user, region, &context))
    return MOE_STEP_PARALLEL_FAILED;
  return MOE_STEP_OK;
}

static uint64_t scratchBytes(const moe_extents_v1 *extents) {
  return 2 * FAKE_SLOTS * sizeof(uint32_t) + 64 * extents->tokens;
}

#define STEP(n, isDecoder)                                                     \
  static int32_t step##n(const moe_step_v1 *step) {                            \
    return run(step, n, isDecoder);                                            \
  }
STEP(0, 1)
STEP(1, 1)
STEP(2, 1)
STEP(3, 1) STEP(4, 0) STEP(5, 0) STEP(6, 0)

#ifdef FAKE_DEVICE
#include "test/unit/runtime/fake/FakeDeviceCode.h"
#endif

#define VARIANT(n) {sizeof(moe_variant_v1), scratchBytes, step##n}
    static const moe_variant_v1 variants[] = {
        VARIANT(0), VARIANT(1), VARIANT(2), VARIANT(3), VARIANT(4),
        VARIANT(5), VARIANT(6),
#ifdef FAKE_DEVICE
        VARIANT(7), VARIANT(8), VARIANT(9), VARIANT(10)
#else
    {sizeof(moe_variant_v1), 0, 0}
#endif
};

static const moe_segment_v1 segments[] = {
    {sizeof(moe_segment_v1), FAKE_VOCAB * FAKE_HIDDEN * sizeof(float),
     fake_embed},
    {sizeof(moe_segment_v1), FAKE_HIDDEN * FAKE_LOGITS * sizeof(float),
#ifdef FAKE_EXTERNAL
     0
#else
     fake_head_data
#endif
    },
#ifdef FAKE_DEVICE
    {sizeof(moe_segment_v1), FAKE_HIDDEN * FAKE_LOGITS * sizeof(float), 0},
#endif
};

#define COUNT(array) (sizeof(array) / sizeof(array[0]))
static const moe_model_v1 model = {
#ifdef FAKE_DEVICE
    sizeof(moe_model_v1),
#else
    /* As before there were device levels. */
    offsetof(moe_model_v1, num_device_levels),
#endif
    MOE_ABI_VERSION,      COUNT(variants), COUNT(segments), 0, fake_manifest,
    FAKE_MANIFEST_BYTES,  variants,        segments,
#ifdef FAKE_DEVICE
    COUNT(levels),        levels
#else
    0,
    0
#endif
};

__attribute__((visibility("default"))) const moe_model_v1 *
moe_model_query_v1(uint32_t max_abi, const moe_host_v1 *host);

const moe_model_v1 *moe_model_query_v1(uint32_t max_abi,
                                       const moe_host_v1 *host) {
  if (max_abi < MOE_ABI_VERSION || host->size < sizeof(*host) ||
      !host->parallel || !host->barrier || !host->launch)
    return 0;
#ifdef FAKE_DEVICE
  damageLevels();
#endif
  return &model;
}
