//! Notes: what reading, restoring or writing a photograph changed or left out.

use std::fmt;

use super::FileKind;

/// Something that a person should know about a photograph that was read, restored or written all
/// the same. Displays as part of a line, without a full stop.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// Part of the file is damaged, and the picture with it.
    Damaged,
    /// A checksum in the file is wrong, so that part of it may be damaged.
    WrongChecksum,
    /// Only this percentage of the picture is in the file.
    Incomplete(u8),
    /// The fine detail of a progressive JPEG is missing.
    Coarse,
    /// All of the picture is there, but the file's end is missing.
    NoEnd,
    /// The first of this many images was read.
    FirstOf(usize),
    /// The video behind the picture was not read.
    VideoLeftOut,
    /// The samples had more bits than are read or than the format can hold.
    FewerBits {
        /// The bits of a sample, before.
        from: u8,
        /// The bits of a sample, after.
        to: u8,
    },
    /// The format holds no transparency, so the photo was put over white.
    OverWhite,
    /// The format cannot hold this part of the metadata, so it was left out.
    LeftOut {
        /// The omitted part, such as "EXIF".
        what: &'static str,
        /// The format.
        kind: FileKind,
    },
    /// These application segments of a JPEG file were left out, since only their makers know their
    /// contents.
    SegmentsLeftOut(Vec<String>),
    /// The colors were converted from CMYK to RGB by their profile.
    FromCmyk,
    /// The colors were converted from CMYK to RGB without a profile, and are approximate.
    ApproximateColors,
    /// The color profile could not be used; the colors were taken for sRGB.
    ProfileIgnored,
    /// The colors were converted to sRGB, since the format holds no profile.
    ConvertedToSrgb,
    /// The picture shows nothing that could be restored, so it was left as it is.
    Blank,
    /// The network's output was not finite in half precision; it was computed again in f32.
    RepeatedInF32,
    /// Memory ran out, the system's or the GPU's, so the photo was computed in strips that take
    /// less.
    MemoryRanOut,
    /// The restoration turned this percentage of the pixels black.
    TurnedBlack(u8),
    /// The restoration turned this percentage of the pixels white.
    TurnedWhite(u8),
    /// The restoration tinted grays.
    Tinted,
    /// The restoration left ripples beside edges.
    Ringing,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged => f.write_str("the file is damaged, and part of the picture with it"),
            Self::WrongChecksum => {
                f.write_str("a checksum in the file is wrong: part of it may be damaged")
            }
            Self::Incomplete(percent) => write!(f, "only {percent} % of the picture is there"),
            Self::Coarse => f.write_str("the file is cut short, and fine detail is missing"),
            Self::NoEnd => f.write_str("the end of the file is missing, but the picture is whole"),
            Self::FirstOf(count) => write!(f, "first of {count} images"),
            Self::VideoLeftOut => f.write_str("its video left out"),
            Self::FewerBits { from, to } => write!(f, "{from} → {to} bits"),
            Self::OverWhite => f.write_str("transparency over white"),
            Self::LeftOut { what, kind } => {
                write!(f, "{what} left out: {kind} cannot hold it")
            }
            Self::SegmentsLeftOut(names) => {
                // A damaged file may seem to have any number of them.
                const MOST: usize = 6;
                let more = if names.len() > MOST { ", …" } else { "" };
                let names = names[..names.len().min(MOST)].join(", ");
                write!(f, "JPEG segments left out: {names}{more}")
            }
            Self::FromCmyk => f.write_str("CMYK → RGB"),
            Self::ApproximateColors => {
                f.write_str("colors are approximate: CMYK without a profile")
            }
            Self::ProfileIgnored => {
                f.write_str("the color profile cannot be used; colors taken as sRGB")
            }
            Self::ConvertedToSrgb => f.write_str("colors converted to sRGB"),
            Self::Blank => f.write_str("nothing to restore: the picture has one even shade"),
            Self::RepeatedInF32 => {
                f.write_str("not finite in half precision, so computed again in f32")
            }
            Self::MemoryRanOut => f.write_str("memory ran out, so computed again in strips"),
            Self::TurnedBlack(percent) => {
                write!(f, "look at the shadows: {percent} % of the picture turned black")
            }
            Self::TurnedWhite(percent) => {
                write!(f, "look at the highlights: {percent} % of the picture turned white")
            }
            Self::Tinted => f.write_str("look at the colors: grays are tinted"),
            Self::Ringing => f.write_str("look at the edges: there are ripples beside them"),
        }
    }
}
