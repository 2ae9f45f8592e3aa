//! Padding on a GPU.

use super::padding::Padding;
use crate::cuda::{Gpu, Launch, has_forms};
use crate::{Error, Result, Tensor};
use kernels::Packable;
use kernels::region::{PAD_REFLECT, PAD_REFLECT_GRADIENT, PAD_ZEROS};

/// A side of the inner map and its padding, as in `region.cu`.
#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C)]
struct Side {
    before: u32,
    size: u32,
    after: u32,
}

#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C)]
struct Maps {
    count: u32,
    channels: u32,
    height: u32,
    width: u32,
    rows: Side,
    columns: Side,
    strides: [u32; 4],
}

/// `x` with this padding, by reflection or of zeros.
pub(super) fn forward(
    gpu: &'static Gpu,
    op: &'static str,
    (padding, reflect): (Padding, bool),
    x: &Tensor,
) -> Result<Tensor> {
    let [n, c, h, w] = x.dims4(op)?;
    let Padding { top, bottom, left, right } = padding;
    let shape = [n, c, top + h + bottom, left + w + right];
    let kernel = if reflect { PAD_REFLECT } else { PAD_ZEROS };
    launch(gpu, op, padding, kernel, x, shape, [h, w])
}

/// The gradient of an `h`×`w` input.
pub(super) fn backward(
    gpu: &'static Gpu,
    op: &'static str,
    (padding, reflect): (Padding, bool),
    dy: &Tensor,
    [h, w]: [usize; 2],
) -> Result<Tensor> {
    let [n, c, ..] = dy.dims4(op)?;
    if reflect {
        return launch(gpu, op, padding, PAD_REFLECT_GRADIENT, dy, [n, c, h, w], [h, w]);
    }
    Ok(dy.view(dy.layout().slice(2, padding.top, h, 1).slice(3, padding.left, w, 1)))
}

/// Launches `kernel` on `x`, into a new tensor of `shape`, for an inner map of `h`×`w`.
fn launch(
    gpu: &'static Gpu,
    op: &'static str,
    Padding { top, bottom, left, right }: Padding,
    kernel: Packable,
    x: &Tensor,
    shape: [usize; 4],
    [h, w]: [usize; 2],
) -> Result<Tensor> {
    let y = Tensor::new_on_gpu(gpu, &shape, x.dtype())?;
    let number = |number: usize| {
        let refuse = |_| Error::cuda(op, format!("shape {shape:?} is too large for a GPU kernel"));
        u32::try_from(number).map_err(refuse)
    };
    let side = |before, size, after| {
        Ok(Side { before: number(before)?, size: number(size)?, after: number(after)? })
    };
    let mut strides = [0; 4];
    for (to, &stride) in strides.iter_mut().zip(x.layout().strides()) {
        *to = number(stride)?;
    }
    let pack = (16 / x.dtype().size()) as u32;
    let (count, channels) = (crate::cuda::count(op, y.shape())?, number(shape[1])?);
    let packed = has_forms(x.dtype())
        && channels.is_multiple_of(pack)
        && strides[1] == 1
        && [0, 2, 3].iter().all(|&d| strides[d].is_multiple_of(pack))
        && x.address()?.is_multiple_of(16);
    let (kernel, width) = if packed { (kernel.packed, pack) } else { (kernel.single, 1) };
    let maps = Maps {
        count: count / width,
        channels: channels / width,
        height: number(shape[2])?,
        width: number(shape[3])?,
        rows: side(top, h, bottom)?,
        columns: side(left, w, right)?,
        strides,
    };
    let launch = Launch::each(kernel, x.dtype(), maps.count as usize);
    launch.run(gpu, &[&y.address()?, &x.address()?, &maps])?;
    Ok(y)
}

#[cfg(test)]
mod tests {
    use crate::ops::pad::Padding;
    use crate::{DType, Device, Result, Rng, Tape, Tensor};

    /// The value and the gradient of `f` on the CPU and on the GPU, which only move numbers: they
    /// are equal.
    fn same(shape: &[usize], dtype: DType, f: impl Fn(&Tensor) -> Result<Tensor>) {
        // Small whole numbers: their sums are exact in every type.
        let whole = |shape: &[usize], rng: &mut Rng| {
            let numel = shape.iter().product();
            let data: Vec<f64> = (0..numel).map(|_| rng.range(-9.0..9.0).round()).collect();
            Tensor::from_slice(&data, shape).unwrap()
        };
        let run = |device: Device, dtype: DType| {
            let rng = &mut Rng::new(5);
            let put = |x: Tensor| x.to_dtype(dtype).unwrap().to_device(device).unwrap();
            let tape = Tape::new();
            let leaf = tape.leaf(&put(whole(shape, rng)));
            let y = f(&leaf).unwrap();
            let gradients =
                tape.backward_from(&[&y], vec![Some(put(whole(y.shape(), rng)))]).unwrap();
            (y.to_f64_vec().unwrap(), gradients.get(&leaf).unwrap().to_f64_vec().unwrap())
        };
        assert!(
            run(Device::Cuda(0), dtype) == run(Device::Cpu, DType::F64),
            "{shape:?} in {dtype}"
        );
    }

    #[test]
    fn maps_of_any_number_of_channels_and_views_are_padded_sliced_and_joined() {
        let Some(_) = crate::cuda::tests::gpu() else { return };
        let padding = Padding { top: 3, bottom: 1, left: 2, right: 4 };
        for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16] {
            for shape in [[2, 16, 9, 7], [1, 3, 31, 40], [2, 12, 5, 5]] {
                same(&shape, dtype, |x| x.pad_zeros(padding));
                same(&shape, dtype, |x| x.pad_reflect(padding));
                // From the middle of something larger, and in another order.
                same(&shape, dtype, |x| x.narrow(1, 1, 2)?.pad_reflect(padding));
                same(&shape, dtype, |x| x.permute(&[0, 1, 3, 2])?.pad_zeros(padding));
                same(&shape, dtype, |x| x.slice(2, 1, 2, 2)?.square());
                same(&shape, dtype, |x| x.narrow(1, shape[1] / 2, shape[1] / 2)?.square());
                same(&shape, dtype, |x| Tensor::concat(&[x, &x.neg()?, x], 1));
                same(&shape, dtype, |x| Tensor::concat(&[x, &x.neg()?], 3));
                same(&shape, dtype, |x| Tensor::concat(&[&x.narrow(1, 0, 1)?, x], 1));
            }
            same(&[1, 2, 2, 2], dtype, |x| x.pad_reflect(Padding::all(1)));
            same(&[3, 0, 4, 4], dtype, |x| x.pad_zeros(padding));
            same(&[1, 8, 0, 4], dtype, |x| x.pad_zeros(padding));
        }
    }
}
