//! The two-dimensional Fourier transform of real maps, over H and W, unnormalized.
//!
//! A real map's spectrum is Hermitian, F[−k, −l] = conj F[k, l], so the columns beyond W/2 say
//! nothing new and are left out.
//!
//! Backward is the adjoint of that linear map from real numbers to pairs (re, im). Summed over the
//! half spectrum, dx = Re Σ (d re + i·d im)·exp(+iθ): an inverse transform, in which a column that
//! stands for itself and its mirror image would count twice and is halved first.

mod cpu;
pub(super) mod cuda;
#[cfg(any(test, feature = "checks"))]
pub(super) mod samples;

use super::view::Shape;
use super::{Op, apply};
use crate::{Error, Meta, Result, Tensor};
pub(super) use cpu::is_own_mirror;

impl Tensor {
    /// The Fourier transform of each map of `[N, C, H, W]`, without normalization:
    /// `[N, C, H, W/2 + 1, 2]`, the last dimension being (re, im) of Σ x[h, w]·exp(−2πi(kh/H +
    /// lw/W)) at k < H, l ≤ W/2. Any size; fast where H and W are products of small primes.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0], &[1, 1, 2, 2])?;
    /// let spectrum = x.rfft2()?;
    /// assert_eq!(spectrum.shape(), [1, 1, 2, 2, 2]);
    /// assert_eq!(spectrum.to_f64_vec()?, [10.0, 0.0, -2.0, 0.0, -4.0, 0.0, 0.0, 0.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn rfft2(&self) -> Result<Tensor> {
        apply(Rfft2, &[self])
    }
}

struct Rfft2;

impl Op for Rfft2 {
    const NAME: &'static str = "rfft2";
    /// The input's shape: W does not follow from W/2 + 1.
    type Saved = Shape;

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let x = &inputs[0];
        crate::dispatch::require_compute(Self::NAME, x.dtype)?;
        let [n, c, h, w] = x.dims4(Self::NAME)?;
        if h == 0 || w == 0 {
            return Err(Error::shape(Self::NAME, format!("shape {:?} has no pixels", x.shape)));
        }
        Ok(Meta { shape: vec![n, c, h, w / 2 + 1, 2], dtype: x.dtype })
    }

    fn forward(&self, x: &[&Tensor], _: &Meta, _: &[bool]) -> Result<(Tensor, Shape)> {
        Ok((forward(Self::NAME, x[0])?, Shape(x[0].shape().to_vec())))
    }

    fn backward(
        &self,
        Shape(shape): Shape,
        dy: &Tensor,
        _: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(adjoint(Self::NAME, dy, &shape)?)])
    }
}

/// The half spectrum of every map of `x`: `[N, C, H, W]` to `[N, C, H, W/2 + 1, 2]`.
pub(in crate::ops) fn forward(op: &'static str, x: &Tensor) -> Result<Tensor> {
    x.on_device(|| cpu::forward(op, x), |gpu| cuda::forward(gpu, op, x))
}

/// The adjoint: the gradient of a half spectrum to that of the map of shape `shape` it came from.
pub(in crate::ops) fn adjoint(op: &'static str, dy: &Tensor, shape: &[usize]) -> Result<Tensor> {
    dy.on_device(|| cpu::adjoint(op, dy, shape), |gpu| cuda::adjoint(gpu, op, dy, shape))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Rng};

    fn close(a: &[f64], b: &[f64]) {
        assert_eq!(a.len(), b.len());
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12), "{a:?} is not {b:?}");
    }

    #[test]
    fn small_spectra_are_as_by_hand() {
        let x = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0], &[1, 1, 2, 2]).unwrap();
        let spectrum = x.rfft2().unwrap();
        assert_eq!(spectrum.shape(), [1, 1, 2, 2, 2]);
        close(&spectrum.to_f64_vec().unwrap(), &[10.0, 0.0, -2.0, 0.0, -4.0, 0.0, 0.0, 0.0]);
        // A pulse one step to the right turns by a quarter per column.
        let pulse = Tensor::from_slice(&[0.0, 1.0, 0.0, 0.0], &[1, 1, 1, 4]).unwrap();
        close(&pulse.rfft2().unwrap().to_f64_vec().unwrap(), &[1.0, 0.0, 0.0, -1.0, -1.0, 0.0]);
    }

    #[test]
    fn every_size_equals_the_sum_it_stands_for() {
        for (h, w) in [(1, 1), (1, 2), (2, 1), (3, 5), (4, 6), (7, 2), (5, 8), (6, 11)] {
            let x = Tensor::randn(&[2, 3, h, w], DType::F64, &mut Rng::new(1)).unwrap();
            let spectra = x.rfft2().unwrap().to_f64_vec().unwrap();
            for (map, spectrum) in
                x.to_f64_vec().unwrap().chunks(h * w).zip(spectra.chunks(h * (w / 2 + 1) * 2))
            {
                let mut expected = Vec::new();
                for (k, l) in (0..h).flat_map(|k| (0..=w / 2).map(move |l| (k, l))) {
                    let turn = |i: usize| {
                        -((k * (i / w)) as f64 / h as f64 + (l * (i % w)) as f64 / w as f64)
                    };
                    let angle = |i: usize| std::f64::consts::TAU * turn(i);
                    expected.push((0..h * w).map(|i| map[i] * angle(i).cos()).sum());
                    expected.push((0..h * w).map(|i| map[i] * angle(i).sin()).sum());
                }
                close(spectrum, &expected);
            }
        }
    }

    #[test]
    fn the_adjoint_sums_the_waves_that_the_spectrum_has() {
        for (h, w) in [(1, 1), (1, 2), (3, 5), (4, 6), (2, 7), (5, 8)] {
            let width = w / 2 + 1;
            // More lines than one, so that each finds its own map.
            let mut rng = Rng::new(2);
            let spectra = Tensor::randn(&[2, 3, h, width, 2], DType::F64, &mut rng).unwrap();
            let maps = adjoint("rfft2", &spectra, &[2, 3, h, w]).unwrap().to_f64_vec().unwrap();
            let spectra = spectra.to_f64_vec().unwrap();
            for (map, spectrum) in maps.chunks(h * w).zip(spectra.chunks(h * width * 2)) {
                // x has the parts x·cos θ and −x·sin θ of each frequency.
                let gradient = |i: usize| {
                    let part = |(at, d): (usize, &[f64])| {
                        let (k, l) = (at / width, at % width);
                        let turn =
                            (k * (i / w)) as f64 / h as f64 + (l * (i % w)) as f64 / w as f64;
                        let angle = std::f64::consts::TAU * turn;
                        d[0] * angle.cos() - d[1] * angle.sin()
                    };
                    spectrum.chunks(2).enumerate().map(part).sum::<f64>()
                };
                close(map, &(0..h * w).map(gradient).collect::<Vec<f64>>());
            }
        }
    }

    #[test]
    fn mismatched_shapes_are_reported() {
        let message = |shape: &[usize]| {
            Tensor::zeros(shape, DType::F32).unwrap().rfft2().unwrap_err().to_string()
        };
        assert_eq!(message(&[3, 4]), "rfft2: expected [N, C, H, W], got shape [3, 4]");
        assert_eq!(message(&[1, 1, 0, 4]), "rfft2: shape [1, 1, 0, 4] has no pixels");
        let bytes = Tensor::zeros(&[1, 1, 2, 2], DType::U8).unwrap();
        assert_eq!(
            bytes.rfft2().unwrap_err().to_string(),
            "rfft2: expected dtype f32 or f64, got u8"
        );
    }
}
