//! The L1 distance of two images' spectra, as one operation.
//!
//! The transform is linear, so the difference of the images is transformed, once; it is real, so
//! half its spectrum is enough, in which a column that stands for two counts twice. Backward gives
//! each of those numbers its sign (the sign of 0 being 0) and takes the adjoint of the transform.
//! Only the half spectrum of the difference is saved.

mod cuda;
mod norm;
#[cfg(any(test, feature = "checks"))]
pub(super) mod samples;

use super::rfft2::{adjoint, forward, is_own_mirror};
use super::view::Shape;
use super::{Op, apply};
use crate::cpu::for_each_piece;
use crate::{Element, Error, Float, Meta, Result, Tensor, dispatch_float};
pub use norm::FrequencyNorm;
use rayon::prelude::*;

impl Tensor {
    /// The mean L1 distance of the spectra of `self` and `target`, both `[N, C, H, W]`; a tensor
    /// without dimensions.
    ///
    /// ```
    /// use engine::{DType, FrequencyNorm, Tensor};
    /// // The spectrum of a pulse at the origin is 1 everywhere.
    /// let x = Tensor::from_slice(&[1.0, 0.0, 0.0, 0.0], &[1, 1, 2, 2])?;
    /// let target = Tensor::zeros(&[1, 1, 2, 2], DType::F64)?;
    /// assert_eq!(x.frequency_l1(&target, FrequencyNorm::Modulus)?.item()?, 1.0);
    /// assert_eq!(x.frequency_l1(&target, FrequencyNorm::Stacked)?.item()?, 0.5);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn frequency_l1(&self, target: &Tensor, norm: FrequencyNorm) -> Result<Tensor> {
        apply(FrequencyL1 { norm }, &[self, target])
    }
}

struct FrequencyL1 {
    norm: FrequencyNorm,
}

impl Op for FrequencyL1 {
    const NAME: &'static str = "frequency_l1";
    /// The half spectrum of the difference, if a gradient is needed; and the images' shape.
    type Saved = (Option<Tensor>, Shape);

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let (x, target) = (&inputs[0], &inputs[1]);
        crate::dispatch::require_compute(Self::NAME, x.dtype)?;
        if target.dtype != x.dtype {
            return Err(Error::dtype(Self::NAME, x.dtype, target.dtype));
        }
        x.dims4(Self::NAME)?;
        if target.shape != x.shape {
            let message = format!(
                "prediction {:?} and target {:?} must have the same shape",
                x.shape, target.shape
            );
            return Err(Error::shape(Self::NAME, message));
        }
        if x.shape.contains(&0) {
            return Err(Error::shape(Self::NAME, format!("shape {:?} has no elements", x.shape)));
        }
        Ok(Meta { shape: vec![], dtype: x.dtype })
    }

    fn forward(
        &self,
        inputs: &[&Tensor],
        _: &Meta,
        need: &[bool],
    ) -> Result<(Tensor, Self::Saved)> {
        let shape = inputs[0].shape();
        let wanted = need[0] || need[1];
        let (value, saved) = inputs[0].on_device(
            || {
                let spectrum = forward(Self::NAME, &inputs[0].sub(inputs[1])?)?;
                Ok((self.value(&spectrum, shape)?, wanted.then_some(spectrum)))
            },
            |gpu| cuda::forward(gpu, Self::NAME, inputs, self.norm, wanted),
        )?;
        Ok((value, (saved, Shape(shape.to_vec()))))
    }

    fn backward(
        &self,
        (spectrum, Shape(shape)): Self::Saved,
        dy: &Tensor,
        need: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let Some(spectrum) = spectrum else { return Ok(vec![None, None]) };
        let dx = self.gradient(&spectrum, &shape, dy)?;
        let d_target = need[1].then(|| dx.neg()).transpose()?;
        Ok(vec![need[0].then_some(dx), d_target])
    }
}

impl FrequencyL1 {
    /// `dy` times the gradient of the distance by the first image.
    fn gradient(&self, spectrum: &Tensor, shape: &[usize], dy: &Tensor) -> Result<Tensor> {
        dy.on_device(
            || adjoint(Self::NAME, &self.slopes(spectrum, shape, dy.item()?)?, shape),
            |gpu| cuda::gradient(gpu, Self::NAME, spectrum, dy, shape, self.norm),
        )
    }

    /// The distance, summed in f64, map by map.
    fn value(&self, spectrum: &Tensor, shape: &[usize]) -> Result<Tensor> {
        let weights = self.weights(shape);
        dispatch_float!(Self::NAME, spectrum.dtype(), T => {
            let data: &[T] = spectrum.dense_data(Self::NAME)?;
            let sum_of_map = |map: &[T]| -> f64 {
                let values = map.chunks_exact(2).zip(weights.iter().cycle());
                values.map(|(v, weight)| weight * self.size(v[0].to_f64(), v[1].to_f64())).sum()
            };
            let maps: Vec<f64> = data
                .par_chunks(shape[2] * weights.len() * 2)
                .map(sum_of_map)
                .collect();
            Tensor::scalar(maps.iter().sum(), spectrum.dtype())
        })
    }

    /// `dy` times the derivative of the distance by every real and imaginary part.
    fn slopes(&self, spectrum: &Tensor, shape: &[usize], dy: f64) -> Result<Tensor> {
        dispatch_float!(Self::NAME, spectrum.dtype(), T => {
            let data: &[T] = spectrum.dense_data(Self::NAME)?;
            let weights: Vec<T> = self
                .weights(shape)
                .iter()
                .map(|weight| <T as Element>::from_f64(dy * weight))
                .collect();
            let line = weights.len() * 2;
            Tensor::build(spectrum.shape(), |out: &mut [T]| {
                for_each_piece(out, line, &|i, out| {
                    let numbers = out.chunks_exact_mut(2).zip(data[i * line..].chunks_exact(2));
                    for ((out, v), &weight) in numbers.zip(&weights) {
                        let [re, im] = self.direction(v[0], v[1]);
                        (out[0], out[1]) = (weight * re, weight * im);
                    }
                });
            })
        })
    }

    /// The weight of each column of the half spectrum: 1, or 2 if it stands for its mirror image,
    /// too, over the number of values that are averaged.
    fn weights(&self, shape: &[usize]) -> Vec<f64> {
        let elements = shape.iter().product::<usize>() as f64;
        let count = match self.norm {
            FrequencyNorm::Stacked => 2.0 * elements,
            FrequencyNorm::Modulus => elements,
        };
        let w = shape[3];
        (0..=w / 2).map(|l| if is_own_mirror(l, w) { 1.0 / count } else { 2.0 / count }).collect()
    }

    fn size(&self, re: f64, im: f64) -> f64 {
        match self.norm {
            FrequencyNorm::Stacked => re.abs() + im.abs(),
            FrequencyNorm::Modulus => re.hypot(im),
        }
    }

    /// The derivative of [`Self::size`]; 0 where there is none.
    fn direction<T: Float>(&self, re: T, im: T) -> [T; 2] {
        let over = |v: T, size: T| if size == T::zero() { T::zero() } else { v / size };
        match self.norm {
            FrequencyNorm::Stacked => [over(re, re.abs()), over(im, im.abs())],
            FrequencyNorm::Modulus => [over(re, re.hypot(im)), over(im, re.hypot(im))],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Rng, Tape};

    fn zeros_like(x: &Tensor) -> Tensor {
        Tensor::zeros(x.shape(), x.dtype()).unwrap()
    }

    #[test]
    fn small_distances_are_as_by_hand() {
        // Spectrum 10, −2; −4, 0.
        let x = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0], &[1, 1, 2, 2]).unwrap();
        let distance =
            |x: &Tensor, norm| x.frequency_l1(&zeros_like(x), norm).unwrap().item().unwrap();
        assert_eq!(distance(&x, FrequencyNorm::Stacked), 2.0);
        assert_eq!(distance(&x, FrequencyNorm::Modulus), 4.0);
        // Spectrum 1, −i, −1, i: the last column is not in the half that is computed.
        let pulse = Tensor::from_slice(&[0.0, 1.0, 0.0, 0.0], &[1, 1, 1, 4]).unwrap();
        assert_eq!(distance(&pulse, FrequencyNorm::Stacked), 0.5);
        assert_eq!(distance(&pulse, FrequencyNorm::Modulus), 1.0);
    }

    #[test]
    fn one_pixel_is_pushed_toward_the_target() {
        for (norm, slope) in [(FrequencyNorm::Stacked, 0.5), (FrequencyNorm::Modulus, 1.0)] {
            let tape = Tape::new();
            let x = tape.leaf(&Tensor::full(&[1, 1, 1, 1], 2.0, DType::F64).unwrap());
            let target = tape.leaf(&Tensor::full(&[1, 1, 1, 1], 5.0, DType::F64).unwrap());
            let loss = x.frequency_l1(&target, norm).unwrap();
            assert_eq!(loss.item().unwrap(), 3.0 * slope);
            let gradients = tape.backward(&loss).unwrap();
            assert_eq!(gradients.get(&x).unwrap().item().unwrap(), -slope);
            assert_eq!(gradients.get(&target).unwrap().item().unwrap(), slope);
        }
    }

    #[test]
    fn equal_images_have_no_gradient() {
        let x = Tensor::randn(&[1, 2, 5, 6], DType::F32, &mut Rng::new(1)).unwrap();
        for norm in [FrequencyNorm::Stacked, FrequencyNorm::Modulus] {
            let tape = Tape::new();
            let leaf = tape.leaf(&x);
            let loss = leaf.frequency_l1(&x, norm).unwrap();
            assert_eq!(loss.item().unwrap(), 0.0);
            assert_eq!(
                tape.backward(&loss).unwrap().get(&leaf).unwrap().to_f64_vec().unwrap(),
                [0.0; 60]
            );
        }
    }

    /// The same from its parts: ⟨F, F's direction⟩, the direction being a constant, has its value
    /// and its gradient.
    #[test]
    fn equals_the_composition_of_its_parts() {
        let mut rng = Rng::new(2);
        for (h, w) in [(5, 7), (6, 8), (4, 1), (1, 5)] {
            let inputs =
                [0, 1].map(|_| Tensor::randn(&[2, 3, h, w], DType::F64, &mut rng).unwrap());
            for norm in [FrequencyNorm::Stacked, FrequencyNorm::Modulus] {
                let of = |f: &dyn Fn(&Tensor, &Tensor) -> Tensor| {
                    let tape = Tape::new();
                    let [x, target] = [&inputs[0], &inputs[1]].map(|x| tape.leaf(x));
                    let loss = f(&x, &target);
                    let mut gradients = tape.backward(&loss).unwrap();
                    let gradients = [&x, &target]
                        .map(|leaf| gradients.take(leaf).unwrap().to_f64_vec().unwrap());
                    [vec![loss.item().unwrap()], gradients.concat()].concat()
                };
                let fused = of(&|x, target| x.frequency_l1(target, norm).unwrap());
                let composed = of(&|x, target| {
                    let spectrum = x.sub(target).unwrap().rfft2().unwrap();
                    let values = spectrum.to_f64_vec().unwrap();
                    let op = FrequencyL1 { norm };
                    let mut direction: Vec<f64> =
                        values.chunks(2).flat_map(|v| op.direction(v[0], v[1])).collect();
                    for (i, value) in direction.iter_mut().enumerate() {
                        *value *= if i / 2 % (w / 2 + 1) == 0 || i / 2 % (w / 2 + 1) * 2 == w {
                            1.0
                        } else {
                            2.0
                        };
                    }
                    let direction = Tensor::from_slice(&direction, spectrum.shape()).unwrap();
                    let per = if norm == FrequencyNorm::Stacked { 0.5 } else { 1.0 };
                    spectrum
                        .mul(&direction)
                        .unwrap()
                        .sum_all()
                        .unwrap()
                        .scale(per / x.numel() as f64)
                        .unwrap()
                });
                let differs =
                    fused.iter().zip(&composed).any(|(a, b)| (a - b).abs() > 1e-12 * composed[0]);
                assert!(!differs, "{norm:?} {h}×{w}: {fused:?} is not {composed:?}");
            }
        }
    }

    #[test]
    fn mismatched_shapes_are_reported() {
        let x = Tensor::zeros(&[1, 3, 4, 4], DType::F32).unwrap();
        let message = |target: &Tensor| {
            x.frequency_l1(target, FrequencyNorm::Modulus).unwrap_err().to_string()
        };
        assert_eq!(
            message(&Tensor::zeros(&[1, 3, 4, 5], DType::F32).unwrap()),
            "frequency_l1: prediction [1, 3, 4, 4] and target [1, 3, 4, 5] must have the same shape"
        );
        assert_eq!(
            message(&Tensor::zeros(&[1, 3, 4, 4], DType::F64).unwrap()),
            "frequency_l1: expected dtype f32, got f64"
        );
        let empty = Tensor::zeros(&[0, 3, 4, 4], DType::F32).unwrap();
        let message = empty.frequency_l1(&empty, FrequencyNorm::Stacked).unwrap_err().to_string();
        assert_eq!(message, "frequency_l1: shape [0, 3, 4, 4] has no elements");
    }
}
