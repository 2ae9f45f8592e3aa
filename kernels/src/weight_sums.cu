// The gradient of a convolution's weight: for each kernel element, x at its shift times dy, summed
// over pixels.
//
// The product of matrices (channels of dy) × pixels × (terms: kernel elements and channels of x).
// Sums over pixels are long and the results few, so that the pixels are split between blocks: each
// writes its partial sums to memory of its own, and `sum_partials` adds them up in their order. A
// part is `length` pixels of dy, which depends on the shapes alone.
#include "convolution.cuh"

// The slices of pixels that are summed up before their sum goes to the total: long sums lose fewer
// digits that way.
constexpr u32 SLICES = 64;

// A tile of QUAD·ACROSS terms by THREADS/ACROSS·EACH channels of dy, of which a thread computes
// QUAD by EACH. Here x_packs and y_quads say whether x and dy may be read by Quads.
template <u32 ACROSS, u32 EACH>
__device__ __forceinline__ void weight_sums(
    Real* partials, const T* x, const T* dy, const Convolution& c, u32 length) {
    constexpr u32 TERMS = QUAD * ACROSS, CHANNELS = THREADS / ACROSS * EACH;
    constexpr u32 PARTS = CHANNELS / QUAD, TURNS = SLICE * ACROSS / THREADS,
                  PIXELS = THREADS / ACROSS;
    static_assert(SLICE * PARTS <= THREADS, "a thread fetches one Quad of dy");
    __shared__ __align__(16) Real xs[SLICE][TERMS + GAP];
    __shared__ __align__(16) Real dys[SLICE][CHANNELS + GAP];
    const u32 t = threadIdx.x, taps = c.kernel_height * c.kernel_width, terms = taps * c.from;

    u32 term_tiles = (terms + TERMS - 1) / TERMS, channel_tiles = (c.to + CHANNELS - 1) / CHANNELS;
    u32 rest = blockIdx.x;
    const u32 first_term = rest % term_tiles * TERMS;
    rest /= term_tiles;
    const u32 first_channel = rest % channel_tiles * CHANNELS;
    rest /= channel_tiles;
    const u32 group = rest % c.groups, part = rest / c.groups;
    const u32 begin = part * length, end = min(begin + length, c.images * c.y_height * c.y_width);

    // A thread fetches the same four terms of x of several pixels, and the same four channels of dy
    // of one.
    const u32 across = t % ACROSS * QUAD, pixel = t / ACROSS;
    int row_shift[QUAD], column_shift[QUAD];
    u32 channel[QUAD], wanted = 0;
    for (u32 i = 0; i < QUAD; i++) {
        u32 term = first_term + across + i, tap = term / c.from;
        channel[i] = group * c.from + term % c.from;
        row_shift[i] =
            static_cast<int>(tap / c.kernel_width * c.dilation) - static_cast<int>(c.padding);
        column_shift[i] =
            static_cast<int>(tap % c.kernel_width * c.dilation) - static_cast<int>(c.padding);
        if (term < terms) wanted++;
    }
    Counter at = {};  // column, row and image of the pixel that this thread fetches x for next
    at.low = (begin + pixel) % c.y_width;
    at.middle = (begin + pixel) / c.y_width % c.y_height;
    at.high = (begin + pixel) / (c.y_width * c.y_height);
    const u32 dy_pixel = t / PARTS, dy_channel = first_channel + t % PARTS * QUAD;

    Quad x_next[TURNS], dy_next;
    auto fetch = [&](u32 first) {
#pragma unroll
        for (u32 turn = 0; turn < TURNS; turn++) {
            x_next[turn] = {};
            if (first + pixel + turn * PIXELS < end) {
                u32 limit = c.x_packs ? min(wanted, 1u) : wanted;
                for (u32 i = 0; i < QUAD; i++) {
                    if (i >= limit) break;
                    u32 row = at.middle * c.stride + static_cast<u32>(row_shift[i]);
                    u32 column = at.low * c.stride + static_cast<u32>(column_shift[i]);
                    if (row >= c.x_height || column >= c.x_width) continue;
                    const T* from =
                        x +
                        ((at.high * c.x_height + row) * c.x_width + column) * (c.groups * c.from) +
                        channel[i];
                    if (c.x_packs) {
                        x_next[turn] = read<QUAD>(from);
                    } else {
                        x_next[turn].at[i] = *from;
                    }
                }
            }
            at.add(PIXELS, c.y_width, c.y_height);
        }
        dy_next = {};
        if (dy_pixel < SLICE && first + dy_pixel < end) {
            const T* from = dy + (first + dy_pixel) * (c.groups * c.to) + group * c.to + dy_channel;
            if (c.y_quads) {
                if (dy_channel < c.to) dy_next = read<QUAD>(from);
            } else {
                for (u32 i = 0; i < QUAD; i++) {
                    if (dy_channel + i < c.to) dy_next.at[i] = from[i];
                }
            }
        }
    };

    const u32 down = t / ACROSS * EACH;
    Real totals[EACH][QUAD] = {}, sums[EACH][QUAD] = {};
    auto to_total = [&] {
#pragma unroll
        for (u32 i = 0; i < EACH; i++) {
            for (u32 j = 0; j < QUAD; j++) {
                totals[i][j] += sums[i][j];
                sums[i][j] = 0;
            }
        }
    };
    // A turn fetches the slice at `first` and multiplies the one before it.
#pragma unroll 1
    for (u32 first = begin, slice = 0;; first += SLICE, slice++) {
        if (first < end) fetch(first);
        if (slice != 0) {
#pragma unroll 4
            for (u32 k = 0; k < SLICE; k++) {
                Run<Real, EACH> a = read<EACH>(&dys[k][down]);
                Run<Real, QUAD> b = read<QUAD>(&xs[k][across]);
                for (u32 i = 0; i < EACH; i++) {
                    for (u32 j = 0; j < QUAD; j++) sums[i][j] += a.at[i] * b.at[j];
                }
            }
            if (slice % SLICES == 0) to_total();
            __syncthreads();
        }
        if (first >= end) break;
#pragma unroll
        for (u32 turn = 0; turn < TURNS; turn++) {
            for (u32 i = 0; i < QUAD; i++)
                xs[pixel + turn * PIXELS][across + i] = get(x_next[turn].at[i]);
        }
        if (dy_pixel < SLICE) {
            for (u32 i = 0; i < QUAD; i++) dys[dy_pixel][t % PARTS * QUAD + i] = get(dy_next.at[i]);
        }
        __syncthreads();
    }
    to_total();

    u64 all = static_cast<u64>(c.groups) * c.to * terms;
#pragma unroll
    for (u32 i = 0; i < EACH; i++) {
        u32 to = first_channel + down + i;
        if (to >= c.to) break;
        Real* row = partials + part * all + static_cast<u64>(group * c.to + to) * terms +
                    first_term + across;
        for (u32 j = 0; j < QUAD; j++) {
            if (j < wanted) row[j] = totals[i][j];
        }
    }
}

// Tiles for many channels of dy, and for few.
#define WEIGHT_SUMS(name, across, each)                                                          \
    KERNEL(name)(Real * partials, const T* x, const T* dy, Convolution c, u32 length) {         \
        weight_sums<across, each>(partials, x, dy, c, length);                                    \
    }
WEIGHT_SUMS(weight_sums_64, 16, 4)
#if FORMS
WEIGHT_SUMS(weight_sums_16, 64, 4)
WEIGHT_SUMS(weight_sums_4, 64, 1)
#endif

// For groups of few channels: a thread for each number of the weight and part of the pixels, which
// neighbors in dy's channels share.
KERNEL(weight_sums_thin)(Real* partials, const T* x, const T* dy, Convolution c, u32 length) {
    u32 index = blockIdx.x * blockDim.x + threadIdx.x, channels = c.groups * c.to,
        taps = c.kernel_height * c.kernel_width;
    u32 to = index % channels, term = index / channels, part = blockIdx.y;
    if (term >= taps * c.from) return;
    u32 from = to / c.to * c.from + term % c.from, tap = term / c.from;
    u32 row_shift = tap / c.kernel_width * c.dilation - c.padding,
        column_shift = tap % c.kernel_width * c.dilation - c.padding;
    u32 begin = part * length, end = min(begin + length, c.images * c.y_height * c.y_width);
    Counter at = {
        begin % c.y_width, begin / c.y_width % c.y_height, begin / (c.y_width * c.y_height)};
    Real total = 0, sum = 0;
    for (u32 pixel = begin; pixel < end; pixel++) {
        u32 row = at.middle * c.stride + row_shift, column = at.low * c.stride + column_shift;
        if (row < c.x_height && column < c.x_width) {
            Real number =
                get(x[((at.high * c.x_height + row) * c.x_width + column) * (c.groups * c.from) +
                      from]);
            sum += number * get(dy[pixel * channels + to]);
        }
        at.add(1, c.y_width, c.y_height);
        if ((pixel - begin) % (SLICES * SLICE) == SLICES * SLICE - 1) {
            total += sum;
            sum = 0;
        }
    }
    u64 all = static_cast<u64>(channels) * taps * c.from;
    partials[part * all + static_cast<u64>(to) * taps * c.from + term] = total + sum;
}

// Adds up the partial sums: a block takes 32 numbers, and each of its rows every eighth part.
KERNEL(sum_partials)(T* sums, const Real* partials, u32 count, u32 parts) {
    constexpr u32 ROWS = THREADS / 32;
    __shared__ Real rows[ROWS][32];
    u32 lane = threadIdx.x % 32, row = threadIdx.x / 32, index = blockIdx.x * 32 + lane;
    Real sum = 0;
    if (index < count) {
#pragma unroll 4
        for (u32 part = row; part < parts; part += ROWS)
            sum += partials[static_cast<u64>(part) * count + index];
    }
    rows[row][lane] = sum;
    __syncthreads();
    if (row != 0 || index >= count) return;
    for (u32 i = 1; i < ROWS; i++) sum += rows[i][lane];
    put(sums[index], sum);
}
