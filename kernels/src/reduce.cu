// Sums, maxima and running sums over dimensions. Sums and maxima are made in two passes: each block
// folds a piece of what goes into its outputs, and where there are several pieces to an output a
// second launch folds those. How the pieces are cut depends on shapes alone.
//
// Neighboring threads read neighboring elements: of one output if the innermost dimension in
// memory is reduced, of neighboring outputs if it is kept, as in the sum of a channels-last map
// over its pixels. Packed forms read 16 bytes at a time, and hold one output or as many as those
// are.
#include "lanes.cuh"

// Folds loads of IN·OUT elements into OUT outputs; one of the two is 1. Where `partial` is there,
// the results go there as they are, piece by piece; else scaled to y.
template <typename Fold, u32 OUT, u32 IN, typename From>
__device__ __forceinline__ void reduce(
    T* y, Real* partial, const From* x, const Reduction& r, double scale) {
    __shared__ Real scratch[OUT][THREADS];
    Position here(r);
    Real results[OUT];
    for (u32 k = 0; k < OUT; k++) results[k] = Fold::none();
    if (here.live) {
        const From* start = x + r.kept.at(here.output);
        each<IN * OUT>(start, r, here, [&](u32, size_t, const Real* numbers) {
            for (u32 i = 0; i < IN * OUT; i++)
                results[i % OUT] = Fold::of(results[i % OUT], numbers[i]);
        });
    }
    fold_lanes<Fold, OUT>(results, here, scratch);
    if (!here.live || here.lane > 0) return;
    if (partial) {
        size_t to = (static_cast<size_t>(blockIdx.y) * r.kept.count + here.output) * OUT;
        for (u32 k = 0; k < OUT; k++) partial[to + k] = results[k];
    } else {
        for (u32 k = 0; k < OUT; k++) results[k] *= Real(scale);
        store<OUT>(y + static_cast<size_t>(here.output) * OUT, results);
    }
}

#define REDUCE(name, Fold) \
    KERNEL(name)(T * y, Real * partial, const T* x, Reduction r, double scale) { \
        reduce<Fold, 1, 1>(y, partial, x, r, scale); \
    } \
    KERNEL(name##_pieces)(T * y, Real * partial, const Real* x, Reduction r, double scale) { \
        reduce<Fold, 1, 1>(y, partial, x, r, scale); \
    }
#define REDUCE_PACKED(name, Fold) \
    KERNEL(name##_rows)(T * y, Real * partial, const T* x, Reduction r, double scale) { \
        reduce<Fold, 1, PACK>(y, partial, x, r, scale); \
    } \
    KERNEL(name##_columns)(T * y, Real * partial, const T* x, Reduction r, double scale) { \
        reduce<Fold, PACK, 1>(y, partial, x, r, scale); \
    }

REDUCE(sum, Sum)
REDUCE(max, Max)
#if FORMS
REDUCE_PACKED(sum, Sum)
REDUCE_PACKED(max, Max)
#endif

constexpr u32 NOWHERE = 0xFFFFFFFF;

struct First {
    static __device__ __forceinline__ u32 of(u32 a, u32 b) { return min(a, b); }
};

// Which of an output's elements, in the order of `r.reduced`, is the first that is the maximum y or
// NaN: one number per piece.
KERNEL(max_places)(u32* places, const T* x, const T* y, Reduction r) {
    __shared__ u32 scratch[1][THREADS];
    Position here(r);
    u32 first = NOWHERE;
    if (here.live) {
        Real largest = get(y[here.output]);
        each<1>(x + r.kept.at(here.output), r, here, [&](u32 j, size_t, const Real* number) {
            if (number[0] == largest || number[0] != number[0]) first = min(first, j);
        });
    }
    fold_lanes<First, 1>(&first, here, scratch);
    if (here.live && here.lane == 0)
        places[static_cast<size_t>(blockIdx.y) * r.kept.count + here.output] = first;
}

// Writes each output's dy to where its maximum is in dx, which is full of zeros. `r` walks dx.
KERNEL(max_gradient)(T* dx, const u32* places, u32 pieces, const T* dy, Reduction r) {
    u32 output = blockIdx.x * blockDim.x + threadIdx.x;
    if (output >= r.kept.count) return;
    u32 place = NOWHERE;
    for (u32 piece = 0; piece < pieces && place == NOWHERE; piece++) {
        place = places[static_cast<size_t>(piece) * r.kept.count + output];
    }
    if (place != NOWHERE)
        dx[static_cast<size_t>(r.kept.at(output)) + r.reduced.at(place)] = dy[output];
}

// Where each output's maximum is, by the pieces' places; 0 if it is nowhere.
KERNEL(argmax)(i64* y, const u32* places, u32 pieces, u32 count) {
    u32 output = blockIdx.x * blockDim.x + threadIdx.x;
    if (output >= count) return;
    u32 place = NOWHERE;
    for (u32 piece = 0; piece < pieces && place == NOWHERE; piece++) {
        place = places[static_cast<size_t>(piece) * count + output];
    }
    y[output] = place == NOWHERE ? 0 : place;
}

// The sums of each line's elements up to each, or from each on if `reverse`: a thread to a line.
// x and y lie alike. Sums in double precision do not drift as those of many f32 do.
KERNEL(cumsum)(T* y, const T* x, Reduction r, u32 reverse) {
    u32 line = blockIdx.x * blockDim.x + threadIdx.x;
    if (line >= r.kept.count) return;
    size_t start = r.kept.at(line), stride = r.reduced.strides[0];
    double sum = 0;
    for (u32 i = 0; i < r.reduced.count; i++) {
        size_t at = start + (reverse ? r.reduced.count - 1 - i : i) * stride;
        sum += get(x[at]);
        put(y[at], Real(sum));
    }
}
