/* FakeCuda.h - a driver for tests: what its kernels are, and how tests steer
 * it.
 *
 * Devices live in the memory of the host. Their addresses are shifted, so that
 * a host that follows one, or a kernel that follows one of the host, dies.
 * Nothing that is asynchronous happens before it is waited for. */
#ifndef MOEC_TEST_UNIT_RUNTIME_FAKE_FAKECUDA_H
#define MOEC_TEST_UNIT_RUNTIME_FAKE_FAKECUDA_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* No address that a processor knows. */
#define FAKE_DEVICE_SHIFT 0x4000000000000000u
#define FAKE_FROM_DEVICE(type, pointer)                                        \
  ((type)((uintptr_t)(pointer) - FAKE_DEVICE_SHIFT))

/* One block of a launch. */
typedef struct FakeBlock {
  uint32_t block[3];
  uint32_t grid[3];
  uint32_t threads;
  uint32_t sharedBytes;
  const uint64_t *parameters;
} FakeBlock;

typedef struct FakeKernel {
  const char *name;
  uint32_t parameters; /* of 64 bits each */
  uint32_t reserved;
  void (*run)(const FakeBlock *block);
} FakeKernel;

/* What the images of fake artifacts are. `text` comes first, for images that
 * are text; `version` is of the driver that it needs. */
#define FAKE_IMAGE_MAGIC "//fake\n.version 8.6\n"
typedef struct FakeImage {
  char text[32];
  uint32_t version; /* as cuDriverGetVersion */
  uint32_t count;
  const FakeKernel *kernels;
  uint64_t end; /* 0: ends with a NUL byte, as PTX */
} FakeImage;

/* One device of this capability and memory; forgets everything that was set. */
typedef void (*FakeCudaReset)(int major, int minor, uint64_t bytes);
/* The call of `function` (as exported) after `skip` more of them fails. Errors
 * that end a context do. */
typedef void (*FakeCudaFail)(const char *function, int skip, int result);
/* Calls of a function since the reset. */
typedef int (*FakeCudaCalls)(const char *function);
/* Memory, streams, modules, graphs, events and contexts that are alive. */
typedef uint64_t (*FakeCudaBytes)(void);
typedef int (*FakeCudaAlive)(void);
/* Bytes that were copied to the host since the reset. */
typedef uint64_t (*FakeCudaBytesToHost)(void);
/* What cuDriverGetVersion says, and how many devices there are. */
typedef void (*FakeCudaVersion)(int version);
typedef void (*FakeCudaDevices)(int count);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* MOEC_TEST_UNIT_RUNTIME_FAKE_FAKECUDA_H */
