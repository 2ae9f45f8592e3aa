//! From the found photographs to jobs: the place of each result and all obstacles are known before
//! the first photograph is read.

use super::find::Found;
use super::naming::{COMPARED, Naming, Target, compared, stem};
use super::place::{check_writable, existing_folder, identity};
use crate::degrade::Task;
use crate::error::{Error, Result};
use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

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
    /// Photographs whose result cannot be written.
    pub refused: Vec<(PathBuf, Error)>,
}

impl JobPlan {
    /// Plans the restoration of `found`.
    ///
    /// # Errors
    /// If two photographs would have the same result, a result would replace a photograph, the
    /// output file exists, or the output cannot be written to.
    pub fn new(found: &[Found], naming: &Naming) -> Result<Self> {
        let mut plan = Self::default();
        let names: HashSet<_> = found.iter().map(|photo| name(&photo.path)).collect();
        let mut jobs = Vec::new();
        for photo in found {
            if !photo.named && is_result(&photo.path, &names, naming) {
                plan.results.push(photo.path.clone());
            } else {
                jobs.push(Job {
                    from: photo.path.clone(),
                    to: naming.target(photo)?,
                    copy: naming.output.is_some(),
                });
            }
        }
        refuse_collisions(&jobs, naming)?;
        for job in jobs {
            match existing(&job, naming) {
                Err(error) => plan.refused.push((job.from, error)),
                Ok(Some(file)) if naming.is_file() => {
                    let at = file.display();
                    let reason = format!("{at}: already exists; --overwrite replaces it");
                    return Err(Error::Config { reason });
                }
                Ok(Some(file)) => plan.done.push((job.from, file)),
                Ok(None) => plan.jobs.push(job),
            }
        }
        plan.refuse_unwritable(naming)?;
        Ok(plan)
    }

    /// Sees that files can be made where results go. Moves the jobs of which that is not true.
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
        let from = job.from.display();
        for file in job.to.files(&naming.tasks) {
            let files = [naming.compare.then(|| compared(&file)), Some(file)];
            for file in files.into_iter().flatten() {
                let (at, place) = (file.display(), identity(&file));
                // Without --overwrite, a result beside its photograph counts as done, even if it
                // was named as a photograph as well.
                let counts = naming.overwrite || naming.output.is_some();
                if let Some(photo) = photos.get(&place).filter(|_| counts) {
                    let photo = photo.display();
                    let reason = format!(
                        "{photo}: the result of {from} would replace this photograph; choose \
                         another output"
                    );
                    return Err(Error::Config { reason });
                }
                if let Some(other) = taken.insert(place, &job.from) {
                    let other = other.display();
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

/// The folder of a photograph, and its name without the extension.
fn name(photo: &Path) -> (Option<&Path>, String) {
    (photo.parent(), stem(photo).to_string_lossy().into_owned())
}

/// Whether `photo` is the result of an earlier run for one of the photographs of these `names`, or
/// compares it with its result.
fn is_result(photo: &Path, names: &HashSet<(Option<&Path>, String)>, naming: &Naming) -> bool {
    let (folder, name) = name(photo);
    let has_original = |original: &str| names.contains(&(folder, original.to_string()));
    let name = name.strip_suffix(COMPARED).unwrap_or(&name);
    let tasks =
        Task::ALL.map(Task::name).into_iter().chain(naming.tasks.iter().map(String::as_str));
    let mut ends = tasks.map(|task| format!(".{task}")).chain(naming.suffix.clone());
    ends.any(|end| name.strip_suffix(&*end).is_some_and(has_original))
}
