//! Forms with a file, as browsers and `curl -F` send them (RFC 7578).

/// One field of a form.
#[derive(Debug, PartialEq)]
pub(super) struct FormField<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether it is a file.
    pub is_file: bool,
    /// Its value, or the contents of the file.
    pub value: &'a [u8],
}

/// The boundary between the fields, if `content_type` is that of a form with files.
pub(super) fn boundary(content_type: &str) -> Option<&str> {
    let mut parts = content_type.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    parts.find_map(|part| parameter(part, "boundary"))
}

/// The fields of the form `body`.
///
/// # Errors
/// The reason, if it is none.
pub(super) fn fields<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<FormField<'a>>, String> {
    let malformed = || "the form is cut short or malformed".to_string();
    let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
    // The first delimiter has no line before it.
    let mut rest = body.strip_prefix(&delimiter[2..]).ok_or_else(malformed)?;
    let mut fields = Vec::new();
    while !rest.starts_with(b"--") {
        rest = rest.strip_prefix(b"\r\n").ok_or_else(malformed)?;
        let (head, after) = split(rest, b"\r\n\r\n").ok_or_else(malformed)?;
        let (value, after) = split(after, &delimiter).ok_or_else(malformed)?;
        let head = std::str::from_utf8(head).map_err(|_| malformed())?;
        fields.push(field(head, value).ok_or_else(malformed)?);
        rest = after;
    }
    Ok(fields)
}

/// A field with these headers.
fn field<'a>(head: &'a str, value: &'a [u8]) -> Option<FormField<'a>> {
    let disposition = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-disposition").then(|| value.trim())
    })?;
    let parameters = || disposition.split(';').map(str::trim).skip(1);
    let name = parameters().find_map(|part| parameter(part, "name"))?;
    let is_file = parameters().any(|part| part.to_ascii_lowercase().starts_with("filename"));
    Some(FormField { name, is_file, value })
}

/// The value of `name="value"` or `name=value`.
fn parameter<'a>(part: &'a str, name: &str) -> Option<&'a str> {
    let (given, value) = part.split_once('=')?;
    given.eq_ignore_ascii_case(name).then(|| value.trim_matches('"'))
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
        assert_eq!(boundary("multipart/form-data; boundary=\"x y\""), Some("x y"));
        assert_eq!(boundary("Multipart/Form-Data; charset=utf-8; Boundary=abc"), Some("abc"));
        assert_eq!(boundary("image/jpeg"), None);
        let body = b"--b\r\nContent-Disposition: form-data; name=\"task\"\r\n\r\nderain\r\n\
            --b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a; b.jpg\"\r\n\
            Content-Type: image/jpeg\r\n\r\n\xFF\xD8--b\r\n--\r\n--b--\r\n";
        let fields = fields(body, "b").unwrap();
        assert_eq!(
            fields,
            [
                FormField { name: "task", is_file: false, value: b"derain" },
                FormField { name: "file", is_file: true, value: b"\xFF\xD8--b\r\n--" },
            ]
        );
    }

    #[test]
    fn a_form_that_is_none_is_refused() {
        let whole = b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n--b--";
        assert_eq!(fields(whole, "b").unwrap().len(), 1);
        for end in 0..whole.len() {
            assert!(fields(&whole[..end], "b").is_err(), "{end}");
        }
        for body in
            [&b""[..], b"x", b"--b\r\n\r\n\r\nx\r\n--b--", b"--b\r\nA: \xFF\r\n\r\n\r\n--b--"]
        {
            assert!(fields(body, "b").is_err(), "{body:?}");
        }
    }
}
