//! Padding of the last two dimensions, with zeros or by reflection.
//!
//! Along each side a padding is a list, for every output index, of the input indices whose values
//! add up to it: one index, or none for a zero. The adjoint is the same kernel with the lists
//! transposed: an input index gets the gradients of all the outputs that it went into.

mod cuda;
mod padding;
#[cfg(any(test, feature = "checks"))]
pub(super) mod samples;

use super::{Op, apply};
use crate::cpu::for_each_piece;
use crate::simd::{Kernel, vectorize};
use crate::{Error, Float, Meta, Result, Tensor, dispatch_float};
pub use padding::Padding;

impl Tensor {
    /// `[.., H, W]` with zeros around it: `[.., top + H + bottom, left + W + right]`.
    ///
    /// ```
    /// use engine::{Padding, Tensor};
    /// let x = Tensor::from_slice(&[1.0, 2.0], &[1, 2])?;
    /// let y = x.pad_zeros(Padding { top: 1, left: 1, ..Padding::default() })?;
    /// assert_eq!((y.shape(), y.to_f64_vec()?), (&[2, 3][..], vec![0.0, 0.0, 0.0, 0.0, 1.0, 2.0]));
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn pad_zeros(&self, padding: Padding) -> Result<Tensor> {
        self.pad(Pad::<false>(padding))
    }

    /// `[.., H, W]` mirrored at its border, which is not repeated: `c b | a b c | b a`.
    ///
    /// ```
    /// use engine::{Padding, Tensor};
    /// let x = Tensor::from_slice(&[1.0, 2.0, 3.0], &[1, 3])?;
    /// let y = x.pad_reflect(Padding { left: 2, right: 1, ..Padding::default() })?;
    /// assert_eq!(y.to_f64_vec()?, [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// If a padding is not smaller than the side it mirrors.
    pub fn pad_reflect(&self, padding: Padding) -> Result<Tensor> {
        self.pad(Pad::<true>(padding))
    }

    /// The kernel takes `[N, C, H, W]`; other ranks are seen as that.
    fn pad<const REFLECT: bool>(&self, pad: Pad<REFLECT>) -> Result<Tensor> {
        let rank = self.rank();
        if rank < 2 {
            return Err(Error::shape(
                Pad::<REFLECT>::NAME,
                format!("expected [.., H, W], got shape {:?}", self.shape()),
            ));
        }
        if rank == 4 {
            return apply(pad, &[self]);
        }
        let (lead, sides) = self.shape().split_at(rank - 2);
        let padded =
            apply(pad, &[&self.reshape(&[lead.iter().product(), 1, sides[0], sides[1]])?])?;
        padded.reshape(&[lead, &padded.shape()[2..]].concat())
    }
}

/// Padding by reflection, or with zeros.
#[derive(Debug)]
pub(crate) struct Pad<const REFLECT: bool>(pub(crate) Padding);

impl<const REFLECT: bool> Pad<REFLECT> {
    /// The lists for the rows and for the columns of an `h`×`w` input.
    fn lists(&self, h: usize, w: usize) -> Result<[Lists; 2]> {
        let Padding { top, bottom, left, right } = self.0;
        let lists = match REFLECT {
            true => Lists::reflect,
            false => Lists::zeros,
        };
        Ok([lists(top, h, bottom)?, lists(left, w, right)?])
    }
}

impl<const REFLECT: bool> Op for Pad<REFLECT> {
    const NAME: &'static str = if REFLECT { "pad_reflect" } else { "pad_zeros" };
    type Saved = ();

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        crate::dispatch::require_compute(Self::NAME, inputs[0].dtype)?;
        let mut meta = inputs[0].clone();
        let Padding { top, bottom, left, right } = self.0;
        for (side, before, after) in [(2, top, bottom), (3, left, right)] {
            let size = meta.shape[side];
            if REFLECT && before.max(after) >= size.max(1) {
                let message = format!(
                    "padding {before} and {after} must be smaller than the side {size} it mirrors"
                );
                return Err(Error::shape(Self::NAME, message));
            }
            let padded = size.checked_add(before).and_then(|sum| sum.checked_add(after));
            meta.shape[side] = padded.ok_or_else(|| {
                Error::shape(Self::NAME, format!("padding {before} and {after} is too large"))
            })?;
        }
        Ok(meta)
    }

    fn forward(&self, x: &[&Tensor], _: &Meta, _: &[bool]) -> Result<(Tensor, ())> {
        let x = x[0];
        let [_, _, h, w] = x.dims4(Self::NAME)?;
        let on_cpu = || {
            let [rows, columns] = self.lists(h, w)?;
            gather(Self::NAME, x, &rows, &columns)
        };
        Ok((x.on_device(on_cpu, |gpu| cuda::forward(gpu, Self::NAME, (self.0, REFLECT), x))?, ()))
    }

    fn backward(&self, (): (), dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let [_, _, h, w] = dy.dims4(Self::NAME)?;
        let Padding { top, bottom, left, right } = self.0;
        let (h, w) = (h - top - bottom, w - left - right);
        let on_cpu = || {
            let [rows, columns] = self.lists(h, w)?;
            gather(Self::NAME, dy, &rows.turned(h)?, &columns.turned(w)?)
        };
        Ok(vec![Some(dy.on_device(on_cpu, |gpu| {
            cuda::backward(gpu, Self::NAME, (self.0, REFLECT), dy, [h, w])
        })?)])
    }

    fn settings(&self) -> Option<String> {
        Some(format!("{self:?}"))
    }
}

/// For each output index along one side, the input indices that add up to it.
struct Lists(Vec<Vec<usize>>);

impl Lists {
    fn zeros(before: usize, size: usize, after: usize) -> Result<Self> {
        let inside = |i: usize| i.checked_sub(before).filter(|&i| i < size);
        Self::of(before + size + after, |i| inside(i).into_iter().collect())
    }

    /// `before` and `after` must be smaller than `size`.
    fn reflect(before: usize, size: usize, after: usize) -> Result<Self> {
        let mirrored = |i: usize| match i.abs_diff(before) {
            inside if inside < size => inside,
            beyond => 2 * (size - 1) - beyond,
        };
        Self::of(before + size + after, |i| vec![mirrored(i)])
    }

    /// The `list` of each of `count` output indices.
    fn of(count: usize, list: impl Fn(usize) -> Vec<usize>) -> Result<Self> {
        let mut lists = Vec::new();
        crate::memory::reserve(&mut lists, count)?;
        lists.extend((0..count).map(list));
        Ok(Self(lists))
    }

    /// For each of `size` input indices, the outputs that it went into.
    fn turned(&self, size: usize) -> Result<Self> {
        let mut turned = crate::memory::filled(Vec::new(), size)?;
        for (output, inputs) in self.0.iter().enumerate() {
            inputs.iter().for_each(|&input| turned[input].push(output));
        }
        Ok(Self(turned))
    }
}

/// out[n, c, h, w] = Σ x[n, c, i, j] over i in `rows[h]` and j in `columns[w]`, in that order.
fn gather(op: &'static str, x: &Tensor, rows: &Lists, columns: &Lists) -> Result<Tensor> {
    let [n, channels, _, _] = x.dims4(op)?;
    let shape = [n, channels, rows.0.len(), columns.0.len()];
    let line = shape[3] * channels;
    dispatch_float!(op, x.dtype(), T => Tensor::build(&shape, |out: &mut [T]| {
        if out.is_empty() {
            return;
        }
        for_each_piece(out, line, &|index, out| {
            vectorize(
                Line {
                    out,
                    x,
                    image: index / shape[2],
                    rows: &rows.0[index % shape[2]],
                    columns: &columns.0,
                    channels,
                }
            );
        });
    }))
}

/// One line of an output: its pixels, each of `channels` neighboring elements.
struct Line<'a, T> {
    out: &'a mut [T],
    x: &'a Tensor,
    image: usize,
    rows: &'a [usize],
    columns: &'a [Vec<usize>],
    channels: usize,
}

impl<T: Float> Kernel for Line<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { out, x, image, rows, columns, channels } = self;
        let (source, strides) = (x.raw::<T>(), x.layout().strides());
        let start = x.layout().offset() + image * strides[0];
        for (pixel, columns) in out.chunks_exact_mut(channels).zip(columns) {
            let sources = rows
                .iter()
                .flat_map(|i| columns.iter().map(move |j| start + i * strides[2] + j * strides[3]));
            let mut empty = true;
            for at in sources {
                match (std::mem::take(&mut empty), strides[1]) {
                    (true, 1) => pixel.copy_from_slice(&source[at..at + channels]),
                    (true, step) => (0..channels).for_each(|c| pixel[c] = source[at + c * step]),
                    (false, step) => (0..channels).for_each(|c| pixel[c] += source[at + c * step]),
                }
            }
            if empty {
                pixel.fill(T::zero());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Tape};

    fn row(values: &[f64]) -> Tensor {
        Tensor::from_slice(values, &[1, values.len()]).unwrap()
    }

    #[test]
    fn zeros_go_around() {
        let padding = Padding { top: 1, bottom: 0, left: 1, right: 2 };
        let y = row(&[1.0, 2.0]).pad_zeros(padding).unwrap();
        assert_eq!(
            (y.shape(), y.to_f64_vec().unwrap()),
            (&[2, 5][..], vec![0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0])
        );
    }

    #[test]
    fn reflection_does_not_repeat_the_border() {
        let y = row(&[1.0, 2.0, 3.0])
            .pad_reflect(Padding { left: 2, right: 2, ..Padding::default() })
            .unwrap();
        assert_eq!(y.to_f64_vec().unwrap(), [3.0, 2.0, 1.0, 2.0, 3.0, 2.0, 1.0]);
        let map = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0], &[1, 1, 2, 2]).unwrap();
        let y = map.pad_reflect(Padding { top: 1, ..Padding::default() }).unwrap();
        assert_eq!(y.to_f64_vec().unwrap(), [3.0, 4.0, 1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn a_mirrored_element_gets_the_gradient_of_every_copy() {
        let tape = Tape::new();
        let x = tape.leaf(&row(&[1.0, 2.0, 3.0]));
        let y = x.pad_reflect(Padding { left: 2, right: 1, ..Padding::default() }).unwrap();
        let dy = row(&[1.0, 10.0, 100.0, 1e3, 1e4, 1e5]);
        let gradients = tape.backward_from(&[&y], vec![Some(dy)]).unwrap();
        // The copies of 1, 2, 3 are at 2, at 1, 3 and 5, and at 0 and 4.
        assert_eq!(gradients.get(&x).unwrap().to_f64_vec().unwrap(), [100.0, 101_010.0, 10_001.0]);
    }

    #[test]
    fn sizes_are_named() {
        let x = Tensor::zeros(&[1, 1, 4, 3], DType::F32).unwrap();
        let message = x.pad_reflect(Padding::all(3)).unwrap_err().to_string();
        assert_eq!(
            message,
            "pad_reflect: padding 3 and 3 must be smaller than the side 3 it mirrors"
        );
        assert_eq!(x.pad_reflect(Padding::all(2)).unwrap().shape(), [1, 1, 8, 7]);
        let message = Tensor::zeros(&[3], DType::F32)
            .unwrap()
            .pad_zeros(Padding::all(1))
            .unwrap_err()
            .to_string();
        assert_eq!(message, "pad_zeros: expected [.., H, W], got shape [3]");
        assert!(x.pad_zeros(Padding::all(usize::MAX)).is_err());
        assert!(
            Tensor::zeros(&[1, 1, 0, 3], DType::F32)
                .unwrap()
                .pad_reflect(Padding::default())
                .is_ok()
        );
    }
}
