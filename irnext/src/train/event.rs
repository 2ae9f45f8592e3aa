//! The events of a run, for its observers.

/// An event in a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A step was taken.
    Step(Step),
    /// The validation pairs were scored.
    Validation(Validation),
    /// The [samples](super::log::samples) of this step were drawn, or could not be drawn, which
    /// does not end the run. The first rank alone draws them.
    Samples {
        /// Steps taken.
        step: u64,
        /// The reason why they could not be drawn.
        failed: Option<String>,
    },
}

/// The results of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Its number, from 1.
    pub step: u64,
    /// Equation 10, on this batch.
    pub loss: f64,
    /// Equation 8.
    pub spatial: f64,
    /// Equation 9.
    pub frequency: f64,
    /// The learning rate.
    pub rate: f64,
    /// The gradients' global norm before clipping.
    pub gradient_norm: f64,
    /// Whether the parameters were left unchanged because the loss or a gradient was not finite.
    pub skipped: bool,
}

/// Mean scores of the validation pairs, restored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Validation {
    /// Steps taken.
    pub step: u64,
    /// [`Measure::PSNR`](crate::metrics::Measure::PSNR).
    pub psnr: f64,
    /// [`Measure::SSIM`](crate::metrics::Measure::SSIM); NaN if no pair has one.
    pub ssim: f64,
    /// The number of pairs that have a PSNR and no SSIM, which its mean leaves out: they are
    /// smaller than its window.
    pub without_ssim: usize,
}
