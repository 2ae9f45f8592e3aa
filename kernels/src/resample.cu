// Pooling and resizing: linear maps given by a table along H and one along W (average pooling,
// bilinear, nearest neighbor, and the adjoints of all these, by the transposed tables), sums of
// such maps, and maxima.
//
// Maps are N, H, W, C in memory. A thread computes one channel of a pixel, or, in the packed form,
// 16 bytes of channels.
#include "common.cuh"

// As many channels of a pixel as a thread has.
struct Single {
    T at[1];
};
template <typename Lanes>
constexpr u32 lanes_of = sizeof(Lanes) / sizeof(T);

template <typename Lanes>
__device__ __forceinline__ Lanes zeros() {
    Lanes lanes;
    for (u32 v = 0; v < lanes_of<Lanes>; v++) put(lanes.at[v], Real(0));
    return lanes;
}
template <typename Lanes>
__device__ __forceinline__ Lanes load(const T* from) {
    return *reinterpret_cast<const Lanes*>(from);
}

// A kernel and its packed form: `name` runs `body<Single>` or `body<Pack>`.
#if FORMS
#define BOTH(name, body, parameters, arguments) \
    KERNEL(name) parameters { body<Single> arguments; } \
    KERNEL(name##_packed) parameters { body<Pack> arguments; }
#else
#define BOTH(name, body, parameters, arguments) \
    KERNEL(name) parameters { body<Single> arguments; }
#endif

// A pixel of the output, and the first of the channels that a thread has; the pixel is beyond the
// last if it has none.
struct Position {
    u32 channel, column, row, image;

    __device__ __forceinline__ Position(u32 channels, u32 height, u32 width, u32 lanes) {
        u64 index = static_cast<u64>(blockIdx.x) * blockDim.x + threadIdx.x;
        u32 groups = channels / lanes;
        u32 rest = static_cast<u32>(index / groups);
        channel = static_cast<u32>(index % groups) * lanes;
        column = rest % width;
        rest /= width;
        row = rest % height;
        image = rest / height;
    }
};

// One channel of pixel (row, column) of an image among maps of `height` × `width`.
__device__ __forceinline__ u64 offset(
    u32 image, u32 row, u32 column, u32 height, u32 width, u32 channels, u32 channel) {
    return ((static_cast<u64>(image) * height + row) * width + column) * channels + channel;
}

// A table along an axis. Output o is the sum of the inputs from `outputs[o].first` on, with the
// weights from `outputs[o].start` up to `outputs[o + 1].start`.
struct Run {
    u32 first, start;
};
struct Table {
    const Real* weights;
    const Run* outputs;
};

// A map, and what becomes of its rows and columns.
struct Part {
    const T* source;
    Table rows, cols;
    u32 height, width;
};
constexpr u32 PARTS = 4;
struct Parts {
    u32 count;
    Part at[PARTS];
};

struct Output {
    u32 images, channels, height, width;
};

// y = start + Σ parts, or the GELU of that; `start` may be null, or y's own memory. Unless `kept`
// is null, the sum goes there as well.
template <typename Lanes>
__device__ __forceinline__ void resampled(
    T* y, T* kept, const T* start, const Parts& parts, Output output, u32 gelu_of_it) {
    constexpr u32 N = lanes_of<Lanes>;
    Position place(output.channels, output.height, output.width, N);
    if (place.image >= output.images) return;
    u64 at = offset(place.image, place.row, place.column, output.height, output.width,
        output.channels, place.channel);
    Real sums[N] = {};
    if (start) {
        Lanes from = load<Lanes>(start + at);
        for (u32 v = 0; v < N; v++) sums[v] = get(from.at[v]);
    }
#pragma unroll 1
    for (u32 p = 0; p < parts.count; p++) {
        const Part& part = parts.at[p];
        Run row = part.rows.outputs[place.row], col = part.cols.outputs[place.column];
        u32 rows = part.rows.outputs[place.row + 1].start - row.start;
        u32 cols = part.cols.outputs[place.column + 1].start - col.start;
        const T* source = part.source + offset(place.image, row.first, col.first, part.height,
                                            part.width, output.channels, place.channel);
        u64 line = static_cast<u64>(part.width) * output.channels;
        // Four pixels at a time, so that several loads are on their way at once; most tables have
        // no more.
#pragma unroll 1
        for (u32 r = 0; r < rows; r += 2, source += 2 * line) {
            bool below = r + 1 < rows;
            Real upper[N] = {}, lower[N] = {};
#pragma unroll 1
            for (u32 q = 0; q < cols; q += 2) {
                bool beside = q + 1 < cols;
                const T* corner = source + static_cast<u64>(q) * output.channels;
                Lanes a = load<Lanes>(corner);
                Lanes b = beside ? load<Lanes>(corner + output.channels) : zeros<Lanes>();
                Lanes c = below ? load<Lanes>(corner + line) : zeros<Lanes>();
                Lanes d =
                    below && beside ? load<Lanes>(corner + line + output.channels) : zeros<Lanes>();
                Real left = part.cols.weights[col.start + q];
                Real right = beside ? part.cols.weights[col.start + q + 1] : Real(0);
                for (u32 v = 0; v < N; v++) {
                    upper[v] += left * get(a.at[v]) + right * get(b.at[v]);
                    lower[v] += left * get(c.at[v]) + right * get(d.at[v]);
                }
            }
            Real top = part.rows.weights[row.start + r];
            Real bottom = below ? part.rows.weights[row.start + r + 1] : Real(0);
            for (u32 v = 0; v < N; v++) sums[v] += top * upper[v] + bottom * lower[v];
        }
    }
    Lanes result;
    if (kept) {
        for (u32 v = 0; v < N; v++) put(result.at[v], sums[v]);
        *reinterpret_cast<Lanes*>(kept + at) = result;
    }
    for (u32 v = 0; v < N; v++) put(result.at[v], gelu_of_it ? gelu(sums[v]) : sums[v]);
    *reinterpret_cast<Lanes*>(y + at) = result;
}

BOTH(resampled, resampled,
    (T * y, T* kept, const T* start, Parts parts, Output output, u32 gelu_of_it),
    (y, kept, start, parts, output, gelu_of_it))

// Max pooling: maps of `height` × `width` with windows of `kernel` × `kernel`, `stride` apart, of
// which there are `rows` × `cols`.
struct Windows {
    u32 images, channels, height, width, rows, cols, kernel, stride;
};

// The largest elements of a window, of which the first in row-major order counts, and their places
// in it; NaN is the largest.
template <typename Lanes>
struct Largest {
    Lanes values;
    u32 places[lanes_of<Lanes>];

    __device__ __forceinline__ Largest(
        const T* x, const Windows& windows, const Position& at, u32 row, u32 col) {
        const T* corner = x + offset(at.image, row * windows.stride, col * windows.stride,
                                  windows.height, windows.width, windows.channels, at.channel);
        values = load<Lanes>(corner);
        for (u32 v = 0; v < lanes_of<Lanes>; v++) places[v] = 0;
        for (u32 i = 0; i < windows.kernel; i++) {
            for (u32 j = 0; j < windows.kernel; j++) {
                Lanes other = load<Lanes>(
                    corner + (static_cast<u64>(i) * windows.width + j) * windows.channels);
                for (u32 v = 0; v < lanes_of<Lanes>; v++) {
                    Real a = get(other.at[v]);
                    bool larger = a > get(values.at[v]) || a != a;
                    values.at[v] = larger ? other.at[v] : values.at[v];
                    places[v] = larger ? i * windows.kernel + j : places[v];
                }
            }
        }
    }
};

template <typename Lanes>
__device__ __forceinline__ void max_pool(T* y, const T* x, const Windows& windows) {
    Position at(windows.channels, windows.rows, windows.cols, lanes_of<Lanes>);
    if (at.image >= windows.images) return;
    Largest<Lanes> largest(x, windows, at, at.row, at.column);
    u64 to = offset(
        at.image, at.row, at.column, windows.rows, windows.cols, windows.channels, at.channel);
    *reinterpret_cast<Lanes*>(y + to) = largest.values;
}

// The gradient where windows do not overlap: a thread for each writes its cell, up to the next
// window or the border.
template <typename Lanes>
__device__ __forceinline__ void max_pool_cells(
    T* dx, const T* x, const T* dy, const Windows& windows) {
    Position at(windows.channels, windows.rows, windows.cols, lanes_of<Lanes>);
    if (at.image >= windows.images) return;
    Largest<Lanes> largest(x, windows, at, at.row, at.column);
    Lanes gradient = load<Lanes>(dy + offset(at.image, at.row, at.column, windows.rows,
                                          windows.cols, windows.channels, at.channel));
    u32 top = at.row * windows.stride, left = at.column * windows.stride;
    u32 bottom = at.row + 1 < windows.rows ? top + windows.stride : windows.height;
    u32 right = at.column + 1 < windows.cols ? left + windows.stride : windows.width;
    for (u32 row = top; row < bottom; row++) {
        for (u32 col = left; col < right; col++) {
            bool inside = row - top < windows.kernel && col - left < windows.kernel;
            u32 place = (row - top) * windows.kernel + col - left;
            Lanes result = zeros<Lanes>();
            for (u32 v = 0; v < lanes_of<Lanes>; v++) {
                if (inside && largest.places[v] == place) result.at[v] = gradient.at[v];
            }
            u64 to = offset(
                at.image, row, col, windows.height, windows.width, windows.channels, at.channel);
            *reinterpret_cast<Lanes*>(dx + to) = result;
        }
    }
}

// The gradient where they do: a thread for each input looks through all windows that it is in.
template <typename Lanes>
__device__ __forceinline__ void max_pool_overlapping(
    T* dx, const T* x, const T* dy, const Windows& windows) {
    Position at(windows.channels, windows.height, windows.width, lanes_of<Lanes>);
    if (at.image >= windows.images) return;
    Real sums[lanes_of<Lanes>] = {};
    u32 kernel = windows.kernel, stride = windows.stride;
    u32 first_row = at.row < kernel ? 0 : (at.row - kernel) / stride + 1;
    u32 first_col = at.column < kernel ? 0 : (at.column - kernel) / stride + 1;
    for (u32 row = first_row; row < windows.rows && row * stride <= at.row; row++) {
        for (u32 col = first_col; col < windows.cols && col * stride <= at.column; col++) {
            Largest<Lanes> largest(x, windows, at, row, col);
            Lanes gradient = load<Lanes>(dy + offset(at.image, row, col, windows.rows, windows.cols,
                                                  windows.channels, at.channel));
            u32 place = (at.row - row * stride) * kernel + at.column - col * stride;
            for (u32 v = 0; v < lanes_of<Lanes>; v++) {
                if (largest.places[v] == place) sums[v] += get(gradient.at[v]);
            }
        }
    }
    Lanes result;
    for (u32 v = 0; v < lanes_of<Lanes>; v++) put(result.at[v], sums[v]);
    u64 to = offset(
        at.image, at.row, at.column, windows.height, windows.width, windows.channels, at.channel);
    *reinterpret_cast<Lanes*>(dx + to) = result;
}

BOTH(max_pool, max_pool, (T * y, const T* x, Windows windows), (y, x, windows))
BOTH(max_pool_cells, max_pool_cells, (T * dx, const T* x, const T* dy, Windows windows),
    (dx, x, dy, windows))
BOTH(max_pool_overlapping, max_pool_overlapping, (T * dx, const T* x, const T* dy, Windows windows),
    (dx, x, dy, windows))
