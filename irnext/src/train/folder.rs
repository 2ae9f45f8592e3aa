//! The folder of a run: its file names, a lock for one writer, and two checkpoints, one of which is
//! always whole.

use super::TrainingState;
use super::checkpoint::{self, Progress};
use crate::error::{Error, Result};
use nn::optim::Rule;
use nn::shown;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// The folder of a run, and the right to write there.
pub(super) struct RunFolder {
    path: PathBuf,
    /// Locked while it is open; the system releases it if the process dies. None if nothing is to
    /// be written.
    _lock: Option<File>,
    /// The step of the newest checkpoint that is known to be whole.
    saved: Option<u64>,
    /// Whether that is the one in `last()`.
    last_is_whole: bool,
}

/// A run loaded from a checkpoint.
pub(super) struct LoadedRun {
    pub state: TrainingState,
    pub progress: Progress,
    /// A note for the user on how the checkpoint was found.
    pub note: Option<String>,
}

impl RunFolder {
    /// A folder that is only read; it need not exist.
    pub fn look(path: &Path) -> Self {
        Self { path: path.into(), _lock: None, saved: None, last_is_whole: false }
    }

    /// A folder to write to, created if necessary.
    ///
    /// # Errors
    /// If another process is training in it.
    pub fn claim(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path).map_err(Error::io(path))?;
        let name = path.join(".lock");
        let lock = File::create(&name).map_err(Error::io(&name))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::data(path, "another process is training in this folder"));
            }
            // Some network file systems have no locks. There the users have to take care.
            Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(Error::io(&name)(error)),
        }
        nn::remove_partial(path).map_err(Error::io(path))?;
        Ok(Self { _lock: Some(lock), ..Self::look(path) })
    }

    /// The file `name` in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The step of the last checkpoint that is known to be whole.
    pub fn saved(&self) -> Option<u64> {
        self.saved
    }

    fn last(&self) -> PathBuf {
        self.file("last.safetensors")
    }

    fn previous(&self) -> PathBuf {
        self.file("previous.safetensors")
    }

    /// The newest checkpoint that is whole; `None` in a folder without any.
    ///
    /// # Errors
    /// If there are checkpoints, and none that can be used: nothing is begun anew over what may be
    /// weeks of work.
    pub fn load(&mut self, rule: Rule, ema_decay: f64) -> Result<Option<LoadedRun>> {
        let (last, previous) = (self.last(), self.previous());
        let load = |path: &Path, note| {
            checkpoint::load(path, rule, ema_decay).map(|(state, progress)| LoadedRun {
                state,
                progress,
                note,
            })
        };
        (self.saved, self.last_is_whole) = (None, false);
        let found = match (last.exists(), previous.exists()) {
            (false, false) => return Ok(None),
            // The state after a save was interrupted between its two renamings.
            (false, true) => load(&previous, None)?,
            (true, _) => match load(&last, None) {
                Ok(found) => {
                    self.last_is_whole = true;
                    found
                }
                Err(error) => {
                    let note = format!(
                        "{error}; resuming from the previous checkpoint, {}",
                        shown(&previous)
                    );
                    load(&previous, Some(note)).map_err(|_| error)?
                }
            },
        };
        self.saved = Some(found.progress.step);
        Ok(Some(found))
    }

    /// Saves a checkpoint and keeps the one before it.
    pub fn save(&mut self, state: &TrainingState, progress: &Progress) -> Result<()> {
        let (last, bytes) = (self.last(), checkpoint::to_bytes(state, progress)?);
        match self.last_is_whole {
            true => nn::write_keeping(&last, &self.previous(), &bytes),
            // If there is one, it is damaged, and must not replace a whole one.
            false => nn::write_atomically(&last, &bytes),
        }
        .map_err(Error::io(&last))?;
        (self.saved, self.last_is_whole) = (Some(progress.step), true);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Model, ModelConfig};
    use engine::DType;
    use std::fs;

    const RULE: Rule = Rule::Sgd { momentum: 0.0, weight_decay: 0.0 };

    fn state() -> TrainingState {
        let config = ModelConfig { n: 1, width: 8, ..ModelConfig::default() };
        TrainingState::new(Model::new(&config, 1, DType::F32).unwrap(), RULE, 0.0).unwrap()
    }

    fn at(step: u64) -> Progress {
        Progress { step, ..Progress::default() }
    }

    fn step_found(folder: &Path) -> Result<Option<u64>> {
        Ok(RunFolder::claim(folder)?.load(RULE, 0.0)?.map(|found| found.progress.step))
    }

    #[test]
    fn one_process_writes_in_it() {
        let place = tempfile::tempdir().unwrap();
        let first = RunFolder::claim(place.path()).unwrap();
        let message = RunFolder::claim(place.path()).err().unwrap().to_string();
        assert!(message.contains("another process is training"), "{message}");
        drop(first);
        RunFolder::claim(place.path()).unwrap();
    }

    #[test]
    fn a_damaged_checkpoint_is_replaced_by_the_one_before() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path();
        let last = path.join("last.safetensors");
        assert_eq!(step_found(path).unwrap(), None);
        let mut folder = RunFolder::claim(path).unwrap();
        for step in [10, 20] {
            folder.save(&state(), &at(step)).unwrap();
        }
        drop(folder);
        assert_eq!(step_found(path).unwrap(), Some(20));

        let whole = fs::read(&last).unwrap();
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 4;
        for damaged in [&flipped[..], &whole[..whole.len() / 2], b""] {
            fs::write(&last, damaged).unwrap();
            let mut folder = RunFolder::claim(path).unwrap();
            let found = folder.load(RULE, 0.0).unwrap().unwrap();
            assert_eq!((found.progress.step, folder.saved()), (10, Some(10)));
            let note = found.note.unwrap();
            assert!(
                note.contains("last.safetensors") && note.contains("previous.safetensors"),
                "{note}"
            );
            // The damaged one is replaced, and the whole one stays.
            folder.save(&state(), &at(21)).unwrap();
            drop(folder);
            assert_eq!(step_found(path).unwrap(), Some(21));
            fs::remove_file(&last).unwrap();
            assert_eq!(step_found(path).unwrap(), Some(10));
        }
        // Where nothing is whole, nothing is begun anew.
        fs::write(&last, &flipped).unwrap();
        fs::remove_file(path.join("previous.safetensors")).unwrap();
        let message = step_found(path).unwrap_err().to_string();
        assert!(message.contains("last.safetensors") && message.contains("checksum"), "{message}");
    }
}
