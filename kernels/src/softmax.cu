// Softmax over one dimension, its logarithm, and the gradients of both, each in one launch: the
// lanes of a row read it once for its maximum, once for its sum and once to write; all but the
// first time it comes from a cache.
#include "lanes.cuh"

// The last step, from x − max x and a number of the row.
struct Share {
    static __device__ __forceinline__ Real of_row(Real sum) { return Real(1) / sum; }
    static __device__ __forceinline__ Real of(Real x, Real row) { return exp_(x) * row; }
};
struct LogShare {
    static __device__ __forceinline__ Real of_row(Real sum) { return log_(sum); }
    static __device__ __forceinline__ Real of(Real x, Real row) { return x - row; }
};

template <typename Result, u32 OUT, u32 IN>
__device__ __forceinline__ void softmax(T* y, const T* x, const Reduction& r) {
    __shared__ Real scratch[OUT][THREADS];
    constexpr u32 N = OUT * IN;
    Place place(r);
    size_t start = place.live ? r.kept.at(place.output) : 0;
    Real largest[OUT], sums[OUT];
    for (u32 k = 0; k < OUT; k++) largest[k] = Max::none(), sums[k] = 0;
    if (place.live) {
        each<N>(x + start, r, place, [&](u32, const Real* numbers) {
            for (u32 i = 0; i < N; i++) largest[i % OUT] = Max::of(largest[i % OUT], numbers[i]);
        });
    }
    fold_lanes<Max, OUT>(largest, place, scratch);
    if (place.live) {
        each<N>(x + start, r, place, [&](u32, const Real* numbers) {
            for (u32 i = 0; i < N; i++) sums[i % OUT] += exp_(numbers[i] - largest[i % OUT]);
        });
    }
    fold_lanes<Sum, OUT>(sums, place, scratch);
    if (place.live) {
        for (u32 k = 0; k < OUT; k++) sums[k] = Result::of_row(sums[k]);
        each<N>(x + start, r, place, [&](u32 j, const Real* numbers) {
            Real shares[N];
            for (u32 i = 0; i < N; i++)
                shares[i] = Result::of(numbers[i] - largest[i % OUT], sums[i % OUT]);
            store<N>(y + start + r.reduced.at(j), shares);
        });
    }
}

// The gradients from the output y: dx = y·(dy − Σ dy·y), and dx = dy − exp(y)·Σ dy.
struct ShareGradient {
    static __device__ __forceinline__ Real term(Real y, Real dy) { return y * dy; }
    static __device__ __forceinline__ Real of(Real y, Real dy, Real sum) { return y * (dy - sum); }
};
struct LogShareGradient {
    static __device__ __forceinline__ Real term(Real, Real dy) { return dy; }
    static __device__ __forceinline__ Real of(Real y, Real dy, Real sum) {
        return dy - exp_(y) * sum;
    }
};

template <typename Gradient, u32 OUT, u32 IN>
__device__ __forceinline__ void softmax_gradient(
    T* dx, const T* y, const T* dy, const Reduction& r) {
    __shared__ Real scratch[OUT][THREADS];
    constexpr u32 N = OUT * IN;
    Place place(r);
    size_t start = place.live ? r.kept.at(place.output) : 0;
    Real sums[OUT];
    for (u32 k = 0; k < OUT; k++) sums[k] = 0;
    if (place.live) {
        each<N>(y + start, r, place, [&](u32 j, const Real* shares) {
            Real gradients[N];
            load<N>(gradients, dy + start + r.reduced.at(j));
            for (u32 i = 0; i < N; i++) sums[i % OUT] += Gradient::term(shares[i], gradients[i]);
        });
    }
    fold_lanes<Sum, OUT>(sums, place, scratch);
    if (place.live) {
        each<N>(y + start, r, place, [&](u32 j, const Real* shares) {
            Real gradients[N];
            load<N>(gradients, dy + start + r.reduced.at(j));
            for (u32 i = 0; i < N; i++)
                gradients[i] = Gradient::of(shares[i], gradients[i], sums[i % OUT]);
            store<N>(dx + start + r.reduced.at(j), gradients);
        });
    }
}

#define SOFTMAX(name, Result, Gradient) \
    KERNEL(name)(T * y, const T* x, Reduction r) { softmax<Result, 1, 1>(y, x, r); } \
    KERNEL(name##_rows)(T * y, const T* x, Reduction r) { softmax<Result, 1, PACK>(y, x, r); } \
    KERNEL(name##_columns)(T * y, const T* x, Reduction r) { softmax<Result, PACK, 1>(y, x, r); } \
    KERNEL(name##_gradient)(T * dx, const T* y, const T* dy, Reduction r) { \
        softmax_gradient<Gradient, 1, 1>(dx, y, dy, r); \
    } \
    KERNEL(name##_gradient_rows)(T * dx, const T* y, const T* dy, Reduction r) { \
        softmax_gradient<Gradient, 1, PACK>(dx, y, dy, r); \
    } \
    KERNEL(name##_gradient_columns)(T * dx, const T* y, const T* dy, Reduction r) { \
        softmax_gradient<Gradient, PACK, 1>(dx, y, dy, r); \
    }

SOFTMAX(softmax, Share, ShareGradient)
SOFTMAX(log_softmax, LogShare, LogShareGradient)
