//===- Fiber.cpp - Switching between stacks -------------------------------===//
#include "compiler/targets/nvptx/emulator/Fiber.h"

#include <sys/mman.h>

#ifndef __x86_64__
#error "the emulator switches stacks of x86-64 only"
#endif

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EMU_ADDRESS_SANITIZER
#include <sanitizer/common_interface_defs.h>
#endif
#endif

extern "C" {
/// Saves the registers that a callee must keep on the current stack, stores the
/// stack pointer to `*from` and goes on where `to` was saved.
void moe_emu_switch(void **from, void *to);
}

// The SysV ABI keeps rbx, rbp and r12 to r15 over a call, and no vector
// registers. Nobody here changes rounding modes.
asm(R"(
.text
.globl moe_emu_switch
.hidden moe_emu_switch
.type moe_emu_switch,@function
moe_emu_switch:
  .cfi_startproc
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .cfi_endproc
.size moe_emu_switch,.-moe_emu_switch
)");

using namespace moec::emu;

namespace {
constexpr size_t guardBytes = 4096;
}

StackPool::~StackPool() { clear(); }

void StackPool::clear() {
  for (char *stack : stacks)
    munmap(stack - guardBytes, stackBytes + guardBytes);
  stacks.clear();
}

bool StackPool::reserve(size_t count, size_t bytes) {
  bytes = (bytes + guardBytes - 1) / guardBytes * guardBytes;
  if (bytes != stackBytes)
    clear();
  stackBytes = bytes;
  while (stacks.size() < count) {
    void *at = mmap(nullptr, bytes + guardBytes, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
      return false;
    char *low = static_cast<char *>(at) + guardBytes;
    if (mprotect(low, bytes, PROT_READ | PROT_WRITE)) {
      munmap(at, bytes + guardBytes);
      return false;
    }
    stacks.push_back(low);
  }
  return true;
}

void moec::emu::switchContext(Context &from, Context &to, bool ends) {
#ifdef EMU_ADDRESS_SANITIZER
  __sanitizer_start_switch_fiber(ends ? nullptr : &from.fakeStack, to.low,
                                 to.bytes);
#endif
  moe_emu_switch(&from.stackPointer, to.stackPointer);
#ifdef EMU_ADDRESS_SANITIZER
  __sanitizer_finish_switch_fiber(from.fakeStack, nullptr, nullptr);
#endif
}

void moec::emu::beginContext(Context &from) {
#ifdef EMU_ADDRESS_SANITIZER
  __sanitizer_finish_switch_fiber(nullptr, &from.low, &from.bytes);
#endif
}

Context StackPool::prepare(size_t index, void (*entry)()) {
  // From the top: no return address, the address `ret` pops, six registers.
  auto *top = reinterpret_cast<uint64_t *>(stacks[index] + stackBytes);
  *--top = 0;
  *--top = reinterpret_cast<uint64_t>(entry);
  for (int i = 0; i < 6; ++i)
    *--top = 0;
  Context context;
  context.stackPointer = top;
  context.low = stacks[index];
  context.bytes = stackBytes;
  return context;
}
