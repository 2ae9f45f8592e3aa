//! Zip archives with uncompressed entries, in which PyTorch stores weights.
//!
//! Reading returns slices of the file and unpacks nothing, so a small file stays small. Anything
//! that readers of zip files could understand in different ways is refused: two entries of one
//! name, entries that overlap. So is a wrong checksum.

use std::collections::HashMap;

/// The alignment of the data of written entries, as in PyTorch, so that they can be mapped into
/// memory.
const ALIGNMENT: usize = 64;

const LOCAL: u32 = 0x0403_4B50;
const CENTRAL: u32 = 0x0201_4B50;
const END: u32 = 0x0605_4B50;
const END_64: u32 = 0x0606_4B50;
const END_64_LOCATOR: u32 = 0x0706_4B50;

/// The entries of an archive: names and contents.
pub(super) fn read(bytes: &[u8]) -> Result<HashMap<&str, &[u8]>, String> {
    let (count, mut at) = directory(bytes)?;
    let mut entries = HashMap::new();
    let mut total = 0;
    for _ in 0..count {
        let (name, contents, next) = entry(bytes, at)?;
        at = next;
        total += contents.len();
        if total > bytes.len() {
            return Err("its entries overlap".into());
        }
        if entries.insert(name, contents).is_some() {
            return Err(format!("there are two entries {name:?}"));
        }
    }
    Ok(entries)
}

/// The number of entries, and the start of their directory.
fn directory(bytes: &[u8]) -> Result<(u64, u64), String> {
    // The end record is the last thing in the file, but for a comment of at most 65,535 bytes.
    let first = bytes.len().saturating_sub(22 + 65_535);
    let end = (first..=bytes.len().saturating_sub(22))
        .rev()
        .find(|&at| bytes[at..].starts_with(&END.to_le_bytes()));
    let end = end.ok_or("its directory is missing: the file is cut off")? as u64;
    let (count, offset) = (field(bytes, end + 10, 2)?, field(bytes, end + 16, 4)?);
    if count != 0xFFFF && offset != 0xFFFF_FFFF {
        return Ok((count, offset));
    }
    let locator = end.checked_sub(20).ok_or("its directory is missing")?;
    expect(bytes, locator, END_64_LOCATOR)?;
    let end = field(bytes, locator + 8, 8)?;
    expect(bytes, end, END_64)?;
    Ok((field(bytes, at(end, 32)?, 8)?, field(bytes, at(end, 48)?, 8)?))
}

/// The entry that the directory describes at `central`: name, contents, and the start of the next
/// description.
fn entry(bytes: &[u8], central: u64) -> Result<(&str, &[u8], u64), String> {
    expect(bytes, central, CENTRAL)?;
    let get = |offset, size| field(bytes, at(central, offset)?, size);
    let (name_len, extra_len, comment_len) = (get(28, 2)?, get(30, 2)?, get(32, 2)?);
    let name = slice(bytes, at(central, 46)?, name_len)?;
    let name = std::str::from_utf8(name).map_err(|_| "an entry's name is not UTF-8")?;
    let refuse = |reason: &str| Err(format!("entry {name:?} {reason}"));
    if get(8, 2)? & 1 != 0 {
        return refuse("is encrypted");
    }
    if get(10, 2)? != 0 {
        return refuse("is compressed, which torch.save never does");
    }
    let extra = slice(bytes, at(central, 46 + name_len)?, extra_len)?;
    let (packed, size, local) = wide_fields([get(20, 4)?, get(24, 4)?, get(42, 4)?], extra)?;
    if packed != size {
        return refuse("has two sizes");
    }
    expect(bytes, local, LOCAL)?;
    let skip = 30 + field(bytes, at(local, 26)?, 2)? + field(bytes, at(local, 28)?, 2)?;
    let contents = slice(bytes, at(local, skip)?, size)?;
    // PyTorch writes 0 if it is told to skip the checksums.
    let sum = get(16, 4)?;
    if sum != 0 && sum != u64::from(crc32fast::hash(contents)) {
        return refuse("does not match its checksum: the file is damaged");
    }
    Ok((name, contents, at(central, 46 + name_len + extra_len + comment_len)?))
}

/// Packed size, size and offset. Those whose 4 bytes are all ones are taken from the field that
/// holds them in 8.
fn wide_fields([packed, size, offset]: [u64; 3], extra: &[u8]) -> Result<(u64, u64, u64), String> {
    let mut wide: &[u8] = &[];
    let mut at = 0;
    while at + 4 <= extra.len() as u64 {
        let (id, len) = (field(extra, at, 2)?, field(extra, at + 2, 2)?);
        if id == 1 {
            wide = slice(extra, at + 4, len)?;
        }
        at += 4 + len;
    }
    let mut next = 0;
    let mut widen = |narrow: u64| {
        if narrow != 0xFFFF_FFFF {
            return Ok(narrow);
        }
        next += 8;
        field(wide, next - 8, 8)
    };
    let (size, packed) = (widen(size)?, widen(packed)?);
    Ok((packed, size, widen(offset)?))
}

fn expect(bytes: &[u8], at: u64, signature: u32) -> Result<(), String> {
    match field(bytes, at, 4)? == u64::from(signature) {
        true => Ok(()),
        false => Err(format!("its directory is damaged at byte {at}")),
    }
}

/// A little-endian number of `size` bytes.
fn field(bytes: &[u8], at: u64, size: u64) -> Result<u64, String> {
    Ok(slice(bytes, at, size)?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

fn slice(bytes: &[u8], from: u64, len: u64) -> Result<&[u8], String> {
    let cut = || format!("{len} bytes at byte {from} are beyond the end of the file");
    let (start, end) = (usize::try_from(from), usize::try_from(at(from, len)?));
    let (Ok(start), Ok(end)) = (start, end) else { return Err(cut()) };
    bytes.get(start..end).ok_or_else(cut)
}

fn at(base: u64, offset: u64) -> Result<u64, String> {
    base.checked_add(offset).ok_or_else(|| "its directory is damaged".into())
}

/// An archive being written. The same entries give the same bytes: it contains no dates.
#[derive(Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    count: usize,
}

impl Writer {
    /// Adds an entry.
    pub(super) fn add(&mut self, name: &str, contents: &[u8]) {
        let local = self.bytes.len();
        // An extra field of zeros, under the name that PyTorch gives it, moves the contents to
        // where they should begin.
        let start = local + 30 + name.len() + 4;
        let padding = start.next_multiple_of(ALIGNMENT) - start;
        let common = |out: &mut Vec<u8>, extra: usize| {
            // Version, flags (names are UTF-8), method, time, date (1 January 1980), checksum,
            // size, size.
            out.extend([20u16, 0x0800, 0, 0, 0x21].into_iter().flat_map(u16::to_le_bytes));
            let size = contents.len() as u32;
            out.extend(
                [crc32fast::hash(contents), size, size].into_iter().flat_map(u32::to_le_bytes),
            );
            out.extend([name.len() as u16, extra as u16].into_iter().flat_map(u16::to_le_bytes));
        };
        self.bytes.extend(LOCAL.to_le_bytes());
        common(&mut self.bytes, 4 + padding);
        self.bytes.extend(name.as_bytes());
        self.bytes.extend(b"FB");
        self.bytes.extend((padding as u16).to_le_bytes());
        self.bytes.resize(self.bytes.len() + padding, 0);
        self.bytes.extend(contents);

        self.directory.extend(CENTRAL.to_le_bytes());
        self.directory.extend(20u16.to_le_bytes());
        common(&mut self.directory, 0);
        // Comment, disk, attributes inside and outside.
        self.directory.extend([0; 10]);
        self.directory.extend((local as u32).to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.count += 1;
    }

    /// The archive's bytes.
    ///
    /// # Errors
    /// If it has 4 GiB or 65,535 entries, which this form of the format cannot count.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, String> {
        let (offset, size) = (self.bytes.len(), self.directory.len());
        if offset + size >= u32::MAX as usize || self.count >= 0xFFFF {
            return Err(format!(
                "{} entries of {offset} bytes are too many for one file",
                self.count
            ));
        }
        self.bytes.extend(&self.directory);
        self.bytes.extend(END.to_le_bytes());
        let count = self.count as u16;
        self.bytes.extend([0, 0, count, count].into_iter().flat_map(u16::to_le_bytes));
        self.bytes.extend([size as u32, offset as u32].into_iter().flat_map(u32::to_le_bytes));
        self.bytes.extend([0, 0]);
        Ok(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = Writer::default();
        entries.iter().for_each(|(name, contents)| writer.add(name, contents));
        writer.finish().unwrap()
    }

    #[test]
    fn written_files_read_back_the_same() {
        let long = [7u8; 1000];
        let bytes = archive(&[("a/b", b"one"), ("c", b""), ("d", &long)]);
        let entries = read(&bytes).unwrap();
        assert_eq!(entries.len(), 3);
        assert_eq!(
            (entries["a/b"], entries["c"], entries["d"]),
            (&b"one"[..], &b""[..], &long[..])
        );
        let start = |name: &str| entries[name].as_ptr().addr() - bytes.as_ptr().addr();
        assert!(["a/b", "c", "d"].iter().all(|name| start(name).is_multiple_of(ALIGNMENT)));
    }

    #[test]
    fn a_tampered_archive_is_refused() {
        let bytes = archive(&[("one", b"contents"), ("two", b"contents")]);
        let central = bytes.windows(4).position(|w| w == CENTRAL.to_le_bytes()).unwrap();
        let refused = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut changed = bytes.clone();
            change(&mut changed);
            read(&changed).unwrap_err()
        };
        assert!(refused(&|b| b[64] ^= 1).contains("\"one\" does not match its checksum"));
        assert!(refused(&|b| b[central + 10] = 8).contains("is compressed"));
        assert!(refused(&|b| b[central + 8] |= 1).contains("is encrypted"));
        assert!(refused(&|b| b[central + 20] = 200).contains("has two sizes"));
        assert!(refused(&|b| b.truncate(central + 30)).contains("cut off"));
        assert!(
            refused(&|b| b[central + 49 + 46..][..3].copy_from_slice(b"one"))
                .contains("two entries \"one\"")
        );
        // A size of 2^32 - 1 says that the real one is in a field that is not there.
        assert!(refused(&|b| b[central + 20..central + 28].fill(0xFF)).contains("beyond the end"));
        // The second entry begins where the first does, and both reach to the end of the file.
        let whole = |b: &mut Vec<u8>| {
            let size = ((bytes.len() - ALIGNMENT) as u32).to_le_bytes();
            for at in [central, central + 49] {
                b[at + 16..at + 20].fill(0);
                b[at + 20..at + 24].copy_from_slice(&size);
                b[at + 24..at + 28].copy_from_slice(&size);
                b[at + 42..at + 46].fill(0);
            }
        };
        assert!(refused(&whole).contains("overlap"));
    }
}
