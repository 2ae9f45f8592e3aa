//! The processes that work together, and their collective operations.

use crate::error::{Error, Result};
use engine::{Collectives, Communicator, Device};
use nn::distributed::{ProcessGroup, gone};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The processes that work together.
#[derive(Clone, Default)]
pub struct Team {
    group: Option<Arc<ProcessGroup>>,
    /// The rank of this process on its machine.
    local_rank: usize,
    /// Whether all ranks have learned that one of them failed.
    failed: Arc<AtomicBool>,
}

impl Team {
    /// A team of this process alone.
    pub fn alone() -> Self {
        Self::default()
    }

    /// A team of the ranks of `group`.
    pub fn new(group: ProcessGroup) -> Self {
        Self { group: Some(Arc::new(group)), ..Self::default() }
    }

    /// The same team, in which this process is number `local_rank` on its machine.
    pub fn on_local_rank(self, local_rank: usize) -> Self {
        Self { local_rank, ..self }
    }

    /// The rank of this process, from 0.
    pub fn rank(&self) -> usize {
        self.group.as_ref().map_or(0, |group| group.rank())
    }

    /// The number of processes.
    pub fn size(&self) -> usize {
        self.group.as_ref().map_or(1, |group| group.size())
    }

    /// Whether this is the process that writes and prints for all.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// Whether this is the only process.
    pub fn is_alone(&self) -> bool {
        self.group.is_none()
    }

    /// The device of this process if all were given `device`. The first process on a machine gets
    /// that GPU, each further one the next GPU, starting over after the last.
    pub fn device(&self, device: Device) -> Device {
        match (device, engine::gpus().map_or(0, |gpus| gpus.len())) {
            (Device::Cuda(first), count) if self.local_rank > 0 && count > 0 => {
                Device::Cuda((first + self.local_rank) % count)
            }
            _ => device,
        }
    }

    /// The connection to the others, if there are any.
    pub fn group(&self) -> Option<&Arc<ProcessGroup>> {
        self.group.as_ref()
    }

    /// The same, as layers see it.
    pub fn ranks(&self) -> Option<Arc<dyn Collectives>> {
        self.group.clone().map(|group| group as Arc<dyn Collectives>)
    }

    /// Waits for all ranks. Returns `mine`, or the error of another rank that has failed.
    pub fn barrier<T>(&self, mine: Result<T>) -> Result<T> {
        let mut kept = None;
        self.all_gather(mine.map(|value| kept = Some(value)))?;
        kept.ok_or_else(|| gone("a rank failed without a message").into())
    }

    /// Waits for all ranks. Returns `mine` if all have something, and `None` otherwise.
    ///
    /// # Errors
    /// Also if the ranks are not all at the same `mark`.
    pub fn all_ready<T>(&self, mine: Result<Option<T>>, mark: u64) -> Result<Option<T>> {
        let mut kept = None;
        let messages = self.all_gather(mine.map(|value| {
            kept = value;
            (kept.is_some(), mark)
        }))?;
        if let Some(rank) = messages.iter().position(|(_, other)| *other != messages[0].1) {
            let reason = "its results differ from those of rank 0: the ranks do not run the same \
                          program";
            return Err(Error::Rank { rank, reason: reason.into() });
        }
        Ok(kept.filter(|_| messages.iter().all(|(has, _)| *has)))
    }

    /// Fails if another rank has other `settings` than rank 0: names with their values, in the same
    /// order.
    pub fn require_equal(&self, settings: &[(String, String)]) -> Result<()> {
        let messages = self.all_gather(Ok(settings.to_vec()))?;
        for (rank, theirs) in messages.iter().enumerate() {
            let first = &messages[0];
            let differs = |(a, b): &(&(String, String), &(String, String))| a != b;
            if let Some(((name, value), (_, expected))) = theirs.iter().zip(first).find(differs) {
                let reason = format!(
                    "{name} is {value}, but {expected} on rank 0; set the same value on all ranks"
                );
                return Err(Error::Rank { rank, reason });
            }
            if theirs.len() != first.len() {
                return Err(Error::Rank {
                    rank,
                    reason: "its settings differ from those of rank 0".into(),
                });
            }
        }
        Ok(())
    }

    /// The value that `make` makes on rank 0; the other ranks `read` it from its bytes.
    pub fn broadcast<T>(
        &self,
        make: impl FnOnce() -> Result<T>,
        write: impl FnOnce(&T) -> Result<Vec<u8>>,
        read: impl FnOnce(Vec<u8>) -> Result<T>,
    ) -> Result<T> {
        let Some(group) = &self.group else { return make() };
        let made =
            self.is_first().then(|| make().and_then(|made| Ok((write(&made)?, made)))).transpose();
        match self.barrier(made)? {
            Some((bytes, made)) => group.broadcast(&bytes).map(|_| made).map_err(Error::from),
            None => {
                let bytes = group.broadcast(&[])?;
                read(bytes)
            }
        }
    }

    /// Runs `work` for each number from 0 to `count`, number i on rank i modulo the number of
    /// ranks. `seen` gets the results on all ranks, in order, as they come. All ranks stop once
    /// `stop` is true on one.
    pub fn distribute<T: Serialize + DeserializeOwned>(
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
            let messages =
                self.all_gather(mine.map(|made| (stop.load(Ordering::Relaxed), made)))?;
            if messages.iter().any(|(stop, _)| *stop) {
                return Err(engine::Error::Interrupted { op: "share" }.into());
            }
            let heard = messages.into_iter().filter_map(|(_, made)| made).try_for_each(&mut seen);
            // On rank 0, `seen` may write files, and fail.
            self.barrier(heard)?;
        }
        Ok(())
    }

    /// Connects the GPUs of the ranks; does nothing if `device`, this rank's, is no GPU, or is
    /// connected already.
    ///
    /// # Errors
    /// If NCCL is missing on a rank, or two ranks have one GPU.
    pub fn connect_gpus(&self, device: Device) -> Result<()> {
        let Some(group) = self.group.as_ref().filter(|group| !group.carries(device)) else {
            return Ok(());
        };
        let gpus = self.all_gather(Communicator::prepare(device).map_err(Error::from))?;
        for (rank, gpu) in gpus.iter().enumerate() {
            if let Some(other) = gpus[..rank].iter().position(|other| other == gpu) {
                let reason = format!(
                    "it has the same GPU as rank {other}, but NCCL takes one rank per GPU; start \
                     at most as many processes on a machine as it has GPUs"
                );
                return Err(Error::Rank { rank, reason });
            }
        }
        let unique_id =
            self.broadcast(|| Ok(Communicator::unique_id()?), |made| Ok(made.clone()), Ok)?;
        match Communicator::join(device, &unique_id, self.rank(), self.size()) {
            Ok(communicator) => group.connect_gpus(communicator),
            // The others wait for this rank in a call where they cannot be notified.
            Err(error) => return Err(self.abort(error.into())),
        }
        Ok(())
    }

    /// Whether `mine` is true on all ranks.
    pub fn all_true(&self, mine: bool) -> Result<bool> {
        Ok(self.all_gather(Ok(mine))?.into_iter().all(|is| is))
    }

    /// Ends the work, whose `result` on this rank is passed: a last barrier, unless all ranks know
    /// already that one has failed.
    pub fn finish<T>(&self, result: Result<T>) -> Result<T> {
        let Some(group) = &self.group else { return result };
        let result =
            if self.failed.load(Ordering::Relaxed) { result } else { self.barrier(result) };
        group.close(None);
        result
    }

    /// Ends the other ranks because of an `error` in the middle of a collective computation.
    /// Returns the error to report.
    pub fn abort(&self, error: Error) -> Error {
        if let Some(group) = &self.group {
            group.close(Some(&error.to_string()));
        }
        error
    }

    /// The values of all ranks; an error on all ranks if one of them has one.
    pub fn all_gather<T: Serialize + DeserializeOwned>(&self, mine: Result<T>) -> Result<Vec<T>> {
        let Some(group) = &self.group else { return Ok(vec![mine?]) };
        let (message, failure): (Result<T, String>, _) = match mine {
            Ok(value) => (Ok(value), None),
            Err(error) => (Err(error.to_string()), Some(error)),
        };
        let odd = |error: serde_json::Error| {
            gone(format!("the ranks do not run the same program: {error}"))
        };
        let messages = group.all_gather(&serde_json::to_vec(&message).map_err(odd)?);
        let messages = match (messages, failure) {
            (Ok(messages), None) => messages,
            (Err(error), None) => return Err(error.into()),
            (messages, Some(error)) => {
                if messages.is_ok() {
                    self.failed.store(true, Ordering::Relaxed);
                }
                return Err(error);
            }
        };
        let mut values = Vec::new();
        for (rank, bytes) in messages.iter().enumerate() {
            match serde_json::from_slice::<Result<T, String>>(bytes).map_err(odd)? {
                Ok(value) => values.push(value),
                Err(reason) => {
                    self.failed.store(true, Ordering::Relaxed);
                    return Err(Error::Rank { rank, reason });
                }
            }
        }
        Ok(values)
    }
}
