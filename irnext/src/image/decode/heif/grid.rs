//! Pictures that are put together of parts of one size, row by row.

use super::super::decoded::{Result, check_size, damaged};
use super::av1::coded;
use super::container::{Container, Cursor};
use super::frame::Frame;
use crate::image::FileKind;
use crate::image::photo::Limits;

pub(super) fn decode(container: &Container<'_>, id: u32, limits: &Limits) -> Result<Frame> {
    let broken = || damaged(FileKind::Avif);
    let layout = layout(&container.data(id)?).ok_or_else(broken)?;
    check_size((layout.width as u32, layout.height as u32), limits)?;
    let parts: Vec<u32> = container.item(id)?.leads(b"dimg").collect();
    if parts.len() != layout.rows * layout.columns {
        return Err(broken());
    }
    let first = coded(container, parts[0], limits)?;
    let (width, height) = (first.width, first.height);
    // The last ones may reach beyond the picture, and no others.
    let spans = |part: usize, count: usize, side: usize| {
        let others = part.saturating_mul(count - 1);
        others < side && side <= others.saturating_add(part)
    };
    if !spans(width, layout.columns, layout.width) || !spans(height, layout.rows, layout.height) {
        return Err(broken());
    }
    let (across, down) = first.halved.unwrap_or_default();
    let is_uneven =
        |part: usize, count: usize, halved: bool| halved && count > 1 && !part.is_multiple_of(2);
    if is_uneven(width, layout.columns, across) || is_uneven(height, layout.rows, down) {
        return Err(container.refusal());
    }
    let mut whole = first.like(layout.width, layout.height);
    whole.put(&first, (0, 0));
    for (i, &part) in parts.iter().enumerate().skip(1) {
        let part = coded(container, part, limits)?;
        if !part.is_like(&first) || (part.width, part.height) != (width, height) {
            return Err(broken());
        }
        whole.put(&part, (i % layout.columns * width, i / layout.columns * height));
    }
    Ok(whole)
}

impl Frame {
    /// A frame of another size with samples of the same sort, all 0.
    fn like(&self, width: usize, height: usize) -> Self {
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
    fn is_like(&self, other: &Self) -> bool {
        (self.bits, self.halved, self.nclx) == (other.bits, other.halved, other.nclx)
    }

    /// Puts a frame of the same sort at (`x`, `y`), which are even, and cuts it off at the edges.
    fn put(&mut self, part: &Self, (x, y): (usize, usize)) {
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

/// How many parts there are, and the size of the whole.
struct Layout {
    rows: usize,
    columns: usize,
    width: usize,
    height: usize,
}

fn layout(data: &[u8]) -> Option<Layout> {
    let mut cursor = Cursor::new(data);
    let (version, flags) = (cursor.u8()?, cursor.u8()?);
    let (rows, columns) = (usize::from(cursor.u8()?) + 1, usize::from(cursor.u8()?) + 1);
    // Sides take 16 or 32 bits.
    let mut side = || cursor.number(if flags & 1 == 0 { 2 } else { 4 });
    let [width, height] = [side()?, side()?].map(|side| side as usize);
    (version == 0).then_some(Layout { rows, columns, width, height })
}
