//! The norm by which spectra are compared.

#[cfg(doc)]
use crate::Tensor;

/// How the size of a complex number enters [`Tensor::frequency_l1`]. F is the unnormalized Fourier
/// transform of the difference of the images, P the number of their elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrequencyNorm {
    /// Σ (|re F| + |im F|) / 2P: the mean over real and imaginary parts, as in the code of
    /// Cui et al., ICML 2023.
    Stacked,
    /// Σ |F| / P: the mean of the modulus (Cui et al., ICML 2023, equation 9).
    Modulus,
}
