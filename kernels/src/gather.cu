// Elements chosen by indices, which are 64-bit integers, and the adjoint of that: sums by indices.
// What an index out of bounds chooses is NaN, and what it should be added to is left out: no memory
// beyond the tensor is touched.
#include "common.cuh"

constexpr u32 RANK = 8;

// A loop nest, innermost dimension first, and how far a step along each leads in three tensors.
struct Loops {
    u32 count;
    u32 rank;
    u32 sizes[RANK];
    u32 strides[3][RANK];

    // Where element `index` is in the first N.
    template <u32 N>
    __device__ __forceinline__ void find(size_t (&at)[N], u32 index) const {
#pragma unroll 1
        for (u32 d = 0; d < rank; d++) {
            u32 i = index;
            if (d + 1 < rank) {
                index /= sizes[d];
                i -= index * sizes[d];
            }
            for (u32 k = 0; k < N; k++) at[k] += static_cast<size_t>(i) * strides[k][d];
        }
    }
};

// The dimension along which indices count: its size, and a step along it in the chosen tensor.
struct Chosen {
    u32 size;
    u32 stride;
};

// The loops is over y, in x (without the chosen dimension) and in the indices.
KERNEL(gather)(T* y, const T* x, const i64* indices, Loops loops, Chosen chosen) {
    u32 index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= loops.count) return;
    size_t at[2] = {};
    loops.find(at, index);
    u64 i = static_cast<u64>(indices[at[1]]);  // a negative one is large
    if (i < chosen.size) {
        y[index] = x[at[0] + i * chosen.stride];
    } else {
        put(y[index], Real(0) / Real(0));
    }
}

// How the lines of dx, along the chosen dimension, are shared out: a thread has `part` elements of
// one. It goes over all of the line's indices, in order, so that each sum has one owner and one
// order.
struct Lines {
    u32 parts, part;
    u32 count;                            // of indices
    u32 gradient_stride, indices_stride;  // along the dimension
};

// The loops is over the lines, in dx, dy and the indices. dx is full of zeros.
KERNEL(scatter_add)(
    Real* dx, const T* dy, const i64* indices, Loops loops, Chosen chosen, Lines lines) {
    u32 thread = blockIdx.x * blockDim.x + threadIdx.x;
    u32 line = thread % loops.count;
    u64 from = static_cast<u64>(thread / loops.count) * lines.part;
    u64 to = min(from + lines.part, static_cast<u64>(chosen.size));
    if (from >= to) return;
    size_t at[3] = {};
    loops.find(at, line);
    for (u32 j = 0; j < lines.count; j++) {
        u64 i = static_cast<u64>(indices[at[2] + static_cast<size_t>(j) * lines.indices_stride]);
        if (i >= from && i < to)
            dx[at[0] + i * chosen.stride] +=
                get(dy[at[1] + static_cast<size_t>(j) * lines.gradient_stride]);
    }
}

// 1 where the index is the number of the class, else 0. The loops is over y, in the indices and in
// the numbers of the classes.
KERNEL(one_hot)(T* y, const i64* indices, Loops loops) {
    u32 index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= loops.count) return;
    size_t at[2] = {};
    loops.find(at, index);
    put(y[index], static_cast<u64>(indices[at[0]]) == at[1] ? Real(1) : Real(0));
}
