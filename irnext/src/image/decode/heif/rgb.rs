//! From luma and differences of color to RGB.
//!
//! The matrices are those of ITU-T H.273. Halved color is enlarged by bilinear interpolation, its
//! samples in the middle of the pixels that share them, so that the nearer of two counts 3/4.

use ::image::DynamicImage;
use rayon::prelude::*;

use super::super::samples::{eight_bits, sixteen_bits};
use super::container::Nclx;
use super::frame::Frame;
use super::hdr::ToneMapping;

/// The matrix of files whose planes are green, blue and red.
pub(super) const IDENTITY: u16 = 0;

/// How three planes make colors.
#[derive(Clone, Copy)]
enum Matrix {
    Identity,
    /// The shares of red and blue in luma.
    Shares(f32, f32),
    /// Sums and differences: green and orange.
    YCgCo,
}

impl Matrix {
    fn of(number: u16) -> Option<Self> {
        Some(match number {
            IDENTITY => Self::Identity,
            1 => Self::Shares(0.2126, 0.0722),
            // A file that tells none has that of most files, as for libavif.
            2 | 5 | 6 => Self::Shares(0.299, 0.114),
            4 => Self::Shares(0.3, 0.11),
            7 => Self::Shares(0.212, 0.087),
            8 => Self::YCgCo,
            9 => Self::Shares(0.2627, 0.0593),
            _ => return None,
        })
    }

    /// Red, green and blue of luma, 0 to 1, and differences, -1/2 to 1/2.
    fn rgb(self, y: f32, cb: f32, cr: f32) -> [f32; 3] {
        match self {
            Self::Identity => [cr, y, cb],
            Self::Shares(red, blue) => {
                let (r, b) = (y + 2.0 * (1.0 - red) * cr, y + 2.0 * (1.0 - blue) * cb);
                [r, (y - red * r - blue * b) / (1.0 - red - blue), b]
            }
            Self::YCgCo => [y - cb + cr, y + cb, y - cb - cr],
        }
    }
}

/// The least and the greatest number of a plane, as a start and a scale.
#[derive(Clone, Copy)]
struct Range {
    start: f32,
    scale: f32,
}

impl Range {
    fn of(self, sample: f32) -> f32 {
        (sample - self.start) * self.scale
    }

    /// Of luma, of opacity, and of each plane of an identity.
    fn luma(bits: u32, is_full: bool) -> Self {
        let step = (1 << (bits - 8)) as f32;
        let (start, len) = match is_full {
            true => (0.0, ((1 << bits) - 1) as f32),
            false => (16.0 * step, 219.0 * step),
        };
        Self { start, scale: 1.0 / len }
    }

    fn color(bits: u32, is_full: bool) -> Self {
        let len = if is_full { ((1 << bits) - 1) as f32 } else { (224 << (bits - 8)) as f32 };
        Self { start: (1 << (bits - 1)) as f32, scale: 1.0 / len }
    }
}

/// The pixels, in 8 bits or, of more, in 16, mapped to sRGB if they are of high dynamic range;
/// `None` if the matrix is a rare one.
pub(super) fn pixels(
    colors: &Frame,
    alpha: Option<(&Frame, bool)>,
    nclx: Nclx,
    hdr: Option<ToneMapping>,
) -> Option<DynamicImage> {
    let matrix = Matrix::of(nclx.matrix)?;
    if matches!((matrix, colors.halved), (Matrix::Identity, Some((true, _)))) {
        return None;
    }
    let has_color = colors.halved.is_some();
    let channels = if has_color { 3 } else { 1 } + usize::from(alpha.is_some());
    let luma = Range::luma(colors.bits, nclx.is_full);
    let color = match matrix {
        Matrix::Identity => luma,
        _ => Range::color(colors.bits, nclx.is_full),
    };
    let width = colors.width;
    let fill = |y: usize, row: &mut [f32]| {
        let samples = &colors.planes[0][y * width..][..width];
        for (pixel, &sample) in row.chunks_exact_mut(channels).zip(samples) {
            pixel[0] = luma.of(sample.into());
        }
        if has_color {
            let (cb, cr) = (Halved::new(colors, 1, y), Halved::new(colors, 2, y));
            for (x, pixel) in row.chunks_exact_mut(channels).enumerate() {
                let (cb, cr) = (color.of(cb.at(x)), color.of(cr.at(x)));
                let rgb = matrix.rgb(pixel[0], cb, cr);
                pixel[..3].copy_from_slice(&rgb);
            }
        }
        let Some((alpha, is_multiplied)) = alpha else { return };
        let range = Range::luma(alpha.bits, alpha.nclx.is_full);
        let samples = &alpha.planes[0][y * width..][..width];
        for (pixel, &sample) in row.chunks_exact_mut(channels).zip(samples) {
            let opacity = range.of(sample.into()).clamp(0.0, 1.0);
            pixel[channels - 1] = opacity;
            if is_multiplied && opacity > 0.0 {
                pixel[..channels - 1].iter_mut().for_each(|color| *color /= opacity);
            }
        }
    };
    let size = (width as u32, colors.height as u32);
    let len = width * channels;
    let hdr = hdr.map(|hdr| {
        let rows = (0..colors.height).into_par_iter();
        let peaks = rows.map_init(
            || vec![0.0; len],
            |row, y| {
                fill(y, row);
                hdr.peak(row, channels)
            },
        );
        hdr.with_peak(peaks.reduce(|| 0.0, f32::max))
    });
    let fill = |y: usize, row: &mut [f32]| {
        fill(y, row);
        if let Some(hdr) = &hdr {
            hdr.apply(row, channels);
        }
    };
    if colors.bits == 8 {
        let quantized = |value: f32| (value.clamp(0.0, 1.0) * 255.0).round() as u8;
        eight_bits(rows(len, colors.height, fill, quantized), channels, size)
    } else {
        let quantized = |value: f32| (value.clamp(0.0, 1.0) * 65535.0).round() as u16;
        sixteen_bits(rows(len, colors.height, fill, quantized), channels, size)
    }
}

/// All rows of `len` values.
fn rows<T: Clone + Default + Send>(
    len: usize,
    height: usize,
    fill: impl Fn(usize, &mut [f32]) + Sync,
    quantized: impl Fn(f32) -> T + Sync,
) -> Vec<T> {
    let mut all = vec![T::default(); len * height];
    all.par_chunks_exact_mut(len).enumerate().for_each_init(
        || vec![0.0; len],
        |row, (y, out)| {
            fill(y, row);
            out.iter_mut().zip(row).for_each(|(out, value)| *out = quantized(*value));
        },
    );
    all
}

/// A row of a plane of color, enlarged if the plane is halved.
struct Halved<'a> {
    near: &'a [u16],
    /// The row beside it that counts 1/4.
    far: &'a [u16],
    across: bool,
}

impl<'a> Halved<'a> {
    fn new(frame: &'a Frame, plane: usize, y: usize) -> Self {
        let (width, height) = frame.plane_size(plane);
        let (across, down) = frame.halved.unwrap_or_default();
        let (near, far) = if down { beside(y, height) } else { (y, y) };
        let row = |y: usize| &frame.planes[plane][y * width..][..width];
        Self { near: row(near), far: row(far), across }
    }

    fn at(&self, x: usize) -> f32 {
        let column = |x: usize| 0.75 * f32::from(self.near[x]) + 0.25 * f32::from(self.far[x]);
        if !self.across {
            return column(x);
        }
        let (near, far) = beside(x, self.near.len());
        0.75 * column(near) + 0.25 * column(far)
    }
}

/// The sample that pixel `i` shares, and the one on its other side; of `len`.
fn beside(i: usize, len: usize) -> (usize, usize) {
    let near = i / 2;
    let far = if i.is_multiple_of(2) { near.saturating_sub(1) } else { (near + 1).min(len - 1) };
    (near, far)
}
