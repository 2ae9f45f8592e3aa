//! Properties of items: their size, colors, orientation and so on.

use super::boxes::{Cursor, FourCc, boxes, find, within};

/// The names of opacities among the auxiliary pictures.
pub(super) const ALPHA: [&[u8]; 3] = [
    b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha",
    b"urn:mpeg:hevc:2015:auxid:1",
    b"urn:mpeg:avc:2015:auxid:1",
];

/// A property of an item.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::image::decode) enum Property<'a> {
    /// Width and height.
    Size(u32, u32),
    /// An ICC profile.
    Icc(&'a [u8]),
    /// Colors by numbers.
    Nclx(Nclx),
    /// The part of the picture that is to be seen.
    Crop(Crop),
    /// Quarter turns against the clock.
    Turn(u8),
    /// Top and bottom exchanged, or else left and right.
    Mirror { upside_down: bool },
    /// An auxiliary picture, by the name of its sort.
    Auxiliary(&'a [u8]),
    /// The one of several decodings of AV1 data.
    OperatingPoint(u8),
    /// The one of several layers of AV1 data.
    Layer(u16),
    /// One that has no effect on the pixels.
    Other,
    /// One that is not known here, and without which the picture cannot be shown.
    Unknown,
}

/// Colors by numbers of ITU-T H.273.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::image::decode) struct Nclx {
    pub primaries: u16,
    pub curve: u16,
    pub matrix: u16,
    /// Whether the numbers take the full range of their bits.
    pub is_full: bool,
}

/// Numerators and denominators of the width, the height, and the offset of the center to the right
/// and downwards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::image::decode) struct Crop(pub [(u32, u32); 4]);

/// Items and their properties, of the boxes in `iprp`.
pub(super) fn of_items<'a>(boxes: &[(FourCc, &'a [u8])]) -> Option<Vec<(u32, Property<'a>)>> {
    let all = properties(find(boxes, b"ipco")?)?;
    let mut found = Vec::new();
    for (_, contents) in boxes.iter().filter(|(kind, _)| kind == b"ipma") {
        let mut cursor = Cursor::new(contents);
        let (version, flags) = cursor.version()?;
        for _ in 0..cursor.u32()? {
            let id = cursor.number(if version > 0 { 4 } else { 2 })? as u32;
            for _ in 0..cursor.u8()? {
                let (index, is_essential) = match flags & 1 {
                    0 => cursor.u8().map(|byte| (u16::from(byte & 0x7F), byte & 0x80 != 0))?,
                    _ => cursor.u16().map(|word| (word & 0x7FFF, word & 0x8000 != 0))?,
                };
                // Counted from 1; 0 is none.
                let Some(index) = usize::from(index).checked_sub(1) else { continue };
                found.push(match all.get(index)? {
                    Property::Unknown if !is_essential => (id, Property::Other),
                    property => (id, property.clone()),
                });
                within(found.len())?;
            }
        }
    }
    Some(found)
}

/// The properties that a box is made of.
pub(super) fn properties(contents: &[u8]) -> Option<Vec<Property<'_>>> {
    boxes(contents)?.into_iter().map(|(kind, contents)| property(kind, contents)).collect()
}

fn property(kind: FourCc, contents: &[u8]) -> Option<Property<'_>> {
    let mut cursor = Cursor::new(contents);
    Some(match &kind {
        b"ispe" => {
            cursor.version()?;
            Property::Size(cursor.u32()?, cursor.u32()?)
        }
        b"colr" => match &cursor.kind()? {
            b"nclx" => Property::Nclx(Nclx {
                primaries: cursor.u16()?,
                curve: cursor.u16()?,
                matrix: cursor.u16()?,
                is_full: cursor.u8()? & 0x80 != 0,
            }),
            b"prof" | b"rICC" => Property::Icc(cursor.rest),
            _ => Property::Other,
        },
        b"clap" => {
            let mut pair = || Some((cursor.u32()?, cursor.u32()?));
            Property::Crop(Crop([pair()?, pair()?, pair()?, pair()?]))
        }
        b"irot" => Property::Turn(cursor.u8()? & 3),
        b"imir" => Property::Mirror { upside_down: cursor.u8()? & 1 == 0 },
        b"auxC" => {
            cursor.version()?;
            Property::Auxiliary(cursor.text()?)
        }
        b"a1op" => Property::OperatingPoint(cursor.u8()?),
        b"lsel" => Property::Layer(cursor.u16()?),
        b"av1C" | b"hvcC" | b"pixi" | b"pasp" => Property::Other,
        _ => Property::Unknown,
    })
}

impl Crop {
    /// The left and upper edge, the width and the height of the part, if it is one.
    pub fn of(&self, (width, height): (u32, u32)) -> Option<(u32, u32, u32, u32)> {
        let ratio = |(numerator, denominator): (u32, u32)| match denominator {
            0 => None,
            _ => Some(f64::from(numerator as i32) / f64::from(denominator)),
        };
        let [across, down, right, lower] = self.0.map(ratio);
        let span = |side: u32, len: Option<f64>, offset: Option<f64>| {
            let (len, side) = (len?.round(), f64::from(side));
            let start = ((side - len) / 2.0 + offset?).round();
            let fits = len >= 1.0 && start >= 0.0 && start + len <= side;
            fits.then_some((start as u32, len as u32))
        };
        let ((x, width), (y, height)) = (span(width, across, right)?, span(height, down, lower)?);
        Some((x, y, width, height))
    }
}
