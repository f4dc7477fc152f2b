/* moe_abi.h - the contract between a compiled artifact and its host.
 *
 * This header is plain C11 and depends on nothing but the C standard headers.
 * The compiler emits tables of these structs, the runtime reads them; nothing
 * else crosses the border. docs/abi.md explains the protocol.
 *
 * Rules of change
 *   - Structs are append-only and start with their size in bytes, so that an
 *     older reader ignores new fields and a newer reader sees old ones end.
 *   - A change that is not append-only takes a new query symbol
 *     (moe_model_query_v2) and a new MOE_ABI_VERSION.
 *   - Integers have a fixed width. Pointers are 64 bits. Everything is little
 *     endian. No struct has hidden padding; the assertions below check it.
 *
 * Ownership: whoever fills a struct owns what it points to. Nothing is freed
 * across the border.
 */
#ifndef MOEC_RUNTIME_ABI_MOE_ABI_H
#define MOEC_RUNTIME_ABI_MOE_ABI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Version of this header's protocol; the artifact states the one it needs. */
#define MOE_ABI_VERSION 1u

/* The one symbol that an artifact exports. */
#define MOE_MODEL_QUERY_SYMBOL "moe_model_query_v1"

/* ELF section of the FlatBuffers manifest (runtime/abi/manifest.fbs), so that
 * an artifact can be read without being executed. */
#define MOE_MANIFEST_SECTION ".moe.manifest"

/* Most modalities that one model may declare. */
#define MOE_MAX_MODALITIES 8u

/* Tokens per page of a per-token state, and the block of keys in which
 * attention sums: one number, so that a block never straddles two pages. */
#define MOE_PAGE_TOKENS 64u

/* Alignment in bytes of scratch, state pools and weights. */
#define MOE_ALIGNMENT 64u

/* Status of a step, as the generated code returns it. 0 is success. */
enum {
  MOE_STEP_OK = 0,
  /* The host could not run the team of threads (moe_host_v1.parallel). */
  MOE_STEP_PARALLEL_FAILED = 1,
  /* The host could not start a kernel (moe_host_v1.launch). */
  MOE_STEP_LAUNCH_FAILED = 2
};

/* ---- host to artifact -------------------------------------------------- */

/* One participant of a parallel region. Lives as long as the region. */
typedef struct moe_worker_v1 {
  uint64_t size;
  uint32_t thread;  /* 0 .. threads-1, all distinct */
  uint32_t threads; /* participants of this region, at least 1 */
  void *team;       /* of the host; handed back in barrier() */
} moe_worker_v1;

/* The body of a parallel region. */
typedef void (*moe_region_fn)(void *ctx, const moe_worker_v1 *worker);

typedef struct moe_step_v1 moe_step_v1;

/* One kernel launch of a device variant: `kernel` of the variant's level on a
 * grid of blocks. Arguments are 64 bits each, device addresses or integers; the
 * first parameter of every kernel, which is not among them, is
 * moe_step_v1.on_device. Launches of a step run one after the other, each sees
 * what those before it wrote. */
typedef struct moe_launch_v1 {
  uint64_t size;
  uint32_t kernel;       /* ordinal in moe_device_level_v1.kernels */
  uint32_t shared_bytes; /* dynamic shared memory of a block */
  uint32_t grid[3];      /* blocks; nothing is launched where one is 0 */
  uint32_t num_args;
  const uint64_t *args; /* [num_args] */
} moe_launch_v1;

/* What the host offers to generated code. moe_imports.def lists the functions.
 *
 * parallel: runs `fn(ctx, worker)` once for each of n participants, n chosen by
 *   the host, all of which make progress at the same time, and returns 0 after
 *   the last has returned; or runs none and returns non-zero. A host that
 *   cannot run n participants runs one.
 * barrier: returns when every participant of the region has called it. All
 *   memory effects before it are visible after it.
 *
 * launch: starts a kernel for a step of a device variant, or records it, and
 *   returns 0; non-zero ends the step. Needed by artifacts with device levels
 *   only, NULL otherwise.
 *
 * Thread rule: all may be called from several sessions at once. */
typedef struct moe_host_v1 {
  uint64_t size;
  uint32_t abi_version; /* MOE_ABI_VERSION of the host */
  uint32_t reserved;    /* 0 */
  void *user;           /* of the host; first argument of parallel */
  int32_t (*parallel)(void *user, moe_region_fn fn, void *ctx);
  void (*barrier)(const moe_worker_v1 *worker);
  int32_t (*launch)(const moe_step_v1 *step, const moe_launch_v1 *launch);
} moe_host_v1;

/* Sizes that vary from step to step. Scratch is a function of them. */
typedef struct moe_extents_v1 {
  uint64_t size;
  uint64_t tokens;      /* T */
  uint64_t sequences;   /* B */
  uint64_t logits_rows; /* R */
  uint64_t raw_inputs[MOE_MAX_MODALITIES]; /* raw inputs, by modality id */
} moe_extents_v1;

/* Run-time operands of routing (docs/abi.md); NULL in a batch means none. A
 * field that is not NULL needs an entry that accepts it (Manifest.entries).
 *
 * ids, weights  [routers of the manifest] where the step writes what each
 *               router chose, NULL in an element: not wanted. Row-major
 *               i32 and f32 [T, slots of the router]; id -1 and weight 0 in
 *               slots without an expert, and in all slots of tokens for which
 *               this router does not decide (another modality's). The arrays of
 *               routers that the function does not have are left as they are.
 *               Needs `routing_out`
 * forced_ids    [routers] what takes the place of a router's ids, after
 *               capacity; NULL in an element: nothing. [T, slots]; id -1: no
 *               expert; -2: what the router chooses. Rows of tokens for which
 *               the router does not decide mean nothing. Needs `routing_in`
 * forced_weights  [routers] f32 [T, slots], their weights; NULL in an element:
 *               those that the router gives to these ids in this step, which
 *               needs `Router.weighs_any`
 * expert_mask   [routers] [experts], 0: the expert is never chosen. Acts on
 *               logits and rank. Needs `expert_mask`
 * bias          [routers] f32 [experts], added to the logits. Needs
 *               `router_bias`
 * count         [routers of the manifest] experts per token, at most; 0:
 *               as compiled. Needs `k_override` */
typedef struct moe_routing_io_v1 {
  uint64_t size;
  int32_t *const *ids;
  float *const *weights;
  const int32_t *const *forced_ids;
  const float *const *forced_weights;
  const uint8_t *const *expert_mask;
  const float *const *bias;
  const int32_t *count;
} moe_routing_io_v1;

/* One batch: tokens of B sequences, one after the other.
 *
 * tokens[t]     token modality: the id; raw modality: the row of raw[kind],
 *               that is raw input * tokens per input + token of the input
 * kinds[t]      modality id of token t
 * positions[t]  position of token t in its (merged) sequence, from 0
 * cu_seqlens    sequence b owns tokens cu_seqlens[b] .. cu_seqlens[b+1]-1, in
 *               ascending, consecutive positions
 * page_table    [B, pages_per_sequence]: page p of sequence b, in units of
 *               MOE_PAGE_TOKENS tokens, holds positions 64 p .. 64 p + 63;
 *               pages below (last position / 64) + 1 are valid. NULL for
 *               entries without a cache
 * slots         [B] row of sequence b in per-sequence states; NULL without
 * logits_rows   [R] the tokens whose results are wanted, ascending or not
 * raw[m]        raw inputs of modality m, contiguous, row-major
 *
 * All arrays stay unchanged during the step. The runtime has checked every
 * index; generated code does not. */
typedef struct moe_batch_v1 {
  uint64_t size;
  moe_extents_v1 extents;
  const int32_t *tokens;
  const int8_t *kinds;
  const int32_t *positions;
  const int32_t *cu_seqlens;
  const int32_t *page_table;
  uint64_t pages_per_sequence;
  const int32_t *slots;
  const int32_t *logits_rows;
  const void *raw[MOE_MAX_MODALITIES];
  const moe_routing_io_v1 *routing;
} moe_batch_v1;

/* How the token behind one row of results is chosen (moe/sampling.h says what
 * the options mean). A token's weight is
 *   2^((logit - largest logit) * scale) * 2^unit_bits
 * by the operations of runtime/lib/sample/Weight.h, the power by the polynomial
 * of moe_exp2.def; in sums it is rounded to a whole number. */
typedef struct moe_sampling_row_v1 {
  uint64_t size;     /* the same in all rows */
  double scale;      /* log2(e) / temperature; 0: the largest logit, of equal
                        ones the lowest id, and nothing else counts */
  double top_p;      /* 1: all */
  double min_weight; /* tokens of less weight, not rounded, go */
  uint64_t random;   /* the first 64 bits of the random number in [0, 1) */
  uint64_t top_k;    /* 0: all */
  double penalty;    /* positive logits of tokens in the history are divided by
                        it, others multiplied, and rounded to f32 */
  uint64_t history_begin; /* in moe_sampling_v1.history; */
  uint64_t history_count; /* 0: there is no penalty */
} moe_sampling_row_v1;

/* What moe_device_level_v1.sample works on: the tokens behind all rows of a
 * step's first output. On the device, as all that its kernels look at. */
typedef struct moe_sampling_v1 {
  uint64_t size;
  uint64_t width;                  /* of a row, below 2^31 */
  uint64_t unit_bits;              /* width * 2^unit_bits is at most 2^62 */
  float *logits;                   /* [R, width] as they were, afterwards */
  const moe_sampling_row_v1 *rows; /* [R] */
  int32_t *tokens; /* [R] what was chosen; -1: a logit is NaN or +infinity, or
                      none is finite, or a penalty leads out of f32 */
  const int32_t *history; /* tokens of all rows, repeated or not */
  float *saved;           /* room for as many floats */
} moe_sampling_v1;

/* What one step works on. The arrays are indexed by the ordinals of the
 * manifest: weights by Manifest.weights, states by Manifest.states, outputs by
 * Function.outputs.
 *
 * Steps of a device variant: this struct, the batch and the arrays of pointers
 * lie in host memory, every pointer to data in them (tokens, weights[i],
 * scratch, ..) is a device address, which the step computes with but never
 * follows. The last four fields are NULL for variants of the processor. */
struct moe_step_v1 {
  uint64_t size;
  const moe_host_v1 *host;
  const moe_batch_v1 *batch;
  const void *const *weights; /* [W] */
  void *const *states;        /* [S] page pools: page i of state s starts at
                                 states[s] + i * 64 * row bytes */
  void *scratch;              /* scratch_bytes(&batch->extents), aligned */
  void *const *outputs;       /* [O] row-major f32 [R, width] */
  void *device;               /* of the host, for launch() */
  const moe_step_v1 *on_device; /* device address of a copy of this struct whose
                                   pointers, those to the batch, its routing
                                   and arrays included, are device addresses */
  const void *constants;      /* device address of the level's constants */
  const moe_sampling_v1 *sampling; /* what sample() of the level works on; NULL:
                                      nothing */
};

/* ---- artifact to host -------------------------------------------------- */

/* One compiled version of a step function; Manifest.variants[i] describes
 * variants[i]. scratch_bytes is pure. step may run in several sessions at once
 * on different moe_step_v1; it allocates nothing. */
typedef struct moe_variant_v1 {
  uint64_t size;
  uint64_t (*scratch_bytes)(const moe_extents_v1 *extents);
  int32_t (*step)(const moe_step_v1 *step);
} moe_variant_v1;

/* The weights of one segment. data is NULL where they lie in a side file that
 * the host maps (Manifest.segments[i].file). */
typedef struct moe_segment_v1 {
  uint64_t size;
  uint64_t bytes;
  const void *data;
} moe_segment_v1;

/* A kernel of a device level. */
typedef struct moe_kernel_v1 {
  uint64_t size;
  const char *name;      /* of the entry in every image */
  uint32_t threads;      /* of a block */
  uint32_t shared_bytes; /* most dynamic shared memory of a launch */
} moe_kernel_v1;

enum {
  MOE_IMAGE_PTX = 1,    /* text, ends with a NUL byte that `bytes` counts */
  MOE_IMAGE_CUBIN = 2,  /* for exactly the level's architecture */
  MOE_IMAGE_LLVM_IR = 3 /* bitcode of the code that became the PTX, for the
                           emulator (-femit-kernel-ir) */
};

/* One form of all kernels of a level. */
typedef struct moe_device_image_v1 {
  uint64_t size;
  uint32_t kind; /* MOE_IMAGE_ */
  uint32_t reserved;
  uint64_t bytes;
  const void *data;
} moe_device_image_v1;

/* The device code of the variants whose device is "cuda" and whose isa is
 * `name`. A device of compute capability major.minor or above runs it; with
 * `exact`, only major.minor itself. */
typedef struct moe_device_level_v1 {
  uint64_t size;
  const char *name; /* "sm_80", "sm_90a" */
  uint32_t major, minor;
  uint32_t exact;
  uint32_t num_kernels;
  uint32_t num_images;
  uint32_t reserved;
  const moe_kernel_v1 *kernels;
  const moe_device_image_v1 *images;
  const void *constants; /* copied to the device once, 64-byte aligned there */
  uint64_t constants_bytes;
  /* Chooses tokens behind the results of a step, by launches as in a step's;
   * called behind the step with the same struct. NULL: it cannot. */
  int32_t (*sample)(const moe_step_v1 *step);
} moe_device_level_v1;

/* What the query returns: constant, lives as long as the library is loaded. */
typedef struct moe_model_v1 {
  uint64_t size;
  uint32_t abi_version; /* MOE_ABI_VERSION of the artifact */
  uint32_t num_variants;
  uint32_t num_segments;
  uint32_t reserved;
  const void *manifest; /* the bytes of MOE_MANIFEST_SECTION */
  uint64_t manifest_bytes;
  const moe_variant_v1 *variants;
  const moe_segment_v1 *segments;
  uint64_t num_device_levels;
  const moe_device_level_v1 *device_levels;
} moe_model_v1;

/* Returns NULL when max_abi is below the version the artifact was built for,
 * or when the host table lacks a function that the artifact needs. */
typedef const moe_model_v1 *(*moe_model_query_v1_fn)(uint32_t max_abi,
                                                     const moe_host_v1 *host);

#ifdef __cplusplus
#define MOE_ABI_ASSERT(cond, text) static_assert(cond, text)
#else
#define MOE_ABI_ASSERT(cond, text) _Static_assert(cond, text)
#endif
/* The compiler writes these layouts by hand-checked offsets. */
MOE_ABI_ASSERT(sizeof(void *) == 8, "the ABI is defined for 64-bit pointers");
MOE_ABI_ASSERT(sizeof(moe_worker_v1) == 24, "layout of moe_worker_v1");
MOE_ABI_ASSERT(sizeof(moe_host_v1) == 48, "layout of moe_host_v1");
MOE_ABI_ASSERT(sizeof(moe_extents_v1) == 96, "layout of moe_extents_v1");
MOE_ABI_ASSERT(sizeof(moe_routing_io_v1) == 64, "layout of moe_routing_io_v1");
MOE_ABI_ASSERT(sizeof(moe_batch_v1) == 240, "layout of moe_batch_v1");
MOE_ABI_ASSERT(sizeof(moe_sampling_row_v1) == 72,
               "layout of moe_sampling_row_v1");
MOE_ABI_ASSERT(sizeof(moe_sampling_v1) == 64, "layout of moe_sampling_v1");
MOE_ABI_ASSERT(sizeof(moe_step_v1) == 88, "layout of moe_step_v1");
MOE_ABI_ASSERT(sizeof(moe_variant_v1) == 24, "layout of moe_variant_v1");
MOE_ABI_ASSERT(sizeof(moe_segment_v1) == 24, "layout of moe_segment_v1");
MOE_ABI_ASSERT(sizeof(moe_model_v1) == 72, "layout of moe_model_v1");
MOE_ABI_ASSERT(sizeof(moe_launch_v1) == 40, "layout of moe_launch_v1");
MOE_ABI_ASSERT(sizeof(moe_kernel_v1) == 24, "layout of moe_kernel_v1");
MOE_ABI_ASSERT(sizeof(moe_device_image_v1) == 32,
               "layout of moe_device_image_v1");
MOE_ABI_ASSERT(sizeof(moe_device_level_v1) == 80,
               "layout of moe_device_level_v1");

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* MOEC_RUNTIME_ABI_MOE_ABI_H */
