//! Bounds on the contents of a file: its texts in messages, and the sizes of its tensors.

use engine::DType;

/// The most dimensions of a tensor.
pub(super) const MAX_RANK: usize = 8;

/// A text from a file, made fit for a terminal: control and invisible characters are escaped, and
/// long texts are cut.
///
/// ```
/// assert_eq!(nn::weights::printable("head\u{1b}[2J"), "head\\u{1b}[2J");
/// # Ok::<_, nn::Error>(())
/// ```
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

/// The number of bytes of a tensor of `shape`; an error if it overflows.
pub(super) fn checked_bytes(shape: &[usize], dtype: DType) -> Result<usize, String> {
    // Sizes beside a zero must be countable as well: strides are products of them.
    let nonzero = shape.iter().map(|&n| n.max(1)).try_fold(dtype.size(), usize::checked_mul);
    match nonzero.filter(|&bytes| bytes <= isize::MAX as usize && shape.len() <= MAX_RANK) {
        Some(_) => Ok(shape.iter().product::<usize>() * dtype.size()),
        None => Err("a shape beyond all bounds".into()),
    }
}
