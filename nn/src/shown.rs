//! Names of files, for people to read.

use std::fmt::{self, Display, Write};
use std::path::Path;

/// A path as [`shown`] displays it.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(&'a Path);

/// `path` for a line of text, such as an error or a report on a terminal. A name may contain any
/// character: line breaks, and sequences that move the cursor or change the order of the text.
/// Those characters are escaped, and so are bytes that are not UTF-8.
///
/// ```
/// assert_eq!(nn::shown("photos/März.jpg").to_string(), "photos/März.jpg");
/// assert_eq!(nn::shown("a\n\u{1b}[2Jb.jpg").to_string(), r"a\n\x1b[2Jb.jpg");
/// # Ok::<_, nn::Error>(())
/// ```
pub fn shown<P: AsRef<Path> + ?Sized>(path: &P) -> Shown<'_> {
    Shown(path.as_ref())
}

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.as_os_str().as_encoded_bytes().utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\n' | '\r' | '\t' => write!(f, "{}", c.escape_default())?,
                    _ if c.is_ascii_control() => write!(f, r"\x{:02x}", u32::from(c))?,
                    _ if is_unprintable(c) => write!(f, "{}", c.escape_unicode())?,
                    _ => f.write_char(c)?,
                }
            }
            chunk.invalid().iter().try_for_each(|byte| write!(f, r"\x{byte:02x}"))?;
        }
        Ok(())
    }
}

/// Whether a character is a control, ends a line, or changes the order of the text around it.
fn is_unprintable(c: char) -> bool {
    const REORDERING: [std::ops::RangeInclusive<char>; 2] =
        ['\u{202a}'..='\u{202e}', '\u{2066}'..='\u{2069}'];
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}')
        || REORDERING.iter().any(|range| range.contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_controls_a_terminal() {
        for (name, text) in [
            ("It's  a “photo” №1 (ä) 100%.png", "It's  a “photo” №1 (ä) 100%.png"),
            ("a\r\nb\tc", r"a\r\nb\tc"),
            ("\u{1b}]0;x\u{7}\u{7f}", r"\x1b]0;x\x07\x7f"),
            ("\u{9b}2J", r"\u{9b}2J"),
            ("photo\u{202e}gpj.exe\u{2028}", r"photo\u{202e}gpj.exe\u{2028}"),
            ("", ""),
        ] {
            assert_eq!(shown(name).to_string(), text);
        }
    }

    #[cfg(unix)]
    #[test]
    fn bytes_that_are_not_text_are_all_there() {
        use std::os::unix::ffi::OsStrExt;
        let name = std::ffi::OsStr::from_bytes(b"caf\xe9 \xff.png");
        assert_eq!(shown(name).to_string(), r"caf\xe9 \xff.png");
    }
}
