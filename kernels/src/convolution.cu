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

// N channels of a pixel, from `channel` on, which are y's elements from `index` on.
template <u32 N>
__device__ __forceinline__ void finish(
    T* y, u32 index, u32 channel, Real* z, const Epilogue& epilogue) {
    typedef Run<T, N> Numbers;
    if (epilogue.bias) {
        Numbers bias = read<N>(epilogue.bias + channel);
        for (u32 i = 0; i < N; i++) z[i] += get(bias.at[i]);
    }
    if (epilogue.residual) {
        Numbers residual = read<N>(epilogue.residual + index);
        for (u32 i = 0; i < N; i++) z[i] += get(residual.at[i]);
    }
    Numbers result;
    if (epilogue.pre_activation) {
        for (u32 i = 0; i < N; i++) put(result.at[i], z[i]);
        *reinterpret_cast<Numbers*>(epilogue.pre_activation + index) = result;
    }
    if (epilogue.gelu) {
        for (u32 i = 0; i < N; i++) z[i] = gelu(z[i]);
    }
    if (epilogue.slope) {
        Numbers slope = read<N>(epilogue.slope + index);
        for (u32 i = 0; i < N; i++) z[i] *= gelu_derivative(get(slope.at[i]));
    }
    for (u32 i = 0; i < N; i++) put(result.at[i], z[i]);
    *reinterpret_cast<Numbers*>(y + index) = result;
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
    finish<N>(y, index, index % channels, z, epilogue);
}
KERNEL(epilogue)(T* y, const T* convolved, u32 count, u32 channels, Epilogue epilogue) {
    epilogue_alone<1>(y, convolved, count, channels, epilogue);
}
KERNEL(epilogue_packed)(T* y, const T* convolved, u32 count, u32 channels, Epilogue epilogue) {
    epilogue_alone<PACK>(y, convolved, count, channels, epilogue);
}

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

    // Neighbouring blocks share pixels of x, which they find in the cache.
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
            for (u32 pixel = t / SLICE; pixel < PIXELS; pixel += THREADS / SLICE) {
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
    if (terms != 0) fetch();
    for (u32 term = 0; term < terms; term += SLICE) {
        store();
        __syncthreads();
        if (term + SLICE < terms) fetch();
#pragma unroll
        for (u32 k = 0; k < SLICE; k++) {
            Run<Real, EACH> a = read<EACH>(&xs[k][down]);
            Run<Real, QUAD> b = read<QUAD>(&ws[k][across]);
            for (u32 i = 0; i < EACH; i++) {
                for (u32 j = 0; j < QUAD; j++) sums[i][j] += a.at[i] * b.at[j];
            }
        }
        __syncthreads();
    }

    // In memory of their own, the sums can be finished in a loop: unrolled, it would be most of the
    // code.
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
        if (c.y_quads) {
            finish<QUAD>(y, index, channel, results[i], epilogue);
        } else {
#pragma unroll 1
            for (u32 j = 0; j < min(left, QUAD); j++)
                finish<1>(y, index + j, channel + j, &results[i][j], epilogue);
        }
    }
}

// Tiles for many channels down to few, and for many channels of few pixels. Doubles take twice the
// registers and shared memory.
constexpr u32 HALF = sizeof(Real) / 4;
#define CONVOLVE(name, across, each) \
    KERNEL(name)(T * y, const T* x, const T* weight, Convolution c, Epilogue epilogue) { \
        convolve<across, each>(y, x, weight, c, epilogue); \
    }
CONVOLVE(convolve_64, 16, 8 / HALF)
CONVOLVE(convolve_32, 8, 8 / HALF)
CONVOLVE(convolve_16, 4, 4 / HALF)
CONVOLVE(convolve_4, 1, 2 / HALF)
CONVOLVE(convolve_few_pixels, 16, 2 / HALF)

// For groups of few channels: a thread for each number of y.
KERNEL(convolve_thin)(T* y, const T* x, const T* weight, Convolution c, Epilogue epilogue) {
    u32 index = blockIdx.x * blockDim.x + threadIdx.x, channels = c.groups * c.to;
    u32 channel = index % channels, rest = index / channels;
    u32 column = rest % c.y_width;
    rest /= c.y_width;
    u32 row = rest % c.y_height, image = rest / c.y_height;
    if (image >= c.images) return;
    u32 out_step = c.transposed ? c.stride : 1, group = channel / c.to;
    const Axis rows = axis(c, c.kernel_height, row % out_step),
               columns = axis(c, c.kernel_width, column % out_step);
    Real sum = 0;
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
            for (u32 i = 0; i < c.from; i++) sum += get(numbers[i]) * get(weights[i * c.to]);
        }
    }
    finish<1>(y, index, channel, &sum, epilogue);
}
