//! Two-dimensional convolution (in signal-processing terms, a cross-correlation).
//!
//! y\[n, o, r, c\] = b\[o\] + Σ w\[o, i, k, l\] · x\[n, i, s·r + d·k − p, s·c + d·l − p\], summed
//! over the input channels i of o's group and the kernel elements (k, l); s stride, d dilation, p
//! zero padding.
//!
//! Forward: `Tensor::conv2d` → `Op::infer` checks → `Op::forward` packs the weights for the
//! algorithm that `algorithm.rs` chooses (Winograd's or the direct one) and runs it. On a tape it
//! saves x if the weight's gradient will be wanted, and w if x's will.
//!
//! Backward, each part only where needed: dx is the adjoint convolution of dy with the same weights
//! (in and out channels exchanged); dw sums outer products of x and dy over pixels; db sums dy over
//! pixels.
//!
//! A convolution can do the work of its neighbors without another pass over memory (`Epilogue`). As
//! it writes, it adds a bias and a residual and applies a GELU; as it reads, it applies a GELU to
//! its input. Only a plan asks for more than the bias. Of a GELU, the input is saved; the value and
//! the derivative are computed again from it.

mod algorithm;
mod convolution;
mod cpu;
mod cuda;
mod prepared;
#[cfg(any(test, feature = "checks"))]
pub(super) mod samples;
mod shapes;

use super::gelu;
use super::view::Shape;
use super::{Op, apply, multiply_adds};
pub use crate::conv::Conv2dOptions;
pub(crate) use crate::conv::{Direction, Epilogue};
use crate::dispatch::on_device;
use crate::rows::RowRule;
use crate::{Error, Meta, Result, Tensor, counted};
pub(super) use convolution::Convolution;
pub(crate) use prepared::PackedWeight;
pub(super) use shapes::{as_map, check_bias, check_dtypes, check_settings};

impl Tensor {
    /// Convolves `[N, I, H, W]` with `weight` `[O, I/groups, kH, kW]` and adds `bias` `[O]`; gives
    /// `[N, O, H', W']` with H' = ⌊(H + 2·padding − dilation·(kH − 1) − 1) / stride⌋ + 1.
    ///
    /// ```
    /// use engine::{Conv2dOptions, Tensor};
    /// let x = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], &[1, 1, 3, 3])?;
    /// let weight = Tensor::from_slice(&[1.0, 0.0, 0.0, 10.0], &[1, 1, 2, 2])?;
    /// let y = x.conv2d(&weight, None, Conv2dOptions::default())?;
    /// assert_eq!(y.to_f64_vec()?, [51.0, 62.0, 84.0, 95.0]); // 1 + 10·5, 2 + 10·6, …
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn conv2d(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        options: Conv2dOptions,
    ) -> Result<Tensor> {
        let inputs: Vec<&Tensor> = [self, weight].into_iter().chain(bias).collect();
        apply(Conv2d::new(options, bias.is_some()), &inputs)
    }
}

/// A convolution with its epilogue. The inputs are x, w and the epilogue's operands, whose indices
/// the epilogue holds.
#[derive(Clone)]
pub(crate) struct Conv2d {
    pub(crate) options: Conv2dOptions,
    epilogue: Epilogue<usize>,
    packed: Option<PackedWeight>,
}

impl Conv2d {
    fn new(options: Conv2dOptions, bias: bool) -> Self {
        let epilogue = Epilogue { bias: bias.then_some(2), ..Epilogue::NONE };
        Self { options, epilogue, packed: None }
    }

    /// Whether nothing but a bias is computed with it.
    pub(crate) fn is_plain(&self) -> bool {
        self.epilogue == Epilogue { bias: self.epilogue.bias, ..Epilogue::NONE }
    }

    /// The same settings with a bias, and nothing else.
    pub(crate) fn with_bias(&self) -> Self {
        Self::new(self.options, true)
    }

    /// The same with a residual as its last input, if it can take one.
    pub(crate) fn with_residual(&self) -> Option<Self> {
        let last = 2 + usize::from(self.epilogue.bias.is_some());
        let epilogue = Epilogue { residual: Some(last), ..self.epilogue };
        let free = self.epilogue.residual.is_none() && !self.epilogue.gelu;
        free.then(|| Self { epilogue, ..self.clone() })
    }

    /// The same with a GELU of the result, if it has none.
    pub(crate) fn with_gelu(&self) -> Option<Self> {
        let epilogue = Epilogue { gelu: true, ..self.epilogue };
        (!self.epilogue.gelu).then(|| Self { epilogue, ..self.clone() })
    }

    /// The same with a GELU of x, if it has none.
    pub(crate) fn with_gelu_input(&self) -> Option<Self> {
        let epilogue = Epilogue { gelu_input: true, ..self.epilogue };
        (!self.epilogue.gelu_input).then(|| Self { epilogue, ..self.clone() })
    }

    /// Whether it can be computed as a sum of convolutions, each of some of the input channels.
    pub(crate) fn is_sum_over_channels(&self) -> bool {
        self.options.groups == 1 && !self.epilogue.gelu_input
    }

    /// The parts of a sum over channels: the first, which has the bias and the residual; the next
    /// ones, which add to it; and the last one, which has the GELU of the sum.
    pub(crate) fn parts(&self) -> [Self; 3] {
        let with = |epilogue| Self { epilogue, packed: None, ..self.clone() };
        let first = with(Epilogue { gelu: false, ..self.epilogue });
        let next = with(Epilogue { residual: Some(2), ..Epilogue::NONE });
        let gelu = self.epilogue.gelu;
        let last = with(Epilogue { residual: Some(2), gelu, ..Epilogue::NONE });
        [first, next, last]
    }

    /// `weight`, in the order in which the processor reads it.
    pub(crate) fn pack(&self, weight: &Tensor) -> Result<PackedWeight> {
        PackedWeight::new(weight, self.options)
    }

    /// The same with its weight packed.
    pub(crate) fn with_packed(self, packed: PackedWeight) -> Self {
        Self { packed: Some(packed), ..self }
    }

    fn convolution<'a>(&'a self, x: &'a Tensor, weight: &'a Tensor) -> Convolution<'a> {
        let packed = self.packed.as_ref();
        Convolution { direction: Direction::InToOut, options: self.options, x, weight, packed }
    }
}

impl Op for Conv2d {
    const NAME: &'static str = shapes::OP;
    type Saved = ConvSaved;

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let Conv2dOptions { stride, padding, dilation, groups } = self.options;
        let op = Self::NAME;
        let dtype = check_dtypes(op, inputs)?;
        let Epilogue { bias, residual, .. } = self.epilogue;
        let (&[n, c_in, h, w], &[c_out, per_group, kh, kw]) =
            (as_map(op, &inputs[0])?, as_map(op, &inputs[1])?);
        check_settings(op, self.options, [kh, kw])?;
        if per_group.checked_mul(groups) != Some(c_in) || c_out % groups != 0 {
            let (weight, expects) = (&inputs[1].shape, per_group.saturating_mul(groups));
            let message = match c_out % groups {
                0 => format!(
                    "input has {}, weight {weight:?} with {} expects {expects}",
                    counted(c_in, "channel"),
                    counted(groups, "group")
                ),
                _ => format!(
                    "weight {weight:?} has {}, which {groups} groups do not divide",
                    counted(c_out, "output channel")
                ),
            };
            return Err(Error::shape(op, message));
        }
        check_bias(op, bias.map(|i| &inputs[i]), c_out)?;
        self.packed
            .iter()
            .try_for_each(|p| p.check(op, Direction::InToOut, &inputs[1], self.options))?;
        let out = |size: usize, k: usize| {
            let reach = k.checked_sub(1)?.checked_mul(dilation)?.checked_add(1)?;
            let padded = padding.checked_mul(2)?.checked_add(size)?;
            Some(padded.checked_sub(reach)? / stride + 1)
        };
        let (Some(out_h), Some(out_w)) = (out(h, kh), out(w, kw)) else {
            return Err(Error::shape(
                op,
                format!(
                    "a {kh}×{kw} kernel with dilation {dilation} does not fit a {h}×{w} input \
                     padded by {padding}"
                ),
            ));
        };
        let shape = vec![n, c_out, out_h, out_w];
        match residual.map(|i| &inputs[i].shape) {
            Some(residual) if *residual != shape => Err(Error::shape(
                op,
                format!("residual {residual:?} does not fit the output {shape:?}"),
            )),
            _ => Ok(Meta { shape, dtype }),
        }
    }

    fn forward(
        &self,
        inputs: &[&Tensor],
        out: &Meta,
        need: &[bool],
    ) -> Result<(Tensor, Self::Saved)> {
        let epilogue = self.epilogue.map(|&i| inputs[i]);
        forward(self.convolution(inputs[0], inputs[1]), epilogue, out, need)
    }

    fn backward(
        &self,
        saved: Self::Saved,
        dy: &Tensor,
        need: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let Epilogue { bias, residual, .. } = self.epilogue;
        let dz = through_gelu(&saved, dy)?;
        let settings = (Direction::InToOut, self.options, self.epilogue.gelu_input);
        let mut gradients = backward(settings, saved, &dz, need)?;
        if let Some(i) = bias {
            gradients.push(need[i].then(|| bias_gradient(&dz)).transpose()?);
        }
        gradients.extend(residual.map(|i| need[i].then_some(dz)));
        Ok(gradients)
    }

    fn reuses(&self) -> Option<usize> {
        self.epilogue.residual
    }

    fn forward_onto(&self, others: &[&Tensor], onto: Tensor) -> Result<Tensor> {
        let convolution = self.convolution(others[0], others[1]);
        // The residual is the last input, so the others keep their indices.
        let epilogue = Epilogue { residual: None, ..self.epilogue }.map(|&i| others[i]);
        let out = onto.meta();
        on_device(
            convolution.x.gpu(),
            Some(onto),
            |onto| cpu::convolve(convolution, epilogue, &out, onto),
            |gpu, onto| cuda::convolve(gpu, convolution, epilogue, &out, onto),
        )
    }

    fn rows(&self, input: usize, inputs: &[Meta]) -> Option<RowRule> {
        let Conv2dOptions { stride, padding, dilation, .. } = self.options;
        let count = dilation * (inputs[1].shape[2] - 1) + 1;
        match input {
            0 => Some(RowRule::Window { stride, before: padding, count }),
            1 => None,
            // A residual.
            _ => Some(RowRule::Same),
        }
    }

    fn flops(&self, inputs: &[Meta], output: &Meta) -> u64 {
        multiply_adds(output.numel(), &inputs[1].shape[1..])
    }
}

/// The tensors that a convolution and its transpose save for backward.
pub(crate) struct ConvSaved {
    /// x, for dw and for the GELU's derivative in dx, and the shape of w.
    x: Option<(Tensor, Shape)>,
    /// w, for dx, and the shape of x.
    weight: Option<(Tensor, Shape)>,
    /// The pre-activation: the values before the GELU of the output.
    pre_activation: Option<Tensor>,
}

impl super::Saved for ConvSaved {
    fn bytes(&self) -> usize {
        let operands = self.x.bytes().saturating_add(self.weight.bytes());
        operands.saturating_add(self.pre_activation.bytes())
    }
}

/// The convolution with its epilogue.
pub(super) fn forward(
    convolution: Convolution<'_>,
    epilogue: Epilogue<&Tensor>,
    out: &Meta,
    need: &[bool],
) -> Result<(Tensor, ConvSaved)> {
    let Convolution { x, weight, .. } = convolution;
    // The numbers before the GELU are saved; without a tape only those after it are computed.
    let save = epilogue.gelu && need.contains(&true);
    let (y, pre_activation) = x.on_device(
        || match save {
            false => Ok((cpu::convolve(convolution, epilogue, out, None)?, None)),
            true => {
                let before = Epilogue { gelu: false, ..epilogue };
                let z = cpu::convolve(convolution, before, out, None)?;
                Ok((z.gelu()?, Some(z)))
            }
        },
        |gpu| {
            let z = save.then(|| Tensor::new_on_gpu(gpu, &out.shape, out.dtype)).transpose()?;
            let epilogue = Epilogue { pre_activation: z.as_ref(), ..epilogue };
            Ok((cuda::convolve(gpu, convolution, epilogue, out, None)?, z))
        },
    )?;
    let save = |wanted: bool, tensor: &Tensor, of: &Tensor| {
        wanted.then(|| (tensor.detach(), Shape(of.shape().to_vec())))
    };
    let x_saved = save(need[1] || need[0] && epilogue.gelu_input, x, weight);
    Ok((y, ConvSaved { x: x_saved, weight: save(need[0], weight, x), pre_activation }))
}

/// The gradient before the output's GELU.
pub(super) fn through_gelu(saved: &ConvSaved, dy: &Tensor) -> Result<Tensor> {
    gelu::backward_if_fused(saved.pre_activation.as_ref(), dy)
}

/// The gradients of x and w, for the sum's gradient `dz`.
pub(super) fn backward(
    (direction, options, gelu_input): (Direction, Conv2dOptions, bool),
    ConvSaved { x, weight, .. }: ConvSaved,
    dz: &Tensor,
    need: &[bool],
) -> Result<Vec<Option<Tensor>>> {
    let dx = weight.map(|(weight, Shape(shape))| {
        let slope = x.as_ref().filter(|_| gelu_input).map(|(x, _)| x);
        let direction = direction.reversed();
        let adjoint = Convolution { direction, options, x: dz, weight: &weight, packed: None };
        let epilogue = Epilogue { slope, ..Epilogue::NONE };
        let out = Meta { shape, dtype: dz.dtype() };
        dz.on_device(
            || cpu::convolve(adjoint, epilogue, &out, None),
            |gpu| cuda::convolve(gpu, adjoint, epilogue, &out, None),
        )
    });
    // The transposed convolution of x to y is the convolution of y to x, so its x and dy change
    // places.
    let dw = x.as_ref().filter(|_| need[1]).map(|(x, Shape(shape))| match direction {
        Direction::InToOut => weight_gradient(options, x, dz, shape, gelu_input),
        Direction::OutToIn => weight_gradient(options, dz, x, shape, false),
    });
    Ok(vec![dx.transpose()?, dw.transpose()?])
}

/// The gradient of a weight of `shape` between `x`, or its GELU, and `dy`.
fn weight_gradient(
    options: Conv2dOptions,
    x: &Tensor,
    dy: &Tensor,
    shape: &[usize],
    gelu_input: bool,
) -> Result<Tensor> {
    dy.on_device(
        || cpu::weight_gradient(options, x, dy, shape, gelu_input),
        |gpu| cuda::weight_gradient(gpu, options, x, dy, shape, gelu_input),
    )
}

pub(super) fn bias_gradient(dz: &Tensor) -> Result<Tensor> {
    dz.sum(&[0, 2, 3])
}

#[cfg(test)]
mod tests;
