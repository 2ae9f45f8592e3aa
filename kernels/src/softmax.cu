// Softmax over one dimension, its logarithm, and the gradient of the former, each in one launch:
// the lanes of a row read it once for its maximum, once for its sum and once to write; all but the
// first time it comes from a cache.
#include "lanes.cuh"

template <u32 OUT, u32 IN>
__device__ __forceinline__ void softmax(T* y, const T* x, const Reduction& r, bool logarithm) {
    __shared__ Real scratch[OUT][THREADS];
    constexpr u32 N = OUT * IN;
    Position here(r);
    size_t start = here.live ? r.kept.at(here.output) : 0;
    Real largest[OUT], sums[OUT];
    for (u32 k = 0; k < OUT; k++) largest[k] = Max::none(), sums[k] = 0;
    if (here.live) {
        each<N>(x + start, r, here, [&](u32, size_t, const Real* numbers) {
            for (u32 i = 0; i < N; i++) largest[i % OUT] = Max::of(largest[i % OUT], numbers[i]);
        });
    }
    fold_lanes<Max, OUT>(largest, here, scratch);
    if (here.live) {
        each<N>(x + start, r, here, [&](u32, size_t, const Real* numbers) {
            for (u32 i = 0; i < N; i++) sums[i % OUT] += exp_(numbers[i] - largest[i % OUT]);
        });
    }
    fold_lanes<Sum, OUT>(sums, here, scratch);
    if (here.live) {
        for (u32 k = 0; k < OUT; k++) sums[k] = logarithm ? log_(sums[k]) : Real(1) / sums[k];
        each<N>(x + start, r, here, [&](u32, size_t at, const Real* numbers) {
            Real shares[N];
            for (u32 i = 0; i < N; i++) {
                Real below = numbers[i] - largest[i % OUT];
                shares[i] = logarithm ? below - sums[i % OUT] : exp_(below) * sums[i % OUT];
            }
            store<N>(y + start + at, shares);
        });
    }
}

// The gradient from the output y: dx = y·(dy − Σ dy·y).
template <u32 OUT, u32 IN>
__device__ __forceinline__ void softmax_gradient(
    T* dx, const T* y, const T* dy, const Reduction& r) {
    __shared__ Real scratch[OUT][THREADS];
    constexpr u32 N = OUT * IN;
    Position here(r);
    size_t start = here.live ? r.kept.at(here.output) : 0;
    Real sums[OUT];
    for (u32 k = 0; k < OUT; k++) sums[k] = 0;
    if (here.live) {
        each<N>(y + start, r, here, [&](u32, size_t at, const Real* shares) {
            Real gradients[N];
            load<N>(gradients, dy + start + at);
            for (u32 i = 0; i < N; i++)
                sums[i % OUT] += shares[i] * gradients[i];
        });
    }
    fold_lanes<Sum, OUT>(sums, here, scratch);
    if (here.live) {
        each<N>(y + start, r, here, [&](u32, size_t at, const Real* shares) {
            Real gradients[N];
            load<N>(gradients, dy + start + at);
            for (u32 i = 0; i < N; i++) gradients[i] = shares[i] * (gradients[i] - sums[i % OUT]);
            store<N>(dx + start + at, gradients);
        });
    }
}

KERNEL(softmax)(T* y, const T* x, Reduction r, u32 logarithm) { softmax<1, 1>(y, x, r, logarithm); }
KERNEL(softmax_gradient)(T* dx, const T* y, const T* dy, Reduction r) {
    softmax_gradient<1, 1>(dx, y, dy, r);
}
#if FORMS
KERNEL(softmax_rows)(T* y, const T* x, Reduction r, u32 logarithm) {
    softmax<1, PACK>(y, x, r, logarithm);
}
KERNEL(softmax_columns)(T* y, const T* x, Reduction r, u32 logarithm) {
    softmax<PACK, 1>(y, x, r, logarithm);
}
KERNEL(softmax_gradient_rows)(T* dx, const T* y, const T* dy, Reduction r) {
    softmax_gradient<1, PACK>(dx, y, dy, r);
}
KERNEL(softmax_gradient_columns)(T* dx, const T* y, const T* dy, Reduction r) {
    softmax_gradient<PACK, 1>(dx, y, dy, r);
}
#endif
