//! Operations element by element, with broadcasting and any strides: the GPU's counterpart of
//! `ops/map.rs`.

use super::{DeviceView, Gpu, Launch, has_forms};
use crate::loop_nest::{LoopNest, broadcast};
use crate::{Error, Layout, Result};
use kernels::Packable;

/// The same as in `pointwise.cu`.
const RANK: usize = 8;
const INPUTS: usize = 6;

/// A loop nest over strided inputs, innermost dimension first: `Walk` in `pointwise.cu`.
#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C)]
struct Loops {
    count: u32,
    rank: u32,
    sizes: [u32; RANK],
    strides: [[u32; RANK]; INPUTS],
}

/// Copies `x` into `to`, which has its shape and is dense.
pub(crate) fn copy(gpu: &'static Gpu, to: DeviceView<'_>, x: DeviceView<'_>) -> Result<()> {
    pointwise(gpu, kernels::pointwise::COPY, to, &[x], [0.0; 2])
}

/// Applies `kernel` to the elements of `inputs` at each index of `y`, which is dense and may be
/// among the inputs. Every input must broadcast to its shape. `constants` are the
/// parameters of the few kernels that have some: `Constants` in `pointwise.cu`.
pub(crate) fn pointwise(
    gpu: &'static Gpu,
    kernel: Packable,
    y: DeviceView<'_>,
    inputs: &[DeviceView<'_>],
    constants: [f64; 2],
) -> Result<()> {
    let op = kernel.single.name();
    let layouts = broadcast(op, y.layout.shape(), inputs.iter().map(|input| input.layout))?;
    let (dtype, count) = (y.dtype, y.layout.numel());
    if let Some(other) = inputs.iter().find(|input| input.dtype != dtype) {
        return Err(Error::dtype(op, dtype, other.dtype));
    }
    if count == 0 {
        return Ok(());
    }
    // Unused inputs take the output's strides, so that they do not keep dimensions from being
    // merged.
    let operands: [&Layout; INPUTS] = std::array::from_fn(|k| layouts.get(k).unwrap_or(y.layout));
    let rows = LoopNest::new(y.layout, operands);
    let (sizes, strides) = (rows.sizes(), rows.strides());
    let too_large =
        || Error::cuda(op, format!("shape {:?} is too large for a GPU kernel", y.layout.shape()));
    if sizes.len() > RANK || u32::try_from(count).is_err() {
        return Err(too_large());
    }
    let mut loops = Loops {
        count: count as u32,
        rank: sizes.len() as u32,
        sizes: [1; RANK],
        strides: [[0; RANK]; INPUTS],
    };
    for (d, (&size, strides)) in sizes.iter().zip(strides).rev().enumerate() {
        loops.sizes[d] = size as u32;
        for k in 0..inputs.len() {
            loops.strides[k][d] = u32::try_from(strides[k]).map_err(|_| too_large())?;
        }
    }
    let mut addresses = [0u64; INPUTS];
    for (address, (input, layout)) in addresses.iter_mut().zip(inputs.iter().zip(layouts)) {
        *address =
            input.address + ((layout.offset() - input.layout.offset()) * dtype.size()) as u64;
    }
    let to = y.address;
    let pack = 16 / dtype.size();
    let packed = has_forms(dtype)
        && (loops.rank == 1 || (loops.sizes[0] as usize).is_multiple_of(pack))
        && to.is_multiple_of(16)
        && (0..inputs.len()).all(|k| match loops.strides[k][0] {
            0 => true,
            1 => {
                addresses[k] % 16 == 0
                    && loops.strides[k][1..]
                        .iter()
                        .all(|stride| (*stride as usize).is_multiple_of(pack))
            }
            _ => false,
        });
    let (kernel, threads) = match packed {
        true => (kernel.packed, count.div_ceil(pack)),
        false => (kernel.single, count),
    };
    Launch::each(kernel, dtype, threads).run(gpu, &[&to, &addresses, &loops, &constants])
}
