//! Fits the classifier of `irnext::classify`, and shows how it classifies folders of photographs.
//!
//! ```text
//! cargo run -p irnext --example classifier -- measure CLEAR_PHOTOGRAPHS samples.tsv
//! cargo run -p irnext --example classifier -- fit samples.tsv irnext/src/classify/classifier.tsv
//! cargo run -p irnext --example classifier -- table irnext/src/classify/classifier.tsv FOLDER...
//! ```
//!
//! `measure` degrades each photograph in every way, four times, and writes the features; this takes
//! minutes. `fit` writes the classifier, and prints how classifiers that were fitted without these
//! photographs classify them. `table` shows how a classifier classifies other photographs.

use irnext::classify::fit::{LabeledFeatures, fit, samples};
use irnext::classify::{CLASSES, Classification, Classifier, Features, SURE, class_name};
use irnext::data::image_files;
use irnext::image::Photo;
use rayon::prelude::*;
use std::error::Error;
use std::fs;
use std::path::Path;

/// How often each photograph is degraded in every way.
const ROUNDS: u64 = 4;

/// The number of parts that the photographs are divided into. Each part is classified by a
/// classifier fitted to the others.
const PARTS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["measure", photographs, file] => measure(photographs, file),
        ["fit", file, classifier] => fit_file(file, classifier),
        ["table", file, folders @ ..] => {
            let classifier = Classifier::parse(&fs::read_to_string(file)?)?;
            folders.iter().try_for_each(|folder| table(&classifier, folder))
        }
        _ => Err(
            "measure CLEAR_PHOTOGRAPHS FILE, or fit FILE CLASSIFIER, or table CLASSIFIER FOLDER..."
                .into(),
        ),
    }
}

/// Writes a line for each sample: the number of the photograph, the class, the features.
fn measure(photographs: &str, file: &str) -> Result<(), Box<dyn Error>> {
    let files = image_files(Path::new(photographs))?;
    let of_photograph = |(index, path): (usize, &std::path::PathBuf)| -> irnext::Result<String> {
        let clear = Photo::read(path)?.image();
        let all = (0..ROUNDS).flat_map(|seed| samples(&clear, seed, index as u64));
        let line = |sample: LabeledFeatures| {
            let figures = sample.features.0.map(|v| format!("\t{v:.6}")).concat();
            format!("{index}\t{}{figures}\n", sample.class)
        };
        Ok(all.map(line).collect())
    };
    let lines: Vec<String> =
        files.par_iter().enumerate().map(of_photograph).collect::<irnext::Result<_>>()?;
    Ok(fs::write(file, lines.concat())?)
}

fn fit_file(file: &str, classifier: &str) -> Result<(), Box<dyn Error>> {
    let text = fs::read_to_string(file)?;
    let read = |line: &str| -> Option<(usize, LabeledFeatures)> {
        let mut cells = line.split('\t');
        let mut whole = || cells.next()?.parse().ok();
        let (photograph, class) = (whole()?, whole()?);
        let figures: Vec<f64> = cells.map_while(|cell| cell.parse().ok()).collect();
        Some((photograph, LabeledFeatures { class, features: Features(figures.try_into().ok()?) }))
    };
    let all: Vec<(usize, LabeledFeatures)> =
        text.lines().map(read).collect::<Option<_>>().ok_or("not what measure wrote")?;
    let mut counts = Counts::default();
    for part in 0..PARTS {
        let (test, training): (Vec<_>, Vec<_>) =
            all.iter().partition(|(photograph, _)| photograph % PARTS == part);
        let copy = |(_, sample): &(usize, LabeledFeatures)| LabeledFeatures {
            class: sample.class,
            features: sample.features.clone(),
        };
        let fitted = fit(&training.into_iter().map(copy).collect::<Vec<_>>());
        test.into_iter()
            .for_each(|(_, sample)| counts.add(sample.class, &fitted.judge(&sample.features)));
    }
    println!(
        "{} pictures of photographs that the classifier was not fitted to:\n{}",
        all.len(),
        counts.table()
    );
    let fitted: Classifier = fit(&all.into_iter().map(|(_, sample)| sample).collect::<Vec<_>>());
    Ok(fs::write(classifier, fitted.write())?)
}

fn table(classifier: &Classifier, folder: &str) -> Result<(), Box<dyn Error>> {
    let mut counts = Counts::default();
    for file in image_files(Path::new(folder))? {
        let classification = classifier.judge(&Features::of(&Photo::read(&file)?.image()));
        println!("{}: {classification}", file.display());
        counts.add(0, &classification);
    }
    println!("{folder}: {}", counts.line(0));
    Ok(())
}

/// For each class, how often its pictures were classified as each class, and how often no class was
/// likely enough.
#[derive(Default)]
struct Counts([[usize; CLASSES.len() + 1]; CLASSES.len()]);

impl Counts {
    fn add(&mut self, class: usize, classification: &Classification) {
        let place =
            CLASSES.iter().position(|class| *class == classification.likeliest()).unwrap_or(0);
        let unsure = place > 0 && classification.probability() < SURE;
        self.0[class][if unsure { CLASSES.len() } else { place }] += 1;
    }

    fn line(&self, class: usize) -> String {
        let named = CLASSES.map(class_name).into_iter().chain(["unsure"]).zip(self.0[class]);
        named.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
    }

    fn table(&self) -> String {
        (0..CLASSES.len())
            .map(|class| format!("{}: {}\n", class_name(CLASSES[class]), self.line(class)))
            .collect()
    }
}
