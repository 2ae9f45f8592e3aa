//! Pictures as AV1 codes them: luma and two differences of color, or one channel.

use super::container::Nclx;

/// A decoded picture.
pub(super) struct Frame {
    pub width: usize,
    pub height: usize,
    /// Of a sample: 8, 10 or 12.
    pub bits: u32,
    /// Whether color has half the columns, and half the rows; `None` for one channel.
    pub halved: Option<(bool, bool)>,
    /// Luma and, with color, Cb and Cr, row by row.
    pub planes: Vec<Vec<u16>>,
    /// What it tells about its colors.
    pub nclx: Nclx,
}

impl Frame {
    /// The width and the height of a plane.
    pub fn plane_size(&self, plane: usize) -> (usize, usize) {
        let half = |side: usize, halved: bool| if halved { side.div_ceil(2) } else { side };
        match self.halved {
            Some((across, down)) if plane > 0 => {
                (half(self.width, across), half(self.height, down))
            }
            _ => (self.width, self.height),
        }
    }
}
