//! AVIF files: a container of ours around pictures in AV1, which `re_rav1d` decodes.

mod av1;
mod frame;
mod grid;
mod hdr;
mod rgb;

use ::image::DynamicImage;

use super::decoded::{Decoded, Result, check_size, damaged};
use super::heif::{Container, Item, Property};
use crate::image::photo::Limits;
use crate::image::{FileKind, Note, SourceFile};
use frame::Frame;
use hdr::ToneMapping;

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Decoded> {
    let container = Container::read(bytes, FileKind::Avif)?;
    let size = container.coded_size()?;
    check_size(size, limits)?;
    let colors = frame(&container, container.primary, limits)?;
    let alpha = match container.alpha(container.primary) {
        Some((id, is_multiplied)) => Some((frame(&container, id, limits)?, is_multiplied)),
        None => None,
    };
    let fits = |frame: &Frame| (frame.width as u32, frame.height as u32) == size;
    if !fits(&colors) || !alpha.iter().all(|alpha| fits(&alpha.0)) {
        return Err(damaged(FileKind::Avif));
    }
    let nclx = container.nclx().unwrap_or(colors.nclx);
    let icc = container.icc();
    let hdr = if icc.is_none() { ToneMapping::of(nclx) } else { None };
    let opacities = alpha.as_ref().map(|(frame, is_multiplied)| (frame, *is_multiplied));
    let pixels = rgb::pixels(&colors, opacities, nclx, hdr).ok_or_else(|| container.refusal())?;

    let pixels = placed(pixels, container.picture()?)?;
    let mut decoded = Decoded::new(pixels, SourceFile::new(FileKind::Avif));
    // A JPEG, which the result becomes after loss, has neither alpha nor more than 8 bits. Files
    // without loss have no conversion of colors, as that loses.
    let is_rgb = nclx.matrix == rgb::IDENTITY;
    decoded.source.lossy = !is_rgb && alpha.is_none() && colors.bits == 8;
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

/// The pixels of an item, whose size was checked.
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

/// The part of the pixels that is to be seen, upright.
fn placed(mut pixels: DynamicImage, item: &Item<'_>) -> Result<DynamicImage> {
    for property in &item.properties {
        pixels = match property {
            Property::Crop(crop) => {
                let part = crop.of((pixels.width(), pixels.height()));
                let (x, y, width, height) = part.ok_or_else(|| damaged(FileKind::Avif))?;
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
    Ok(pixels)
}
