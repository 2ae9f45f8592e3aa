// Running a kernel's grid: what the driver asks of grid.cpp.
#pragma once
#include "cuda.h"
#include <string>
#include <vector>

namespace emulator {

// The kernel compiled in under this name, or null.
const Kernel* find_kernel(const std::string& name);

struct Launch {
  const Kernel* kernel;
  dim3 grid, block;
  size_t shared;                  // bytes of dynamic shared memory
  bool waits;                     // a thread may wait for others, so each needs a stack
  std::vector<void*> parameters;  // into `storage`
  std::vector<uint64_t> storage;  // the arguments' values
};

// Runs every thread of the grid; false if the kernel trapped.
bool run_grid(const Launch& launch);

// Numbers for every order that is left open, from CUDA_EMULATOR_SEED.
struct Random {
  uint64_t state;
  uint64_t operator()() {  // splitmix64
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  }
  size_t below(size_t n) { return size_t(((*this)() >> 32) * n >> 32); }
  template <class It> void shuffle(It begin, It end) {
    for (size_t n = size_t(end - begin); n > 1; --n) std::swap(begin[n - 1], begin[below(n)]);
  }
};
uint64_t seed();

}  // namespace emulator
