//! The page and its parts, which are in the program.

/// A file of the page.
pub(super) struct PageFile {
    /// Its media type.
    pub media_type: &'static str,
    /// Its contents.
    pub contents: &'static str,
}

/// The file at `path`, if there is one.
pub(super) fn file(path: &str) -> Option<PageFile> {
    let (media_type, contents) = match path {
        "/" => ("text/html; charset=utf-8", include_str!("index.html")),
        "/style.css" => ("text/css; charset=utf-8", include_str!("style.css")),
        "/script.js" => ("text/javascript; charset=utf-8", include_str!("script.js")),
        "/icon.svg" => ("image/svg+xml", include_str!("icon.svg")),
        _ => return None,
    };
    Some(PageFile { media_type, contents })
}
