// How a block shares out a reduction: the host says which elements go into which output, and how
// many threads, its lanes, take an output together. `cuda/reduction.rs` is the host's side.
#pragma once
#include "common.cuh"

constexpr u32 RANK = 8;
constexpr u32 THREADS = 256;

// A loop nest over strided memory, innermost dimension first.
struct Part {
    u32 count;
    u32 rank;
    u32 sizes[RANK];
    u32 strides[RANK];

    // Where element `index` is. Once what is left of the index is less than a dimension's size, the
    // outer ones have none.
    __device__ __forceinline__ u32 at(u32 index) const {
        u32 at = 0, d = 0;
        for (; index >= sizes[d]; d++) {
            u32 outer = index / sizes[d];
            at += (index - outer * sizes[d]) * strides[d];
            index = outer;
        }
        return at + index * strides[d];
    }
};

// In a packed form one of the parts counts packs instead of elements.
struct Reduction {
    Part kept;     // the outputs, in the order of their memory
    Part reduced;  // what goes into each
    u32 lanes;     // threads to an output: a power of two
    // Whether neighboring threads are an output's lanes; else they are lanes of neighboring
    // outputs.
    u32 rows;
    u32 piece;     // how many of the reduced elements a block takes
};

// Which of an output's lanes a thread is.
struct Lane {
    u32 lane, lanes;
    u32 step;  // from a thread to the next lane of its output
};

// A thread's part in a reduction.
struct Position : Lane {
    u32 output;
    bool live;     // whether there is such an output
    u32 from, to;  // the piece of the reduced elements

    __device__ __forceinline__ explicit Position(const Reduction& r) {
        u32 width = THREADS / r.lanes;
        lane = r.rows ? threadIdx.x % r.lanes : threadIdx.x / width;
        lanes = r.lanes;
        step = r.rows ? 1 : width;
        output = blockIdx.x * width + (r.rows ? threadIdx.x / r.lanes : threadIdx.x % width);
        live = output < r.kept.count;
        from = min(blockIdx.y * r.piece, r.reduced.count);
        to = min(from + r.piece, r.reduced.count);
    }
};

// The `N` elements at an address that is a multiple of their size, as numbers.
template <u32 N, typename From>
__device__ __forceinline__ void load(Real* to, const From* from) {
    if constexpr (N == 1) {
        to[0] = get(*from);
    } else {
        Pack pack = *reinterpret_cast<const Pack*>(from);
        for (u32 i = 0; i < N; i++) to[i] = get(pack.at[i]);
    }
}
template <u32 N>
__device__ __forceinline__ void store(T* to, const Real* from) {
    if constexpr (N == 1) {
        put(*to, from[0]);
    } else {
        Pack pack;
        for (u32 i = 0; i < N; i++) put(pack.at[i], from[i]);
        *reinterpret_cast<Pack*>(to) = pack;
    }
}

// How many of `from + lane`, `from + lane + lanes`, ... are less than `to`.
__device__ __forceinline__ u32 turns(u32 from, u32 to, const Lane& lane) {
    u32 first = from + lane.lane;
    return first < to ? (to - first - 1) / lane.lanes + 1 : 0;
}

// The loads of N numbers that a loop has under way: a pack is long enough by itself.
template <u32 N>
constexpr u32 LOADS = N == 1 ? 4 : 1;

// `f(index of the load, where it is, its N numbers)` for what the thread reduces, in order.
template <u32 N, typename From, typename Function>
__device__ __forceinline__ void each(
    const From* x, const Reduction& r, const Position& here, Function f) {
    u32 j = here.from + here.lane, count = turns(here.from, here.to, here);
    auto one = [&](size_t at) {
        Real numbers[N];
        load<N>(numbers, x + at);
        f(j, at, numbers);
        j += here.lanes;
    };
    if (N == 1 && r.reduced.rank == 1) {
        size_t stride = r.reduced.strides[0];
#pragma unroll LOADS<N>
        for (u32 i = 0; i < count; i++) one(j * stride);
    } else {
#pragma unroll 1
        for (u32 i = 0; i < count; i++) one(r.reduced.at(j));
    }
}

// Folds each of N numbers over the lanes of every output, by halving; each lane gets the results.
// All threads must come here.
template <typename Fold, u32 N, typename Number>
__device__ __forceinline__ void fold_lanes(
    Number* x, const Lane& here, Number (*scratch)[THREADS]) {
    u32 self = threadIdx.x;
    __syncthreads();  // the scratch may still be read by an earlier one
    for (u32 k = 0; k < N; k++) scratch[k][self] = x[k];
    for (u32 half = here.lanes / 2; half > 0; half /= 2) {
        __syncthreads();
        if (here.lane < half) {
            for (u32 k = 0; k < N; k++)
                scratch[k][self] = Fold::of(scratch[k][self], scratch[k][self + half * here.step]);
        }
    }
    __syncthreads();
    for (u32 k = 0; k < N; k++) x[k] = scratch[k][self - here.lane * here.step];
}

struct Sum {
    template <typename Number>
    static __device__ __forceinline__ Number of(Number a, Number b) {
        return a + b;
    }
    static __device__ __forceinline__ Real none() { return 0; }
};

// NaN wins.
struct Max {
    template <typename Number>
    static __device__ __forceinline__ Number of(Number a, Number b) {
        return b > a || b != b ? b : a;
    }
    static __device__ __forceinline__ Real none() { return -Real(1) / Real(0); }
};
