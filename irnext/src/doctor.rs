//! Checks a data set before training: unreadable files, missing partners or partners of another
//! size, numbers of pairs that differ from the published ones, and test images in the training
//! split.

use crate::data::{Role, Split, border, splits};
use crate::error::Result;
use crate::image::{Image, Photo};
use crate::protocol::sets::Set;
use nn::shown;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// The findings for a data set.
#[derive(Debug)]
pub struct Checkup {
    /// Each split.
    pub splits: Vec<SplitCheckup>,
    /// Ground truth that a training split shares with another split.
    pub leaks: Vec<Leak>,
}

/// The findings for a split.
#[derive(Debug)]
pub struct SplitCheckup {
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// The data set that its folders name.
    pub set: Option<&'static Set>,
    /// The number of pairs.
    pub pairs: usize,
    /// The number of images of each size (width, height).
    pub sizes: BTreeMap<(usize, usize), usize>,
    /// Images without a partner.
    pub unpaired: Vec<PathBuf>,
    /// Files that cannot be read and pairs that do not fit, each with its cause.
    pub problems: Vec<String>,
}

/// A picture in both the training split and a split that is scored.
#[derive(Debug)]
pub struct Leak {
    /// The ground truth in the training split.
    pub train: PathBuf,
    /// The ground truth in the split that is scored.
    pub test: PathBuf,
    /// Whether the pixels are equal; otherwise the thumbnails show the same scene.
    pub identical: bool,
}

impl SplitCheckup {
    /// Whether the number of pairs is a published one; `None` for unknown sets and splits.
    pub fn complete(&self) -> Option<bool> {
        let published = self.set?.counts(self.role);
        (!published.is_empty()).then(|| published.contains(&self.pairs))
    }

    /// Whether the whole split can be used.
    pub fn is_sound(&self) -> bool {
        self.unpaired.is_empty() && self.problems.is_empty() && self.complete() != Some(false)
    }
}

impl Checkup {
    /// Whether there are no problems.
    pub fn is_sound(&self) -> bool {
        self.leaks.is_empty() && self.splits.iter().all(SplitCheckup::is_sound)
    }
}

/// Examines the data set in `folder`. With `quick`, it reads headers only, and finds no damaged
/// pixels and no leaks. `each` is called for each file that was read, from several threads.
pub fn examine(folder: &Path, quick: bool, each: impl Fn() + Sync) -> Result<Checkup> {
    let mut checkups = Vec::new();
    let mut truths: Vec<(Role, HashMap<PathBuf, Look>)> = Vec::new();
    for split in splits(folder)? {
        let (checkup, truth) = examine_split(folder, split, quick, &each);
        truths.push((checkup.role, truth));
        checkups.push(checkup);
    }
    Ok(Checkup { splits: checkups, leaks: leaks(&truths) })
}

fn examine_split(
    folder: &Path,
    split: Split,
    quick: bool,
    each: &(impl Fn() + Sync),
) -> (SplitCheckup, HashMap<PathBuf, Look>) {
    let Split { name, role, pairing } = split;
    // Hazy images share their ground truth: every file is read once.
    let files: BTreeSet<&PathBuf> =
        pairing.pairs.iter().flat_map(|pair| [&pair.input, &pair.target]).collect();
    let targets: BTreeSet<&PathBuf> = pairing.pairs.iter().map(|pair| &pair.target).collect();
    let looks: HashMap<&PathBuf, Result<Look>> = files
        .into_par_iter()
        .map(|file| {
            let look = Look::at(file, quick, targets.contains(file));
            each();
            (file, look)
        })
        .collect();

    let mut problems: Vec<String> =
        looks.values().filter_map(|l| l.as_ref().err()).map(|e| e.to_string()).collect();
    let mut sizes = BTreeMap::new();
    for pair in &pairing.pairs {
        let [input, target] =
            [&pair.input, &pair.target].map(|file| looks[file].as_ref().ok().map(|look| look.size));
        let (Some(input), Some(target)) = (input, target) else { continue };
        *sizes.entry(input).or_default() += 1;
        if border(input, target).is_none() {
            let ((w, h), (tw, th)) = (input, target);
            problems.push(format!(
                "{}: {w}x{h}, but its ground truth is {tw}x{th}",
                shown(&pair.input)
            ));
        }
    }
    problems.sort();
    let checkup = SplitCheckup {
        set: Set::of_split(folder, &name, None),
        role,
        pairs: pairing.pairs.len(),
        sizes,
        problems,
        unpaired: pairing.unpaired,
        name,
    };
    let truth = |(file, look): (&PathBuf, Result<Look>)| look.ok().map(|look| (file.clone(), look));
    (
        checkup,
        looks.into_iter().filter(|(file, _)| targets.contains(file)).filter_map(truth).collect(),
    )
}

/// The summary of an image.
#[derive(Debug)]
struct Look {
    size: (usize, usize),
    /// A hash of all pixels, and a thumbnail of the luma with mean 0 and variance 1. Not of quick
    /// looks, nor of inputs.
    print: Option<(u64, Vec<f32>)>,
}

/// Pixels along a side of a thumbnail.
const THUMBNAIL: usize = 16;

impl Look {
    fn at(file: &Path, quick: bool, print: bool) -> Result<Self> {
        if quick {
            return Ok(Self { size: Photo::size(file)?, print: None });
        }
        let photo = Photo::read(file)?;
        let image = print.then(|| photo.image());
        Ok(Self {
            size: photo.sides(),
            print: image.map(|image| (hash(&image), thumbnail(&image))),
        })
    }
}

fn hash(image: &Image) -> u64 {
    let mut hasher = DefaultHasher::new();
    (image.width, image.height).hash(&mut hasher);
    image.data.iter().for_each(|value| value.to_bits().hash(&mut hasher));
    hasher.finish()
}

fn thumbnail(image: &Image) -> Vec<f32> {
    let luma = image.luma();
    let mut cells = vec![(0.0, 0.0); THUMBNAIL * THUMBNAIL];
    for (i, value) in luma.iter().enumerate() {
        let (y, x) =
            (i / image.width * THUMBNAIL / image.height, i % image.width * THUMBNAIL / image.width);
        let (sum, count) = &mut cells[y * THUMBNAIL + x];
        *sum += value;
        *count += 1.0;
    }
    // An image with fewer pixels than the thumbnail leaves cells empty.
    let cells: Vec<f64> =
        cells.into_iter().map(|(sum, count)| sum / f64::max(count, 1.0)).collect();
    let mean = cells.iter().sum::<f64>() / cells.len() as f64;
    let deviation = (cells.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / cells.len() as f64)
        .sqrt()
        .max(1e-6);
    cells.into_iter().map(|v| ((v - mean) / deviation) as f32).collect()
}

/// Whether two thumbnails correlate by more than 0.99. Most pairs are told apart by their first
/// rows.
fn alike(a: &[f32], b: &[f32]) -> bool {
    let limit = 2.0 * (1.0 - 0.99) * (THUMBNAIL * THUMBNAIL) as f32;
    let mut sum = 0.0;
    a.chunks(THUMBNAIL).zip(b.chunks(THUMBNAIL)).all(|(a, b)| {
        sum += a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
        sum < limit
    })
}

/// Ground truth of training splits that is also in others.
fn leaks(truths: &[(Role, HashMap<PathBuf, Look>)]) -> Vec<Leak> {
    let prints = |training: bool| -> Vec<(&PathBuf, &(u64, Vec<f32>))> {
        let splits = truths.iter().filter(|(role, _)| (*role == Role::Train) == training);
        splits
            .flat_map(|(_, looks)| {
                looks.iter().filter_map(|(file, look)| Some((file, look.print.as_ref()?)))
            })
            .collect()
    };
    let (train, test) = (prints(true), prints(false));
    let mut found: Vec<Leak> = test
        .par_iter()
        .filter_map(|(file, (hash, thumbnail))| {
            let same =
                train.iter().find(|(_, (other, _))| other == hash).map(|(file, _)| (file, true));
            let (of, identical) = same.or_else(|| {
                train
                    .iter()
                    .find(|(_, (_, other))| alike(thumbnail, other))
                    .map(|(file, _)| (file, false))
            })?;
            Some(Leak { train: (*of).clone(), test: (*file).clone(), identical })
        })
        .collect();
    found.sort_by(|a, b| a.test.cmp(&b.test));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture of its own for every seed.
    fn picture(seed: u64, width: usize) -> Image {
        let mut rng = engine::Rng::new(seed);
        let coarse: Vec<f32> = (0..36).map(|_| rng.uniform() as f32).collect();
        Image::from_fn(width, 24, |x, y| [coarse[y / 4 * 6 + x * 6 / width]; 3])
    }

    fn write(root: &Path, file: &str, image: Image) {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        Photo::new(image).write(&path).unwrap();
    }

    #[test]
    fn a_sound_set_has_nothing_to_complain_of() {
        let root = tempfile::tempdir().unwrap();
        for (split, seed) in [("train", 0), ("test", 10)] {
            for i in 0..3 {
                write(root.path(), &format!("{split}/input/{i}.png"), picture(seed + i, 30));
                write(root.path(), &format!("{split}/target/{i}.png"), picture(seed + i, 30));
            }
        }
        let checkup = examine(root.path(), false, || ()).unwrap();
        assert!(checkup.is_sound(), "{checkup:?}");
        assert_eq!(checkup.splits[0].sizes, BTreeMap::from([((30, 24), 3)]));
    }

    #[test]
    fn everything_that_is_wrong_is_found() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for i in 0..3 {
            write(root, &format!("Rain100L/test/input/{i}.png"), picture(i, 30));
            write(
                root,
                &format!("Rain100L/test/target/{i}.png"),
                picture(i, if i == 1 { 31 } else { 30 }),
            );
            write(root, &format!("Rain100L/train/input/{i}.png"), picture(40 + i, 30));
        }
        // One ground truth of the test again, one a little brighter, and one of its own.
        write(root, "Rain100L/train/target/0.png", picture(0, 30));
        let brighter = Image {
            data: picture(2, 30).data.iter().map(|v| v * 0.9 + 0.05).collect(),
            ..picture(2, 30)
        };
        write(root, "Rain100L/train/target/1.png", brighter);
        write(root, "Rain100L/train/target/2.png", picture(50, 30));
        write(root, "Rain100L/train/target/3.png", picture(51, 30));
        let damaged = root.join("Rain100L/test/input/2.png");
        let bytes = std::fs::read(&damaged).unwrap();
        std::fs::write(&damaged, &bytes[..bytes.len() / 2]).unwrap();

        let checkup = examine(root, false, || ()).unwrap();
        let [test, train] = &checkup.splits[..] else { panic!("{checkup:?}") };
        assert_eq!((test.complete(), train.complete()), (Some(false), Some(false)));
        assert_eq!(test.problems.len(), 2, "{:?}", test.problems);
        assert!(test.problems[0].contains("1.png: 30x24") && test.problems[1].contains("2.png"));
        assert!(train.unpaired[0].ends_with("target/3.png"));
        let leaks: Vec<_> =
            checkup.leaks.iter().map(|l| (l.test.ends_with("0.png"), l.identical)).collect();
        assert_eq!(leaks, [(true, true), (false, false)]);

        let quick = examine(root, true, || ()).unwrap();
        assert_eq!(
            (quick.splits[0].problems.len(), quick.leaks.len()),
            (1, 0),
            "headers show sizes only"
        );
    }
}
