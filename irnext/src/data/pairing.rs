//! Pairs degraded photographs with their ground truth, by file name.

use nn::shown;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::files::{file_name, image_files, image_files_below};
use crate::error::{Error, Result};

/// A degraded photograph and its ground truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The input's file name, with the scene's name in front if the set is divided into scenes.
    pub name: String,
    /// The degraded photograph.
    pub input: PathBuf,
    /// The ground truth.
    pub target: PathBuf,
}

/// The pairs among some files, and the files left over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairing {
    /// The pairs, in the order of their inputs' names.
    pub pairs: Vec<Pair>,
    /// Inputs without a target and targets without an input.
    pub unpaired: Vec<PathBuf>,
}

impl Pairing {
    /// The pairs of the image files in `inputs` and `targets`, or in their sub-folders if there are
    /// none.
    ///
    /// The target of `b_c.png` is, in this order, the one with the same file name, with the same
    /// name but for the extension (`b_c.jpg`), or with the part of the name before the first `_`
    /// (`b.png`, RESIDE). `b_hazy` goes with `b_GT` (Dense-Haze, NH-HAZE), `rain-b` with `norain-b`
    /// (Rain100), `real_blur` with `gt_sharp` (RSBlur). Inputs may share a target. Two targets to
    /// choose from are an error.
    pub fn of_folders(inputs: &Path, targets: &Path) -> Result<Self> {
        Self::file_list_fingerprint(image_files_below(inputs)?, image_files_below(targets)?)
    }

    /// Like [`Pairing::of_folders`], but where no file has a partner by its name and there are as
    /// many inputs as targets, the first goes with the first: DPDD's two exposures of a scene have
    /// the camera's running numbers for names.
    pub fn in_order(inputs: &Path, targets: &Path) -> Result<Self> {
        let (inputs, targets) = (image_files_below(inputs)?, image_files_below(targets)?);
        let found = Self::file_list_fingerprint(inputs.clone(), targets.clone())?;
        if !found.pairs.is_empty() || inputs.len() != targets.len() {
            return Ok(found);
        }
        let pair =
            |(input, target): (PathBuf, PathBuf)| Pair { name: file_name(&input), input, target };
        Ok(Self {
            pairs: inputs.into_iter().zip(targets).map(pair).collect(),
            unpaired: Vec::new(),
        })
    }

    /// The pairs in a folder that holds inputs and targets together: `b_hazy` and `b_GT`, `rain-b`
    /// and `norain-b`. No file counts as left over: files with other names are ignored.
    pub fn within(folder: &Path) -> Result<Self> {
        let files = image_files(folder)?;
        let is = |file: &PathBuf, inputs: bool| {
            let stem = stem(file);
            let (end, start) = if inputs { ("_hazy", "rain-") } else { ("_gt", "norain-") };
            stem.to_lowercase().ends_with(end) || stem.starts_with(start)
        };
        let part =
            |inputs| files.iter().filter(|file| is(file, inputs)).cloned().collect::<Vec<_>>();
        Self::file_list_fingerprint(part(true), part(false))
    }

    fn file_list_fingerprint(inputs: Vec<PathBuf>, targets: Vec<PathBuf>) -> Result<Self> {
        let mut found = Self::default();
        let names = Names::of(&targets);
        let mut used = BTreeSet::new();
        for input in inputs {
            match names.partner(&input)? {
                Some(target) => {
                    used.insert(target.to_owned());
                    found.pairs.push(Pair {
                        name: file_name(&input),
                        target: target.to_owned(),
                        input,
                    });
                }
                None => found.unpaired.push(input),
            }
        }
        found.unpaired.extend(targets.into_iter().filter(|file| !used.contains(file)));
        Ok(found)
    }

    /// These pairs; if there are none, an error about the files of `folder`.
    pub fn or_complain(self, folder: &Path) -> Result<Self> {
        if !self.pairs.is_empty() {
            return Ok(self);
        }
        let reason = match self.unpaired.first() {
            None => "there are no image files here".into(),
            Some(file) => format!(
                "no image has a partner, neither {} nor the other {}: a target is named like its \
                 input, or like the part before the first \"_\", or ends in _GT where the input \
                 ends in _hazy",
                shown(&file),
                self.unpaired.len() - 1
            ),
        };
        Err(Error::data(folder, reason))
    }

    /// Adds the pairs of a scene; their names get the scene's in front.
    pub(super) fn add_scene(&mut self, scene: &str, other: Self) {
        let named = |pair: Pair| Pair { name: format!("{scene}/{}", pair.name), ..pair };
        self.pairs.extend(other.pairs.into_iter().map(named));
        self.unpaired.extend(other.unpaired);
    }
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

    /// The target of `input`, by the rules that [`Pairing::of_folders`] documents.
    fn partner(&self, input: &Path) -> Result<Option<&'a Path>> {
        if let Some(target) = self.by_name.get(&file_name(input)) {
            return Ok(Some(target));
        }
        let stem = stem(input);
        let mut candidates = vec![stem.clone()];
        candidates.extend(stem.split_once('_').map(|(id, _)| id.to_owned()));
        candidates.extend(stem.strip_suffix("_hazy").map(|id| format!("{id}_GT")));
        candidates.extend(stem.strip_prefix("rain-").map(|id| format!("norain-{id}")));
        candidates.extend((stem == "real_blur").then(|| "gt_sharp".to_owned()));
        for candidate in candidates {
            match self.by_stem.get(&candidate).map(Vec::as_slice) {
                Some([target]) => return Ok(Some(target)),
                Some([first, second, ..]) => {
                    let reason = format!(
                        "could belong to {} and to {}; remove one of them",
                        shown(&first),
                        shown(&second)
                    );
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
