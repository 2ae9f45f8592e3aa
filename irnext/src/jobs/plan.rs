//! From the photographs that were found to jobs: where each result goes, and what stands in the
//! way, all known before the first photograph is read.

use super::find::Found;
use crate::degrade::Task;
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Where results go, and under which names.
#[derive(Clone, Debug, Default)]
pub struct Naming {
    /// The names of the tasks that may be chosen for a photograph.
    pub tasks: Vec<String>,
    /// The file or folder that was asked for; without one, each result lies beside its photograph.
    pub output: Option<Output>,
    /// Put after the name of a result beside its photograph; if none, `.TASK`.
    pub suffix: Option<String>,
    /// The extension of results; if none, that of the photograph.
    pub extension: Option<String>,
    /// Whether existing results are replaced.
    pub overwrite: bool,
}

/// The output that was asked for.
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

/// One photograph to restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The photograph.
    pub from: PathBuf,
    /// Where its result goes.
    pub to: Target,
}

/// Where a result goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To this file, whatever is done to the photograph.
    File(PathBuf),
    /// Beside the photograph, under a name with the task: before and after the name of the task.
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
    fn files(&self, tasks: &[String]) -> Vec<PathBuf> {
        match self {
            Self::File(path) => vec![path.clone()],
            Self::Beside { .. } => tasks.iter().map(|task| self.file(task)).collect(),
        }
    }
}

/// The jobs, and the photographs that need none.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What is to be done, in order.
    pub jobs: Vec<Job>,
    /// Photographs whose result already exists, and that result.
    pub done: Vec<(PathBuf, PathBuf)>,
    /// Results of an earlier run that lie among the photographs.
    pub results: Vec<PathBuf>,
}

impl Plan {
    /// Plans the restoration of `found`. Makes the output folder.
    ///
    /// # Errors
    /// If two photographs would have the same result, a result would replace a photograph, the
    /// output file exists, or the output folder cannot be written to.
    pub fn new(found: &[Found], naming: &Naming) -> Result<Self> {
        let mut plan = Self::default();
        for photo in found {
            if !photo.named && is_result(photo, found, naming) {
                plan.results.push(photo.path.clone());
                continue;
            }
            let to = naming.target(photo);
            let there = to.files(&naming.tasks).into_iter().find(|file| file.exists());
            match there.filter(|_| !naming.overwrite) {
                Some(file) if naming.is_file() => {
                    return Err(Error::data(&file, "already exists; --overwrite replaces it"));
                }
                Some(file) => plan.done.push((photo.path.clone(), file)),
                None => plan.jobs.push(Job { from: photo.path.clone(), to }),
            }
        }
        plan.refuse_collisions(naming)?;
        if !plan.jobs.is_empty() {
            naming.prepare(&plan.jobs)?;
        }
        Ok(plan)
    }

    /// An error if a result would replace another one, or a photograph.
    fn refuse_collisions(&self, naming: &Naming) -> Result<()> {
        let photos = self.jobs.iter().map(|job| &job.from);
        let photos = photos.chain(self.done.iter().map(|(photo, _)| photo));
        let photos: HashMap<PathBuf, &PathBuf> =
            photos.map(|photo| (identity(photo), photo)).collect();
        let mut taken: HashMap<PathBuf, &Path> = HashMap::new();
        for job in &self.jobs {
            for file in job.to.files(&naming.tasks) {
                let place = identity(&file);
                if let Some(photo) = photos.get(&place) {
                    let reason = format!(
                        "the result of {} would replace this photograph; choose another output",
                        job.from.display()
                    );
                    return Err(Error::data(photo, reason));
                }
                if let Some(other) = taken.insert(place, &job.from) {
                    let reason = format!(
                        "would be the result of both {} and {}; restore them into different \
                         folders",
                        other.display(),
                        job.from.display()
                    );
                    return Err(Error::data(&file, reason));
                }
            }
        }
        Ok(())
    }
}

impl Naming {
    fn is_file(&self) -> bool {
        matches!(self.output, Some(Output::File(_)))
    }

    /// Where the result of `photo` goes.
    fn target(&self, photo: &Found) -> Target {
        let extension = self.extension.as_deref().unwrap_or(&photo.extension);
        let folder = match &self.output {
            Some(Output::File(file)) => return Target::File(file.clone()),
            Some(Output::Folder(folder)) => {
                let result = folder.join(&photo.below);
                return Target::File(with_extension(&result, extension));
            }
            None => photo.path.parent().unwrap_or(Path::new("")),
        };
        let mut name = photo.path.file_stem().unwrap_or_default().to_owned();
        match &self.suffix {
            Some(suffix) => {
                name.push(format!("{suffix}.{extension}"));
                Target::File(folder.join(name))
            }
            None => {
                name.push(".");
                Target::Beside { before: folder.join(name), after: format!(".{extension}") }
            }
        }
    }

    /// Makes the output folder, and sees that files can be made where results go.
    fn prepare(&self, jobs: &[Job]) -> Result<()> {
        if let Some(Output::Folder(folder)) = &self.output {
            fs::create_dir_all(folder).map_err(Error::io(folder))?;
        }
        let mut folders: Vec<PathBuf> =
            jobs.iter().map(|job| existing_folder(&job.to.file("task"))).collect();
        folders.sort();
        folders.dedup();
        folders.iter().try_for_each(|folder| check_writable(folder))
    }
}

/// Whether `photo` is the result of an earlier run for a photograph that lies beside it.
fn is_result(photo: &Found, found: &[Found], naming: &Naming) -> bool {
    let stem = photo.path.file_stem().unwrap_or_default().to_string_lossy();
    let of_task = |task: Task| stem.strip_suffix(&format!(".{task}"));
    let original = match &naming.suffix {
        Some(suffix) => stem.strip_suffix(suffix.as_str()),
        None => Task::ALL.into_iter().find_map(of_task),
    };
    original.is_some_and(|original| {
        found.iter().any(|other| {
            other.path.parent() == photo.path.parent()
                && other.path.file_stem().is_some_and(|stem| stem.to_string_lossy() == original)
        })
    })
}

/// `path` with `extension`, unless it has that one, in whatever case.
fn with_extension(path: &Path, extension: &str) -> PathBuf {
    match path.extension() {
        Some(own) if own.to_string_lossy().eq_ignore_ascii_case(extension) => path.into(),
        _ => path.with_extension(extension),
    }
}

/// Equal for two paths of one file: absolute, with links followed as far as the path exists.
fn identity(path: &Path) -> PathBuf {
    if let Ok(path) = path.canonicalize() {
        return path;
    }
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) if folder.as_os_str().is_empty() => {
            identity(Path::new(".")).join(name)
        }
        (Some(folder), Some(name)) => identity(folder).join(name),
        _ => path.into(),
    }
}

/// The folder of `file`, or the nearest one above that exists.
fn existing_folder(file: &Path) -> PathBuf {
    let above = file.ancestors().skip(1).find(|folder| folder.is_dir());
    match above {
        Some(folder) if !folder.as_os_str().is_empty() => folder.into(),
        _ => PathBuf::from("."),
    }
}

/// An error if no file can be made in `folder`.
fn check_writable(folder: &Path) -> Result<()> {
    let probe = folder.join(format!(".{}-probe.part", std::process::id()));
    File::create_new(&probe).map_err(Error::io(folder))?;
    fs::remove_file(&probe).map_err(Error::io(&probe))
}
