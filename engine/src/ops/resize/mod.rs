//! Resizing maps: bilinear and nearest neighbor.
//!
//! Both treat rows and columns apart, so each is a table along either axis (see
//! `ops/separable/mod.rs`), and the gradient is the transposed table. Where an output lies among
//! the inputs follows PyTorch's `interpolate`, without antialiasing.

mod add;
#[cfg(any(test, feature = "checks"))]
pub(super) mod samples;

use super::separable::{Apply, Separable, apply_separable};
use crate::interpolation::{Alignment, neighbors};
use crate::ops::separable::AxisTable;
use crate::rows::RowRule;
use crate::{Result, Tensor};

pub(crate) use add::AddBilinear;

impl Tensor {
    /// `[N, C, H, W]` to `[N, C, out_h, out_w]`, linear between the four nearest pixels.
    ///
    /// With `align_corners` the corner pixels' centers stay in the corners: output i of n lies at
    /// i·(L−1)/(n−1) of an axis of length L. Without it the areas match: at (i + ½)·L/n − ½, no
    /// further out than the outermost centers.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[0.0, 2.0], &[1, 1, 1, 2])?;
    /// assert_eq!(x.bilinear(1, 3, true)?.to_f64_vec()?, [0.0, 1.0, 2.0]);
    /// assert_eq!(x.bilinear(1, 4, false)?.to_f64_vec()?, [0.0, 0.5, 1.5, 2.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn bilinear(&self, out_h: usize, out_w: usize, align_corners: bool) -> Result<Tensor> {
        let alignment = Alignment::new(align_corners);
        apply_separable(Bilinear { output: OutputSize::Size([out_h, out_w]), alignment }, self)
    }

    /// `[N, C, H, W]` to `[N, C, ⌊H·scale⌋, ⌊W·scale⌋]`, linear, areas matching: output i lies at
    /// (i + ½)/scale − ½.
    ///
    /// Where H·scale is not a whole number this differs from [`Tensor::bilinear`] to the same size,
    /// as PyTorch's `scale_factor` differs from its `size`.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[0.0, 2.0], &[1, 1, 1, 2])?;
    /// let y = x.bilinear_by_scale(2.0)?;
    /// assert_eq!(y.shape(), [1, 1, 2, 4]);
    /// assert_eq!(y.narrow(2, 0, 1)?.to_f64_vec()?, [0.0, 0.5, 1.5, 2.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn bilinear_by_scale(&self, scale: f64) -> Result<Tensor> {
        apply_separable(
            Bilinear {
                output: OutputSize::Scale(scale),
                alignment: Alignment::Areas { step: Some(1.0 / scale) },
            },
            self,
        )
    }

    /// `[N, C, H, W]` to `[N, C, out_h, out_w]`: output i of n is input ⌊i·L/n⌋ of an axis of
    /// length L.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[0.0, 2.0], &[1, 1, 1, 2])?;
    /// assert_eq!(x.nearest(1, 4)?.to_f64_vec()?, [0.0, 0.0, 2.0, 2.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn nearest(&self, out_h: usize, out_w: usize) -> Result<Tensor> {
        apply_separable(Nearest([out_h, out_w]), self)
    }

    /// Every `step`-th pixel, from the first on: `[N, C, H, W]` to `[N, C, ⌊H/step⌋, ⌊W/step⌋]`.
    /// What PyTorch's nearest neighbor by a scale of 1/`step` gives.
    ///
    /// ```
    /// let rows = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
    /// let x = engine::Tensor::from_slice(&rows, &[1, 1, 2, 4])?;
    /// assert_eq!(x.nearest_every(2)?.to_f64_vec()?, [0.0, 2.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn nearest_every(&self, step: usize) -> Result<Tensor> {
        apply_separable(NearestEvery(step), self)
    }
}

/// The size of the output.
#[derive(Clone, Copy)]
enum OutputSize {
    Size([usize; 2]),
    Scale(f64),
}

impl OutputSize {
    fn of(self, size: [usize; 2]) -> Result<[usize; 2], String> {
        let output = match self {
            Self::Size(output) => output,
            Self::Scale(scale) if scale > 0.0 && scale.is_finite() => {
                size.map(|size| (size as f64 * scale) as usize)
            }
            Self::Scale(scale) => {
                return Err(format!("the scale must be positive and finite, not {scale}"));
            }
        };
        nonempty(output)
    }
}

fn nonempty(output: [usize; 2]) -> Result<[usize; 2], String> {
    match output {
        [0, _] | [_, 0] => Err(format!("the output {output:?} has no pixels")),
        output => Ok(output),
    }
}

/// The table of linear interpolation along an axis of `from` inputs and `to` outputs.
fn linear_axis(alignment: Alignment, from: usize, to: usize) -> Result<AxisTable> {
    AxisTable::new(from, to, |o| neighbors(alignment.coordinate(o, from, to), from))
}

pub(crate) struct Bilinear {
    output: OutputSize,
    alignment: Alignment,
}

/// Bilinear resizing, as an operation.
pub(crate) type BilinearOp = Apply<Bilinear>;

impl Separable for Bilinear {
    const NAME: &'static str = "bilinear";

    fn output(&self, size: [usize; 2]) -> Result<[usize; 2], String> {
        self.output.of(size)
    }

    fn axis(&self, from: usize, to: usize) -> Result<AxisTable> {
        linear_axis(self.alignment, from, to)
    }
}

/// Nearest neighbor to a given size.
struct Nearest([usize; 2]);

impl Separable for Nearest {
    const NAME: &'static str = "nearest";

    fn output(&self, _: [usize; 2]) -> Result<[usize; 2], String> {
        nonempty(self.0)
    }

    fn axis(&self, from: usize, to: usize) -> Result<AxisTable> {
        // In u128, as the product may exceed a usize.
        let chosen = |o: usize| (o as u128 * from as u128 / to as u128) as usize;
        AxisTable::new(from, to, |o| (chosen(o), std::iter::once(1.0)))
    }
}

/// One pixel of each `step`×`step` pixels.
struct NearestEvery(usize);

impl Separable for NearestEvery {
    const NAME: &'static str = "nearest_every";

    fn output(&self, size: [usize; 2]) -> Result<[usize; 2], String> {
        match self.0 {
            0 => Err("the step must be at least 1".into()),
            step => nonempty(size.map(|size| size / step)),
        }
    }

    fn rows(&self) -> Option<RowRule> {
        Some(RowRule::Window { stride: self.0, before: 0, count: self.0 })
    }

    fn axis(&self, from: usize, to: usize) -> Result<AxisTable> {
        AxisTable::new(from, to, |o| (o * self.0, std::iter::once(1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::samples::add_enlarged;
    use super::*;
    use crate::Meta;
    use crate::ops::Op;
    use crate::plan::planned_one;
    use crate::{DType, Rng, Tape};

    fn row(values: &[f64]) -> Tensor {
        Tensor::from_slice(values, &[1, 1, 1, values.len()]).unwrap()
    }

    #[test]
    fn corners_stay_or_areas_match() {
        let x = row(&[0.0, 3.0]);
        assert_eq!(x.bilinear(1, 4, true).unwrap().to_f64_vec().unwrap(), [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(x.bilinear(1, 4, false).unwrap().to_f64_vec().unwrap(), [0.0, 0.75, 2.25, 3.0]);
        assert_eq!(x.bilinear(2, 1, true).unwrap().to_f64_vec().unwrap(), [0.0, 0.0]);
        assert_eq!(x.bilinear(1, 1, false).unwrap().to_f64_vec().unwrap(), [1.5]);
    }

    #[test]
    fn halving_takes_the_mean_of_pairs_and_leaves_an_odd_end_out() {
        let x = row(&[0.0, 2.0, 4.0, 6.0, 100.0]);
        let x = x.bilinear(2, 5, false).unwrap();
        assert_eq!(x.bilinear_by_scale(0.5).unwrap().to_f64_vec().unwrap(), [1.0, 5.0]);
        // By size the fifth pixel does count.
        assert_eq!(x.bilinear(1, 2, false).unwrap().to_f64_vec().unwrap(), [1.5, 29.5]);
    }

    #[test]
    fn nearest_takes_pixels_as_they_are() {
        let x = row(&[0.0, 1.0, 2.0, 3.0, 4.0]);
        let tall = x.nearest(3, 5).unwrap();
        assert_eq!(tall.nearest_every(2).unwrap().to_f64_vec().unwrap(), [0.0, 2.0]);
        assert_eq!(tall.nearest(1, 2).unwrap().to_f64_vec().unwrap(), [0.0, 2.0]);
        assert_eq!(
            x.nearest(1, 7).unwrap().to_f64_vec().unwrap(),
            [0.0, 0.0, 1.0, 2.0, 2.0, 3.0, 4.0]
        );
    }

    #[test]
    fn adding_on_the_way_is_resizing_and_adding() {
        let mut rng = Rng::new(1);
        let mut map = |h, w| Tensor::randn(&[2, 41, h, w], DType::F64, &mut rng).unwrap();
        let (x, others) = (map(8, 12), [map(1, 2), map(2, 3), map(4, 6)]);
        for align_corners in [false, true] {
            let run = |sum: &dyn Fn(&Tensor, &[Tensor], bool) -> Tensor| {
                let tape = Tape::new();
                let (x, others) = (tape.leaf(&x), [0, 1, 2].map(|i| tape.leaf(&others[i])));
                let y = sum(&x, &others, align_corners);
                let gradients = tape.backward(&y.mul(&y).unwrap().sum_all().unwrap()).unwrap();
                let of = |leaf: &Tensor| gradients.get(leaf).unwrap().to_f64_vec().unwrap();
                [y.to_f64_vec().unwrap(), of(&x), of(&others[0]), of(&others[1]), of(&others[2])]
                    .concat()
            };
            let fused = |x: &Tensor, others: &[Tensor], corners, gelu| {
                let inputs = [std::slice::from_ref(x), others].concat();
                let sum = planned_one(&inputs, |x| {
                    let sum = add_enlarged(&x[0], &x[1..], corners)?;
                    if gelu { sum.gelu() } else { Ok(sum) }
                });
                sum.unwrap()
            };
            let sum = run(&|x, others, corners| fused(x, others, corners, false));
            let plain = run(&|x, others, corners| add_enlarged(x, others, corners).unwrap());
            let off = sum.iter().zip(&plain).map(|(a, b)| (a - b).abs());
            let worst = off.max_by(f64::total_cmp).unwrap_or(0.0);
            assert!(worst < 1e-12, "{worst:e}");
            // With a GELU, on a tape and, where it is taken on the way, off it.
            let with_gelu = run(&|x, others, corners| fused(x, others, corners, true));
            let then_gelu =
                run(&|x, others, corners| fused(x, others, corners, false).gelu().unwrap());
            assert_eq!(with_gelu, then_gelu);
            let narrow = |map: &Tensor| map.to_dtype(DType::F32).unwrap();
            let (x, others) = (narrow(&x), [0, 1, 2].map(|i| narrow(&others[i])));
            let plain = fused(&x, &others, align_corners, false).gelu().unwrap();
            let joined = fused(&x, &others, align_corners, true);
            assert_eq!(joined.to_f64_vec().unwrap(), plain.to_f64_vec().unwrap());
            // In the memory of a map that nobody else holds.
            let address = x.dense_data::<f32>("test").unwrap().as_ptr();
            let out = x.meta();
            let inputs = [vec![x], others.to_vec()].concat();
            let op = AddBilinear::new(align_corners).with_gelu().unwrap();
            let own = crate::ops::dyn_op(op).compute(inputs, &[out]).unwrap().swap_remove(0);
            assert_eq!(
                (own.dense_data::<f32>("test").unwrap().as_ptr(), own.to_f64_vec().unwrap()),
                (address, plain.to_f64_vec().unwrap())
            );
        }
        let message = |others: &[&Tensor]| {
            let inputs: Vec<Meta> = [&x].iter().chain(others).map(|x| x.meta()).collect();
            AddBilinear::new(true).infer(&inputs).unwrap_err().to_string()
        };
        assert_eq!(message(&[]), "add_bilinear: there is nothing to add to [2, 41, 8, 12]");
        let wrong = Tensor::zeros(&[2, 40, 4, 6], DType::F64).unwrap();
        assert_eq!(
            message(&[&wrong]),
            "add_bilinear: [2, 40, 4, 6] has other images or channels than [2, 41, 8, 12]"
        );
        let empty = Tensor::zeros(&[2, 41, 0, 6], DType::F64).unwrap();
        assert_eq!(message(&[&empty]), "add_bilinear: shape [2, 41, 0, 6] has no pixels");
        let single = others[0].to_dtype(DType::F32).unwrap();
        assert_eq!(message(&[&single]), "add_bilinear: expected dtype f64, got f32");
    }

    #[test]
    fn the_same_size_changes_nothing() {
        let x = row(&[0.1, 0.7, 0.3]);
        for align_corners in [false, true] {
            assert_eq!(
                x.bilinear(1, 3, align_corners).unwrap().to_f64_vec().unwrap(),
                x.to_f64_vec().unwrap()
            );
        }
    }

    #[test]
    fn mismatched_shapes_are_reported() {
        let x = Tensor::zeros(&[1, 2, 3, 8], DType::F32).unwrap();
        let message = |result: Result<Tensor>| result.unwrap_err().to_string();
        assert_eq!(
            message(x.bilinear(0, 4, true)),
            "bilinear: the output [0, 4] has no pixels, got shape [1, 2, 3, 8]"
        );
        assert_eq!(
            message(x.bilinear_by_scale(0.25)),
            "bilinear: the output [0, 2] has no pixels, got shape [1, 2, 3, 8]"
        );
        assert_eq!(
            message(x.bilinear_by_scale(f64::NAN)),
            "bilinear: the scale must be positive and finite, not NaN, got shape [1, 2, 3, 8]"
        );
        assert_eq!(
            message(x.nearest_every(0)),
            "nearest_every: the step must be at least 1, got shape [1, 2, 3, 8]"
        );
        let empty = Tensor::zeros(&[1, 2, 0, 8], DType::F32).unwrap();
        assert_eq!(message(empty.nearest(2, 2)), "nearest: shape [1, 2, 0, 8] has no pixels");
    }
}
