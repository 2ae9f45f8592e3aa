//! Pictures as AV1 codes them: luma and two differences of color, or one channel.

use super::super::heif::Nclx;

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

    /// A frame of another size with samples of the same sort, all 0.
    pub fn like(&self, width: usize, height: usize) -> Self {
        let mut frame = Self { width, height, planes: Vec::new(), ..*self };
        frame.planes = (0..self.planes.len())
            .map(|plane| {
                let (width, height) = frame.plane_size(plane);
                vec![0; width * height]
            })
            .collect();
        frame
    }

    /// Whether the samples of another are of the same sort.
    pub fn is_like(&self, other: &Self) -> bool {
        (self.bits, self.halved, self.nclx) == (other.bits, other.halved, other.nclx)
    }

    /// Puts a frame of the same sort at (`x`, `y`), which are even, and cuts it off at the edges.
    pub fn put(&mut self, part: &Self, (x, y): (usize, usize)) {
        for plane in 0..self.planes.len() {
            let (width, height) = self.plane_size(plane);
            let (part_width, part_height) = part.plane_size(plane);
            let (left, top) = match self.halved {
                Some((across, down)) if plane > 0 => {
                    (x >> usize::from(across), y >> usize::from(down))
                }
                _ => (x, y),
            };
            let columns = part_width.min(width.saturating_sub(left));
            let rows = part_height.min(height.saturating_sub(top));
            for row in 0..rows {
                let from = &part.planes[plane][row * part_width..][..columns];
                self.planes[plane][(top + row) * width + left..][..columns].copy_from_slice(from);
            }
        }
    }
}
