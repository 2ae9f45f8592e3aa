// Runs the threads of a grid on one host thread: blocks one after another, both in a random order.
//
// A kernel that never waits is a plain loop over its threads. In any other, every thread of a block
// has a fiber. It runs until it waits at a barrier or a warp operation; the last one to come makes
// the others ready again. What is ready runs in rounds, each in a new random order.
//
// Everything here is global, as the variables that a kernel reads are: the driver runs one grid at
// a time.
#include "grid.h"
#include "fibers.h"
#include <memory>
#include <unordered_map>

#ifndef EMULATOR_UCONTEXT
asm(R"(
.text
.hidden emulator_switch
.globl emulator_switch
.type emulator_switch, @function
.p2align 4
emulator_switch:
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
.size emulator_switch, . - emulator_switch
)");
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace emulator {
namespace {

struct Trap {};  // thrown to leave a kernel

struct Thread {
  uint3 index;
  Fiber fiber;
  Wait wait = Wait::none;
  bool exited = false;
  // The warp operation it waits for: the lanes that take part, what it brings, what it gets.
  unsigned mask;
  int source;  // the lane that a shuffle reads
  uint64_t value, result;
};

const Launch* launch;
char* shared;
std::vector<std::unique_ptr<Thread>> threads;  // a pool: a block uses the first `size`
unsigned size, alive, at_barrier, running;
struct Warp {
  unsigned alive, waiting;  // lanes
};
std::vector<Warp> warps;
std::vector<unsigned> ready, next_round;  // `ready` runs from its back
bool eager;                               // released lanes go on before the rest of the round
bool trapped;
Fiber host;
Random chance;

const char* const WAITS[] = {"nothing", "__syncthreads", "__syncwarp", "a shuffle", "a vote"};

std::string where(uint3 thread) {
  char text[200];
  snprintf(text, sizeof text, "kernel %s, block (%u,%u,%u), thread (%u,%u,%u)",
           launch->kernel->name, blockIdx.x, blockIdx.y, blockIdx.z, thread.x, thread.y, thread.z);
  return text;
}

[[noreturn]] void die(const std::string& what) {
  fprintf(stderr, "CUDA emulator: %s\n", what.c_str());
  abort();
}

// Goes on with the next thread of this round, or back to the host when there is none.
void leave(Fiber& from) {
  if (ready.empty()) return switch_fiber(from, host);
  running = ready.back();
  ready.pop_back();
  threadIdx = threads[running]->index;
  switch_fiber(from, threads[running]->fiber);
}

void wait(Thread& thread) {
  leave(thread.fiber);
  if (trapped) throw Trap{};
}

void must_have_fiber() {
  if (launch->waits) return;
  die(where(threadIdx) +
      " waits for others, but the kernel's PTX has no such instruction: is it out of date?");
}

void release_block() {
  at_barrier = 0;
  for (unsigned t = 0; t < size; ++t)
    if (threads[t]->wait == Wait::threads) {
      threads[t]->wait = Wait::none;
      next_round.push_back(t);
    }
}

// Completes the warp operation that `lane` waits for if all living lanes of its mask have come to
// it.
void complete_warp(unsigned w, unsigned lane) {
  Warp& warp = warps[w];
  auto at = [&](unsigned lane) -> Thread& { return *threads[w * 32 + lane]; };
  const Wait kind = at(lane).wait;
  const unsigned mask = at(lane).mask, group = mask & warp.alive;
  if ((warp.waiting & group) != group) return;
  unsigned yes = 0;
  for (unsigned rest = group; rest; rest &= rest - 1) {
    unsigned l = __builtin_ctz(rest);
    if (at(l).wait != kind || at(l).mask != mask) return;
    if (at(l).value) yes |= 1u << l;
  }
  std::vector<unsigned>& queue = eager ? ready : next_round;
  size_t begin = queue.size();
  for (unsigned rest = group; rest; rest &= rest - 1) {
    unsigned l = __builtin_ctz(rest);
    // What an absent lane would have brought is undefined.
    Thread& t = at(l);
    t.result = kind != Wait::shuffle   ? yes
               : group >> t.source & 1 ? at(t.source).value
                                       : ~uint64_t(0);
    t.wait = Wait::none;
    queue.push_back(w * 32 + l);
  }
  if (eager) chance.shuffle(queue.begin() + begin, queue.end());
  warp.waiting &= ~group;
}

uint64_t warp_operation(Wait kind, unsigned mask, uint64_t value, int source) {
  must_have_fiber();
  unsigned w = running / 32, lane = running % 32;
  if (!(mask >> lane & 1)) die(where(threadIdx) + " is not in the mask of its own warp operation");
  Thread& thread = *threads[running];
  thread.wait = kind;
  thread.mask = mask;
  thread.value = value;
  thread.source = source;
  warps[w].waiting |= 1u << lane;
  complete_warp(w, lane);
  wait(thread);
  return thread.result;
}

void exit_thread() {
  Warp& warp = warps[running / 32];
  threads[running]->exited = true;
  --alive;
  warp.alive &= ~(1u << running % 32);
  if (trapped) return;
  // The others no longer wait for it.
  if (alive && at_barrier == alive) release_block();
  for (unsigned lane = 0; lane < 32; ++lane)
    if (warp.waiting >> lane & 1) complete_warp(running / 32, lane);
}

void fiber_main() {
  arrived(&threads[running]->fiber);
  for (;;) {
    if (!trapped) try {
      launch->kernel->thread(const_cast<void**>(launch->parameters.data()));
    } catch (Trap) {
      trapped = true;
    }
    Fiber& fiber = threads[running]->fiber;
    exit_thread();
    leave(fiber);
  }
}

[[noreturn]] void report_deadlock() {
  std::string text = "threads of a block wait for each other for ever";
  unsigned shown = 0;
  for (unsigned t = 0; t < size && shown < 4; ++t) {
    const Thread& thread = *threads[t];
    bool new_kind =
        t == 0 || thread.wait != threads[t - 1]->wait || thread.exited != threads[t - 1]->exited;
    if (!new_kind) continue;
    ++shown;
    text += "\n  " + where(thread.index) +
            (thread.exited ? " has exited" : std::string(" waits at ") + WAITS[int(thread.wait)]);
  }
  die(text);
}

void run_fibers(const std::vector<uint3>& indices) {
  while (threads.size() < size) {
    threads.push_back(std::make_unique<Thread>());
    create_fiber(threads.back()->fiber, fiber_main);
  }
  warps.assign((size + 31) / 32, Warp{0, 0});
  alive = size;
  at_barrier = 0;
  eager = chance.below(2);
  for (unsigned t = 0; t < size; ++t) {
    threads[t]->index = indices[t];
    threads[t]->wait = Wait::none;
    threads[t]->exited = false;
    warps[t / 32].alive |= 1u << t % 32;
    next_round.push_back(t);
  }
  while (alive) {
    if (trapped) {  // the others throw where they wait
      next_round.clear();
      for (unsigned t = 0; t < size; ++t)
        if (!threads[t]->exited) next_round.push_back(t);
    }
    if (next_round.empty()) report_deadlock();
    ready.swap(next_round);
    chance.shuffle(ready.begin(), ready.end());
    leave(host);
  }
}

}  // namespace

int lane() { return int(running % 32); }

uint64_t exchange(unsigned mask, uint64_t value, int source) {
  return warp_operation(Wait::shuffle, mask, value, source);
}

unsigned vote(Wait kind, unsigned mask, bool predicate) {
  return unsigned(warp_operation(kind, mask, predicate, 0));
}

void trap() {
  fprintf(stderr, "CUDA emulator: %s trapped\n", where(threadIdx).c_str());
  throw Trap{};
}

static std::unordered_map<std::string, Kernel>& kernels() {
  static std::unordered_map<std::string, Kernel> all;
  return all;
}

bool enroll(const Kernel& kernel) { return kernels().emplace(kernel.name, kernel).second; }

const Kernel* find_kernel(const std::string& name) {
  auto found = kernels().find(name);
  return found == kernels().end() ? nullptr : &found->second;
}

uint64_t seed() {
  static const char* text = getenv("CUDA_EMULATOR_SEED");
  return text ? strtoull(text, nullptr, 0) : 1;
}

bool run_grid(const Launch& what) {
  static uint64_t count;
  chance.state = seed() * 0x2545f4914f6cdd1d + ++count;
  chance.state = chance();
  launch = &what;
  blockDim = what.block;
  gridDim = what.grid;
  trapped = false;
  size = blockDim.x * blockDim.y * blockDim.z;
  std::vector<uint3> indices(size);
  for (unsigned t = 0; t < size; ++t)
    indices[t] = {t % blockDim.x, t / blockDim.x % blockDim.y, t / blockDim.x / blockDim.y};
  std::vector<unsigned> order(size), blocks(size_t(gridDim.x) * gridDim.y * gridDim.z);
  for (unsigned t = 0; t < size; ++t) order[t] = t;
  for (size_t b = 0; b < blocks.size(); ++b) blocks[b] = unsigned(b);
  chance.shuffle(blocks.begin(), blocks.end());
  void* memory = nullptr;
  if (posix_memalign(&memory, 256, what.shared) != 0) die("no memory for a block's shared memory");
  shared = static_cast<char*>(memory);

  for (unsigned b : blocks) {
    blockIdx = {b % gridDim.x, b / gridDim.x % gridDim.y, b / gridDim.x / gridDim.y};
    memset(shared, 0xff, what.shared);
    if (what.waits) {
      run_fibers(indices);
    } else {
      chance.shuffle(order.begin(), order.end());
      try {
        for (unsigned t : order) {
          running = t;
          threadIdx = indices[t];
          what.kernel->thread(const_cast<void**>(what.parameters.data()));
        }
      } catch (Trap) {
        trapped = true;
      }
    }
    if (trapped) break;
  }
  free(memory);
  return !trapped;
}

}  // namespace emulator

void __syncthreads() {
  using namespace emulator;
  must_have_fiber();
  Thread& thread = *threads[running];
  thread.wait = Wait::threads;
  if (++at_barrier == alive) release_block();
  wait(thread);
}

void* emulator_dynamic_shared() { return emulator::shared; }
