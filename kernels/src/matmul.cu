// Matrix products of any strides, in batches: a block computes a tile of one product, over all of K
// or, where there are few tiles, over a piece of it; `reduce.cu` adds up the pieces.
//
// The tile's parts of A and B come into shared memory a few columns of A (rows of B) at a time,
// read along whichever dimension is the closer in memory; the next part is on its way while one is
// multiplied. A thread holds 4×4 results.
#include "common.cuh"

constexpr u32 RANK = 8;
constexpr u32 TILE = 64;
constexpr u32 DEPTH = 16;
constexpr u32 SIDE = 4;
constexpr u32 THREADS = (TILE / SIDE) * (TILE / SIDE);
constexpr u32 LOADS = TILE * DEPTH / THREADS;

// A matrix as the sum sees it: its lanes are rows of A or columns of B, each of them K long.
struct Operand {
    u32 lanes, lane_stride, depth_stride;
    u32 batch_strides[RANK];
};

struct Product {
    Operand a, b;
    u32 k;
    u32 piece;  // of K, that a block takes: a multiple of DEPTH
    u32 rank;   // of the batch, innermost dimension first
    u32 sizes[RANK];
};

// Elements of a tile that a thread brings.
struct Part {
    const T* start;
    u32 lanes, lane_stride, depth_stride;
    bool along_depth;

    __device__ __forceinline__ Part(const T* start, const Operand& operand, u32 first)
        : start(start + static_cast<size_t>(first) * operand.lane_stride),
          lanes(operand.lanes - first),
          lane_stride(operand.lane_stride),
          depth_stride(operand.depth_stride),
          along_depth(operand.depth_stride < operand.lane_stride) {}

    __device__ __forceinline__ void place(u32 i, u32& lane, u32& depth) const {
        u32 index = threadIdx.x + i * THREADS;
        lane = along_depth ? index / DEPTH : index % TILE;
        depth = along_depth ? index % DEPTH : index / TILE;
    }
    __device__ __forceinline__ void load(Real* numbers, u32 from, u32 to) const {
        for (u32 i = 0; i < LOADS; i++) {
            u32 lane, depth;
            place(i, lane, depth);
            depth += from;
            bool inside = lane < lanes && depth < to;
            numbers[i] = inside ? get(start[static_cast<size_t>(lane) * lane_stride +
                                            static_cast<size_t>(depth) * depth_stride])
                                : Real(0);
        }
    }
    __device__ __forceinline__ void store(Real (*tile)[TILE + SIDE], const Real* numbers) const {
        for (u32 i = 0; i < LOADS; i++) {
            u32 lane, depth;
            place(i, lane, depth);
            tile[depth][lane] = numbers[i];
        }
    }
};

// Where `partial` is there, the results go there, piece by piece; else to y.
KERNEL(matmul)(T* y, Real* partial, const T* a, const T* b, Product product) {
    __shared__ __align__(16) Real tile_a[DEPTH][TILE + SIDE], tile_b[DEPTH][TILE + SIDE];
    u32 m = product.a.lanes, n = product.b.lanes;
    u32 across = (n + TILE - 1) / TILE, down = (m + TILE - 1) / TILE;
    u32 column = blockIdx.x % across * TILE, row = blockIdx.x / across % down * TILE,
        batch = blockIdx.x / across / down;
    for (u32 d = 0, rest = batch; d < product.rank; d++) {
        u32 i = rest % product.sizes[d];
        rest /= product.sizes[d];
        a += static_cast<size_t>(i) * product.a.batch_strides[d];
        b += static_cast<size_t>(i) * product.b.batch_strides[d];
    }
    Part part_a(a, product.a, row), part_b(b, product.b, column);
    u32 from = blockIdx.y * product.piece, to = min(from + product.piece, product.k);
    u32 i0 = threadIdx.x / (TILE / SIDE) * SIDE, j0 = threadIdx.x % (TILE / SIDE) * SIDE;
    Real sums[SIDE][SIDE] = {}, next_a[LOADS], next_b[LOADS];
    // A turn fetches the columns of A at `depth` and multiplies those before them.
#pragma unroll 1
    for (u32 depth = from;; depth += DEPTH) {
        if (depth < to) {
            part_a.load(next_a, depth, to);
            part_b.load(next_b, depth, to);
        }
        if (depth != from) {
            for (u32 d = 0; d < DEPTH; d++) {
                Real rows[SIDE], columns[SIDE];
                for (u32 i = 0; i < SIDE; i++) rows[i] = tile_a[d][i0 + i];
                for (u32 j = 0; j < SIDE; j++) columns[j] = tile_b[d][j0 + j];
                for (u32 i = 0; i < SIDE; i++) {
                    for (u32 j = 0; j < SIDE; j++) sums[i][j] += rows[i] * columns[j];
                }
            }
            __syncthreads();
        }
        if (depth >= to) break;
        part_a.store(tile_a, next_a);
        part_b.store(tile_b, next_b);
        __syncthreads();
    }
    for (u32 i = 0; i < SIDE && row + i0 + i < m; i++) {
        for (u32 j = 0; j < SIDE && column + j0 + j < n; j++) {
            size_t at = (static_cast<size_t>(batch) * m + row + i0 + i) * n + column + j0 + j;
            if (partial) {
                size_t all = static_cast<size_t>(gridDim.x / across / down) * m * n;
                partial[blockIdx.y * all + at] = sums[i][j];
            } else {
                put(y[at], sums[i][j]);
            }
        }
    }
}
