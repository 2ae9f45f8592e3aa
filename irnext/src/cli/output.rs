//! Writing lines for people and programs, and protecting existing files.

use crate::error::{Error, Result};
use nn::shown;
use std::borrow::Cow;
use std::path::Path;
use std::sync::{LazyLock, OnceLock};

/// Fails if `path` exists and `overwrite` is false.
pub(super) fn check_overwrite(path: &Path, overwrite: bool) -> Result<()> {
    match path.exists() && !overwrite {
        true => Err(Error::data(path, "already exists; --overwrite replaces it")),
        false => Ok(()),
    }
}

/// Fails if `output` is the file of `photograph`, under whatever name.
pub(super) fn check_not_replaced(photograph: &Path, output: &Path) -> Result<()> {
    match (photograph.canonicalize(), output.canonicalize()) {
        (Ok(one), Ok(other)) if one == other => {
            let output = shown(output);
            let reason = format!("{output}: would replace this photograph; choose another output");
            Err(Error::Config { reason })
        }
        _ => Ok(()),
    }
}

/// Prints a line to standard output. Unlike `println!` it ignores a closed pipe:
/// `irnext eval … | head` ends quietly, and a training run outlives its terminal. Another error is
/// kept for the end ([`lost`]).
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        if let Err(error) = writeln!(std::io::stdout(), $($text)*) {
            $crate::cli::output::keep(error);
        }
    }};
}
pub(super) use say;

/// The first error of printing to standard output.
static LOST: OnceLock<std::io::Error> = OnceLock::new();

/// Keeps an error of printing, unless nobody reads any more.
pub(super) fn keep(error: std::io::Error) {
    if error.kind() != std::io::ErrorKind::BrokenPipe {
        // The first one says enough.
        let _ = LOST.set(error);
    }
}

/// The reason why something that was printed is lost, such as a full disk.
pub(super) fn lost() -> Option<String> {
    LOST.get().map(|error| format!("standard output cannot be written: {}", Error::words(error)))
}

/// Prints a line to standard error, after the name of the program. It ignores a closed pipe, too.
macro_rules! complain {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "irnext: {}", format_args!($($text)*));
    }};
}
pub(super) use complain;

/// `text` of this program in characters that the terminal has: where the locale is not UTF-8, signs
/// become ASCII.
pub(super) fn signs(text: &str) -> Cow<'_, str> {
    static UNICODE: LazyLock<bool> =
        LazyLock::new(|| !cfg!(unix) || is_utf8(|name| std::env::var(name).ok()));
    match *UNICODE || text.is_ascii() {
        true => text.into(),
        false => text
            .replace('→', "->")
            .replace('×', "x")
            .replace('…', "...")
            .replace(['–', '−'], "-")
            .into(),
    }
}

/// Whether the locale, by these variables of the environment, is in UTF-8. The first that is set
/// decides.
fn is_utf8(variable: impl Fn(&str) -> Option<String>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(|name| variable(name).filter(|value| !value.is_empty()));
    let locale = locale.unwrap_or_default().to_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// `path` as a word for the shell. Characters that a terminal must not get, and bytes that are not
/// UTF-8, are escaped as bash, zsh and ksh read them.
pub(super) fn shell_word(path: &Path) -> String {
    let Some(text) = path.to_str().filter(|text| *text == shown(path).to_string()) else {
        let mut word = String::from("$'");
        if path.as_os_str().as_encoded_bytes().starts_with(b"-") {
            word.push_str("./");
        }
        for &byte in path.as_os_str().as_encoded_bytes() {
            match byte {
                b'\'' | b'\\' => word.extend(['\\', byte.into()]),
                b' '..=b'~' => word.push(byte.into()),
                _ => word.push_str(&format!(r"\x{byte:02x}")),
            }
        }
        return word + "'";
    };
    let plain = |c: char| c.is_alphanumeric() || "/._-+,:@%=".contains(c);
    match !text.is_empty() && !text.starts_with('-') && text.chars().all(plain) {
        true => text.into(),
        false if text.starts_with('-') => format!("'./{}'", text.replace('\'', r"'\''")),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_is_set_decides_the_locale() {
        let of = |set: &[(&str, &str)]| {
            is_utf8(|name| {
                let found = set.iter().find(|(variable, _)| *variable == name);
                found.map(|(_, value)| value.to_string())
            })
        };
        assert!(of(&[("LANG", "de_DE.UTF-8")]) && of(&[("LC_CTYPE", "C.utf8"), ("LANG", "C")]));
        assert!(!of(&[]) && !of(&[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")]));
        assert!(of(&[("LC_ALL", ""), ("LANG", "en_US.UTF-8")]));
    }

    #[test]
    fn words_are_quoted_where_the_shell_needs_it() {
        let of = |path: &str| shell_word(Path::new(path));
        assert_eq!(of("photos/a-1.jpg"), "photos/a-1.jpg");
        assert_eq!(of("my photo.jpg"), "'my photo.jpg'");
        assert_eq!(of("it's"), r"'it'\''s'");
        assert_eq!(of("-x.jpg"), "'./-x.jpg'");
        assert_eq!(of("-it's\n\u{1b}.jpg"), r"$'./-it\'s\x0a\x1b.jpg'");
    }
}
