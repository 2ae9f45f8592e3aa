// What every kernel shares: the element type, how it is read and written, and how strided memory is
// walked.
//
// Each source is compiled once per element type, with ELEMENT and SUFFIX defined (float f32, double
// f64, half_t f16, bfloat_t bf16). `T` is then the type of a tensor's elements and `Real` the one
// that arithmetic is done in: float, or double for double. No header of the CUDA toolkit is needed,
// and the emulator's `cuda.h` stands in for the compiler's own names where there is no GPU.
#pragma once

typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;

// A kernel's name carries the type it was compiled for: KERNEL(add) is `add_f32`, `add_bf16`, ...
#define PASTE_(a, b) a##_##b
#define PASTE(a, b) PASTE_(a, b)
#define KERNEL(name) extern "C" __global__ void PASTE(name, SUFFIX)

// Whether kernels have forms for speed alone beside the one that takes any shape and strides: not
// in f64, which is for checks.
#define FORMS_f64 0
#define FORMS_f32 1
#define FORMS_f16 1
#define FORMS_bf16 1
#define FORMS PASTE(FORMS, SUFFIX)

// Dynamic shared memory, whose size the launch gives, as an array of `type`.
#ifdef EMULATOR
#define DYNAMIC_SHARED(type, name) type* name = static_cast<type*>(emulator_dynamic_shared())
#else
#define DYNAMIC_SHARED(type, name)                                   \
    extern __shared__ __align__(16) unsigned char dynamic_shared[]; \
    type* name = reinterpret_cast<type*>(dynamic_shared)
#endif

// IEEE half precision and bfloat16, as bits: they are stored, and computed with as floats.
struct half_t {
    unsigned short bits;
};
struct bfloat_t {
    unsigned short bits;
};

__device__ __forceinline__ float get(float x) { return x; }
__device__ __forceinline__ double get(double x) { return x; }
__device__ __forceinline__ float get(bfloat_t x) {
    return __uint_as_float(static_cast<u32>(x.bits) << 16);
}
__device__ __forceinline__ float get(half_t x) {
#ifdef EMULATOR
    return emulator_half_to_float(x.bits);
#else
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(x.bits));
    return value;
#endif
}

// To the nearest value of the type, ties to even.
__device__ __forceinline__ void put(float& to, float x) { to = x; }
__device__ __forceinline__ void put(double& to, double x) { to = x; }
__device__ __forceinline__ void put(bfloat_t& to, float x) {
    u32 bits = __float_as_uint(x);
    u32 rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
    // NaN stays NaN.
    to.bits = static_cast<unsigned short>(x != x ? 0x7FFF : rounded);
}
__device__ __forceinline__ void put(half_t& to, float x) {
#ifdef EMULATOR
    to.bits = emulator_float_to_half(x);
#else
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(to.bits) : "f"(x));
#endif
}

template <typename Element>
struct Arithmetic {
    typedef float type;
};
template <>
struct Arithmetic<double> {
    typedef double type;
};

typedef ELEMENT T;
typedef Arithmetic<T>::type Real;

// 16 bytes of elements, which the memory system moves at once. An address read through it must be a
// multiple of 16.
constexpr u32 PACK = 16 / sizeof(T);
struct __align__(16) Pack {
    T at[PACK];
};

// Functions of either arithmetic type.
__device__ __forceinline__ float exp_(float x) { return expf(x); }
// A call, since f64 is for checks, and its exponential long.
static __device__ __noinline__ double exp_(double x) { return exp(x); }
__device__ __forceinline__ float log_(float x) { return logf(x); }
__device__ __forceinline__ double log_(double x) { return log(x); }
__device__ __forceinline__ float sqrt_(float x) { return sqrtf(x); }
__device__ __forceinline__ double sqrt_(double x) { return sqrt(x); }
__device__ __forceinline__ float abs_(float x) { return fabsf(x); }
__device__ __forceinline__ double abs_(double x) { return fabs(x); }
__device__ __forceinline__ float tanh_(float x) { return tanhf(x); }
__device__ __forceinline__ double tanh_(double x) { return tanh(x); }
__device__ __forceinline__ float erf_(float x) { return erff(x); }
__device__ __forceinline__ double erf_(double x) { return erf(x); }
__device__ __forceinline__ float hypot_(float x, float y) { return hypotf(x, y); }
__device__ __forceinline__ double hypot_(double x, double y) { return hypot(x, y); }

// The exact GELU x·Φ(x) and its derivative Φ(x) + x·φ(x).
__device__ __forceinline__ Real gelu(Real x) {
    // The product would be −∞·0 at −∞.
    return x * Real(0.5) *
           (Real(1) + erf_(x < Real(-40) ? Real(-40) * Real(0.70710678118654752440)
                                         : x * Real(0.70710678118654752440)));
}
__device__ __forceinline__ Real gelu_derivative(Real x) {
    Real cumulative = Real(0.5) * (Real(1) + erf_(x * Real(0.70710678118654752440)));
    // Beyond, the density is 0, and ∞·0 would be NaN.
    Real bounded = abs_(x) < Real(40) ? x : Real(0);
    return cumulative +
           bounded * Real(0.39894228040143267794) * exp_(Real(-0.5) * bounded * bounded);
}

// Sums over a block of threads, in a fixed order: within warps by halving, then over the warps.
// Every thread gets the sum. The block has a multiple of 32 threads; `scratch` holds one number for
// each 32 of them.
template <typename Number>
__device__ __forceinline__ Number warp_sum(Number x) {
    for (int distance = 16; distance > 0; distance /= 2)
        x += __shfl_xor_sync(0xFFFFFFFFu, x, distance);
    return x;
}
template <typename Number>
__device__ __forceinline__ Number block_sum(Number x, Number* scratch) {
    x = warp_sum(x);
    __syncthreads();  // the scratch may still be read by an earlier sum
    if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
    __syncthreads();
    Number sum = 0;
    for (u32 warp = 0; warp < blockDim.x / 32; warp++) sum += scratch[warp];
    return sum;
}
