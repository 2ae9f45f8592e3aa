//! Convolutions on a GPU, by kernels of our own (`convolution.cu` and `weight_sums.cu`).
//!
//! The first part is what the room asks for: a convolution with what surrounds it, and the gradients. The GELU of an input is a pass of its
//! own: a kernel reads each number of x many times, and would compute it as often. What follows the sum of products is computed
//! by the kernel that writes it.

use super::{Conv2d, Conv2dOptions, Direction, Gelus, Operands};
use crate::cuda::{Gpu, Launch};
use crate::ops::Op;
use crate::{DType, Error, Result, Tensor};

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
    let (bias, residual) = (standard(bias)?, standard(residual)?);
    let before = keep_output.then(|| Tensor::new_on_gpu(gpu, shape, x.dtype())).transpose()?;
    let around = Surroundings { bias, residual, before: before.clone(), slope: None, gelu: gelu.output };
    let y = surrounded(gpu, direction, options, &x, weight, shape, &around, None)?;
    Ok((y, before))
}

/// Adds the convolution to `onto`, whose memory nobody else sees.
pub(super) fn add_to(
    gpu: &'static Gpu,
    options: Conv2dOptions,
    gelu: Gelus,
    Operands { x, weight, bias, .. }: Operands<'_>,
    onto: &Tensor,
) -> Result<()> {
    let (x, bias, residual) = (input(x, gelu.input)?, standard(bias)?, Some(onto.detach()));
    let around = Surroundings { bias, residual, gelu: gelu.output, ..Surroundings::default() };
    surrounded(gpu, Direction::InToOut, options, &x, weight, onto.shape(), &around, Some(onto)).map(drop)
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
    let around = Surroundings { slope: standard(slope)?, ..Surroundings::default() };
    surrounded(gpu, direction, options, &dz.standard()?, weight, shape, &around, None)
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
    weight_sums(gpu, options, &input(x, gelu_input)?, &dy.standard()?, shape)
}

/// What is convolved, in the standard layout.
fn input(x: &Tensor, gelu: bool) -> Result<Tensor> {
    if gelu { x.gelu()?.standard() } else { x.standard() }
}

fn standard(x: Option<&Tensor>) -> Result<Option<Tensor>> {
    x.map(Tensor::standard).transpose()
}

/// What is computed of a convolution's result z: `[gelu](z + bias + residual) · [gelu′(slope)]`. All but the bias are of the result's
/// shape, and all have the standard layout.
#[derive(Default)]
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
        [self.bias, self.residual, self.slope, self.before].iter().all(|address| address % unit == 0)
    }
}

/// A convolution and its surroundings, in the memory of `onto` if there is one. `x` has the standard layout.
///
/// This is where it is chosen who computes it.
#[allow(clippy::too_many_arguments)]
fn surrounded(
    gpu: &'static Gpu,
    direction: Direction,
    options: Conv2dOptions,
    x: &Tensor,
    weight: &Tensor,
    shape: &[usize],
    around: &Surroundings,
    onto: Option<&Tensor>,
) -> Result<Tensor> {
    let y = onto.map_or_else(|| Tensor::new_on_gpu(gpu, shape, x.dtype()), |onto| Ok(onto.detach()))?;
    convolve_into(gpu, direction, options, x, weight, &y, around)?;
    Ok(y)
}

/// The surroundings alone, of `z`, which was convolved elsewhere, into `y`, which may be `z` or among them.
fn surround(gpu: &'static Gpu, z: &Tensor, y: &Tensor, around: &Surroundings) -> Result<()> {
    let (from, to, arguments) = (z.address()?, y.address()?, around.arguments()?);
    let (count, channels) = (crate::cuda::count(Conv2d::NAME, z)?, z.shape()[1]);
    let pack = 16 / z.dtype().size();
    let packed = channels.is_multiple_of(pack) && arguments.aligned(16) && from % 16 == 0 && to % 16 == 0;
    let (kernel, threads) = match packed {
        true => ("surround_packed", z.numel() / pack),
        false => ("surround", z.numel()),
    };
    let channels = channels as u32;
    Launch::each("convolution", kernel, z.dtype(), threads).run(gpu, &[&to, &from, &count, &channels, &arguments])
}

/// As in `convolution.cuh`.
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
const QUAD: usize = 4;

impl Geometry {
    /// An error if kernels cannot count that far.
    fn new(direction: Direction, options: Conv2dOptions, x: &Tensor, weight: &[usize], y: &Tensor) -> Result<Self> {
        let op = Conv2d::NAME;
        let ([images, from, xh, xw], [_, to, yh, yw]) = (x.dims4(op)?, y.dims4(op)?);
        let Conv2dOptions { stride, padding, dilation, groups } = options;
        let below = |bits: u32, size: usize| match size >> bits {
            0 => Ok(size as u32),
            _ => Err(Error::cuda(op, format!("{size} is too large for a GPU kernel, in {options:?} of {:?}", x.shape()))),
        };
        let size = |size| below(30, size);
        crate::cuda::count(op, x)?;
        crate::cuda::count(op, y)?;
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
        self.groups > 1 && self.from.min(self.to) < 8
    }
}

/// Convolves `x` into `y`, or in reverse, with what surrounds it.
fn convolve_into(
    gpu: &'static Gpu,
    direction: Direction,
    options: Conv2dOptions,
    x: &Tensor,
    weight: &Tensor,
    y: &Tensor,
    around: &Surroundings,
) -> Result<()> {
    if y.numel() == 0 {
        return Ok(());
    }
    let dtype = x.dtype();
    let mut geometry = Geometry::new(direction, options, x, weight.shape(), y)?;
    let (from, to, arguments) = (x.address()?, y.address()?, around.arguments()?);
    let pack = 16 / dtype.size();
    let quad = (QUAD * dtype.size()).min(16) as u64;
    geometry.x_packs = (geometry.from as usize % pack == 0 && from % 16 == 0).into();
    geometry.y_quads = (geometry.to as usize % QUAD == 0 && to % quad == 0 && arguments.aligned(quad)).into();

    let strides = weight.layout().strides();
    let strides: [u32; 4] = std::array::from_fn(|d| strides[d] as u32);
    let packed = Tensor::new_on_gpu(gpu, weight.shape(), dtype)?;
    Launch::each("convolution", "pack_weight", dtype, weight.numel())
        .run(gpu, &[&packed.address()?, &weight.address()?, &geometry, &strides])?;

    let launch = match geometry.is_thin() {
        true => Launch::each("convolution", "convolve_thin", dtype, y.numel()),
        false => {
            let (kernel, blocks) = tiles(&geometry, dtype);
            Launch::blocks("convolution", kernel, dtype, [blocks, 1, 1])
        }
    };
    launch.run(gpu, &[&to, &from, &packed.address()?, &geometry, &arguments])
}

/// Blocks that keep a large GPU busy.
const BLOCKS: usize = 264;

/// The kernel whose tiles fit, and how many of them there are.
fn tiles(geometry: &Geometry, dtype: DType) -> (&'static str, usize) {
    let to = geometry.to as usize;
    let phases = geometry.y.map(|size| if geometry.transposed == 1 { geometry.stride.min(size) } else { 1 });
    // The first phase has the most pixels.
    let pixels: usize = geometry.images as usize
        * (0..2).map(|d| geometry.y[d].div_ceil(if geometry.transposed == 1 { geometry.stride } else { 1 }) as usize).product::<usize>();
    let (groups, phases) = (geometry.groups as usize, phases.iter().product::<u32>() as usize);
    let half = if dtype == DType::F64 { 2 } else { 1 };
    let blocks = |tile: [usize; 2]| to.div_ceil(tile[0]) * groups * phases * pixels.div_ceil(tile[1] / half);
    match to {
        ..=4 => ("convolve_4", blocks([4, 512])),
        ..=16 => ("convolve_16", blocks([16, 256])),
        ..=32 => ("convolve_32", blocks([32, 256])),
        _ if blocks([64, 128]) < BLOCKS => ("convolve_few_pixels", blocks([64, 32])),
        _ => ("convolve_64", blocks([64, 128])),
    }
}

/// Pixels that a block sums up at a time.
const SLICE: usize = 16;

/// As in `weight_sums.cu`.
#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C)]
struct Split {
    count: u32,
    length: u32,
}

impl Split {
    /// Splits `pixels` into about so many parts, none of fewer than `least` but the last.
    fn new(pixels: usize, parts: usize, least: usize) -> Self {
        let length = pixels.div_ceil(parts.max(1)).max(least).next_multiple_of(SLICE);
        Self { count: pixels.div_ceil(length) as u32, length: length as u32 }
    }
}

/// Σ over pixels of `x` at each kernel element times `dy`, as a weight of `shape` `[channels of dy, channels of x / groups, kH, kW]`. Both
/// have the standard layout.
///
/// This is where it is chosen who computes it.
fn weight_sums(gpu: &'static Gpu, options: Conv2dOptions, x: &Tensor, dy: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let dtype = x.dtype();
    if x.numel() == 0 || dy.numel() == 0 {
        return Tensor::zeros_on_gpu(gpu, shape, dtype);
    }
    let mut geometry = Geometry::new(Direction::InToOut, options, x, shape, dy)?;
    let (from, to) = (x.address()?, dy.address()?);
    let quad = (QUAD * dtype.size()).min(16) as u64;
    geometry.x_packs = (geometry.from as usize % QUAD == 0 && from % quad == 0).into();
    geometry.y_quads = (geometry.to as usize % QUAD == 0 && to % quad == 0).into();

    let sums = Tensor::new_on_gpu(gpu, shape, dtype)?;
    let (pixels, numbers) = (dy.numel() / dy.shape()[1], sums.numel());
    let groups = geometry.groups as usize;
    let (kernel, tile, parts, least) = match geometry.to {
        _ if geometry.is_thin() => ("weight_sums_thin", [1, 1], (1usize << 18).div_ceil(numbers).min(512), 64),
        ..=4 => ("weight_sums_4", [4, 256], 0, 256),
        ..=16 => ("weight_sums_16", [16, 256], 0, 256),
        _ => ("weight_sums_64", [64, 64], 0, 256),
    };
    let terms = numbers / dy.shape()[1];
    let tiles = groups * (geometry.to as usize).div_ceil(tile[0]) * terms.div_ceil(tile[1]);
    let split = Split::new(pixels, if geometry.is_thin() { parts } else { (2 * BLOCKS).div_ceil(tiles) }, least);
    let parts = split.count as usize;
    let real = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let partials = Tensor::new_on_gpu(gpu, &[parts, numbers], real)?;
    let launch = match geometry.is_thin() {
        true => Launch { grid: [numbers.div_ceil(256), parts, 1], ..Launch::each("weight_sums", kernel, dtype, numbers) },
        false => Launch::blocks("weight_sums", kernel, dtype, [tiles * parts, 1, 1]),
    };
    launch.run(gpu, &[&partials.address()?, &from, &to, &geometry, &split])?;
    Launch::blocks("weight_sums", "sum_partials", dtype, [numbers.div_ceil(32), 1, 1])
        .run(gpu, &[&sums.address()?, &partials.address()?, &crate::cuda::count(Conv2d::NAME, &sums)?, &split.count])?;
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::{DEVICE_TOLERANCES, Sample, check_on};
    use crate::{Around, Device, PackedWeight, Rng, Tape};

    const PLAIN: Conv2dOptions = Conv2dOptions { stride: 1, padding: 0, dilation: 1, groups: 1 };
    const SAME: Conv2dOptions = Conv2dOptions { padding: 1, ..PLAIN };

    /// A use with a bias and, where it is not transposed, a residual and activations. The weights are so small that the results are about 1.
    fn sample(x: [usize; 4], weight: [usize; 4], options: Conv2dOptions, direction: Direction) -> Sample {
        let mut rng = Rng::new(1);
        let mut draw = |shape: &[usize], scale: f64| Tensor::randn(shape, DType::F64, &mut rng).scale(scale).unwrap();
        let terms: usize = weight[1..].iter().product();
        let (x, w) = (draw(&x, 1.0), draw(&weight, 1.0 / (terms as f64).sqrt()));
        if direction == Direction::OutToIn {
            let inputs = vec![x, w, draw(&[weight[1] * options.groups], 1.0)];
            return Sample::new(format!("transposed {options:?}"), inputs, move |x| {
                x[0].conv_transpose2d_with(&x[1], Some(&x[2]), options, true, None)
            });
        }
        let residual = draw(x.conv2d(&w, None, options).unwrap().shape(), 1.0);
        let inputs = vec![x, w, draw(&[weight[0]], 1.0), residual];
        Sample::new(format!("{options:?}"), inputs, move |x| {
            let around = Around { gelu_input: true, residual: Some(&x[3]), gelu_output: true, packed: None };
            x[0].conv2d_with(&x[1], Some(&x[2]), options, around)
        })
    }

    /// Maps and weights of more than one tile, for each kernel, with odd ends; in each direction both its own and the other's kernels are used.
    #[test]
    fn larger_maps_agree_with_the_cpu() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        let halved = Conv2dOptions { stride: 2, ..SAME };
        let groups = |groups: usize| Conv2dOptions { groups, ..SAME };
        use Direction::{InToOut, OutToIn};
        for (x, weight, options, direction) in [
            ([1, 32, 20, 33], [64, 32, 3, 3], SAME, InToOut),
            ([2, 32, 20, 33], [72, 32, 3, 3], halved, InToOut),
            ([2, 24, 9, 13], [24, 40, 4, 4], halved, OutToIn),
            ([1, 16, 9, 13], [16, 5, 3, 3], Conv2dOptions { stride: 3, dilation: 2, ..PLAIN }, OutToIn),
            ([1, 16, 7, 8], [16, 70, 2, 3], Conv2dOptions { stride: 4, dilation: 2, ..PLAIN }, OutToIn),
            ([1, 40, 17, 19], [20, 40, 1, 1], PLAIN, InToOut),
            ([1, 3, 31, 37], [32, 3, 3, 3], SAME, InToOut),
            ([1, 32, 31, 37], [3, 32, 3, 3], SAME, InToOut),
            ([1, 17, 21, 15], [13, 17, 5, 2], Conv2dOptions { padding: 2, ..PLAIN }, InToOut),
            ([2, 48, 11, 14], [66, 16, 3, 3], groups(3), InToOut),
            ([2, 48, 11, 14], [96, 16, 3, 3], Conv2dOptions { dilation: 3, ..groups(3) }, InToOut),
            ([2, 48, 23, 24], [48, 1, 3, 3], groups(48), InToOut),
            ([2, 12, 10, 9], [12, 2, 4, 4], Conv2dOptions { stride: 2, ..groups(6) }, OutToIn),
            ([1, 8, 3, 2], [70, 8, 1, 1], Conv2dOptions { stride: 7, ..PLAIN }, InToOut),
        ] {
            let sample = sample(x, weight, options, direction);
            for (dtype, tolerance) in DEVICE_TOLERANCES {
                check_on(&sample, Device::Cuda(0), dtype, tolerance).unwrap();
            }
        }
    }

    /// The tiles for many pixels, which the emulator takes its time for.
    #[test]
    fn maps_of_many_pixels_agree_with_the_cpu() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        for (dtype, tolerance) in DEVICE_TOLERANCES {
            let sample = sample([1, 8, 131, 131], [68, 8, 1, 1], PLAIN, Direction::InToOut);
            check_on(&sample, Device::Cuda(0), dtype, tolerance).unwrap();
        }
    }

    #[test]
    fn maps_without_elements_are_fine() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        for (x, weight, options) in [
            ([0, 3, 5, 5], [4, 3, 3, 3], SAME),
            ([1, 0, 5, 5], [4, 0, 3, 3], SAME),
            ([1, 3, 0, 5], [4, 3, 3, 3], Conv2dOptions { padding: 2, ..PLAIN }),
        ] {
            let sample = sample(x, weight, options, Direction::InToOut);
            check_on(&sample, Device::Cuda(0), DType::F32, 1e-5).unwrap();
        }
        let there = |shape: &[usize]| Tensor::ones(shape, DType::F32).to_device(Device::Cuda(0)).unwrap();
        assert_eq!(there(&[1, 3, 5, 5]).conv2d(&there(&[0, 3, 3, 3]), None, SAME).unwrap().shape(), [1, 0, 5, 5]);
    }

    #[test]
    fn a_sum_is_made_in_the_memory_of_its_residual() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        let mut rng = Rng::new(2);
        for channels in [6, 8] {
            let x = Tensor::randn(&[2, 8, 9, 7], DType::F32, &mut rng);
            let w = Tensor::randn(&[channels, 8, 3, 3], DType::F32, &mut rng);
            let b = Tensor::randn(&[channels], DType::F32, &mut rng);
            let residual = Tensor::randn(&[2, channels, 9, 7], DType::F32, &mut rng);
            let there = |x: &Tensor| x.to_device(Device::Cuda(0)).unwrap();
            let around = Around { gelu_input: true, gelu_output: true, ..Around::default() };
            let expected = x.conv2d_onto(residual.clone(), &w, Some(&b), SAME, around).unwrap().to_f64_vec().unwrap();
            let (onto, w) = (there(&residual), there(&w));
            let packed = PackedWeight::new(&w, SAME).unwrap();
            let (place, around) = (onto.address().unwrap(), Around { packed: Some(&packed), ..around });
            let y = there(&x).conv2d_onto(onto, &w, Some(&there(&b)), SAME, around).unwrap();
            assert_eq!(y.address().unwrap(), place);
            for (y, expected) in y.to_f64_vec().unwrap().iter().zip(expected) {
                assert!((y - expected).abs() < 1e-4, "{y} for {expected}");
            }
        }
    }

    /// As they are for a result that our own kernels did not make.
    #[test]
    fn the_surroundings_alone_are_those_of_a_convolution() {
        let Some(gpu) = crate::cuda::tests::gpu() else { return };
        let mut rng = Rng::new(3);
        for (dtype, tolerance) in DEVICE_TOLERANCES {
            for channels in [5, 16] {
                let mut draw = |shape: &[usize]| Tensor::randn(shape, DType::F64, &mut rng).to_dtype(dtype).unwrap();
                let shape = [2, channels, 9, 7];
                let here = [draw(&shape), draw(&[channels]), draw(&shape), draw(&shape)];
                let there = here.each_ref().map(|x| x.to_device(Device::Cuda(0)).unwrap());
                let [z, bias, residual, slope] = here.map(|x| x.to_dtype(DType::F64).unwrap());
                let before = z.add(&bias.reshape(&[1, channels, 1, 1]).unwrap()).unwrap().add(&residual).unwrap();
                let tape = Tape::new();
                let leaf = tape.leaf(&slope);
                let derivative = tape.backward(&leaf.gelu().unwrap().sum_all().unwrap()).unwrap().take(&leaf).unwrap();
                let expected = before.gelu().unwrap().mul(&derivative).unwrap();
                let [z, bias, residual, slope] = there;
                let (z, residual) = (z.standard().unwrap(), residual.standard().unwrap());
                let kept = Tensor::new_on_gpu(gpu, &shape, dtype).unwrap();
                let around = Surroundings {
                    bias: Some(bias),
                    residual: Some(residual),
                    slope: Some(slope),
                    before: Some(kept.clone()),
                    gelu: true,
                };
                surround(gpu, &z, &z, &around).unwrap();
                for (is, should) in [(kept, before), (z, expected)] {
                    for (x, y) in is.to_f64_vec().unwrap().iter().zip(should.to_f64_vec().unwrap()) {
                        assert!((x - y).abs() <= tolerance * y.abs().max(1.0), "{dtype}: {x} for {y}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_kernels_cannot_count_is_an_error() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        let x = Tensor::ones(&[1, 1, 2, 2], DType::F32).to_device(Device::Cuda(0)).unwrap();
        let message = x.conv2d(&x, None, Conv2dOptions { stride: 1 << 20, ..PLAIN }).unwrap_err().to_string();
        assert!(message.starts_with("conv2d: 1048576 is too large for a GPU kernel"), "{message}");
    }
}
