//! Sums over the pixels of channels-last maps, one per channel.
//!
//! They are taken in f64 whatever the dtype: variances are small differences of large numbers, and
//! memory is the limit anyway.

use super::for_each_piece;
use crate::memory::filled;
use crate::simd::{Kernel, vectorize};
use crate::{Float, Result};

/// Pixels in a piece: a constant, so that the order of additions is constant, too.
const PIXELS: usize = 512;

/// Σ `f([sources…], mean)` over the pixels of each of `groups` equal runs of the sources, for each
/// channel.
///
/// The sources are the data of equally shaped channels-last maps; `mean` and the result are
/// `[groups, channels]`.
pub(crate) fn channel_sums<T: Float, const N: usize>(
    sources: [&[T]; N],
    groups: usize,
    mean: &[f64],
    f: impl Fn([f64; N], f64) -> f64 + Sync,
) -> Result<Vec<f64>> {
    let mut sums = filled(0.0, mean.len())?;
    if sums.is_empty() || sources[0].is_empty() {
        return Ok(sums);
    }
    let channels = mean.len() / groups;
    let group_len = sources[0].len() / groups;
    let pieces = group_len.div_ceil(PIXELS * channels);
    let mut partial = filled(0.0, groups * pieces * channels)?;
    for_each_piece(&mut partial, channels, &|i, sums| {
        let (group, piece) = (i / pieces, i % pieces);
        let start = group * group_len + piece * PIXELS * channels;
        let end = (start + PIXELS * channels).min((group + 1) * group_len);
        let sources = sources.map(|source| &source[start..end]);
        vectorize(Sum { sums, sources, mean: &mean[group * channels..][..channels], f: &f });
    });
    for (i, piece) in partial.chunks(channels).enumerate() {
        let sums = &mut sums[i / pieces * channels..][..channels];
        sums.iter_mut().zip(piece).for_each(|(sum, part)| *sum += part);
    }
    Ok(sums)
}

struct Sum<'a, T, F, const N: usize> {
    sums: &'a mut [f64],
    sources: [&'a [T]; N],
    mean: &'a [f64],
    f: &'a F,
}

impl<T: Float, F: Fn([f64; N], f64) -> f64, const N: usize> Kernel for Sum<'_, T, F, N> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { sums, sources, mean, f } = self;
        let channels = sums.len();
        let mean = &mean[..channels];
        for start in (0..sources[0].len()).step_by(channels) {
            let pixel: [&[T]; N] = std::array::from_fn(|k| &sources[k][start..start + channels]);
            for c in 0..channels {
                sums[c] += f(std::array::from_fn(|k| pixel[k][c].to_f64()), mean[c]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact_over_several_pieces_and_groups() {
        // Two groups of 1300 pixels with two channels: 0, 1, 2, …
        let data: Vec<f32> = (0..5200).map(|i| i as f32).collect();
        let expected = |first: usize, last: usize| {
            (first..last).step_by(2).map(|i| i as f64 - 1.0).sum::<f64>()
        };
        let sums = channel_sums([&data], 2, &[1.0; 4], |[x], mean| x - mean).unwrap();
        assert_eq!(
            sums,
            [expected(0, 2600), expected(1, 2600), expected(2600, 5200), expected(2601, 5200)]
        );
    }
}
