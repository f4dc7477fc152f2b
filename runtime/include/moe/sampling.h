/* sampling.h - chooses the next token from a row of logits.
 *
 * Plain C11 over runtime.h, whose rules on errors and structs hold here, too.
 * generate.hpp has C++17 owners and a loop that decodes many prompts at once;
 * docs/generation.md is the guide.
 *
 * A row goes through these filters in this order, each as the logits processors
 * of Hugging Face transformers define it:
 *
 *   repetition_penalty  tokens of the history: a logit that is positive is
 *                       divided by it, another one multiplied; the result
 *                       is rounded to f32, as logits are
 *   temperature         all logits are divided by it
 *   top_k               tokens below the k-th largest logit go; those equal to
 *                       it stay, even if there are more than k
 *   top_p               the most probable tokens stay, as many as it takes to
 *                       reach this sum of probabilities; of equal ones the
 *                       lower id counts as the more probable
 *   min_p               tokens below this part of the largest probability go
 *
 * One token of the rest is drawn with the probabilities that are left, scaled
 * to a sum of 1. Temperature 0 takes the largest logit after the penalty
 * instead, of equal ones the lowest id.
 *
 * Arithmetic is in double precision. Probabilities are then rounded to whole
 * multiples of a part of the largest one, 2^-44 for a width of 2^18, so that
 * sums of them do not depend on their order: a device chooses the same tokens.
 * What rounds to 0 never comes.
 *
 * The random number of a draw is Philox4x32-10 of (seed; position, stream) and
 * of nothing else: a sequence gets the same tokens alone, in any batch, and
 * continued after a pause. */
#ifndef MOEC_RUNTIME_INCLUDE_MOE_SAMPLING_H
#define MOEC_RUNTIME_INCLUDE_MOE_SAMPLING_H

#include "moe/runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct moe_sampling_options {
  uint64_t size;
  double temperature;        /* 0 or more; 0: the most probable token */
  double top_p;              /* above 0, up to 1; 1: all */
  double min_p;              /* 0 to 1; 0: all */
  double repetition_penalty; /* above 0; 1: none */
  uint64_t seed;
  uint32_t top_k;    /* 0: all */
  uint32_t reserved; /* 0 */
} moe_sampling_options;

/* Sets all fields, size included, to the defaults: temperature 0 and no filter,
 * seed 0. Fields that a shorter struct lacks have these values as well. */
MOE_API void moe_sampling_default_options(moe_sampling_options *options);

/* Lifetime: until destroyed. It depends on no other object.
 * Sharing:  any number of sequences and models.
 * Threads:  one thread at a time; a call that finds another thread inside
 *           returns MOE_ERROR_BUSY and does nothing. */
typedef struct moe_sampler moe_sampler;

/* options may be NULL: the defaults. Values outside of their ranges, NaN
 * included, are MOE_ERROR_INVALID_ARGUMENT. */
MOE_API moe_status moe_sampler_create(const moe_sampling_options *options,
                                      moe_sampler **sampler);
MOE_API void moe_sampler_destroy(moe_sampler *sampler);

/* A row of logits and whose it is. All arrays are the caller's, read during the
 * call only. */
typedef struct moe_sampler_row {
  uint64_t size;
  const float *logits;    /* [width]; -infinity: never this token */
  uint64_t width;         /* 1 to 2^31 - 1 */
  uint64_t stream;        /* number of the sequence */
  uint64_t position;      /* of the token to be chosen, in its sequence */
  const int32_t *history; /* [num_history] tokens for the penalty, in any order,
                             repeated or not; NULL without */
  uint64_t num_history;
} moe_sampler_row;

/* Chooses a token, 0 .. width - 1. Logits that are NaN or +infinity, a row
 * without a finite one, and tokens of the history outside of the row are
 * MOE_ERROR_INVALID_ARGUMENT. After the first row of a width, nothing is
 * allocated. */
MOE_API moe_status moe_sampler_choose(moe_sampler *sampler,
                                      const moe_sampler_row *row,
                                      int32_t *token);

/* What is left of a row, ids ascending. Of the sampler, valid until its next
 * call. */
typedef struct moe_distribution {
  uint64_t size;
  const int32_t *ids;          /* [count] */
  const double *probabilities; /* [count], their sum is 1 */
  uint64_t count;
} moe_distribution;

/* The distribution from which moe_sampler_choose draws; with temperature 0 one
 * token. The row's stream and position do not matter. */
MOE_API moe_status moe_sampler_get_distribution(moe_sampler *sampler,
                                                const moe_sampler_row *row,
                                                moe_distribution *distribution);

/* ---- tokens of a step -------------------------------------------------- */

/* How the token behind one result row of a step is chosen; as moe_sampler_row,
 * with options of its own. All is read during the call only. */
typedef struct moe_token_request {
  uint64_t size;
  const moe_sampling_options *options; /* NULL: the defaults */
  uint64_t stream;
  uint64_t position;
  const int32_t *history; /* read where there is a penalty */
  uint64_t num_history;
} moe_token_request;

/* moe_step, and then for each row of the first output, all of whose rows have a
 * request, the token that moe_sampler_choose would choose, into
 * tokens[num_requests].
 *
 * In a session on a device tokens are chosen there, if it can
 * (moe_session_get_sampling). Nothing but tokens, and what routers chose where
 * that is asked for, is copied to the host when num_outputs is 0; the step then
 * has no outputs for moe_session_get_output.
 *
 * A row from which no token can be chosen fails the step, and as after every
 * failure no sequence has changed. */
MOE_API moe_status moe_step_tokens(moe_session *session, const char *entry,
                                   const moe_batch *batch,
                                   const moe_token_request *requests,
                                   uint64_t num_requests, int32_t *tokens,
                                   moe_output *outputs, uint64_t num_outputs);

/* Where moe_step_tokens chooses. */
typedef struct moe_sampling_info {
  uint64_t size;
  uint32_t on_device;
  uint32_t reserved;
  const char *remark; /* why a session on a device copies logits to the host
                         instead; "" otherwise. Of the library */
} moe_sampling_info;

MOE_API moe_status moe_session_get_sampling(moe_session *session,
                                            moe_sampling_info *info);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* MOEC_RUNTIME_INCLUDE_MOE_SAMPLING_H */
