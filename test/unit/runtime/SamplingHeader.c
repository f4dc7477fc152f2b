/* SamplingHeader.c - sampling.h is enough for a C11 program that samples. It
 * comes first and alone; SamplerTest.cpp calls the function. */
#include "moe/sampling.h"

#if __STDC_VERSION__ < 201112L
#error "this file checks that the header is C11"
#endif

moe_status sample_from_c(const float *logits, uint64_t width,
                         double temperature, int32_t *token);

moe_status sample_from_c(const float *logits, uint64_t width,
                         double temperature, int32_t *token) {
  moe_sampling_options options;
  moe_sampler *sampler = NULL;
  const moe_sampler_row row = {sizeof(row), logits, width, 0, 0, NULL, 0};
  moe_sampling_default_options(&options);
  options.temperature = temperature;
  moe_status status = moe_sampler_create(&options, &sampler);
  if (status == MOE_OK)
    status = moe_sampler_choose(sampler, &row, token);
  moe_sampler_destroy(sampler);
  return status;
}
