//! Bounds on what a file may say: its texts in messages, and the sizes of its tensors.

use engine::DType;

/// Most dimensions of a tensor.
pub(super) const MAX_RANK: usize = 8;

/// A text of a file's, fit for a terminal: control characters and what else does not show as
/// escapes, and not too long.
pub fn printable(text: &str) -> String {
    const LONGEST: usize = 240;
    let mut shown = String::new();
    for c in text.chars().take(LONGEST) {
        match c {
            '"' | '\'' | '\\' => shown.push(c),
            _ => shown.extend(c.escape_debug()),
        }
    }
    if text.chars().nth(LONGEST).is_some() { shown + "…" } else { shown }
}

/// The bytes that a tensor of `shape` takes; an error if they cannot be counted, or not even the
/// sizes can.
pub(super) fn checked_bytes(shape: &[usize], dtype: DType) -> Result<usize, String> {
    // Sizes beside a zero must be countable as well: strides are products of them.
    let nonzero = shape.iter().map(|&n| n.max(1)).try_fold(dtype.size(), usize::checked_mul);
    match nonzero.filter(|&bytes| bytes <= isize::MAX as usize && shape.len() <= MAX_RANK) {
        Some(_) => Ok(shape.iter().product::<usize>() * dtype.size()),
        None => Err("a shape beyond all bounds".into()),
    }
}
