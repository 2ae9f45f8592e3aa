// What the kernels of convolutions share: their geometry, and counting through pixels and kernel
// elements.
//
// Maps are channels-last. A convolution is a matrix product, tile by tile: its terms are pairs of a
// kernel element and a channel, and the matrix of x is never written down, but gathered from the
// map as tiles of it are needed.
#pragma once
#include "common.cuh"

// From a map x to a map y: a convolution, or, if `transposed`, its adjoint, where x is as the
// convolution's result and y as its input.
struct Convolution {
    u32 transposed;
    u32 images, groups;
    u32 from, to;  // channels of x and of y in a group
    u32 x_height, x_width, y_height, y_width;
    u32 kernel_height, kernel_width;
    u32 stride, padding, dilation;
    u32 x_packs;  // whether x may be read by Packs of channels
    // Whether Quads of channels of y, and of what lies as y does, may be moved at once.
    u32 y_quads;
};

// Threads of a block, and terms of the sums that it multiplies at a time.
constexpr u32 THREADS = 256;
constexpr u32 SLICE = 16;

// Channels that a thread computes.
constexpr u32 QUAD = 4;

// Unused numbers at the end of a row of shared memory: rows then begin in different banks.
constexpr u32 GAP = 16 / sizeof(Real);

// N numbers that memory moves together: their address must be a multiple of their size, or of 16 if
// that is more.
template <typename Number, u32 N>
struct __align__(N * sizeof(Number) < 16 ? N * sizeof(Number) : 16) Run {
    Number at[N];
};
typedef Run<T, QUAD> Quad;

template <u32 N, typename Number>
__device__ __forceinline__ Run<Number, N> read(const Number* from) {
    return *reinterpret_cast<const Run<Number, N>*>(from);
}

// A number of three digits that is counted up: the lowest is below `lows`, the middle one below
// `middles`.
struct Counter {
    u32 low, middle, high;

    __device__ __forceinline__ void add(u32 steps, u32 lows, u32 middles) {
        for (low += steps; low >= lows; low -= lows) {
            if (++middle == middles) {
                middle = 0;
                high++;
            }
        }
    }
};

// The kernel elements that reach a pixel along one axis, and where in x each looks: `step`·pixel +
// start + k·advance for the k-th.
struct Axis {
    u32 count;
    u32 first, period;  // the k-th is element first + k·period of the kernel
    u32 step;
    int start, advance;

    __device__ __forceinline__ int shift(u32 k) const {
        return start + static_cast<int>(k) * advance;
    }
};

// A convolution sees every element from every pixel. In its adjoint, a pixel sees those that the
// stride lets it: of pixels with one remainder mod the stride, the phase, they are the same.
__device__ __forceinline__ Axis axis(const Convolution& c, u32 kernel, u32 phase) {
    if (!c.transposed)
        return {kernel, 0, 1, c.stride, -static_cast<int>(c.padding), static_cast<int>(c.dilation)};
    u32 period = 1;
    while (period * c.dilation % c.stride != 0) period++;
    u32 first = 0;
    int distance = static_cast<int>(phase + c.padding), dilation = static_cast<int>(c.dilation),
        stride = static_cast<int>(c.stride);
    while (first < period && distance % stride != 0) {
        distance -= dilation;
        first++;
    }
    u32 count = first < period && first < kernel ? (kernel - first + period - 1) / period : 0;
    return {count, first, period, 1, distance / stride,
        -static_cast<int>(period * c.dilation / c.stride)};
}
