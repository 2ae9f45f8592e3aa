//! The kind of a file, from its first bytes, and advice for the kinds that cannot be read.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::error::{Error, Result};

/// The number of bytes at the start of a file that tell its kind.
pub(super) const SIGNATURE_LEN: u64 = 64;

/// A kind of file, detected from its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum FileKind {
    Png,
    Jpeg,
    WebP,
    Bmp,
    Tiff,
    /// PBM, PGM, PPM and PAM.
    Pnm,
    Gif,
    Avif,
    Heic,
    JpegXl,
    Jpeg2000,
    OpenExr,
    Hdr,
    Ico,
    Qoi,
    Dds,
    Psd,
    Svg,
    Pdf,
    /// An image of a rarer format, by its name.
    Other(&'static str),
    /// A raw photograph of a camera, by the name of its kind.
    Raw(&'static str),
    /// A video, by the name of its container.
    Video(&'static str),
    /// An empty file.
    Empty,
    /// Anything else.
    Unknown,
}

impl FileKind {
    /// The kind of a file that starts with these bytes.
    pub fn of(head: &[u8]) -> Self {
        let brand = |at: usize| head.get(at..at + 4).unwrap_or(b"    ");
        match head {
            [] => Self::Empty,
            [0x89, b'P', b'N', b'G', ..] => Self::Png,
            [0xFF, 0xD8, 0xFF, ..] => Self::Jpeg,
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Self::WebP,
            [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', b' ', ..] => Self::Video("AVI"),
            [b'B', b'M', ..] => Self::Bmp,
            [b'I', b'I', b'U', 0, ..] => Self::Raw("Panasonic RW2"),
            [b'I', b'I', b'R', b'O' | b'S', ..] | [b'M', b'M', b'O', b'R', ..] => {
                Self::Raw("Olympus ORF")
            }
            [b'I', b'I', b'*', 0, _, _, _, _, b'C', b'R', ..] => Self::Raw("Canon CR2"),
            [b'I', b'I', b'*' | b'+', 0, ..] | [b'M', b'M', 0, b'*' | b'+', ..] => Self::Tiff,
            [b'P', b'1'..=b'7', b' ' | b'\t' | b'\r' | b'\n' | b'#', ..] => Self::Pnm,
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Self::Gif,
            [b'F', b'U', b'J', b'I', b'F', b'I', b'L', b'M', ..] => Self::Raw("Fujifilm RAF"),
            [0xFF, 0x0A, ..] | [0, 0, 0, 12, b'J', b'X', b'L', b' ', ..] => Self::JpegXl,
            [0, 0, 0, 12, b'j', b'P', ..] | [0xFF, 0x4F, 0xFF, 0x51, ..] => Self::Jpeg2000,
            [_, _, _, _, b'f', b't', b'y', b'p', ..] => match brand(8) {
                b"avif" | b"avis" => Self::Avif,
                b"mif1" | b"msf1" if contains(head, b"avif") => Self::Avif,
                b"crx " => Self::Raw("Canon CR3"),
                b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1" => {
                    Self::Heic
                }
                b"qt  " => Self::Video("QuickTime"),
                _ => Self::Video("MP4"),
            },
            [0x76, 0x2F, 0x31, 0x01, ..] => Self::OpenExr,
            [b'#', b'?', b'R', ..] => Self::Hdr,
            // With this many pictures, none of which is no icon.
            [0, 0, 1 | 2, 0, low, high, ..] if (*low, *high) != (0, 0) => Self::Ico,
            // Without a signature: no palette, a kind of pixels, and how many bits they have.
            [
                _,
                0,
                2 | 3 | 10 | 11,
                0,
                0,
                0,
                0,
                _,
                _,
                _,
                _,
                _,
                _,
                _,
                _,
                _,
                8 | 16 | 24 | 32,
                ..,
            ]
            | [_, 1, 1 | 9, _, _, _, _, 16 | 24 | 32, _, _, _, _, _, _, _, _, 8, ..] => {
                Self::Other("TGA")
            }
            [0x01, 0xDA, 0 | 1, 1 | 2, ..] => Self::Other("SGI"),
            [0x0A, 0..=5, 1, 1 | 2 | 4 | 8, ..] => Self::Other("PCX"),
            [b'S', b'I', b'M', b'P', b'L', b'E', b' ', b' ', b'=', ..] => Self::Other("FITS"),
            [b'P', b'F' | b'f', b'\n', ..] => Self::Other("PFM"),
            [b'I', b'I', 0xBC, ..] => Self::Other("JPEG XR"),
            [b'B', b'P', b'G', 0xFB, ..] => Self::Other("BPG"),
            _ if head.starts_with(b"/* XPM") => Self::Other("XPM"),
            _ if head.starts_with(b"#define ") && contains(head, b"_width") => Self::Other("XBM"),
            _ if head.starts_with(b"farbfeld") => Self::Other("Farbfeld"),
            [b'q', b'o', b'i', b'f', ..] => Self::Qoi,
            [b'D', b'D', b'S', b' ', ..] => Self::Dds,
            [b'8', b'B', b'P', b'S', ..] => Self::Psd,
            [b'%', b'P', b'D', b'F', ..] => Self::Pdf,
            [0x1A, 0x45, 0xDF, 0xA3, ..] => Self::Video("Matroska"),
            _ if contains(head, b"<svg") => Self::Svg,
            _ => Self::Unknown,
        }
    }

    /// The kind of the file `path`.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn detect(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::read(&mut File::open(path).map_err(Error::io(path))?).map_err(Error::io(path))
    }

    /// The kind of the file that `file` starts to read.
    pub(super) fn read(file: &mut File) -> io::Result<Self> {
        let mut head = Vec::new();
        file.take(SIGNATURE_LEN).read_to_end(&mut head)?;
        Ok(Self::of(&head))
    }

    /// The usual extension of files of this kind, without a dot, if they can be written.
    pub fn extension(self) -> Option<&'static str> {
        Some(match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::WebP => "webp",
            Self::Bmp => "bmp",
            Self::Tiff => "tif",
            Self::Pnm => "pnm",
            _ => return None,
        })
    }

    /// Whether a photo can be read from it.
    pub fn is_readable(self) -> bool {
        use FileKind::{Avif, Bmp, Gif, Heic, Jpeg, JpegXl, Png, Pnm, Tiff, WebP};
        matches!(self, Png | Jpeg | JpegXl | WebP | Bmp | Tiff | Pnm | Gif)
            || (self == Avif && cfg!(feature = "avif"))
            || (self == Heic && cfg!(feature = "heic"))
    }

    /// Whether this is a picture, readable or not, rather than a video or a file of another sort.
    pub fn is_picture(self) -> bool {
        !matches!(self, Self::Video(_) | Self::Empty | Self::Unknown | Self::Pdf)
    }

    /// The reason why it cannot be read, and advice, as the end of a sentence about the file;
    /// `None` if it can.
    pub fn refusal(self) -> Option<String> {
        const SAVE: &str = "open them in an image program and save them as PNG or TIFF";
        let what = match self {
            kind if kind.is_readable() => return None,
            Self::Empty => return Some("the file is empty".into()),
            Self::Unknown => {
                let named = |kind: Self, name| if kind.is_readable() { name } else { "" };
                return Some(format!(
                    "not an image, or of an unknown type; PNG, JPEG, WebP, TIFF, BMP, GIF, \
                     PNM{}{} and JPEG XL can be read",
                    named(Self::Avif, ", AVIF"),
                    named(Self::Heic, ", HEIC")
                ));
            }
            Self::Heic => {
                "convert them with `heif-convert`, or save them as JPEG in the phone's \
                           or computer's photo program"
            }
            Self::Avif => "convert them with `avifdec`, or save them as PNG in an image program",
            Self::Raw(_) => {
                "develop it with the camera's or a raw program and save it as TIFF or \
                             PNG"
            }
            Self::Video(_) => {
                return Some(format!("a video ({self}), not a photo; save a frame of it as PNG"));
            }
            _ => SAVE,
        };
        Some(match self {
            Self::Raw(_) => format!("a raw photo ({self}), which cannot be read; {what}"),
            _ => format!("{self} files cannot be read; {what}"),
        })
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::WebP => "WebP",
            Self::Bmp => "BMP",
            Self::Tiff => "TIFF",
            Self::Pnm => "PNM",
            Self::Gif => "GIF",
            Self::Avif => "AVIF",
            Self::Heic => "HEIC",
            Self::JpegXl => "JPEG XL",
            Self::Jpeg2000 => "JPEG 2000",
            Self::OpenExr => "OpenEXR",
            Self::Hdr => "Radiance HDR",
            Self::Ico => "ICO",
            Self::Qoi => "QOI",
            Self::Dds => "DDS",
            Self::Psd => "Photoshop",
            Self::Svg => "SVG",
            Self::Pdf => "PDF",
            Self::Other(name) | Self::Raw(name) | Self::Video(name) => name,
            Self::Empty => "empty",
            Self::Unknown => "unknown",
        })
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
