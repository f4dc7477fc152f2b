/* runtime.h - loads and runs artifacts that moec has compiled.
 *
 * Plain C11, depends on nothing but the C standard headers. runtime.hpp is a
 * layer of C++17 owners over it; docs/runtime.md is the guide.
 *
 * Objects, each keeping the one before it alive:
 *
 *   moe_engine    threads; one per process is usual
 *   moe_model     a loaded artifact; immutable
 *   moe_session   scratch, cache pages, sequences; one thread at a time
 *   moe_sequence  the cached tokens of one sequence
 *
 * Destroying an object therefore never invalidates another one; its memory
 * goes when the last object that needs it goes. Every *_destroy and *_free
 * accepts NULL.
 *
 * Errors: functions return a status, MOE_OK being 0. On failure the calling
 * thread's moe_last_error() is one sentence for people. Nothing is changed by a
 * call that fails unless its comment says so. No call ends the process, and no
 * C++ exception leaves the library.
 *
 * Structs that grow begin with `size`, which the caller sets to sizeof the
 * struct as it knows it; the rest may be zero. Fields are only appended. */
#ifndef MOEC_RUNTIME_INCLUDE_MOE_RUNTIME_H
#define MOEC_RUNTIME_INCLUDE_MOE_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define MOE_API __attribute__((visibility("default")))
#else
#define MOE_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- status ------------------------------------------------------------ */

typedef int32_t moe_status;

enum {
  MOE_OK = 0,
  MOE_ERROR_INVALID_ARGUMENT = 1, /* the call is wrong: NULL, counts, ids */
  MOE_ERROR_NOT_FOUND = 2,        /* no such file, entry or modality */
  MOE_ERROR_BAD_ARTIFACT = 3,     /* not an artifact, or a damaged one */
  MOE_ERROR_VERSION = 4,          /* artifact and runtime do not match */
  MOE_ERROR_UNSUPPORTED = 5,      /* this processor cannot run it */
  MOE_ERROR_CAPACITY = 6,         /* the cache or a sequence is full */
  MOE_ERROR_BUSY = 7,             /* another thread is inside the session */
  MOE_ERROR_OUT_OF_MEMORY = 8,
  MOE_ERROR_SYSTEM = 9,    /* the operating system refused a request */
  MOE_ERROR_INTERNAL = 10, /* a defect of the runtime or the artifact */
  MOE_ERROR_DEVICE = 11    /* a device refused a request, or was lost */
};

/* The sentence that goes with the last failure in this thread; "" before the
 * first. Valid until the next failing call of this thread. */
MOE_API const char *moe_last_error(void);

/* "ok", "invalid argument", ...; "unknown status" for other numbers. */
MOE_API const char *moe_status_name(moe_status status);

/* Version of the library ("0.1.0") and of the artifact protocol it speaks. */
MOE_API const char *moe_version(void);
MOE_API uint32_t moe_runtime_abi_version(void);

/* Types of elements. The numbers are those of the manifest. */
typedef uint32_t moe_dtype;
enum {
  MOE_F32 = 0,
  MOE_BF16 = 1,
  MOE_F16 = 2,
  MOE_I8 = 3,
  MOE_U8 = 4,
  MOE_I32 = 5
};

/* ---- engine ------------------------------------------------------------ */

/* Lifetime: until destroyed and no model of it is left.
 * Sharing:  any number of models; their steps take turns on its threads.
 * Threads:  every function may be called from any thread at any time. */
typedef struct moe_engine moe_engine;

typedef struct moe_engine_options {
  uint64_t size;
  uint32_t threads;  /* 0: MOE_THREADS, else the CPUs this process may use */
  uint32_t reserved; /* 0 */
} moe_engine_options;

/* options may be NULL. Starts threads - 1 threads: the caller of moe_step is
 * the first participant. */
MOE_API moe_status moe_engine_create(const moe_engine_options *options,
                                     moe_engine **engine);
MOE_API void moe_engine_destroy(moe_engine *engine);
MOE_API uint32_t moe_engine_threads(const moe_engine *engine);

/* ---- artifact on disk -------------------------------------------------- */

/* A file's manifest, read and checked without executing anything.
 * Lifetime: until closed; what the functions return lives as long.
 * Sharing:  none. Threads: immutable, any thread. */
typedef struct moe_artifact moe_artifact;

MOE_API moe_status moe_artifact_open(const char *path, moe_artifact **artifact);
MOE_API void moe_artifact_close(moe_artifact *artifact);
/* The verified FlatBuffers manifest (runtime/abi/manifest.fbs). */
MOE_API const void *moe_artifact_manifest(const moe_artifact *artifact,
                                          uint64_t *bytes);
MOE_API uint64_t moe_artifact_bytes(const moe_artifact *artifact);
/* Layout of the entry with this ordinal, as in the source:
 * "image?, text[1..512]"; NULL past the last. */
MOE_API const char *moe_artifact_entry_layout(const moe_artifact *artifact,
                                              uint32_t entry);
/* Names of the dynamic symbols that the file exports; NULL past the last. */
MOE_API const char *moe_artifact_symbol(const moe_artifact *artifact,
                                        uint64_t index);

/* ---- model ------------------------------------------------------------- */

/* Lifetime: until destroyed and no session of it is left. Strings and arrays
 *           that the functions return live as long as the model.
 * Sharing:  any number of sessions, which share the mapped weights.
 * Threads:  immutable; every function from any thread at any time. */
typedef struct moe_model moe_model;

typedef struct moe_model_options {
  uint64_t size;
  uint32_t verify;   /* non-zero: compare all weights with their checksums */
  uint32_t populate; /* non-zero: bring all weights into memory and map their
                        pages now, so that no step waits for them */
} moe_model_options;

/* Loads an artifact; options may be NULL. Side files are looked for beside it.
 * MOE_ISA=generic|avx2|avx512 in the environment restricts the model to the
 * variants of that level. */
MOE_API moe_status moe_model_load(moe_engine *engine, const char *path,
                                  const moe_model_options *options,
                                  moe_model **model);
MOE_API void moe_model_destroy(moe_model *model);

typedef struct moe_model_info {
  uint64_t size;
  const char *name;
  const char *compiler; /* version of moec */
  const char *target;   /* LLVM triple */
  uint32_t num_modalities;
  uint32_t num_functions;
  uint32_t num_entries;
  uint32_t num_variants;
  uint64_t weight_bytes;          /* of all segments mapped here */
  uint64_t cache_bytes_per_token; /* of all states together */
  const void *manifest;           /* the verified manifest */
  uint64_t manifest_bytes;
  uint32_t num_routers;
  uint32_t num_stop_tokens;
  const int32_t *stop_tokens; /* [num_stop_tokens] ids that end a generated
                                 text, as the source says */
  uint32_t num_levels;        /* of code for devices */
  uint32_t reserved;
} moe_model_info;

typedef struct moe_modality_info {
  uint64_t size;
  const char *name;
  uint32_t id;
  uint32_t is_raw; /* 0: tokens come as ids */
  uint32_t vocab;  /* ids are 0 .. vocab-1; 0 for raw modalities */
  moe_dtype dtype; /* of raw elements; MOE_I32 for ids */
  uint32_t rank;
  uint32_t tokens_per_input;
  const uint32_t *shape; /* [rank] of one raw input */
  uint64_t elements;     /* of one raw input; 1 for ids */
} moe_modality_info;

typedef struct moe_function_info {
  uint64_t size;
  const char *name;
  uint64_t cache_tokens; /* capacity of one sequence; 0: no cache */
  uint64_t max_sequence; /* without a cache; 0: unbounded */
  uint32_t num_outputs;
  uint32_t modalities; /* bit m: modality id m may occur */
} moe_function_info;

typedef struct moe_entry_info {
  uint64_t size;
  const char *name;
  const char *layout; /* as in the source: "image?, text[1..512]" */
  uint32_t function;  /* ordinal */
  uint32_t last_only; /* one result row per item instead of one per token */
  uint32_t routing_out; /* moe_batch.routing_out is accepted */
  /* which fields of moe_router_input are accepted */
  uint32_t routing_in; /* ids, weights */
  uint32_t expert_mask;
  uint32_t router_bias; /* bias */
  uint32_t k_override;  /* count */
  uint32_t reserved;
} moe_entry_info;

typedef struct moe_output_info {
  uint64_t size;
  const char *name;
  uint64_t width; /* floats per row */
} moe_output_info;

typedef struct moe_variant_info {
  uint64_t size;
  const char *device;
  const char *isa;
  const char *scratch; /* formula of its scratch, for people */
  uint64_t min_tokens;
  uint64_t max_tokens;
  uint32_t function;
  uint32_t modalities; /* bit m: accepts modality id m */
  uint32_t available;  /* 0: not on this processor, or excluded by MOE_ISA;
                          variants of a device: moe_session_get_device says
                          whether and which run */
  uint32_t reserved;
} moe_variant_info;

typedef struct moe_router_info {
  uint64_t size;
  const char *name; /* of its weight, mostly */
  int32_t layer;    /* -1: none */
  uint32_t experts;
  uint32_t slots; /* experts per token, at most */
  uint32_t weighs_any; /* gives weights to ids that are forced on it */
  uint32_t first_expert; /* ids are first_expert .. experts-1 */
  uint32_t reserved;
} moe_router_info;

/* Forms in which an artifact holds the kernels of a level. */
typedef uint32_t moe_image;
enum { MOE_PTX = 1, MOE_CUBIN = 2, MOE_LLVM_IR = 3 };

typedef struct moe_level_image {
  moe_image kind; /* others may follow */
  uint32_t reserved;
  uint64_t bytes;
  const void *data;
} moe_level_image;

typedef struct moe_level_kernel {
  const char *name;
  uint32_t threads;      /* of a block */
  uint32_t shared_bytes; /* most dynamic shared memory of a block */
} moe_level_kernel;

/* The model's code for devices of one level. */
typedef struct moe_level_info {
  uint64_t size;
  const char *name;                            /* "sm_80", "sm_90a" */
  uint32_t capability_major, capability_minor; /* at least, */
  uint32_t exact;                              /* or, if not 0, exactly */
  uint32_t num_kernels;
  uint32_t num_images;
  uint32_t reserved;
  uint64_t constant_bytes;
  const moe_level_kernel *kernels; /* [num_kernels] */
  const moe_level_image *images;   /* [num_images] */
} moe_level_info;

MOE_API moe_status moe_model_get_info(const moe_model *model,
                                      moe_model_info *info);
MOE_API moe_status moe_model_get_modality(const moe_model *model,
                                          uint32_t index,
                                          moe_modality_info *info);
MOE_API moe_status moe_model_get_function(const moe_model *model,
                                          uint32_t index,
                                          moe_function_info *info);
MOE_API moe_status moe_model_get_entry(const moe_model *model, uint32_t index,
                                       moe_entry_info *info);
MOE_API moe_status moe_model_get_output(const moe_model *model,
                                        uint32_t function, uint32_t index,
                                        moe_output_info *info);
MOE_API moe_status moe_model_get_variant(const moe_model *model, uint32_t index,
                                         moe_variant_info *info);
MOE_API moe_status moe_model_get_router(const moe_model *model, uint32_t index,
                                        moe_router_info *info);
MOE_API moe_status moe_model_get_level(const moe_model *model, uint32_t index,
                                       moe_level_info *info);
/* Ordinal of the entry `name`; the error of an unknown name lists them all. */
MOE_API moe_status moe_model_find_entry(const moe_model *model,
                                        const char *name, uint32_t *index);

/* ---- session ----------------------------------------------------------- */

/* Lifetime: until destroyed and no sequence of it is left.
 * Sharing:  its sequences share one pool of cache pages.
 * Threads:  one thread at a time, any thread. A call that finds another thread
 *           inside returns MOE_ERROR_BUSY and does nothing. */
typedef struct moe_session moe_session;

/* Where the steps of a session run. */
typedef uint32_t moe_device;
enum {
  MOE_DEVICE_AUTO = 0, /* MOE_DEVICE=auto|cpu|cuda in the environment, else a
                          device where there is one that the model has code for,
                          otherwise, or when MOE_ISA is set, the processor */
  MOE_DEVICE_CPU = 1,
  MOE_DEVICE_CUDA = 2
};

typedef struct moe_session_options {
  uint64_t size;
  uint32_t max_sequences; /* 0: no limit */
  uint32_t reserved;      /* 0 */
  uint64_t cache_tokens;  /* of all sequences, rounded up to pages of 64; 0:
                             room for one full sequence, or on a device a part
                             of it, growing on demand */
  moe_device device;
  uint32_t reserved2; /* 0 */
} moe_session_options;

typedef struct moe_session_stats {
  uint64_t size;
  uint64_t scratch_bytes;
  uint64_t cache_pages; /* in the pool, used or not */
  uint64_t cache_pages_used;
  uint64_t sequences;
  uint64_t steps;
  uint32_t last_variant; /* ordinal of the variant of the last step */
  uint32_t reserved;
} moe_session_stats;

/* options may be NULL. */
MOE_API moe_status moe_session_create(moe_model *model,
                                      const moe_session_options *options,
                                      moe_session **session);
MOE_API void moe_session_destroy(moe_session *session);
MOE_API moe_status moe_session_get_stats(moe_session *session,
                                         moe_session_stats *stats);

/* Where a session runs, and its part of that device's memory. Strings live as
 * long as the session. */
typedef struct moe_device_info {
  uint64_t size;
  moe_device device; /* MOE_DEVICE_CPU or MOE_DEVICE_CUDA */
  uint32_t reserved;
  const char *remark; /* why MOE_DEVICE_AUTO did not choose the device that the
                         model has code for; "" otherwise */
  /* Of a device; "" and 0 for the processor. */
  const char *name;  /* "NVIDIA H100 80GB HBM3" */
  const char *level; /* of the model's code: "sm_90a" */
  uint32_t capability_major, capability_minor;
  uint64_t total_bytes, free_bytes; /* of its memory, whoever uses it */
  uint64_t weight_bytes;            /* of the model, shared by its sessions */
  uint64_t constant_bytes;          /* likewise */
  uint64_t cache_bytes;             /* of the session, as all that follow */
  uint64_t scratch_bytes;
  uint64_t output_bytes;
  uint64_t batch_bytes; /* inputs and tables of a step */
} moe_device_info;

MOE_API moe_status moe_session_get_device(moe_session *session,
                                          moe_device_info *info);

/* ---- sequence ---------------------------------------------------------- */

/* Lifetime: until freed; keeps its session alive.
 * Sharing:  forks share the pages they have in common until one writes.
 * Threads:  those of its session. moe_sequence_length and moe_sequence_free
 *           may be called at any time; freeing while another thread is inside
 *           the session returns the pages at the session's next call.
 * The pointer is a name and leads nowhere. It is never used again, so a call
 * with a sequence that was freed fails, and freeing it again does nothing. */
typedef struct moe_sequence moe_sequence;

MOE_API moe_status moe_sequence_create(moe_session *session,
                                       moe_sequence **sequence);
/* A second sequence with the same tokens. Copies nothing now; a page that both
 * hold is copied when one of them writes to it. */
MOE_API moe_status moe_sequence_fork(moe_sequence *sequence,
                                     moe_sequence **fork);
/* Forgets all but the first `length` tokens. */
MOE_API moe_status moe_sequence_trim(moe_sequence *sequence, uint64_t length);
MOE_API void moe_sequence_free(moe_sequence *sequence);
/* Tokens held. */
MOE_API uint64_t moe_sequence_length(const moe_sequence *sequence);

/* ---- step -------------------------------------------------------------- */

/* A run of inputs of one modality. `count` is in elements of `data`:
 *   token modality: ids as MOE_I32; or MOE_U8 where the modality has 256 ids
 *   raw modality:   elements of the modality's dtype, a whole number of inputs
 * The data must stay unchanged during the step only. */
typedef struct moe_input {
  uint64_t size;
  const char *modality; /* name; NULL: modality_id counts */
  uint32_t modality_id;
  moe_dtype dtype;
  const void *data;
  uint64_t count;
} moe_input;

/* New tokens of one sequence: its inputs in sequence order. A sequence appears
 * at most once in a batch. */
typedef struct moe_item {
  uint64_t size;
  moe_sequence *sequence; /* NULL exactly for entries without a cache */
  const moe_input *inputs;
  uint64_t num_inputs;
  const uint32_t *rows; /* new tokens of the item whose results are wanted,
                           counted from 0; NULL: what the entry returns. Any
                           entry may be asked for any rows, or for none */
  uint64_t num_rows;
} moe_item;

/* What a step gives to one router. Entries accept only what they were compiled
 * with. The arrays must stay unchanged during the step. */
typedef struct moe_router_input {
  uint64_t size;
  uint32_t router; /* moe_model_get_router */
  uint32_t count;  /* experts per token, at most; 0: all slots */
  /* What takes the place of the router's choice, in the order of the batch, as
   * moe_session_get_routing gives it: [tokens, slots of the router]. */
  const int32_t *ids; /* -1: no expert; -2 in all slots of a token: the router
                         chooses; NULL: it chooses for all */
  const float *weights; /* NULL: those that the router gives to these ids in
                           this step, where it can (weighs_any) */
  uint64_t tokens;      /* of ids and weights */
  const float *bias;    /* [experts] added to the logits, or NULL */
  const uint8_t *expert_mask; /* [experts] 0: never chosen; or NULL */
} moe_router_input;

typedef struct moe_batch {
  uint64_t size;
  const moe_item *items;
  uint64_t num_items;
  uint32_t routing_out; /* non-zero: keep what the routers choose, for
                           moe_session_get_routing; an error for entries that
                           were compiled without `routing_out` */
  uint32_t trace;       /* which time stamps of the step to keep, for
                           moe_session_get_trace: MOE_TRACE_.. */
  const moe_router_input *routers; /* each router once, at most */
  uint64_t num_routers;
} moe_batch;

enum {
  MOE_TRACE_NONE = 0,     /* costs nothing */
  MOE_TRACE_BARRIERS = 1, /* of every barrier; on a device around every launch,
                             which is not part of a graph then */
  MOE_TRACE_STEP = 2      /* around the kernels of the whole step, which run as
                             they do without: one interval. Copies to and from
                             a device lie outside */
};

/* One output of a step: row-major f32 [rows, width], the rows of the first item
 * first. */
typedef struct moe_output {
  uint64_t size;
  float *data;       /* in: caller's buffer if capacity is not 0; out: where
                        the rows are, otherwise a buffer of the session, valid
                        until its next step */
  uint64_t capacity; /* in: floats that the caller's buffer holds; 0: none */
  uint64_t rows;     /* out */
  uint64_t width;    /* out */
  const uint64_t *row_starts; /* out: [num_items + 1] first row of each item;
                                 of the session, valid until its next step */
} moe_output;

/* Runs the new tokens of every item through an entry and appends them to their
 * sequences. `outputs` are the first num_outputs outputs of the entry's
 * function, in order: fewer than it has is fine, those beyond come back with
 * data NULL.
 *
 * A fresh sequence must match the entry's layout. For a sequence that holds
 * tokens, the inputs may be any part of the layout in the layout's order; the
 * upper bounds hold for each call.
 *
 * On failure no sequence has changed. After the first steps of a size, a step
 * allocates no memory. */
MOE_API moe_status moe_step(moe_session *session, const char *entry,
                            const moe_batch *batch, moe_output *outputs,
                            uint64_t num_outputs);

/* Output `index` of the last step, which must have succeeded: where its rows
 * are, in the session's buffer or the caller's. */
MOE_API moe_status moe_session_get_output(moe_session *session, uint64_t index,
                                          moe_output *output);

/* What one router chose for the tokens of a step, in the order of the batch. Of
 * the session, valid until its next step. */
typedef struct moe_routing {
  uint64_t size;
  const int32_t *ids; /* [tokens, slots] experts of the router; -1: none. All of
                         a row for tokens that the router does not decide for */
  const float *weights; /* [tokens, slots]; 0 where there is no expert */
  uint64_t tokens;
  uint64_t slots;
} moe_routing;

/* The choice of router `index` (moe_model_get_router) in the last step, which
 * must have asked for it. A router that the step does not have chose nothing. */
MOE_API moe_status moe_session_get_routing(moe_session *session, uint32_t index,
                                           moe_routing *routing);

/* When the participants of a step reached its barriers, which cut the step into
 * intervals; on a device there is one participant, and each launch is an
 * interval. What runs in interval i of a variant is in Variant.kernels of the
 * manifest; MOE_TRACE_STEP makes one interval of one participant. Of the session,
 * valid until its next step. */
typedef struct moe_trace {
  uint64_t size;
  const uint64_t *stamps; /* [threads, intervals, 2] nanoseconds of a clock that
                             never goes back: begin and end; what lies between
                             an end and the next begin is waiting */
  uint64_t intervals;
  uint32_t threads; /* participants */
  uint32_t variant; /* ordinal of the variant that ran */
} moe_trace;

/* The time stamps of the last step, which must have asked for them. */
MOE_API moe_status moe_session_get_trace(moe_session *session,
                                         moe_trace *trace);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* MOEC_RUNTIME_INCLUDE_MOE_RUNTIME_H */
