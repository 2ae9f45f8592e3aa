//! Finds the photographs among the user's arguments: files, and folders with everything below them.

use super::contents::FileContents;
use crate::error::{Error, Result};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use walkdir::{DirEntry, WalkDir};

/// The deepest folder below a named one that is searched.
pub const MAX_DEPTH: usize = 32;

/// A photograph that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// Its path below the folder that was named; its name, if it was named itself.
    pub below: PathBuf,
    /// The extension for a result of the same format, without a dot.
    pub extension: String,
    /// Whether the user named it, rather than a folder that it is in.
    pub named: bool,
}

/// The photographs found.
#[derive(Debug, Default)]
pub struct Search {
    /// The photographs, in the order of the arguments, and by name within a folder.
    pub found: Vec<Found>,
    /// The number of images of each format that cannot be read, found in folders.
    pub unreadable: BTreeMap<String, usize>,
    /// Folders that lie in another one of the inputs, or are the same, each with that one. Their
    /// photographs were found once.
    pub nested: Vec<(PathBuf, PathBuf)>,
    /// The errors of searching and opening.
    pub errors: Vec<Error>,
}

impl Search {
    /// Searches `inputs`, files and folders. `contents` classifies a file. Hidden files are left
    /// out, and so is the folder for `results` if it lies inside one that is searched. Links are
    /// followed, and a file that is reached twice counts once.
    pub fn new(
        inputs: &[PathBuf],
        results: Option<&Path>,
        contents: impl Fn(&Path) -> Result<FileContents>,
    ) -> Self {
        let (mut search, mut seen) = (Self::default(), HashSet::new());
        let results = results.and_then(|folder| folder.canonicalize().ok());
        let mut folders: Vec<&PathBuf> = Vec::new();
        for input in inputs {
            match input.is_dir() {
                true => {
                    if search.folder(input, results.as_deref(), &contents, &mut seen) {
                        let pairs = folders.iter().filter_map(|other| nested(input, other));
                        search.nested.extend(pairs);
                    }
                    folders.push(input);
                }
                // Reading it says better than this search why it cannot be read.
                false if seen.insert(unique(input)) => search.found.push(Found {
                    path: input.clone(),
                    below: input.file_name().unwrap_or_default().into(),
                    extension: match contents(input) {
                        Ok(FileContents::Photo { extension }) => extension,
                        _ => input.extension().unwrap_or_default().to_string_lossy().into(),
                    },
                    named: true,
                }),
                false => {}
            }
        }
        search
    }

    /// The number of images in folders that cannot be read.
    pub fn unreadable_count(&self) -> usize {
        self.unreadable.values().sum()
    }

    /// Searches `folder`. Returns true if some of its files had been found before.
    fn folder(
        &mut self,
        folder: &Path,
        results: Option<&Path>,
        contents: &impl Fn(&Path) -> Result<FileContents>,
        seen: &mut HashSet<PathBuf>,
    ) -> bool {
        let mut again = false;
        let before = (self.found.len(), self.errors.len(), self.unreadable_count());
        let walk = WalkDir::new(folder).follow_links(true).max_depth(MAX_DEPTH).sort_by_file_name();
        let is_results =
            |entry: &DirEntry| is_below(entry) && Some(&*unique(entry.path())) == results;
        let enters = |entry: &DirEntry| !is_hidden(entry) && !is_results(entry);
        for entry in walk.into_iter().filter_entry(enters) {
            let entry = match entry {
                Ok(entry) => entry,
                // A link to a folder above: everything in it is found anyway.
                Err(error) if error.loop_ancestor().is_some() => continue,
                Err(error) => {
                    let path = error.path().unwrap_or(folder).to_owned();
                    let source = error
                        .into_io_error()
                        .unwrap_or_else(|| std::io::Error::other("the folder cannot be searched"));
                    self.errors.push(Error::Io { path, source });
                    continue;
                }
            };
            if !entry.file_type().is_file() {
                continue;
            }
            if !seen.insert(unique(entry.path())) {
                again = true;
                continue;
            }
            match contents(entry.path()) {
                Ok(FileContents::Photo { extension }) => self.found.push(Found {
                    path: entry.path().into(),
                    below: entry.path().strip_prefix(folder).unwrap_or(entry.path()).into(),
                    extension,
                    named: false,
                }),
                Ok(FileContents::Unreadable(format)) => {
                    *self.unreadable.entry(format).or_default() += 1;
                }
                Ok(FileContents::Other) => {}
                Err(error) => self.errors.push(error),
            }
        }
        if !again && before == (self.found.len(), self.errors.len(), self.unreadable_count()) {
            self.errors.push(Error::data(folder, "contains no images"));
        }
        again
    }
}

/// Whether it is a folder, below the one that is searched.
fn is_below(entry: &DirEntry) -> bool {
    entry.depth() > 0 && entry.file_type().is_dir()
}

/// The inner and the outer of two folders, if one lies in the other or both are the same.
fn nested(a: &Path, b: &Path) -> Option<(PathBuf, PathBuf)> {
    let (real_a, real_b) = (unique(a), unique(b));
    if real_a.starts_with(&real_b) {
        Some((a.into(), b.into()))
    } else {
        real_b.starts_with(&real_a).then(|| (b.into(), a.into()))
    }
}

fn is_hidden(entry: &DirEntry) -> bool {
    entry.depth() > 0 && entry.file_name().to_string_lossy().starts_with('.')
}

/// One path for a file, whichever way it was reached.
fn unique(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.into())
}
