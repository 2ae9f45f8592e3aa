//! Photographs in, photographs out: which files are restored, where the results go, and the work on
//! each. All checks that are possible before the work come before it.
//!
//! [`Search`] finds the photographs, [`JobPlan`] makes jobs of them, and [`Job::run`] does one. A
//! photograph is never replaced, and a file has its name only once it is whole.
//!
//! ```
//! use irnext::compute::Compute;
//! use irnext::degrade::Task;
//! use irnext::image::{Image, Photo};
//! use irnext::jobs::{Naming, Output, JobPlan, Search, Settings, contents};
//! use irnext::restorer::Restorer;
//!
//! let folder = tempfile::tempdir().unwrap();
//! let (photos, output) = (folder.path().join("photos"), folder.path().join("restored"));
//! std::fs::create_dir(&photos).unwrap();
//! let rainy = Image::build(64, 48, |x, y| [(x * y % 50) as f32 / 50.0; 3])?;
//! Photo::new(rainy).write(photos.join("rainy.png"))?;
//!
//! let restorer = Restorer::for_task(Task::Derain, Compute::default())?;
//! let naming = Naming { output: Some(Output::Folder(output.clone())), ..Naming::default() };
//! let search = Search::new(&[photos], naming.folder(), contents);
//! for job in JobPlan::new(&search.found, &naming)?.jobs {
//!     job.run(&restorer, &Settings::default(), &|_| ())?;
//! }
//! assert!(output.join("rainy.png").exists());
//! # Ok::<(), irnext::Error>(())
//! ```

mod contents;
mod find;
mod json;
mod naming;
mod picture;
mod place;
mod plan;
mod stream;
mod summary;
#[cfg(test)]
mod tests;
mod whole;
mod work;

pub use contents::{FileContents, contents};
pub use find::{Found, MAX_DEPTH, Search};
pub use naming::{Naming, Output, Target, UNNAMED};
pub use plan::{Job, JobPlan};
pub use stream::{RestoredBytes, restore_bytes};
pub use summary::Summary;
pub use work::{JobOutcome, JobReport, STRENGTHS, Settings};
