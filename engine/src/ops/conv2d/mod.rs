//! Two-dimensional convolution (cross-correlation, as the field has it).
//!
//! y\[n, o, r, c\] = b\[o\] + Σ w\[o, i, k, l\] · x\[n, i, s·r + d·k − p, s·c + d·l − p\], summed
//! over the input channels i of o's group and the kernel elements (k, l); s stride, d dilation, p
//! zero padding.
//!
//! Forward: `Tensor::conv2d` → `Op::infer` checks → `Op::forward` packs the weights for the
//! algorithm that `algorithm.rs` chooses (Winograd's or the direct one) and runs it. On a tape it
//! keeps x if the weight's gradient will be wanted, and w if x's will.
//!
//! Backward, each part only where needed: dx is the adjoint convolution of dy with the same weights
//! (in and out channels exchanged); dw sums outer products of x and dy over pixels; db sums dy over
//! pixels.
//!
//! What usually surrounds a convolution is computed with it, without passes over memory of its own
//! (`Around`): a GELU of the input as it is read, a residual and a GELU of the output as it is
//! written. What is kept for the gradient are then the numbers before the GELU, from which both its
//! value and its derivative are computed again.

mod algorithm;
mod cuda;
mod packed;
#[cfg(any(test, feature = "checks"))]
pub(super) mod samples;

use super::gelu::{self, Gelu, gelu_in_place, gelu_into, times_derivative};
use super::view::Shape;
use super::{Op, apply, apply_onto};
pub use crate::conv::Conv2dOptions;
pub(crate) use crate::conv::Direction;
use crate::cpu::convolution::{Fusion, Read};
use crate::{DType, Error, Float, Meta, Result, Tensor, dispatch_float};
pub use packed::PackedWeight;
use packed::{Packed, as_channels_last, weight_sums};

/// What is computed together with a convolution: `[gelu](conv([gelu](x)) + bias + [residual])`.
#[derive(Clone, Copy, Default)]
pub struct Around<'a> {
    /// Convolve the GELU of the input.
    pub gelu_input: bool,
    /// Added to the result; of its shape.
    pub residual: Option<&'a Tensor>,
    /// Take the GELU of the result.
    pub gelu_output: bool,
    /// The weight, packed before. It saves the time of packing, which is little for large maps and
    /// most of it for small ones.
    pub packed: Option<&'a PackedWeight>,
}

impl Tensor {
    /// Convolves `[N, I, H, W]` with `weight` `[O, I/groups, kH, kW]` and adds `bias` `[O]`; gives
    /// `[N, O, H', W']` with H' = ⌊(H + 2·padding − dilation·(kH − 1) − 1) / stride⌋ + 1.
    pub fn conv2d(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        options: Conv2dOptions,
    ) -> Result<Tensor> {
        self.conv2d_with(weight, bias, options, Around::default())
    }

    /// The same, with what is `around` it.
    pub fn conv2d_with(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        options: Conv2dOptions,
        around: Around<'_>,
    ) -> Result<Tensor> {
        let inputs: Vec<&Tensor> =
            [self, weight].into_iter().chain(bias).chain(around.residual).collect();
        apply(Conv2d::new(options, bias.is_some(), around.residual.is_some(), around), &inputs)
    }

    /// The same, with the residual `onto`, and letting it go: where nothing is recorded and nobody
    /// else holds it, the sum is made in its memory. `around` has no residual of its own.
    pub fn conv2d_onto(
        &self,
        onto: Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
        options: Conv2dOptions,
        around: Around<'_>,
    ) -> Result<Tensor> {
        let inputs: Vec<&Tensor> = [self, weight].into_iter().chain(bias).collect();
        let op = Conv2d::new(options, bias.is_some(), true, around);
        let place = inputs.len();
        apply_onto(op, &inputs, place, onto, |op, onto| {
            let operands =
                Operands { x: self, weight, packed: op.packed.as_ref(), bias, residual: None };
            if let Some(gpu) = onto.gpu() {
                return cuda::add_to(gpu, options, op.gelu, operands, onto);
            }
            dispatch_float!(Conv2d::NAME, self.dtype(), T => add_to::<T>(options, op.gelu, operands, onto))
        })
    }
}

/// The activations of an [`Around`].
#[derive(Clone, Copy)]
pub(super) struct Gelus {
    pub(super) input: bool,
    pub(super) output: bool,
}

struct Conv2d {
    options: Conv2dOptions,
    gelu: Gelus,
    bias: bool,
    residual: bool,
    packed: Option<PackedWeight>,
}

impl Conv2d {
    fn new(options: Conv2dOptions, bias: bool, residual: bool, around: Around<'_>) -> Self {
        let gelu = Gelus { input: around.gelu_input, output: around.gelu_output };
        Self { options, gelu, bias, residual, packed: around.packed.cloned() }
    }

    /// Where the bias and the residual are among the inputs.
    fn optional(&self) -> (Option<usize>, Option<usize>) {
        (self.bias.then_some(2), self.residual.then_some(2 + usize::from(self.bias)))
    }
}

impl Op for Conv2d {
    const NAME: &'static str = "conv2d";
    type Saved = Kept;

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let Conv2dOptions { stride, padding, dilation, groups } = self.options;
        let op = Self::NAME;
        let dtype = check_dtypes(op, inputs)?;
        let (bias, residual) = self.optional();
        let (&[n, c_in, h, w], &[c_out, per_group, kh, kw]) =
            (as_map(op, &inputs[0])?, as_map(op, &inputs[1])?);
        check_settings(op, self.options)?;
        if per_group.checked_mul(groups) != Some(c_in) || c_out % groups != 0 {
            let (weight, expects) = (&inputs[1].shape, per_group.saturating_mul(groups));
            let message = match c_out % groups {
                0 => format!(
                    "input has {c_in} channels, weight {weight:?} with {groups} groups expects {expects}"
                ),
                _ => format!(
                    "weight {weight:?} has {c_out} output channels, which {groups} groups do not divide"
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
                    "a {kh}×{kw} kernel with dilation {dilation} does not fit a {h}×{w} input padded by {padding}"
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
        let (bias, residual) = self.optional();
        let part = |i: Option<usize>| i.map(|i| inputs[i]);
        let operands = Operands {
            x: inputs[0],
            weight: inputs[1],
            packed: self.packed.as_ref(),
            bias: part(bias),
            residual: part(residual),
        };
        forward(Direction::InToOut, self.options, self.gelu, operands, &out.shape, need)
    }

    fn backward(
        &self,
        saved: Self::Saved,
        dy: &Tensor,
        need: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let (bias, residual) = self.optional();
        let dz = through_output(&saved, dy)?;
        let mut gradients =
            backward(Direction::InToOut, self.options, self.gelu, saved, &dz, need)?;
        gradients
            .extend(bias.map(|i| need[i].then(|| bias_gradient(&dz)).transpose()).transpose()?);
        gradients.extend(residual.map(|i| need[i].then_some(dz)));
        Ok(gradients)
    }

    fn flops(&self, inputs: &[Meta], output: &Meta) -> u64 {
        2 * (output.numel() * inputs[1].shape[1..].iter().product::<usize>()) as u64
    }
}

/// What a convolution and its transpose compute with.
#[derive(Clone, Copy)]
pub(super) struct Operands<'a> {
    pub(super) x: &'a Tensor,
    pub(super) weight: &'a Tensor,
    pub(super) packed: Option<&'a PackedWeight>,
    pub(super) bias: Option<&'a Tensor>,
    pub(super) residual: Option<&'a Tensor>,
}

impl Operands<'_> {
    /// `f` with the weight as it was packed before, or is now.
    fn with_packed<T: Float, R>(
        &self,
        direction: Direction,
        options: Conv2dOptions,
        f: impl FnOnce(&Packed<T>) -> R,
    ) -> R {
        match self.packed.and_then(PackedWeight::get::<T>) {
            Some(packed) => f(packed),
            None => f(&Packed::new(direction, options, self.weight)),
        }
    }
}

/// What a convolution and its transpose keep.
pub(super) struct Kept {
    /// x, for dw and for the GELU's derivative in dx, and the shape of w.
    x: Option<(Tensor, Shape)>,
    /// w, for dx, and the shape of x.
    weight: Option<(Tensor, Shape)>,
    /// The output before its GELU.
    output: Option<Tensor>,
}

impl super::Saved for Kept {
    fn bytes(&self) -> usize {
        self.x.bytes() + self.weight.bytes() + self.output.bytes()
    }
}

/// Convolution (`InToOut`) or its transpose (`OutToIn`) into a map of `shape`.
pub(super) fn forward(
    direction: Direction,
    options: Conv2dOptions,
    gelu: Gelus,
    operands: Operands<'_>,
    shape: &[usize],
    need: &[bool],
) -> Result<(Tensor, Kept)> {
    let Operands { x, weight, .. } = operands;
    // What is kept is the output before its GELU; without a tape there is only the one after it.
    let keep_output = gelu.output && need.contains(&true);
    let (y, output) = compute(direction, options, gelu, operands, shape, keep_output)?;
    let keep_for = |wanted: bool, of: &Tensor, kept: &Tensor| {
        wanted.then(|| (kept.detach(), Shape(of.shape().to_vec())))
    };
    let (x, weight) =
        (keep_for(need[1] || need[0] && gelu.input, weight, x), keep_for(need[0], x, weight));
    Ok((y, Kept { x, weight, output }))
}

/// The result, and the numbers before its GELU if they are to be kept.
fn compute(
    direction: Direction,
    options: Conv2dOptions,
    gelu: Gelus,
    operands: Operands<'_>,
    shape: &[usize],
    keep_output: bool,
) -> Result<(Tensor, Option<Tensor>)> {
    operands.x.on_device(|| {
    dispatch_float!("conv2d", operands.x.dtype(), T => {
        let gelu_now = Gelus { output: gelu.output && !keep_output, ..gelu };
        let y = operands.with_packed(direction, options, |packed| run::<T>(packed, gelu_now, operands, shape))?;
        if !keep_output {
            return Ok((y, None));
        }
        Ok((y.gelu()?, Some(y)))
    })
    }, |gpu| cuda::compute(gpu, direction, options, gelu, operands, shape, keep_output))
}

/// The gradient before the output's GELU.
pub(super) fn through_output(kept: &Kept, dy: &Tensor) -> Result<Tensor> {
    gelu::before(kept.output.as_ref(), dy)
}

/// The gradients of x and w.
pub(super) fn backward(
    direction: Direction,
    options: Conv2dOptions,
    gelu: Gelus,
    Kept { x, weight, .. }: Kept,
    dz: &Tensor,
    need: &[bool],
) -> Result<Vec<Option<Tensor>>> {
    let dx = weight.map(|(weight, Shape(shape))| {
        let slope = x.as_ref().filter(|_| gelu.input).map(|(x, _)| x);
        input_gradient(direction.reversed(), options, &weight, dz, slope, &shape)
    });
    // The transposed convolution of x to y is the convolution of y to x, so its x and dy change
    // places.
    let dw = x.as_ref().filter(|_| need[1]).map(|(x, Shape(shape))| match direction {
        Direction::InToOut => weight_gradient(options, x, dz, shape, gelu.input),
        Direction::OutToIn => weight_gradient(options, dz, x, shape, false),
    });
    Ok(vec![dx.transpose()?, dw.transpose()?])
}

/// dx, of `shape`: `dz` convolved in the other `direction`, times the GELU's derivative at `slope`,
/// if x went through one.
fn input_gradient(
    direction: Direction,
    options: Conv2dOptions,
    weight: &Tensor,
    dz: &Tensor,
    slope: Option<&Tensor>,
    shape: &[usize],
) -> Result<Tensor> {
    dz.on_device(|| {
    dispatch_float!("conv2d", dz.dtype(), T => {
        let packed = Packed::<T>::new(direction, options, weight);
        let (dz, slope) = (dz.contiguous()?, slope.map(Tensor::contiguous).transpose()?);
        let slope = slope.as_ref().map(|slope| slope.dense_data::<T>("conv2d")).transpose()?;
        let write = |start: usize, run: &mut [T]| {
            if let Some(slope) = slope {
                times_derivative(run, &slope[start..start + run.len()]);
            }
        };
        let fusion = Fusion { add: false, read: None, write: Some(&write) };
        let dz = as_channels_last(&dz)?;
        Ok(Tensor::build(shape, |out| packed.run(dz, None, out, (shape[2], shape[3]), fusion)))
    })
    }, |gpu| cuda::input_gradient(gpu, direction, options, weight, dz, slope, shape))
}

/// The gradient of a weight of `shape` between `x`, or its GELU, and `dy`.
fn weight_gradient(
    options: Conv2dOptions,
    x: &Tensor,
    dy: &Tensor,
    shape: &[usize],
    gelu_input: bool,
) -> Result<Tensor> {
    dy.on_device(|| {
    let gelu = Gelus { input: gelu_input, output: false };
    dispatch_float!("conv2d", dy.dtype(), T => weight_sums::<T>(options, x, dy, shape, read(gelu)))
    }, |gpu| cuda::weight_gradient(gpu, options, x, dy, shape, gelu_input))
}

pub(super) fn bias_gradient(dz: &Tensor) -> Result<Tensor> {
    dz.sum(&[0, 2, 3])?.reshape(&[dz.shape()[1]])
}

/// Runs what was packed.
fn run<T: Gelu>(
    packed: &Packed<T>,
    gelu: Gelus,
    Operands { x, bias, residual, .. }: Operands<'_>,
    shape: &[usize],
) -> Result<Tensor> {
    let (x, residual) = (x.contiguous()?, residual.map(Tensor::contiguous).transpose()?);
    let bias = bias.map(|bias| bias.to_vec::<T>()).transpose()?;
    let residual =
        residual.as_ref().map(|residual| residual.dense_data::<T>("conv2d")).transpose()?;
    let write = |start: usize, run: &mut [T]| {
        if let Some(residual) = residual {
            add_in_place(run, &residual[start..start + run.len()]);
        }
        if gelu.output {
            gelu_in_place(run);
        }
    };
    let fusion = Fusion {
        add: false,
        read: read(gelu),
        write: (gelu.output || residual.is_some()).then_some(&write),
    };
    let map = as_channels_last::<T>(&x)?;
    Ok(Tensor::build(shape, |out| {
        packed.run(map, bias.as_deref(), out, (shape[2], shape[3]), fusion)
    }))
}

/// Adds the convolution to `onto`, whose memory nobody else sees.
fn add_to<T: Gelu>(
    options: Conv2dOptions,
    gelu: Gelus,
    operands: Operands<'_>,
    onto: &mut Tensor,
) -> Result<()> {
    let Operands { x, bias, .. } = operands;
    let x = x.contiguous()?;
    let bias = bias.map(|bias| bias.to_vec::<T>()).transpose()?;
    let [.., height, width] = onto.dims4(Conv2d::NAME)?;
    let write = |_: usize, run: &mut [T]| gelu_in_place(run);
    let fusion = Fusion { add: true, read: read(gelu), write: gelu.output.then_some(&write) };
    let out = onto
        .exclusive_data::<T>()
        .ok_or_else(|| Error::tape(Conv2d::NAME, "someone else sees the residual"))?;
    let map = as_channels_last::<T>(&x)?;
    operands.with_packed(Direction::InToOut, options, |packed| {
        packed.run(map, bias.as_deref(), out, (height, width), fusion);
    });
    Ok(())
}

/// Compiled for the baseline, the compiler's own vectors suffice: memory is the limit.
fn add_in_place<T: Gelu>(run: &mut [T], residual: &[T]) {
    run.iter_mut().zip(residual).for_each(|(sum, x)| *sum += *x);
}

fn read<T: Gelu>(gelu: Gelus) -> Option<Read<T>> {
    gelu.input.then_some(gelu_into::<T>)
}

pub(super) fn as_map<'a>(op: &'static str, meta: &'a Meta) -> Result<&'a [usize; 4]> {
    let shape = meta.shape.as_slice();
    shape.try_into().map_err(|_| {
        Error::shape(op, format!("input and weight must have 4 dimensions, got {shape:?}"))
    })
}

pub(super) fn check_dtypes(op: &'static str, inputs: &[Meta]) -> Result<DType> {
    let dtype = inputs[0].dtype;
    crate::dtype::require_compute(op, dtype)?;
    match inputs.iter().find(|input| input.dtype != dtype) {
        Some(other) => Err(Error::dtype(op, dtype, other.dtype)),
        None => Ok(dtype),
    }
}

pub(super) fn check_settings(op: &'static str, options: Conv2dOptions) -> Result<()> {
    if options.stride == 0 || options.dilation == 0 || options.groups == 0 {
        return Err(Error::shape(
            op,
            format!("stride, dilation and groups must be at least 1, got {options:?}"),
        ));
    }
    Ok(())
}

pub(super) fn check_bias(op: &'static str, bias: Option<&Meta>, channels: usize) -> Result<()> {
    match bias {
        Some(bias) if bias.shape != [channels] => Err(Error::shape(
            op,
            format!("bias {:?} does not fit {channels} output channels", bias.shape),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
