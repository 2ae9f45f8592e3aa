// The Fourier transform of real maps [N, C, H, W] that lie channels-last, its adjoint, and the L1
// distance of spectra.
//
// A transform is two passes, along the rows and along the columns. In each a block takes a few
// lines into shared memory, transforms them by Stockham's algorithm and writes them out; lines that
// are too long for shared memory are worked on in a workspace in global memory, by the same code.
// Spectra are [N, C, H, W/2 + 1] complex numbers, and stay in `Real` between the passes.
//
// Only one direction is implemented, exp(−iθ): the other is the conjugate of the conjugate's
// transform. A row is real, and two of one map are transformed as one complex line a + ib. (Not of
// two maps: a map of zeros has a spectrum of zeros, which another map's rounding must not disturb,
// since the sign of every number enters the gradient of the distance.)
//
// Half types are cast before and after, to which these numbers are the same:
// Compiled for: f32 f64
#include "common.cuh"

constexpr u32 STAGES = 24;

struct __align__(2 * sizeof(Real)) Complex {
    Real re, im;
};
__device__ __forceinline__ Complex operator+(Complex a, Complex b) {
    return {a.re + b.re, a.im + b.im};
}
__device__ __forceinline__ Complex operator-(Complex a, Complex b) {
    return {a.re - b.re, a.im - b.im};
}
__device__ __forceinline__ Complex operator*(Complex a, Complex b) {
    return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
__device__ __forceinline__ Complex operator*(Complex a, Real b) { return {a.re * b, a.im * b}; }
__device__ __forceinline__ Complex conjugate(Complex a) { return {a.re, -a.im}; }
__device__ __forceinline__ Complex turned(Complex a) { return {a.im, -a.re}; }  // a · −i

// How lines of a length are transformed.
struct FftPlan {
    u64 roots;      // the address of exp(−2πi k / length), k < length
    u64 workspace;  // that of the lines being worked on, or 0: they are in shared memory
    u32 length;
    u32 stages;
    u32 shift;  // a block takes 1 << shift lines
    // From one element of a line to the next; odd, so that neither lines nor elements share a bank
    // of memory.
    u32 pitch;
    u32 radices[STAGES];
};

// The sizes of the maps.
struct Maps {
    u32 channels, height, width;
};

// Whether element i of a spectrum of `length` is its own mirror image. Of real numbers, its
// imaginary part is 0.
__device__ __forceinline__ bool is_own_mirror(u32 i, u32 length) {
    return i == 0 || 2 * i == length;
}

// Fourier transforms of two to five numbers, in place.
__device__ __forceinline__ void butterfly(Complex (&v)[2]) {
    Complex sum = v[0] + v[1];
    v[1] = v[0] - v[1];
    v[0] = sum;
}
__device__ __forceinline__ void butterfly(Complex (&v)[3]) {
    Complex sum = v[1] + v[2], difference = turned(v[1] - v[2]) * Real(0.86602540378443864676);
    Complex middle = v[0] - sum * Real(0.5);
    v[0] = v[0] + sum;
    v[1] = middle + difference;
    v[2] = middle - difference;
}
__device__ __forceinline__ void butterfly(Complex (&v)[4]) {
    Complex even = v[0] + v[2], odd = v[1] + v[3], a = v[0] - v[2], b = turned(v[1] - v[3]);
    v[0] = even + odd;
    v[1] = a + b;
    v[2] = even - odd;
    v[3] = a - b;
}
__device__ __forceinline__ void butterfly(Complex (&v)[5]) {
    // Cos of a fifth and of two.
    const Real c1 = Real(0.30901699437494742410), c2 = Real(-0.80901699437494742410);
    const Real s1 = Real(0.95105651629515357212), s2 = Real(0.58778525229247312917);   // sin
    Complex sum1 = v[1] + v[4], sum2 = v[2] + v[3], difference1 = turned(v[1] - v[4]),
            difference2 = turned(v[2] - v[3]);
    Complex a = v[0] + sum1 * c1 + sum2 * c2, b = difference1 * s1 + difference2 * s2;
    Complex c = v[0] + sum1 * c2 + sum2 * c1, d = difference1 * s2 - difference2 * s1;
    v[0] = v[0] + sum1 + sum2;
    v[1] = a + b;
    v[4] = a - b;
    v[2] = c + d;
    v[3] = c - d;
}

// One stage of Stockham's algorithm: transforms of `span` numbers become transforms of
// `span`·RADIX.
template <u32 RADIX>
__device__ __forceinline__ void stage(
    Complex* to, const Complex* from, const FftPlan& plan, u32 span) {
    const Complex* roots = reinterpret_cast<const Complex*>(plan.roots);
    u32 across = plan.length / RADIX, step = across / span;
    for (u32 i = threadIdx.x; i < across << plan.shift; i += blockDim.x) {
        u32 line = i & ((1u << plan.shift) - 1), j = i >> plan.shift, k = j % span;
        Complex v[RADIX];
        for (u32 r = 0; r < RADIX; r++) v[r] = from[(j + r * across) * plan.pitch + line];
        if (k != 0) {
            for (u32 r = 1; r < RADIX; r++) v[r] = v[r] * roots[r * k * step];
        }
        butterfly(v);
        for (u32 r = 0; r < RADIX; r++)
            to[((j - k) * RADIX + k + r * span) * plan.pitch + line] = v[r];
    }
}

// The same for any other radix, by the definition.
__device__ __forceinline__ void direct_stage(
    Complex* to, const Complex* from, const FftPlan& plan, u32 span, u32 radix) {
    const Complex* roots = reinterpret_cast<const Complex*>(plan.roots);
    u32 across = plan.length / radix;
    for (u32 i = threadIdx.x; i < plan.length << plan.shift; i += blockDim.x) {
        u32 line = i & ((1u << plan.shift) - 1), at = i >> plan.shift;
        u32 k = at % (span * radix), j = at / (span * radix) * span + k % span;
        u32 step = k * (across / span), root = 0;
        Complex sum = {0, 0};
        for (u32 r = 0; r < radix; r++) {
            sum = sum + from[(j + r * across) * plan.pitch + line] * roots[root];
            root += step;
            if (root >= plan.length) root -= plan.length;
        }
        to[at * plan.pitch + line] = sum;
    }
}

// Transforms the lines at `lines`, with as much memory behind them, once all threads have written
// theirs. Returns where the result is. A function of its own, as every kernel calls it.
__device__ __noinline__ const Complex* transform(Complex* lines, const FftPlan& plan) {
    Complex *from = lines, *to = lines + plan.length * plan.pitch;
    __syncthreads();
    for (u32 s = 0, span = 1; s < plan.stages; s++) {
        u32 radix = plan.radices[s];
        switch (radix) {
            case 2: stage<2>(to, from, plan, span); break;
            case 3: stage<3>(to, from, plan, span); break;
            case 4: stage<4>(to, from, plan, span); break;
            case 5: stage<5>(to, from, plan, span); break;
            default: direct_stage(to, from, plan, span, radix);
        }
        span *= radix;
        Complex* result = to;
        to = from;
        from = result;
        __syncthreads();
    }
    return from;
}

// Where this block works on its lines.
__device__ __forceinline__ Complex* place(const FftPlan& plan) {
    DYNAMIC_SHARED(Complex, shared);
    if (plan.workspace == 0) return shared;
    return reinterpret_cast<Complex*>(plan.workspace) +
           u64(2) * plan.length * plan.pitch * blockIdx.x;
}

// Runs `work(first)` for each group of lines that falls to this block, `first` being the group's
// first line.
template <typename Work>
__device__ __forceinline__ void for_groups(const FftPlan& plan, u32 count, Work work) {
    u32 groups = ((count - 1) >> plan.shift) + 1;
    for (u32 group = blockIdx.x; group < groups; group += gridDim.x) {
        work(group << plan.shift);
        __syncthreads();  // the lines are read before the next ones take their place
    }
}

// ---- rows, two of a map as one line ----

// The two rows of line `index`: lines are counted by image, pair of rows and channel.
struct Pair {
    u64 first;    // the first row's first element in the maps
    u64 spectra;  // and in the spectra
    bool second;  // whether there is a second
    __device__ __forceinline__ Pair(u32 index, const Maps& maps) {
        u32 channel = index % maps.channels, rest = index / maps.channels,
            pairs = (maps.height + 1) / 2;
        u32 row = rest % pairs * 2, image = rest / pairs;
        first = (u64(image) * maps.height + row) * maps.width * maps.channels + channel;
        spectra =
            ((u64(image) * maps.channels + channel) * maps.height + row) * (maps.width / 2 + 1);
        second = row + 1 < maps.height;
    }
};

// The half spectra of the rows of x, or of x − minus.
KERNEL(fourier_rows)(Complex* y, const T* x, const T* minus, const __grid_constant__ FftPlan plan,
    Maps maps, u32 count) {
    Complex* lines = place(plan);
    u32 half = maps.width / 2 + 1, mask = (1u << plan.shift) - 1;
    for_groups(plan, count, [&](u32 group) {
        // The same in each turn of the loop: a block has a multiple of the lines.
        u32 line = threadIdx.x & mask;
        bool there = group + line < count;
        Pair pair(there ? group + line : 0, maps);
        u64 row = u64(maps.width) * maps.channels;
        for (u32 i = threadIdx.x; i < plan.length << plan.shift; i += blockDim.x) {
            u64 at = pair.first + u64(i >> plan.shift) * maps.channels;
            Complex value = {0, 0};
            if (there) value.re = minus ? get(x[at]) - get(minus[at]) : get(x[at]);
            if (there && pair.second)
                value.im = minus ? get(x[at + row]) - get(minus[at + row]) : get(x[at + row]);
            lines[(i >> plan.shift) * plan.pitch + line] = value;
        }
        const Complex* z = transform(lines, plan);
        for (u32 i = threadIdx.x; i < half << plan.shift; i += blockDim.x) {
            u32 k = i % half, of = i / half;
            if (group + of >= count) return;
            Pair pair(group + of, maps);
            // a = (z + z*)/2 and b = (z − z*)/2i, where z* is the mirror image's conjugate.
            Complex here = z[k * plan.pitch + of],
                    mirror = z[(k == 0 ? 0 : plan.length - k) * plan.pitch + of];
            Complex a = {(here.re + mirror.re) * Real(0.5), (here.im - mirror.im) * Real(0.5)};
            Complex b = {(here.im + mirror.im) * Real(0.5), (mirror.re - here.re) * Real(0.5)};
            y[pair.spectra + k] = a;
            if (pair.second) y[pair.spectra + half + k] = b;
        }
    });
}

// The maps of which `x` are the rows' half spectra: Re Σ x·exp(+iθ) over the half. A column that
// stands for two is halved and given to both, of which the real part is then the sum.
KERNEL(fourier_adjoint_rows)(
    T* y, const Complex* x, const __grid_constant__ FftPlan plan, Maps maps, u32 count) {
    Complex* lines = place(plan);
    u32 half = maps.width / 2 + 1, mask = (1u << plan.shift) - 1;
    for_groups(plan, count, [&](u32 group) {
        for (u32 i = threadIdx.x; i < half << plan.shift; i += blockDim.x) {
            u32 k = i % half, of = i / half;
            Complex a = {0, 0}, b = {0, 0};
            if (group + of < count) {
                Pair pair(group + of, maps);
                a = x[pair.spectra + k];
                if (pair.second) b = x[pair.spectra + half + k];
            }
            // a + ib, conjugated.
            if (is_own_mirror(k, maps.width)) {
                lines[k * plan.pitch + of] = {a.re, -b.re};
            } else {
                a = a * Real(0.5);
                b = b * Real(0.5);
                lines[k * plan.pitch + of] = {a.re - b.im, -a.im - b.re};
                lines[(plan.length - k) * plan.pitch + of] = {a.re + b.im, a.im - b.re};
            }
        }
        const Complex* z = transform(lines, plan);
        u32 line = threadIdx.x & mask;
        if (group + line >= count) return;
        Pair pair(group + line, maps);
        u64 row = u64(maps.width) * maps.channels;
        for (u32 i = threadIdx.x; i < plan.length << plan.shift; i += blockDim.x) {
            u64 at = pair.first + u64(i >> plan.shift) * maps.channels;
            Complex value = z[(i >> plan.shift) * plan.pitch + line];
            put(y[at], value.re);
            if (pair.second) put(y[at + row], -value.im);
        }
    });
}

// ---- columns ----

// Transforms column after column, of which `load` and `store` are told where they are in the
// spectra: (offset, k, l).
template <typename Load, typename Store>
__device__ __forceinline__ void columns(
    const FftPlan& plan, const Maps& maps, u32 count, Load load, Store store) {
    Complex* lines = place(plan);
    u32 half = maps.width / 2 + 1, line = threadIdx.x & ((1u << plan.shift) - 1);
    for_groups(plan, count, [&](u32 group) {
        bool there = group + line < count;
        u32 l = (group + line) % half;
        u64 first = u64((group + line) / half) * maps.height * half + l;
        for (u32 i = threadIdx.x; i < plan.length << plan.shift; i += blockDim.x) {
            u32 k = i >> plan.shift;
            lines[k * plan.pitch + line] = there ? load(first + u64(k) * half, l) : Complex{0, 0};
        }
        const Complex* z = transform(lines, plan);
        if (!there) return;
        for (u32 i = threadIdx.x; i < plan.length << plan.shift; i += blockDim.x) {
            u32 k = i >> plan.shift;
            store(first + u64(k) * half, k, l, z[k * plan.pitch + line]);
        }
    });
}

// A number of the spectrum of real maps: where it is its own mirror image, its imaginary part is 0,
// whatever rounding left of it.
__device__ __forceinline__ Complex of_real(Complex value, u32 k, u32 l, const Maps& maps) {
    if (is_own_mirror(k, maps.height) && is_own_mirror(l, maps.width)) value.im = 0;
    return value;
}

KERNEL(fourier_columns)(
    T* y, const Complex* x, const __grid_constant__ FftPlan plan, Maps maps, u32 count) {
    columns(plan, maps, count, [&](u64 at, u32) { return x[at]; },
            [&](u64 at, u32 k, u32 l, Complex value) {
                value = of_real(value, k, l, maps);
                put(y[2 * at], value.re);
                put(y[2 * at + 1], value.im);
            });
}

KERNEL(fourier_adjoint_columns)(
    Complex* y, const T* dy, const __grid_constant__ FftPlan plan, Maps maps, u32 count) {
    columns(
        plan, maps, count,
        [&](u64 at, u32) { return Complex{get(dy[2 * at]), -get(dy[2 * at + 1])}; },
        [&](u64 at, u32, u32, Complex value) { y[at] = conjugate(value); });
}

// ---- the L1 distance ----

// Which size of a complex number is summed: |re| + |im|, or |re + i im|; and what every column's
// sum is multiplied with.
struct Norm {
    double scale;
    u32 modulus;
    u32 unused;
};

// The spectra of `x` into `y`, if that is not null, which may be the same; and each block's share
// in the sum of sizes.
KERNEL(fourier_columns_l1)(Complex* y, double* sums, const Complex* x,
    const __grid_constant__ FftPlan plan, Maps maps, u32 count, Norm norm) {
    __shared__ double scratch[32];
    double sum = 0;
    columns(plan, maps, count, [&](u64 at, u32) { return x[at]; },
            [&](u64 at, u32 k, u32 l, Complex value) {
                value = of_real(value, k, l, maps);
                if (y) y[at] = value;
                Real size =
                    norm.modulus ? hypot_(value.re, value.im) : abs_(value.re) + abs_(value.im);
                sum += is_own_mirror(l, maps.width) ? size : 2 * size;
            });
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// The distance of which the blocks above have the shares. One block.
KERNEL(fourier_l1)(T* y, const double* sums, u32 count, Norm norm) {
    __shared__ double scratch[32];
    double sum = 0;
    for (u32 i = threadIdx.x; i < count; i += blockDim.x) sum += sums[i];
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) put(*y, static_cast<Real>(sum * norm.scale));
}

// The adjoint along columns of the distance's slopes at the spectrum `x`, times dy.
KERNEL(fourier_adjoint_columns_l1)(Complex* y, const Complex* x, const T* dy,
    const __grid_constant__ FftPlan plan, Maps maps, u32 count, Norm norm) {
    Real one = static_cast<Real>(norm.scale * get(*dy)), two = 2 * one;
    columns(
        plan, maps, count,
        [&](u64 at, u32 l) {
            Complex value = x[at];
            Real weight = is_own_mirror(l, maps.width) ? one : two;
            Real re = norm.modulus ? hypot_(value.re, value.im) : abs_(value.re);
            Real im = norm.modulus ? re : abs_(value.im);
            return Complex{re == Real(0) ? Real(0) : weight * (value.re / re),
                im == Real(0) ? Real(0) : -weight * (value.im / im)};
        },
        [&](u64 at, u32, u32, Complex value) { y[at] = conjugate(value); });
}
