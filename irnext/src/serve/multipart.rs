//! Forms with a file, as browsers and `curl -F` send them (RFC 7578).

use std::borrow::Cow;

/// One field of a form.
#[derive(Debug, PartialEq)]
pub(super) struct FormField<'a> {
    /// Its name.
    pub name: String,
    /// Whether it is a file.
    pub is_file: bool,
    /// Its value, or the contents of the file.
    pub value: &'a [u8],
}

/// The boundary between the fields, if `content_type` is that of a form with files.
///
/// # Errors
/// The reason, if it has no boundary.
pub(super) fn boundary(content_type: &str) -> Result<Option<String>, String> {
    let kind = content_type.split(';').next().unwrap_or_default();
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return Ok(None);
    }
    match parameter(content_type, "boundary") {
        Some(boundary) if !boundary.is_empty() => Ok(Some(boundary)),
        _ => Err("the form has no boundary".into()),
    }
}

/// The fields of the form `body`.
///
/// # Errors
/// The reason, if it is none.
pub(super) fn fields<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<FormField<'a>>, String> {
    let malformed = || "the form is cut short or malformed".to_string();
    let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
    // The first delimiter may be the first line, and may follow others.
    let mut rest = match body.strip_prefix(&delimiter[2..]) {
        Some(rest) => rest,
        None => split(body, &delimiter).ok_or_else(malformed)?.1,
    };
    let mut fields = Vec::new();
    while !rest.starts_with(b"--") {
        let (padding, after) = split(rest, b"\r\n").ok_or_else(malformed)?;
        if !padding.iter().all(|byte| b" \t".contains(byte)) {
            return Err(malformed());
        }
        let (head, after) = split(after, b"\r\n\r\n").ok_or_else(malformed)?;
        let (value, after) = split(after, &delimiter).ok_or_else(malformed)?;
        fields.push(field(&String::from_utf8_lossy(head), value).ok_or_else(malformed)?);
        rest = after;
    }
    Ok(fields)
}

/// A field with these headers.
fn field<'a>(head: &str, value: &'a [u8]) -> Option<FormField<'a>> {
    let disposition = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-disposition").then(|| value.trim())
    })?;
    let name = parameter(disposition, "name")?;
    let is_file = ["filename", "filename*"].iter().any(|n| parameter(disposition, n).is_some());
    Some(FormField { name, is_file, value })
}

/// The value of the parameter `name` in a header such as `form-data; name="a; b"; filename=c`.
fn parameter(header: &str, name: &str) -> Option<String> {
    let mut rest = header.split_once(';')?.1;
    loop {
        let (given, after) = rest.split_once('=')?;
        let (value, after) = value(after.trim_start());
        if given.trim().eq_ignore_ascii_case(name) {
            return Some(value.into_owned());
        }
        rest = after.trim_start().strip_prefix(';')?;
    }
}

/// The value at the beginning of `text`, perhaps in quotes, and the text after it.
fn value(text: &str) -> (Cow<'_, str>, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, _) = text.split_once(';').unwrap_or((text, ""));
        return (value.trim_end().into(), &text[value.len()..]);
    };
    let (mut value, mut escaped) = (String::new(), false);
    for (at, c) in quoted.char_indices() {
        match c {
            '"' if !escaped => return (value.into(), &quoted[at + 1..]),
            '\\' if !escaped => escaped = true,
            c => {
                value.push(c);
                escaped = false;
            }
        }
    }
    (value.into(), "")
}

/// The bytes before and after the first `mark`.
fn split<'a>(bytes: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = memchr::memmem::find(bytes, mark)?;
    Some((&bytes[..at], &bytes[at + mark.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_has_fields_and_files() {
        let of = |kind: &str| boundary(kind).unwrap();
        assert_eq!(of("multipart/form-data; boundary=\"x; y\"").as_deref(), Some("x; y"));
        let kind = "Multipart/Form-Data; charset=utf-8; Boundary=abc ";
        assert_eq!(of(kind).as_deref(), Some("abc"));
        assert_eq!(of("image/jpeg; boundary=b"), None);
        for kind in ["multipart/form-data", "multipart/form-data; boundary=\"\""] {
            assert!(boundary(kind).is_err(), "{kind}");
        }
        let body =
            b"hello\r\n--b \r\nContent-Disposition: form-data; name=\"task; filename=x\"\r\n\
            \r\nderain\r\n--b\r\ncontent-disposition: form-data; name=f; \
            filename=\"a; \xE9.jpg\"\r\n\
            Content-Type: image/jpeg\r\n\r\n\xFF\xD8--b\r\n--\r\n--b--\r\n";
        let field = |name: &str, is_file, value| FormField { name: name.into(), is_file, value };
        assert_eq!(
            fields(body, "b").unwrap(),
            [field("task; filename=x", false, b"derain"), field("f", true, b"\xFF\xD8--b\r\n--"),]
        );
    }

    #[test]
    fn a_form_that_is_none_is_refused() {
        let whole = b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n--b--";
        assert_eq!(fields(whole, "b").unwrap().len(), 1);
        for end in 0..whole.len() {
            assert!(fields(&whole[..end], "b").is_err(), "{end}");
        }
        let bodies = [
            &b""[..],
            b"x",
            b"--b\r\n\r\n\r\nx\r\n--b--",
            b"--bc\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n--b--",
        ];
        for body in bodies {
            assert!(fields(body, "b").is_err(), "{body:?}");
        }
    }
}
