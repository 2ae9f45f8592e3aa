// What a kernel source (`.cu`) sees instead of the CUDA compiler when it is built for the CPU.
//
// The compiler is given this header with `-include`. It spells CUDA's keywords, built-in variables
// and device functions in plain C++; grid.cpp runs the threads. A name that is missing here fails
// to compile, so nothing is silently emulated wrongly.
#pragma once
#define EMULATOR 1

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <type_traits>
#include <utility>

// ---- keywords ----
#define __global__
#define __host__
#define __device__ __attribute__((unused))
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))
// Blocks run one after another, so a static variable is as good as one per block.
#define __shared__ static
#define __constant__ static

// ---- vector types ----
#define EMULATOR_VECTOR(T, name, align2, align4) \
  struct __align__(align2) name##2 { T x, y; }; \
  struct name##3 { T x, y, z; }; \
  struct __align__(align4) name##4 { T x, y, z, w; }; \
  inline name##2 make_##name##2(T x, T y) { return {x, y}; } \
  inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; } \
  inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
EMULATOR_VECTOR(signed char, char, 2, 4)
EMULATOR_VECTOR(unsigned char, uchar, 2, 4)
EMULATOR_VECTOR(short, short, 4, 8)
EMULATOR_VECTOR(unsigned short, ushort, 4, 8)
EMULATOR_VECTOR(int, int, 8, 16)
EMULATOR_VECTOR(unsigned, uint, 8, 16)
EMULATOR_VECTOR(long long, longlong, 16, 16)
EMULATOR_VECTOR(unsigned long long, ulonglong, 16, 16)
EMULATOR_VECTOR(float, float, 8, 16)
EMULATOR_VECTOR(double, double, 16, 16)
#undef EMULATOR_VECTOR

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

// ---- where a thread is ----
// Plain variables: grid.cpp sets them each time it changes to another thread or block.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
constexpr int warpSize = 32;

// ---- waiting for other threads, implemented in grid.cpp ----
namespace emulator {
enum class Wait { none, threads, warp, shuffle, vote };
uint64_t exchange(unsigned mask, uint64_t value, int source);  // the value of lane `source`
unsigned vote(Wait kind, unsigned mask, bool predicate);       // the lanes that say yes
int lane();
[[noreturn]] void trap();
}  // namespace emulator

// The running block's dynamic shared memory: as many bytes as the launch asked for, 256-aligned.
void* emulator_dynamic_shared();

void __syncthreads();
inline void __syncwarp(unsigned mask = ~0u) { emulator::vote(emulator::Wait::warp, mask, false); }
inline unsigned __ballot_sync(unsigned mask, int p) {
  return emulator::vote(emulator::Wait::vote, mask, p);
}
inline int __any_sync(unsigned mask, int p) { return __ballot_sync(mask, p) != 0; }
inline int __all_sync(unsigned mask, int p) { return __ballot_sync(mask, !p) == 0; }
[[noreturn]] inline void __trap() { emulator::trap(); }
inline void __threadfence() {}
inline void __threadfence_block() {}

namespace emulator {
template <class T> T shuffle(unsigned mask, T value, int source) {
  static_assert(std::is_arithmetic_v<T> && sizeof(T) <= 8, "only numbers can be shuffled");
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof(T));
  bits = exchange(mask, bits, source);
  memcpy(&value, &bits, sizeof(T));
  return value;
}
}  // namespace emulator

// A lane outside the segment of `width` lanes is never read: the caller gets its own value back.
template <class T> T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  return emulator::shuffle(mask, value, (emulator::lane() & ~(width - 1)) | (source & (width - 1)));
}
template <class T> T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  int lane = emulator::lane(), source = lane - int(delta);
  return emulator::shuffle(mask, value, source >= (lane & ~(width - 1)) ? source : lane);
}
template <class T> T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  int lane = emulator::lane(), source = lane + int(delta);
  return emulator::shuffle(mask, value, source <= (lane | (width - 1)) ? source : lane);
}
template <class T> T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
  int lane = emulator::lane(), source = (lane ^ bits) & 31;
  return emulator::shuffle(mask, value, source <= (lane | (width - 1)) ? source : lane);
}

// ---- memory ----
template <class T> T __ldg(const T* p) { return *p; }

// Threads change only where they wait, so a plain read and write is atomic.
#define EMULATOR_ATOMIC(name, T, expression) \
  inline T name(T* p, T value) { \
    T old = *p; \
    *p = expression; \
    return old; \
  }
#define EMULATOR_ATOMICS(T) \
  EMULATOR_ATOMIC(atomicMax, T, old > value ? old : value) \
  EMULATOR_ATOMIC(atomicMin, T, old < value ? old : value) \
  EMULATOR_ATOMIC(atomicAnd, T, old & value) \
  EMULATOR_ATOMIC(atomicOr, T, old | value) \
  EMULATOR_ATOMIC(atomicExch, T, value) \
  inline T atomicCAS(T* p, T expected, T value) { \
    T old = *p; \
    if (old == expected) *p = value; \
    return old; \
  }
EMULATOR_ATOMICS(int)
EMULATOR_ATOMICS(unsigned)
EMULATOR_ATOMICS(unsigned long long)
EMULATOR_ATOMIC(atomicAdd, int, int(unsigned(old) + unsigned(value)))  // wraps around
EMULATOR_ATOMIC(atomicAdd, unsigned, old + value)
EMULATOR_ATOMIC(atomicAdd, unsigned long long, old + value)
EMULATOR_ATOMIC(atomicAdd, float, old + value)
EMULATOR_ATOMIC(atomicAdd, double, old + value)
EMULATOR_ATOMIC(atomicExch, float, value)
#undef EMULATOR_ATOMICS
#undef EMULATOR_ATOMIC

// ---- numbers ----
#define EMULATOR_MIN_MAX(T, A, B) \
  constexpr T min(A a, B b) { return (T)a < (T)b ? (T)a : (T)b; } \
  constexpr T max(A a, B b) { return (T)a > (T)b ? (T)a : (T)b; }
EMULATOR_MIN_MAX(int, int, int)
EMULATOR_MIN_MAX(unsigned, unsigned, unsigned)
EMULATOR_MIN_MAX(unsigned, int, unsigned)
EMULATOR_MIN_MAX(unsigned, unsigned, int)
EMULATOR_MIN_MAX(long, long, long)
EMULATOR_MIN_MAX(unsigned long, unsigned long, unsigned long)
EMULATOR_MIN_MAX(long long, long long, long long)
EMULATOR_MIN_MAX(unsigned long long, unsigned long long, unsigned long long)
#undef EMULATOR_MIN_MAX
// As fminf and fmaxf: a number wins over NaN.
#define EMULATOR_MIN_MAX(T, A, B) \
  constexpr T min(A a, B b) { return a != a ? b : b != b ? a : a < b ? a : b; } \
  constexpr T max(A a, B b) { return a != a ? b : b != b ? a : a > b ? a : b; }
EMULATOR_MIN_MAX(float, float, float)
EMULATOR_MIN_MAX(double, double, double)
EMULATOR_MIN_MAX(double, float, double)
EMULATOR_MIN_MAX(double, double, float)
#undef EMULATOR_MIN_MAX

namespace emulator {
template <class To, class From> To bits(From from) {
  static_assert(sizeof(To) == sizeof(From), "");
  To to;
  memcpy(&to, &from, sizeof(to));
  return to;
}
// Keeps the compiler from contracting a product that CUDA promises to round by itself.
template <class T> T rounded(T value) {
  asm("" : "+m"(value));
  return value;
}
// sin and cos of pi times x, exact where the result is.
template <class T> void sincospi(T x, T* sine, T* cosine) {
  double r = double(x) - 2 * nearbyint(double(x) / 2), quarter = nearbyint(2 * r);
  double s = sin(M_PI * (r - quarter / 2)), c = cos(M_PI * (r - quarter / 2));
  switch (int(quarter) & 3) {
    case 0: *sine = T(s), *cosine = T(c); break;
    case 1: *sine = T(c), *cosine = T(-s); break;
    case 2: *sine = T(-s), *cosine = T(-c); break;
    default: *sine = T(-c), *cosine = T(s);
  }
  if (x - x != 0) *sine = *cosine = T(NAN);
}
inline float reciprocal_root(float x) { return float(1 / ::sqrt(double(x))); }
inline double reciprocal_root(double x) { return 1 / ::sqrt(x); }
}  // namespace emulator

// IEEE half precision, as the instructions `cvt.f32.f16` and `cvt.rn.f16.f32` convert it.
inline float emulator_half_to_float(unsigned short half) {
  unsigned sign = (half & 0x8000u) << 16, exponent = half >> 10 & 31, mantissa = half & 1023;
  if (exponent == 0)
    return emulator::bits<float>(sign | emulator::bits<unsigned>(float(mantissa) * 0x1p-24f));
  return emulator::bits<float>(sign | (exponent == 31 ? 255 : exponent + 112) << 23 |
                               mantissa << 13);
}
inline unsigned short emulator_float_to_half(float x) {
  unsigned bits = emulator::bits<unsigned>(x), sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
  if (size > 0x7f800000) return 0x7fff;                   // NaN
  if (size >= 0x477ff000) return (unsigned short)(sign | 0x7c00);  // 65520 and more is infinite
  // Subnormal.
  if (size < 0x38800000) return (unsigned short)(sign | unsigned(lrintf(fabsf(x) * 0x1p24f)));
  return (unsigned short)(sign | (size + 0xfff + (size >> 13 & 1) - 0x38000000) >> 13);
}

// Macros, since newer C libraries declare functions of these names themselves.
#define rsqrtf(x) emulator::reciprocal_root(float(x))
#define rsqrt(x) emulator::reciprocal_root(x)
#define sincospif(x, s, c) emulator::sincospi<float>(x, s, c)
#define sincospi(x, s, c) emulator::sincospi<double>(x, s, c)

inline unsigned __float_as_uint(float x) { return emulator::bits<unsigned>(x); }
inline int __float_as_int(float x) { return emulator::bits<int>(x); }
inline float __uint_as_float(unsigned x) { return emulator::bits<float>(x); }
inline float __int_as_float(int x) { return emulator::bits<float>(x); }
inline long long __double_as_longlong(double x) { return emulator::bits<long long>(x); }
inline double __longlong_as_double(long long x) { return emulator::bits<double>(x); }

inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __saturatef(float x) { return x > 0 ? x < 1 ? x : 1.0f : 0.0f; }  // NaN becomes 0
inline float __fadd_rn(float a, float b) { return emulator::rounded(a + b); }
inline float __fsub_rn(float a, float b) { return emulator::rounded(a - b); }
inline float __fmul_rn(float a, float b) { return emulator::rounded(a * b); }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline float __frcp_rn(float a) { return 1 / a; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __dadd_rn(double a, double b) { return emulator::rounded(a + b); }
inline double __dmul_rn(double a, double b) { return emulator::rounded(a * b); }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
inline int __float2int_rn(float x) { return int(lrintf(x)); }

inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((uint64_t(a) * b) >> 32); }
inline int __mulhi(int a, int b) { return int((int64_t(a) * b) >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}

// ---- how the driver finds a kernel ----
namespace emulator {
struct Kernel {
  const char* name;
  void (*thread)(void** parameters);  // runs one thread
  const size_t* sizes;                // of the parameters
  size_t count;
};
bool enroll(const Kernel& kernel);

template <auto kernel> struct Caller;
template <class... A, void (*kernel)(A...)> struct Caller<kernel> {
  static constexpr size_t count = sizeof...(A), sizes[count + 1] = {sizeof(A)..., 0};
  template <size_t... I> static void call(void** p, std::integer_sequence<size_t, I...>) {
    kernel(*static_cast<std::remove_cv_t<A>*>(p[I])...);
  }
  static void thread([[maybe_unused]] void** p) {
    call(p, std::make_integer_sequence<size_t, count>{});
  }
};
}  // namespace emulator

// The build appends one of these for every entry that the module's PTX declares.
#define EMULATOR_KERNEL(name) \
  static const bool emulator_enrolled_##name __attribute__((unused)) = \
      emulator::enroll({#name, &emulator::Caller<&name>::thread, emulator::Caller<&name>::sizes, \
                        emulator::Caller<&name>::count});
