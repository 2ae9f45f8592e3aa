//! How much memory a restoration may take, and so whether it is done in one piece or in strips.

use crate::error::{Error, Result};
use crate::image::{Photo, can_allocate};
use std::str::FromStr;

/// The bytes for each pixel of an ordinary photograph that its restoration takes beside the
/// network: the photograph and its result, in 8 and 16 bits, the file's samples, and its encoder.
pub(super) const ORDINARY: u64 = 12 + ENCODER;

/// The bytes for each pixel that an encoder takes, with the bytes of the file: that of WebP 2.2.
const ENCODER: u64 = 3;

/// The bytes for each pixel that a photograph at full size takes in addition: the picture that the
/// network sees and its result, in f32.
pub(super) const FULL_SIZE: u64 = 24;

/// The bytes that the program, its threads, what they compute with, and its weights take in any
/// case.
pub(super) const PROGRAM: u64 = 112 << 20;

/// The bytes that the network takes if there is no limit; it takes more where it cannot do with
/// fewer.
const PIECE: u64 = 2 << 30;

/// A limit on the memory that a restoration takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryLimit(Option<u64>);

impl MemoryLimit {
    /// At most this many bytes for the program, a photograph and the network together.
    pub fn limited_to(bytes: u64) -> Self {
        Self(Some(bytes))
    }

    /// The bytes, if there is a limit.
    pub fn bytes(self) -> Option<u64> {
        self.0
    }

    /// Whether there is one.
    pub(crate) fn is_limited(self) -> bool {
        self.0.is_some()
    }
}

/// The division of the memory between a photograph and the network.
#[derive(Clone, Copy)]
pub(super) struct Share {
    pub limit: MemoryLimit,
    /// Width and height of the photograph.
    pub photo: (usize, usize),
    /// The bytes that its restoration takes beside the network.
    pub beside: u64,
}

impl Share {
    /// The bytes that the network may take.
    ///
    /// # Errors
    /// [`Error::Memory`] if the photograph alone takes more than the limit.
    pub fn of_network(self) -> Result<u64> {
        match self.limit.0 {
            None => Ok(PIECE),
            Some(limit) => limit.checked_sub(self.beside).ok_or_else(|| self.refusal(0)),
        }
    }

    /// The error of a photograph that does not fit, for which the network takes at least this many
    /// bytes.
    pub fn refusal(self, piece: u64) -> Error {
        let least = self.beside.saturating_add(piece);
        let limit = self.limit.0.unwrap_or(PIECE);
        Error::Memory { size: self.photo, least, limit, copied: None }
    }
}

/// Fails if the system does not have `bytes` for `photo`, of this width and height, at the moment.
/// Before that, buffers that the engine keeps for later go back to it.
///
/// # Errors
/// [`Error::SystemMemory`].
pub(super) fn require(bytes: u64, photo: (usize, usize)) -> Result<()> {
    let fits = || usize::try_from(bytes).is_ok_and(can_allocate);
    if !fits() {
        engine::memory::trim();
        if !fits() {
            return Err(no_memory(photo));
        }
    }
    Ok(())
}

/// The error of a photograph for which the system has no memory.
fn no_memory(photo: (usize, usize)) -> Error {
    Error::SystemMemory { size: photo, least: bytes(photo, ORDINARY) }
}

/// `error` in terms of the photograph of this width and height, if the system had no memory for an
/// operation.
pub(crate) fn explained(error: Error, photo: (usize, usize)) -> Error {
    if error.is_out_of_system_memory() { no_memory(photo) } else { error }
}

/// The bytes of a picture of this width and height with `per_pixel` bytes a pixel.
pub(super) fn bytes((width, height): (usize, usize), per_pixel: u64) -> u64 {
    (width as u64).saturating_mul(height as u64).saturating_mul(per_pixel)
}

/// The bytes that the restoration of `photo` takes beside the network: the program, what the photo
/// is kept in, its result, the samples of its file, and its encoder.
pub(crate) fn bytes_beside(photo: &Photo) -> u64 {
    let samples = 3 * u64::from(photo.depth.bits() / 8);
    let alpha = if photo.alpha.is_some() { 2 * OPACITIES } else { 0 };
    let result = if photo.pixels.is_float() { 12 } else { 6 };
    let of_profile = photo.profile.as_ref().map_or(0, |profile| profile.bytes() as u64);
    let of_photo = photo.pixels.bytes() as u64 + of_profile;
    of_photo
        .saturating_add(bytes(photo.sides(), result + samples + alpha + ENCODER))
        .saturating_add(PROGRAM)
}

/// The bytes of a pixel's opacity, and of the place of the nearest visible one.
const OPACITIES: u64 = 8;

/// Binary units, by their letters.
const UNITS: [(char, u64); 3] = [('G', 1 << 30), ('M', 1 << 20), ('K', 1 << 10)];

impl FromStr for MemoryLimit {
    type Err = Error;

    /// A number of bytes with a unit: `800M`, `1.5G`.
    fn from_str(text: &str) -> Result<Self> {
        let number = text.trim().trim_end_matches(['B', 'b']).trim_end_matches('i');
        let unit = number.chars().last().map(|letter| letter.to_ascii_uppercase());
        let unit = unit.and_then(|letter| UNITS.iter().find(|(name, _)| *name == letter));
        let bytes = unit.and_then(|(_, size)| {
            let number: f64 = number[..number.len() - 1].trim().parse().ok()?;
            Some(number * *size as f64)
        });
        match bytes {
            Some(bytes) if bytes >= 1.0 && bytes.is_finite() => Ok(Self(Some(bytes as u64))),
            _ => Err(Error::Config {
                reason: format!("\"{text}\" is not an amount of memory, such as 800M or 2G"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Depth, Format, Image, Pixels, WriteOptions};

    #[test]
    fn a_photograph_and_the_network_share_what_there_is() {
        let limit = MemoryLimit::limited_to(1000);
        let share = Share { limit, photo: (4, 4), beside: 400 };
        assert_eq!(share.of_network().unwrap(), 600);
        let error = share.refusal(700);
        assert!(matches!(error, Error::Memory { least: 1100, limit: 1000, .. }), "{error}");
        let error = Share { beside: 1001, ..share }.of_network().unwrap_err();
        assert!(
            matches!(error, Error::Memory { size: (4, 4), least: 1001, limit: 1000, copied: None }),
            "{error}"
        );
        // Without a limit, there are 2 GiB, however large the photograph is.
        let none = MemoryLimit::default();
        let share = Share { limit: none, photo: (1 << 20, 1 << 20), beside: u64::MAX };
        assert_eq!(share.of_network().unwrap(), 2 << 30);
        assert!(limit.is_limited() && !none.is_limited());
    }

    #[test]
    fn a_photograph_takes_what_its_kind_needs() {
        let image = Image::new(10, 10);
        let eight = Photo::of(Pixels::build((10, 10), &image.clone().into(), |_, _| ()));
        let float = Photo::new(image);
        assert_eq!(bytes_beside(&eight), bytes_beside(&float));
        let file = eight.to_bytes(Format::Png, &WriteOptions::default()).unwrap().0;
        let eight = Photo::from_bytes(&file, &Default::default()).unwrap();
        assert_eq!(bytes_beside(&eight), PROGRAM + 100 * ORDINARY);
        assert_eq!(bytes_beside(&float), PROGRAM + 100 * (12 + 12 + 3 + ENCODER));
        let deep = Photo { depth: Depth::Sixteen, alpha: Some(vec![1.0; 100]), ..eight };
        assert_eq!(bytes_beside(&deep), PROGRAM + 100 * (3 + 6 + 6 + 16 + ENCODER));
    }

    #[test]
    fn amounts_have_a_unit() {
        for (text, bytes) in [
            ("2G", 2 << 30),
            ("1.5g", 3 << 29),
            ("800M", 800 << 20),
            ("800 MB", 800 << 20),
            ("64MiB", 64 << 20),
            ("512k", 512 << 10),
        ] {
            assert_eq!(
                text.parse::<MemoryLimit>().unwrap(),
                MemoryLimit::limited_to(bytes),
                "{text}"
            );
        }
        for text in ["", "2", "G", "-1G", "NaN G", "infG", "0M", "2T", "é", "2Gé"] {
            assert!(text.parse::<MemoryLimit>().is_err(), "{text}");
        }
    }
}
