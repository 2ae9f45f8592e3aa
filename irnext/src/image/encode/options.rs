//! The options of writing a photo.

/// The options of writing a photo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// The quality of a JPEG file, 1 to 100. If none, that of the JPEG file that the photo was read
    /// from, but at least 90; and 95 for other photos.
    pub quality: Option<u8>,
    /// Leaves out the metadata. The color profile stays, as the colors depend on it.
    pub strip: bool,
}
