//! Notes: what reading, restoring or writing a photograph changed or left out.

use std::fmt;

/// Something that a person should know about a photograph that was read, restored or written all
/// the same. Displays as part of a line, without a full stop.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// The network's output was not finite in half precision; it was computed again in f32.
    RepeatedInF32,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RepeatedInF32 => {
                f.write_str("not finite in half precision, so computed again in f32")
            }
        }
    }
}
