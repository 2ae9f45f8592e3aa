//! The resizing that the code published with IRNeXt does before SSIM.

use engine::Tensor;

use super::super::Result;

/// The size that the published evaluation resizes an image to before
/// [`Ssim::Downscaled`](super::Ssim::Downscaled); pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PooledSize {
    /// Height and width, raised to the next multiple of 32. Multiples are raised too: that is the
    /// code's quirk.
    pub raised: [usize; 2],
    /// The divisor of the raised sides.
    pub ratio: usize,
    /// Height and width that images are pooled to: at least 32.
    pub pooled: [usize; 2],
}

impl PooledSize {
    /// For an image of `[height, width]`.
    pub fn of(size: [usize; 2]) -> Self {
        let raised = size.map(|length| (length / 32 + 1) * 32);
        // Python rounds halves to the even number.
        let ratio = (raised[0].min(raised[1]) as f64 / 256.0).round_ties_even().max(1.0) as usize;
        Self { raised, ratio, pooled: raised.map(|length| length / ratio) }
    }
}

/// The planes of an image of size `from`, pooled to size `to`.
pub(super) fn pool(
    planes: Vec<Vec<f64>>,
    from: [usize; 2],
    to: [usize; 2],
) -> Result<Vec<Vec<f64>>> {
    let pool = |plane: Vec<f64>| {
        let plane = Tensor::from_slice(&plane, &[1, 1, from[0], from[1]])?;
        Ok(plane.adaptive_avg_pool2d(to[0], to[1])?.to_f64_vec()?)
    };
    planes.into_iter().map(pool).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_the_published_code_computes_them() {
        for (size, raised, ratio, pooled) in [
            ([1, 31], [32, 32], 1, [32, 32]),
            ([256, 256], [288, 288], 1, [288, 288]),
            // 1.5 rounds up and 2.5 down: to the even number.
            ([352, 479], [384, 480], 2, [192, 240]),
            ([639, 700], [640, 704], 2, [320, 352]),
            ([720, 1280], [736, 1312], 3, [245, 437]),
        ] {
            assert_eq!(PooledSize::of(size), PooledSize { raised, ratio, pooled });
        }
    }
}
