//! The transform and its adjoint, a map at a time: lines by `realfft`, then columns by `rustfft`.
//!
//! The columns are put side by side in between, so that both passes run over contiguous memory.

use crate::cpu::for_each_line;
use crate::memory::filled;
use crate::{Element, Float, Layout, Result, Tensor, dispatch_float};
use realfft::{ComplexToReal, FftNum, RealFftPlanner, RealToComplex};
use rustfft::num_complex::Complex;
use rustfft::{Fft, FftDirection, FftPlanner};
use std::sync::Arc;

/// Why the transforms below cannot fail: their buffers were made for them.
const FITS: &str = "buffers have the lengths of the plan";

/// `[N, C, H, W]` to `[N, C, H, W/2 + 1, 2]`.
pub(super) fn forward(op: &'static str, x: &Tensor) -> Result<Tensor> {
    let [n, c, h, w] = x.dims4(op)?;
    let x = x.row_major()?;
    dispatch_float!(op, x.dtype(), T => {
        let maps: &[T] = x.dense_data(op)?;
        Tensor::try_build(&[n, c, h, w / 2 + 1, 2], |spectra: &mut [T]| {
            let fft = Forward::<T>::new(h, w);
            let scratch = || fft.scratch(fft.lines.get_scratch_len());
            for_each_line(spectra, h * (w / 2 + 1) * 2, scratch, |i, spectrum, scratch| {
                fft.transform(&maps[i * h * w..][..h * w], spectrum, scratch)
            })
        })
    })
}

/// The adjoint: the gradient of a half spectrum to that of the map of shape `shape` it came from.
pub(super) fn adjoint(op: &'static str, dy: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let (h, w) = (shape[2], shape[3]);
    let dy = dy.row_major()?;
    dispatch_float!(op, dy.dtype(), T => {
        let spectra: &[T] = dy.dense_data(op)?;
        let maps = Tensor::try_build_in(Layout::row_major_of(shape), |maps: &mut [T]| {
            let fft = Adjoint::<T>::new(h, w);
            let (scratch, len) =
                (|| fft.scratch(fft.lines.get_scratch_len()), h * (w / 2 + 1) * 2);
            for_each_line(maps, h * w, scratch, |i, map, scratch| {
                fft.transform(&spectra[i * len..][..len], map, scratch)
            })
        })?;
        maps.contiguous()
    })
}

/// A thread's buffers.
struct Scratch<T> {
    /// A line of the map.
    line: Vec<T>,
    /// Its half spectrum.
    half: Vec<Complex<T>>,
    /// The spectrum, column by column.
    columns: Vec<Complex<T>>,
    for_lines: Vec<Complex<T>>,
    for_columns: Vec<Complex<T>>,
}

/// The transforms of the lines of a map, by `L`, and of the columns of its spectrum.
struct Transform<T, L: ?Sized> {
    h: usize,
    w: usize,
    lines: Arc<L>,
    columns: Arc<dyn Fft<T>>,
}

impl<T: FftNum, L: ?Sized> Transform<T, L> {
    /// `for_lines` is the length of the buffer that the transform of a line asks for.
    fn scratch(&self, for_lines: usize) -> Result<Scratch<T>> {
        let complex = |len| filled(Complex::new(T::zero(), T::zero()), len);
        let width = self.w / 2 + 1;
        Ok(Scratch {
            line: filled(T::zero(), self.w)?,
            half: complex(width)?,
            columns: complex(self.h * width)?,
            for_lines: complex(for_lines)?,
            for_columns: complex(self.columns.get_inplace_scratch_len())?,
        })
    }
}

/// From a map to its half spectrum.
type Forward<T> = Transform<T, dyn RealToComplex<T>>;

impl<T: Float + FftNum> Forward<T> {
    fn new(h: usize, w: usize) -> Self {
        let columns = FftPlanner::new().plan_fft(h, FftDirection::Forward);
        Self { h, w, lines: RealFftPlanner::new().plan_fft_forward(w), columns }
    }

    fn transform(&self, map: &[T], spectrum: &mut [T], scratch: &mut Scratch<T>) {
        let Scratch { line, half, columns, for_lines, for_columns } = scratch;
        let (h, width) = (self.h, half.len());
        for (y, source) in map.chunks_exact(self.w).enumerate() {
            line.copy_from_slice(source);
            self.lines.process_with_scratch(line, half, for_lines).expect(FITS);
            half.iter().enumerate().for_each(|(l, value)| columns[l * h + y] = *value);
        }
        self.columns.process_with_scratch(columns, for_columns);
        for (i, out) in spectrum.chunks_exact_mut(2).enumerate() {
            let value = columns[i % width * h + i / width];
            (out[0], out[1]) = (value.re, value.im);
        }
    }
}

/// From the gradient of a half spectrum to that of its map.
type Adjoint<T> = Transform<T, dyn ComplexToReal<T>>;

impl<T: Float + FftNum> Adjoint<T> {
    fn new(h: usize, w: usize) -> Self {
        let columns = FftPlanner::new().plan_fft(h, FftDirection::Inverse);
        Self { h, w, lines: RealFftPlanner::new().plan_fft_inverse(w), columns }
    }

    fn transform(&self, spectrum: &[T], map: &mut [T], scratch: &mut Scratch<T>) {
        let Scratch { half, columns, for_lines, for_columns, .. } = scratch;
        let (h, width) = (self.h, half.len());
        for (i, value) in spectrum.chunks_exact(2).enumerate() {
            columns[i % width * h + i / width] = Complex::new(value[0], value[1]);
        }
        self.columns.process_with_scratch(columns, for_columns);
        for (y, out) in map.chunks_exact_mut(self.w).enumerate() {
            for (l, value) in half.iter_mut().enumerate() {
                let column = columns[l * h + y];
                *value = match is_own_mirror(l, self.w) {
                    // Of these, the imaginary part would cancel against itself.
                    true => Complex::new(column.re, T::default()),
                    false => column.scale(<T as Element>::from_f64(0.5)),
                };
            }
            self.lines.process_with_scratch(half, out, for_lines).expect(FITS);
        }
    }
}

/// Whether column `l` of a spectrum of `w` columns is its own mirror image. All others stand for
/// two.
pub(in crate::ops) fn is_own_mirror(l: usize, w: usize) -> bool {
    l == 0 || 2 * l == w
}
