// Batch and instance normalization of channels-last maps: the statistics of each channel, the
// normalized map, and the gradients.
//
// Every sum is taken in two passes, as in `reduce.cu`: a block sums a piece of the rows (pixels) of
// a group for neighboring channels, and a second launch adds the pieces up. A thread adds few
// numbers in Real before it goes on in f64, and numbers are taken relative to one that is near, so
// that a large mean costs no precision.
#include "lanes.cuh"

// The numbers a thread adds up in Real.
constexpr u32 CHUNK = 32;

// `groups` runs of `rows` rows of channels. A packed form counts packs of channels.
struct Maps {
    u32 groups, rows, channels;
    u32 lanes;   // threads to a channel
    u32 blocks;  // along the channels
    u32 piece;   // rows to a block
};

// A thread's part: one channel (or pack of N) of a group, and every lanes-th of a piece's rows.
template <u32 N>
struct Rows : Lane {
    bool live;
    u32 from, to;
    size_t number;   // of the channel's numbers among those of all groups
    size_t start;    // where the group's first row has the channel
    size_t stride;   // from row to row
    size_t numbers;  // of all groups

    __device__ __forceinline__ explicit Rows(const Maps& maps) {
        u32 width = THREADS / maps.lanes;
        lane = threadIdx.x / width;
        lanes = maps.lanes;
        step = width;
        u32 group = blockIdx.x / maps.blocks,
            channel = blockIdx.x % maps.blocks * width + threadIdx.x % width;
        live = channel < maps.channels;
        from = min(blockIdx.y * maps.piece, maps.rows);
        to = min(from + maps.piece, maps.rows);
        stride = static_cast<size_t>(maps.channels) * N;
        numbers = maps.groups * stride;
        number = group * stride + static_cast<size_t>(channel) * N;
        start = group * stride * maps.rows + static_cast<size_t>(channel) * N;
    }
};

// Folds two sums a channel over the lanes and writes them: `partial` is [2, pieces, numbers].
template <u32 N>
__device__ __forceinline__ void write_partial(
    double* partial, const Rows<N>& rows, double* first, double* second) {
    __shared__ double scratch[N][THREADS];
    fold_lanes<Sum, N>(first, rows, scratch);
    fold_lanes<Sum, N>(second, rows, scratch);
    if (!rows.live || rows.lane > 0) return;
    double* to = partial + blockIdx.y * rows.numbers + rows.number;
    for (u32 k = 0; k < N; k++) {
        to[k] = first[k];
        to[gridDim.y * rows.numbers + k] = second[k];
    }
}

// Σ(x − shift) and Σ(x − shift)², where the shift is the group's first value of the channel.
template <u32 N>
__device__ __forceinline__ void statistics(double* partial, const T* x, const Maps& maps) {
    Rows<N> rows(maps);
    double sums[N] = {}, squares[N] = {};
    if (rows.live && rows.from < rows.to) {
        Real shift[N];
        load<N>(shift, x + rows.start);
        for (u32 row = rows.from + rows.lane; row < rows.to; row += CHUNK * rows.lanes) {
            // Relative to the chunk's own first value.
            Real first[N], sum[N] = {}, square[N] = {};
            load<N>(first, x + rows.start + row * rows.stride);
            u32 count = min(CHUNK, (rows.to - row - 1) / rows.lanes + 1);
#pragma unroll LOADS<N>
            for (u32 i = 1; i < count; i++) {
                Real numbers[N];
                load<N>(numbers,
                    x + rows.start + (row + static_cast<size_t>(i) * rows.lanes) * rows.stride);
                for (u32 k = 0; k < N; k++) {
                    Real distance = numbers[k] - first[k];
                    sum[k] += distance;
                    square[k] += distance * distance;
                }
            }
            for (u32 k = 0; k < N; k++) {
                double way = static_cast<double>(first[k]) - static_cast<double>(shift[k]);
                sums[k] += sum[k] + count * way;
                squares[k] += square[k] + way * (2.0 * sum[k] + count * way);
            }
        }
    }
    write_partial<N>(partial, rows, sums, squares);
}

KERNEL(normalize_statistics)(double* partial, const T* x, Maps maps) {
    statistics<1>(partial, x, maps);
}
#if FORMS
KERNEL(normalize_statistics_packed)(double* partial, const T* x, Maps maps) {
    statistics<PACK>(partial, x, maps);
}
#endif

// Adds up the pieces, 32 lanes to a channel: whether the thread is the one to write the channel's
// sums.
struct Pieces : Lane {
    u32 number;
    double first, second;

    __device__ __forceinline__ bool add(const double* partial, u32 pieces, u32 numbers) {
        __shared__ double scratch[1][THREADS];
        lanes = 32;
        step = THREADS / lanes;
        lane = threadIdx.x / step;
        number = blockIdx.x * step + threadIdx.x % step;
        first = second = 0;
        if (number < numbers) {
#pragma unroll 4
            for (u32 piece = lane; piece < pieces; piece += lanes) {
                first += partial[static_cast<size_t>(piece) * numbers + number];
                second += partial[static_cast<size_t>(pieces + piece) * numbers + number];
            }
        }
        fold_lanes<Sum, 1>(&first, *this, scratch);
        fold_lanes<Sum, 1>(&second, *this, scratch);
        return number < numbers && lane == 0;
    }
};

// The mean and the biased variance of each channel of each group.
KERNEL(normalize_finish_statistics)(
    double* mean, double* var, const double* partial, const T* x, u32 pieces, Maps maps) {
    Pieces sums;
    if (!sums.add(partial, pieces, maps.groups * maps.channels)) return;
    u32 group = sums.number / maps.channels, channel = sums.number % maps.channels;
    double shift = get(x[static_cast<size_t>(group) * maps.rows * maps.channels + channel]);
    double way = sums.first / maps.rows, variance = sums.second / maps.rows - way * way;
    mean[sums.number] = shift + way;
    var[sums.number] = variance < 0.0 ? 0.0 : variance;
}

// What is left of the mean when it is rounded to a Real m.
__device__ __forceinline__ double beyond(double mean, Real m) {
    return mean - static_cast<double>(m);
}

// The numbers [3, groups, channels] with which y = (x − m)·scale + shift.
KERNEL(normalize_numbers)
(Real* numbers, const double* mean, const double* var, const T* weight, const T* bias, double eps,
    u32 groups, u32 channels) {
    u32 i = blockIdx.x * blockDim.x + threadIdx.x, count = groups * channels;
    if (i >= count) return;
    double scale = get(weight[i % channels]) / sqrt(var[i] + eps);
    Real m = static_cast<Real>(mean[i]);
    numbers[i] = m;
    numbers[count + i] = static_cast<Real>(scale);
    numbers[2 * count + i] =
        static_cast<Real>(get(bias[i % channels]) - beyond(mean[i], m) * scale);
}

template <u32 N>
__device__ __forceinline__ void normalize(T* y, const T* x, const Real* numbers, const Maps& maps) {
    Rows<N> rows(maps);
    if (!rows.live) return;
    Real m[N], scale[N], shift[N];
    for (u32 k = 0; k < N; k++) {
        const Real* number = numbers + rows.number + k;
        m[k] = number[0];
        scale[k] = number[rows.numbers];
        shift[k] = number[2 * rows.numbers];
    }
    size_t at = rows.start + (rows.from + rows.lane) * rows.stride, step = rows.lanes * rows.stride;
    u32 count = turns(rows.from, rows.to, rows);
#pragma unroll LOADS<N>
    for (u32 i = 0; i < count; i++, at += step) {
        Real values[N];
        load<N>(values, x + at);
        for (u32 k = 0; k < N; k++) values[k] = (values[k] - m[k]) * scale[k] + shift[k];
        store<N>(y + at, values);
    }
}

KERNEL(normalize_maps)(T* __restrict__ y, const T* __restrict__ x, const Real* numbers, Maps maps) {
    normalize<1>(y, x, numbers, maps);
}
#if FORMS
KERNEL(normalize_maps_packed)(
    T* __restrict__ y, const T* __restrict__ x, const Real* numbers, Maps maps) {
    normalize<PACK>(y, x, numbers, maps);
}
#endif

// Σdy and, if there is an x, Σdy·(x − m), where m is the mean as a Real.
template <u32 N>
__device__ __forceinline__ void gradient_sums(
    double* partial, const T* dy, const T* x, const double* mean, const Maps& maps) {
    Rows<N> rows(maps);
    double sums[N] = {}, products[N] = {};
    if (rows.live) {
        Real m[N];
        for (u32 k = 0; k < N; k++) m[k] = static_cast<Real>(mean[rows.number + k]);
        for (u32 row = rows.from + rows.lane; row < rows.to; row += CHUNK * rows.lanes) {
            Real sum[N] = {}, product[N] = {};
            u32 count = min(CHUNK, (rows.to - row - 1) / rows.lanes + 1);
#pragma unroll LOADS<N>
            for (u32 i = 0; i < count; i++) {
                size_t at = rows.start + (row + static_cast<size_t>(i) * rows.lanes) * rows.stride;
                Real gradients[N];
                load<N>(gradients, dy + at);
                for (u32 k = 0; k < N; k++) sum[k] += gradients[k];
                if (x) {
                    Real values[N];
                    load<N>(values, x + at);
                    for (u32 k = 0; k < N; k++) product[k] += gradients[k] * (values[k] - m[k]);
                }
            }
            for (u32 k = 0; k < N; k++) {
                sums[k] += sum[k];
                products[k] += product[k];
            }
        }
    }
    write_partial<N>(partial, rows, sums, products);
}

KERNEL(normalize_sums)(double* partial, const T* dy, const T* x, const double* mean, Maps maps) {
    gradient_sums<1>(partial, dy, x, mean, maps);
}
#if FORMS
KERNEL(normalize_sums_packed)(
    double* partial, const T* dy, const T* x, const double* mean, Maps maps) {
    gradient_sums<PACK>(partial, dy, x, mean, maps);
}
#endif

// Σdy and Σdy·(x − mean): [2, groups, channels].
KERNEL(normalize_finish_sums)(
    double* sums, const double* partial, const double* mean, u32 pieces, u32 numbers) {
    Pieces added;
    if (!added.add(partial, pieces, numbers)) return;
    double exact = mean[added.number];
    sums[added.number] = added.first;
    sums[numbers + added.number] =
        added.second - beyond(exact, static_cast<Real>(exact)) * added.first;
}

// For each channel: the gradients of weight and bias, and the numbers [4, groups, channels] with
// which dx = dy·a + ((x − m)·slope + constant). Those of the three that are not there are not asked
// for. `count` is a group's rows, or 0 where the statistics are constants; then m, slope and
// constant are 0.
KERNEL(normalize_gradient_numbers)
(Real* numbers, T* d_weight, T* d_bias, const double* sums, const double* mean, const double* var,
    const T* weight, double eps, u32 count, u32 groups, u32 channels) {
    u32 channel = blockIdx.x * blockDim.x + threadIdx.x, all = groups * channels;
    if (channel >= channels) return;
    double sum = 0, product = 0;
    for (u32 i = channel; i < all; i += channels) {
        double inverse = 1.0 / sqrt(var[i] + eps);
        sum += sums[i];
        product += sums[all + i] * inverse;
        if (!numbers) continue;
        double a = get(weight[channel]) * inverse;
        double slope = count ? -a * inverse * inverse * sums[all + i] / count : 0.0;
        double constant = count ? -a * sums[i] / count : 0.0;
        Real m = count ? static_cast<Real>(mean[i]) : Real(0);
        numbers[i] = m;
        numbers[all + i] = static_cast<Real>(a);
        numbers[2 * all + i] = static_cast<Real>(slope);
        numbers[3 * all + i] =
            static_cast<Real>(count ? constant - beyond(mean[i], m) * slope : 0.0);
    }
    if (d_weight) put(d_weight[channel], static_cast<Real>(product));
    if (d_bias) put(d_bias[channel], static_cast<Real>(sum));
}

template <u32 N>
__device__ __forceinline__ void gradient(
    T* dx, const T* dy, const T* x, const Real* numbers, const Maps& maps) {
    Rows<N> rows(maps);
    if (!rows.live) return;
    Real m[N], a[N], slope[N], constant[N];
    for (u32 k = 0; k < N; k++) {
        const Real* number = numbers + rows.number + k;
        m[k] = number[0];
        a[k] = number[rows.numbers];
        slope[k] = number[2 * rows.numbers];
        constant[k] = number[3 * rows.numbers];
    }
    size_t at = rows.start + (rows.from + rows.lane) * rows.stride, step = rows.lanes * rows.stride;
    u32 count = turns(rows.from, rows.to, rows);
#pragma unroll LOADS<N>
    for (u32 i = 0; i < count; i++, at += step) {
        Real gradients[N], values[N];
        load<N>(gradients, dy + at);
        load<N>(values, x + at);
        for (u32 k = 0; k < N; k++)
            gradients[k] = gradients[k] * a[k] + ((values[k] - m[k]) * slope[k] + constant[k]);
        store<N>(dx + at, gradients);
    }
}

KERNEL(normalize_maps_gradient)(T* __restrict__ dx, const T* __restrict__ dy,
    const T* __restrict__ x, const Real* numbers, Maps maps) {
    gradient<1>(dx, dy, x, numbers, maps);
}
#if FORMS
KERNEL(normalize_maps_gradient_packed)(T* __restrict__ dx, const T* __restrict__ dy,
    const T* __restrict__ x, const Real* numbers, Maps maps) {
    gradient<PACK>(dx, dy, x, numbers, maps);
}
#endif
