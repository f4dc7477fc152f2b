//===- AllocationTest.cpp - Steady steps allocate nothing -----------------===//
//
// Replaces the allocator and the mapping calls of the process by counting ones;
// libmoert's calls come here as well, for the program's symbols go first.
//
//===----------------------------------------------------------------------===//

#include "moe/generate.hpp"
#include "test/unit/runtime/RuntimeTestSupport.h"

#include <atomic>
#include <cerrno>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MOE_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MOE_SANITIZED 1
#endif
#endif

static std::atomic<unsigned> allocations{0};

#ifndef MOE_SANITIZED
extern "C" {
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

void *malloc(size_t bytes) {
  ++allocations;
  return __libc_malloc(bytes);
}
void *calloc(size_t count, size_t bytes) {
  ++allocations;
  return __libc_calloc(count, bytes);
}
void *realloc(void *block, size_t bytes) {
  ++allocations;
  return __libc_realloc(block, bytes);
}
void *aligned_alloc(size_t alignment, size_t bytes) {
  ++allocations;
  return __libc_memalign(alignment, bytes);
}
int posix_memalign(void **block, size_t alignment, size_t bytes) {
  ++allocations;
  *block = __libc_memalign(alignment, bytes);
  return *block ? 0 : ENOMEM;
}
void *mmap(void *at, size_t bytes, int protection, int flags, int file,
           off_t offset) {
  ++allocations;
  return reinterpret_cast<void *>(
      syscall(SYS_mmap, at, bytes, protection, flags, file, offset));
}
void *mremap(void *old, size_t bytes, size_t wanted, int flags, ...) noexcept {
  ++allocations;
  return reinterpret_cast<void *>(
      syscall(SYS_mremap, old, bytes, wanted, flags));
}
}
#endif

using namespace moe;
using namespace moe::test;

namespace {

TEST(Allocation, CountersWork) {
#ifdef MOE_SANITIZED
  GTEST_SKIP() << "the sanitizer owns the allocator";
#endif
  const unsigned before = allocations;
  const FakeArtifact artifact;
  Engine engine(1);
  const unsigned beforeLoad = allocations;
  const Model model = Model::load(engine, artifact.path());
  EXPECT_GT(beforeLoad, before);
  EXPECT_GT(allocations, beforeLoad) << "libmoert's calls are not counted";
  const unsigned beforeSession = allocations;
  Session session(model);
  Sequence sequence = session.create_sequence();
  session.step("prefill", sequence, {input("text", "a")});
  EXPECT_GT(allocations, beforeSession);
}

TEST(Allocation, SteadyStateAllocatesNothing) {
#ifdef MOE_SANITIZED
  GTEST_SKIP() << "the sanitizer owns the allocator";
#endif
  const FakeArtifact artifact;
  Engine engine(2);
  const Model model = Model::load(engine, artifact.path());
  Session session(model);
  Sequence sequence = session.create_sequence();
  Sequence fork = session.create_sequence();
  const std::vector<uint8_t> pixels(6, 3);
  const std::vector<int32_t> next = {65};
  moe_sampling_options warm = sampling_options();
  warm.temperature = 2;
  warm.top_p = 0.9;
  const auto round = [&] {
    sequence.trim(0);
    fork.trim(0);
    session.step("prefill", sequence,
                 {input("image", pixels), input("text", "a photo of a")});
    const Item items[] = {item(sequence, {}), item(fork, {})};
    const Input id = input("text", next);
    Item batch[] = {items[0], items[1]};
    batch[0].inputs = batch[1].inputs = &id;
    batch[0].num_inputs = batch[1].num_inputs = 1;
    for (int i = 0; i < 150; ++i)
      session.step("decode", batch, 2);
    for (uint64_t i = 0; i < 20; ++i) {
      const uint32_t row = 0;
      for (Item &each : batch) {
        each.rows = &row;
        each.num_rows = 1;
      }
      auto given = detail::sized<moe_batch>();
      given.items = batch;
      given.num_items = 2;
      int32_t tokens[2];
      const TokenRequest requests[] = {token_request(warm, 0, i),
                                       token_request(warm, 1, i)};
      check(moe_step_tokens(session.get(), "decode", &given, requests, 2,
                            tokens, nullptr, 0));
    }
    session.step("score", {input("text", "scored")});
    sequence.trim(0);
    session.step("study", batch, 1, /*keepRouting=*/true, /*keepTrace=*/true);
  };
  round();
  const unsigned before = allocations;
  round();
  EXPECT_EQ(allocations, before);
  EXPECT_EQ(fork.length(), 170u);
}

TEST(Allocation, SamplingAllocatesNothing) {
#ifdef MOE_SANITIZED
  GTEST_SKIP() << "the sanitizer owns the allocator";
#endif
  moe_sampling_options options = sampling_options();
  options.temperature = 1;
  options.top_k = 50;
  options.top_p = 0.9;
  options.min_p = 0.01;
  options.repetition_penalty = 1.1;
  Sampler sampler(options);
  std::vector<float> logits(1000);
  for (size_t i = 0; i < logits.size(); ++i)
    logits[i] = static_cast<float>(i * 7919 % 1000) / 100;
  const std::vector<int32_t> history = {1, 2, 3};
  const Row row(logits.data(), logits.size());
  sampler.choose(row, 0, 0, history);
  const unsigned before = allocations;
  for (uint64_t position = 1; position < 20; ++position)
    sampler.choose(row, 0, position, history);
  EXPECT_EQ(allocations, before);
}

} // namespace
