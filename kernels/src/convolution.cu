// Convolutions and their adjoints of channels-last maps, with their epilogues.
//
// A block computes a tile of pixels by channels of one group; the adjoint's, of pixels of one phase
// (`Axis`). Its sums run over slices of terms: the next slice is fetched into registers while the
// one in shared memory is multiplied. The weights were packed before to [group][kernel
// element][from][to], so that one row of them is one term's. Groups of few channels would leave
// most of a tile empty: for them a thread computes a number by itself.
#include "convolution.cuh"

// What is computed of a convolution's result z: [gelu](z + bias + residual) · [gelu'(slope)].
// Absent parts are null.
struct Epilogue {
    const T* bias;      // a number a channel
    const T* residual;  // lies as y does, and may be y
    const T* slope;     // lies as y does
    T* pre_activation;  // lies as y does, and gets the numbers before the GELU
    u64 gelu;
};

// The first `count` of N numbers, which memory moves at once if they are `whole`.
template <u32 N>
__device__ __forceinline__ Run<T, N> gather(const T* from, u32 count, bool whole) {
    if (whole) return read<N>(from);
    Run<T, N> numbers = {};
    for (u32 i = 0; i < N; i++) {
        if (i < count) numbers.at[i] = from[i];
    }
    return numbers;
}
template <u32 N>
__device__ __forceinline__ void scatter(T* to, const Real* from, u32 count, bool whole) {
    Run<T, N> numbers;
    for (u32 i = 0; i < N; i++) put(numbers.at[i], from[i]);
    if (whole) {
        *reinterpret_cast<Run<T, N>*>(to) = numbers;
        return;
    }
    for (u32 i = 0; i < N; i++) {
        if (i < count) to[i] = numbers.at[i];
    }
}

// The first `count` of N channels of a pixel, from `channel` on, which are y's elements from
// `index` on. The functions are most of the code: where `z` lies in memory, UNROLL is 1.
template <u32 N, u32 UNROLL>
__device__ __forceinline__ void finish(T* y, u32 index, u32 channel, Real* z, u32 count, bool whole,
    const Epilogue& epilogue) {
    typedef Run<T, N> Numbers;
    if (epilogue.bias) {
        Numbers bias = gather<N>(epilogue.bias + channel, count, whole);
        for (u32 i = 0; i < N; i++) z[i] += get(bias.at[i]);
    }
    if (epilogue.residual) {
        Numbers residual = gather<N>(epilogue.residual + index, count, whole);
        for (u32 i = 0; i < N; i++) z[i] += get(residual.at[i]);
    }
    if (epilogue.pre_activation) scatter<N>(epilogue.pre_activation + index, z, count, whole);
    if (epilogue.gelu) {
#pragma unroll UNROLL
        for (u32 i = 0; i < count; i++) z[i] = gelu(z[i]);
    }
    if (epilogue.slope) {
        Numbers slope = gather<N>(epilogue.slope + index, count, whole);
#pragma unroll UNROLL
        for (u32 i = 0; i < count; i++) z[i] *= gelu_derivative(get(slope.at[i]));
    }
    scatter<N>(y + index, z, count, whole);
}

// The same in memory, as a function of its own: inlined, it would be most of every kernel.
__device__ __noinline__ void finish_quad(T* y, u32 index, u32 channel, Real* z, u32 count,
    bool whole, const Epilogue& epilogue) {
    finish<QUAD, 1>(y, index, channel, z, count, whole, epilogue);
}

// The epilogue alone, of a convolution that was computed elsewhere. A thread takes N numbers.
template <u32 N>
__device__ __forceinline__ void epilogue_alone(
    T* y, const T* convolved, u32 count, u32 channels, const Epilogue& epilogue) {
    u32 index = (blockIdx.x * blockDim.x + threadIdx.x) * N;
    if (index >= count) return;
    Run<T, N> numbers = read<N>(convolved + index);
    Real z[N];
    for (u32 i = 0; i < N; i++) z[i] = get(numbers.at[i]);
    finish<N, N>(y, index, index % channels, z, N, true, epilogue);
}
KERNEL(epilogue)(T* y, const T* convolved, u32 count, u32 channels, Epilogue epilogue) {
    epilogue_alone<1>(y, convolved, count, channels, epilogue);
}
#if FORMS
KERNEL(epilogue_packed)(T* y, const T* convolved, u32 count, u32 channels, Epilogue epilogue) {
    epilogue_alone<PACK>(y, convolved, count, channels, epilogue);
}
#endif

// The strides of a weight [O, I/groups, kH, kW].
struct Strides {
    u32 out, in, row, column;
};

// A thread for each number of the packed weight.
KERNEL(pack_weight)(T* packed, const T* weight, Convolution c, Strides strides) {
    u32 index = blockIdx.x * blockDim.x + threadIdx.x, taps = c.kernel_height * c.kernel_width;
    if (index >= c.groups * taps * c.from * c.to) return;
    u32 to = index % c.to, rest = index / c.to;
    u32 from = rest % c.from;
    rest /= c.from;
    u32 tap = rest % taps, group = rest / taps;
    u32 out = c.transposed ? group * c.from + from : group * c.to + to,
        in = c.transposed ? to : from;
    packed[index] =
        weight[out * strides.out + in * strides.in + tap / c.kernel_width * strides.row +
               tap % c.kernel_width * strides.column];
}

// A pixel of a tile.
struct __align__(16) Pixel {
    int row, column;  // where it is in x, before the shift of a kernel element
    u32 image;        // the first pixel of its image in x
    u32 y;            // its number in y
};
constexpr u32 NONE = 0xFFFFFFFF;

// Where x has a pixel's number for `term`: (channel, column, row) of the kernel elements that
// `rows` and `columns` have. Null where it has none.
__device__ __forceinline__ const T* find(const T* x, const Convolution& c, const Axis& rows,
    const Axis& columns, Pixel pixel, Counter term) {
    u32 row = static_cast<u32>(pixel.row + rows.shift(term.high));
    u32 column = static_cast<u32>(pixel.column + columns.shift(term.middle));
    bool inside =
        term.high < rows.count && row < c.x_height && column < c.x_width && pixel.y != NONE;
    return inside ? x + (pixel.image + row * c.x_width + column) * (c.groups * c.from) + term.low
                  : nullptr;
}

// A tile of QUAD·ACROSS channels by THREADS/ACROSS·EACH pixels, of which a thread computes QUAD by
// EACH.
template <u32 ACROSS, u32 EACH>
__device__ __forceinline__ void convolve(
    T* y, const T* x, const T* weight, const Convolution& c, const Epilogue& epilogue) {
    constexpr u32 CHANNELS = QUAD * ACROSS, PIXELS = THREADS / ACROSS * EACH;
    constexpr u32 PARTS = SLICE / PACK, UNITS = PIXELS * PARTS,
                  TURNS = (UNITS + THREADS - 1) / THREADS;
    __shared__ __align__(16) Real xs[SLICE][PIXELS + GAP];
    __shared__ __align__(16) Real ws[SLICE][CHANNELS + GAP];
    __shared__ Pixel pixels[PIXELS];
    const u32 t = threadIdx.x;

    // Neighboring blocks share pixels of x, which they find in the cache.
    u32 tiles = (c.to + CHANNELS - 1) / CHANNELS, out_step = c.transposed ? c.stride : 1;
    u32 row_phases = min(out_step, c.y_height), column_phases = min(out_step, c.y_width);
    u32 rest = blockIdx.x;
    u32 first_channel = rest % tiles * CHANNELS;
    rest /= tiles;
    u32 group = rest % c.groups;
    rest /= c.groups;
    u32 column_phase = rest % column_phases;
    rest /= column_phases;
    u32 row_phase = rest % row_phases, first_pixel = rest / row_phases * PIXELS;
    const Axis rows = axis(c, c.kernel_height, row_phase),
               columns = axis(c, c.kernel_width, column_phase);

    u32 height = (c.y_height - row_phase + out_step - 1) / out_step,
        width = (c.y_width - column_phase + out_step - 1) / out_step;
    if (first_pixel >= c.images * height * width) return;
    for (u32 p = t; p < PIXELS; p += THREADS) {
        u32 number = first_pixel + p;
        u32 column = number % width, row = number / width % height,
            image = number / (width * height);
        Pixel pixel;
        pixel.row = static_cast<int>(row * rows.step);
        pixel.column = static_cast<int>(column * columns.step);
        pixel.image = image * c.x_height * c.x_width;
        pixel.y = (image * c.y_height + row * out_step + row_phase) * c.y_width +
                  column * out_step + column_phase;
        if (image >= c.images) pixel.y = NONE;
        pixels[p] = pixel;
    }
    __syncthreads();

    const T* x_group = x + group * c.from;
    const T* weight_group =
        weight + static_cast<u64>(group) * c.kernel_height * c.kernel_width * c.from * c.to +
        first_channel;
    const u32 terms = rows.count * columns.count * c.from;
    // Where channels are no whole Packs, x is read number by number, and not ahead.
    const u32 part = t % PARTS * PACK, x_term = c.x_packs ? part : t % SLICE, w_term = t / ACROSS,
              w_quad = t % ACROSS * QUAD;
    Counter x_at = {}, w_at = {};  // the terms that this thread fetches next
    if (terms != 0) {
        x_at.add(x_term, c.from, columns.count);
        w_at.add(w_term, c.from, columns.count);
    }
    Pack x_next[TURNS];
    Quad w_next;
    auto fetch = [&] {
        if (c.x_packs) {
#pragma unroll
            for (u32 i = 0; i < TURNS; i++) {
                u32 unit = t + i * THREADS;
                if (UNITS % THREADS != 0 && unit >= UNITS) break;
                const T* at = find(x_group, c, rows, columns, pixels[unit / PARTS], x_at);
                x_next[i] = at ? *reinterpret_cast<const Pack*>(at) : Pack{};
            }
            x_at.add(SLICE, c.from, columns.count);
        }
        w_next = {};
        if (w_term < SLICE && w_at.high < rows.count) {
            u32 tap = (rows.first + w_at.high * rows.period) * c.kernel_width + columns.first +
                      w_at.middle * columns.period;
            const T* from = weight_group + (tap * c.from + w_at.low) * c.to + w_quad;
            if (c.to % QUAD == 0) {
                if (first_channel + w_quad < c.to) w_next = read<QUAD>(from);
            } else {
                for (u32 i = 0; i < QUAD; i++) {
                    if (first_channel + w_quad + i < c.to) w_next.at[i] = from[i];
                }
            }
            w_at.add(SLICE, c.from, columns.count);
        }
    };
    auto store = [&] {
        if (c.x_packs) {
#pragma unroll
            for (u32 i = 0; i < TURNS; i++) {
                u32 unit = t + i * THREADS;
                if (UNITS % THREADS != 0 && unit >= UNITS) break;
                for (u32 k = 0; k < PACK; k++) xs[part + k][unit / PARTS] = get(x_next[i].at[k]);
            }
        } else {
#pragma unroll 4
            for (u32 i = 0; i < PIXELS; i += THREADS / SLICE) {
                u32 pixel = i + t / SLICE;
                const T* at = find(x_group, c, rows, columns, pixels[pixel], x_at);
                xs[x_term][pixel] = at ? get(*at) : Real(0);
            }
            x_at.add(SLICE, c.from, columns.count);
        }
        if (w_term < SLICE) {
            for (u32 i = 0; i < QUAD; i++) ws[w_term][w_quad + i] = get(w_next.at[i]);
        }
    };

    const u32 across = t % ACROSS * QUAD, down = t / ACROSS * EACH;
    Real sums[EACH][QUAD] = {};
    // A turn fetches the slice at `term` and multiplies the one before it.
#pragma unroll 1
    for (u32 term = 0;; term += SLICE) {
        if (term < terms) fetch();
        if (term != 0) {
#pragma unroll 4
            for (u32 k = 0; k < SLICE; k++) {
                Run<Real, EACH> a = read<EACH>(&xs[k][down]);
                Run<Real, QUAD> b = read<QUAD>(&ws[k][across]);
                for (u32 i = 0; i < EACH; i++) {
                    for (u32 j = 0; j < QUAD; j++) sums[i][j] += a.at[i] * b.at[j];
                }
            }
            __syncthreads();
        }
        if (term >= terms) break;
        store();
        __syncthreads();
    }

    // In memory of their own, the sums can be finished in a loop.
    Real results[EACH][QUAD];
#pragma unroll
    for (u32 i = 0; i < EACH; i++) {
        for (u32 j = 0; j < QUAD; j++) results[i][j] = sums[i][j];
    }
#pragma unroll 1
    for (u32 i = 0; i < EACH; i++) {
        u32 place = pixels[down + i].y, left = c.to - min(first_channel + across, c.to);
        if (place == NONE || left == 0) continue;
        u32 channel = group * c.to + first_channel + across,
            index = place * (c.groups * c.to) + channel;
        finish_quad(y, index, channel, results[i], min(left, QUAD), c.y_quads, epilogue);
    }
}

// Tiles for many channels down to few, and for many channels of few pixels.
#define CONVOLVE(name, across, each) \
    KERNEL(name)(T * y, const T* x, const T* weight, Convolution c, \
        const __grid_constant__ Epilogue epilogue) { \
        convolve<across, each>(y, x, weight, c, epilogue); \
    }
CONVOLVE(convolve_16, 4, 4)
#if FORMS
CONVOLVE(convolve_64, 16, 8)
CONVOLVE(convolve_32, 8, 8)
CONVOLVE(convolve_4, 1, 2)
CONVOLVE(convolve_few_pixels, 16, 2)
#endif

// For groups of few channels: a thread for each number of y.
KERNEL(convolve_thin)(T* y, const T* x, const T* weight, Convolution c,
    const __grid_constant__ Epilogue epilogue) {
    u32 index = blockIdx.x * blockDim.x + threadIdx.x, channels = c.groups * c.to;
    u32 channel = index % channels, rest = index / channels;
    u32 column = rest % c.y_width;
    rest /= c.y_width;
    u32 row = rest % c.y_height, image = rest / c.y_height;
    if (image >= c.images) return;
    u32 out_step = c.transposed ? c.stride : 1, group = channel / c.to;
    const Axis rows = axis(c, c.kernel_height, row % out_step),
               columns = axis(c, c.kernel_width, column % out_step);
    Real sum[QUAD] = {};
    for (u32 k = 0; k < rows.count; k++) {
        u32 x_row = static_cast<u32>(static_cast<int>(row / out_step * rows.step) + rows.shift(k));
        if (x_row >= c.x_height) continue;
        for (u32 l = 0; l < columns.count; l++) {
            u32 x_column = static_cast<u32>(
                static_cast<int>(column / out_step * columns.step) + columns.shift(l));
            if (x_column >= c.x_width) continue;
            u32 tap = (group * c.kernel_height + rows.first + k * rows.period) * c.kernel_width +
                      columns.first + l * columns.period;
            const T* numbers =
                x + ((image * c.x_height + x_row) * c.x_width + x_column) * (c.groups * c.from) +
                group * c.from;
            const T* weights = weight + tap * c.from * c.to + channel % c.to;
            for (u32 i = 0; i < c.from; i++) sum[0] += get(numbers[i]) * get(weights[i * c.to]);
        }
    }
    finish_quad(y, index, channel, sum, 1, false, epilogue);
}
