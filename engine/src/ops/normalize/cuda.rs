//! Normalization on a GPU. The statistics are f64, as on the CPU; the numbers per channel that
//! follow from them are computed in f64.
//!
//! Each pass, forward and backward, reads the map twice: once for its sums, once to write.

use super::statistics::{Normalize, Statistics};
use crate::cuda::{Gpu, Launch, THREADS, computed_in, has_forms, width};
use crate::{DType, Error, Result, Tensor};
use kernels::normalize::*;
use kernels::{Kernel, Packable};

/// The kernels' loop over `[groups, rows, channels]`, as in `normalize.cu`.
#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C)]
struct Maps {
    groups: u32,
    rows: u32,
    channels: u32,
    lanes: u32,
    blocks: u32,
    piece: u32,
}

/// How a launch iterates over maps: in packs of channels if possible, and over how many pieces.
#[derive(Clone, Copy)]
struct MapLoop {
    maps: Maps,
    packed: bool,
    pieces: u32,
}

/// Rows that a thread takes where it sums, and where it writes; and how many blocks keep any GPU
/// busy.
const SUMMED: u32 = 32;
const WRITTEN: u32 = 8;
const BLOCKS: u32 = 512;

impl MapLoop {
    /// For maps like `x`, which is contiguous, in `groups` groups, to sum them (`sum`) or to write
    /// others. `x` and `others` are the maps that are read and written.
    fn new(
        op: &'static str,
        x: &Tensor,
        groups: usize,
        others: &[&Tensor],
        sum: bool,
    ) -> Result<Self> {
        let [n, c, h, w] = x.dims4(op)?;
        if x.numel() > i32::MAX as usize {
            return Err(Error::cuda(
                op,
                format!("shape {:?} is too large for a GPU kernel", x.shape()),
            ));
        }
        // None of these is larger than the number of elements, unless that is 0.
        let [groups, rows, channels] =
            [groups, n / groups.max(1) * h * w, c].map(|size| size as u32);
        let pack = (16 / x.dtype().size()) as u32;
        let mut packed = has_forms(x.dtype())
            && channels.is_multiple_of(pack)
            && x.address()?.is_multiple_of(16);
        for other in others {
            packed &= other.address()?.is_multiple_of(16);
        }
        let (channels, least) = if packed { (channels / pack, 4) } else { (channels, 16) };
        let lanes = rows.max(1).next_power_of_two().min(THREADS / width(channels, least));
        let blocks = channels.div_ceil(THREADS / lanes).max(1);
        let pieces = match sum {
            true => rows.div_ceil(lanes * SUMMED).min((BLOCKS / blocks / groups.max(1)).max(1)),
            false => rows.div_ceil(lanes * WRITTEN).min(1 << 15),
        };
        let piece = rows.div_ceil(pieces.max(1)).next_multiple_of(lanes).max(1);
        let pieces = rows.div_ceil(piece).max(1);
        Ok(Self { maps: Maps { groups, rows, channels, lanes, blocks, piece }, packed, pieces })
    }

    /// Launches `kernel`, whose last parameter is [`Maps`], on `arguments`.
    fn launch(
        &self,
        gpu: &'static Gpu,
        kernel: Packable,
        dtype: DType,
        arguments: &[&dyn crate::cuda::Argument],
    ) -> Result<()> {
        let kernel = if self.packed { kernel.packed } else { kernel.single };
        let Maps { groups, blocks, .. } = self.maps;
        let arguments: Vec<_> =
            arguments.iter().copied().chain([&self.maps as &dyn crate::cuda::Argument]).collect();
        let grid = [groups as usize * blocks as usize, self.pieces as usize, 1];
        Launch::blocks(kernel, dtype, grid).run(gpu, &arguments)
    }

    /// Memory for two sums per number for each piece.
    fn partial(&self, gpu: &'static Gpu, numbers: usize) -> Result<Tensor> {
        Tensor::new_on_gpu(gpu, &[2, self.pieces as usize, numbers], DType::F64)
    }
}

/// The launch that adds up the pieces of `numbers` numbers.
fn finish(kernel: Kernel, dtype: DType, numbers: usize) -> Launch {
    Launch::blocks(kernel, dtype, [numbers.div_ceil(THREADS as usize / 32), 1, 1])
}

/// Means and biased variances of `x`, contiguous, whose images fall into `groups` groups.
pub(super) fn statistics(
    gpu: &'static Gpu,
    op: &'static str,
    x: &Tensor,
    groups: usize,
) -> Result<Statistics> {
    let shape = [groups, x.shape()[1]];
    let [mean, var] = [
        Tensor::new_on_gpu(gpu, &shape, DType::F64)?,
        Tensor::new_on_gpu(gpu, &shape, DType::F64)?,
    ];
    if x.numel() > 0 {
        let map_loop = MapLoop::new(op, x, groups, &[], true)?;
        let partial = map_loop.partial(gpu, mean.numel())?;
        let (partial, from) = (partial.address()?, x.address()?);
        map_loop.launch(gpu, NORMALIZE_STATISTICS, x.dtype(), &[&partial, &from])?;
        let maps = Maps { channels: shape[1] as u32, ..map_loop.maps };
        finish(NORMALIZE_FINISH_STATISTICS, x.dtype(), mean.numel()).run(
            gpu,
            &[&mean.address()?, &var.address()?, &partial, &from, &map_loop.pieces, &maps],
        )?;
    }
    Ok(Statistics { mean, var })
}

pub(super) fn forward(
    gpu: &'static Gpu,
    normalize: &Normalize,
    op: &'static str,
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
) -> Result<Tensor> {
    let y = Tensor::new_on_gpu(gpu, x.shape(), x.dtype())?;
    let Statistics { mean, var } = &normalize.statistics;
    let (weight, bias) = (weight.contiguous()?, bias.contiguous()?);
    let numbers = Tensor::new_on_gpu(gpu, &[3, mean.numel()], computed_in(x.dtype()))?;
    let [groups, channels] = [normalize.statistics.groups(), x.shape()[1]].map(|size| size as u32);
    Launch::each(NORMALIZE_NUMBERS, x.dtype(), mean.numel()).run(
        gpu,
        &[
            &numbers.address()?,
            &mean.address()?,
            &var.address()?,
            &weight.address()?,
            &bias.address()?,
            &normalize.eps,
            &groups,
            &channels,
        ],
    )?;
    write(gpu, op, NORMALIZE_MAPS, &y, &[x], &numbers, normalize.statistics.groups())?;
    Ok(y)
}

/// Launches `kernel` of `inputs` and the numbers of each channel, into `y`; all maps are
/// contiguous.
fn write(
    gpu: &'static Gpu,
    op: &'static str,
    kernel: Packable,
    y: &Tensor,
    inputs: &[&Tensor],
    numbers: &Tensor,
    groups: usize,
) -> Result<()> {
    let map_loop = MapLoop::new(op, y, groups, inputs, false)?;
    let mut addresses = vec![y.address()?];
    for input in inputs.iter().chain([&numbers]) {
        addresses.push(input.address()?);
    }
    let arguments: Vec<_> =
        addresses.iter().map(|address| address as &dyn crate::cuda::Argument).collect();
    map_loop.launch(gpu, kernel, y.dtype(), &arguments)
}

pub(super) fn backward(
    gpu: &'static Gpu,
    normalize: &Normalize,
    op: &'static str,
    (x, weight): (Option<&Tensor>, Option<&Tensor>),
    dy: &Tensor,
    need: &[bool],
) -> Result<Vec<Option<Tensor>>> {
    let (dtype, groups) = (dy.dtype(), normalize.statistics.groups());
    let [wants_x, wants_weight, wants_bias] = [weight.is_some(), need[1], need[2]];
    let channels = [dy.shape()[1]];
    let Statistics { mean, var } = &normalize.statistics;
    let weight = weight.map(|weight| weight.contiguous()).transpose()?;
    let address = |tensor: Option<&Tensor>| tensor.map_or(Ok(0), Tensor::address);

    let sums = Tensor::new_on_gpu(gpu, &[2, mean.numel()], DType::F64)?;
    // Constants for statistics, and no gradient but that of x: nothing to sum.
    if x.is_some() || wants_bias {
        let map_loop = MapLoop::new(op, dy, groups, x.as_slice(), true)?;
        let partial = map_loop.partial(gpu, mean.numel())?;
        let (partial, means) = (partial.address()?, mean.address()?);
        map_loop.launch(
            gpu,
            NORMALIZE_SUMS,
            dtype,
            &[&partial, &dy.address()?, &address(x)?, &means],
        )?;
        let numbers = mean.numel() as u32;
        finish(NORMALIZE_FINISH_SUMS, dtype, mean.numel())
            .run(gpu, &[&sums.address()?, &partial, &means, &map_loop.pieces, &numbers])?;
    }

    let new = |shape: &[usize], dtype: DType, wanted: bool| {
        wanted.then(|| Tensor::new_on_gpu(gpu, shape, dtype)).transpose()
    };
    let numbers = new(&[4, mean.numel()], computed_in(dtype), wants_x)?;
    let (d_weight, d_bias) =
        (new(&channels, dtype, wants_weight)?, new(&channels, dtype, wants_bias)?);
    let through = normalize.of_input && x.is_some();
    let count = if through { (dy.numel() / mean.numel()) as u32 } else { 0 };
    let launch = |numbers: u64, [d_weight, d_bias]: [u64; 2], sums: &Tensor, count: u32| {
        Launch::each(NORMALIZE_GRADIENT_NUMBERS, dtype, channels[0]).run(
            gpu,
            &[
                &numbers,
                &d_weight,
                &d_bias,
                &sums.address()?,
                &mean.address()?,
                &var.address()?,
                &address(weight.as_ref())?,
                &normalize.eps,
                &count,
                &(groups as u32),
                &(channels[0] as u32),
            ],
        )
    };
    let of_parameters = [address(d_weight.as_ref())?, address(d_bias.as_ref())?];
    match &normalize.whole {
        // The sums over all parts are for dx alone.
        Some(whole) if through && wants_x => {
            let count = u32::try_from(whole.count as u64)
                .map_err(|_| Error::cuda(op, "the batch is too large for a GPU kernel"))?;
            launch(0, of_parameters, &sums, 0)?;
            launch(address(numbers.as_ref())?, [0, 0], &whole.sums_on_gpu(&sums)?, count)?;
        }
        _ => launch(address(numbers.as_ref())?, of_parameters, &sums, count)?,
    }
    let dx = new(dy.shape(), dtype, wants_x)?;
    if let (Some(dx), Some(numbers)) = (&dx, &numbers) {
        match x.filter(|_| through) {
            Some(x) => write(gpu, op, NORMALIZE_MAPS_GRADIENT, dx, &[dy, x], numbers, groups)?,
            // Without slope and constant, dx = (dy − 0)·a + 0.
            None => write(gpu, op, NORMALIZE_MAPS, dx, &[dy], numbers, groups)?,
        }
    }
    Ok(vec![dx, d_weight, d_bias])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::tests::there;
    use crate::ops::normalize::tests::check_each_gradient_alone;
    use crate::{Rng, Tape};

    /// The largest difference, relative to the largest number.
    fn distance(y: &Tensor, expected: &Tensor) -> f64 {
        assert_eq!(y.shape(), expected.shape());
        let (y, expected) = (y.to_f64_vec().unwrap(), expected.to_f64_vec().unwrap());
        let largest = expected.iter().fold(1e-3, |m, e| f64::max(m, e.abs()));
        y.iter().zip(&expected).fold(0.0, |m, (y, e)| {
            if (y - e).is_nan() { f64::NAN } else { f64::max(m, (y - e).abs() / largest) }
        })
    }

    #[test]
    fn maps_of_many_pieces_packed_or_not_agree_with_the_cpu() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        for (i, shape) in [[2, 32, 70, 60], [3, 3, 61, 53], [2, 48, 9, 11], [2, 100, 5, 7]]
            .into_iter()
            .enumerate()
        {
            for (dtype, tolerance) in
                [(DType::F64, 1e-11), (DType::F32, 2e-5), (DType::F16, 2e-3), (DType::BF16, 1.5e-2)]
            {
                let rng = &mut Rng::new(i as u64);
                let mut draw = |shape: &[usize], shift: f64| {
                    Tensor::randn(shape, DType::F64, rng)
                        .unwrap()
                        .affine(1.0, shift)
                        .unwrap()
                        .to_dtype(dtype)
                        .unwrap()
                };
                let channels = [shape[1]];
                let inputs = [draw(&shape, 0.5), draw(&channels, 1.0), draw(&channels, 0.0)];
                let dy = draw(&shape, 0.1);
                let run = |inputs: [Tensor; 3], dy: Tensor, instance: bool| {
                    let tape = Tape::new();
                    let x = inputs.map(|input| tape.leaf(&input));
                    let y = match instance {
                        true => x[0].instance_norm(&x[1], &x[2], 1e-3).unwrap(),
                        false => x[0].batch_norm_train(&x[1], &x[2], 1e-3).unwrap().0,
                    };
                    let gradients = tape.backward_from(&[&y], vec![Some(dy)]).unwrap();
                    let mut all = vec![y.detach()];
                    all.extend(x.iter().map(|x| gradients.get(x).unwrap().clone()));
                    all
                };
                for instance in [false, true] {
                    let expected = run(
                        inputs.clone().map(|x| x.to_dtype(DType::F64).unwrap()),
                        dy.to_dtype(DType::F64).unwrap(),
                        instance,
                    );
                    let found = run(inputs.clone().map(|x| there(&x)), there(&dy), instance);
                    for (k, (y, expected)) in found.iter().zip(&expected).enumerate() {
                        let far = distance(y, expected);
                        assert!(
                            far <= tolerance,
                            "{shape:?} in {dtype}, instance {instance}, result {k}: {far:e}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_large_mean_and_a_first_pixel_that_is_far_off_cost_no_precision() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        for channels in [3, 4] {
            let x = Tensor::randn(&[2, channels, 40, 40], DType::F32, &mut Rng::new(1))
                .unwrap()
                .affine(1.0, 4096.0)
                .unwrap();
            let mut data = x.to_vec::<f32>().unwrap();
            data[0] = 5096.0;
            let x = Tensor::from_slice(&data, x.shape()).unwrap();
            let (one, zero) = (
                Tensor::ones(&[channels], DType::F32).unwrap(),
                Tensor::zeros(&[channels], DType::F32).unwrap(),
            );
            let run = |x: &Tensor, one: &Tensor, zero: &Tensor| {
                x.batch_norm_train(one, zero, 1e-5).unwrap()
            };
            let (y, found) = run(&there(&x), &there(&one), &there(&zero));
            let wide = [&x, &one, &zero].map(|x| x.to_dtype(DType::F64).unwrap());
            let (exact, expected) = run(&wide[0], &wide[1], &wide[2]);
            assert!(distance(&found.mean, &expected.mean) < 1e-7);
            let far = distance(&found.var, &expected.var);
            assert!(far < 1e-5, "{far:e}");
            let others = |var: &Tensor| var.narrow(0, 1, channels - 1).unwrap();
            assert!(distance(&others(&found.var), &others(&expected.var)) < 3e-7);
            assert!(distance(&y, &exact) < 1e-5);
            assert!(
                distance(
                    &y.narrow(1, 1, channels - 1).unwrap(),
                    &exact.narrow(1, 1, channels - 1).unwrap()
                ) < 3e-7
            );
        }
    }

    #[test]
    fn a_skipped_gradient_does_not_change_the_others() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        let x = there(&Tensor::randn(&[3, 8, 5, 3], DType::F64, &mut Rng::new(2)).unwrap());
        let (weight, bias) = (
            there(&Tensor::ones(&[8], DType::F64).unwrap()),
            there(&Tensor::zeros(&[8], DType::F64).unwrap()),
        );
        check_each_gradient_alone(&[x, weight, bias]);
    }

    #[test]
    fn an_empty_batch_is_accepted() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        let (x, one) = (
            there(&Tensor::zeros(&[0, 1, 3, 3], DType::F32).unwrap()),
            there(&Tensor::ones(&[1], DType::F32).unwrap()),
        );
        assert_eq!(x.instance_norm(&one, &one, 1e-5).unwrap().shape(), [0, 1, 3, 3]);
    }
}
