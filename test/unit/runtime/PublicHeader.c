/* PublicHeader.c - the public header is enough for a C11 program. It comes
 * first and alone; StepTest.cpp calls the function. */
#include "moe/runtime.h"

#if __STDC_VERSION__ < 201112L
#error "this file checks that the header is C11"
#endif

moe_status fake_step_from_c(const char *path, const char *text, uint64_t count,
                            float *row, uint64_t width);

moe_status fake_step_from_c(const char *path, const char *text, uint64_t count,
                            float *row, uint64_t width) {
  moe_engine *engine = NULL;
  moe_model *model = NULL;
  moe_session *session = NULL;
  moe_sequence *sequence = NULL;
  const moe_input input = {sizeof(input), "text", 0, MOE_U8, text, count};
  moe_item item = {sizeof(item), NULL, &input, 1, NULL, 0};
  const moe_batch batch = {sizeof(batch), &item, 1, 0, 0, NULL, 0};
  moe_output output = {sizeof(output), row, width, 0, 0, NULL};

  moe_status status = moe_engine_create(NULL, &engine);
  if (status == MOE_OK)
    status = moe_model_load(engine, path, NULL, &model);
  if (status == MOE_OK)
    status = moe_session_create(model, NULL, &session);
  if (status == MOE_OK)
    status = moe_sequence_create(session, &sequence);
  if (status == MOE_OK) {
    item.sequence = sequence;
    status = moe_step(session, "prefill", &batch, &output, 1);
  }
  moe_engine_destroy(engine);
  moe_model_destroy(model);
  moe_session_destroy(session);
  moe_sequence_free(sequence);
  return status;
}
