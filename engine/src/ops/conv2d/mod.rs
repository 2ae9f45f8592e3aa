//! Two-dimensional convolution (cross-correlation, as the field has it).
//!
//! y\[n, o, r, c\] = b\[o\] + Σ w\[o, i, k, l\] · x\[n, i, s·r + d·k − p, s·c + d·l − p\], summed over the input
//! channels i of o's group and the kernel elements (k, l); s stride, d dilation, p zero padding.
//!
//! Forward: `Tensor::conv2d` → `Op::infer` checks → `Op::forward` runs the direct kernel (`correlate`) with
//! the forward `Plan`. On a tape it keeps x if the weight's gradient will be wanted, and w if x's will.
//!
//! Backward, each part only where needed: dx is the adjoint plan over dy with the same weights (in and out channels
//! exchanged); dw sums outer products of x and dy over pixels (`weight_gradient`); db sums dy over pixels.

use super::view::Shape;
use super::{Op, apply};
use crate::cpu::{Geometry, Map, Packed, Plan, correlate, weight_gradient};
use crate::sweep::{Choices, Room, Sample, Values};
use crate::{DType, Error, Float, Meta, Result, Tensor, dispatch_float};

/// This room in the sweep.
pub const ROOM: Room = Room { name: "conv2d", operations: &[("conv2d", sample)] };

/// Settings of a convolution, alike for both axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2dOptions {
    /// Input pixels from one output pixel to the next.
    pub stride: usize,
    /// Zeros around the input.
    pub padding: usize,
    /// Input pixels from one kernel element to the next.
    pub dilation: usize,
    /// Independent parts that the channels are split into.
    pub groups: usize,
}

impl Default for Conv2dOptions {
    /// Stride 1, no padding, no dilation, one group.
    fn default() -> Self {
        Self { stride: 1, padding: 0, dilation: 1, groups: 1 }
    }
}

impl Tensor {
    /// Convolves `[N, I, H, W]` with `weight` `[O, I/groups, kH, kW]` and adds `bias` `[O]`; gives
    /// `[N, O, H', W']` with H' = ⌊(H + 2·padding − dilation·(kH − 1) − 1) / stride⌋ + 1.
    pub fn conv2d(&self, weight: &Tensor, bias: Option<&Tensor>, options: Conv2dOptions) -> Result<Tensor> {
        let inputs: Vec<&Tensor> = [self, weight].into_iter().chain(bias).collect();
        apply(Conv2d(options), &inputs)
    }
}

struct Conv2d(Conv2dOptions);

impl Op for Conv2d {
    const NAME: &'static str = "conv2d";
    type Saved = Kept;

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let Conv2dOptions { stride, padding, dilation, groups } = self.0;
        let op = Self::NAME;
        let dtype = check_dtypes(op, inputs)?;
        let (&[n, c_in, h, w], &[c_out, per_group, kh, kw]) = (as_map(op, &inputs[0])?, as_map(op, &inputs[1])?);
        check_settings(op, self.0)?;
        if per_group.checked_mul(groups) != Some(c_in) || c_out % groups != 0 {
            let (weight, expects) = (&inputs[1].shape, per_group.saturating_mul(groups));
            let message = match c_out % groups {
                0 => format!("input has {c_in} channels, weight {weight:?} with {groups} groups expects {expects}"),
                _ => format!("weight {weight:?} has {c_out} output channels, which {groups} groups do not divide"),
            };
            return Err(Error::shape(op, message));
        }
        check_bias(op, inputs.get(2), c_out)?;
        let out = |size: usize, k: usize| {
            let reach = k.checked_sub(1)?.checked_mul(dilation)?.checked_add(1)?;
            let padded = padding.checked_mul(2)?.checked_add(size)?;
            Some(padded.checked_sub(reach)? / stride + 1)
        };
        match (out(h, kh), out(w, kw)) {
            (Some(out_h), Some(out_w)) => Ok(Meta { shape: vec![n, c_out, out_h, out_w], dtype }),
            _ => Err(Error::shape(
                op,
                format!("a {kh}×{kw} kernel with dilation {dilation} does not fit a {h}×{w} input padded by {padding}"),
            )),
        }
    }

    fn forward(&self, inputs: &[&Tensor], need: &[bool]) -> Result<(Tensor, Self::Saved)> {
        let shape = self.infer(&inputs.iter().map(|input| input.meta()).collect::<Vec<_>>())?.shape;
        forward(Direction::InToOut, self.0, inputs, &shape, need)
    }

    fn backward(&self, saved: Self::Saved, dy: &Tensor, need: &[bool]) -> Result<Vec<Option<Tensor>>> {
        backward(Direction::InToOut, self.0, saved, dy, need)
    }

    fn flops(&self, inputs: &[Meta], output: &Meta) -> u64 {
        2 * (output.numel() * inputs[1].shape[1..].iter().product::<usize>()) as u64
    }
}

/// What a convolution and its transpose keep: x for dw and w for dx, each with the shape of the gradient that it serves.
pub(super) type Kept = (Option<(Tensor, Shape)>, Option<(Tensor, Shape)>);

/// Convolution (`InToOut`) or its transpose (`OutToIn`) of x with w and maybe a bias, into a map of `shape`.
pub(super) fn forward(
    direction: Direction,
    options: Conv2dOptions,
    inputs: &[&Tensor],
    shape: &[usize],
    need: &[bool],
) -> Result<(Tensor, Kept)> {
    let (x, w) = (inputs[0], inputs[1]);
    let y = dispatch_float!("conv2d", x.dtype(), T => {
        run::<T>(direction, options, x, w, inputs.get(2).copied(), shape)
    })?;
    let keep_for = |gradient: usize, of: &Tensor, kept: &Tensor| {
        need[gradient].then(|| (kept.detach(), Shape(of.shape().to_vec())))
    };
    Ok((y, (keep_for(1, w, x), keep_for(0, x, w))))
}

/// The gradients of x, w and the bias.
pub(super) fn backward(
    direction: Direction,
    options: Conv2dOptions,
    (x, w): Kept,
    dy: &Tensor,
    need: &[bool],
) -> Result<Vec<Option<Tensor>>> {
    dispatch_float!("conv2d", dy.dtype(), T => {
        let dx = match &w {
            Some((w, Shape(shape))) => Some(run::<T>(direction.reversed(), options, dy, w, None, shape)?),
            None => None,
        };
        // The transposed convolution of x to y is the convolution of y to x, so its x and dy change places.
        let dw = match (&x, direction) {
            (Some((x, Shape(shape))), Direction::InToOut) => Some(weight_sums::<T>(options, x, dy, shape)?),
            (Some((x, Shape(shape))), Direction::OutToIn) => Some(weight_sums::<T>(options, dy, x, shape)?),
            (None, _) => None,
        };
        let db = match need.get(2) {
            Some(true) => Some(dy.sum(&[0, 2, 3])?.reshape(&[dy.shape()[1]])?),
            _ => None,
        };
        Ok([dx, dw, db].into_iter().take(need.len()).collect())
    })
}

/// Whether a map with the weight's input channels becomes one with its output channels, or the other way round.
#[derive(Clone, Copy)]
pub(super) enum Direction {
    InToOut,
    OutToIn,
}

impl Direction {
    fn reversed(self) -> Self {
        match self {
            Self::InToOut => Self::OutToIn,
            Self::OutToIn => Self::InToOut,
        }
    }
}

/// Convolution or its transpose of `x` with `weight` `[O, I/groups, kH, kW]` into a new map of `shape`.
fn run<T: Float>(
    direction: Direction,
    options: Conv2dOptions,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    shape: &[usize],
) -> Result<Tensor> {
    let x = x.standard();
    let bias = bias.map(|bias| bias.to_vec::<T>()).transpose()?;
    let groups = options.groups;
    let (o, i) = (weight.shape()[0] / groups, weight.shape()[1]);
    let (kw, strides, offset) = (weight.shape()[3], weight.layout().strides(), weight.layout().offset());
    let data = weight.raw::<T>();
    let at = |g: usize, e: usize, i: usize, out: usize| {
        data[offset + (g * o + out) * strides[0] + i * strides[1] + e / kw * strides[2] + e % kw * strides[3]]
    };
    let geometry = geometry(options, weight.shape());
    let (plan, packed) = match direction {
        Direction::InToOut => {
            let plan = Plan::forward(geometry);
            let packed = Packed::new(&plan, groups, i, o, at);
            (plan, packed)
        }
        Direction::OutToIn => {
            let plan = Plan::adjoint(geometry);
            let packed = Packed::new(&plan, groups, o, i, |g, e, from, to| at(g, e, to, from));
            (plan, packed)
        }
    };
    let map = as_channels_last::<T>(&x)?;
    Ok(Tensor::build(shape, |out| correlate(&plan, map, &packed, bias.as_deref(), out, (shape[2], shape[3]))))
}

/// Σ over pixels of `x` at each kernel element times `dy`, as a weight of `shape`
/// `[channels of dy, channels of x / groups, kH, kW]`.
fn weight_sums<T: Float>(options: Conv2dOptions, x: &Tensor, dy: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let (x, dy) = (x.standard(), dy.standard());
    let plan = Plan::forward(geometry(options, shape));
    let sums = weight_gradient::<T>(&plan, as_channels_last(&x)?, as_channels_last(&dy)?, options.groups);
    let (o, i, taps) = (shape[0] / options.groups, shape[1], shape[2] * shape[3]);
    // From [group][tap][in][out] to the weight's memory order, [group·out][tap][in].
    Ok(Tensor::build(shape, |out: &mut [T]| {
        for (index, value) in out.iter_mut().enumerate() {
            let (c, t, channel) = (index % i, index / i % taps, index / (i * taps));
            *value = sums[((channel / o * taps + t) * i + c) * o + channel % o];
        }
    }))
}

fn geometry(options: Conv2dOptions, weight: &[usize]) -> Geometry {
    let Conv2dOptions { stride, padding, dilation, .. } = options;
    Geometry { kernel: (weight[2], weight[3]), stride, padding, dilation }
}

fn as_channels_last<T: Float>(x: &Tensor) -> Result<Map<'_, T>> {
    let [n, c, h, w] = x.dims4("conv2d")?;
    Ok(Map { data: x.dense_data("conv2d")?, n, h, w, c })
}

pub(super) fn as_map<'a>(op: &'static str, meta: &'a Meta) -> Result<&'a [usize; 4]> {
    let shape = meta.shape.as_slice();
    shape.try_into().map_err(|_| Error::shape(op, format!("input and weight must have 4 dimensions, got {shape:?}")))
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
        return Err(Error::shape(op, format!("stride, dilation and groups must be at least 1, got {options:?}")));
    }
    Ok(())
}

pub(super) fn check_bias(op: &'static str, bias: Option<&Meta>, channels: usize) -> Result<()> {
    match bias {
        Some(bias) if bias.shape != [channels] => {
            Err(Error::shape(op, format!("bias {:?} does not fit {channels} output channels", bias.shape)))
        }
        _ => Ok(()),
    }
}

/// Random settings: mostly small, with odd sizes, and often more than one block of channels or tile of pixels.
pub(super) fn sample_settings(c: &mut Choices) -> (Conv2dOptions, [usize; 4], [usize; 2]) {
    let groups = c.pick(&[1, 1, 1, 2, 3]);
    let (kh, kw) = (c.pick(&[3, 1, 2, 4]), c.pick(&[3, 1, 2, 4]));
    let options =
        Conv2dOptions { stride: c.size(1..=3), padding: c.size(0..=2), dilation: c.pick(&[1, 1, 2]), groups };
    let least = (kh.max(kw) - 1) * options.dilation + 1;
    let (h, w) = (c.extent(least..=least + 4), c.extent(least..=least + 8));
    let (from, to) = (groups * c.channels(&[1, 2, 3, 4]), groups * c.channels(&[1, 2, 3, 8, 11]));
    (options, [c.size(1..=2), from, h, w], [to, kh * 16 + kw])
}

fn sample(c: &mut Choices) -> Sample {
    let (options, x, [to, kernel]) = sample_settings(c);
    let weight = [to, x[1] / options.groups, kernel / 16, kernel % 16];
    let mut inputs = vec![c.tensor(&x, Values::Normal), c.tensor(&weight, Values::Normal)];
    if c.flag() {
        inputs.push(c.tensor(&[to], Values::Normal));
    }
    let Conv2dOptions { stride, padding, dilation, groups } = options;
    let label = format!("stride {stride}, padding {padding}, dilation {dilation}, groups {groups}");
    Sample::new(label, inputs, move |x| x[0].conv2d(&x[1], x.get(2), options))
}

#[cfg(test)]
mod tests;
