/* FakeModel.h - what the fake artifact computes, small enough to check by hand.
 *
 * Included by the artifact (C), the generator of its manifest and the tests.
 * All values are small integers, so f32 sums are exact in any order. */
#ifndef MOEC_TEST_UNIT_RUNTIME_FAKE_FAKEMODEL_H
#define MOEC_TEST_UNIT_RUNTIME_FAKE_FAKEMODEL_H

enum {
  /* Modalities: bytes, images of two tokens with three pixels each, and a
   * larger vocabulary that only the scorer has. */
  FAKE_TEXT = 0,
  FAKE_IMAGE = 1,
  FAKE_WIDE = 2,
  FAKE_VOCAB = 256,
  FAKE_WIDE_VOCAB = 1000,
  FAKE_IMAGE_TOKENS = 2,

  FAKE_HIDDEN = 3,   /* width of the state "values" and of the embedding */
  FAKE_LOGITS = 256, /* as many as bytes, so that text can be generated */
  FAKE_SCORES = 4,
  FAKE_TRACE = 4, /* variant, threads, barrier errors, barrier rounds */
  FAKE_CACHE = 200,
  FAKE_MAX_SEQUENCE = 100,
  FAKE_BARRIER_ROUNDS = 10,
  FAKE_INTERVALS = 2 * FAKE_BARRIER_ROUNDS + 2, /* the last two do the work */
  FAKE_EXPERTS = 4, /* of router 0; router 1 belongs to nobody */
  FAKE_SLOTS_PER_TOKEN = 2,

  /* Text ids that make the decoder misbehave. */
  FAKE_ID_SLOW = 252,    /* takes a third of a second */
  FAKE_ID_UNKNOWN = 253, /* returns a status that nobody knows */
  FAKE_ID_FAILS = 254,   /* returns MOE_STEP_PARALLEL_FAILED */
  FAKE_UNKNOWN_STATUS = 77,

  /* Room in the manifest's section, so that tests can put another one in. */
  FAKE_MANIFEST_BYTES = 32768
};

/* Ordinals of the variants. */
enum {
  FAKE_DECODER_AVX512 = 0,
  FAKE_DECODER_AVX2 = 1,  /* text only */
  FAKE_DECODER_SMALL = 2, /* generic, up to 4 tokens */
  FAKE_DECODER_LARGE = 3, /* generic, from 5 tokens */
  FAKE_SCORER_AVX512 = 4,
  FAKE_SCORER_AVX2 = 5,
  FAKE_SCORER_GENERIC = 6,
  FAKE_DECODER_CUDA = 7, /* of fake artifacts without device code */
  FAKE_VARIANTS = 8
};

/* Ordinals of what fake-device.so has beside the variants before the last. */
enum {
  FAKE_DECODER_SM80 = 7,
  FAKE_SCORER_SM80 = 8,
  FAKE_DECODER_SM90A = 9,
  FAKE_SCORER_SM90A = 10,
  FAKE_DEVICE_VARIANTS = 11,

  FAKE_SM80 = 0, /* ordinals of its levels */
  FAKE_SM90A = 1,

  FAKE_STORE = 0, /* and of the kernels of both */
  FAKE_ROWS = 1,
  FAKE_ROUTE = 2,
  FAKE_SAMPLE = 3,
  FAKE_KERNELS = 4,
  /* What top_k makes the sampler do: find no token, and put a NaN there. */
  FAKE_NO_TOKEN = 1000001,
  FAKE_NAN = 1000002,
  FAKE_SHARED_BYTES = 100000,
  FAKE_DEVICE_INTERVALS = 2,
  FAKE_CONSTANT = 12345
};

/* The weights, row-major [FAKE_VOCAB, FAKE_HIDDEN] and
 * [FAKE_HIDDEN, FAKE_LOGITS]. The device has the second one of its own, in
 * which every value is negative. */
static inline float fake_embedding(int id, int i) {
  return (float)((id * 7 + i * 3) % 11);
}
static inline float fake_head(int i, int j) {
  return (float)((i * 5 + j * 3) % 13);
}

/* The decoder: a token's value goes into the cache; a result row is the sum
 * over all positions up to its own of value * head * fake_factor(position). */
static inline float fake_image_value(unsigned char pixel) {
  return (float)pixel + 100.0f;
}
static inline float fake_factor(int position) {
  return (float)(position % 3 + 1);
}

/* Router 0, of the decoder: what it says it chose. */
static inline int fake_expert(int position, int slot) {
  return (position + slot) % FAKE_EXPERTS;
}
static inline float fake_expert_weight(int position, int slot) {
  return (float)(position * 2 + slot);
}

/* The scorer: no cache, each row by itself. */
static inline float fake_score(int id, int kind, int position, int j) {
  return (float)(id * (j + 1) + 1000 * kind + position);
}

#endif /* MOEC_TEST_UNIT_RUNTIME_FAKE_FAKEMODEL_H */
