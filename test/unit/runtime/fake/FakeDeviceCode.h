/* FakeDeviceCode.h - the device code of fake-device.so; a part of
 * FakeArtifact.c.
 *
 * Kernels do what the processor's code does, on a view of the step in which the
 * device's addresses are the host's. */
#ifndef MOEC_TEST_UNIT_RUNTIME_FAKE_FAKEDEVICECODE_H
#define MOEC_TEST_UNIT_RUNTIME_FAKE_FAKEDEVICECODE_H

#include "test/unit/runtime/fake/FakeCuda.h"

#include <math.h>

#define HERE(field) ((field) = (field) ? FAKE_FROM_DEVICE(void *, field) : 0)

typedef struct {
  moe_step_v1 step;
  moe_batch_v1 batch;
  moe_routing_io_v1 routing;
  const void *weights[3];
  void *states[2];
  void *outputs[2];
  void *lists[6][2]; /* of routing */
} View;

/* A list of arrays, one for each router. */
static void *takeList(const void *list, void **into) {
  if (!list)
    return 0;
  for (int i = 0; i < 2; ++i) {
    into[i] = FAKE_FROM_DEVICE(void **, list)[i];
    HERE(into[i]);
  }
  return into;
}

static void makeView(const moe_step_v1 *onDevice, View *view) {
  view->step = *FAKE_FROM_DEVICE(const moe_step_v1 *, onDevice);
  view->batch = *FAKE_FROM_DEVICE(const moe_batch_v1 *, view->step.batch);
  moe_batch_v1 *batch = &view->batch;
  view->step.batch = batch;
  const void *const *weights =
      FAKE_FROM_DEVICE(const void *const *, view->step.weights);
  for (int i = 0; i < 3; ++i)
    view->weights[i] =
        weights[i] ? FAKE_FROM_DEVICE(const void *, weights[i]) : 0;
  /* The processor's code looks for the second one. */
  view->weights[1] = view->weights[2];
  view->step.weights = view->weights;
  void *const *states = FAKE_FROM_DEVICE(void *const *, view->step.states);
  void *const *outputs = FAKE_FROM_DEVICE(void *const *, view->step.outputs);
  for (int i = 0; i < 2; ++i) {
    view->states[i] = states[i] ? FAKE_FROM_DEVICE(void *, states[i]) : 0;
    view->outputs[i] = FAKE_FROM_DEVICE(void *, outputs[i]);
  }
  view->step.states = view->states;
  view->step.outputs = view->outputs;
  HERE(view->step.scratch);
  HERE(view->step.constants);
  HERE(batch->tokens);
  HERE(batch->kinds);
  HERE(batch->positions);
  HERE(batch->cu_seqlens);
  HERE(batch->page_table);
  HERE(batch->logits_rows);
  for (int i = 0; i < (int)MOE_MAX_MODALITIES; ++i)
    HERE(batch->raw[i]);
  if (!batch->routing)
    return;
  view->routing = *FAKE_FROM_DEVICE(const moe_routing_io_v1 *, batch->routing);
  moe_routing_io_v1 *io = &view->routing;
  io->ids = (int32_t *const *)takeList(io->ids, view->lists[0]);
  io->weights = (float *const *)takeList(io->weights, view->lists[1]);
  io->forced_ids =
      (const int32_t *const *)takeList(io->forced_ids, view->lists[2]);
  io->forced_weights =
      (const float *const *)takeList(io->forced_weights, view->lists[3]);
  io->expert_mask =
      (const uint8_t *const *)takeList(io->expert_mask, view->lists[4]);
  io->bias = (const float *const *)takeList(io->bias, view->lists[5]);
  HERE(io->count);
  batch->routing = &view->routing;
}

/* Parameters: the step, the scratch, whether it is the decoder. Leaves a mark
 * for the rows that follow. */
static void storeKernel(const FakeBlock *block) {
  View view;
  makeView((const moe_step_v1 *)(uintptr_t)block->parameters[0], &view);
  if (block->parameters[2])
    storeToken(&view.step, (int)block->block[0]);
  uint32_t *marks = FAKE_FROM_DEVICE(uint32_t *, block->parameters[1]);
  marks[block->block[0]] = block->block[0] + 7;
}

/* Parameters: the step, the variant, whether it is the decoder, what the host
 * took for the address of the second output. */
static void rowsKernel(const FakeBlock *block) {
  View view;
  makeView((const moe_step_v1 *)(uintptr_t)block->parameters[0], &view);
  const int row = (int)block->block[0];
  if (block->parameters[2])
    decodeRow(&view.step, row);
  else
    scoreRow(&view.step, row);
  const uint32_t *marks = view.step.scratch;
  const int token = view.batch.logits_rows[row];
  int errors = marks[token] != (uint32_t)token + 7;
  errors += *(const int *)view.step.constants != FAKE_CONSTANT;
  errors += FAKE_FROM_DEVICE(void *, block->parameters[3]) != view.outputs[1];
  errors += view.step.device != 0 || view.step.host != 0;
  errors += block->sharedBytes != FAKE_SHARED_BYTES;
  float *trace = (float *)view.outputs[1] + row * FAKE_TRACE;
  trace[0] = (float)block->parameters[1];
  trace[1] = (float)block->threads;
  trace[2] = (float)errors;
  trace[3] = (float)block->grid[0];
}

/* Parameters: the step, the ids of the first router. */
static void routeKernel(const FakeBlock *block) {
  View view;
  makeView((const moe_step_v1 *)(uintptr_t)block->parameters[0], &view);
  if (FAKE_FROM_DEVICE(int32_t *, block->parameters[1]) == view.lists[0][0])
    exportRouting(&view.batch);
}

/* Parameters: the step. The largest logit, or, with a temperature, what makes
 * the random number known, or, with a history, the last token in it. */
static void sampleKernel(const FakeBlock *block) {
  const moe_step_v1 *step =
      FAKE_FROM_DEVICE(const moe_step_v1 *, block->parameters[0]);
  const moe_sampling_v1 *sampling =
      FAKE_FROM_DEVICE(const moe_sampling_v1 *, step->sampling);
  const uint32_t row = block->block[0];
  float *logits =
      FAKE_FROM_DEVICE(float *, sampling->logits) + row * sampling->width;
  const moe_sampling_row_v1 *wanted =
      FAKE_FROM_DEVICE(const moe_sampling_row_v1 *, sampling->rows) + row;
  int32_t token = 0;
  for (uint64_t i = 1; i < sampling->width; ++i)
    token = logits[i] > logits[token] ? (int32_t)i : token;
  if (wanted->scale != 0)
    token = (int32_t)((wanted->random >> 32) % sampling->width);
  if (wanted->history_count) {
    const uint64_t last = wanted->history_begin + wanted->history_count - 1;
    FAKE_FROM_DEVICE(float *, sampling->saved)[last] = 1;
    token = FAKE_FROM_DEVICE(const int32_t *, sampling->history)[last];
  }
  if (wanted->top_k == FAKE_NAN)
    logits[1] = NAN;
  if (wanted->top_k == FAKE_NAN || wanted->top_k == FAKE_NO_TOKEN)
    token = -1;
  FAKE_FROM_DEVICE(int32_t *, sampling->tokens)[row] = token;
}

static int32_t launch(const moe_step_v1 *step, uint32_t kernel, uint64_t blocks,
                      uint32_t shared, uint32_t count,
                      const uint64_t *arguments) {
  const moe_launch_v1 given = {sizeof(given), kernel,
                               shared,        {(uint32_t)blocks, 1, 1},
                               count,         arguments};
  return step->host->launch(step, &given);
}

static int32_t runOnDevice(const moe_step_v1 *step, int variant,
                           int isDecoder) {
  const moe_batch_v1 *batch = step->batch;
  const uint64_t store[] = {(uint64_t)step->scratch, (uint64_t)isDecoder};
  const uint64_t rows[] = {(uint64_t)variant, (uint64_t)isDecoder,
                           (uint64_t)step->outputs[1]};
  if (launch(step, FAKE_STORE, batch->extents.tokens, 0, 2, store) ||
      launch(step, FAKE_ROWS, batch->extents.logits_rows, FAKE_SHARED_BYTES, 3,
             rows))
    return MOE_STEP_LAUNCH_FAILED;
  if (batch->routing && batch->routing->ids) {
    const uint64_t ids = (uint64_t)batch->routing->ids[0];
    if (launch(step, FAKE_ROUTE, 1, 0, 1, &ids))
      return MOE_STEP_LAUNCH_FAILED;
  }
  return MOE_STEP_OK;
}

static int32_t sampleOnDevice(const moe_step_v1 *step) {
  return launch(step, FAKE_SAMPLE, step->batch->extents.logits_rows, 0, 0, 0)
             ? MOE_STEP_LAUNCH_FAILED
             : MOE_STEP_OK;
}

#define DEVICE_STEP(n, isDecoder)                                              \
  static int32_t step##n(const moe_step_v1 *step) {                            \
    return runOnDevice(step, n, isDecoder);                                    \
  }
DEVICE_STEP(7, 1)
DEVICE_STEP(8, 0)
DEVICE_STEP(9, 1)
DEVICE_STEP(10, 0)

static const FakeKernel code[FAKE_KERNELS] = {{"store", 3, 0, storeKernel},
                                              {"rows", 4, 0, rowsKernel},
                                              {"route", 2, 0, routeKernel},
                                              {"sample", 1, 0, sampleKernel}};
static const FakeImage image = {FAKE_IMAGE_MAGIC, 12080, FAKE_KERNELS, code, 0};
static const int constant = FAKE_CONSTANT;

static const moe_kernel_v1 kernels[FAKE_KERNELS] = {
    {sizeof(moe_kernel_v1), "store", 32, 0},
    {sizeof(moe_kernel_v1), "rows", 128, FAKE_SHARED_BYTES},
    {sizeof(moe_kernel_v1), "route", 32, 0},
    {sizeof(moe_kernel_v1), "sample", 64, 0}};
/* No IR for sm_80: it was compiled without. */
static const moe_device_image_v1 images[] = {
    {sizeof(moe_device_image_v1), MOE_IMAGE_PTX, 0, sizeof(image), &image},
    {sizeof(moe_device_image_v1), MOE_IMAGE_LLVM_IR, 0, sizeof(image), &image}};

#define LEVEL(name, major, exact, numImages)                                   \
  {sizeof(moe_device_level_v1),                                                \
   name,                                                                       \
   major,                                                                      \
   0,                                                                          \
   exact,                                                                      \
   FAKE_KERNELS,                                                               \
   numImages,                                                                  \
   0,                                                                          \
   kernels,                                                                    \
   images,                                                                     \
   &constant,                                                                  \
   sizeof(constant),                                                           \
   sampleOnDevice}
static moe_device_level_v1 levels[] = {LEVEL("sm_80", 8, 0, 1),
                                       LEVEL("sm_90a", 9, 1, 2)};

/* Does to the tables what FAKE_DAMAGE in the environment says. */
static void damageLevels(void) {
  const char *damage = getenv("FAKE_DAMAGE");
  static moe_kernel_v1 kernel = {sizeof(kernel), "store", 32, 0};
  static moe_device_image_v1 bad = {sizeof(bad), MOE_IMAGE_PTX, 0, 3, "abc"};
  moe_device_level_v1 *level = &levels[FAKE_SM90A];
  if (!damage)
    return;
  if (!strcmp(damage, "size"))
    level->size = 8;
  if (!strcmp(damage, "name"))
    level->name = "sm_100a";
  if (!strcmp(damage, "no name"))
    level->name = 0;
  if (!strcmp(damage, "no kernels"))
    level->kernels = 0;
  if (!strcmp(damage, "threads"))
    kernel.threads = 2000;
  if (!strcmp(damage, "kernel name"))
    kernel.name = "unheard of";
  if (!strcmp(damage, "threads") || !strcmp(damage, "kernel name")) {
    level->kernels = &kernel;
    level->num_kernels = 1;
  }
  if (!strcmp(damage, "text"))
    level->images = &bad;
  if (!strcmp(damage, "no data"))
    bad.data = 0;
  if (!strcmp(damage, "text") || !strcmp(damage, "no data")) {
    level->images = &bad;
    level->num_images = 1;
  }
  if (!strcmp(damage, "constants"))
    level->constants = 0;
  /* As before levels had a sampler. */
  if (!strcmp(damage, "old"))
    for (int i = 0; i < 2; ++i) {
      moe_device_level_v1 older = levels[i];
      older.size = offsetof(moe_device_level_v1, sample);
      memcpy((char *)levels + i * older.size, &older, older.size);
    }
  if (!strcmp(damage, "kernels"))
    level->num_kernels = 1;
}

#endif /* MOEC_TEST_UNIT_RUNTIME_FAKE_FAKEDEVICECODE_H */
