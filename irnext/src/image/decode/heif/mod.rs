//! AVIF and HEIC files: a [`container`] around pictures that are coded in AV1, which `re_rav1d`
//! decodes (feature `avif`), or in HEVC, which the system's `libheif` decodes (feature `heic`).

#[cfg(feature = "avif")]
mod av1;
mod container;
mod frame;
#[cfg(feature = "avif")]
mod grid;
mod hdr;
#[cfg(feature = "heic")]
mod hevc;
mod rgb;

use ::image::DynamicImage;

use super::decoded::{Decoded, Result, check_size, damaged};
use crate::image::photo::Limits;
use crate::image::{FileKind, Note, SourceFile};
pub(super) use container::size;
use container::{Container, Item, Property};
use frame::Frame;
use hdr::ToneMapping;

pub(super) fn decode(bytes: &[u8], kind: FileKind, limits: &Limits) -> Result<Decoded> {
    let container = Container::read(bytes, kind)?;
    let size = container.coded_size()?;
    check_size(size, limits)?;
    let (colors, alpha) = match kind {
        #[cfg(feature = "heic")]
        FileKind::Heic => hevc::frames(bytes, &container, limits)?,
        #[cfg(feature = "avif")]
        FileKind::Avif => frames(&container, limits)?,
        _ => return Err(container.refusal()),
    };
    let fits = |frame: &Frame| (frame.width as u32, frame.height as u32) == size;
    if !fits(&colors) || !alpha.iter().all(fits) {
        return Err(damaged(kind));
    }
    let nclx = colors.nclx;
    let icc = container.icc();
    let hdr = if icc.is_none() { ToneMapping::of(nclx) } else { None };
    let is_multiplied = container.alpha(container.primary).is_some_and(|alpha| alpha.1);
    let opacities = alpha.as_ref().map(|frame| (frame, is_multiplied));
    let pixels = rgb::pixels(&colors, opacities, nclx, hdr).ok_or_else(|| container.refusal())?;

    let pixels = placed(pixels, container.picture()?).ok_or_else(|| damaged(kind))?;
    let mut decoded = Decoded::new(pixels, SourceFile::new(kind));
    // A JPEG, which the result becomes after loss, has neither alpha nor more than 8 bits. Files
    // without loss have no conversion of colors, as that loses; in HEIC files they are rare.
    let is_exact = kind == FileKind::Avif && nclx.matrix == rgb::IDENTITY;
    decoded.source.lossy = !is_exact && alpha.is_none() && colors.bits == 8;
    if hdr.is_some() {
        decoded.notes.push(Note::ConvertedToSrgb);
    } else if icc.is_none() {
        decoded.chunks.extend(nclx.chunk(colors.halved.is_none()));
    }
    decoded.icc = icc;
    decoded.metadata = container.metadata();
    // The pixels are upright already. As in browsers, the container alone tells the orientation.
    decoded.orientation = Some(1);
    decoded.notes.extend((container.frames > 1).then_some(Note::FirstOf(container.frames)));
    Ok(decoded)
}

/// The picture in AV1, and its opacities.
#[cfg(feature = "avif")]
fn frames(container: &Container<'_>, limits: &Limits) -> Result<(Frame, Option<Frame>)> {
    let alpha = container.alpha(container.primary);
    let mut colors = frame(container, container.primary, limits)?;
    colors.nclx = container.nclx().unwrap_or(colors.nclx);
    Ok((colors, alpha.map(|(id, _)| frame(container, id, limits)).transpose()?))
}

/// The pixels of an item, whose size was checked.
#[cfg(feature = "avif")]
fn frame(container: &Container<'_>, id: u32, limits: &Limits) -> Result<Frame> {
    let item = container.item(id)?;
    if item.properties.contains(&Property::Unknown) {
        return Err(container.refusal());
    }
    match &item.kind {
        b"av01" => av1::coded(container, id, limits),
        b"grid" => grid::decode(container, id, limits),
        _ => Err(container.refusal()),
    }
}

/// The part of the pixels that is to be seen, upright; `None` if it is none.
fn placed(mut pixels: DynamicImage, item: &Item<'_>) -> Option<DynamicImage> {
    for property in &item.properties {
        pixels = match property {
            Property::Crop(crop) => {
                let (x, y, width, height) = crop.of((pixels.width(), pixels.height()))?;
                pixels.crop_imm(x, y, width, height)
            }
            // Of quarters with the clock.
            Property::Turn(1) => pixels.rotate270(),
            Property::Turn(2) => pixels.rotate180(),
            Property::Turn(3) => pixels.rotate90(),
            Property::Mirror { upside_down: true } => pixels.flipv(),
            Property::Mirror { upside_down: false } => pixels.fliph(),
            _ => continue,
        };
    }
    Some(pixels)
}
