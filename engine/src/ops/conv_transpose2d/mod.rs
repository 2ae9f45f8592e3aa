//! Two-dimensional transposed convolution: the adjoint of `conv2d`, used to enlarge maps.
//!
//! y\[n, o, s·r + d·k − p, …\] += w\[i, o, k, l\] · x\[n, i, r, c\]. It is computed by phases: the
//! output pixels with the same remainder mod the stride are a stride-1 convolution of x with a part
//! of the kernel (a 4×4 kernel of stride 2 is four 2×2 ones), so nothing is scattered. In f32 those
//! four are Winograd's. Its dx is the forward pass of conv2d, its dw the dw of conv2d with x and
//! dy exchanged.

#[cfg(any(test, feature = "checks"))]
pub(super) mod samples;

use super::conv2d::{
    self, Conv2dOptions, ConvSaved, Convolution, Direction, Epilogue, PackedWeight, as_map,
    check_bias, check_dtypes, check_settings,
};
use super::{Op, apply, multiply_adds};
use crate::rows::RowRule;
use crate::{Error, Meta, Result, Tensor, counted};

impl Tensor {
    /// The transposed convolution of `[N, I, H, W]` with `weight` `[I, O/groups, kH, kW]`, plus
    /// `bias` `[O]`; gives `[N, O, H', W']`, where H' is
    /// (H − 1)·stride − 2·padding + dilation·(kH − 1) + 1, and W' likewise. `options` are those of
    /// the convolution that it transposes.
    ///
    /// ```
    /// use engine::{Conv2dOptions, Tensor};
    /// let x = Tensor::from_slice(&[1.0, 2.0], &[1, 1, 1, 2])?;
    /// let weight = Tensor::from_slice(&[1.0, 10.0], &[1, 1, 1, 2])?;
    /// let options = Conv2dOptions { stride: 2, ..Conv2dOptions::default() };
    /// let y = x.conv_transpose2d(&weight, None, options)?;
    /// assert_eq!(y.to_f64_vec()?, [1.0, 10.0, 2.0, 20.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn conv_transpose2d(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        options: Conv2dOptions,
    ) -> Result<Tensor> {
        let inputs: Vec<&Tensor> = [self, weight].into_iter().chain(bias).collect();
        apply(ConvTranspose2d { options, gelu: false, packed: None }, &inputs)
    }
}

/// A transposed convolution; then a GELU, or not.
#[derive(Clone)]
pub(crate) struct ConvTranspose2d {
    pub(crate) options: Conv2dOptions,
    gelu: bool,
    packed: Option<PackedWeight>,
}

impl ConvTranspose2d {
    /// The same with a GELU of the result, if it has none.
    pub(crate) fn with_gelu(&self) -> Option<Self> {
        (!self.gelu).then(|| Self { gelu: true, ..self.clone() })
    }

    /// `weight`, in the order in which the processor reads it.
    pub(crate) fn pack(&self, weight: &Tensor) -> Result<PackedWeight> {
        PackedWeight::transposed(weight, self.options)
    }

    /// The same with its weight packed.
    pub(crate) fn with_packed(self, packed: PackedWeight) -> Self {
        Self { packed: Some(packed), ..self }
    }
}

impl Op for ConvTranspose2d {
    const NAME: &'static str = "conv_transpose2d";
    type Saved = ConvSaved;

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let Conv2dOptions { stride, padding, dilation, groups } = self.options;
        let op = Self::NAME;
        let dtype = check_dtypes(op, inputs)?;
        let (&[n, c_in, h, w], &[from, per_group, kh, kw]) =
            (as_map(op, &inputs[0])?, as_map(op, &inputs[1])?);
        check_settings(op, self.options, [kh, kw])?;
        if from != c_in || c_in % groups != 0 {
            let weight = &inputs[1].shape;
            let message = format!(
                "input has {}, weight {weight:?} with {} expects {from}",
                counted(c_in, "channel"),
                counted(groups, "group")
            );
            return Err(Error::shape(op, message));
        }
        self.packed
            .iter()
            .try_for_each(|p| p.check(op, Direction::OutToIn, &inputs[1], self.options))?;
        let channels = per_group.saturating_mul(groups);
        check_bias(op, inputs.get(2), channels)?;
        let out = |size: usize, k: usize| {
            let reach = k.checked_sub(1)?.checked_mul(dilation)?.checked_add(1)?;
            let full = size.checked_sub(1)?.checked_mul(stride)?.checked_add(reach)?;
            full.checked_sub(padding.checked_mul(2)?)
        };
        match (out(h, kh), out(w, kw)) {
            (Some(out_h), Some(out_w)) => {
                Ok(Meta { shape: vec![n, channels, out_h, out_w], dtype })
            }
            _ => Err(Error::shape(
                op,
                format!(
                    "nothing is left of a {h}×{w} input with a {kh}×{kw} kernel and padding \
                     {padding}"
                ),
            )),
        }
    }

    fn forward(
        &self,
        inputs: &[&Tensor],
        out: &Meta,
        need: &[bool],
    ) -> Result<(Tensor, Self::Saved)> {
        let convolution = Convolution {
            direction: Direction::OutToIn,
            options: self.options,
            x: inputs[0],
            weight: inputs[1],
            packed: self.packed.as_ref(),
        };
        let (bias, gelu) = (inputs.get(2).copied(), self.gelu);
        conv2d::forward(convolution, Epilogue { bias, gelu, ..Epilogue::NONE }, out, need)
    }

    fn backward(
        &self,
        saved: Self::Saved,
        dy: &Tensor,
        need: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let dz = conv2d::through_gelu(&saved, dy)?;
        let settings = (Direction::OutToIn, self.options, false);
        let mut gradients = conv2d::backward(settings, saved, &dz, need)?;
        if let Some(&wanted) = need.get(2) {
            gradients.push(wanted.then(|| conv2d::bias_gradient(&dz)).transpose()?);
        }
        Ok(gradients)
    }

    fn rows(&self, input: usize, inputs: &[Meta]) -> Option<RowRule> {
        let Conv2dOptions { stride, padding, dilation, .. } = self.options;
        let count = dilation * (inputs[1].shape[2] - 1) + 1;
        let rule = RowRule::Spread { stride, before: padding, count };
        (input == 0 && padding + stride <= count).then_some(rule)
    }

    fn flops(&self, inputs: &[Meta], _: &Meta) -> u64 {
        multiply_adds(inputs[0].numel(), &inputs[1].shape[1..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Rng};
    use proptest::prelude::*;

    #[test]
    fn a_pixel_becomes_the_kernel() {
        let x = Tensor::from_slice(&[2.0], &[1, 1, 1, 1]).unwrap();
        let w = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0], &[1, 1, 2, 2]).unwrap();
        let y = x
            .conv_transpose2d(&w, None, Conv2dOptions { stride: 2, ..Default::default() })
            .unwrap();
        assert_eq!(
            (y.shape(), y.to_f64_vec().unwrap()),
            (&[1, 1, 2, 2][..], vec![2.0, 4.0, 6.0, 8.0])
        );
    }

    /// The definition, written down: every input number times the kernel, added where it falls.
    fn scattered(x: &Tensor, w: &Tensor, o: Conv2dOptions, [out_h, out_w]: [usize; 2]) -> Vec<f64> {
        let ([n, c_in, h, width], [_, c_out, kh, kw]) =
            (x.dims4("x").unwrap(), w.dims4("w").unwrap());
        let (xs, ws) = (x.to_f64_vec().unwrap(), w.to_f64_vec().unwrap());
        let mut y = vec![0.0; n * c_out * out_h * out_w];
        for (at, &x) in xs.iter().enumerate() {
            let (column, row, i, n) =
                (at % width, at / width % h, at / (width * h) % c_in, at / (width * h * c_in));
            for (e, to) in (0..kh * kw).flat_map(|e| (0..c_out).map(move |to| (e, to))) {
                let r = (row * o.stride + e / kw * o.dilation).wrapping_sub(o.padding);
                let c = (column * o.stride + e % kw * o.dilation).wrapping_sub(o.padding);
                if r < out_h && c < out_w {
                    y[((n * c_out + to) * out_h + r) * out_w + c] +=
                        ws[(i * c_out + to) * kh * kw + e] * x;
                }
            }
        }
        y
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 256, failure_persistence: None, ..ProptestConfig::default()
        })]

        // With 8 channels or more the network's 4×4 kernel of stride 2 is Winograd's, which rounds
        // more than others.
        #[test]
        fn agrees_with_its_definition(
            n in 1..=2usize, h in 4..=13usize, w in 4..=13usize,
            c_in in 1..=40usize, c_out in 1..=40usize,
            padding in 0..=2usize, seed in any::<u64>(),
        ) {
            let mut rng = Rng::new(seed);
            let options = Conv2dOptions { stride: 2, padding, ..Default::default() };
            let x = Tensor::randn(&[n, c_in, h, w], DType::F32, &mut rng).unwrap();
            let weight = Tensor::randn(&[c_in, c_out, 4, 4], DType::F32, &mut rng).unwrap();
            let op = ConvTranspose2d { options, gelu: false, packed: None };
            let op = op.clone().with_packed(op.pack(&weight).unwrap());
            let y = apply(op, &[&x, &weight]).unwrap();
            let expected = scattered(&x, &weight, options, [y.shape()[2], y.shape()[3]]);
            let rms = (expected.iter().map(|y| y * y).sum::<f64>() / expected.len() as f64).sqrt();
            let off = y.to_f64_vec()
                .unwrap()
                .iter()
                .zip(&expected)
                .map(|(a, b)| (a - b).abs())
                .max_by(f64::total_cmp)
                .unwrap_or(0.0);
            prop_assert!(off <= 2e-5 * rms, "off by {:e} of the RMS", off / rms);
        }
    }

    #[test]
    fn it_is_the_adjoint_of_the_convolution() {
        // ⟨conv(x), y⟩ = ⟨x, convᵀ(y)⟩ for the network's 4×4 kernel of stride 2.
        let mut rng = Rng::new(9);
        let options = Conv2dOptions { stride: 2, padding: 1, ..Default::default() };
        let x = Tensor::randn(&[2, 5, 12, 18], DType::F64, &mut rng).unwrap();
        let w = Tensor::randn(&[19, 5, 4, 4], DType::F64, &mut rng).unwrap();
        let y = Tensor::randn(&[2, 19, 6, 9], DType::F64, &mut rng).unwrap();
        let inner = |a: &Tensor, b: &Tensor| a.mul(b).unwrap().sum_all().unwrap().item().unwrap();
        let left = inner(&x.conv2d(&w, None, options).unwrap(), &y);
        let right = inner(&x, &y.conv_transpose2d(&w, None, options).unwrap());
        assert!((left - right).abs() < 1e-9 * left.abs());
    }

    #[test]
    fn it_is_the_input_gradient_of_a_strided_convolution_on_odd_maps() {
        // Its phases are not of one size there: 9 rows are 5 of the first and 4 of the second.
        let mut rng = Rng::new(10);
        for ((h, w), padding) in
            [((9, 15), 0), ((9, 14), 1), ((13, 11), 1), ((5, 7), 2), ((23, 33), 2)]
        {
            let options = Conv2dOptions { stride: 2, padding, ..Default::default() };
            let x = Tensor::randn(&[2, 5, h, w], DType::F64, &mut rng).unwrap();
            let weight = Tensor::randn(&[19, 5, 4, 4], DType::F64, &mut rng).unwrap();
            let tape = crate::Tape::new();
            let leaf = tape.leaf(&x);
            let y = leaf.conv2d(&weight, None, options).unwrap();
            let dy = Tensor::randn(y.shape(), DType::F64, &mut rng).unwrap();
            let dx =
                tape.backward_from(&[&y], vec![Some(dy.clone())]).unwrap().take(&leaf).unwrap();
            let expected = scattered(&dy, &weight, options, [h, w]);
            let off = dx
                .to_f64_vec()
                .unwrap()
                .iter()
                .zip(&expected)
                .map(|(a, b)| (a - b).abs())
                .max_by(f64::total_cmp)
                .unwrap_or(0.0);
            assert!(off < 1e-11, "{h}×{w}, padding {padding}: off by {off:e}");
        }
    }

    #[test]
    fn mismatched_shapes_are_reported() {
        let x = Tensor::zeros(&[1, 3, 1, 1], DType::F32).unwrap();
        let w = Tensor::zeros(&[4, 2, 2, 2], DType::F32).unwrap();
        let message =
            x.conv_transpose2d(&w, None, Conv2dOptions::default()).unwrap_err().to_string();
        assert_eq!(
            message,
            "conv_transpose2d: input has 3 channels, weight [4, 2, 2, 2] with 1 group expects 4"
        );
        let w = Tensor::zeros(&[3, 2, 1, 1], DType::F32).unwrap();
        let options = Conv2dOptions { padding: 1, ..Default::default() };
        assert!(
            x.conv_transpose2d(&w, None, options)
                .unwrap_err()
                .to_string()
                .contains("nothing is left")
        );
        let plain = Conv2dOptions::default();
        let packed = PackedWeight::new(&w, plain).unwrap();
        let op = ConvTranspose2d { options: plain, gelu: false, packed: None };
        let message = apply(op.with_packed(packed), &[&x, &w]).unwrap_err().to_string();
        assert_eq!(
            message,
            "conv_transpose2d: the packed weight is from another weight or for other options"
        );
        let flat = Tensor::zeros(&[3, 2], DType::F32).unwrap();
        assert!(
            PackedWeight::transposed(&flat, plain)
                .err()
                .unwrap()
                .to_string()
                .starts_with("conv_transpose2d: ")
        );
    }
}
