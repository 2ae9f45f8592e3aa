//! The mean over ranks of gradients, taken in buckets during the backward pass.

use super::{Pending, ProcessGroup, gone, numbers_in};
use crate::{Error, Result};
use engine::{AllReduce, DType, Tensor};

/// The size at which a bucket is sent, bytes. It is large enough that latency does not matter, and
/// small enough that the last bucket, which nothing can overlap with, arrives soon.
const BYTES: usize = 4 << 20;

/// Gradients being averaged over the ranks of a group.
///
/// They are added as they become final. The order is the same on all ranks, as they have the same
/// graph.
///
/// ```
/// use engine::{DType, Tape, Tensor};
/// use nn::distributed::{ProcessGroup, threads};
/// use nn::{Context, Params};
/// // Each rank has an example of its own, and all get the mean of the gradients.
/// let rank = |group: ProcessGroup| -> nn::Result<f64> {
///     let (w, params) = Params::build(0, DType::F64, |b| Ok(b.constant("w", &[], 1.0)))?;
///     let (tape, x) = (Tape::new(), Tensor::scalar(group.rank() as f64, DType::F64)?);
///     let cx = Context::training(&params, &tape);
///     let loss = cx.param(w)?.mul(&x)?;
///     let seeds = vec![Some(Tensor::scalar(1.0, DType::F64)?)];
///     let gradients = cx.finish().mean_gradients(tape, &[&loss], seeds, &group)?;
///     group.close(None);
///     Ok(gradients[0].as_ref().map_or(Ok(f64::NAN), Tensor::item)?)
/// };
/// let ranks: Vec<_> =
///     threads(2)?.into_iter().map(|group| std::thread::spawn(move || rank(group))).collect();
/// for rank in ranks {
///     assert_eq!(rank.join().expect("no panic")?, (0.0 + 1.0) / 2.0);
/// }
/// # Ok::<_, nn::Error>(())
/// ```
pub struct Buckets<'a> {
    group: &'a ProcessGroup,
    filling: Bucket,
    sent: Vec<(Bucket, Pending<Vec<u8>>)>,
    on_gpu: OnGpu,
}

/// The same for gradients on a GPU, which stay there.
#[derive(Default)]
struct OnGpu {
    entries: Vec<usize>,
    gradients: Vec<Tensor>,
    bytes: usize,
    sent: Vec<(Vec<usize>, AllReduce)>,
}

/// Some gradients of one dtype: their entries, their shapes, and their numbers one after the other.
#[derive(Default)]
struct Bucket {
    dtype: Option<DType>,
    entries: Vec<(usize, Vec<usize>)>,
    bytes: Vec<u8>,
}

impl<'a> Buckets<'a> {
    /// No gradients yet.
    pub fn new(group: &'a ProcessGroup) -> Self {
        Self { group, filling: Bucket::default(), sent: Vec::new(), on_gpu: OnGpu::default() }
    }

    /// Adds the gradient, in f32 or f64, of the entry at this index.
    pub fn add(&mut self, entry: usize, gradient: &Tensor) -> Result<()> {
        let dtype = gradient.dtype();
        if self.group.communicator(gradient.device())?.is_some() {
            return self.add_on_gpu(entry, gradient);
        }
        if self.filling.dtype.is_some_and(|other| other != dtype) {
            self.send();
        }
        let Bucket { dtype: of, entries, bytes } = &mut self.filling;
        *of = Some(dtype);
        entries.push((entry, gradient.shape().to_vec()));
        match dtype {
            DType::F32 => bytes.extend_from_slice(bytemuck::cast_slice(&gradient.to_vec::<f32>()?)),
            _ => bytes.extend_from_slice(bytemuck::cast_slice(&gradient.to_vec::<f64>()?)),
        }
        if bytes.len() >= BYTES {
            self.send();
        }
        Ok(())
    }

    /// The means, in a list of `entries`; `None` where no gradient was added.
    ///
    /// # Errors
    /// [`Error::Setting`] if one was added for an entry beyond the list;
    /// [`engine::Error::Ranks`] if a rank is gone or computes something else.
    pub fn finish(mut self, entries: usize) -> Result<Vec<Option<Tensor>>> {
        self.send();
        self.send_on_gpu()?;
        let mut means = vec![None; entries];
        let mut set = |entry: usize, mean| {
            let Some(place) = means.get_mut(entry) else {
                let message =
                    format!("a gradient is of entry {entry}, counted from 0, of {entries}");
                return Err(Error::Setting(message));
            };
            *place = Some(mean);
            Ok(())
        };
        for (entries, sent) in self.on_gpu.sent {
            for (entry, mean) in entries.into_iter().zip(sent.finish()?) {
                set(entry, mean)?;
            }
        }
        for (Bucket { dtype, entries, .. }, pending) in self.sent {
            let bytes = pending.wait()?;
            let mut rest = &bytes[..];
            for (entry, shape) in entries {
                let size = shape.iter().product::<usize>() * dtype.map_or(0, DType::size);
                let (numbers, after) = rest
                    .split_at_checked(size)
                    .ok_or_else(|| gone("the ranks do not compute the same"))?;
                let mean = match dtype {
                    Some(DType::F32) => Tensor::from_slice(&numbers_in::<f32>(numbers), &shape)?,
                    _ => Tensor::from_slice(&numbers_in::<f64>(numbers), &shape)?,
                };
                set(entry, mean)?;
                rest = after;
            }
        }
        Ok(means)
    }

    fn send(&mut self) {
        let mut bucket = std::mem::take(&mut self.filling);
        if let Some(dtype) = bucket.dtype {
            let pending =
                self.group.start_all_reduce_mean(dtype, std::mem::take(&mut bucket.bytes));
            self.sent.push((bucket, pending));
        }
    }

    fn add_on_gpu(&mut self, entry: usize, gradient: &Tensor) -> Result<()> {
        let OnGpu { entries, gradients, bytes, .. } = &mut self.on_gpu;
        entries.push(entry);
        gradients.push(gradient.detach());
        *bytes += gradient.numel() * gradient.dtype().size();
        if *bytes >= BYTES { self.send_on_gpu() } else { Ok(()) }
    }

    fn send_on_gpu(&mut self) -> Result<()> {
        let OnGpu { entries, gradients, bytes, sent } = &mut self.on_gpu;
        let (entries, gradients) = (std::mem::take(entries), std::mem::take(gradients));
        *bytes = 0;
        if let Some(first) = gradients.first()
            && let Some(communicator) = self.group.communicator(first.device())?
        {
            sent.push((entries, communicator.start_means(&gradients)?));
        }
        Ok(())
    }
}
