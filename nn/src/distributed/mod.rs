//! Training by several ranks, each on its part of every batch. Ranks are processes on one machine
//! or on many, or threads.
//!
//! A [`ProcessGroup`] is one rank's connection to the others. A [`Transport`] carries bytes between
//! them: the program has one for MPI, which needs MPI to be built; [`threads`] connects the threads
//! of one process. A transport lives on a thread of its own, which makes all its calls in the order
//! in which they were requested. So the ranks, which run the same program on different data,
//! communicate in the same order; and a mean that was
//! [started](ProcessGroup::start_all_reduce_mean) is computed while its rank goes on.
//!
//! Sums are taken in the order of the ranks, in f64, and rounded once: they depend on the number of
//! ranks and on nothing else, and are the same bits on all.
//!
//! Tensors on GPUs go from GPU to GPU, by the [`Communicator`] that a group is given for that. NCCL
//! chooses the order of its sums, which are the same bits on all ranks, too.

mod gradients;
#[cfg(test)]
mod tests;
mod threads;

pub use gradients::Buckets;
pub use threads::threads;

use crate::{Error, Result};
use engine::{Collectives, Communicator, DType, Device, Tensor, counted};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// How often an idle transport can check on the other ranks.
const PULSE: Duration = Duration::from_millis(250);

/// Carries bytes between ranks. All ranks make the same calls in the same order.
///
/// Errors are [`engine::Error::Ranks`], and name the rank that is gone.
pub trait Transport {
    /// The number of this rank, from 0.
    fn rank(&self) -> usize;

    /// The number of ranks.
    fn size(&self) -> usize;

    /// The bytes of every rank, of any lengths, in the order of the ranks.
    fn all_gather(&mut self, mine: &[u8]) -> Result<Vec<Vec<u8>>>;

    /// Gives piece i of `pieces` to rank i, and returns the pieces that are for this one, in the
    /// order of the ranks. Those for one rank are all of one length.
    fn all_to_all(&mut self, pieces: &[&[u8]]) -> Result<Vec<Vec<u8>>>;

    /// Called from time to time between calls.
    fn heartbeat(&mut self) {}

    /// Waits until all ranks are here, and ends the connection.
    fn close(&mut self);

    /// Ends the connection at once; the other ranks are told `reason`. It may end the process.
    fn abort(&mut self, reason: &str);
}

/// One rank's connection to the others.
///
/// [`threads`] shows two ranks that send each other a text.
pub struct ProcessGroup {
    rank: usize,
    size: usize,
    jobs: Sender<Request>,
    closed: AtomicBool,
    /// The connection of this rank's GPU to those of the others, if they compute on GPUs.
    gpus: OnceLock<Communicator>,
}

/// A request to the transport's thread.
enum Request {
    Task(Task),
    /// The end; with a reason if it is a failure that the other ranks do not know of.
    End(Option<String>, Sender<()>),
}

type Task = Box<dyn FnOnce(&mut dyn Transport) + Send>;

/// A result that is not here yet.
pub struct Pending<T>(Receiver<Result<T>>);

impl<T> Pending<T> {
    /// Waits for the result.
    pub fn wait(self) -> Result<T> {
        self.0.recv().unwrap_or_else(|_| Err(gone("the connection to the other ranks is closed")))
    }
}

impl ProcessGroup {
    /// Connects by the transport that `connect` makes, on the transport's own thread.
    pub fn new<T: Transport>(connect: impl FnOnce() -> Result<T> + Send + 'static) -> Result<Self> {
        let ((jobs, asked), (ready, answer)) = (channel(), channel());
        let live = move || match connect() {
            Ok(mut transport) => {
                let about = (transport.rank(), transport.size());
                if ready.send(Ok(about)).is_ok() {
                    serve(&mut transport, &asked);
                }
            }
            Err(error) => drop(ready.send(Err(error))),
        };
        let started = thread::Builder::new().name("ranks".into()).spawn(live);
        started.map_err(|error| {
            Error::Setting(format!("cannot start the thread that connects ranks: {error}"))
        })?;
        let (rank, size) = Pending(answer).wait()?;
        Ok(Self { rank, size, jobs, closed: AtomicBool::new(false), gpus: OnceLock::new() })
    }

    /// This rank's number, from 0.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// The number of ranks.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether this is the rank that writes and prints for all: number 0.
    pub fn is_first(&self) -> bool {
        self.rank == 0
    }

    /// Lets the ranks share tensors on their GPUs, which `communicator` connects. To be called
    /// once.
    pub fn connect_gpus(&self, communicator: Communicator) {
        // A second one changes nothing.
        let _ = self.gpus.set(communicator);
    }

    /// Whether the ranks can share tensors on `device`.
    pub fn carries(&self, device: Device) -> bool {
        self.communicator(device).is_ok()
    }

    /// The communicator for tensors on `device`, if it is not the transport.
    fn communicator(&self, device: Device) -> engine::Result<Option<&Communicator>> {
        match (device, self.gpus.get()) {
            (Device::Cpu, _) => Ok(None),
            (_, Some(communicator)) if communicator.device() == device => Ok(Some(communicator)),
            _ => Err(engine::Error::cuda(
                "ranks",
                format!("{device} is not connected to the GPUs of the other ranks"),
            )),
        }
    }

    /// The bytes of every rank, in the order of the ranks. Waits for all of them.
    pub fn all_gather(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>> {
        let mine = mine.to_vec();
        self.ask(move |transport| transport.all_gather(&mine)).wait()
    }

    /// The bytes of rank 0, on all ranks. The arguments of the others do not matter.
    pub fn broadcast(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        let mine = if self.is_first() { bytes } else { &[] };
        Ok(self.all_gather(mine)?.swap_remove(0))
    }

    /// Starts to compute the mean over the ranks of each of the numbers of `dtype` (f32 or f64) in
    /// `bytes`.
    ///
    /// ```
    /// let group = nn::distributed::threads(1)?.remove(0);
    /// let numbers: Vec<u8> = [1f32, 2.0].into_iter().flat_map(f32::to_le_bytes).collect();
    /// let mean = group.start_all_reduce_mean(engine::DType::F32, numbers.clone());
    /// // … other work …
    /// assert_eq!(mean.wait()?, numbers);
    /// # Ok::<_, nn::Error>(())
    /// ```
    pub fn start_all_reduce_mean(&self, dtype: DType, bytes: Vec<u8>) -> Pending<Vec<u8>> {
        self.ask(move |transport| mean(transport, dtype, &bytes))
    }

    /// Ends the connection when all ranks are here. With a `failure`, ends it at once, and
    /// [tells](Transport::abort) the other ranks.
    pub fn close(&self, failure: Option<&str>) {
        if self.closed.swap(true, Ordering::Relaxed) {
            return;
        }
        let (done, closed) = channel();
        // Without its thread there is nothing to close.
        if self.jobs.send(Request::End(failure.map(String::from), done)).is_ok() {
            let _ = closed.recv();
        }
    }

    fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Transport) -> Result<T> + Send + 'static,
    ) -> Pending<T> {
        let (answer, pending) = channel();
        // If the thread is gone, so is the sender of the answer, and the caller's wait fails.
        let _ = self
            .jobs
            .send(Request::Task(Box::new(move |transport| drop(answer.send(work(transport))))));
        Pending(pending)
    }
}

/// A rank that ends without notice, in a panic for instance, would leave the others waiting.
impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.close(Some("it ended unexpectedly"));
    }
}

impl Collectives for ProcessGroup {
    fn gather(&self, numbers: &[f64]) -> engine::Result<Vec<Vec<f64>>> {
        let mine: Vec<u8> = bytemuck::cast_slice(numbers).to_vec();
        // All have the same number, so the lengths need not be sent: a single exchange suffices for
        // so small a message.
        let parts = self
            .ask(move |transport| transport.all_to_all(&vec![&mine[..]; transport.size()]))
            .wait();
        let parts = parts.map_err(|error| match error {
            Error::Engine(error) => error,
            other => engine::Error::ranks(other.to_string()),
        })?;
        Ok(parts.iter().map(|bytes| numbers_in(bytes)).collect())
    }

    fn gather_on_gpu(&self, numbers: &Tensor) -> engine::Result<Tensor> {
        match self.communicator(numbers.device())? {
            Some(communicator) => communicator.gather(numbers),
            None => Err(engine::Error::cuda("ranks", "the numbers are in main memory")),
        }
    }
}

/// The loop of a transport's thread.
fn serve(transport: &mut dyn Transport, asked: &Receiver<Request>) {
    loop {
        match asked.recv_timeout(PULSE) {
            Ok(Request::Task(work)) => work(transport),
            Ok(Request::End(reason, done)) => {
                match reason {
                    None => transport.close(),
                    Some(reason) => transport.abort(&reason),
                }
                // It does not matter if the receiver is gone.
                let _ = done.send(());
                return;
            }
            Err(RecvTimeoutError::Timeout) => transport.heartbeat(),
            // The group's end comes first; see its `drop`.
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// The operation that errors of [`mean`] name.
const MEAN: &str = "mean over ranks";

/// The mean over the ranks of the numbers in `bytes`: each rank adds up a piece of them, and all
/// get all pieces.
fn mean(transport: &mut dyn Transport, dtype: DType, bytes: &[u8]) -> Result<Vec<u8>> {
    let (size, width) = (transport.size(), dtype.size());
    let piece = (bytes.len() / width).div_ceil(size).max(1) * width;
    let pieces: Vec<&[u8]> = (0..size)
        .map(|i| &bytes[(i * piece).min(bytes.len())..((i + 1) * piece).min(bytes.len())])
        .collect();
    let parts = transport.all_to_all(&pieces)?;
    if parts.iter().any(|part| part.len() != pieces[transport.rank()].len()) {
        return Err(gone("the ranks do not compute the same: one has more gradients than another"));
    }
    if !bytes.len().is_multiple_of(width) {
        let message = format!("{} are not whole numbers of {dtype}", counted(bytes.len(), "byte"));
        return Err(engine::Error::shape(MEAN, message).into());
    }
    let mine = match dtype {
        DType::F32 => mean_of::<f32>(&parts, |x| x.into(), |x| x as f32),
        DType::F64 => mean_of::<f64>(&parts, |x| x, |x| x),
        other => return Err(engine::Error::dtype(MEAN, "f32 or f64", other).into()),
    };
    Ok(transport.all_gather(&mine)?.concat())
}

fn mean_of<T: bytemuck::Pod>(
    parts: &[Vec<u8>],
    wide: impl Fn(T) -> f64,
    narrow: impl Fn(f64) -> T,
) -> Vec<u8> {
    let mut sums = vec![0.0; parts[0].len() / size_of::<T>()];
    for part in parts {
        sums.iter_mut().zip(numbers_in(part)).for_each(|(sum, x)| *sum += wide(x));
    }
    let means: Vec<T> = sums.into_iter().map(|sum| narrow(sum / parts.len() as f64)).collect();
    bytemuck::cast_slice(&means).to_vec()
}

/// The numbers in `bytes`, at any alignment.
fn numbers_in<T: bytemuck::Pod>(bytes: &[u8]) -> Vec<T> {
    bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect()
}

/// The error of an operation that cannot go on without the other ranks.
///
/// ```
/// let error = nn::distributed::gone("rank 3 left");
/// assert!(matches!(error, nn::Error::Engine(engine::Error::Ranks { .. })));
/// # Ok::<_, nn::Error>(())
/// ```
pub fn gone(message: impl Into<String>) -> Error {
    engine::Error::ranks(message).into()
}
