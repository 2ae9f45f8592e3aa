//! Our own kernels (`convolution.cu`, `weight_sums.cu`): which one computes a convolution, and over
//! how many blocks.

use super::epilogue::EpilogueArguments;
use crate::conv::{Conv2dOptions, Direction, Epilogue};
use crate::cuda::{Gpu, Launch, has_forms};
use crate::ops::conv2d::convolution::Convolution;
use crate::ops::conv2d::shapes::OP;
use crate::{DType, Error, Result, Tensor};
use kernels::{Kernel, convolution, weight_sums};

/// The same as in `convolution.cuh`.
#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C)]
struct Geometry {
    transposed: u32,
    images: u32,
    groups: u32,
    from: u32,
    to: u32,
    x: [u32; 2],
    y: [u32; 2],
    kernel: [u32; 2],
    stride: u32,
    padding: u32,
    dilation: u32,
    x_packs: u32,
    y_quads: u32,
}

/// Channels that a thread computes.
const QUAD: u32 = 4;

impl Geometry {
    /// An error if kernels cannot count that far.
    fn new(
        direction: Direction,
        options: Conv2dOptions,
        x: &Tensor,
        weight: &[usize],
        y: &Tensor,
    ) -> Result<Self> {
        let op = OP;
        let ([images, from, xh, xw], [_, to, yh, yw]) = (x.dims4(op)?, y.dims4(op)?);
        let Conv2dOptions { stride, padding, dilation, groups } = options;
        let below = |bits: u32, size: usize| match size >> bits {
            0 => Ok(size as u32),
            _ => Err(Error::cuda(
                op,
                format!("{size} is too large for a GPU kernel, in {options:?} of {:?}", x.shape()),
            )),
        };
        let size = |size| below(30, size);
        crate::cuda::count(op, x.shape())?;
        crate::cuda::count(op, y.shape())?;
        below(31, weight.iter().product())?;
        Ok(Self {
            transposed: (direction == Direction::OutToIn).into(),
            images: size(images)?,
            groups: size(groups)?,
            from: size(from / groups)?,
            to: size(to / groups)?,
            x: [size(xh)?, size(xw)?],
            y: [size(yh)?, size(yw)?],
            kernel: [size(weight[2])?, size(weight[3])?],
            stride: below(15, stride)?,
            padding: size(padding)?,
            dilation: below(15, dilation)?,
            x_packs: 0,
            y_quads: 0,
        })
    }

    /// Whether the groups are of so few channels that a tile would be mostly empty.
    fn is_thin(&self) -> bool {
        self.groups > 1 && u64::from(self.from) * u64::from(self.to) < 64
    }
}

/// The convolution with its epilogue, into `y`.
pub(super) fn convolve(
    gpu: &'static Gpu,
    convolution: Convolution<'_>,
    y: &Tensor,
    epilogue: Epilogue<&Tensor>,
) -> Result<()> {
    let Convolution { direction, options, x, weight, .. } = convolution;
    if y.numel() == 0 {
        return Ok(());
    }
    let dtype = x.dtype();
    let mut geometry = Geometry::new(direction, options, x, weight.shape(), y)?;
    let (from, to, arguments) = (x.address()?, y.address()?, EpilogueArguments::new(epilogue)?);
    let pack = (16 / dtype.size()) as u32;
    let quad = (QUAD as usize * dtype.size()).min(16) as u64;
    geometry.x_packs = (geometry.from.is_multiple_of(pack) && from % 16 == 0).into();
    geometry.y_quads =
        (geometry.to.is_multiple_of(QUAD) && to % quad == 0 && arguments.aligned(quad)).into();

    let strides = weight.layout().strides();
    let strides: [u32; 4] = std::array::from_fn(|d| strides[d] as u32);
    let packed = Tensor::new_on_gpu(gpu, weight.shape(), dtype)?;
    Launch::each(convolution::PACK_WEIGHT, dtype, weight.numel())
        .run(gpu, &[&packed.address()?, &weight.address()?, &geometry, &strides])?;

    let launch = match geometry.is_thin() {
        true => Launch::each(convolution::CONVOLVE_THIN, dtype, y.numel()),
        false => {
            let (kernel, blocks) = tiles(&geometry, dtype);
            Launch::blocks(kernel, dtype, [blocks, 1, 1])
        }
    };
    launch.run(gpu, &[&to, &from, &packed.address()?, &geometry, &arguments])
}

/// Blocks that keep a large GPU busy.
const BLOCKS: usize = 264;

/// The kernel whose tiles fit, and how many of them there are.
fn tiles(geometry: &Geometry, dtype: DType) -> (Kernel, usize) {
    let Geometry { transposed, images, groups, to, y, stride, .. } = *geometry;
    // The transposed convolution takes the pixels in phases (`Axis`), of which the first has the
    // most.
    let step = if transposed == 1 { stride } else { 1 };
    let phases = y.map(|size| size.min(step) as usize);
    let [height, width] = y.map(|size| size.div_ceil(step) as usize);
    let (pixels, groups) =
        (images as usize * height * width, groups as usize * phases[0] * phases[1]);
    let blocks =
        |channels: u32, of: usize| groups * to.div_ceil(channels) as usize * pixels.div_ceil(of);
    match to {
        _ if !has_forms(dtype) => (convolution::CONVOLVE_16, blocks(16, 256)),
        0..=4 => (convolution::CONVOLVE_4, blocks(4, 512)),
        5..=16 => (convolution::CONVOLVE_16, blocks(16, 256)),
        17..=32 => (convolution::CONVOLVE_32, blocks(32, 256)),
        _ if blocks(64, 128) < BLOCKS => (convolution::CONVOLVE_FEW_PIXELS, blocks(64, 32)),
        _ => (convolution::CONVOLVE_64, blocks(64, 128)),
    }
}

/// Threads of a block, and the pixels that it multiplies at a time.
const THREADS: usize = 256;
const SLICE: usize = 16;

/// The length of each part if `pixels` are split into about `parts` parts, none of fewer than
/// `least` pixels but the last.
fn length(pixels: usize, parts: usize, least: usize) -> usize {
    pixels.div_ceil(parts.max(1)).max(least).next_multiple_of(SLICE)
}

/// Σ over pixels of `x` at each kernel element times `dy`, as a weight of `shape`
/// `[channels of dy, channels of x / groups, kH, kW]`.
pub(super) fn weight_sums(
    gpu: &'static Gpu,
    options: Conv2dOptions,
    x: &Tensor,
    dy: &Tensor,
    shape: &[usize],
) -> Result<Tensor> {
    let dtype = x.dtype();
    if x.numel() == 0 || dy.numel() == 0 {
        return Tensor::zeros_on_gpu(gpu, shape, dtype);
    }
    let sums = Tensor::new_on_gpu(gpu, shape, dtype)?;
    let mut geometry = Geometry::new(Direction::InToOut, options, x, shape, dy)?;
    let (from, to) = (x.address()?, dy.address()?);
    let quad = (QUAD as usize * dtype.size()).min(16) as u64;
    geometry.x_packs = (geometry.from.is_multiple_of(QUAD) && from % quad == 0).into();
    geometry.y_quads = (geometry.to.is_multiple_of(QUAD) && to % quad == 0).into();

    let (pixels, numbers) = (dy.numel() / dy.shape()[1], sums.numel());
    let terms = numbers / dy.shape()[1];
    let tiles = |channels: u32, of: usize| {
        geometry.groups as usize * geometry.to.div_ceil(channels) as usize * terms.div_ceil(of)
    };
    let (kernel, tiles) = match geometry.to {
        _ if geometry.is_thin() => (weight_sums::WEIGHT_SUMS_THIN, numbers.div_ceil(THREADS)),
        _ if !has_forms(dtype) => (weight_sums::WEIGHT_SUMS_64, tiles(64, 64)),
        0..=4 => (weight_sums::WEIGHT_SUMS_4, tiles(4, 256)),
        5..=16 => (weight_sums::WEIGHT_SUMS_16, tiles(16, 256)),
        _ => (weight_sums::WEIGHT_SUMS_64, tiles(64, 64)),
    };
    let length = match geometry.is_thin() {
        true => length(pixels, (4 * BLOCKS).div_ceil(tiles).min(512), 64),
        false => length(pixels, (2 * BLOCKS).div_ceil(tiles), 256),
    };
    let parts = pixels.div_ceil(length);
    let grid = if geometry.is_thin() { [tiles, parts, 1] } else { [tiles * parts, 1, 1] };
    let real = crate::cuda::computed_in(dtype);
    let partials = Tensor::new_on_gpu(gpu, &[parts, numbers], real)?;
    Launch::blocks(kernel, dtype, grid)
        .run(gpu, &[&partials.address()?, &from, &to, &geometry, &(length as u32)])?;
    let count = crate::cuda::count(OP, sums.shape())?;
    Launch::blocks(weight_sums::SUM_PARTIALS, dtype, [numbers.div_ceil(32), 1, 1])
        .run(gpu, &[&sums.address()?, &partials.address()?, &count, &(parts as u32)])?;
    Ok(sums)
}
