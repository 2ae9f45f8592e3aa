//! Pictures that are put together of parts of one size, row by row.

use super::super::decoded::{Result, check_size, damaged};
use super::super::heif::{Container, Cursor};
use super::av1::coded;
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
