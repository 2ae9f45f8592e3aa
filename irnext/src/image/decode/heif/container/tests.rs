//! Containers with faults, made box by box.

use super::properties::Crop;
use super::*;

/// A box of these parts.
fn boxed(kind: &FourCc, parts: &[&[u8]]) -> Vec<u8> {
    let contents = parts.concat();
    [&(contents.len() as u32 + 8).to_be_bytes()[..], kind, &contents].concat()
}

/// The parts of a file with one item of four bytes in the descriptions, `pixi` for its property.
fn parts() -> Vec<(FourCc, Vec<u8>)> {
    let info = boxed(b"infe", &[&[2, 0, 0, 0], &[0, 7, 0, 0], b"av01\0"]);
    let sizes = boxed(b"ispe", &[&[0; 4], &[0, 0, 0, 9], &[0, 0, 0, 5]]);
    let of_items = boxed(b"ipma", &[&[0; 4], &[0, 0, 0, 1], &[0, 7, 1, 0x81]]);
    vec![
        (*b"hdlr", [&[0; 8], &b"pict"[..], &[0; 13]].concat()),
        (*b"pitm", vec![0, 0, 0, 0, 0, 7]),
        (*b"iinf", [&[0, 0, 0, 0, 0, 1], &info[..]].concat()),
        (*b"iprp", [boxed(b"ipco", &[&sizes]), of_items].concat()),
        // Of method 1: two parts, whose starts and lengths take 4 bytes.
        (
            *b"iloc",
            [
                &[1, 0, 0, 0, 0x44, 0, 0, 1, 0, 7, 0, 1, 0, 0, 0, 2][..],
                &[0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2],
            ]
            .concat(),
        ),
        (*b"idat", b"cdab".to_vec()),
    ]
}

fn file(parts: &[(FourCc, Vec<u8>)]) -> Vec<u8> {
    let parts: Vec<u8> =
        parts.iter().flat_map(|(kind, contents)| boxed(kind, &[contents])).collect();
    [boxed(b"ftyp", &[b"avif\0\0\0\0"]), boxed(b"meta", &[&[0; 4], &parts])].concat()
}

/// The data and the properties of the picture, or the refusal.
fn read(file: &[u8]) -> Result<(Vec<u8>, usize)> {
    let container = Container::read(file, FileKind::Avif)?;
    let item = container.item(container.primary)?;
    Ok((container.data(container.primary)?.into_owned(), item.properties.len()))
}

/// The refusal of the file with other contents of one part.
fn refusal(kind: &FourCc, change: impl Fn(&mut Vec<u8>)) -> String {
    let mut parts = parts();
    change(&mut parts.iter_mut().find(|part| part.0 == *kind).unwrap().1);
    read(&file(&parts)).unwrap_err()
}

#[test]
fn parts_of_data_are_put_together() {
    assert_eq!(read(&file(&parts())), Ok((b"abcd".to_vec(), 1)));
}

#[test]
fn a_box_may_have_a_long_size_or_go_on_to_the_end() {
    let short = file(&parts());
    let at = short.windows(4).position(|window| window == b"meta").unwrap();
    let size = (short.len() - at + 12) as u64;
    let long = [&short[..at - 4], &[0, 0, 0, 1], b"meta", &size.to_be_bytes(), &short[at + 4..]];
    assert!(read(&long.concat()).is_ok());
    let mut open = short.clone();
    open[at - 4..at].fill(0);
    assert!(read(&open).is_ok());
    // Smaller than its own head.
    for size in [7, 1] {
        let mut wrong = short.clone();
        wrong[at - 1] = size;
        wrong[at - 4..at - 1].fill(0);
        assert!(read(&wrong).is_err());
    }
}

#[test]
fn faults_are_named() {
    let damaged = damaged(FileKind::Avif);
    // No picture, no item of that number, none at all.
    assert_eq!(refusal(b"hdlr", |contents| contents[8] = b'v'), damaged);
    assert_eq!(refusal(b"pitm", |contents| contents[5] = 8), damaged);
    assert_eq!(refusal(b"iinf", |contents| contents.truncate(6)), damaged);
    // A property that is not there, and one longer than its list.
    assert_eq!(refusal(b"iprp", |contents| *contents.last_mut().unwrap() = 0x82), damaged);
    assert_eq!(refusal(b"iprp", |contents| contents[11] += 1), damaged);
    // More places than there are, one in another file, one of a later version.
    assert_eq!(refusal(b"iloc", |contents| contents[7] = 2), damaged);
    assert_eq!(refusal(b"iloc", |contents| contents[13] = 1), damaged);
    assert_eq!(refusal(b"iloc", |contents| contents[0] = 3), damaged);
    // Data beyond the end.
    assert_eq!(refusal(b"iloc", |contents| contents[19] = 3), truncated(FileKind::Avif));
    assert_eq!(refusal(b"iloc", |contents| contents[16] = 0xFF), truncated(FileKind::Avif));
    assert_eq!(refusal(b"idat", |contents| contents.truncate(3)), truncated(FileKind::Avif));
    // The same data over and over.
    let many = refusal(b"iloc", |contents| {
        // Of the file, from its start.
        contents[11] = 0;
        contents[14] = 1;
        contents[16..].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0, 99]);
        contents.extend([0, 0, 0, 0, 0, 0, 0, 99].repeat(256));
    });
    assert_eq!(many, damaged);
    assert_eq!(read(&file(&parts())[..40]).unwrap_err(), truncated(FileKind::Avif));
}

#[test]
fn more_entries_than_a_picture_needs_take_no_memory() {
    let damaged = damaged(FileKind::Avif);
    // Boxes of no contents among the properties.
    let many = boxed(b"free", &[]).repeat(1 << 17);
    assert_eq!(
        refusal(b"iprp", |contents| contents.splice(..0, many.clone()).for_each(drop)),
        damaged
    );
    // The same property over and over.
    let many = refusal(b"iprp", |contents| {
        contents.truncate(contents.len() - 18);
        let entry = [&[0, 7, 255][..], &[0x81; 255]].concat();
        contents.extend(boxed(b"ipma", &[&[0; 4], &[0, 0, 2, 3], &entry.repeat(515)]));
    });
    assert_eq!(many, damaged);
    // Descriptions longer than any.
    let mut long = parts();
    long.push((*b"free", vec![0; LONGEST]));
    assert_eq!(read(&file(&long)).unwrap_err(), damaged);
}

#[test]
fn the_size_is_read_without_the_data() {
    let file = file(&parts());
    let (head, descriptions) = file.split_at(16);
    let data = [1, 2, 3, 4].repeat(99);
    let long = [&[0, 0, 0, 1], &b"mdat"[..], &(16 + data.len() as u64).to_be_bytes(), &data];
    for data in [boxed(b"mdat", &[&data]), long.concat()] {
        let file = [head, &data, descriptions].concat();
        let found = super::descriptions(std::io::Cursor::new(&file)).unwrap();
        assert_eq!(found, descriptions);
        let size = size(std::io::Cursor::new(&file), FileKind::Avif);
        assert_eq!(size, Ok(((9, 5), None)));
    }
    for cut in [16, 20, 40] {
        let size = size(std::io::Cursor::new(&file[..cut]), FileKind::Avif);
        assert_eq!(size, Err(truncated(FileKind::Avif)));
    }
}

#[test]
fn a_rare_kind_has_the_right_article() {
    assert!(rare(FileKind::Avif).starts_with("an AVIF of a rare kind"));
    assert!(rare(FileKind::Tiff).starts_with("a TIFF of a rare kind"));
}

#[test]
fn a_crop_must_be_inside() {
    let crop = |width, height, right, down| {
        Crop([(width, 1), (height, 1), (right, 2), (down, 2)]).of((10, 8))
    };
    assert_eq!(crop(10, 8, 0, 0), Some((0, 0, 10, 8)));
    assert_eq!(crop(4, 2, 0, 0), Some((3, 3, 4, 2)));
    // Three pixels to the left, one downwards.
    assert_eq!(crop(4, 2, (-6i32) as u32, 2), Some((0, 4, 4, 2)));
    assert_eq!(crop(4, 2, (-8i32) as u32, 0), None);
    assert_eq!(crop(11, 8, 0, 0), None);
    assert_eq!(crop(0, 8, 0, 0), None);
    assert_eq!(Crop([(4, 0), (2, 1), (0, 1), (0, 1)]).of((10, 8)), None);
}
