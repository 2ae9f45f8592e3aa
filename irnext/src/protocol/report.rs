//! The report of an evaluation: the scores of every image, their means, and the method.

use super::Protocol;
use super::sets::Set;
use crate::evaluate::{Scored, mean};
use crate::gallery::{Gallery, Pictures};
use crate::metrics::Measure;
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// The format of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportFormat {
    /// A table for people.
    Table,
    /// JSON with all scores, for programs.
    Json,
    /// CSV with a row for each image and mean.
    Csv,
}

impl ReportFormat {
    /// All formats.
    pub const ALL: [Self; 3] = [Self::Table, Self::Json, Self::Csv];

    /// The name on the command line: `table`, `json`, `csv`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::Csv => "csv",
        }
    }
}

/// The decoder of image files. JPEG decoders differ in the last bit, which moves scores in
/// the second decimal.
pub const DECODER: &str = "image 0.25.10 (png 0.18.1, zune-jpeg 0.5.15)";

/// Scores by one protocol.
#[derive(Clone, Debug)]
pub struct Report {
    /// The protocol.
    pub protocol: Protocol,
    /// The columns.
    pub measures: Vec<Measure>,
    /// The weights that restored the images; without them, only the degraded images were scored.
    pub weights: Option<String>,
    /// The data sets or splits.
    pub sets: Vec<SetReport>,
}

/// Scores of one split.
#[derive(Clone, Debug)]
pub struct SetReport {
    /// The split's name.
    pub name: String,
    /// The data set of the split, if known.
    pub set: Option<&'static Set>,
    /// The number of pairs in the split.
    pub pairs: usize,
    /// The scores of each pair, with the part of the set that it is in.
    pub images: Vec<(Scored, Option<&'static str>)>,
}

/// Mean scores. A pair counts for a measure if all its images have that score, so that before and
/// after are means over the same pairs.
#[derive(Clone, Debug, PartialEq)]
pub struct Mean {
    /// The part of the set; none for the mean over all images.
    pub group: Option<&'static str>,
    /// The number of images.
    pub images: usize,
    /// The number of images that count for each measure.
    pub scored: Vec<usize>,
    /// The mean scores of the degraded images; NaN where none counts.
    pub input: Vec<f64>,
    /// The mean scores of the restored images, if they were restored.
    pub restored: Option<Vec<f64>>,
}

impl Mean {
    /// `mean of 24, indoor (niqe of 22)`.
    fn title(&self, measures: &[Measure]) -> String {
        let group = self.group.map(|group| format!(", {group}")).unwrap_or_default();
        let fewer = measures.iter().zip(&self.scored).filter(|(_, scored)| **scored < self.images);
        let fewer: Vec<_> =
            fewer.map(|(measure, scored)| format!("{measure} of {scored}")).collect();
        match fewer.is_empty() {
            true => format!("mean of {}{group}", self.images),
            false => format!("mean of {}{group} ({})", self.images, fewer.join(", ")),
        }
    }
}

impl SetReport {
    /// The means over the parts of the set, then the mean over all images.
    pub fn means(&self) -> Vec<Mean> {
        let mut groups: Vec<_> =
            self.images.iter().filter_map(|(_, group)| *group).map(Some).collect();
        groups.sort();
        groups.dedup();
        groups.push(None);
        let of = |group: Option<&'static str>| {
            let of_group =
                |(_, g): &&(Scored, Option<&'static str>)| group.is_none() || *g == group;
            let rows: Vec<&Scored> =
                self.images.iter().filter(of_group).map(|(row, _)| row).collect();
            let counting = |measure: usize| rows.iter().filter(move |row| row.has(measure));
            let measures = 0..rows.first().map_or(0, |row| row.input.len());
            let is_restored = rows.iter().all(|row| row.restored.is_some());
            let means = |scores: fn(&Scored) -> &[f64]| -> Vec<f64> {
                let of = |measure| mean(counting(measure).map(|row| scores(row)[measure]));
                measures.clone().map(of).collect()
            };
            Mean {
                group,
                images: rows.len(),
                scored: measures.clone().map(|measure| counting(measure).count()).collect(),
                input: means(|row| &row.input),
                restored: is_restored
                    .then(|| means(|row| row.restored.as_deref().unwrap_or_default())),
            }
        };
        groups.into_iter().map(of).collect()
    }
}

impl Report {
    /// The whole report.
    pub fn write(&self, format: ReportFormat) -> String {
        match format {
            ReportFormat::Table => {
                let sets = self.sets.iter().map(|set| {
                    let rows: String = set.images.iter().map(|(row, _)| self.rows(row)).collect();
                    self.heading(&set.name, set.pairs) + &rows + &self.summary(set)
                });
                self.preface() + &sets.collect::<String>()
            }
            ReportFormat::Json => format!("{:#}\n", self.json()),
            ReportFormat::Csv => self.csv(),
        }
    }

    /// The first lines of a table, which describe the method.
    pub fn preface(&self) -> String {
        let weights = self.weights.as_deref().unwrap_or("none: the input images are scored");
        format!(
            "protocol  {}: {}\nweights   {weights}\ndecoder   {DECODER}\nin tables {}\n",
            self.protocol,
            self.protocol.description(),
            names(&self.protocol.headline()).join(", "),
        )
    }

    /// The lines above a split's table.
    pub fn heading(&self, name: &str, pairs: usize) -> String {
        let column = |measure: &Measure| format!(" {:>1$}", measure.name(), width(*measure));
        let columns: String = self.measures.iter().map(column).collect();
        let name = nn::shown(name);
        format!("\n{name}, {pairs} pairs\n{:8}{columns}  image\n", "")
    }

    /// A pair's lines in a table.
    pub fn rows(&self, scored: &Scored) -> String {
        self.lines(&scored.input, scored.restored.as_deref(), &scored.name)
    }

    fn lines(&self, input: &[f64], restored: Option<&[f64]>, name: &str) -> String {
        let name = nn::shown(name);
        let line = |which: &str, values: &[f64]| {
            let column = |(value, measure): (&f64, &Measure)| {
                format!(" {:>1$}", cell(*value), width(*measure))
            };
            let columns: String = values.iter().zip(&self.measures).map(column).collect();
            format!("{which:8}{columns}  {name}\n")
        };
        line("degraded", input)
            + &restored.map(|values| line("restored", values)).unwrap_or_default()
    }

    /// The lines below a split's table: means, remarks, and published figures beside ours.
    pub fn summary(&self, set: &SetReport) -> String {
        let mut text = String::new();
        for mean in set.means() {
            let title = mean.title(&self.measures);
            text += &self.lines(&mean.input, mean.restored.as_deref(), &title);
        }
        for (scored, _) in &set.images {
            text.extend(scored.remarks.iter().map(|remark| format!("no score  {remark}\n")));
        }
        if let Some(known) = set.set {
            let published = known.published;
            let input = published
                .input_psnr
                .map(|psnr| format!("degraded {psnr:.2} dB; "))
                .unwrap_or_default();
            let counts: Vec<_> = known.test.iter().map(usize::to_string).collect();
            text += &format!(
                "published {}, {} test pairs: {input}IRNeXt {:.2} dB, SSIM {} (in the paper)\n",
                known.name,
                counts.join(" or "),
                published.irnext_psnr,
                published.irnext_ssim
            );
        }
        text
    }

    /// Writes a page with the scores and, as far as there are any, the `pictures` of the pairs, in
    /// their order.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn page<W: Write>(&self, pictures: &[Pictures], to: W) -> io::Result<W> {
        let weights = self.weights.as_deref().unwrap_or("none: the input images are scored");
        let facts = [
            ("Protocol", format!("{}: {}", self.protocol, self.protocol.description())),
            ("Weights", weights.to_string()),
            ("Decoder", DECODER.to_string()),
        ];
        let mut page = Gallery::begin(to, &format!("Scores, {}", self.protocol), &facts)?;
        let mut pictures = pictures.iter();
        for set in &self.sets {
            let head: Vec<&str> =
                [&set.name[..], ""].into_iter().chain(names(&self.measures)).collect();
            let mut rows = Vec::new();
            for mean in set.means() {
                let name = mean.title(&self.measures);
                let row = |which: &str, values: &[f64]| -> Vec<String> {
                    let cells = values.iter().map(|value| cell(*value));
                    [name.clone(), which.into()].into_iter().chain(cells).collect()
                };
                rows.push(row("degraded", &mean.input));
                rows.extend(mean.restored.as_deref().map(|values| row("restored", values)));
            }
            page.table(&head, rows.iter().map(|row| &row[..]))?;
            for (scored, _) in &set.images {
                let mut lines: Vec<String> = vec![self.on_one_line(scored)];
                lines.extend(scored.remarks.iter().cloned());
                let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
                match pictures.next() {
                    Some(pictures) => page.add(&scored.name, &lines, pictures)?,
                    None => page.add_lines(&scored.name, &lines)?,
                }
            }
        }
        page.end()
    }

    /// `psnr 20.1000 → 25.3000, ssim …`.
    fn on_one_line(&self, scored: &Scored) -> String {
        let measures = self.measures.iter().enumerate().map(|(i, measure)| {
            let restored = scored.restored.as_ref().map(|scores| format!(" → {}", cell(scores[i])));
            format!("{measure} {}{}", cell(scored.input[i]), restored.unwrap_or_default())
        });
        measures.collect::<Vec<_>>().join(", ")
    }

    fn json(&self) -> Value {
        let scores = |values: &[f64]| -> Value {
            let pairs =
                self.measures.iter().zip(values).map(|(m, v)| (m.name().to_string(), number(*v)));
            Value::Object(pairs.collect::<Map<_, _>>())
        };
        let sets = self.sets.iter().map(|set| {
            let images = set.images.iter().map(|(row, group)| {
                json!({
                    "image": row.name,
                    "group": group,
                    "degraded": scores(&row.input),
                    "restored": row.restored.as_deref().map(scores),
                    "remarks": row.remarks,
                })
            });
            let means = set.means().into_iter().map(|mean| {
                json!({
                    "group": mean.group,
                    "images": mean.images,
                    "scored": self
                        .measures
                        .iter()
                        .zip(&mean.scored)
                        .map(|(m, n)| (m.name().to_string(), json!(n)))
                        .collect::<Map<_, _>>(),
                    "degraded": scores(&mean.input),
                    "restored": mean.restored.as_deref().map(scores),
                })
            });
            json!({
                "split": set.name,
                "data_set": set.set.map(|set| set.name),
                "pairs": set.pairs,
                "published_pairs": set.set.map(|set| set.test),
                "published": set.set.map(|set| set.published),
                "means": means.collect::<Vec<_>>(),
                "images": images.collect::<Vec<_>>(),
            })
        });
        let descriptions =
            self.measures.iter().map(|m| (m.name().to_string(), m.description().into()));
        json!({
            "program": concat!("irnext ", env!("CARGO_PKG_VERSION")),
            "protocol": self.protocol.name(),
            "description": self.protocol.description(),
            "headline": names(&self.protocol.headline()),
            "decoder": DECODER,
            "weights": self.weights,
            "measures": descriptions.collect::<Map<_, _>>(),
            "sets": sets.collect::<Vec<_>>(),
        })
    }

    fn csv(&self) -> String {
        let mut text = String::from("protocol,decoder,weights,split,image,group,which");
        text.extend(self.measures.iter().map(|measure| format!(",{}", measure.name())));
        text.push('\n');
        let weights = self.weights.as_deref().unwrap_or("");
        for set in &self.sets {
            let mut row = |image: &str, group: Option<&str>, which: &str, values: &[f64]| {
                let fields = [
                    self.protocol.name(),
                    DECODER,
                    weights,
                    &set.name,
                    image,
                    group.unwrap_or(""),
                    which,
                ];
                text += &fields.map(quoted).join(",");
                text.extend(
                    values.iter().map(|v| if v.is_nan() { ",".into() } else { format!(",{v}") }),
                );
                text.push('\n');
            };
            let images = set
                .images
                .iter()
                .map(|(s, group)| (s.name.clone(), *group, s.input.clone(), s.restored.clone()));
            let means = set
                .means()
                .into_iter()
                .map(|m| (m.title(&self.measures), m.group, m.input, m.restored));
            for (name, group, input, restored) in images.chain(means) {
                row(&name, group, "degraded", &input);
                restored.iter().for_each(|values| row(&name, group, "restored", values));
            }
        }
        text
    }
}

/// The width of a column of a table, in characters.
fn width(measure: Measure) -> usize {
    measure.name().len().max(9)
}

/// A score in a table, with more decimals than the papers give.
fn cell(value: f64) -> String {
    if value.is_nan() { "-".into() } else { format!("{value:.4}") }
}

/// JSON has no infinity (the PSNR of identical images) and no "not a number" (no score).
fn number(value: f64) -> Value {
    match value {
        value if value.is_nan() => Value::Null,
        value if value.is_infinite() => Value::String("inf".into()),
        value => json!(value),
    }
}

/// A field of a CSV file, in quotes where it needs them (RFC 4180).
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_string(),
    }
}

fn names(measures: &[Measure]) -> Vec<&'static str> {
    measures.iter().map(|measure| measure.name()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Image;

    fn report() -> Report {
        let scored = |name: &str, psnr: f64, ssim: [f64; 2]| Scored {
            name: name.into(),
            input: vec![psnr, ssim[0]],
            restored: Some(vec![psnr + 2.0, ssim[1]]),
            remarks: vec![format!("{name}: ssim: too small")],
        };
        let images = vec![
            (scored("a, \"b\".png", 20.0, [0.5, 0.75]), Some("indoor")),
            (scored("c.png", f64::INFINITY, [0.9, f64::NAN]), Some("outdoor")),
        ];
        let set =
            SetReport { name: "test".into(), set: Set::of_path("dpdd", None), pairs: 2, images };
        Report {
            protocol: Protocol::Dpdd,
            measures: vec![Measure::PSNR, Measure::SSIM],
            weights: None,
            sets: vec![set],
        }
    }

    #[test]
    fn means_are_over_groups_and_all() {
        let means = report().sets[0].means();
        assert_eq!(
            means.iter().map(|m| (m.group, m.images)).collect::<Vec<_>>(),
            [(Some("indoor"), 1), (Some("outdoor"), 1), (None, 2)]
        );
        assert_eq!(means[0].restored.as_ref().unwrap()[0], 22.0);
        // Of the second image there is a score before restoration alone.
        assert_eq!(
            (&means[2].input[..], &means[2].scored[..]),
            (&[f64::INFINITY, 0.5][..], &[2, 1][..])
        );
        assert_eq!(means[2].restored.as_deref(), Some(&[f64::INFINITY, 0.75][..]));
        assert!(means[1].input[1].is_nan());
    }

    #[test]
    fn a_table_names_protocol_decoder_and_published_figures() {
        let table = report().write(ReportFormat::Table);
        for part in [
            "dpdd",
            DECODER,
            "mean of 1, indoor",
            "mean of 2 (ssim of 1)\n",
            "26.30 dB",
            "no score",
            " inf ",
        ] {
            assert!(table.contains(part), "{part} is missing:\n{table}");
        }
    }

    #[test]
    fn a_page_has_means_and_each_image() {
        let image = Image::new(8, 8).into();
        let pictures = [Pictures::of(&image, Some(&image), Some(&image)).unwrap()];
        let page = String::from_utf8(report().page(&pictures, Vec::new()).unwrap()).unwrap();
        for part in [
            "<td>mean of 1, indoor</td><td>degraded</td><td>20.0000</td><td>0.5000</td>",
            "<h2>a, &quot;b&quot;.png</h2>\n<p>psnr 20.0000 → 22.0000, ssim 0.5000 → 0.7500</p>",
            "<p>psnr inf → inf, ssim 0.9000 → -</p>",
        ] {
            assert!(page.contains(part), "{part} is missing:\n{page}");
        }
        assert_eq!(page.matches("<img").count(), 3);
    }

    #[test]
    fn json_and_csv_hold_the_same_and_can_be_read() {
        let report = report();
        let json: Value = serde_json::from_str(&report.write(ReportFormat::Json)).unwrap();
        let set = &json["sets"][0];
        assert_eq!(set["images"][0]["degraded"]["psnr"], 20.0);
        assert_eq!(set["images"][1]["degraded"]["psnr"], "inf");
        assert_eq!(set["images"][1]["restored"]["ssim"], Value::Null);
        assert_eq!(set["means"][2]["scored"], json!({"psnr": 2, "ssim": 1}));
        assert_eq!(set["published"]["irnext_psnr"], 26.3);
        let csv = report.write(ReportFormat::Csv);
        let lines: Vec<_> = csv.lines().collect();
        assert_eq!(lines.len(), 1 + 2 * (2 + 3));
        assert!(lines[0].ends_with("which,psnr,ssim"));
        assert!(lines[1].contains(r#","a, ""b"".png",indoor,degraded,20,0.5"#), "{}", lines[1]);
    }

    #[test]
    fn the_decoder_is_the_one_that_is_built_in() {
        // The workspace's; a package has its own, in its folder.
        let package = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let lock = ["../Cargo.lock", "Cargo.lock"].map(|file| package.join(file));
        let lock = lock.iter().find_map(|file| std::fs::read_to_string(file).ok()).unwrap();
        for part in DECODER.split(['(', ',', ')']).map(str::trim).filter(|part| !part.is_empty()) {
            let (name, version) = part.split_once(' ').unwrap();
            assert!(
                lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\"")),
                "{part}"
            );
        }
    }
}
