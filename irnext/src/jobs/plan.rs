//! From the found photographs to jobs: the place of each result and all obstacles are known before
//! the first photograph is read.

use super::find::Found;
use super::naming::{COMPARED, Naming, Target, UNNAMED, compared, stem};
use super::place::{check_writable, existing_folder, identity};
use crate::degrade::Task;
use crate::error::{Error, Result};
use nn::shown;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One photograph to restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The photograph.
    pub from: PathBuf,
    /// Where its result goes.
    pub to: Target,
    /// Whether the photograph goes there if it is left alone: whoever names an output expects a
    /// file.
    pub copy: bool,
    /// An existing result. Then only the picture that compares the photograph with it is made.
    pub compare_with: Option<PathBuf>,
}

/// The jobs, and the photographs that need none.
#[derive(Debug, Default)]
pub struct JobPlan {
    /// The jobs to do, in order.
    pub jobs: Vec<Job>,
    /// Photographs whose result already exists, and that result.
    pub done: Vec<(PathBuf, PathBuf)>,
    /// Results of an earlier run that lie among the photographs.
    pub results: Vec<PathBuf>,
    /// The number of those that are recognized by their time, since nothing says which suffixes
    /// were used before.
    pub by_time: usize,
    /// Photographs whose result cannot be written.
    pub refused: Vec<(PathBuf, Error)>,
}

impl JobPlan {
    /// Plans the restoration of `found`. Removes the hidden files that killed runs left in the
    /// folders for results.
    ///
    /// # Errors
    /// If two photographs would have the same result, a result would replace a photograph, the
    /// output file exists, or the output cannot be written to.
    pub fn new(found: &[Found], naming: &Naming) -> Result<Self> {
        let mut plan = Self::default();
        let photos = PhotoNames::new(found);
        let mut jobs = Vec::new();
        for photo in found {
            let path = &photo.path;
            let by_name = !photo.named && photos.has_result(path, naming);
            let by_time = !photo.named && !by_name && photos.has_result_by_time(path);
            if by_name || by_time {
                plan.results.push(path.clone());
                plan.by_time += usize::from(by_time);
            } else {
                jobs.push(Job {
                    from: path.clone(),
                    to: naming.target(photo)?,
                    copy: naming.output.is_some(),
                    compare_with: None,
                });
            }
        }
        refuse_collisions(&jobs, naming)?;
        for job in jobs {
            match existing(&job, naming) {
                Err(error) => plan.refused.push((job.from, error)),
                Ok(Some(file)) if naming.is_file() => {
                    let at = shown(&file);
                    let reason = format!("{at}: already exists; --overwrite replaces it");
                    return Err(Error::Config { reason });
                }
                Ok(Some(file)) if naming.compare && lacks_comparison(&job, &file) => {
                    plan.jobs.push(Job { compare_with: Some(file), ..job });
                }
                Ok(Some(file)) if is_of_another(&file, &job.from) => {
                    let from = shown(&job.from);
                    let reason = format!(
                        "cannot be the result of {from}: it has the time of another photo. \
                         --overwrite replaces it, and -o names another place"
                    );
                    plan.refused.push((job.from.clone(), Error::image(&file, reason)));
                }
                Ok(Some(file)) => plan.done.push((job.from, file)),
                Ok(None) => plan.jobs.push(job),
            }
        }
        plan.refuse_unwritable(naming)?;
        Ok(plan)
    }

    /// The results among the photographs that are none of `done`: of another task, say.
    pub fn other_results(&self) -> impl Iterator<Item = &PathBuf> {
        let done = self.done.iter().flat_map(|(_, file)| [compared(file), file.clone()]);
        let done: HashSet<PathBuf> = done.collect();
        self.results.iter().filter(move |file| !done.contains(*file))
    }

    /// Sees that files can be made where results go. Moves the jobs of which that is not true.
    /// Removes what killed runs left in those folders.
    fn refuse_unwritable(&mut self, naming: &Naming) -> Result<()> {
        let mut writable = HashSet::new();
        for job in std::mem::take(&mut self.jobs) {
            let folder = existing_folder(&job.to.file("task"));
            if !writable.contains(&folder)
                && let Err(error) = check_writable(&folder)
            {
                if naming.output.is_some() {
                    // Nothing can be written at all.
                    return Err(error);
                }
                self.refused.push((job.from, error));
                continue;
            }
            if !writable.contains(&folder) {
                nn::remove_abandoned(&folder);
            }
            writable.insert(folder);
            self.jobs.push(job);
        }
        Ok(())
    }
}

/// A result that exists and is not to be replaced. An error if there cannot be one of that name,
/// such as one that is too long.
fn existing(job: &Job, naming: &Naming) -> Result<Option<PathBuf>> {
    for file in job.to.files(&naming.tasks) {
        match file.symlink_metadata() {
            Ok(_) if !naming.overwrite => return Ok(Some(file)),
            Ok(_) => {}
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => {
                let reason = format!("cannot be written: {}", Error::words(&error));
                return Err(Error::image(&file, reason));
            }
        }
    }
    Ok(None)
}

/// An error if a result would replace another one, or a photograph.
fn refuse_collisions(jobs: &[Job], naming: &Naming) -> Result<()> {
    let photos: HashMap<PathBuf, &Path> =
        jobs.iter().map(|job| (identity(&job.from), job.from.as_path())).collect();
    let mut taken: HashMap<PathBuf, &Path> = HashMap::new();
    for job in jobs {
        let from = shown(&job.from);
        for file in job.to.files(&naming.tasks) {
            let files = [naming.compare.then(|| compared(&file)), Some(file)];
            for file in files.into_iter().flatten() {
                let (at, place) = (shown(&file), identity(&file));
                // Without --overwrite, a result beside its photograph counts as done, even if it
                // was named as a photograph as well.
                let counts = naming.overwrite || naming.output.is_some();
                if let Some(photo) = photos.get(&place).filter(|_| counts) {
                    let photo = shown(&photo);
                    let reason = format!(
                        "{photo}: the result of {from} would replace this photograph; choose \
                         another output"
                    );
                    return Err(Error::Config { reason });
                }
                if let Some(other) = taken.insert(place, &job.from) {
                    let other = shown(&other);
                    let reason = format!(
                        "{at}: would be the result of both {other} and {from}; restore them into \
                         different folders"
                    );
                    return Err(Error::Config { reason });
                }
            }
        }
    }
    Ok(())
}

/// Whether the result `file` of a photograph is there without the picture that compares both. A
/// result that is a copy of its photograph needs none.
fn lacks_comparison(job: &Job, file: &Path) -> bool {
    compared(file).symlink_metadata().is_err() && !same_contents(&job.from, file)
}

fn same_contents(a: &Path, b: &Path) -> bool {
    let len = |path: &Path| path.metadata().ok().map(|metadata| metadata.len());
    let is_one_len = len(a).is_some() && len(a) == len(b);
    is_one_len && matches!((fs::read(a), fs::read(b)), (Ok(a), Ok(b)) if a == b)
}

/// The photographs of a search, by their folders and their names without extensions.
struct PhotoNames<'a>(HashMap<(Option<&'a Path>, String), Vec<&'a Path>>);

impl<'a> PhotoNames<'a> {
    fn new(found: &'a [Found]) -> Self {
        let mut photos: HashMap<_, Vec<_>> = HashMap::new();
        for photo in found {
            photos.entry(Self::key(&photo.path)).or_default().push(photo.path.as_path());
        }
        Self(photos)
    }

    fn key(photo: &Path) -> (Option<&Path>, String) {
        (photo.parent(), stem(photo).to_string_lossy().into_owned())
    }

    /// The photographs of this name in `folder`.
    fn named(&self, folder: Option<&'a Path>, name: &str) -> &[&'a Path] {
        self.0.get(&(folder, name.to_string())).map_or(&[], Vec::as_slice)
    }

    /// Whether `path` is named like a result of an earlier run for one of the photographs, or like
    /// a picture that compares a photograph with its result. In a folder for results, the latter
    /// lies beside the result.
    fn has_result(&self, path: &'a Path, naming: &Naming) -> bool {
        let (folder, name) = Self::key(path);
        let is_there = |original: &str| !self.named(folder, original).is_empty();
        let result = name.strip_suffix(COMPARED);
        if result.is_some_and(is_there) {
            return true;
        }
        let tasks = Task::ALL.map(Task::name).into_iter().chain([UNNAMED]);
        let tasks = tasks.chain(naming.tasks.iter().map(String::as_str));
        let mut ends = tasks.map(|task| format!(".{task}")).chain(naming.suffix.clone());
        let name = result.unwrap_or(&name);
        ends.any(|end| name.strip_suffix(&*end).is_some_and(is_there))
    }

    /// Whether `path` is a result of an earlier run under a suffix that nothing tells any more: its
    /// name starts with that of a photograph, whose time it has, as results do.
    fn has_result_by_time(&self, path: &'a Path) -> bool {
        let (folder, name) = Self::key(path);
        let starts = name.char_indices().skip(1).map(|(end, _)| &name[..end]);
        let mut photos = starts.flat_map(|start| self.named(folder, start));
        photos.any(|photo| has_time_of(path, photo) && !same_contents(path, photo))
    }
}

/// Whether `result` was made of another photograph than `photo`, or of an earlier state of it, such
/// as that of the same name on another card. Results have the time of their photographs.
fn is_of_another(result: &Path, photo: &Path) -> bool {
    let times = || {
        let (result, photo) = (result.metadata().ok()?, photo.metadata().ok()?);
        let (own, other) = (result.modified().ok()?, photo.modified().ok()?);
        // A file that says when it was made was given no time, or lost it.
        (result.created().ok()? > own).then_some((own, other))
    };
    times().is_some_and(|(own, other)| !is_same_time(own, other) && !same_contents(result, photo))
}

/// Whether two files have one time, of which some systems keep the even seconds alone, or the
/// hundredths.
fn is_same_time(a: SystemTime, b: SystemTime) -> bool {
    let apart = a.duration_since(b).or_else(|_| b.duration_since(a)).unwrap_or_default();
    let is_coarse = |time: SystemTime| {
        let part = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        part.subsec_nanos().is_multiple_of(10_000_000)
    };
    apart.is_zero() || apart < Duration::from_secs(2) && (is_coarse(a) || is_coarse(b))
}

/// Whether the file `result` was given the time of the file `photo`: both are equal to the last
/// digit, and `result` was made later than it says. Whole seconds are no evidence, since some
/// systems and archives keep no more.
fn has_time_of(result: &Path, photo: &Path) -> bool {
    let times = || {
        let (result, photo) = (result.metadata().ok()?, photo.metadata().ok()?);
        let time = result.modified().ok()?;
        let part = time.duration_since(UNIX_EPOCH).ok()?.subsec_nanos();
        Some(part > 0 && time == photo.modified().ok()? && result.created().ok()? > time)
    };
    times().unwrap_or(false)
}
