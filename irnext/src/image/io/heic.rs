//! HEIC files, made by `heif-enc` 1.15 of patterns, and the pixels that `heif-convert` reads from
//! them. Those that are not called plain are grids of one part, as the coder takes no picture as
//! small as these.

use super::compare::{apart, opacities};
use super::sample;
use crate::image::{Depth, FileKind, Limits, Photo};

fn file(name: &str) -> Vec<u8> {
    sample::bytes(&format!("heic/{name}.heic"))
}

fn read(name: &str) -> Photo {
    sample::photo(&format!("heic/{name}.heic"))
}

#[test]
fn every_kind_of_pixels_is_read_as_libheif_reads_it() {
    for (name, depth, most, mean) in [
        ("444", Depth::Eight, 1.1, 0.5),
        // Where the library leaves colors as they are coded, halved chroma is interpolated here.
        ("422", Depth::Eight, 6.1, 2.0),
        ("420", Depth::Eight, 6.1, 2.0),
        ("gray", Depth::Eight, 1.1, 0.3),
        ("exact", Depth::Eight, 0.1, 0.1),
        ("10-bits", Depth::Sixteen, 1.1, 0.5),
        ("alpha", Depth::Eight, 1.1, 0.5),
        ("odd", Depth::Eight, 1.1, 0.5),
        ("quarter", Depth::Eight, 1.1, 0.5),
        ("plain-444", Depth::Eight, 1.1, 0.5),
        ("plain-422", Depth::Eight, 6.1, 2.0),
        ("plain-420", Depth::Eight, 6.1, 2.0),
        ("plain-gray", Depth::Eight, 1.1, 0.3),
        ("plain-10", Depth::Sixteen, 1.1, 0.5),
        ("plain-alpha", Depth::Eight, 1.1, 0.5),
    ] {
        let (photo, expected) = (read(name), sample::photo(&format!("heic/{name}.png")));
        let found = apart(&photo, &expected);
        assert!(found.0 <= most && found.1 <= mean, "{name}: {found:?}");
        assert_eq!(opacities(&photo), opacities(&expected), "{name}");
        assert_eq!(photo.depth, depth, "{name}");
        let is_jpeg = depth == Depth::Eight && photo.alpha.is_none();
        assert_eq!(photo.output_extension(), if is_jpeg { "jpg" } else { "png" }, "{name}");
        assert!(photo.profile.is_none() && photo.notes.is_empty(), "{name}: {:?}", photo.notes);
        assert_eq!(photo.source.as_ref().map(|source| source.kind), Some(FileKind::Heic));
        assert_eq!(Photo::size_of_bytes(&file(name)), Ok(photo.sides()));
    }
}

#[test]
fn exif_is_kept_and_the_container_alone_tells_the_orientation() {
    let photo = read("turned");
    assert_eq!(photo.sides(), (40, 30));
    assert!(
        photo.metadata.exif.as_ref().is_some_and(|exif| exif.windows(5).any(|w| w == b"Maker"))
    );
}

#[test]
fn damaged_files_are_refused_in_words() {
    let whole = file("444");
    for len in 0..whole.len() {
        let Err(reason) = Photo::from_bytes(&whole[..len], &Limits::default()) else {
            panic!("{len} bytes are no picture")
        };
        assert!(!reason.contains("heif") && !reason.contains("HeifError"), "{len}: {reason}");
    }
    for at in 0..whole.len() {
        let mut broken = whole.clone();
        broken[at] ^= 0xFF;
        drop(Photo::from_bytes(&broken, &Limits::default()));
    }
}
