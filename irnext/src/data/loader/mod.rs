//! Batches of training samples, made in advance on worker threads.
//!
//! The step number determines the epoch, the images, and the random draws for each sample. So a
//! batch is the same whichever thread makes it, and whether the run reached the step in one go or
//! was resumed there.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use engine::Rng;

use super::{CropSpec, Source};
use crate::error::{Error, Result};
use crate::image::Image;

/// Streams of the random number generator: the order of an epoch (index: the epoch), and a sample
/// (index: its number in the run).
const EPOCH_STREAM: u32 = u32::from_be_bytes(*b"epch");
const SAMPLE_STREAM: u32 = u32::from_be_bytes(*b"smpl");

/// The most batches per worker thread that are finished or in progress.
const AHEAD: u64 = 2;

/// Samples of one step, ready to become two tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Degraded images: `n * height * width * 3` values, channels last.
    pub inputs: Vec<f32>,
    /// Their ground truth, likewise.
    pub targets: Vec<f32>,
    /// The number of images.
    pub n: usize,
    /// Rows of each.
    pub height: usize,
    /// Pixels in a row of each.
    pub width: usize,
}

/// The settings of a [`Loader`].
#[derive(Clone, Debug)]
pub struct LoaderConfig {
    /// Seed of every random choice.
    pub seed: u64,
    /// The step of the first batch: 0, or the step at which a run is resumed.
    pub first_step: u64,
    /// Samples in a batch.
    pub batch: usize,
    /// The part of each batch to load, and the number of equal parts.
    pub part: (usize, usize),
    /// The size of the crops and how they are taken.
    pub crop: CropSpec,
    /// How often an epoch uses each image: 1, or more for a small set whose epochs would be too
    /// short.
    pub repeat: usize,
    /// Worker threads; 0 counts as 1. They make up to two batches each in advance.
    pub workers: usize,
}

impl LoaderConfig {
    /// The number of batches in an epoch over `images` images. An incomplete batch at the end is
    /// dropped. Fails if there is no complete one.
    pub fn steps_per_epoch(&self, images: usize) -> Result<u64> {
        let samples = images.saturating_mul(self.repeat);
        let reason = if self.batch == 0 {
            "the batch size is 0".into()
        } else if self.repeat == 0 {
            "an epoch repeats the data set 0 times".into()
        } else if images == 0 {
            "the data set has no images".into()
        } else if !self.batch.is_multiple_of(self.part.1) {
            format!("a batch of {} does not divide into {} equal parts", self.batch, self.part.1)
        } else if self.batch > samples {
            format!(
                "the batch size {} is larger than the data set, which has {images} images \
                 repeated {} times",
                self.batch, self.repeat
            )
        } else {
            return Ok((samples / self.batch) as u64);
        };
        Err(Error::Config { reason })
    }
}

/// An endless iterator over batches: that of step `first_step`, then that of the step after it, and
/// so on. If a batch cannot be made, its place has an error that names the file, and the following
/// steps are unaffected. Dropping the loader stops its threads.
pub struct Loader {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

impl Loader {
    /// Starts making batches. Fails if the settings allow none.
    pub fn new(source: Arc<dyn Source>, config: &LoaderConfig) -> Result<Self> {
        config.crop.check()?;
        let steps_per_epoch = config.steps_per_epoch(source.len())?;
        let workers = config.workers.max(1);
        let mut loader = Self {
            shared: Arc::new(Shared {
                source,
                config: config.clone(),
                steps_per_epoch,
                ahead: AHEAD * workers as u64,
                queue: Mutex::new(Queue {
                    to_make: config.first_step,
                    to_give: config.first_step,
                    ready: BTreeMap::new(),
                }),
                made: Condvar::new(),
                given: Condvar::new(),
                stopped: AtomicBool::new(false),
            }),
            workers: Vec::new(),
        };
        for number in 0..workers {
            let shared = Arc::clone(&loader.shared);
            let thread = thread::Builder::new().name(format!("loader {number}"));
            // If this fails, dropping `loader` stops the threads that did start.
            let handle = thread.spawn(move || shared.work()).map_err(|error| {
                let reason = format!("cannot start loader thread {number}: {error}");
                Error::Config { reason }
            })?;
            loader.workers.push(handle);
        }
        Ok(loader)
    }

    /// The next batch; `None` as soon as `stop` is true.
    pub fn next_unless(&mut self, stop: &AtomicBool) -> Result<Option<Batch>> {
        const LOOK: Duration = Duration::from_millis(100);
        let shared = &self.shared;
        let mut queue = shared.lock();
        while !stop.load(Ordering::Relaxed) {
            let step = queue.to_give;
            if let Some(batch) = queue.ready.remove(&step) {
                queue.to_give += 1;
                shared.given.notify_one();
                return batch.map(Some);
            }
            // Nothing signals a change of `stop`.
            queue = shared.made.wait_timeout(queue, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(None)
    }

    /// The number of batches in an epoch. Step `s` belongs to epoch `s / steps_per_epoch`.
    pub fn steps_per_epoch(&self) -> u64 {
        self.shared.steps_per_epoch
    }
}

impl Iterator for Loader {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_unless(&AtomicBool::new(false)).transpose()
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        // Under the lock, so that no worker is between looking at the flag and going to sleep.
        let queue = self.shared.lock();
        self.shared.stopped.store(true, Ordering::Relaxed);
        drop(queue);
        self.shared.given.notify_all();
        for worker in self.workers.drain(..) {
            // A worker returns nothing, and catches the panics of its calls.
            let _ = worker.join();
        }
    }
}

/// The state shared by the worker threads and the iterator.
struct Shared {
    source: Arc<dyn Source>,
    config: LoaderConfig,
    steps_per_epoch: u64,
    ahead: u64,
    queue: Mutex<Queue>,
    /// A batch became ready.
    made: Condvar,
    /// A batch was taken, so there is space for another one.
    given: Condvar,
    stopped: AtomicBool,
}

struct Queue {
    /// The next step that a worker takes up.
    to_make: u64,
    /// The next step that the iterator gives.
    to_give: u64,
    /// Finished batches from `to_give` on.
    ready: BTreeMap<u64, Result<Batch>>,
}

impl Shared {
    /// The loop of a worker: take up a step, make its batch, put it in the queue.
    fn work(&self) {
        let mut order = Order::default();
        while let Some(step) = self.take_up() {
            let mut name = String::new();
            let made = catch_unwind(AssertUnwindSafe(|| self.make(step, &mut order, &mut name)));
            let batch = made.unwrap_or_else(|panic| {
                let reason = format!("cannot make a sample of this image: {}", message(&panic));
                Some(Err(Error::data(Path::new(&name), reason)))
            });
            let Some(batch) = batch else { return };
            self.lock().ready.insert(step, batch);
            self.made.notify_one();
        }
    }

    /// Waits until there is space for another batch; `None` if it is time to stop.
    fn take_up(&self) -> Option<u64> {
        let mut queue = self.lock();
        while !self.stopped() {
            if queue.to_make - queue.to_give < self.ahead {
                queue.to_make += 1;
                return Some(queue.to_make - 1);
            }
            queue = wait(&self.given, queue);
        }
        None
    }

    /// The batch of `step`, or `None` if it is time to stop. `name` is that of the image being
    /// worked on.
    fn make(&self, step: u64, order: &mut Order, name: &mut String) -> Option<Result<Batch>> {
        let LoaderConfig { seed, batch: n, part: (part, parts), ref crop, .. } = self.config;
        let part = part * n / parts..(part + 1) * n / parts;
        let values = part.len() * crop.height * crop.width * 3;
        let mut batch = Batch {
            inputs: Vec::with_capacity(values),
            targets: Vec::with_capacity(values),
            n: part.len(),
            height: crop.height,
            width: crop.width,
        };
        let epoch = order.of(step / self.steps_per_epoch, self);
        let first = (step % self.steps_per_epoch) as usize * n;
        for place in part {
            let index = epoch[first + place];
            if self.stopped() {
                return None;
            }
            *name = self.source.name(index);
            let number = step.wrapping_mul(n as u64).wrapping_add(place as u64);
            let mut rng = Rng::at(seed, SAMPLE_STREAM, number);
            let sample = self.source.sample(index, &mut rng, crop);
            if let Err(error) = sample.and_then(|(input, target)| batch.push(&input, &target, name))
            {
                return Some(Err(error));
            }
        }
        Some(Ok(batch))
    }

    fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batch {
    fn push(&mut self, input: &Image, target: &Image, name: &str) -> Result<()> {
        for (image, values) in [(input, &mut self.inputs), (target, &mut self.targets)] {
            if (image.width, image.height) != (self.width, self.height) {
                let reason = format!(
                    "the sample has {}x{} pixels, not the {}x{} of the batch",
                    image.width, image.height, self.width, self.height
                );
                return Err(Error::data(Path::new(name), reason));
            }
            values.extend_from_slice(&image.data);
        }
        Ok(())
    }
}

/// The order of the images in one epoch, cached because a worker's next step is usually in the same
/// epoch.
#[derive(Default)]
struct Order {
    epoch: u64,
    indices: Vec<usize>,
}

impl Order {
    /// The images of `epoch`: each as often as the set is repeated, shuffled.
    fn of(&mut self, epoch: u64, shared: &Shared) -> &[usize] {
        if self.indices.is_empty() || self.epoch != epoch {
            let images = shared.source.len();
            self.indices = (0..images * shared.config.repeat).map(|i| i % images).collect();
            Rng::at(shared.config.seed, EPOCH_STREAM, epoch).shuffle(&mut self.indices);
            self.epoch = epoch;
        }
        &self.indices
    }
}

fn wait<'a, T>(condition: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condition.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// The text of a panic.
fn message(panic: &Box<dyn Any + Send>) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown cause")
}

#[cfg(test)]
mod tests;
