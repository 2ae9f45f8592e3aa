//! Linear maps by tables, on a GPU: see `resample.cu`. The tables stay there, each from its
//! first use on.

use super::{AxisTable, Resampled};
use crate::cuda::{Gpu, Launch, has_forms};
use crate::{DType, Result, Tensor};
use kernels::resample::RESAMPLED;

/// The same as in `resample.cu`.
const PARTS: usize = 4;

#[derive(Clone, Copy, Default, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C)]
struct Part {
    source: u64,
    /// The addresses of weights and of outputs.
    rows: [u64; 2],
    cols: [u64; 2],
    height: u32,
    width: u32,
}

#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C)]
struct Parts {
    count: u32,
    padding: u32,
    at: [Part; PARTS],
}

/// `rows` along H and `cols` along W of `x` `[N, C, H, W]`.
pub(super) fn resample(
    gpu: &'static Gpu,
    op: &'static str,
    x: &Tensor,
    rows: &AxisTable,
    cols: &AxisTable,
) -> Result<Tensor> {
    let [n, c, ..] = x.dims4(op)?;
    let y = Tensor::new_on_gpu(gpu, &[n, c, rows.len(), cols.len()], x.dtype())?;
    launch_sums(gpu, op, &y, None, None, &[Resampled { x, rows, cols }], false)?;
    Ok(y)
}

/// `x` plus `parts`, each resampled to its size, and the GELU of that if `gelu`; with the sum as
/// well if `save`.
pub(in crate::ops) fn add_resampled(
    gpu: &'static Gpu,
    op: &'static str,
    x: &Tensor,
    parts: &[Resampled<'_>],
    gelu: bool,
    save: bool,
) -> Result<(Tensor, Option<Tensor>)> {
    let new = || Tensor::new_on_gpu(gpu, x.shape(), x.dtype());
    let (y, sum) = (new()?, save.then(new).transpose()?);
    launch_sums(gpu, op, &y, sum.as_ref(), Some(&x.contiguous()?), parts, gelu)?;
    Ok((y, sum))
}

/// The same in the memory of `x`, which nothing else holds.
pub(in crate::ops) fn add_resampled_in_place(
    gpu: &'static Gpu,
    op: &'static str,
    x: &Tensor,
    parts: &[Resampled<'_>],
    gelu: bool,
) -> Result<()> {
    launch_sums(gpu, op, x, None, Some(x), parts, gelu)
}

/// `start`, which may be `y` itself, plus `parts`: into `y`; the sum before a GELU goes into
/// `pre_activation`.
fn launch_sums(
    gpu: &'static Gpu,
    op: &'static str,
    y: &Tensor,
    pre_activation: Option<&Tensor>,
    start: Option<&Tensor>,
    parts: &[Resampled<'_>],
    gelu: bool,
) -> Result<()> {
    let [n, c, height, width] = y.dims4(op)?;
    crate::cuda::count(op, y.shape())?;
    let (dtype, pack) = (y.dtype(), 16 / y.dtype().size());
    let address = |map: Option<&Tensor>| map.map_or(Ok(0), Tensor::address);
    let (to, mut start) = (y.address()?, address(start)?);
    // As many parts as a launch takes at a time; all but the first add to the result.
    let count = parts.len().div_ceil(PARTS);
    for (i, parts) in parts.chunks(PARTS).enumerate() {
        let sources = parts.iter().map(|part| part.x.contiguous()).collect::<Result<Vec<_>>>()?;
        let mut table =
            Parts { count: parts.len() as u32, padding: 0, at: [Part::default(); PARTS] };
        for (entry, (part, source)) in table.at.iter_mut().zip(parts.iter().zip(&sources)) {
            crate::cuda::count(op, source.shape())?;
            *entry = Part {
                source: source.address()?,
                rows: on_the_gpu(gpu, part.rows, dtype)?,
                cols: on_the_gpu(gpu, part.cols, dtype)?,
                height: source.shape()[2] as u32,
                width: source.shape()[3] as u32,
            };
        }
        let last = i + 1 == count;
        let before = if last { address(pre_activation)? } else { 0 };
        let packed = has_forms(dtype)
            && c.is_multiple_of(pack)
            && [to, before, start]
                .into_iter()
                .chain(table.at.map(|part| part.source))
                .all(|address| address % 16 == 0);
        let (kernel, lanes) = if packed { (RESAMPLED.packed, pack) } else { (RESAMPLED.single, 1) };
        let output = [n, c, height, width].map(|size| size as u32);
        let gelu = u32::from(gelu && last);
        Launch::each(kernel, dtype, y.numel() / lanes)
            .run(gpu, &[&to, &before, &start, &table, &output, &gelu])?;
        start = to;
    }
    Ok(())
}

/// The addresses of the table's weights, in the type that kernels for `dtype` compute in, and of
/// its outputs.
fn on_the_gpu(gpu: &'static Gpu, axis: &AxisTable, dtype: DType) -> Result<[u64; 2]> {
    let weights: Vec<u8> = match dtype {
        DType::F64 => axis.weights().iter().flat_map(|weight| weight.to_ne_bytes()).collect(),
        _ => axis.weights().iter().flat_map(|&weight| (weight as f32).to_ne_bytes()).collect(),
    };
    let outputs = axis
        .outputs()
        .iter()
        .flat_map(|&(first, start)| [first, start].map(|number| number as u32));
    let table: Vec<u8> =
        weights.iter().copied().chain(outputs.flat_map(u32::to_ne_bytes)).collect();
    let address = gpu.constant(&table)?;
    Ok([address, address + weights.len() as u64])
}

#[cfg(test)]
mod tests {
    use crate::cuda::tests::there;
    use crate::ops::resize::AddBilinear;
    use crate::ops::{apply, dyn_op};
    use crate::{DType, Rng, Tensor};

    fn assert_close(there: &Tensor, here: &Tensor, tolerance: f64) {
        assert_eq!(there.meta(), here.meta());
        for (a, b) in there.to_f64_vec().unwrap().iter().zip(here.to_f64_vec().unwrap()) {
            assert!((a - b).abs() <= tolerance, "{a} for {b}");
        }
    }

    #[test]
    fn long_runs_of_weights_are_summed_with_and_without_packs() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        let mut rng = Rng::new(1);
        for (dtype, tolerance) in [(DType::F64, 1e-14), (DType::F32, 1e-6)] {
            for channels in [1, 3, 4, 20] {
                let x = Tensor::randn(&[2, channels, 37, 29], dtype, &mut rng).unwrap();
                let maps: [fn(&Tensor) -> Tensor; 5] = [
                    |x| x.avg_pool2d(7, 5).unwrap(),
                    |x| x.adaptive_avg_pool2d(1, 3).unwrap(),
                    |x| x.bilinear(80, 33, true).unwrap(),
                    |x| x.bilinear(5, 64, false).unwrap(),
                    |x| x.nearest(12, 70).unwrap(),
                ];
                for map in maps {
                    let run = |x: &Tensor| {
                        let tape = crate::Tape::new();
                        let x = tape.leaf(x);
                        let y = map(&x);
                        let mut gradients =
                            tape.backward_from(&[&y], vec![Some(y.detach())]).unwrap();
                        [y.detach(), gradients.take(&x).unwrap()]
                    };
                    let (found, expected) = (run(&there(&x)), run(&x));
                    found
                        .iter()
                        .zip(&expected)
                        .for_each(|(a, b)| assert_close(a, b, 40.0 * tolerance));
                }
            }
        }
    }

    #[test]
    fn sums_of_many_maps_are_made_in_place_where_nobody_else_sees() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        let mut rng = Rng::new(2);
        for channels in [3, 8] {
            let mut map = |h, w| Tensor::randn(&[2, channels, h, w], DType::F64, &mut rng).unwrap();
            let (x, others) = (
                map(11, 12),
                [map(1, 2), map(2, 3), map(4, 6), map(11, 12), map(3, 1), map(20, 2)],
            );
            for count in [1, 4, 5, 6] {
                let others: Vec<&Tensor> = others[..count].iter().collect();
                let there_too: Vec<Tensor> = others.iter().map(|map| there(map)).collect();
                let there_too: Vec<&Tensor> = there_too.iter().collect();
                let op = |gelu| AddBilinear::new(true).with_gelu().filter(|_| gelu);
                let op = |gelu| op(gelu).unwrap_or(AddBilinear::new(true));
                let add = |x: Tensor, others: &[&Tensor], gelu| {
                    let out = x.meta();
                    let others = others.iter().map(|&other| other.clone());
                    let inputs = std::iter::once(x).chain(others).collect();
                    dyn_op(op(gelu)).compute(inputs, &[out]).unwrap().swap_remove(0)
                };
                let expected = add(x.clone(), &others, false);
                let own = there(&x);
                let (address, held) = (own.address().unwrap(), own.clone());
                let sum = add(held.clone(), &there_too, false);
                assert_ne!(sum.address().unwrap(), address);
                assert_close(&sum, &expected, 1e-13);
                drop(held);
                let sum = add(own, &there_too, true);
                assert_eq!(sum.address().unwrap(), address);
                assert_close(&sum, &expected.gelu().unwrap(), 1e-13);
            }
        }
    }

    #[test]
    fn no_images_or_channels_are_no_trouble() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        for shape in [[0, 3, 4, 4], [2, 0, 4, 4]] {
            let x = there(&Tensor::ones(&shape, DType::F32).unwrap());
            for y in [
                x.avg_pool2d(2, 2),
                x.max_pool2d(2, 2),
                x.bilinear(2, 2, true),
                apply(AddBilinear::new(true), &[&x, &x]),
            ] {
                assert!(y.unwrap().to_f64_vec().unwrap().is_empty());
            }
        }
    }
}
