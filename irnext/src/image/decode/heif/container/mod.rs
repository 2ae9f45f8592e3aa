//! The container of AVIF and HEIC files, HEIF (ISO/IEC 23008-12): items with data, properties and
//! references to each other, one of which is the picture. A file that is only a sequence of
//! pictures has its first one as an item.
//!
//! Nothing takes memory by a number in the file: lists are as long as their bytes allow.

mod boxes;
mod items;
mod picture;
mod properties;
#[cfg(test)]
mod tests;
mod track;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};

use super::super::decoded::{Result, damaged, rare, truncated};
use crate::image::FileKind;
pub(super) use boxes::{Cursor, FourCc};
use boxes::{boxes, find};
pub(super) use items::Item;
use items::ItemLocation;
pub(super) use picture::{SRGB_PRIMARIES, UNSPECIFIED};
pub(super) use properties::{Nclx, Property};

/// The size of the upright picture in a file.
pub(in crate::image::decode) fn size(
    file: impl Read + Seek,
    kind: FileKind,
) -> Result<((u32, u32), Option<u8>)> {
    let bytes = descriptions(file).map_err(|error| format!("cannot be read: {error}"))?;
    Ok((Container::read(&bytes, kind)?.upright_size()?, None))
}

/// The file without the boxes of data, as far as it is there.
fn descriptions(mut file: impl Read + Seek) -> std::io::Result<Vec<u8>> {
    let mut found = Vec::new();
    let mut start = 0;
    loop {
        file.seek(SeekFrom::Start(start))?;
        let mut head = Vec::new();
        file.by_ref().take(16).read_to_end(&mut head)?;
        let (Some(short), Some(name)) = (head.first_chunk(), head.get(4..8)) else { break };
        let len = match (u32::from_be_bytes(*short), head.get(8..)) {
            // To the end.
            (0, _) => u64::MAX,
            (1, Some(long)) => long.try_into().map_or(0, u64::from_be_bytes),
            (short, _) => short.into(),
        };
        if matches!(name, b"meta" | b"moov") {
            file.seek(SeekFrom::Start(start))?;
            // More is refused later.
            file.by_ref().take(len.min(LONGEST as u64 + 17)).read_to_end(&mut found)?;
        }
        match start.checked_add(len) {
            Some(next) if len >= 8 => start = next,
            _ => break,
        }
    }
    Ok(found)
}

/// The most that the box of all descriptions may take; more is none.
const LONGEST: usize = 1 << 24;

/// A file.
pub(super) struct Container<'a> {
    kind: FileKind,
    file: &'a [u8],
    /// The data inside of the descriptions.
    inner: &'a [u8],
    /// The item that is the picture.
    pub primary: u32,
    items: BTreeMap<u32, Item<'a>>,
    /// How many pictures its sequence has; 1 without one.
    pub frames: usize,
}

impl<'a> Container<'a> {
    /// Reads the descriptions in a file of this kind.
    pub fn read(file: &'a [u8], kind: FileKind) -> Result<Self> {
        let (mut meta, mut movie) = (None, None);
        let mut top = Cursor::new(file);
        while let Some((name, contents)) = top.next_box() {
            match &name {
                b"meta" => meta = meta.or(Some(contents)),
                b"moov" => movie = movie.or(Some(contents)),
                _ => {}
            }
        }
        if meta.or(movie).is_none() {
            return Err(truncated(kind));
        }
        let longest = meta.into_iter().chain(movie).map(<[u8]>::len).max();
        if longest > Some(LONGEST) {
            return Err(damaged(kind));
        }
        let mut container =
            Self { kind, file, inner: &[], primary: 0, items: BTreeMap::new(), frames: 1 };
        let tracks = movie.and_then(track::tracks).unwrap_or_default();
        let has_picture = meta.is_some_and(|meta| container.read_meta(meta).is_some());
        if !has_picture && !container.take_tracks(&tracks) {
            return Err(damaged(kind));
        }
        container.frames = tracks.iter().map(|track| track.frames).max().unwrap_or(1).max(1);
        Ok(container)
    }

    fn read_meta(&mut self, contents: &'a [u8]) -> Option<()> {
        let mut cursor = Cursor::new(contents);
        cursor.version()?;
        let parts = boxes(cursor.rest)?;
        let part = |kind: &FourCc| find(&parts, kind);
        let handler = part(b"hdlr").and_then(|contents| contents.get(8..12));
        if handler.is_some_and(|handler| handler != b"pict") {
            return None;
        }
        self.inner = part(b"idat").unwrap_or_default();
        self.primary = items::primary(part(b"pitm")?)?;
        self.items = items::infos(part(b"iinf")?)?;
        let places = items::places(part(b"iloc")?)?;
        let references = part(b"iref").map_or(Some(Vec::new()), items::references)?;
        let properties = properties::of_items(&boxes(part(b"iprp")?)?)?;
        for (id, place) in places {
            self.items.get_mut(&id)?.place = Some(place);
        }
        for (id, kind, to) in references {
            self.items.get_mut(&id)?.references.push((kind, to));
        }
        for (id, property) in properties {
            self.items.get_mut(&id)?.properties.push(property);
        }
        self.items.contains_key(&self.primary).then_some(())
    }

    /// Makes items of the first pictures of tracks: of colors, and of their opacities.
    fn take_tracks(&mut self, tracks: &[track::Track<'a>]) -> bool {
        let Some(colors) = tracks.iter().find(|track| !track.is_auxiliary) else { return false };
        self.primary = colors.id;
        self.items.clear();
        for track in tracks {
            let place = ItemLocation { is_inner: false, parts: vec![track.first] };
            let references = track.of.iter().map(|&id| (*b"auxl", vec![id])).collect();
            let mut properties = track.properties.clone();
            if track.is_auxiliary {
                properties.push(Property::Auxiliary(properties::ALPHA[0]));
            }
            let (kind, media_type) = (track.kind, &[][..]);
            let item = Item { kind, media_type, place: Some(place), properties, references };
            self.items.insert(track.id, item);
        }
        true
    }

    /// # Errors
    /// If there is none with this number.
    pub fn item(&self, id: u32) -> Result<&Item<'a>> {
        self.items.get(&id).ok_or_else(|| damaged(self.kind))
    }

    /// The data of an item.
    ///
    /// # Errors
    /// If there is none, or not all of it.
    pub fn data(&self, id: u32) -> Result<Cow<'a, [u8]>> {
        let place = self.item(id)?.place.as_ref().ok_or_else(|| damaged(self.kind))?;
        let source = if place.is_inner { self.inner } else { self.file };
        let mut data = Cow::Borrowed(&[][..]);
        for &(start, len) in &place.parts {
            let start = usize::try_from(start).unwrap_or(usize::MAX);
            let len = len.map_or(source.len().saturating_sub(start), |len| {
                usize::try_from(len).unwrap_or(usize::MAX)
            });
            let part = start.checked_add(len).and_then(|end| source.get(start..end));
            let part = part.ok_or_else(|| truncated(self.kind))?;
            // Parts that are there more than once could be any number.
            if data.len() + part.len() > self.file.len() {
                return Err(damaged(self.kind));
            }
            if data.is_empty() {
                data = part.into();
            } else {
                data.to_mut().extend(part);
            }
        }
        Ok(data)
    }

    /// The item with the opacities of another, and whether the colors are multiplied by them.
    pub fn alpha(&self, id: u32) -> Option<(u32, bool)> {
        let leads_here = |item: &Item<'_>, kind: &FourCc, id| item.leads(kind).any(|to| to == id);
        let is_alpha = |item: &Item<'_>| {
            item.properties.iter().any(|property| match property {
                Property::Auxiliary(name) => properties::ALPHA.contains(name),
                _ => false,
            })
        };
        let mut items = self.items.iter();
        let alpha = items
            .find(|(_, item)| is_alpha(item) && leads_here(item, b"auxl", id))
            .map(|x| *x.0)?;
        let is_multiplied =
            self.items.get(&id).is_some_and(|item| leads_here(item, b"prem", alpha));
        Some((alpha, is_multiplied))
    }

    /// The data of the first item about the picture that `is_it` takes. Damaged metadata is no
    /// reason to refuse the pixels.
    fn about_picture(&self, is_it: impl Fn(&Item<'_>) -> bool) -> Option<Cow<'a, [u8]>> {
        let about = |item: &Item<'_>| {
            let mut about = item.leads(b"cdsc").peekable();
            about.peek().is_none() || about.any(|to| to == self.primary)
        };
        let mut items = self.items.iter();
        let (&id, _) = items.find(|(_, item)| is_it(item) && about(item))?;
        self.data(id).ok()
    }

    /// The refusal of a file that is whole, and of a kind that cannot be read.
    pub fn refusal(&self) -> String {
        rare(self.kind)
    }
}
