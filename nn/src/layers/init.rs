//! The bounds of initial values.

/// PyTorch's for the weight and the bias of convolutions and linear maps (He et al. 2015 with
/// a = √5): 1/√(fan-in).
pub(super) fn fan_bound(fan_in: usize) -> f64 {
    if fan_in == 0 { 0.0 } else { 1.0 / (fan_in as f64).sqrt() }
}
