// Operations element by element: arithmetic, functions of one number and their gradients, copies.
//
// The host merges the dimensions that all operands walk with one stride each, so that `Loops`
// usually has one: then the loop over the outer ones is empty. A thread computes one element, or,
// in the packed form, the 16 bytes of elements that memory moves at once: the host launches that
// where every operand's innermost stride is 1 (and everything is aligned) or 0 (one number for the
// whole pack).
#include "common.cuh"

constexpr u32 RANK = 8;
constexpr u32 INPUTS = 6;

// Where the output's elements are in each input: innermost dimension first.
struct Loops {
    u32 count;  // elements of the output
    u32 rank;
    u32 sizes[RANK];
    u32 strides[INPUTS][RANK];
};

struct Inputs {
    const T* at[INPUTS];
};

// Functions of many instructions, called once for each element of a pack instead of repeated.
__device__ __noinline__ Real pow_(Real x, Real y) { return pow(x, y); }
__device__ __noinline__ Real called_log(Real x) { return log_(x); }
__device__ __noinline__ Real called_tanh(Real x) { return tanh_(x); }
__device__ __noinline__ Real called_gelu(Real x) { return gelu(x); }
__device__ __noinline__ Real called_gelu_derivative(Real x) { return gelu_derivative(x); }
__device__ __noinline__ Real silu(Real x) { return x / (Real(1) + exp_(-x)); }
// The derivative of SiLU, x·σ(x): σ(x)·(1 + x·(1 − σ(x))).
__device__ __noinline__ Real silu_derivative(Real x) {
    Real sigmoid = Real(1) / (Real(1) + exp_(-x));
    return sigmoid * (Real(1) + x * (Real(1) - sigmoid));
}

// The parameters of affine (scale, shift), clamp (bounds), leaky_relu (slope), pow (the exponent,
// and the exponent less 1) and compare (which comparison).
struct Constants {
    double a, b;
};

// Where element `index` of the output is in each input. Once what is left of the index is less than
// a dimension's size, the outer ones have none.
template <u32 N>
__device__ __forceinline__ void find(u32 (&at)[N], u32 index, const Loops& loops) {
    u32 rest = index, d = 0;
    for (; rest >= loops.sizes[d]; d++) {
        u32 outer = rest / loops.sizes[d], i = rest - outer * loops.sizes[d];
        for (u32 k = 0; k < N; k++) at[k] += i * loops.strides[k][d];
        rest = outer;
    }
    for (u32 k = 0; k < N; k++) at[k] += rest * loops.strides[k][d];
}

template <typename Function, u32 N>
__device__ __forceinline__ void element(
    T* y, const Inputs& inputs, const Loops& loops, Constants constants) {
    u32 index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= loops.count) return;
    u32 at[N] = {};
    find(at, index, loops);
    Real x[N];
    for (u32 k = 0; k < N; k++) x[k] = get(inputs.at[k][at[k]]);
    put(y[index], Function::of(x, constants));
}

template <typename Function, u32 N>
__device__ __forceinline__ void pack(
    T* y, const Inputs& inputs, const Loops& loops, Constants constants) {
    u32 index = (blockIdx.x * blockDim.x + threadIdx.x) * PACK;
    if (index >= loops.count) return;
    u32 at[N] = {};
    find(at, index, loops);
    Pack x[N];
    for (u32 k = 0; k < N; k++) {
        if (loops.strides[k][0] == 1) {
            x[k] = *reinterpret_cast<const Pack*>(inputs.at[k] + at[k]);
        } else {
            T one = inputs.at[k][at[k]];
            for (u32 i = 0; i < PACK; i++) x[k].at[i] = one;
        }
    }
    Pack result;
    for (u32 i = 0; i < PACK; i++) {
        Real numbers[N];
        for (u32 k = 0; k < N; k++) numbers[k] = get(x[k].at[i]);
        put(result.at[i], Function::of(numbers, constants));
    }
    *reinterpret_cast<Pack*>(y + index) = result;
}

// A kernel and its packed form: `name` computes `value` from the N numbers x[0], x[1], ... and the
// constants `with`.
#define POINTWISE(name, N, value) \
    struct name##_function { \
        static __device__ __forceinline__ Real of(const Real* x, const Constants& with) { \
            (void)with; \
            return value; \
        } \
    }; \
    KERNEL(name)(T * y, Inputs inputs, Loops loops, Constants constants) { \
        element<name##_function, N>(y, inputs, loops, constants); \
    } \
    POINTWISE_PACKED(name, N)
#if FORMS
#define POINTWISE_PACKED(name, N) \
    KERNEL(name##_packed)(T * y, Inputs inputs, Loops loops, Constants constants) { \
        pack<name##_function, N>(y, inputs, loops, constants); \
    }
#else
#define POINTWISE_PACKED(name, N)
#endif

POINTWISE(copy, 1, x[0])

POINTWISE(add, 2, x[0] + x[1])
POINTWISE(sub, 2, x[0] - x[1])
POINTWISE(mul, 2, x[0] * x[1])
POINTWISE(div, 2, x[0] / x[1])
POINTWISE(affine, 1, x[0] * Real(with.a) + Real(with.b))

// 1 where the comparison holds, and 0 elsewhere. With NaN only ≠ holds.
POINTWISE(
    compare, 2,
    (with.a == 0   ? x[0] == x[1]
     : with.a == 1 ? x[0] != x[1]
     : with.a == 2 ? x[0] < x[1]
                   : x[0] <= x[1])
        ? Real(1)
        : Real(0))
POINTWISE(where_cond, 3, x[0] != Real(0) ? x[1] : x[2])

// Comparisons are arranged so that NaN comes out as NaN.
POINTWISE(exp, 1, exp_(x[0]))
POINTWISE(log, 1, called_log(x[0]))
POINTWISE(sqrt, 1, sqrt_(x[0]))
POINTWISE(square, 1, x[0] * x[0])
POINTWISE(abs, 1, abs_(x[0]))
POINTWISE(tanh, 1, called_tanh(x[0]))
POINTWISE(sigmoid, 1, Real(1) / (Real(1) + exp_(-x[0])))
POINTWISE(silu, 1, silu(x[0]))
POINTWISE(relu, 1, x[0] <= Real(0) ? Real(0) : x[0])
POINTWISE(leaky_relu, 1, x[0] > Real(0) ? x[0] : x[0] * Real(with.a))
POINTWISE(pow, 1, pow_(x[0], Real(with.a)))
POINTWISE(clamp, 1, x[0] < Real(with.a) ? Real(with.a) : x[0] > Real(with.b) ? Real(with.b) : x[0])
POINTWISE(gelu, 1, called_gelu(x[0]))

// The gradients: x[0] is what the function kept (its input or its output, as it says on the CPU),
// x[1] is dy. That of exp is mul.
POINTWISE(log_gradient, 2, x[1] / x[0])
POINTWISE(sqrt_gradient, 2, x[1] / (x[0] + x[0]))
POINTWISE(square_gradient, 2, x[1] * (x[0] + x[0]))
POINTWISE(abs_gradient, 2, x[0] > Real(0) ? x[1] : x[0] < Real(0) ? -x[1] : Real(0))
POINTWISE(tanh_gradient, 2, x[1] * (Real(1) - x[0] * x[0]))
POINTWISE(sigmoid_gradient, 2, x[1] * x[0] * (Real(1) - x[0]))
POINTWISE(silu_gradient, 2, x[1] * silu_derivative(x[0]))
POINTWISE(relu_gradient, 2, x[0] <= Real(0) ? Real(0) : x[1])
POINTWISE(leaky_relu_gradient, 2, x[0] > Real(0) ? x[1] : x[1] * Real(with.a))
POINTWISE(
    pow_gradient, 2,
    with.a == 0 ? Real(0) : x[1] * (Real(with.a) * pow_(x[0], Real(with.b))))
POINTWISE(clamp_gradient, 2, x[0] >= Real(with.a) && x[0] <= Real(with.b) ? x[1] : Real(0))
POINTWISE(gelu_gradient, 2, x[1] * called_gelu_derivative(x[0]))
