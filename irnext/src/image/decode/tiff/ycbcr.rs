//! YCbCr in TIFF files: luma and two differences, which several pixels may share.

use std::io::{BufRead, Seek};

use ::tiff::decoder::Decoder;
use ::tiff::decoder::ifd::Value;
use ::tiff::tags::Tag;

/// How YCbCr becomes RGB.
#[derive(Clone, Copy, Debug)]
pub(super) struct YCbCr {
    /// The parts of red, green and blue in luma.
    luma: [f64; 3],
    /// Black and white of luma, and zero and the largest value of each difference; of 255.
    range: [f64; 6],
}

impl YCbCr {
    /// JPEG's, which is also what TIFF files mean that say nothing.
    pub const FULL: Self =
        Self { luma: [0.299, 0.587, 0.114], range: [0.0, 255.0, 128.0, 255.0, 128.0, 255.0] };

    pub fn read<R: BufRead + Seek>(decoder: &mut Decoder<R>, is_jpeg: bool) -> Self {
        let mut read = Self::FULL;
        if is_jpeg {
            return read;
        }
        let is_part = |value: &f64| (0.001..1.0).contains(value);
        match ratios(decoder, 529)[..] {
            [r, g, b] if [r, g, b].iter().all(is_part) => read.luma = [r, g, b],
            _ => {}
        }
        match ratios(decoder, 532)[..] {
            [a, b, c, d, e, f] if b > a && d > c && f > e => read.range = [a, b, c, d, e, f],
            _ => {}
        }
        read
    }

    /// From samples from 0 to 1 to colors from 0 to 1.
    pub fn to_rgb(self, samples: [f64; 3]) -> [f64; 3] {
        let [red, green, blue] = self.luma;
        let [black, white, cb_zero, cb_most, cr_zero, cr_most] = self.range;
        let y = (255.0 * samples[0] - black) / (white - black);
        let part = |value: f64, zero: f64, most: f64| {
            // 127 steps of 255 are the largest difference.
            (255.0 * value - zero) / (most - zero) * 127.0 / 255.0
        };
        let (cb, cr) = (part(samples[1], cb_zero, cb_most), part(samples[2], cr_zero, cr_most));
        let (r, b) = (y + cr * (2.0 - 2.0 * red), y + cb * (2.0 - 2.0 * blue));
        [r, (y - blue * b - red * r) / green, b].map(|value| value.clamp(0.0, 1.0))
    }
}

/// Samples for each pixel, of groups that have the lumas of `across` times `down` pixels and then
/// the differences that these share. `row` is a row of groups; `place` is called with column, line
/// in the group, and the three samples.
pub(super) fn ungroup(
    row: &[u8],
    (across, down): (usize, usize),
    mut place: impl FnMut(usize, usize, [u8; 3]),
) {
    for (i, group) in row.chunks_exact(across * down + 2).enumerate() {
        let (lumas, differences) = group.split_at(across * down);
        for (j, &luma) in lumas.iter().enumerate() {
            place(i * across + j % across, j / across, [luma, differences[0], differences[1]]);
        }
    }
}

/// The ratios of a field; none if it is missing or damaged.
fn ratios<R: BufRead + Seek>(decoder: &mut Decoder<R>, tag: u16) -> Vec<f64> {
    let number = |value: Value| match value {
        Value::Rational(above, below) => Some(f64::from(above) / f64::from(below)),
        value => value.into_u32().ok().map(f64::from),
    };
    match decoder.get_tag(Tag::from_u16_exhaustive(tag)) {
        Ok(Value::List(values)) => values.into_iter().filter_map(number).collect(),
        _ => Vec::new(),
    }
}
