//! A convolution's weights, packed in the order in which its algorithm reads them.

use super::algorithm::{Algorithm, choose};
use super::shapes::{as_map, check_settings};
use crate::conv::{Conv2dOptions, Direction, Epilogue};
use crate::cpu::convolution::direct::{self, DirectWeights, Geometry, Phase, Stencil};
use crate::cpu::convolution::winograd::{self, WinogradWeights};
use crate::cpu::convolution::{Map, Read};
use crate::cpu::for_each_piece;
use crate::cpu::gelu::Gelu;
use crate::{Error, Float, Meta, Result, Tensor, dispatch_float};
use std::any::Any;
use std::sync::Arc;

/// A convolution's weight, packed once for any number of convolutions. Clones share it. On a GPU
/// the weight is used as it is, and this holds nothing.
#[derive(Clone)]
pub(crate) struct PackedWeight {
    made_of: Meta,
    direction: Direction,
    options: Conv2dOptions,
    packed: Packed,
}

/// A [`Prepared`] of the weight's dtype; `()` on a GPU.
type Packed = Arc<dyn Any + Send + Sync>;

impl PackedWeight {
    /// Packs `weight` `[O, I/groups, kH, kW]` for convolutions with these options. An error if it
    /// has other than four dimensions, is of a type that its device does not compute in, or an
    /// option is 0.
    pub(crate) fn new(weight: &Tensor, options: Conv2dOptions) -> Result<Self> {
        Self::for_direction("conv2d", Direction::InToOut, weight, options)
    }

    /// Packs `weight` `[I, O/groups, kH, kW]` for transposed convolutions with these options. Same
    /// errors as [`Self::new`].
    pub(crate) fn transposed(weight: &Tensor, options: Conv2dOptions) -> Result<Self> {
        Self::for_direction("conv_transpose2d", Direction::OutToIn, weight, options)
    }

    fn for_direction(
        op: &'static str,
        direction: Direction,
        weight: &Tensor,
        options: Conv2dOptions,
    ) -> Result<Self> {
        let made_of = weight.meta();
        let &[.., kh, kw] = as_map(op, &made_of)?;
        check_settings(op, options, [kh, kw])?;
        let on_cpu = || {
            dispatch_float!(op, weight.dtype(), T => {
                let packed: Packed = Arc::new(Prepared::<T>::new(direction, options, weight)?);
                Ok(packed)
            })
        };
        let packed = weight.on_device(on_cpu, |_| {
            crate::dispatch::require_compute(op, weight.dtype())?;
            Ok(Arc::new(()))
        })?;
        Ok(Self { made_of, direction, options, packed })
    }

    /// An error if this cannot stand for such a weight in a convolution, or its transpose, with
    /// these options.
    pub(in crate::ops) fn check(
        &self,
        op: &'static str,
        direction: Direction,
        weight: &Meta,
        options: Conv2dOptions,
    ) -> Result<()> {
        match self.made_of == *weight && self.direction == direction && self.options == options {
            true => Ok(()),
            false => Err(Error::shape(
                op,
                "the packed weight is from another weight or for other options",
            )),
        }
    }

    pub(super) fn get<T: Float>(&self) -> Option<&Prepared<T>> {
        self.packed.downcast_ref()
    }
}

/// The algorithm of a convolution, or its transpose, with the weights packed for it.
pub(super) enum Prepared<T> {
    Direct { stencil: Stencil, weights: DirectWeights<T> },
    Winograd { weights: WinogradWeights, padding: isize },
}

impl<T: Gelu> Prepared<T> {
    /// Packs `weight` `[O, I/groups, kH, kW]`.
    pub(super) fn new(
        direction: Direction,
        options: Conv2dOptions,
        weight: &Tensor,
    ) -> Result<Self> {
        let groups = options.groups;
        let (o, i) = (weight.shape()[0] / groups, weight.shape()[1]);
        let (kw, strides, offset) =
            (weight.shape()[3], weight.layout().strides(), weight.layout().offset());
        let data = weight.raw::<T>();
        let at = |g: usize, e: usize, i: usize, out: usize| {
            data[offset
                + (g * o + out) * strides[0]
                + i * strides[1]
                + e / kw * strides[2]
                + e % kw * strides[3]]
        };
        let geometry = geometry(options, weight.shape());
        let c_in = match direction {
            Direction::InToOut => i,
            Direction::OutToIn => o,
        };
        Ok(match (direction, choose(direction, geometry.kernel, options, c_in)) {
            (Direction::InToOut, Algorithm::Winograd) => {
                let weights = WinogradWeights::new(1, i, o, |_, e, i, o| at(0, e, i, o))?;
                Self::Winograd { weights, padding: options.padding as isize }
            }
            (Direction::OutToIn, Algorithm::Winograd) => {
                let stencil = Stencil::adjoint(geometry);
                let ((first, _), _) = stencil.reach();
                // Where each element of a phase's 3×3 kernel is in the weight; nowhere if it is
                // zero.
                let element = |phase: &Phase, e: usize| {
                    let tap = (first + (e / 3) as isize, first + (e % 3) as isize);
                    phase.taps.iter().position(|&at| at == tap).map(|tap| phase.elements[tap])
                };
                let elements: Vec<[Option<usize>; 9]> = stencil
                    .phases
                    .iter()
                    .map(|phase| std::array::from_fn(|e| element(phase, e)))
                    .collect();
                let weights =
                    WinogradWeights::new(stencil.out_step, o, i, |phase, e, from, to| {
                        elements[phase][e].map_or(T::zero(), |e| at(0, e, to, from))
                    })?;
                Self::Winograd { weights, padding: -first }
            }
            (Direction::InToOut, Algorithm::Direct) => {
                let stencil = Stencil::forward(geometry);
                let weights = DirectWeights::new(&stencil, groups, i, o, at)?;
                Self::Direct { stencil, weights }
            }
            (Direction::OutToIn, Algorithm::Direct) => {
                let stencil = Stencil::adjoint(geometry);
                let weights = DirectWeights::new(&stencil, groups, o, i, |g, e, from, to| {
                    at(g, e, to, from)
                })?;
                Self::Direct { stencil, weights }
            }
        })
    }

    /// Convolves `x` into `out`, the memory of a map of `size` (height, width), or `onto` the
    /// numbers there.
    pub(super) fn convolve(
        &self,
        x: Map<'_, T>,
        out: &mut [T],
        size: (usize, usize),
        epilogue: Epilogue<&[T]>,
        onto: bool,
    ) -> Result<()> {
        match self {
            Self::Direct { stencil, weights } => {
                direct::correlate(stencil, x, weights, out, size, epilogue, onto)
            }
            Self::Winograd { weights, padding } => {
                winograd::convolve(x, weights, *padding, out, size, epilogue, onto)
            }
        }
    }
}

/// Σ over pixels of `x`, with `read` applied, at each kernel element times `dy`, as a weight of
/// `shape` `[channels of dy, channels of x / groups, kH, kW]`.
pub(super) fn weight_sums<T: Float>(
    options: Conv2dOptions,
    x: &Tensor,
    dy: &Tensor,
    shape: &[usize],
    read: Option<Read<T>>,
) -> Result<Tensor> {
    let (x, dy) = (x.contiguous()?, dy.contiguous()?);
    let (x, dy) = (as_channels_last(&x)?, as_channels_last(&dy)?);
    let geometry = geometry(options, shape);
    let sums = match choose(Direction::InToOut, geometry.kernel, options, x.c.min(dy.c)) {
        Algorithm::Direct => {
            direct::weight_gradient(&Stencil::forward(geometry), x, dy, options.groups, read)?
        }
        Algorithm::Winograd => winograd::weight_gradient(x, dy, options.padding as isize, read)?,
    };
    let (o, i, taps) = (shape[0] / options.groups, shape[1], shape[2] * shape[3]);
    let sums = sums.as_slice::<T>();
    // From [group][tap][in][out] to the weight's memory order, [group·out][tap][in], some output
    // channels at a time.
    Tensor::build(shape, |out: &mut [T]| {
        let together =
            (1..=T::BLOCK).rev().find(|channels| o.is_multiple_of(*channels)).unwrap_or(1);
        for_each_piece(out, together * taps * i, &|block, out| {
            let (group, first) = (block * together / o, block * together % o);
            for (row, sums) in
                sums[group * taps * i * o..].chunks_exact(o).take(taps * i).enumerate()
            {
                for (channel, sum) in sums[first..first + together].iter().enumerate() {
                    out[channel * taps * i + row] = *sum;
                }
            }
        });
    })
}

fn geometry(options: Conv2dOptions, weight: &[usize]) -> Geometry {
    let Conv2dOptions { stride, padding, dilation, .. } = options;
    Geometry { kernel: (weight[2], weight[3]), stride, padding, dilation }
}

pub(super) fn as_channels_last<T: Float>(x: &Tensor) -> Result<Map<'_, T>> {
    let [n, c, h, w] = x.dims4("conv2d")?;
    Ok(Map { data: x.dense_data("conv2d")?, n, h, w, c })
}
