//! Whether the file of a photograph is whole, or may still be arriving.

use crate::error::{Error, Result};
use crate::image::{FileKind, Note, Photo};
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// An error unless the file `path`, from which `photo` was read, is whole. It had this metadata
/// before it was read.
///
/// # Errors
/// [`Error::Unfinished`].
pub(super) fn check_whole(path: &Path, before: &Metadata, photo: &Photo) -> Result<()> {
    let unfinished = |reason| Err(Error::Unfinished { path: path.into(), reason });
    if let Some(note) = photo.notes.iter().find(|note| is_of_a_part(note)) {
        return unfinished(note.to_string());
    }
    let stamp = |file: &Metadata| (file.len(), file.modified().ok());
    if !fs::metadata(path).is_ok_and(|now| stamp(&now) == stamp(before)) {
        return unfinished("it changed while it was read".into());
    }
    match photo.source.map(|source| has_end(path, source.kind)) {
        Some(Ok(false)) => unfinished(Note::NoEnd.to_string()),
        _ => Ok(()),
    }
}

/// Whether this note may come of a part that has not arrived yet. A file may have its full length
/// from the start, with zeros in place of that part, which look like damage.
fn is_of_a_part(note: &Note) -> bool {
    use Note::{Coarse, Damaged, Incomplete, NoEnd, WrongChecksum};
    matches!(note, Incomplete(_) | Coarse | NoEnd | Damaged | WrongChecksum)
}

/// Whether a file ends like one of its kind, for kinds that are read without their ends.
fn has_end(path: &Path, kind: FileKind) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut bytes = [0; 8];
    match kind {
        // The type and the checksum of the last chunk.
        FileKind::Png => {
            file.seek(SeekFrom::End(-8))?;
            file.read_exact(&mut bytes)?;
            Ok(&bytes == b"IEND\xAE\x42\x60\x82")
        }
        // The length of the file, but for the first eight bytes.
        FileKind::WebP => {
            file.read_exact(&mut bytes)?;
            let [.., a, b, c, d] = bytes;
            Ok(u64::from(u32::from_le_bytes([a, b, c, d])) + 8 <= len)
        }
        _ => Ok(true),
    }
}
