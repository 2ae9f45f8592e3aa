//! From a [`Photo`] to the samples that a format holds.

use ::image::{ExtendedColorType, ImageEncoder};
use rayon::prelude::*;

use super::format::Format;
use crate::image::profile::chunks::Chunk;
use crate::image::{Depth, Note, Photo, Rows};

/// The samples as the file will hold them.
pub(super) struct FileSamples {
    pub width: u32,
    pub height: u32,
    /// 1 gray, 2 gray and alpha, 3 color, 4 color and alpha.
    pub channels: u8,
    pub depth: Depth,
    /// Native byte order.
    pub bytes: Vec<u8>,
    /// The profile to write, if it describes the samples.
    pub icc: Option<Vec<u8>>,
    /// What else a PNG file says about the colors.
    pub chunks: Vec<Chunk>,
}

impl FileSamples {
    /// Rounds the photo to the samples that `format` can hold, and notes the losses.
    pub fn new(photo: &Photo, format: Format, notes: &mut Vec<Note>) -> Result<Self, String> {
        let (width, height) = size(photo)?;
        let gray = format.is_gray(photo);
        if format == Format::Pgm && !gray {
            return Err("a .pgm file holds gray images only, but the photo is in color; use .ppm \
                        or .png"
                .into());
        }
        let depth = format.depth(photo);
        if depth != photo.depth {
            notes.push(Note::FewerBits { from: photo.depth.bits(), to: depth.bits() });
        }
        let has_alpha = photo.alpha.is_some() && format.has_alpha();
        let over_white = !has_alpha && photo.is_transparent();
        notes.extend(over_white.then_some(Note::OverWhite));

        // A gray profile does not apply to a gray photo that has to be written in color.
        let profile = photo.profile.as_ref();
        let kept = profile.filter(|_| format.has_profile() && gray == photo.gray);
        let lost = kept.is_none() && profile.is_some_and(|profile| profile.converts());
        notes.extend(lost.then_some(Note::ConvertedToSrgb));
        let encoding = kept.and_then(|profile| profile.encoding(photo.gray));

        let channels = if gray { 1 } else { 3 } + u8::from(has_alpha);
        let pixels = &photo.pixels;
        let row_bytes = pixels.width * usize::from(channels) * usize::from(depth.bits() / 8);
        let mut bytes = vec![0; row_bytes * pixels.height];
        let alpha = photo.alpha.as_deref();
        bytes.par_chunks_exact_mut(row_bytes).enumerate().for_each(|(y, out)| {
            let mut row = pixels.row(y);
            if let Some(encoding) = &encoding {
                encoding.apply(pixels, y, row.to_mut());
            }
            let mut at = 0;
            let mut push = |value: f32| match depth {
                // A cast from float limits to the range of the integer; NaN gives 0.
                Depth::Eight => {
                    out[at] = (value * 255.0).round() as u8;
                    at += 1;
                }
                Depth::Sixteen => {
                    let sample = ((value * 65535.0).round() as u16).to_ne_bytes();
                    out[at..at + 2].copy_from_slice(&sample);
                    at += 2;
                }
            };
            for (x, pixel) in row.chunks_exact(3).enumerate() {
                let opacity = alpha.map_or(1.0, |alpha| alpha[y * pixels.width + x]);
                let over = |v: f32| if over_white { v * opacity + 1.0 - opacity } else { v };
                let [r, g, b] = [over(pixel[0]), over(pixel[1]), over(pixel[2])];
                if !gray {
                    [r, g, b].into_iter().for_each(&mut push);
                } else if r == g && g == b {
                    push(r);
                } else {
                    push(0.299 * r + 0.587 * g + 0.114 * b);
                }
                if has_alpha {
                    push(opacity);
                }
            }
        });
        let in_png = format == Format::Png;
        let icc = kept.filter(|profile| !profile.icc.is_empty() && (profile.in_file || !in_png));
        let icc = icc.map(|profile| profile.icc.clone());
        let chunks = kept.filter(|_| in_png).map(|profile| profile.chunks.clone());
        let chunks = chunks.unwrap_or_default();
        Ok(Self { width, height, channels, depth, bytes, icc, chunks })
    }

    /// Gives the samples to an encoder.
    pub fn write(&self, mut encoder: impl ImageEncoder) -> Result<(), String> {
        use ExtendedColorType as Color;
        let color = match (self.depth, self.channels) {
            (Depth::Eight, 1) => Color::L8,
            (Depth::Eight, 2) => Color::La8,
            (Depth::Eight, 3) => Color::Rgb8,
            (Depth::Eight, _) => Color::Rgba8,
            (Depth::Sixteen, 1) => Color::L16,
            (Depth::Sixteen, 2) => Color::La16,
            (Depth::Sixteen, 3) => Color::Rgb16,
            (Depth::Sixteen, _) => Color::Rgba16,
        };
        if let Some(icc) = &self.icc {
            encoder.set_icc_profile(icc.clone()).map_err(|error| error.to_string())?;
        }
        encoder
            .write_image(&self.bytes, self.width, self.height, color)
            .map_err(|error| format!("cannot write: {error}"))
    }
}

fn size(photo: &Photo) -> Result<(u32, u32), String> {
    let (width, height) = photo.sides();
    let count = width * height;
    let alpha_len = photo.alpha.as_ref().map_or(count, Vec::len);
    if count == 0 || alpha_len != count {
        return Err(format!("an image of {width}x{height} pixels cannot be written"));
    }
    let side =
        |side| u32::try_from(side).map_err(|_| format!("a side of {side} pixels is too long"));
    Ok((side(width)?, side(height)?))
}
