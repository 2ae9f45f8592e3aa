//! HEVC data, by the system's `libheif`.

use libheif_rs::{
    ColorSpace, DecodingOptions, HeifContext, HeifError, HeifErrorCode, Image, LibHeif, Plane,
};

use super::super::decoded::{Result, check_size, damaged};
use super::container::{Container, Nclx};
use super::frame::Frame;
use super::rgb::IDENTITY;
use crate::image::FileKind;
use crate::image::photo::Limits;

/// The picture in a file, as it is coded, and its opacities.
pub(super) fn frames(
    file: &[u8],
    container: &Container<'_>,
    limits: &Limits,
) -> Result<(Frame, Option<Frame>)> {
    let image = decode(file, ColorSpace::Undefined).map_err(|error| reason(&error, container))?;
    check_size((image.width(), image.height()), limits)?;
    frames_of(&image, container)
}

/// The picture, not yet turned or cropped, which is the same for all kinds of files.
fn decode(file: &[u8], colors: ColorSpace) -> libheif_rs::Result<Image> {
    let library = LibHeif::new_checked()?;
    let context = HeifContext::read_from_bytes(file)?;
    let mut options = DecodingOptions::new();
    options.iter_mut().for_each(|options| options.set_ignore_transformations(true));
    library.decode(&context.primary_image_handle()?, colors, options)
}

fn frames_of(image: &Image, container: &Container<'_>) -> Result<(Frame, Option<Frame>)> {
    // As the library itself does, where nothing is told.
    let full = Nclx { is_full: true, ..Nclx::UNSPECIFIED };
    let nclx = image.color_profile_nclx().map_or(full, |colors| Nclx {
        primaries: colors.color_primaries() as u16,
        curve: colors.transfer_characteristics() as u16,
        matrix: colors.matrix_coefficients() as u16,
        is_full: colors.full_range_flag() != 0,
    });
    let nclx = container.nclx().unwrap_or(nclx);
    let planes = image.planes();
    let alpha = planes.a.map(|plane| frame(&[plane], full));
    let colors = match (planes.y, planes.g, planes.b, planes.r) {
        // Version 1.15 makes RGB of all colors, others may leave them as they are coded.
        (None, Some(g), Some(b), Some(r)) => {
            frame(&[g, b, r], Nclx { matrix: IDENTITY, is_full: true, ..nclx })
        }
        (luma, ..) => {
            let planes = [luma, planes.cb, planes.cr].into_iter().flatten();
            frame(&planes.collect::<Vec<_>>(), nclx)
        }
    };
    let colors = colors.ok_or_else(|| container.refusal())?;
    match alpha {
        Some(None) => Err(container.refusal()),
        alpha => Ok((colors, alpha.flatten())),
    }
}

/// One plane or three; `None` if they are of a sort that AV1 has not, either.
fn frame(planes: &[Plane<&[u8]>], nclx: Nclx) -> Option<Frame> {
    let luma = planes.first()?;
    let (width, height) = (luma.width as usize, luma.height as usize);
    let sizes = |plane: &Plane<&[u8]>| (plane.width as usize, plane.height as usize);
    let halved = match planes {
        [_] => None,
        [_, cb, _] => Some((sizes(cb).0 < width, sizes(cb).1 < height)),
        _ => return None,
    };
    let bits = u32::from(luma.bits_per_pixel);
    let mut frame = Frame { width, height, bits, halved, planes: Vec::new(), nclx };
    if !(8..=16).contains(&bits) {
        return None;
    }
    for (i, plane) in planes.iter().enumerate() {
        let (width, height) = frame.plane_size(i);
        if sizes(plane) != (width, height) || u32::from(plane.bits_per_pixel) != bits {
            return None;
        }
        let bytes = if plane.storage_bits_per_pixel > 8 { 2 } else { 1 };
        let mut samples = Vec::with_capacity(width * height);
        for row in plane.data.chunks(plane.stride.max(1)).take(height) {
            let row = row.get(..bytes * width)?;
            match bytes {
                1 => samples.extend(row.iter().map(|&sample| u16::from(sample))),
                _ => samples.extend(row.as_chunks().0.iter().map(|&pair| u16::from_ne_bytes(pair))),
            }
        }
        if samples.len() != width * height {
            return None;
        }
        frame.planes.push(samples);
    }
    Some(frame)
}

/// The library's error in words.
fn reason(error: &HeifError, container: &Container<'_>) -> String {
    match error.code {
        HeifErrorCode::UnsupportedFileType
        | HeifErrorCode::UnsupportedFeature
        | HeifErrorCode::DecoderPluginError => container.refusal(),
        HeifErrorCode::MemoryAllocationError => "takes too much memory to decode".into(),
        _ => damaged(FileKind::Heic),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::decode::heif::rgb;
    use crate::image::io::sample;
    use libheif_rs::Chroma;

    /// The same colors, whether the library makes RGB of them or leaves that to us.
    #[test]
    fn colors_are_taken_as_rgb_or_as_they_are_coded() {
        for (name, chroma, most) in [
            ("plain-444", Chroma::C444, 1),
            ("plain-422", Chroma::C422, 5),
            ("plain-420", Chroma::C420, 5),
        ] {
            let file = sample::bytes(&format!("heic/{name}.heic"));
            let container = Container::read(&file, FileKind::Heic).unwrap();
            let [ours, theirs] = [ColorSpace::YCbCr(chroma), ColorSpace::Undefined].map(|colors| {
                let image = decode(&file, colors).unwrap();
                let (frame, _) = frames_of(&image, &container).unwrap();
                (
                    frame.nclx.matrix,
                    rgb::pixels(&frame, None, frame.nclx, None).unwrap().into_rgb8(),
                )
            });
            assert_ne!(ours.0, IDENTITY, "{name}");
            let apart = ours.1.iter().zip(theirs.1.iter()).map(|(a, b)| a.abs_diff(*b));
            let apart = apart.max().unwrap();
            assert!(apart <= most, "{name}: {apart}");
        }
    }
}
