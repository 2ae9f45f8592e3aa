//! The dynamic filter: every image, and every group of its channels, convolved with taps of its
//! own.
//!
//! The taps are themselves computed, from this map or from another one (Cui et al., ICML 2023,
//! equation 7 without its residual). Written with `unfold`, the filter moves the map K² times; here
//! no unfolded or padded copy is made, as a table per axis lists the inputs that each output reads,
//! borders included. The gradient of the input is the same loop with the tables transposed.

mod border;
mod cpu;
mod cuda;
#[cfg(any(test, feature = "checks"))]
pub(super) mod samples;

use super::view::Shape;
use super::{Op, apply, multiply_adds, save_if};
use crate::rows::RowRule;
use crate::{Error, Meta, Result, Tensor, counted};
pub use border::Border;

impl Tensor {
    /// Σᵢⱼ x̃[n, c, h + i − ⌊K/2⌋, w + j − ⌊K/2⌋] · taps[n, g, i, j], where x̃ is `self`
    /// `[N, C, H, W]` beyond whose border `padding` lies, and g the group of channel c.
    ///
    /// `taps` is `[N, G, K, K]` with K odd; the C channels fall into G groups of neighbors. The
    /// result has the shape of `self`. Reflecting needs sides of more than ⌊K/2⌋.
    ///
    /// ```
    /// use engine::{Border, Tensor};
    /// let x = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[1, 1, 2, 3])?;
    /// // Each element plus its neighbors to the left and to the right.
    /// let taps = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0];
    /// let taps = Tensor::from_slice(&taps, &[1, 1, 3, 3])?;
    /// let zero = x.dynamic_filter(&taps, Border::Zero)?;
    /// assert_eq!(zero.to_f64_vec()?, [3.0, 6.0, 5.0, 9.0, 15.0, 11.0]);
    /// let reflected = x.dynamic_filter(&taps, Border::Reflect)?;
    /// assert_eq!(reflected.to_f64_vec()?, [5.0, 6.0, 7.0, 14.0, 15.0, 16.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn dynamic_filter(&self, taps: &Tensor, padding: Border) -> Result<Tensor> {
        apply(DynamicFilter { padding }, &[self, taps])
    }
}

/// The dynamic filter; a third input, `[N, C]`, which plans add, is added to every image and
/// channel.
#[derive(Clone, Copy)]
pub(crate) struct DynamicFilter {
    padding: Border,
}

impl Op for DynamicFilter {
    const NAME: &'static str = "dynamic_filter";
    /// The input, for the gradient of the taps; the taps, for that of the input; and the taps'
    /// shape.
    type Saved = (Option<Tensor>, Option<Tensor>, Shape);

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let (x, taps) = (&inputs[0], &inputs[1]);
        crate::dispatch::require_compute(Self::NAME, x.dtype)?;
        if let Some(other) = inputs.iter().find(|input| input.dtype != x.dtype) {
            return Err(Error::dtype(Self::NAME, x.dtype, other.dtype));
        }
        let [n, c, h, w] = x.dims4(Self::NAME)?;
        let [images, groups, k, width] = taps.dims4(Self::NAME)?;
        let refuse = |what: String| {
            Err(Error::shape(Self::NAME, format!("{what}: x {:?}, taps {:?}", x.shape, taps.shape)))
        };
        if images != n {
            return refuse("x and taps must have the same number of images".into());
        }
        if groups == 0 || c % groups != 0 {
            return refuse(format!(
                "{} cannot fall into {}",
                counted(c, "channel"),
                counted(groups, "equal group")
            ));
        }
        if k != width || k % 2 == 0 {
            return refuse("taps must be square, with odd sides".into());
        }
        if self.padding == Border::Reflect && h.min(w) <= k / 2 {
            return refuse(format!(
                "reflecting by {} needs sides of at least {}",
                k / 2,
                k / 2 + 1
            ));
        }
        match inputs.get(2) {
            Some(shift) if shift.shape != [n, c] => {
                refuse(format!("the shift {:?} should be {:?}", shift.shape, [n, c]))
            }
            _ => Ok(x.clone()),
        }
    }

    fn forward(
        &self,
        inputs: &[&Tensor],
        _: &Meta,
        need: &[bool],
    ) -> Result<(Tensor, Self::Saved)> {
        let (x, taps) = (inputs[0], inputs[1]);
        let (shift, padding) = (inputs.get(2).copied(), self.padding);
        let y = x.on_device(
            || cpu::forward(x, taps, shift, padding),
            |gpu| cuda::forward(gpu, x, taps, shift, padding),
        )?;
        Ok((y, (save_if(need[1], x), save_if(need[0], taps), Shape(taps.shape().to_vec()))))
    }

    fn backward(
        &self,
        (x, taps, shape): Self::Saved,
        dy: &Tensor,
        need: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let (x, taps) = (x.as_ref(), taps.as_ref());
        dy.on_device(
            || {
                let dx = taps.map(|taps| cpu::backward_x(taps, dy, self.padding)).transpose()?;
                let d_taps =
                    x.map(|x| cpu::backward_taps(x, &shape.0, dy, self.padding)).transpose()?;
                let mut gradients = vec![dx, d_taps];
                if let Some(&need) = need.get(2) {
                    let d_shift = || dy.sum(&[2, 3]);
                    gradients.push(need.then(d_shift).transpose()?);
                }
                Ok(gradients)
            },
            |gpu| cuda::backward(gpu, x, taps, &shape.0, dy, self.padding, need),
        )
    }

    fn rows(&self, input: usize, inputs: &[Meta]) -> Option<RowRule> {
        let count = inputs[1].shape[2];
        (input == 0).then_some(RowRule::Window { stride: 1, before: count / 2, count })
    }

    fn flops(&self, inputs: &[Meta], output: &Meta) -> u64 {
        multiply_adds(output.numel(), &inputs[1].shape[2..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Rng, Tape};

    #[test]
    fn borders_are_zero_or_mirrored() {
        let x = Tensor::from_slice(&[1.0, 2.0, 3.0, 10.0, 20.0, 30.0], &[1, 1, 2, 3]).unwrap();
        let ones = Tensor::ones(&[1, 1, 3, 3], DType::F64).unwrap();
        let zero = x.dynamic_filter(&ones, Border::Zero).unwrap();
        assert_eq!(zero.to_f64_vec().unwrap(), [33.0, 66.0, 55.0, 33.0, 66.0, 55.0]);
        // Mirrored: rows 10 1 10 and 1 10 1; columns 2 1 2 3 2.
        let reflected = x.dynamic_filter(&ones, Border::Reflect).unwrap();
        assert_eq!(reflected.to_f64_vec().unwrap(), [105.0, 126.0, 147.0, 60.0, 72.0, 84.0]);
    }

    #[test]
    fn taps_are_a_correlation_of_their_own_for_each_image_and_group() {
        // One tap of the kernel is 1: the map moves the other way. Image 0: group 0 from the left,
        // group 1 unmoved but tripled; image 1: nothing for group 0, group 1 from above.
        let data: Vec<f64> = (1..=16).map(f64::from).collect();
        let x = Tensor::from_slice(&data, &[2, 2, 2, 2]).unwrap();
        let mut taps = [0.0; 36];
        (taps[3], taps[9 + 4], taps[27 + 1]) = (1.0, 3.0, 1.0);
        let taps = Tensor::from_slice(&taps, &[2, 2, 3, 3]).unwrap();
        let y = x.dynamic_filter(&taps, Border::Zero).unwrap();
        let expected =
            [0.0, 1.0, 0.0, 3.0, 15.0, 18.0, 21.0, 24.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 13.0, 14.0];
        assert_eq!(y.to_f64_vec().unwrap(), expected);
    }

    #[test]
    fn mismatched_shapes_are_reported() {
        let x = Tensor::zeros(&[2, 6, 1, 4], DType::F32).unwrap();
        let message = |taps: [usize; 4], padding| {
            x.dynamic_filter(&Tensor::zeros(&taps, DType::F32).unwrap(), padding)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            message([2, 3, 3, 3], Border::Reflect),
            "dynamic_filter: reflecting by 1 needs sides of at least 2: x [2, 6, 1, 4], taps [2, \
             3, 3, 3]"
        );
        assert_eq!(
            message([2, 4, 3, 3], Border::Zero),
            "dynamic_filter: 6 channels cannot fall into 4 equal groups: x [2, 6, 1, 4], taps [2, \
             4, 3, 3]"
        );
        assert_eq!(
            message([1, 3, 3, 3], Border::Zero),
            "dynamic_filter: x and taps must have the same number of images: x [2, 6, 1, 4], \
             taps [1, 3, 3, 3]"
        );
        for sides in [[3, 5], [2, 2], [0, 0]] {
            assert_eq!(
                message([2, 3, sides[0], sides[1]], Border::Zero),
                format!(
                    "dynamic_filter: taps must be square, with odd sides: \
                     x [2, 6, 1, 4], taps {:?}",
                    [2, 3, sides[0], sides[1]]
                )
            );
        }
        let taps = Tensor::zeros(&[2, 3, 3, 3], DType::F32).unwrap();
        assert!(x.dynamic_filter(&taps.to_dtype(DType::F64).unwrap(), Border::Zero).is_err());
        let shift = Tensor::zeros(&[2, 3], DType::F32).unwrap();
        let shifted = apply(DynamicFilter { padding: Border::Zero }, &[&x, &taps, &shift]);
        assert_eq!(
            shifted.unwrap_err().to_string(),
            "dynamic_filter: the shift [2, 3] should be [2, 6]: x [2, 6, 1, 4], taps [2, 3, 3, 3]"
        );
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let mut rng = Rng::new(1);
        let x = Tensor::randn(&[2, 40, 33, 35], DType::F32, &mut rng).unwrap();
        let taps = Tensor::randn(&[2, 8, 3, 3], DType::F32, &mut rng).unwrap();
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let tape = Tape::new();
                let (x, taps) = (tape.leaf(&x), tape.leaf(&taps));
                let y = x.dynamic_filter(&taps, Border::Reflect).unwrap();
                let gradients = tape.backward(&y.mul(&y).unwrap().sum_all().unwrap()).unwrap();
                [&y, gradients.get(&x).unwrap(), gradients.get(&taps).unwrap()]
                    .map(|t| t.to_vec::<f32>().unwrap())
            })
        };
        assert_eq!(run(1), run(3));
    }
}
