//! Settings of the whole process: what GPUs may give up for speed.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

static TF32: AtomicBool = AtomicBool::new(false);
static DETERMINISTIC: AtomicBool = AtomicBool::new(true);
static COMPILED_FUSION: AtomicBool = AtomicBool::new(false);

/// Whether convolutions and matrix products of f32 may round their factors to TF32, which has 10
/// bits after the point instead of 23, to use a GPU's tensor cores. Off at first. The sums are in
/// f32 either way; other dtypes, and the CPU, are not concerned.
pub fn set_tf32(allowed: bool) {
    TF32.store(allowed, Relaxed);
}

/// Whether f32 may be rounded to TF32 in products on a GPU.
pub fn tf32() -> bool {
    TF32.load(Relaxed)
}

/// Whether a computation must give the same bits each time it runs on the same GPU with the same
/// libraries. On at first. Off, cuDNN may add up gradients in whatever order they come in. The
/// program's own kernels always keep to an order.
pub fn set_deterministic(required: bool) {
    DETERMINISTIC.store(required, Relaxed);
}

/// Whether results must be the same each time.
pub fn deterministic() -> bool {
    DETERMINISTIC.load(Relaxed)
}

/// Whether cuDNN may compile kernels of its own for a convolution with the GELU that follows it.
/// Off at first: it takes seconds for each shape of a map, and saves a pass over the map each time.
/// It needs NVRTC (`libnvrtc.so.12`), and without it nothing is lost but that.
pub fn set_compiled_fusion(welcome: bool) {
    COMPILED_FUSION.store(welcome, Relaxed);
}

/// Whether cuDNN may compile kernels.
pub fn compiled_fusion() -> bool {
    COMPILED_FUSION.load(Relaxed)
}
