//! A report to look at: pictures before and after restoration, with scores and histograms, or over
//! the time of a training, on one page that needs no other file and no network.
//!
//! ```
//! use irnext::gallery::{Gallery, Pictures};
//! use irnext::image::{Image, Pixels};
//! let before: Pixels = Image::build(40, 30, |x, _| [0.4 + x as f32 / 100.0; 3])?.into();
//! let after: Pixels = Image::build(40, 30, |x, _| [x as f32 / 40.0; 3])?.into();
//! let mut page = Vec::new();
//! let mut gallery = Gallery::begin(&mut page, "Two ramps", &[("Strength", "1".into())]).unwrap();
//! gallery.add("ramp.png", &["haze"], &Pictures::of(&before, Some(&after), None)?).unwrap();
//! gallery.end().unwrap();
//! assert!(String::from_utf8(page).unwrap().contains("<h2>ramp.png</h2>"));
//! # Ok::<(), irnext::Error>(())
//! ```

mod histogram;

use crate::error::{Error, Result};
use crate::image::{Photo, Pixels};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io::{self, Write};
use std::path::Path;

/// The longest side of a picture on the page, in pixels.
const SIDE: usize = 1000;

/// The most photographs with pictures that a page is made of; of the others, it has the lines.
pub const PICTURED: usize = 200;

/// The page, which is written as it grows: a folder of photographs makes a long one.
pub struct Gallery<W> {
    to: W,
}

/// The pictures of one photograph, ready for a page.
#[derive(Clone, Debug)]
pub struct Pictures {
    before: Vec<u8>,
    after: Option<Vec<u8>>,
    truth: Option<Vec<u8>>,
    size: (usize, usize),
    histogram: String,
}

impl Pictures {
    /// The pictures of a photograph, of its restored version and of the ground truth, as far as
    /// there are any. Large ones are made smaller.
    ///
    /// # Errors
    /// [`Error::Image`] if a picture has no pixels, or too many for JPEG.
    pub fn of(before: &Pixels, after: Option<&Pixels>, truth: Option<&Pixels>) -> Result<Self> {
        let curves = [("before", Some(before)), ("after", after), ("truth", truth)];
        let curves: Vec<(&str, &Pixels)> =
            curves.into_iter().filter_map(|(name, image)| Some((name, image?))).collect();
        Ok(Self {
            before: picture(before)?,
            after: after.map(picture).transpose()?,
            truth: truth.map(picture).transpose()?,
            size: (before.width, before.height),
            histogram: histogram::svg(&curves),
        })
    }
}

/// The bytes of a JPEG file.
fn picture(pixels: &Pixels) -> Result<Vec<u8>> {
    let longest = pixels.width.max(pixels.height);
    let image = match longest > SIDE {
        false => pixels.image(),
        true => {
            let side = |side: usize| (side * SIDE / longest).max(1);
            pixels.resize(side(pixels.width), side(pixels.height))?
        }
    };
    let jpeg = Photo::new(image).to_jpeg();
    jpeg.map_err(|reason| Error::image(Path::new("a picture of the report"), reason))
}

impl<W: Write> Gallery<W> {
    /// Begins a page with a title and a table of facts.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn begin(mut to: W, title: &str, facts: &[(&str, String)]) -> io::Result<Self> {
        let title = escaped(title);
        let style = include_str!("style.css");
        write!(
            to,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        )?;
        if !facts.is_empty() {
            writeln!(to, "<table class=\"facts\">")?;
            for (name, value) in facts {
                let (name, value) = (escaped(name), escaped(value));
                writeln!(to, "<tr><th scope=\"row\">{name}</th><td>{value}</td></tr>")?;
            }
            writeln!(to, "</table>")?;
        }
        Ok(Self { to })
    }

    /// Adds a table.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn table<'a>(
        &mut self,
        head: &[&str],
        rows: impl IntoIterator<Item = &'a [String]>,
    ) -> io::Result<()> {
        let cells = |tag: &str, cells: &mut dyn Iterator<Item = &str>| -> String {
            let cell = |cell| format!("<{tag}>{}</{tag}>", escaped(cell));
            format!("<tr>{}</tr>\n", cells.map(cell).collect::<String>())
        };
        write!(self.to, "<div class=\"wide\"><table>\n{}", cells("th", &mut head.iter().copied()))?;
        for row in rows {
            self.to.write_all(cells("td", &mut row.iter().map(String::as_str)).as_bytes())?;
        }
        writeln!(self.to, "</table></div>")
    }

    /// Adds drawings in SVG, side by side.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn drawings(&mut self, drawings: &[String]) -> io::Result<()> {
        writeln!(self.to, "<div class=\"curves\">")?;
        drawings.iter().try_for_each(|svg| writeln!(self.to, "<figure>{svg}</figure>"))?;
        writeln!(self.to, "</div>")
    }

    /// Adds a sentence about what stands before it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn note(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.to, "<p class=\"note\">{}</p>", escaped(text))
    }

    /// Adds names with the color of each, red, green and blue.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn legend<'a>(
        &mut self,
        names: impl Iterator<Item = (&'a str, [u8; 3])>,
    ) -> io::Result<()> {
        write!(self.to, "<p class=\"legend\">")?;
        for (name, [r, g, b]) in names {
            let name = escaped(name);
            write!(self.to, "<span style=\"border-color:rgb({r},{g},{b})\">{name}</span> ")?;
        }
        writeln!(self.to, "</p>")
    }

    /// Adds pictures of one thing, JPEG files with a caption for each, with lines about it.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn series(
        &mut self,
        name: &str,
        lines: &[&str],
        pictures: &[(String, Vec<u8>)],
    ) -> io::Result<()> {
        self.head(name, lines)?;
        writeln!(self.to, "<div class=\"series\">")?;
        for (caption, jpeg) in pictures {
            let (caption, source) = (escaped(caption), source(jpeg));
            writeln!(
                self.to,
                "<figure><img alt=\"{caption}\" src=\"{source}\">\
                 <figcaption>{caption}</figcaption></figure>"
            )?;
        }
        writeln!(self.to, "</div>\n</section>")
    }

    /// Adds a text that is shown on a click, as it is.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn text(&mut self, title: &str, text: &str) -> io::Result<()> {
        let title = escaped(title);
        write!(self.to, "<details><summary>{title}</summary>\n<pre>")?;
        text.lines().try_for_each(|line| writeln!(self.to, "{}", escaped(line)))?;
        writeln!(self.to, "</pre></details>")
    }

    /// Adds a photograph, with lines about it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add(&mut self, name: &str, lines: &[&str], pictures: &Pictures) -> io::Result<()> {
        self.head(name, lines)?;
        let Pictures { before, after, truth, size: (width, height), histogram } = pictures;
        let size = format!("width=\"{width}\" height=\"{height}\"");
        write!(self.to, "<div class=\"pictures\">\n<figure><div class=\"pair\">")?;
        write!(self.to, "<img alt=\"before\" {size} src=\"{}\">", source(before))?;
        if let Some(after) = after {
            // The right of the boundary is after. Without scripts, the boundary stays in the
            // middle.
            write!(
                self.to,
                "<img class=\"after\" alt=\"after\" {size} src=\"{}\">\
                 <input type=\"range\" min=\"0\" max=\"100\" value=\"50\" \
                 aria-label=\"boundary between before and after\" \
                 oninput=\"this.parentNode.style.setProperty('--at', this.value + '%')\">",
                source(after)
            )?;
        }
        let caption = if after.is_some() { "before | after" } else { "before" };
        writeln!(self.to, "</div><figcaption>{caption}</figcaption></figure>")?;
        if let Some(truth) = truth {
            let source = source(truth);
            writeln!(
                self.to,
                "<figure><img alt=\"ground truth\" {size} src=\"{source}\">\
                 <figcaption>ground truth</figcaption></figure>"
            )?;
        }
        writeln!(
            self.to,
            "<figure class=\"histogram\">{histogram}<figcaption>brightness, from black to white\
             </figcaption></figure>\n</div>\n</section>"
        )
    }

    /// Adds a photograph without pictures: one that failed, for instance.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add_lines(&mut self, name: &str, lines: &[&str]) -> io::Result<()> {
        self.head(name, lines)?;
        writeln!(self.to, "</section>")
    }

    fn head(&mut self, name: &str, lines: &[&str]) -> io::Result<()> {
        writeln!(self.to, "<section>\n<h2>{}</h2>", escaped(name))?;
        lines.iter().try_for_each(|line| writeln!(self.to, "<p>{}</p>", escaped(line)))
    }

    /// Ends the page, and returns what it was written to.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn end(mut self) -> io::Result<W> {
        writeln!(
            self.to,
            "<footer>irnext {}</footer>\n</body>\n</html>",
            env!("CARGO_PKG_VERSION")
        )?;
        self.to.flush()?;
        Ok(self.to)
    }
}

/// A JPEG file as an address that holds it.
fn source(jpeg: &[u8]) -> String {
    format!("data:image/jpeg;base64,{}", STANDARD.encode(jpeg))
}

/// `text` as it stands in HTML.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() => escaped.push('\u{FFFD}'),
            c => escaped.push(c),
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Image;

    fn page(name: &str, pictures: Option<&Pictures>) -> String {
        let mut gallery =
            Gallery::begin(Vec::new(), "a < b", &[("Weights", "x & y".into())]).unwrap();
        gallery.table(&["image", "psnr"], [&["c".to_string(), "1".to_string()][..]]).unwrap();
        match pictures {
            Some(pictures) => gallery.add(name, &["fine"], pictures).unwrap(),
            None => gallery.add_lines(name, &["no"]).unwrap(),
        }
        String::from_utf8(gallery.end().unwrap()).unwrap()
    }

    #[test]
    fn names_cannot_add_to_the_page() {
        let page = page("<script>alert('x')</script>\u{1b}\"", None);
        assert!(!page.contains("<script") && !page.contains('\u{1b}'), "{page}");
        assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"));
        assert!(page.contains("a &lt; b") && page.contains("x &amp; y"));
    }

    #[test]
    fn a_page_holds_its_pictures_and_needs_nothing_else() {
        let image = |value: f32| Pixels::from(Image::from_fn(1500, 20, |_, _| [value; 3]));
        let (before, after, truth) = (image(0.2), image(0.4), image(0.5));
        let pictures = Pictures::of(&before, Some(&after), Some(&truth)).unwrap();
        let page = page("a.png", Some(&pictures));
        let sources: Vec<&str> = page
            .split("src=\"data:image/jpeg;base64,")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap())
            .collect();
        assert_eq!(sources.len(), 3);
        for (source, value) in sources.iter().zip([0.2, 0.4, 0.5]) {
            let jpeg = STANDARD.decode(source).unwrap();
            let picture = Photo::from_bytes(&jpeg, &Default::default()).unwrap().image();
            assert_eq!((picture.width, picture.height), (1000, 13));
            assert!((picture.at(500, 6)[0] - value).abs() < 0.02);
        }
        assert!(!page.contains("://"), "it refers to other files");
        assert!(Pictures::of(&Image::new(0, 0).into(), None, None).is_err());
    }
}
