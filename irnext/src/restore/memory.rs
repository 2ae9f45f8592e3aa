//! How much memory a restoration may take, and so whether it is done in one piece or in strips.

use crate::error::{Error, Result};
use std::str::FromStr;

/// The bytes for each pixel of a photograph that a restoration takes beside the network: the
/// photograph, the part of it that the network sees, and the result, in f32, and the largest of the
/// buffers that files are read and written through.
const BESIDE: u64 = 60;

/// The bytes that the network takes if there is no limit; it takes more where it cannot do with
/// so few.
const PIECE: u64 = 2 << 30;

/// A limit on the memory that a restoration takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryLimit(Option<u64>);

impl MemoryLimit {
    /// At most this many bytes for a photograph and the network together.
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

    /// Fails if a photograph of this width and height takes more by itself.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub(crate) fn check(self, photo: (usize, usize)) -> Result<()> {
        self.for_network(photo).map(drop)
    }

    /// The bytes that the network may take beside a photograph of this width and height.
    ///
    /// # Errors
    /// [`Error::Memory`] if the photograph alone takes more than the limit.
    pub(super) fn for_network(self, photo: (usize, usize)) -> Result<u64> {
        match self.0 {
            None => Ok(PIECE),
            Some(limit) => limit.checked_sub(beside(photo)).ok_or_else(|| self.refusal(photo, 0)),
        }
    }

    /// The error of a photograph that does not fit, for which the network takes at least this
    /// many bytes.
    pub(super) fn refusal(self, photo: (usize, usize), piece: u64) -> Error {
        let least = beside(photo).saturating_add(piece);
        Error::Memory { size: photo, least, limit: self.0.unwrap_or(PIECE) }
    }
}

fn beside((width, height): (usize, usize)) -> u64 {
    (width as u64).saturating_mul(height as u64).saturating_mul(BESIDE)
}

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

    #[test]
    fn a_photograph_and_the_network_share_what_there_is() {
        let limit = MemoryLimit::limited_to(1000);
        // 60 bytes for each pixel of the photograph.
        assert_eq!(limit.for_network((2, 3)).unwrap(), 640);
        assert!(limit.check((4, 4)).is_ok());
        let error = limit.check((4, 5)).unwrap_err();
        assert!(
            matches!(error, Error::Memory { size: (4, 5), least: 1200, limit: 1000 }),
            "{error}"
        );
        let error = limit.refusal((4, 4), 50);
        assert!(matches!(error, Error::Memory { least: 1010, limit: 1000, .. }), "{error}");
        // Without a limit, there are 2 GiB, however large the photograph is.
        let none = MemoryLimit::default();
        assert_eq!(none.for_network((1 << 20, 1 << 20)).unwrap(), 2 << 30);
        assert!(limit.is_limited() && !none.is_limited());
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
