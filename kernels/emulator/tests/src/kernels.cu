// Kernels that the emulator must run rightly, and faults that it must catch.

// The sum of a block's numbers by halving, with the barrier between the rounds or, wrongly,
// without.
template <bool barrier> __device__ void sum_block(const float* x, float* y) {
  float* part = static_cast<float*>(emulator_dynamic_shared());
  unsigned t = threadIdx.x;
  part[t] = x[blockIdx.x * blockDim.x + t];
  __syncthreads();
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    if (t < half) part[t] += part[t + half];
    if (barrier) __syncthreads();
  }
  __syncthreads();
  if (t == 0) atomicAdd(y, part[0]);
}
extern "C" __global__ void sum(const float* x, float* y) { sum_block<true>(x, y); }
extern "C" __global__ void sum_without_barrier(const float* x, float* y) { sum_block<false>(x, y); }

// Warp sums by shuffles, then the first thread adds them: with the barrier or, wrongly, without.
template <bool barrier> __device__ void sum_warps(const int* x, int* y) {
  __shared__ int part[32];
  int v = x[blockIdx.x * blockDim.x + threadIdx.x];
  for (int distance = 16; distance > 0; distance /= 2) v += __shfl_xor_sync(~0u, v, distance);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
  if (barrier) __syncthreads();
  if (threadIdx.x == 0) {
    int total = 0;
    for (unsigned warp = 0; warp < blockDim.x / 32; ++warp) total += part[warp];
    y[blockIdx.x] = total;
    for (unsigned warp = 0; warp < blockDim.x / 32; ++warp) part[warp] = -1;
  }
}
extern "C" __global__ void sum_shuffled(const int* x, int* y) { sum_warps<true>(x, y); }
extern "C" __global__ void sum_shuffled_without_barrier(const int* x, int* y) {
  sum_warps<false>(x, y);
}

// One number a lane from every warp function. Half of the lanes leave before the last one.
extern "C" __global__ void warp(long long* y) {
  int lane = threadIdx.x % 32;
  long long* out = y + threadIdx.x * 10;
  out[0] = __shfl_sync(~0u, lane * 3, 5);
  out[1] = __shfl_sync(~0u, lane, 1, 8);
  out[2] = __shfl_up_sync(~0u, lane, 3);
  out[3] = (long long)__shfl_down_sync(~0u, double(lane), 5, 16);
  out[4] = __shfl_xor_sync(~0u, (long long)lane << 40, 1);
  out[5] = __ballot_sync(~0u, lane % 3 == 0);
  out[6] = __any_sync(~0u, lane == 31) * 2 + __all_sync(~0u, lane < 31);
  unsigned half = lane < 16 ? 0xffffu : 0xffff0000u;
  if (lane < 16) out[7] = __shfl_xor_sync(half, lane, 15);  // the halves of a warp apart
  else out[7] = __ballot_sync(half, lane % 2);
  __syncwarp();
  if (lane >= 16) return;
  __syncthreads();
  out[8] = __popc(__ballot_sync(~0u, 1));
  out[9] = __shfl_down_sync(~0u, lane, 1);  // the last one reads a lane that has left
}

struct Shape {
  int n, rank;
  long long strides[3];
};
extern "C" __global__ void scale(float* y, const float* x, float a, Shape shape,
                                 unsigned char offset) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < shape.n) y[i] = a * x[i * shape.strides[shape.rank - 1]] + offset;
}
extern "C" __global__ void beyond(float* y, int n) {  // without the test of i < n
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  y[i] = n;
}
extern "C" __global__ void beyond_shared(float* y) {
  float* part = static_cast<float*>(emulator_dynamic_shared());
  part[threadIdx.x + 1] = 1;
  *y = part[1];
}
extern "C" __global__ void trap(int n) {
  if (int(threadIdx.x) == n) __trap();
  __syncthreads();
}
extern "C" __global__ void divergent(int n) {
  if (int(threadIdx.x) < n) __syncthreads();
  else __syncwarp(~0u);
}
extern "C" __global__ void out_of_date() { __syncthreads(); }

// Numbers where CUDA's own functions and the C library's may differ.
extern "C" __global__ void numbers(float* y) {
  float s, c;
  sincospif(2.5f, &s, &c);
  y[0] = s, y[1] = c;
  sincospif(-1.0f, &s, &c);
  y[2] = s, y[3] = c;
  y[4] = max(NAN, 1.0f), y[5] = __saturatef(NAN), y[6] = rsqrtf(4);
  y[7] = float(__clz(1) + __popc(7u)), y[8] = float(__umulhi(0x80000000u, 6)),
  y[9] = float(__mulhi(-2, 1 << 30));
  y[10] = float(min(-1, 3) + int(max(2u, 5u)));
  int mismatches = 0;  // every half is a float, and back
  for (unsigned h = 0; h < 65536; ++h) {
    float x = emulator_half_to_float((unsigned short)h);
    mismatches += x != x ? emulator_float_to_half(x) != 0x7fff : emulator_float_to_half(x) != h;
  }
  y[11] = float(mismatches);
  y[12] = emulator_float_to_half(65519.99f), y[13] = emulator_float_to_half(65520),
  y[14] = emulator_float_to_half(0x1.8p-24f);
}
