//! Pairs of image files: a degraded photograph and its ground truth, in the layouts that data sets come in.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::Rng;

use super::{CropSpec, PhotoCache, Pixels, Source, Window, file_name, folders, image_files};
use crate::error::{Error, Result};
use crate::image::Image;

/// Names of the sub-folders that hold inputs and ground truth, in lower case (upper case is as good).
const LAYOUTS: [(&str, &str); 7] = [
    ("input", "target"),
    ("hazy", "gt"),
    ("hazy", "clear"),
    ("blur", "sharp"),
    ("snow", "gt"),
    ("source", "target"),
    ("inputc", "target"),
];

/// RESIDE's indoor ground truth has a border of so many pixels that its hazy images lack.
const RESIDE_BORDER: usize = 10;

/// Photographs and their ground truth.
#[derive(Debug)]
pub struct Paired {
    pairs: Vec<Pair>,
    unpaired: Vec<PathBuf>,
    cache: Arc<PhotoCache>,
}

/// A degraded photograph and its ground truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The input's file name; behind its scene's name where the set is divided into scenes.
    pub name: String,
    /// The degraded photograph.
    pub input: PathBuf,
    /// The ground truth.
    pub target: PathBuf,
}

impl Paired {
    /// The pairs in a folder that has two of the known sub-folders (`input` and `target`, `hazy` and `gt` or `clear`,
    /// `blur` and `sharp`, `snow` and `gt`, DPDD's `source` or `inputC` and `target`, in either case),
    /// or has scenes that each have them, as GoPro. A folder that holds a training and a test split is refused.
    pub fn open(root: &Path, cache: Arc<PhotoCache>) -> Result<Self> {
        if let Some((inputs, targets)) = layout(root)? {
            return Self::from_folders(&inputs, &targets, cache);
        }
        let mut found = Self::nothing(cache);
        let mut scenes = Vec::new();
        for scene in folders(root)? {
            if let Some((inputs, targets)) = layout(&scene)? {
                let name = file_name(&scene);
                found.add(&inputs, &targets, &format!("{name}/"))?;
                scenes.push(name);
            }
        }
        if let Some(split) = scenes.iter().find(|name| is_split(name)) {
            let reason =
                format!("holds splits of a data set ({}); name one of them, such as {split}", scenes.join(", "));
            return Err(Error::data(root, reason));
        }
        if scenes.is_empty() {
            let known: Vec<_> = LAYOUTS.iter().map(|(i, t)| format!("{i}/{t}")).collect();
            let reason = format!("has no pair of sub-folders that are known ({})", known.join(", "));
            return Err(Error::data(root, reason));
        }
        found.or_nothing(root)
    }

    /// The pairs of the image files in `inputs` and `targets`. The target of `b_c.png` is, in this order, the
    /// one with the same file name, with the same name but for the extension (`b_c.jpg`), with the part of the name
    /// before the first `_` (`b.png`, RESIDE), or, for `b_hazy.png`, `b_GT.png` (Dense-Haze). Inputs may
    /// share a target. It is an error if nothing can be paired, or if there are two files to choose from.
    pub fn from_folders(inputs: &Path, targets: &Path, cache: Arc<PhotoCache>) -> Result<Self> {
        let mut found = Self::nothing(cache);
        found.add(inputs, targets, "")?;
        found.or_nothing(inputs)
    }

    /// The pairs, in the order of their inputs' names.
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// The image files that were left over: inputs without a target and targets without an input.
    pub fn unpaired(&self) -> &[PathBuf] {
        &self.unpaired
    }

    fn nothing(cache: Arc<PhotoCache>) -> Self {
        Self { pairs: Vec::new(), unpaired: Vec::new(), cache }
    }

    fn add(&mut self, inputs: &Path, targets: &Path, prefix: &str) -> Result<()> {
        let target_files = image_files(targets)?;
        let names = Names::of(&target_files);
        let mut used = BTreeSet::new();
        for input in image_files(inputs)? {
            match names.partner(&input)? {
                Some(target) => {
                    used.insert(target.to_owned());
                    self.pairs.push(Pair {
                        name: format!("{prefix}{}", file_name(&input)),
                        target: target.to_owned(),
                        input,
                    });
                }
                None => self.unpaired.push(input),
            }
        }
        let left_over = target_files.into_iter().filter(|file| !used.contains(file));
        self.unpaired.extend(left_over);
        Ok(())
    }

    fn or_nothing(self, folder: &Path) -> Result<Self> {
        if !self.pairs.is_empty() {
            return Ok(self);
        }
        let reason = match self.unpaired.first() {
            None => "there are no image files here".into(),
            Some(file) => format!(
                "no image has a partner, neither {} nor the other {}: a target is named like its input, \
                 or like the part before the first \"_\", or ends in _GT where the input ends in _hazy",
                file.display(),
                self.unpaired.len() - 1
            ),
        };
        Err(Error::data(folder, reason))
    }

    /// Both photographs, and how far inside the target the input begins.
    fn read(&self, index: usize) -> Result<(Arc<Pixels>, Arc<Pixels>, usize)> {
        let pair = &self.pairs[index];
        let input = self.cache.read(&pair.input)?;
        let target = self.cache.read(&pair.target)?;
        for border in [0, RESIDE_BORDER] {
            let size = (input.width + 2 * border, input.height + 2 * border);
            if (target.width, target.height) == size {
                return Ok((input, target, border));
            }
        }
        let reason = format!(
            "has {}x{} pixels, and its target {} has {}x{}",
            input.width,
            input.height,
            pair.target.display(),
            target.width,
            target.height
        );
        Err(Error::image(&pair.input, reason))
    }
}

impl Source for Paired {
    fn len(&self) -> usize {
        self.pairs.len()
    }

    fn name(&self, index: usize) -> String {
        self.pairs[index].name.clone()
    }

    fn sample(&self, index: usize, rng: &mut Rng, crop: &CropSpec) -> Result<(Image, Image)> {
        let (input, target, border) = self.read(index)?;
        let window = crop.window(input.width, input.height, rng);
        let in_target = Window { x: window.x + border, y: window.y + border, ..window };
        Ok((crop.cut(&input, &window), crop.cut(&target, &in_target)))
    }

    /// The whole photographs.
    fn full(&self, index: usize) -> Result<(Image, Image)> {
        let (input, target, border) = self.read(index)?;
        let inner = target.crop(border, border, input.width, input.height);
        Ok((input.image(), inner))
    }
}

/// The sub-folders of `root` with the inputs and the targets, if they have names that are known.
fn layout(root: &Path) -> Result<Option<(PathBuf, PathBuf)>> {
    let folders = folders(root)?;
    let named = |name: &str| {
        let mut found = folders.iter().filter(|f| file_name(f).to_lowercase() == name);
        found.next().cloned()
    };
    let mut known = LAYOUTS.iter().map(|(input, target)| named(input).zip(named(target)));
    Ok(known.find_map(|found| found))
}

/// Whether a folder is named as a part of a data set (train, train2500, test, …) and not as a scene.
fn is_split(name: &str) -> bool {
    let name = name.to_lowercase();
    let word = name.trim_end_matches(|c: char| c.is_ascii_digit());
    ["train", "test", "val", "valid", "validation"].contains(&word)
}

/// Target files by their names.
struct Names<'a> {
    by_name: HashMap<String, &'a Path>,
    by_stem: BTreeMap<String, Vec<&'a Path>>,
}

impl<'a> Names<'a> {
    fn of(files: &'a [PathBuf]) -> Self {
        let mut by_stem: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for file in files {
            by_stem.entry(stem(file)).or_default().push(file.as_path());
        }
        Self { by_name: files.iter().map(|f| (file_name(f), f.as_path())).collect(), by_stem }
    }

    /// The target of `input`, by the rules that [`Paired::from_folders`] documents.
    fn partner(&self, input: &Path) -> Result<Option<&'a Path>> {
        if let Some(target) = self.by_name.get(&file_name(input)) {
            return Ok(Some(target));
        }
        let stem = stem(input);
        let mut candidates = vec![stem.clone()];
        candidates.extend(stem.split_once('_').map(|(id, _)| id.to_owned()));
        candidates.extend(stem.strip_suffix("_hazy").map(|id| format!("{id}_GT")));
        for candidate in candidates {
            match self.by_stem.get(&candidate).map(Vec::as_slice) {
                Some([target]) => return Ok(Some(target)),
                Some([first, second, ..]) => {
                    let reason =
                        format!("could belong to {} and to {}; remove one of them", first.display(), second.display());
                    return Err(Error::data(input, reason));
                }
                _ => {}
            }
        }
        Ok(None)
    }
}

fn stem(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
