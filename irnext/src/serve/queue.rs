//! The photographs that wait to be restored.

use super::parameters::Parameters;
use crate::error::Result;
use crate::image::Format;
use crate::jobs::JobReport;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The most photographs in memory, the one that is being restored included.
const SLOTS: usize = 32;

/// The end of the queue that takes jobs.
pub(super) struct Queue {
    jobs: Sender<QueuedPhoto>,
    beside: Sender<QueuedPhoto>,
    slots: Arc<Semaphore>,
    closed: AtomicBool,
}

/// A slot in the queue. It is free again once it is dropped.
pub(super) struct Slot {
    _permit: OwnedSemaphorePermit,
}

/// One photograph to restore.
pub(super) struct QueuedPhoto {
    /// How to restore it.
    pub parameters: Parameters,
    /// Set once nobody waits for the result.
    pub abandoned: Arc<AtomicBool>,
    contents: Contents,
    updates: UnboundedSender<Update>,
}

/// The contents of the file, and the slot, until the work on it begins or its client leaves.
type Contents = Arc<Mutex<Option<(Vec<u8>, Slot)>>>;

/// The news about a job.
pub(super) enum Update {
    /// This part of the work is done, from 0 to 1.
    Progress(f64),
    /// The work is done, or has failed.
    Done(Box<Result<Finished>>),
    /// The server stops before it begins with the photograph.
    Refused,
}

/// The result of a job, as it is sent.
pub(super) struct Finished {
    /// The file.
    pub bytes: Vec<u8>,
    /// Its format.
    pub format: Format,
    /// What became of the photograph.
    pub report: JobReport,
    /// If asked for, pictures that every browser shows: which, format and file.
    pub previews: Vec<(&'static str, Format, Vec<u8>)>,
}

/// The news about a job, for the one who waits for it. Dropping it abandons the job.
pub(super) struct Updates {
    receiver: UnboundedReceiver<Update>,
    abandoned: Arc<AtomicBool>,
    contents: Contents,
}

impl Queue {
    /// A queue, and the ends that jobs come out of: one after the other, and beside those.
    pub fn new() -> (Self, [Receiver<QueuedPhoto>; 2]) {
        let ((jobs, one), (beside, other)) = (channel(), channel());
        let slots = Arc::new(Semaphore::new(SLOTS));
        (Self { jobs, beside, slots, closed: AtomicBool::new(false) }, [one, other])
    }

    /// A slot for a photograph that is about to be received, if one is free.
    pub fn slot(&self) -> Option<Slot> {
        let permit = self.slots.clone().try_acquire_owned().ok()?;
        Some(Slot { _permit: permit })
    }

    /// The number of photographs that wait, are received or are being restored.
    pub fn len(&self) -> usize {
        SLOTS - self.slots.available_permits()
    }

    /// Puts a photograph at the end.
    pub fn push(&self, photo: Vec<u8>, parameters: Parameters, slot: Slot) -> Updates {
        let abandoned = Arc::new(AtomicBool::new(false));
        let (updates, receiver) = unbounded_channel();
        let contents = Arc::new(Mutex::new(Some((photo, slot))));
        let job = QueuedPhoto {
            parameters,
            abandoned: abandoned.clone(),
            contents: contents.clone(),
            updates,
        };
        let jobs = if job.parameters.beside { &self.beside } else { &self.jobs };
        // If the worker has ended, the job is dropped, and so is its sender of news.
        let _ = jobs.send(job);
        Updates { receiver, abandoned, contents }
    }

    /// From now on the server refuses photographs.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Whether the server refuses photographs.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}

impl QueuedPhoto {
    /// The contents of its file, and its slot; none if its client has left.
    pub fn take(&self) -> Option<(Vec<u8>, Slot)> {
        lock(&self.contents).take()
    }

    /// Tells whoever waits for it.
    pub fn tell(&self, update: Update) {
        // Perhaps nobody does any more.
        let _ = self.updates.send(update);
    }
}

fn lock(contents: &Contents) -> MutexGuard<'_, Option<(Vec<u8>, Slot)>> {
    contents.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Updates {
    /// The next; none if the server has ended.
    pub async fn next(&mut self) -> Option<Update> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Like [`Self::next`], for those that are polled themselves.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Update>> {
        self.receiver.poll_recv(cx)
    }
}

impl Drop for Updates {
    fn drop(&mut self) {
        self.abandoned.store(true, Ordering::Relaxed);
        // One that waits frees its slot at once.
        lock(&self.contents).take();
    }
}
