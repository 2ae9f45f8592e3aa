//! Convolutions on a GPU: what the operation asks for, a convolution with what surrounds it and the
//! gradients. `own.rs` starts the kernels.
//!
//! The GELU of an input is a pass of its own: a convolution reads each number of x many times, and
//! would compute it as often. What follows the sum of products is computed by the kernel that
//! writes it, or by `surround` where that kernel is not ours.

mod cudnn;
mod own;
#[cfg(test)]
mod tests;

use super::{Conv2d, Conv2dOptions, Direction, Gelus, Operands};
use crate::cuda::{Gpu, Launch};
use crate::ops::Op;
use crate::{Device, Result, Tensor};
use cudnn::Epilogue;

impl Device {
    /// Who computes convolutions on this device.
    ///
    /// # Errors
    /// If cuDNN is missing on a GPU, with what to install.
    pub fn convolutions(self) -> Result<String> {
        let own = || "the program's own kernels".to_string();
        self.on_gpu(
            |gpu| Ok(cudnn::Cudnn::of(gpu)?.map_or_else(own, |c| format!("cuDNN {}", c.version()))),
            own,
        )
    }
}

/// The result, and the numbers before its GELU if they are to be kept.
pub(super) fn compute(
    gpu: &'static Gpu,
    direction: Direction,
    options: Conv2dOptions,
    gelu: Gelus,
    Operands { x, weight, bias, residual, .. }: Operands<'_>,
    shape: &[usize],
    keep_output: bool,
) -> Result<(Tensor, Option<Tensor>)> {
    let x = input(x, gelu.input)?;
    let (bias, residual) = (contiguous(bias)?, contiguous(residual)?);
    let before = keep_output.then(|| Tensor::new_on_gpu(gpu, shape, x.dtype())).transpose()?;
    let around =
        Surroundings { bias, residual, before: before.clone(), slope: None, gelu: gelu.output };
    let y = convolve(gpu, Convolution { direction, options, x: &x, weight }, shape, around, None)?;
    Ok((y, before))
}

/// Adds the convolution to `onto`, whose memory nobody else sees; it may be let go for another.
pub(super) fn add_to(
    gpu: &'static Gpu,
    options: Conv2dOptions,
    gelu: Gelus,
    Operands { x, weight, bias, .. }: Operands<'_>,
    onto: &mut Tensor,
) -> Result<()> {
    let (x, bias, residual) = (input(x, gelu.input)?, contiguous(bias)?, Some(onto.detach()));
    let around = Surroundings { bias, residual, gelu: gelu.output, ..Surroundings::default() };
    let convolution = Convolution { direction: Direction::InToOut, options, x: &x, weight };
    *onto = convolve(gpu, convolution, onto.shape(), around, Some(onto))?;
    Ok(())
}

/// dx, of `shape`: `dz` convolved in this `direction`, times the GELU's derivative at `slope`.
pub(super) fn input_gradient(
    gpu: &'static Gpu,
    direction: Direction,
    options: Conv2dOptions,
    weight: &Tensor,
    dz: &Tensor,
    slope: Option<&Tensor>,
    shape: &[usize],
) -> Result<Tensor> {
    let around = Surroundings { slope: contiguous(slope)?, ..Surroundings::default() };
    convolve(
        gpu,
        Convolution { direction, options, x: &dz.contiguous()?, weight },
        shape,
        around,
        None,
    )
}

/// The gradient of a weight of `shape` between `x`, or its GELU, and `dy`.
pub(super) fn weight_gradient(
    gpu: &'static Gpu,
    options: Conv2dOptions,
    x: &Tensor,
    dy: &Tensor,
    shape: &[usize],
    gelu_input: bool,
) -> Result<Tensor> {
    weight_sums(gpu, options, &input(x, gelu_input)?, &dy.contiguous()?, shape)
}

/// What is convolved, contiguous.
fn input(x: &Tensor, gelu: bool) -> Result<Tensor> {
    if gelu { x.gelu()?.contiguous() } else { x.contiguous() }
}

fn contiguous(x: Option<&Tensor>) -> Result<Option<Tensor>> {
    x.map(Tensor::contiguous).transpose()
}

/// What is computed of a convolution's result z: `[gelu](z + bias + residual) · [gelu′(slope)]`.
/// All but the bias are of the result's shape, and all have the contiguous layout.
#[derive(Clone, Default)]
struct Surroundings {
    bias: Option<Tensor>,
    residual: Option<Tensor>,
    slope: Option<Tensor>,
    /// Where the numbers before the GELU go.
    before: Option<Tensor>,
    gelu: bool,
}

/// As in `convolution.cu`.
#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C)]
struct Around {
    bias: u64,
    residual: u64,
    slope: u64,
    before: u64,
    gelu: u64,
}

impl Surroundings {
    fn is_nothing(&self) -> bool {
        let parts = [&self.bias, &self.residual, &self.slope, &self.before];
        parts.iter().all(|part| part.is_none()) && !self.gelu
    }

    fn arguments(&self) -> Result<Around> {
        let address = |part: &Option<Tensor>| part.as_ref().map_or(Ok(0), Tensor::address);
        Ok(Around {
            bias: address(&self.bias)?,
            residual: address(&self.residual)?,
            slope: address(&self.slope)?,
            before: address(&self.before)?,
            gelu: self.gelu.into(),
        })
    }
}

impl Around {
    /// Whether every part that is there begins at a multiple of `unit`.
    fn aligned(&self, unit: u64) -> bool {
        [self.bias, self.residual, self.slope, self.before]
            .iter()
            .all(|address| address % unit == 0)
    }
}

/// What is convolved. `x` has the contiguous layout, the weight any.
#[derive(Clone, Copy)]
struct Convolution<'a> {
    direction: Direction,
    options: Conv2dOptions,
    x: &'a Tensor,
    weight: &'a Tensor,
}

/// A convolution and its surroundings. Here it is chosen who computes it: cuDNN, or our own
/// kernels, in the memory of `onto` if there is one.
fn convolve(
    gpu: &'static Gpu,
    convolution: Convolution<'_>,
    shape: &[usize],
    around: Surroundings,
    onto: Option<&Tensor>,
) -> Result<Tensor> {
    if let Some(y) = by_cudnn(gpu, convolution, shape, &around)? {
        return Ok(y);
    }
    let y = onto.map_or_else(
        || Tensor::new_on_gpu(gpu, shape, convolution.x.dtype()),
        |onto| Ok(onto.detach()),
    )?;
    own::convolve(gpu, convolution, &y, &around)?;
    Ok(y)
}

/// The same by cuDNN: with it as much of the surroundings as it takes, then a pass for the rest.
/// `None` if it does not have the convolution.
fn by_cudnn(
    gpu: &'static Gpu,
    Convolution { direction, options, x, weight }: Convolution<'_>,
    shape: &[usize],
    around: &Surroundings,
) -> Result<Option<Tensor>> {
    let weight = weight.contiguous()?;
    let (bias, residual) = (around.bias.as_ref(), around.residual.as_ref());
    let rest = Surroundings { bias: None, residual: None, ..around.clone() };
    let sum = Epilogue { bias, residual, gelu: false };
    let mut attempts = Vec::new();
    if around.gelu && around.before.is_none() && around.slope.is_none() {
        attempts.push((Epilogue { gelu: true, ..sum }, Surroundings::default()));
    }
    if bias.is_some() || residual.is_some() {
        attempts.push((sum, rest));
    }
    attempts.push((Epilogue::default(), around.clone()));
    for (epilogue, rest) in attempts {
        if let Some(z) = cudnn::convolve(gpu, direction, options, x, &weight, epilogue, shape)? {
            if !rest.is_nothing() {
                surround(gpu, &z, &z, &rest)?;
            }
            return Ok(Some(z));
        }
    }
    Ok(None)
}

/// Σ over pixels of `x` at each kernel element times `dy`, as a weight of `shape`. Here it is
/// chosen who computes it.
fn weight_sums(
    gpu: &'static Gpu,
    options: Conv2dOptions,
    x: &Tensor,
    dy: &Tensor,
    shape: &[usize],
) -> Result<Tensor> {
    match cudnn::weight_sums(gpu, options, x, dy, shape)? {
        Some(sums) => Ok(sums),
        None => own::weight_sums(gpu, options, x, dy, shape),
    }
}

/// The surroundings alone, of `z`, which was convolved elsewhere, into `y`, which may be `z` or one
/// of them.
fn surround(gpu: &'static Gpu, z: &Tensor, y: &Tensor, around: &Surroundings) -> Result<()> {
    let (from, to, arguments) = (z.address()?, y.address()?, around.arguments()?);
    let (count, channels) = (crate::cuda::count(Conv2d::NAME, z.shape())?, z.shape()[1]);
    let pack = 16 / z.dtype().size();
    let packed =
        channels.is_multiple_of(pack) && arguments.aligned(16) && from % 16 == 0 && to % 16 == 0;
    let (kernel, threads) = match packed {
        true => ("surround_packed", z.numel() / pack),
        false => ("surround", z.numel()),
    };
    let channels = channels as u32;
    Launch::each("convolution", kernel, z.dtype(), threads)
        .run(gpu, &[&to, &from, &count, &channels, &arguments])
}
