//! The variants of structural similarity that papers report.

/// Which variant of structural similarity. All are computed in f64 and are means over channels; all
/// but [`Ssim::Cube`] look at the channels one by one, and only at places where the whole window
/// lies in the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ssim {
    /// The paper's: an 11x11 Gaussian window of σ 1.5. As Wang's MATLAB script (without its
    /// down-sampling), BasicSR's `calculate_ssim`, and scikit-image with `gaussian_weights` and
    /// without `use_sample_covariance`.
    Gaussian,
    /// [`Ssim::Gaussian`] with variances and covariance multiplied by 121/120, as if the 121 pixels
    /// were a sample of equal weights. As scikit-image with `gaussian_weights` and its default
    /// `use_sample_covariance`.
    GaussianSample,
    /// scikit-image's default: the 7x7 pixels weigh the same, and variances are those of a sample
    /// (÷ 48, not 49).
    Uniform,
    /// [`Ssim::Gaussian`] with the window of the package pytorch_msssim, whose weights are rounded
    /// to f32 and so do not add up to 1; some 1e-6 away. That package drops the window along a side
    /// shorter than it; here that is an error.
    Msssim,
    /// An 11x11x11 Gaussian window of σ 1.5 over rows, columns *and channels*, the mean over all
    /// places, border values repeated beyond the border. As MATLAB's `ssim(A, B)`, which takes an
    /// RGB image for a volume, and as NAFNet's `calculate_ssim` with `ssim3d`, which follows
    /// MATLAB: papers on GoPro report it. The two agree in window and border. Of one channel, as
    /// [`View::Luma`](crate::metrics::View::Luma) has, it is MATLAB's `ssim` of a gray
    /// image. Has a score at any size.
    Cube,
    /// [`Ssim::Msssim`] of images first resized by adaptive average pooling, as the code published
    /// with IRNeXt scores: height and width are raised to the *next* multiple of 32, even if they
    /// are multiples already; the smaller of these over 256, rounded (half to even) and at least 1,
    /// is the ratio; each raised side over the ratio, rounded down, is the size of the pooled map.
    /// A small image is enlarged thereby. Has a score at any size.
    Downscaled,
}
