// Steps of optimizers, norms of gradients and moving averages, for many tensors in one launch.
//
// A launch is given a table of tensors, cut into pieces of SPAN elements: a block takes one. What
// changes from step to step is read from memory, so that a recorded step can be played again with
// other numbers. Gradients are of type T; parameters and what is remembered of earlier steps are
// `Real`.
#include "common.cuh"

constexpr u32 TENSORS = 64;
constexpr u32 OPERANDS = 4;
constexpr u32 SPAN = 4096;

struct Table {
    u32 tensors;
    u32 blocks;          // of the launches before this one
    u32 ends[TENSORS];   // this launch's blocks up to and with each tensor's
    u32 sizes[TENSORS];  // elements
    u32 rows[TENSORS];   // which row has each tensor's numbers
    u64 at[TENSORS][OPERANDS];
};

// The piece of a tensor that this block works on.
struct Piece {
    u32 tensor, start, end;
    __device__ __forceinline__ Piece(const Table& table) {
        tensor = 0;
        for (u32 beyond = table.tensors; tensor < beyond;) {
            u32 middle = (tensor + beyond) / 2;
            if (table.ends[middle] <= blockIdx.x) {
                tensor = middle + 1;
            } else {
                beyond = middle;
            }
        }
        u32 before = tensor == 0 ? 0 : table.ends[tensor - 1];
        start = (blockIdx.x - before) * SPAN;
        end = min(start + SPAN, table.sizes[tensor]);
    }
};

// As many elements of one type as 16 bytes hold of Real.
constexpr u32 FEW = 16 / sizeof(Real);
template <typename Element>
struct __align__(FEW * sizeof(Element)) Few {
    Element at[FEW];
};
template <typename Element>
__device__ __forceinline__ Few<Element> read(const Element* from, u32 i, u32 end, bool aligned) {
    if (aligned && i + FEW <= end) return *reinterpret_cast<const Few<Element>*>(from + i);
    Few<Element> few = {};
    for (u32 j = 0; j < FEW; j++) {
        if (i + j < end) few.at[j] = from[i + j];
    }
    return few;
}
template <typename Element>
__device__ __forceinline__ void write(
    Element* to, const Few<Element>& few, u32 i, u32 end, bool aligned) {
    if (aligned && i + FEW <= end) {
        *reinterpret_cast<Few<Element>*>(to + i) = few;
        return;
    }
    for (u32 j = 0; j < FEW; j++) {
        if (i + j < end) to[i + j] = few.at[j];
    }
}

// What the gradients are multiplied with so that their norm is within the limit; false if it is not
// a finite number: then there is nothing to be learnt from them, and nothing is changed.
__device__ __forceinline__ bool clipped(const double* norm, double limit, Real* scale) {
    *scale = 1;
    if (!norm) return true;
    double factor = limit / (*norm + 1e-6);
    if (factor < 1) *scale = static_cast<Real>(factor);
    return *norm - *norm == 0;
}

// The numbers of one parameter's step.
struct Row {
    double keep;  // what the parameter is multiplied with: AdamW's decay
    double root;  // what the root of the mean square is multiplied with, 1/√(1 − β₂ᵗ)
    double rate;  // the learning rate, over 1 − β₁ᵗ
};

// Operands: parameter, gradient, mean, mean square.
struct Adam {
    double beta1, beta2, eps, weight_decay;
};
KERNEL(optimizer_adam)(const __grid_constant__ Table table, const Row* rows, const double* norm,
    double limit, Adam adam) {
    Real scale;
    if (!clipped(norm, limit, &scale)) return;
    Piece piece(table);
    const u64* at = table.at[piece.tensor];
    Real* values = reinterpret_cast<Real*>(at[0]);
    const T* gradients = reinterpret_cast<const T*>(at[1]);
    Real* means = reinterpret_cast<Real*>(at[2]);
    Real* squares = reinterpret_cast<Real*>(at[3]);
    bool aligned = (at[0] | at[1] | at[2] | at[3]) % 16 == 0;
    const Row& row = rows[table.rows[piece.tensor]];
    const Real keep = Real(row.keep), root = Real(row.root), rate = Real(row.rate),
               decay = Real(adam.weight_decay);
    const Real beta1 = Real(adam.beta1), rest1 = Real(1 - adam.beta1), eps = Real(adam.eps);
    const Real beta2 = Real(adam.beta2), rest2 = Real(1 - adam.beta2);
    for (u32 i = piece.start + threadIdx.x * FEW; i < piece.end; i += blockDim.x * FEW) {
        Few<T> gradient = read(gradients, i, piece.end, aligned);
        Few<Real> value = read(values, i, piece.end, aligned);
        Few<Real> mean = read(means, i, piece.end, aligned),
                  square = read(squares, i, piece.end, aligned);
        for (u32 j = 0; j < FEW; j++) {
            Real g = scale * get(gradient.at[j]) + decay * value.at[j];
            mean.at[j] = beta1 * mean.at[j] + rest1 * g;
            square.at[j] = beta2 * square.at[j] + rest2 * (g * g);
            value.at[j] =
                keep * value.at[j] - rate * (mean.at[j] / (sqrt_(square.at[j]) * root + eps));
        }
        write(values, value, i, piece.end, aligned);
        write(means, mean, i, piece.end, aligned);
        write(squares, square, i, piece.end, aligned);
    }
}

// Operands: parameter, gradient, velocity.
struct Sgd {
    double momentum, weight_decay;
};
KERNEL(optimizer_sgd)(const __grid_constant__ Table table, const Row* rows, const double* norm,
    double limit, Sgd sgd) {
    Real scale;
    if (!clipped(norm, limit, &scale)) return;
    Piece piece(table);
    const u64* at = table.at[piece.tensor];
    Real* values = reinterpret_cast<Real*>(at[0]);
    const T* gradients = reinterpret_cast<const T*>(at[1]);
    Real* velocities = reinterpret_cast<Real*>(at[2]);
    bool aligned = (at[0] | at[1] | at[2]) % 16 == 0;
    const Real rate = Real(rows[table.rows[piece.tensor]].rate), decay = Real(sgd.weight_decay);
    for (u32 i = piece.start + threadIdx.x * FEW; i < piece.end; i += blockDim.x * FEW) {
        Few<T> gradient = read(gradients, i, piece.end, aligned);
        Few<Real> value = read(values, i, piece.end, aligned),
                  velocity = read(velocities, i, piece.end, aligned);
        for (u32 j = 0; j < FEW; j++) {
            Real g = scale * get(gradient.at[j]) + decay * value.at[j];
            velocity.at[j] = Real(sgd.momentum) * velocity.at[j] + g;
            value.at[j] = value.at[j] - rate * velocity.at[j];
        }
        write(values, value, i, piece.end, aligned);
        write(velocities, velocity, i, piece.end, aligned);
    }
}

// Each block's sum of squares. Operand: gradient.
KERNEL(optimizer_squares)(double* sums, const __grid_constant__ Table table) {
    __shared__ double scratch[32];
    Piece piece(table);
    const T* gradients = reinterpret_cast<const T*>(table.at[piece.tensor][0]);
    bool aligned = table.at[piece.tensor][0] % 16 == 0;
    double sum = 0;
    for (u32 i = piece.start + threadIdx.x * FEW; i < piece.end; i += blockDim.x * FEW) {
        Few<T> gradient = read(gradients, i, piece.end, aligned);
        for (u32 j = 0; j < FEW; j++) {
            double g = get(gradient.at[j]);
            sum += g * g;
        }
    }
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) sums[table.blocks + blockIdx.x] = sum;
}

// The root of all sums. One block.
KERNEL(optimizer_norm)(double* norm, const double* sums, u32 count) {
    __shared__ double scratch[32];
    double sum = 0;
    for (u32 i = threadIdx.x; i < count; i += blockDim.x) sum += sums[i];
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) *norm = sqrt(sum);
}

// Moving averages, all with the numbers of the first row: average ← keep · average + rate · value.
// Operands: average, value.
KERNEL(optimizer_average)(
    const __grid_constant__ Table table, const Row* rows, const double* norm) {
    Real scale;
    if (!clipped(norm, 0, &scale)) return;
    Piece piece(table);
    const u64* at = table.at[piece.tensor];
    T* averages = reinterpret_cast<T*>(at[0]);
    const T* values = reinterpret_cast<const T*>(at[1]);
    bool aligned = (at[0] | at[1]) % 16 == 0;
    const Real keep = Real(rows->keep), rate = Real(rows->rate);
    for (u32 i = piece.start + threadIdx.x * FEW; i < piece.end; i += blockDim.x * FEW) {
        Few<T> average = read(averages, i, piece.end, aligned),
               value = read(values, i, piece.end, aligned);
        for (u32 j = 0; j < FEW; j++)
            put(average.at[j], keep * get(average.at[j]) + rate * get(value.at[j]));
        write(averages, average, i, piece.end, aligned);
    }
}
