//! Copies into a part of a larger tensor: the GPU's counterpart of `write_region`.

use super::{DeviceView, Gpu, Launch, has_forms};
use crate::loop_nest::LoopNest;
use crate::{Error, Layout, Result};

/// The same as in `region.cu`.
const RANK: usize = 8;

#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C)]
struct Region {
    count: u32,
    rank: u32,
    sizes: [u32; RANK],
    to: [u32; RANK],
    from: [u32; RANK],
}

/// Copies `x` into the part of `to`'s storage that `region`, of the shape of `x`, describes.
pub(crate) fn copy_region(
    gpu: &'static Gpu,
    op: &'static str,
    to: DeviceView<'_>,
    region: &Layout,
    x: DeviceView<'_>,
) -> Result<()> {
    if region.numel() == 0 {
        return Ok(());
    }
    let too_large =
        || Error::cuda(op, format!("shape {:?} is too large for a GPU kernel", to.layout.shape()));
    let rows = LoopNest::new(region, [region, x.layout]);
    let (sizes, strides) = (rows.sizes(), rows.strides());
    let reach = |which: usize| {
        sizes.iter().zip(strides).map(|(size, strides)| (size - 1) * strides[which]).sum::<usize>()
    };
    let number = |number: usize| u32::try_from(number).map_err(|_| too_large());
    if sizes.len() > RANK || reach(0).max(reach(1)) > u32::MAX as usize {
        return Err(too_large());
    }
    let (count, rank) = (number(region.numel())?, sizes.len() as u32);
    let mut arguments = Region { count, rank, sizes: [1; RANK], to: [0; RANK], from: [0; RANK] };
    for (d, (&size, &[to, from])) in sizes.iter().zip(strides).rev().enumerate() {
        (arguments.sizes[d], arguments.to[d], arguments.from[d]) =
            (number(size)?, number(to)?, number(from)?);
    }
    let size = to.dtype.size();
    let addresses =
        [to.address + ((region.offset() - to.layout.offset()) * size) as u64, x.address];
    let pack = (16 / size) as u32;
    let whole = |strides: &[u32; RANK]| {
        strides[0] == 1 && strides[1..].iter().all(|stride| stride.is_multiple_of(pack))
    };
    let packed = has_forms(to.dtype)
        && arguments.sizes[0].is_multiple_of(pack)
        && whole(&arguments.to)
        && whole(&arguments.from)
        && addresses.iter().all(|address| address.is_multiple_of(16));
    if packed {
        (arguments.count, arguments.sizes[0]) = (count / pack, arguments.sizes[0] / pack);
        (arguments.to[0], arguments.from[0]) = (pack, pack);
    }
    let kernel = match packed {
        true => kernels::region::COPY_REGION.packed,
        false => kernels::region::COPY_REGION.single,
    };
    let launch = Launch::each(kernel, to.dtype, arguments.count as usize);
    launch.run(gpu, &[&addresses[0], &addresses[1], &arguments])
}
