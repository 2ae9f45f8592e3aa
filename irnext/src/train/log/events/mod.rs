//! Event files, as TensorBoard reads them.
//!
//! A file is a row of records in TensorFlow's framing: length (u64), its checksum (u32), data, its
//! checksum, all little-endian; a checksum is CRC-32C, rotated and shifted by a constant. The data
//! of each is a protobuf message `Event` (`tensorboard/compat/proto/event.proto` and
//! `summary.proto`), of which a handful of fields are used here.
//!
//! A resumed run begins a new file. TensorBoard reads a folder's files in the order of their names,
//! and at a `SessionLog` with START forgets the events of that step and later ones.

use crate::error::{Error, Result};
use crate::image::{Image, Photo};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// How the names of event files begin.
const PREFIX: &str = "events.out.tfevents.";

/// A file being written.
pub struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Creates a file in `folder`, which is created if necessary, for events from step `first` on;
    /// later events in earlier files no longer count. `time` is in seconds since 1970.
    pub fn create(folder: &Path, time: f64, first: u64) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let path = folder.join(next_name(folder, time as u64)?);
        let file = File::create_new(&path).map_err(Error::io(&path))?;
        let mut this = Self { path, file };
        // The field numbers are those of `Event`.
        this.write(&Message::default().double(1, time).bytes(3, b"brain.Event:2"))?;
        let start = Message::default().int(1, 1);
        this.write(&Message::default().double(1, time).int(2, first).message(7, &start))?;
        Ok(this)
    }

    /// Writes numbers of a step under their tags.
    pub fn scalars(&mut self, step: u64, time: f64, values: &[(&str, f64)]) -> Result<()> {
        let value = |&(tag, value): &(&str, f64)| {
            Message::default().bytes(1, tag.as_bytes()).float(2, value as f32)
        };
        self.summary(step, time, values.iter().map(value))
    }

    /// Writes a picture of a step.
    pub fn image(&mut self, step: u64, time: f64, tag: &str, image: &Image) -> Result<()> {
        let (width, height) = (image.width as u64, image.height as u64);
        let jpeg = Photo::new(image.clone())
            .to_jpeg()
            .map_err(|reason| Error::image(&self.path, reason))?;
        self.encoded_image(step, time, tag, [width, height], &jpeg)
    }

    fn encoded_image(
        &mut self,
        step: u64,
        time: f64,
        tag: &str,
        [width, height]: [u64; 2],
        file: &[u8],
    ) -> Result<()> {
        const RGB: u64 = 3;
        let image = Message::default().int(1, height).int(2, width).int(3, RGB).bytes(4, file);
        self.summary(step, time, [Message::default().bytes(1, tag.as_bytes()).message(4, &image)])
    }

    fn summary(
        &mut self,
        step: u64,
        time: f64,
        values: impl IntoIterator<Item = Message>,
    ) -> Result<()> {
        let summary = values
            .into_iter()
            .fold(Message::default(), |summary, value| summary.message(1, &value));
        self.write(&Message::default().double(1, time).int(2, step).message(5, &summary))
    }

    /// Writes a record, in one piece, so that a process that dies leaves whole ones.
    fn write(&mut self, Message(data): &Message) -> Result<()> {
        let length = (data.len() as u64).to_le_bytes();
        let mut record = Vec::with_capacity(data.len() + 16);
        record.extend(length);
        record.extend(masked_crc(&length).to_le_bytes());
        record.extend(data);
        record.extend(masked_crc(data).to_le_bytes());
        self.file.write_all(&record).map_err(Error::io(&self.path))
    }
}

/// A name that sorts after those of all event files in `folder`, even if the clock was set back.
fn next_name(folder: &Path, seconds: u64) -> Result<String> {
    let (mut latest, mut count) = (seconds, 0);
    for entry in folder.read_dir().map_err(Error::io(folder))? {
        let name = entry.map_err(Error::io(folder))?.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        let mut parts = rest.split('.');
        let mut number = || parts.next().and_then(|part| part.parse::<u64>().ok());
        latest = latest.max(number().unwrap_or(0));
        count = count.max(number().map_or(0, |n| n.saturating_add(1)));
    }
    Ok(format!("{PREFIX}{latest:010}.{count:06}.irnext"))
}

/// The checksum as the file holds it, masked so that data may contain checksums.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// A protobuf message under construction: fields one after the other, each with its number and kind
/// in front.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn int(self, field: u64, value: u64) -> Self {
        self.key(field, 0).varint(value)
    }

    fn double(self, field: u64, value: f64) -> Self {
        self.key(field, 1).raw(&value.to_le_bytes())
    }

    fn float(self, field: u64, value: f32) -> Self {
        self.key(field, 5).raw(&value.to_le_bytes())
    }

    fn bytes(self, field: u64, value: &[u8]) -> Self {
        self.key(field, 2).varint(value.len() as u64).raw(value)
    }

    fn message(self, field: u64, Self(value): &Self) -> Self {
        self.bytes(field, value)
    }

    fn key(self, field: u64, kind: u64) -> Self {
        self.varint(field << 3 | kind)
    }

    /// A variable-length integer: seven bits a byte, the lowest first; the eighth bit says that
    /// more follow.
    fn varint(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
}

#[cfg(test)]
mod tests;
