//! AV1 data, by `re_rav1d`.

use re_rav1d::dav1d::pixel::YUVRange;
use re_rav1d::dav1d::{Decoder, Error, Picture, PixelLayout, PlanarImageComponent, Settings};

use super::super::decoded::{Result, check_size, damaged};
use super::super::guarded;
use super::container::{Container, Nclx, Property};
use super::frame::Frame;
use crate::image::FileKind;
use crate::image::photo::Limits;

/// The last of the decodings that data may offer.
const LAST_POINT: u8 = 31;

/// The pixels of an item of AV1 data.
pub(super) fn coded(container: &Container<'_>, id: u32, limits: &Limits) -> Result<Frame> {
    // All layers together are the last one.
    const ALL: u16 = 0xFFFF;
    let item = container.item(id)?;
    let mut point = 0;
    for property in &item.properties {
        match property {
            Property::OperatingPoint(number) => point = *number,
            Property::Layer(ALL) => {}
            Property::Layer(_) | Property::Unknown => return Err(container.refusal()),
            _ => {}
        }
    }
    if item.kind != *b"av01" || point > LAST_POINT {
        return Err(container.refusal());
    }
    decode(&container.data(id)?, point, limits)
}

/// The first picture in the data.
fn decode(data: &[u8], point: u8, limits: &Limits) -> Result<Frame> {
    let mut settings = Settings::new();
    // Its threads would wait for one that panics, for ever.
    settings.set_n_threads(1);
    settings.set_max_frame_delay(1);
    settings.set_operating_point(point.into());
    settings.set_all_layers(false);
    settings.set_frame_size_limit(u32::try_from(limits.max_pixels).unwrap_or(u32::MAX));
    let mut decoder = Decoder::with_settings(&settings).map_err(reason)?;
    if data.is_empty() {
        return Err(damaged(FileKind::Avif));
    }
    let mut sent = decoder.send_data(data.to_vec(), None, None, None);
    // Each time it takes some of the data.
    for _ in 0..data.len() {
        match (decoder.get_picture(), sent) {
            (Ok(picture), _) => return frame(&picture, limits),
            (Err(Error::Again), Err(Error::Again)) => sent = decoder.send_pending_data(),
            (Err(error), _) => return Err(reason(error)),
        }
    }
    Err(damaged(FileKind::Avif))
}

fn frame(picture: &Picture, limits: &Limits) -> Result<Frame> {
    check_size((picture.width(), picture.height()), limits)?;
    let halved = match picture.pixel_layout() {
        PixelLayout::I400 => None,
        PixelLayout::I420 => Some((true, true)),
        PixelLayout::I422 => Some((true, false)),
        PixelLayout::I444 => Some((false, false)),
    };
    let bits = picture.bits_per_component().ok_or_else(|| damaged(FileKind::Avif))?.0;
    let mut frame = Frame {
        width: picture.width() as usize,
        height: picture.height() as usize,
        bits: bits as u32,
        halved,
        planes: Vec::new(),
        nclx: nclx(picture),
    };
    use PlanarImageComponent::{U, V, Y};
    let planes: &[PlanarImageComponent] = if halved.is_none() { &[Y] } else { &[Y, U, V] };
    for (i, &component) in planes.iter().enumerate() {
        let (width, height) = frame.plane_size(i);
        let (plane, stride) = (picture.plane(component), picture.stride(component) as usize);
        let rows = plane.chunks(stride.max(1)).take(height);
        let mut samples = Vec::with_capacity(width * height);
        for row in rows {
            if bits == 8 {
                samples.extend(row.iter().take(width).map(|&sample| u16::from(sample)));
            } else {
                let pairs = row.as_chunks().0.iter().take(width);
                samples.extend(pairs.map(|&pair| u16::from_ne_bytes(pair)));
            }
        }
        if samples.len() != width * height {
            return Err(damaged(FileKind::Avif));
        }
        frame.planes.push(samples);
    }
    Ok(frame)
}

/// The colors that the picture tells.
fn nclx(picture: &Picture) -> Nclx {
    let is_full = picture.color_range() == YUVRange::Full;
    // The decoder's interface panics for numbers without a meaning.
    let told = guarded(|| {
        Ok(Nclx {
            primaries: picture.color_primaries() as u16,
            curve: picture.transfer_characteristic() as u16,
            matrix: picture.matrix_coefficients() as u16,
            is_full,
        })
    });
    told.unwrap_or(Nclx { is_full, ..Nclx::UNSPECIFIED })
}

/// The decoder's error in words.
fn reason(error: Error) -> String {
    match error {
        Error::NotEnoughMemory => "takes too much memory to decode".into(),
        _ => damaged(FileKind::Avif),
    }
}
