// The dynamic filter: every image, and every group of its channels, convolved with K×K taps of its
// own; and its two adjoints.
//
// Maps are N, H, W, C in memory and taps N, K, K, G. For 3×3 taps a thread has four neighboring
// channels of one column and walks down a strip of rows: each row's K pixels are loaded once, and
// go into the sums of the K rows that they are part of. Neighboring columns are loaded by
// neighboring threads, so they come from the cache. What the borders change about a column is the
// same for the whole strip, and is put into the thread's taps beforehand.
//
// Other K, numbers of channels that four does not divide, and f64 have kernels that gather every
// product (`..._any`).
#include "common.cuh"

struct Map {
    u32 images, channels;
    int height, width;
    u32 groups;   // of channels, with taps of their own
    int k;        // side of the taps
    u32 reflect;  // whether the map is mirrored beyond its border; otherwise there are zeros
    int rows;     // of a strip
};

// A kernel whose blocks have `BLOCK` threads; the second bound limits the registers of each.
constexpr u32 BLOCK = 128;
#define BOUNDED(name, blocks) \
    extern "C" __global__ void __launch_bounds__(BLOCK, blocks) \
        PASTE(name, SUFFIX)

// Four channels of a pixel.
constexpr u32 LANES = 4;
struct __align__(sizeof(T) == 2 ? 8 : 16) Lanes {
    T at[LANES];
};

__device__ __forceinline__ Lanes zeros() {
    Lanes lanes;
    for (u32 v = 0; v < LANES; v++) put(lanes.at[v], Real(0));
    return lanes;
}

__device__ __forceinline__ Lanes load(const T* from) {
    return *reinterpret_cast<const Lanes*>(from);
}

// The place that place `at` of an axis sees by tap `i`; -1 if that is a zero beyond the border.
__device__ __forceinline__ int seen(int at, int i, int radius, int side, bool reflect) {
    int place = at + i - radius;
    if (place >= 0 && place < side) return place;
    if (!reflect) return -1;
    return place < 0 ? -place : 2 * (side - 1) - place;
}

// Whether the sum at place `out` has the number at place `in`, which is inside the map, by tap `i`.
// `TURNED` is the adjoint, where who sees and who is seen are exchanged.
template <bool TURNED>
__device__ __forceinline__ bool linked(int out, int in, int i, int radius, int side, bool reflect) {
    return TURNED ? seen(in, i, radius, side, reflect) == out
                  : seen(out, i, radius, side, reflect) == in;
}

// Whether the border changes nothing for who sees `at` and whom it sees.
__device__ __forceinline__ bool is_interior(int at, int radius, int side) {
    return at > radius && at + radius + 1 < side;
}

// Where the tap at (i, j) of `channel` is among those of an image.
__device__ __forceinline__ u32 tap_of(const Map& map, int i, int j, u32 channel) {
    u32 group = map.groups == map.channels ? channel : channel / (map.channels / map.groups);
    return (i * map.k + j) * map.groups + group;
}

// y = Σ taps·x (+ shift, unless it is null).
template <int K, bool TURNED>
__device__ __forceinline__ void filter(
    T* y, const T* x, const T* taps, const T* shift, const Map& map) {
    constexpr int RADIUS = K / 2;
    u32 groups_of_lanes = map.channels / LANES;
    u32 rest = blockIdx.x * blockDim.x + threadIdx.x;
    u32 channel = rest % groups_of_lanes * LANES;
    rest /= groups_of_lanes;
    int column = rest % map.width;
    rest /= map.width;
    u32 strips = (map.height + map.rows - 1) / map.rows;
    int first = rest % strips * map.rows;
    u32 image = rest / strips;
    if (image >= map.images) return;
    int last = min(first + map.rows, map.height);

    // What the pixel in column `column + d − RADIUS` is multiplied with on its way into the row
    // that sees it by tap i.
    Real weights[K][K][LANES];
    const T* own = taps + static_cast<u64>(image) * K * K * map.groups;
    bool interior = is_interior(column, RADIUS, map.width);
    bool inside[K], link[K][K];
#pragma unroll
    for (int d = 0; d < K; d++) {
        int in = column + d - RADIUS;
        inside[d] = in >= 0 && in < map.width;
#pragma unroll
        for (int j = 0; j < K; j++) {
            link[d][j] = inside[d] && linked<TURNED>(column, in, j, RADIUS, map.width, map.reflect);
        }
    }
#pragma unroll
    for (int i = 0; i < K; i++) {
        Real line[K][LANES];
#pragma unroll
        for (int j = 0; j < K; j++) {
            if (map.groups == map.channels) {
                Lanes lanes = load(own + tap_of(map, i, j, channel));
                for (u32 v = 0; v < LANES; v++) line[j][v] = get(lanes.at[v]);
            } else {
                for (u32 v = 0; v < LANES; v++)
                    line[j][v] = get(own[tap_of(map, i, j, channel + v)]);
            }
        }
#pragma unroll
        for (int d = 0; d < K; d++) {
            for (u32 v = 0; v < LANES; v++)
                weights[i][d][v] = interior ? line[TURNED ? K - 1 - d : d][v] : Real(0);
            if (interior) continue;
#pragma unroll
            for (int j = 0; j < K; j++) {
                if (!link[d][j]) continue;
                for (u32 v = 0; v < LANES; v++) weights[i][d][v] += line[j][v];
            }
        }
    }

    u64 offset = static_cast<u64>(image) * map.height * map.width * map.channels + channel;
    const T* source = x + offset;
    auto fetch = [&](Lanes(&to)[K], int row) {
        bool exists = row >= 0 && row < map.height;
        i64 at = (static_cast<i64>(row) * map.width + column - RADIUS) * map.channels;
#pragma unroll
        for (int d = 0; d < K; d++)
            to[d] = exists && inside[d] ? load(source + at + d * map.channels) : zeros();
    };
    Real start[LANES] = {};
    if (shift) {
        for (u32 v = 0; v < LANES; v++) start[v] = get(shift[image * map.channels + channel + v]);
    }
    // sums[t] is that of row `row + t − RADIUS`.
    Real sums[K][LANES];
#pragma unroll
    for (int t = 0; t < K; t++) {
        for (u32 v = 0; v < LANES; v++) sums[t][v] = start[v];
    }
    Lanes next[K] = {};
#pragma unroll 1
    for (int row = first - RADIUS - 1; row < last + RADIUS; row++) {
        Real pixels[K][LANES];
#pragma unroll
        for (int d = 0; d < K; d++) {
            for (u32 v = 0; v < LANES; v++) pixels[d][v] = get(next[d].at[v]);
        }
        // On its way while this row is worked on. The first turn only fetches.
        if (row + 1 < last + RADIUS) fetch(next, row + 1);
        if (row < first - RADIUS) continue;
        if (is_interior(row, RADIUS, map.height)) {
#pragma unroll
            for (int t = 0; t < K; t++) {
#pragma unroll
                for (int d = 0; d < K; d++) {
                    for (u32 v = 0; v < LANES; v++)
                        sums[t][v] += weights[TURNED ? t : K - 1 - t][d][v] * pixels[d][v];
                }
            }
        } else if (row >= 0 && row < map.height) {
#pragma unroll
            for (int i = 0; i < K; i++) {
                Real line[LANES] = {};
#pragma unroll
                for (int d = 0; d < K; d++) {
                    for (u32 v = 0; v < LANES; v++) line[v] += weights[i][d][v] * pixels[d][v];
                }
#pragma unroll
                for (int t = 0; t < K; t++) {
                    if (linked<TURNED>(row + t - RADIUS, row, i, RADIUS, map.height, map.reflect)) {
                        for (u32 v = 0; v < LANES; v++) sums[t][v] += line[v];
                    }
                }
            }
        }
        if (row - RADIUS >= first) {
            Lanes result;
            for (u32 v = 0; v < LANES; v++) put(result.at[v], sums[0][v]);
            u64 at = offset + (static_cast<u64>(row - RADIUS) * map.width + column) * map.channels;
            *reinterpret_cast<Lanes*>(y + at) = result;
        }
#pragma unroll
        for (int t = 0; t < K; t++) {
            for (u32 v = 0; v < LANES; v++)
                sums[t][v] = t + 1 < K ? sums[t + 1 < K ? t + 1 : t][v] : start[v];
        }
    }
}

#if FORMS
BOUNDED(dynamic_filter_3, 5)(T* y, const T* x, const T* taps, const T* shift, Map map) {
    filter<3, false>(y, x, taps, shift, map);
}
BOUNDED(dynamic_filter_turned_3, 5)(T* y, const T* x, const T* taps, const T* shift, Map map) {
    filter<3, true>(y, x, taps, shift, map);
}
#endif

// One of the places, of up to three, that the sum at `out` has by tap `i`; -1 if there is no such
// one. Turned, they are the places that see `out` where it is, and where it appears in the mirror
// before the first and behind the last place.
template <bool TURNED>
__device__ __forceinline__ int source_of(
    int out, int i, int which, int radius, int side, bool reflect) {
    if (!TURNED) return seen(out, i, radius, side, reflect);
    bool appears = which == 0 || (reflect && (which == 1 ? out > 0 : out < side - 1));
    int image = which == 0 ? out : which == 1 ? -out : 2 * (side - 1) - out;
    int place = image - i + radius;
    return appears && place >= 0 && place < side ? place : -1;
}

// As `filter`, with any K: a thread for each element.
template <bool TURNED>
__device__ __forceinline__ void filter_any(
    T* y, const T* x, const T* taps, const T* shift, const Map& map) {
    constexpr int PLACES = TURNED ? 3 : 1;
    u32 radius = map.k / 2;
    u64 index = static_cast<u64>(blockIdx.x) * blockDim.x + threadIdx.x;
    u32 channel = index % map.channels;
    u32 rest = static_cast<u32>(index / map.channels);
    int column = rest % map.width;
    rest /= map.width;
    int row = rest % map.height;
    u32 image = rest / map.height;
    if (image >= map.images) return;
    const T* source = x + static_cast<u64>(image) * map.height * map.width * map.channels + channel;
    const T* own = taps + static_cast<u64>(image) * map.k * map.k * map.groups;
    Real sum = shift ? get(shift[image * map.channels + channel]) : Real(0);
#pragma unroll 1
    for (int i = 0; i < map.k; i++) {
        for (int m = 0; m < PLACES; m++) {
            int from_row = source_of<TURNED>(row, i, m, radius, map.height, map.reflect);
            if (from_row < 0) continue;
#pragma unroll 1
            for (int j = 0; j < map.k; j++) {
                Real tap = get(own[tap_of(map, i, j, channel)]);
                for (int n = 0; n < PLACES; n++) {
                    int from = source_of<TURNED>(column, j, n, radius, map.width, map.reflect);
                    if (from < 0) continue;
                    sum +=
                        tap *
                        get(source[(static_cast<u64>(from_row) * map.width + from) * map.channels]);
                }
            }
        }
    }
    put(y[index], sum);
}

KERNEL(dynamic_filter_any)(T* y, const T* x, const T* taps, const T* shift, Map map) {
    filter_any<false>(y, x, taps, shift, map);
}
KERNEL(dynamic_filter_turned_any)(T* y, const T* x, const T* taps, const T* shift, Map map) {
    filter_any<true>(y, x, taps, shift, map);
}

// The gradient of the taps is Σ dy·x over an image's pixels and a group's channels, and that of the
// shift is Σ dy. A block sums its piece of an image, a strip of rows by some columns, channel by
// channel: K·K products and dy itself. `dynamic_filter_sums` adds the pieces.
struct Pieces {
    u32 lanes;   // threads side by side along the channels
    u32 beside;  // threads side by side along the columns
    u32 chunks;  // of `lanes`, along the channels
    u32 tiles;   // pieces along the columns
    u32 steps;   // columns of a thread, `beside` apart
};

// A number of each thread in the second half of those beside each other: ⌈beside/2⌉·lanes, with at
// most 32 lanes, is no more.
constexpr u32 SCRATCH = BLOCK / 2 + 16;

// Which part of the map a block and a thread have.
struct Task {
    u32 image, piece, channel;
    int first, last;  // rows
    int column;       // the first of `steps`, or beyond the last if the thread is idle

    __device__ __forceinline__ Task(
        const Map& map, const Pieces& pieces, u32 block, u32 width_of_lane) {
        u32 lane = threadIdx.x % pieces.lanes, beside = threadIdx.x / pieces.lanes;
        u32 strips = (map.height + map.rows - 1) / map.rows;
        u32 chunk = block % pieces.chunks;
        u32 rest = block / pieces.chunks;
        u32 tile = rest % pieces.tiles;
        rest /= pieces.tiles;
        piece = rest % strips * pieces.tiles + tile;
        image = rest / strips;
        first = rest % strips * map.rows;
        last = min(first + map.rows, map.height);
        channel = (chunk * pieces.lanes + lane) * width_of_lane;
        bool idle = beside >= pieces.beside || channel >= map.channels;
        column = idle ? map.width : static_cast<int>(tile * pieces.steps * pieces.beside + beside);
    }
};

// Adds N numbers of the threads beside each other, in a fixed order; those of the first get the
// sums.
template <int N>
__device__ __forceinline__ void add_beside(
    Real (&numbers)[N], Real* scratch, const Pieces& pieces) {
    u32 beside = threadIdx.x / pieces.lanes;
    for (u32 count = pieces.beside; count > 1;) {
        u32 half = (count + 1) / 2;
        __syncthreads();
        if (beside >= half && beside < count) {
            for (int n = 0; n < N; n++)
                scratch[n * SCRATCH + threadIdx.x - half * pieces.lanes] = numbers[n];
        }
        __syncthreads();
        if (beside < count - half) {
            for (int n = 0; n < N; n++) numbers[n] += scratch[n * SCRATCH + threadIdx.x];
        }
        count = half;
    }
}

template <int K>
__device__ __forceinline__ void products(
    Real* partial, const T* x, const T* dy, const Map& map, const Pieces& pieces) {
    constexpr int RADIUS = K / 2;
    Task task(map, pieces, blockIdx.x, LANES);
    u64 offset =
        static_cast<u64>(task.image) * map.height * map.width * map.channels + task.channel;
    x += offset;
    dy += offset;
    Real sums[K][K * LANES] = {}, plain[LANES] = {};
    for (u32 step = 0; step < pieces.steps; step++) {
        int column = task.column + step * pieces.beside;
        if (column >= map.width) break;
        auto pixel = [&](const T* from, int row, int at) {
            return load(from + (static_cast<u64>(row) * map.width + at) * map.channels);
        };
        Lanes next[K], next_dy;
        auto fetch = [&](int row) {
#pragma unroll
            for (int j = 0; j < K; j++) {
                int from = seen(column, j, RADIUS, map.width, map.reflect);
                next[j] = from >= 0 && row >= 0 && row < map.height ? pixel(x, row, from) : zeros();
            }
            next_dy = row + RADIUS < task.last ? pixel(dy, row + RADIUS, column) : zeros();
        };
        // window[t] is dy of row `row + t − RADIUS`, or 0 outside the strip.
        Real window[K][LANES] = {};
        // The first turn only fetches, and moves zeros through the window.
        for (int j = 0; j < K; j++) next[j] = zeros();
        next_dy = zeros();
#pragma unroll 1
        for (int row = task.first - RADIUS - 1; row < task.last + RADIUS; row++) {
            Real pixels[K][LANES];
#pragma unroll
            for (int j = 0; j < K; j++) {
                for (u32 v = 0; v < LANES; v++) {
                    pixels[j][v] = get(next[j].at[v]);
                    window[j][v] =
                        j + 1 < K ? window[j + 1 < K ? j + 1 : j][v] : get(next_dy.at[v]);
                }
            }
            // On its way while this row is worked on.
            if (row + 1 < task.last + RADIUS) fetch(row + 1);
            if (row < task.first - RADIUS) continue;
            for (u32 v = 0; v < LANES; v++) plain[v] += window[K - 1][v];
            if (is_interior(row, RADIUS, map.height)) {
#pragma unroll
                for (int i = 0; i < K; i++) {
#pragma unroll
                    for (int j = 0; j < K; j++) {
                        for (u32 v = 0; v < LANES; v++)
                            sums[i][j * LANES + v] += window[K - 1 - i][v] * pixels[j][v];
                    }
                }
            } else if (row >= 0 && row < map.height) {
#pragma unroll
                for (int i = 0; i < K; i++) {
                    // dy of all rows that see this one by tap i.
                    Real seers[LANES] = {};
#pragma unroll
                    for (int t = 0; t < K; t++) {
                        if (seen(row + t - RADIUS, i, RADIUS, map.height, map.reflect) == row) {
                            for (u32 v = 0; v < LANES; v++) seers[v] += window[t][v];
                        }
                    }
#pragma unroll
                    for (int j = 0; j < K; j++) {
                        for (u32 v = 0; v < LANES; v++)
                            sums[i][j * LANES + v] += seers[v] * pixels[j][v];
                    }
                }
            }
        }
    }
    __shared__ Real scratch[K * LANES * SCRATCH];
    u32 strips = (map.height + map.rows - 1) / map.rows;
    u64 row = (static_cast<u64>(task.image) * strips * pieces.tiles + task.piece) * (K * K + 1);
    Real* to = partial + row * map.channels + task.channel;
    bool writes = threadIdx.x < pieces.lanes && task.channel < map.channels;
#pragma unroll
    for (int i = 0; i < K; i++) {
        add_beside(sums[i], scratch, pieces);
        if (!writes) continue;
        for (int j = 0; j < K; j++) {
            for (u32 v = 0; v < LANES; v++)
                to[(i * K + j) * map.channels + v] = sums[i][j * LANES + v];
        }
    }
    add_beside(plain, scratch, pieces);
    for (u32 v = 0; v < LANES && writes; v++) to[K * K * map.channels + v] = plain[v];
}

#if FORMS
BOUNDED(dynamic_filter_products_3, 4)(
    Real* partial, const T* x, const T* dy, Map map, Pieces pieces) {
    products<3>(partial, x, dy, map, pieces);
}
#endif

// As `products`, with any K: a thread has one channel, and a block one of the K·K taps, or dy
// itself behind them.
KERNEL(dynamic_filter_products_any)(
    Real* partial, const T* x, const T* dy, Map map, Pieces pieces) {
    int radius = map.k / 2;
    u32 parts = map.k * map.k + 1;
    u32 part = blockIdx.x % parts;
    int i = part / map.k, j = part % map.k;
    bool plain = part + 1 == parts;
    Task task(map, pieces, blockIdx.x / parts, 1);
    u64 offset =
        static_cast<u64>(task.image) * map.height * map.width * map.channels + task.channel;
    x += offset;
    dy += offset;
    Real sums[1] = {};
    for (u32 step = 0; step < pieces.steps; step++) {
        int column = task.column + step * pieces.beside;
        if (column >= map.width) break;
        int from = plain ? column : seen(column, j, radius, map.width, map.reflect);
        for (int row = task.first; row < task.last; row++) {
            int from_row = plain ? row : seen(row, i, radius, map.height, map.reflect);
            if (from < 0 || from_row < 0) continue;
            Real other =
                plain ? Real(1)
                      : get(x[(static_cast<u64>(from_row) * map.width + from) * map.channels]);
            sums[0] += get(dy[(static_cast<u64>(row) * map.width + column) * map.channels]) * other;
        }
    }
    __shared__ Real scratch[SCRATCH];
    add_beside(sums, scratch, pieces);
    if (threadIdx.x >= pieces.lanes || task.channel >= map.channels) return;
    u32 strips = (map.height + map.rows - 1) / map.rows;
    u64 piece = static_cast<u64>(task.image) * strips * pieces.tiles + task.piece;
    partial[(piece * parts + part) * map.channels + task.channel] = sums[0];
}

// Adds the `pieces` of each image, and a group's channels: the gradients of the taps and, unless it
// is null, of the shift. A block has 32 of them; eight threads share a sum.
KERNEL(dynamic_filter_sums)(T* d_taps, T* d_shift, const Real* partial, Map map, u32 pieces) {
    constexpr u32 SUMS = 32, SHARE = 8;
    __shared__ double scratch[SHARE * SUMS];
    u32 taps = map.k * map.k * map.groups;
    u32 outputs = taps + (d_shift ? map.channels : 0);
    u64 index = static_cast<u64>(blockIdx.x) * SUMS + threadIdx.x % SUMS;
    u32 image = static_cast<u32>(index / outputs), output = static_cast<u32>(index % outputs);
    u32 share = threadIdx.x / SUMS;
    double sum = 0;
    if (image < map.images) {
        bool shift = output >= taps;
        u32 per_group = map.channels / map.groups;
        u32 count = shift ? 1 : per_group;
        u32 at = shift ? map.k * map.k * map.channels + output - taps
                       : output / map.groups * map.channels + output % map.groups * per_group;
        u64 stride = static_cast<u64>(map.k * map.k + 1) * map.channels;
        const Real* own = partial + image * stride * pieces + at;
        u64 terms = static_cast<u64>(pieces) * count;
        for (u64 term = share; term < terms; term += SHARE) {
            u64 piece = count == 1 ? term : term / count;
            sum += own[piece * stride + (term - piece * count)];
        }
    }
    scratch[threadIdx.x] = sum;
    __syncthreads();
    if (share > 0 || image >= map.images) return;
    for (u32 other = 1; other < SHARE; other++) sum += scratch[other * SUMS + threadIdx.x];
    T* to = output < taps ? d_taps + static_cast<u64>(image) * taps + output
                          : d_shift + static_cast<u64>(image) * map.channels + output - taps;
    put(*to, static_cast<Real>(sum));
}
