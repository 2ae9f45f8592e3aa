//! What the container tells of its picture: size, colors and metadata.

use super::properties::{Nclx, Property};
use super::{Container, Item};
use crate::image::decode::decoded::{Result, damaged};
use crate::image::metadata::{Metadata, exif};
use crate::image::profile::chunks::Chunk;

/// Numbers of ITU-T H.273: for colors that are not told, and those of sRGB.
pub(in crate::image::decode) const UNSPECIFIED: u16 = 2;
pub(in crate::image::decode) const SRGB_PRIMARIES: u16 = 1;
const SRGB_CURVE: u16 = 13;

impl<'a> Container<'a> {
    /// The picture.
    pub fn picture(&self) -> Result<&Item<'a>> {
        self.item(self.primary)
    }

    /// The size of the picture as it is coded.
    pub fn coded_size(&self) -> Result<(u32, u32)> {
        let mut sizes = self.picture()?.properties.iter().filter_map(|property| match property {
            Property::Size(width, height) => Some((*width, *height)),
            _ => None,
        });
        sizes.next().ok_or_else(|| damaged(self.kind))
    }

    /// The size of the upright picture.
    pub fn upright_size(&self) -> Result<(u32, u32)> {
        let mut size = self.coded_size()?;
        for property in &self.picture()?.properties {
            size = match property {
                Property::Crop(crop) => {
                    let (_, _, width, height) = crop.of(size).ok_or_else(|| damaged(self.kind))?;
                    (width, height)
                }
                Property::Turn(1 | 3) => (size.1, size.0),
                _ => continue,
            };
        }
        Ok(size)
    }

    /// The colors by numbers, if it tells them.
    pub fn nclx(&self) -> Option<Nclx> {
        self.picture().ok()?.properties.iter().find_map(|property| match property {
            Property::Nclx(nclx) => Some(*nclx),
            _ => None,
        })
    }

    /// The ICC profile of the picture.
    pub fn icc(&self) -> Option<Vec<u8>> {
        self.picture().ok()?.properties.iter().find_map(|property| match property {
            Property::Icc(icc) => Some(icc.to_vec()),
            _ => None,
        })
    }

    /// EXIF and XMP of the picture.
    pub fn metadata(&self) -> Metadata {
        let block = self.about_picture(|item| item.kind == *b"Exif").and_then(|data| {
            // Behind a number: how many bytes more are before the block.
            let (skipped, rest) = data.split_first_chunk()?;
            let block = rest.get(u32::from_be_bytes(*skipped) as usize..)?;
            Some(exif::without_prefix(block).to_vec())
        });
        let packet = self.about_picture(|item| {
            item.kind == *b"mime" && item.media_type == b"application/rdf+xml"
        });
        let xmp = packet.map(|packet| packet.into_owned());
        Metadata { exif: block, xmp, ..Metadata::default() }
    }
}

impl Nclx {
    /// Nothing is told.
    pub const UNSPECIFIED: Self =
        Self { primaries: UNSPECIFIED, curve: UNSPECIFIED, matrix: UNSPECIFIED, is_full: false };

    /// The colors as a PNG file tells them; `None` for sRGB. Gray has no primaries.
    pub fn chunk(self, gray: bool) -> Option<Chunk> {
        let or = |number, usual| if number == UNSPECIFIED { usual } else { number };
        let primaries = if gray { SRGB_PRIMARIES } else { or(self.primaries, SRGB_PRIMARIES) };
        let colors = (primaries, or(self.curve, SRGB_CURVE));
        if colors == (SRGB_PRIMARIES, SRGB_CURVE) {
            return None;
        }
        // Numbers beyond a byte mean nothing, and nor does 0.
        let [primaries, curve] = [colors.0, colors.1].map(|n| u8::try_from(n).unwrap_or(0));
        Some((*b"cICP", vec![primaries, curve, 0, 1]))
    }
}
