use super::*;
use std::fs;

/// Those of `tensorboard.tfevents`.
const TIME: f64 = 1_700_000_000.25;

/// The data of a file's records, their checksums compared bit by bit.
fn records(mut file: &[u8]) -> Vec<Vec<u8>> {
    let mut take = |count: usize| {
        let (data, rest) = file.split_at_checked(count).filter(|(data, _)| !data.is_empty())?;
        let (crc, rest) = rest.split_at(4);
        assert_eq!(crc, bitwise_masked_crc(data).to_le_bytes());
        file = rest;
        Some(data)
    };
    let mut records = Vec::new();
    while let Some(length) = take(8) {
        let length = u64::from_le_bytes(length.try_into().unwrap());
        records.push(take(length as usize).unwrap().to_vec());
    }
    assert!(file.is_empty());
    records
}

/// CRC-32C by its definition (Castagnoli's polynomial, reflected), masked as TensorFlow's
/// `crc32c.h` does.
fn bitwise_masked_crc(data: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    let crc = !crc;
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

fn only_file(folder: &Path) -> Vec<u8> {
    let files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    fs::read(&files[0]).unwrap()
}

/// The fixture was written by TensorBoard 2.21's own `RecordWriter` and messages: a version, a
/// START at step 301, two scalars, a picture.
#[test]
fn a_file_is_what_tensorboard_writes() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("events");
    let mut file = EventFile::create(&at, TIME, 301).unwrap();
    file.scalars(301, TIME, &[("loss/total", 0.1), ("train/learning_rate", 1e-4)]).unwrap();
    file.encoded_image(301, TIME, "samples/a.png", [300, 2], b"JPEG").unwrap();
    let (ours, theirs) = (only_file(&at), include_bytes!("tensorboard.tfevents"));
    assert_eq!(records(&ours), records(theirs));
    assert_eq!(ours, theirs);
}

#[test]
fn pictures_can_be_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let image = Image::from_fn(40, 30, |x, y| [x as f32 / 40.0, y as f32 / 30.0, 0.5]);
    EventFile::create(folder.path(), TIME, 1)
        .unwrap()
        .image(7, TIME, "samples/b.png", &image)
        .unwrap();
    let records = records(&only_file(folder.path()));
    let start = records[2].windows(3).position(|bytes| bytes == [0xff, 0xd8, 0xff]).unwrap();
    let path = folder.path().join("b.jpg");
    fs::write(&path, &records[2][start..]).unwrap();
    let seen = Photo::read(&path).unwrap().image();
    assert_eq!((seen.width, seen.height), (40, 30));
    let furthest =
        seen.data.iter().zip(&image.data).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(furthest < 0.03, "{furthest}");
}

#[test]
fn later_files_sort_behind_earlier_ones() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("events.out.tfevents.of-somebody-else"), b"").unwrap();
    // The second in the same second, the third after the clock was set back.
    let names: Vec<_> = [TIME, TIME, TIME - 1e6, TIME + 5.0]
        .map(|time| EventFile::create(folder.path(), time, 1).unwrap().path)
        .into();
    assert!(
        names.is_sorted() && names[0] < names[1] && names[1] < names[2] && names[2] < names[3],
        "{names:?}"
    );
}

/// Linux has a device that is always full.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_with_the_path() {
    let path = PathBuf::from("/dev/full");
    let file = File::options().write(true).open(&path).unwrap();
    let error = EventFile { path, file }.scalars(1, TIME, &[("a", 1.0)]).unwrap_err();
    assert!(error.to_string().starts_with("/dev/full: the disk is full"), "{error}");
}
