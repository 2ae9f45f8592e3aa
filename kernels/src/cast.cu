// Casts between the floating-point types, to the nearest number and ties to even.
#include "common.cuh"

// By way of Real: exact, or, from f64, a rounding to f32 first where the target is smaller. The CPU
// rounds once; the two can differ in the last bit of a half where the f32 lies exactly between two
// of them.
template <typename To>
__device__ __forceinline__ void cast(To* y, const T* x, u32 count) {
    u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) put(y[i], static_cast<typename Arithmetic<To>::type>(get(x[i])));
}

KERNEL(cast_to_f32)(float* y, const T* x, u32 count) { cast(y, x, count); }
KERNEL(cast_to_f64)(double* y, const T* x, u32 count) { cast(y, x, count); }
KERNEL(cast_to_f16)(half_t* y, const T* x, u32 count) { cast(y, x, count); }
KERNEL(cast_to_bf16)(bfloat_t* y, const T* x, u32 count) { cast(y, x, count); }
