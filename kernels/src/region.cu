// Copies into a part of a larger tensor, for joined tensors and for the gradients of slices;
// padding of maps.
#include "common.cuh"

constexpr u32 RANK = 8;

// Where the copied elements (or packs) go to and come from: innermost dimension first.
struct Region {
    u32 count;
    u32 rank;
    u32 sizes[RANK];
    u32 to[RANK];
    u32 from[RANK];
};

template <typename Element>
__device__ __forceinline__ void copy(T* y, const T* x, const Region& region) {
    u32 rest = blockIdx.x * blockDim.x + threadIdx.x;
    if (rest >= region.count) return;
    u32 to = 0, from = 0, d = 0;
    // Once what is left of the index is less than a dimension's size, the outer ones have none.
    for (; rest >= region.sizes[d]; d++) {
        u32 outer = rest / region.sizes[d], i = rest - outer * region.sizes[d];
        to += i * region.to[d];
        from += i * region.from[d];
        rest = outer;
    }
    to += rest * region.to[d];
    from += rest * region.from[d];
    *reinterpret_cast<Element*>(y + to) = *reinterpret_cast<const Element*>(x + from);
}

KERNEL(copy_region)(T* y, const T* x, Region region) { copy<T>(y, x, region); }
#if FORMS
KERNEL(copy_region_packed)(T* y, const T* x, Region region) { copy<Pack>(y, x, region); }
#endif

// A side of a map and its padding.
struct Side {
    u32 before, size, after;
};

// From x [n, c, h, w] of any strides to the dense channels-last memory of y. A packed form counts
// packs of channels.
struct Maps {
    u32 count, channels, height, width;  // of y
    Side rows, columns;
    u32 strides[4];  // of x
};

// For an index of y along a side, how many indices of x add up to it, and which.
struct Zeros {
    static __device__ __forceinline__ u32 of(u32 i, const Side& side, u32* from) {
        from[0] = i - side.before;
        return i >= side.before && from[0] < side.size ? 1 : 0;
    }
};
struct Reflect {
    static __device__ __forceinline__ u32 of(u32 i, const Side& side, u32* from) {
        u32 inside = i < side.before ? side.before - i : i - side.before;
        from[0] = inside < side.size ? inside : 2 * (side.size - 1) - inside;
        return 1;
    }
};
// The adjoint: y has the inner size, x the padded one.
struct ReflectGradient {
    static __device__ __forceinline__ u32 of(u32 i, const Side& side, u32* from) {
        bool before = i >= 1 && i <= side.before;
        u32 to_end = side.size - 1 - i, inside = side.before + i,
            beyond = side.before + side.size - 1 + to_end;
        from[0] = before ? side.before - i : inside;
        from[1] = before ? inside : beyond;
        from[2] = beyond;
        return 1 + before + (to_end >= 1 && to_end <= side.after);
    }
};

template <typename Padding, u32 N>
__device__ __forceinline__ void pad(T* y, const T* x, const Maps& maps) {
    u32 index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= maps.count) return;
    u32 rest = index;
    u32 channel = rest % maps.channels;
    rest /= maps.channels;
    u32 column = rest % maps.width;
    rest /= maps.width;
    u32 row = rest % maps.height;
    u32 image = rest / maps.height;
    u32 rows[3], columns[3];
    u32 row_count = Padding::of(row, maps.rows, rows),
        column_count = Padding::of(column, maps.columns, columns);
    const T* start =
        x + static_cast<size_t>(image) * maps.strides[0] + channel * N * maps.strides[1];
    Real sums[N] = {};
#pragma unroll
    for (u32 i = 0; i < 3; i++) {
        if (i == row_count) break;
#pragma unroll
        for (u32 j = 0; j < 3; j++) {
            if (j == column_count) break;
            const T* from = start + static_cast<size_t>(rows[i]) * maps.strides[2] +
                            static_cast<size_t>(columns[j]) * maps.strides[3];
            if constexpr (N == 1) {
                sums[0] += get(*from);
            } else {
                Pack pack = *reinterpret_cast<const Pack*>(from);
                for (u32 k = 0; k < N; k++) sums[k] += get(pack.at[k]);
            }
        }
    }
    if constexpr (N == 1) {
        put(y[index], sums[0]);
    } else {
        Pack pack;
        for (u32 k = 0; k < N; k++) put(pack.at[k], sums[k]);
        *reinterpret_cast<Pack*>(y + static_cast<size_t>(index) * N) = pack;
    }
}

KERNEL(pad_zeros)(T* y, const T* x, Maps maps) { pad<Zeros, 1>(y, x, maps); }
KERNEL(pad_reflect)(T* y, const T* x, Maps maps) { pad<Reflect, 1>(y, x, maps); }
KERNEL(pad_reflect_gradient)(T* y, const T* x, Maps maps) { pad<ReflectGradient, 1>(y, x, maps); }
#if FORMS
KERNEL(pad_zeros_packed)(T* y, const T* x, Maps maps) { pad<Zeros, PACK>(y, x, maps); }
KERNEL(pad_reflect_packed)(T* y, const T* x, Maps maps) { pad<Reflect, PACK>(y, x, maps); }
KERNEL(pad_reflect_gradient_packed)(T* y, const T* x, Maps maps) {
    pad<ReflectGradient, PACK>(y, x, maps);
}
#endif
