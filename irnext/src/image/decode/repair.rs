//! Files that the decoders refuse for less than their pixels.

use std::borrow::Cow;

use crc32fast::Hasher;

use crate::image::metadata::png::chunk_at;

/// The file with right checksums, if some of them are wrong, and the whole file otherwise. The
/// checksum of a chunk tells that something in it is damaged, and not what: often it is the
/// checksum itself, of a program that made a mistake.
pub(super) fn with_right_checksums(png: &[u8]) -> Cow<'_, [u8]> {
    let mut file = Cow::Borrowed(png);
    let mut at = 8;
    while let Some((checked, next)) = chunk_at(png, at) {
        let mut hasher = Hasher::new();
        hasher.update(&png[checked.clone()]);
        let right = hasher.finalize().to_be_bytes();
        if png[checked.end..next] != right {
            file.to_mut()[checked.end..next].copy_from_slice(&right);
        }
        at = next;
    }
    file
}

/// The bytes of a BMP file by which [`bottom_up`] decides.
pub(super) const BMP_HEADER: u64 = 34;

/// A BMP file from the top down as one from the bottom up, if it is run-length coded: the format
/// knows no such files, but there are some. Its rows come in reverse order then.
pub(super) fn bottom_up(bmp: &[u8]) -> Option<Vec<u8>> {
    let number = |at: usize| Some(i32::from_le_bytes(bmp.get(at..at + 4)?.try_into().ok()?));
    let (header, height, compression) = (number(14)?, number(22)?, number(30)?);
    let is_affected = header >= 40 && height < 0 && matches!(compression, 1 | 2);
    let mut file = is_affected.then(|| bmp.to_vec())?;
    file[22..26].copy_from_slice(&height.checked_neg()?.to_le_bytes());
    Some(file)
}
