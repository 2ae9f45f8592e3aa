//! Several processes that do a command's work together: `train` on parts of each batch, `eval` and
//! `restore` on parts of the files.
//!
//! A [`Team`] is what commands see of it, most often of one process. Whatever one rank alone may
//! fail in, reading an image or writing a checkpoint, is followed by a meeting ([`Team::agree`] and
//! those below it) in which all learn of it; so all end alike, and rank 0 saves what was reached.
//! How processes are started and connected is in [`launch`]; how gradients and statistics are
//! shared, in [`nn::distributed`].

pub mod launch;
#[cfg(feature = "mpi")]
mod mpi;

use crate::error::{Error, Result};
use engine::{Communicator, Device, ProcessGroup};
use nn::distributed::{Group, gone};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The processes that work together.
#[derive(Clone, Default)]
pub struct Team {
    group: Option<Arc<Group>>,
    /// Whether all ranks have learnt that one of them failed.
    failed: Arc<AtomicBool>,
}

/// What a rank brings to a meeting.
#[derive(Serialize, Deserialize)]
enum Word<T> {
    Went(T),
    Failed(String),
}

impl Team {
    /// This process and no other.
    pub fn alone() -> Self {
        Self::default()
    }

    /// The ranks of `group`.
    pub fn new(group: Group) -> Self {
        Self { group: Some(Arc::new(group)), ..Self::default() }
    }

    /// This process's number, from 0.
    pub fn rank(&self) -> usize {
        self.group.as_ref().map_or(0, |group| group.rank())
    }

    /// How many processes there are.
    pub fn size(&self) -> usize {
        self.group.as_ref().map_or(1, |group| group.size())
    }

    /// Whether this is the process that writes and speaks for all.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// Whether there is no other.
    pub fn is_alone(&self) -> bool {
        self.group.is_none()
    }

    /// The connection to the others, if there are any.
    pub fn group(&self) -> Option<&Arc<Group>> {
        self.group.as_ref()
    }

    /// The same, as layers see it.
    pub fn ranks(&self) -> Option<Arc<dyn ProcessGroup>> {
        self.group.clone().map(|group| group as Arc<dyn ProcessGroup>)
    }

    /// `mine`, unless another rank has failed.
    pub fn agree<T>(&self, mine: Result<T>) -> Result<T> {
        let mut kept = None;
        self.meet(mine.map(|value| kept = Some(value)))?;
        kept.ok_or_else(|| gone("a rank that failed was not heard").into())
    }

    /// `mine`, if all ranks have something, and all are at the same `mark`.
    pub fn all<T>(&self, mine: Result<Option<T>>, mark: u64) -> Result<Option<T>> {
        let mut kept = None;
        let words = self.meet(mine.map(|value| {
            kept = value;
            (kept.is_some(), mark)
        }))?;
        if let Some(rank) = words.iter().position(|(_, other)| *other != words[0].1) {
            let reason = "it has come to other numbers than rank 0, so the ranks do not run the same program".into();
            return Err(Error::Rank { rank, reason });
        }
        Ok(kept.filter(|_| words.iter().all(|(has, _)| *has)))
    }

    /// Refuses to go on if another rank has other `settings` than rank 0: names with their values,
    /// in one order.
    pub fn same(&self, settings: &[(String, String)]) -> Result<()> {
        let words = self.meet(Ok(settings.to_vec()))?;
        for (rank, theirs) in words.iter().enumerate() {
            let first = &words[0];
            let differs = |(a, b): &(&(String, String), &(String, String))| a != b;
            if let Some(((name, value), (_, expected))) = theirs.iter().zip(first).find(differs) {
                let reason = format!(
                    "{name} is {value} there, and {expected} on rank 0; give all ranks the same"
                );
                return Err(Error::Rank { rank, reason });
            }
            if theirs.len() != first.len() {
                return Err(Error::Rank {
                    rank,
                    reason: "it has other settings than rank 0".into(),
                });
            }
        }
        Ok(())
    }

    /// What `make` makes on rank 0, there as it is and on the others `read` from its bytes.
    pub fn from_first<T>(
        &self,
        make: impl FnOnce() -> Result<T>,
        write: impl FnOnce(&T) -> Result<Vec<u8>>,
        read: impl FnOnce(Vec<u8>) -> Result<T>,
    ) -> Result<T> {
        let Some(group) = &self.group else { return make() };
        let made =
            self.is_first().then(|| make().and_then(|made| Ok((write(&made)?, made)))).transpose();
        match self.agree(made)? {
            Some((bytes, made)) => group.from_first(&bytes).map(|_| made).map_err(Error::from),
            None => {
                let bytes = group.from_first(&[])?;
                read(bytes)
            }
        }
    }

    /// `work` for each of 0 to `count`, number i by rank i modulo their number; `seen` gets the
    /// results on all ranks, in order, as they come. Given up by all once `stop` is true on one.
    pub fn share<T: Serialize + DeserializeOwned>(
        &self,
        count: usize,
        stop: &AtomicBool,
        work: impl Fn(usize) -> Result<T>,
        mut seen: impl FnMut(T) -> Result<()>,
    ) -> Result<()> {
        let (rank, size) = (self.rank(), self.size());
        for first in (0..count).step_by(size) {
            if self.is_alone() {
                seen(work(first)?)?;
                continue;
            }
            let mine = (first + rank < count).then(|| work(first + rank)).transpose();
            let words = self.meet(mine.map(|made| (stop.load(Ordering::Relaxed), made)))?;
            if words.iter().any(|(stop, _)| *stop) {
                return Err(engine::Error::Interrupted { op: "share" }.into());
            }
            let heard = words.into_iter().filter_map(|(_, made)| made).try_for_each(&mut seen);
            // Rank 0 may write what it sees, and fail in that.
            self.agree(heard)?;
        }
        Ok(())
    }

    /// Connects the GPUs that the ranks compute on; nothing if `device`, this rank's, is none, or
    /// has been connected before.
    ///
    /// # Errors
    /// If NCCL is missing on a rank, or two ranks have one GPU.
    pub fn connect_gpus(&self, device: Device) -> Result<()> {
        let Some(group) = self.group.as_ref().filter(|group| !group.carries(device)) else {
            return Ok(());
        };
        let gpus = self.meet(Communicator::prepare(device).map_err(Error::from))?;
        for (rank, gpu) in gpus.iter().enumerate() {
            if let Some(other) = gpus[..rank].iter().position(|other| other == gpu) {
                let reason = format!(
                    "it has the same GPU as rank {other}, and NCCL takes one rank on each; start as many processes on a machine as it has GPUs"
                );
                return Err(Error::Rank { rank, reason });
            }
        }
        let unique_id =
            self.from_first(|| Ok(Communicator::unique_id()?), |made| Ok(made.clone()), Ok)?;
        match Communicator::join(device, &unique_id, self.rank(), self.size()) {
            Ok(communicator) => group.connect_gpus(communicator),
            // The others wait for this rank where they cannot be told.
            Err(error) => return Err(self.give_up(error.into())),
        }
        Ok(())
    }

    /// Whether it is so on all ranks.
    pub fn every(&self, mine: bool) -> Result<bool> {
        Ok(self.meet(Ok(mine))?.into_iter().all(|is| is))
    }

    /// The end of the work, of which this is the `result` here: a last meeting, unless all know
    /// already that a rank has failed.
    pub fn finish<T>(&self, result: Result<T>) -> Result<T> {
        let Some(group) = &self.group else { return result };
        let result = if self.failed.load(Ordering::Relaxed) { result } else { self.agree(result) };
        group.close(None);
        result
    }

    /// Ends the other ranks over an `error` in the middle of what they compute together. It is the
    /// error to be told.
    pub fn give_up(&self, error: Error) -> Error {
        if let Some(group) = &self.group {
            group.close(Some(&error.to_string()));
        }
        error
    }

    /// What each rank brings; an error on all if one of them brings one.
    fn meet<T: Serialize + DeserializeOwned>(&self, mine: Result<T>) -> Result<Vec<T>> {
        let Some(group) = &self.group else { return Ok(vec![mine?]) };
        let (word, failure) = match mine {
            Ok(value) => (Word::Went(value), None),
            Err(error) => (Word::Failed(error.to_string()), Some(error)),
        };
        let odd = |error: serde_json::Error| {
            gone(format!("the ranks do not run the same program: {error}"))
        };
        let words = group.gather(&serde_json::to_vec(&word).map_err(odd)?);
        let words = match (words, failure) {
            (Ok(words), None) => words,
            (Err(error), None) => return Err(error.into()),
            (words, Some(error)) => {
                if words.is_ok() {
                    self.failed.store(true, Ordering::Relaxed);
                }
                return Err(error);
            }
        };
        let mut values = Vec::new();
        for (rank, bytes) in words.iter().enumerate() {
            match serde_json::from_slice(bytes).map_err(odd)? {
                Word::Went(value) => values.push(value),
                Word::Failed(reason) => {
                    self.failed.store(true, Ordering::Relaxed);
                    return Err(Error::Rank { rank, reason });
                }
            }
        }
        Ok(values)
    }
}

/// What ranks compare of a list of files, for [`Team::same`]: how many there are, and a checksum of
/// their names.
pub fn of_files(names: &[String]) -> String {
    format!("{} files (checksum {:08x})", names.len(), crc32c::crc32c(names.join("\n").as_bytes()))
}
