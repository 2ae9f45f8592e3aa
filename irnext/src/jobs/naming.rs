//! The places and names of results.

use super::contents::{extension_of, same_format};
use super::find::Found;
use crate::error::{Error, Result};
use nn::shown;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Put after the name of a result to name the picture that compares it with its photograph.
pub(super) const COMPARED: &str = ".compare";

/// The name of the task of weights that do not tell theirs.
pub const UNNAMED: &str = "restore";

/// The places and names of results.
#[derive(Clone, Debug, Default)]
pub struct Naming {
    /// The names of the tasks that may be chosen for a photograph.
    pub tasks: Vec<String>,
    /// The requested file or folder; without one, each result lies beside its photograph.
    pub output: Option<Output>,
    /// Put after the name of a result; if none, `.TASK` beside its photograph, and nothing in a
    /// folder for results.
    pub suffix: Option<String>,
    /// The extension of results; if none, that of the photograph.
    pub extension: Option<String>,
    /// Whether existing results are replaced.
    pub overwrite: bool,
    /// Whether a picture that compares the result with the photograph goes beside it.
    pub compare: bool,
}

/// The requested output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The file for the result of one photograph.
    File(PathBuf),
    /// The folder for all results, under the names of their photographs.
    Folder(PathBuf),
}

impl Output {
    /// A folder if `path` ends with a separator, is one, or is to take the results of `several`
    /// photographs; a file otherwise.
    pub fn new(path: PathBuf, several: bool) -> Self {
        let ends_as_folder = path.as_os_str().to_string_lossy().ends_with(std::path::is_separator);
        match several || ends_as_folder || path.is_dir() {
            true => Self::Folder(path),
            false => Self::File(path),
        }
    }
}

/// Where a result goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To this file, whatever is done to the photograph.
    File(PathBuf),
    /// Under a name with the task: before and after the name of the task.
    Beside {
        /// The path up to the task, with a dot.
        before: PathBuf,
        /// The extension, with a dot.
        after: String,
    },
}

impl Target {
    /// The file for the result of `task`.
    pub fn file(&self, task: &str) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Beside { before, after } => {
                let mut path = before.clone().into_os_string();
                path.push(task);
                path.push(after);
                path.into()
            }
        }
    }

    /// Every file that this may become: one for each of `tasks`.
    pub(super) fn files(&self, tasks: &[String]) -> Vec<PathBuf> {
        match self {
            Self::File(path) => vec![path.clone()],
            Self::Beside { .. } => tasks.iter().map(|task| self.file(task)).collect(),
        }
    }
}

impl Naming {
    /// The requested folder.
    pub fn folder(&self) -> Option<&Path> {
        match &self.output {
            Some(Output::Folder(folder)) => Some(folder),
            _ => None,
        }
    }

    pub(super) fn is_file(&self) -> bool {
        matches!(self.output, Some(Output::File(_)))
    }

    /// Where the result of `photo` goes.
    pub(super) fn target(&self, photo: &Found) -> Result<Target> {
        let extension = self.extension.as_deref().unwrap_or(&photo.extension);
        let named = |folder: &Path, below: &Path, suffix: &str| {
            let mut name = stem(below);
            name.push(suffix);
            match extension_of(below).filter(|own| suffix.is_empty() && same_format(own, extension))
            {
                Some(own) => name.push(format!(".{own}")),
                None => name.push(format!(".{extension}")),
            }
            folder.join(below.with_file_name(name))
        };
        let suffix = self.suffix.as_deref();
        let beside = photo.path.parent().unwrap_or(Path::new(""));
        Ok(match (&self.output, suffix) {
            (Some(Output::File(file)), _) => {
                self.check_extension(file, &photo.extension)?;
                Target::File(file.clone())
            }
            (Some(Output::Folder(folder)), suffix) => {
                Target::File(named(folder, &photo.below, suffix.unwrap_or_default()))
            }
            (None, Some(suffix)) => {
                let name = photo.path.file_name().unwrap_or_default();
                Target::File(named(beside, Path::new(name), suffix))
            }
            (None, None) => {
                let mut name = stem(&photo.path);
                name.push(".");
                Target::Beside { before: beside.join(name), after: format!(".{extension}") }
            }
        })
    }

    /// An error if the output `file` cannot be written by its name.
    fn check_extension(&self, file: &Path, own: &str) -> Result<()> {
        let at = shown(&file);
        let reason = match (extension_of(file), &self.extension) {
            (Some(extension), Some(format)) if !same_format(&extension, format) => {
                format!("{at}: is not the name of a {format} file")
            }
            (Some(_), _) => return Ok(()),
            (None, format) if file.extension().is_none() => {
                let extension = format.as_deref().unwrap_or(own);
                format!(
                    "{at}: a name without an extension; give {at}.{extension} for a file, {at}/ \
                     for a folder"
                )
            }
            (None, _) => format!(
                "{at}: cannot write this kind of file; png, jpg, webp, tif, bmp and pnm can be \
                 written"
            ),
        };
        Err(Error::Config { reason })
    }
}

/// The file that compares the result `file` with its photograph: `a.dehaze.jpg` ->
/// `a.dehaze.compare.jpg`.
pub(super) fn compared(file: &Path) -> PathBuf {
    let mut name = file.file_stem().unwrap_or_default().to_owned();
    name.push(COMPARED);
    if let Some(extension) = file.extension() {
        name.push(".");
        name.push(extension);
    }
    file.with_file_name(name)
}

/// The name of `path` without the extension of an image: `a.jpg` -> `a`, but `IMG.2024` as it is.
pub(super) fn stem(path: &Path) -> OsString {
    // Can be read, but not written.
    let read = ["gif", "pbm"];
    let extension = path.extension().unwrap_or_default();
    let is_read = || read.iter().any(|name| extension.eq_ignore_ascii_case(name));
    let name = match extension_of(path).is_some() || is_read() {
        true => path.file_stem(),
        false => path.file_name(),
    };
    name.unwrap_or_default().to_owned()
}
