// Fibers: stacks of their own that one host thread switches between by hand.
//
// `swapcontext` makes two system calls a switch, so x86-64 has six pushes and pops instead; other
// machines use `swapcontext`. AddressSanitizer is told of every switch.
#pragma once
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>
#include <unistd.h>
#if !defined(__x86_64__) || defined(EMULATOR_UCONTEXT)
#undef EMULATOR_UCONTEXT
#define EMULATOR_UCONTEXT 1
#include <ucontext.h>
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

namespace emulator {

struct Fiber {
#ifdef EMULATOR_UCONTEXT
  ucontext_t context;
#else
  void* sp = nullptr;
#endif
  // Where the stack lies. The host thread's own stack is a fiber too; the sanitizer says where it
  // is.
  const void* stack = nullptr;
  size_t size = 0;
  void* fake = nullptr;  // the sanitizer's
};

#ifndef EMULATOR_UCONTEXT
// Leaves the registers that a call must preserve on this stack, and takes them from the other one.
extern "C" void emulator_switch(void** from, void* to);
#endif

inline Fiber* left;  // the fiber that the last switch left

inline void arrived([[maybe_unused]] Fiber* here) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(here->fake, &left->stack, &left->size);
#endif
}

inline void switch_fiber(Fiber& from, Fiber& to) {
  if (&from == &to) return;
  left = &from;
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&from.fake, to.stack, to.size);
#endif
#ifdef EMULATOR_UCONTEXT
  swapcontext(&from.context, &to.context);
#else
  emulator_switch(&from.sp, to.sp);
#endif
  arrived(&from);
}

// A fresh stack that enters `main` at the first switch to it. `main` calls `arrived` and never
// returns.
inline void create_fiber(Fiber& fiber, void (*main)()) {
#ifdef __SANITIZE_ADDRESS__
  const size_t size = 256 << 10;  // instrumented frames are larger
#else
  const size_t size = 64 << 10;
#endif
  const size_t guard = size_t(sysconf(_SC_PAGESIZE));
  void* memory =
      mmap(nullptr, size + guard, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, guard, PROT_NONE) != 0) {
    perror("CUDA emulator: no stack for a thread");
    abort();
  }
  fiber.stack = static_cast<char*>(memory) + guard;
  fiber.size = size;
#ifdef EMULATOR_UCONTEXT
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = const_cast<void*>(fiber.stack);
  fiber.context.uc_stack.ss_size = size;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, main, 0);
#else
  // Six registers and the address to return to; then the stack is aligned as after a call.
  void** top = reinterpret_cast<void**>(static_cast<char*>(memory) + guard + size) - 8;
  top[6] = reinterpret_cast<void*>(main);
  fiber.sp = top;
#endif
}

}  // namespace emulator
