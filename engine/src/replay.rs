//! Computations that are run again and again on inputs of the same shapes: a step of training, the
//! restoration of a video's frames.

use crate::cuda::{CapturedGraph, Gpu};
use crate::dispatch::on_device;
use crate::{Error, Tensor};

/// The recording of a computation, where that saves time.
///
/// On the CPU every run is a call of the function. On a GPU the first is, too; the second records
/// the work that the function queues, and from then on the recording is played. So every call must
/// come with the same function, which
///
/// - queues the same for the same shapes, and reads no values of tensors while it runs;
/// - reaches what changes from run to run through its inputs, or through memory that is written in
///   place.
///
/// New input shapes discard the recording. A recording keeps the [`Numerics`](crate::Numerics) that
/// it was made under, whatever those of later calls.
///
/// ```
/// use engine::{Error, Replay, Tensor};
/// let mut replay = Replay::default();
/// for x in [1.0, 2.0, 3.0] {
///     let inputs = [Tensor::from_slice(&[x], &[1])?];
///     let outputs = replay.run(&inputs, |x| Ok::<_, Error>(vec![x[0].square()?]))?;
///     assert_eq!(outputs[0].item()?, x * x);
/// }
/// # Ok::<_, engine::Error>(())
/// ```
#[derive(Default)]
pub struct Replay {
    /// The inputs it has run on last.
    warm: Option<Vec<crate::Meta>>,
    recorded: Option<Recorded>,
}

/// A recording, with the tensors that it reads and writes.
struct Recorded {
    // Dropped in this order: the graph's handle, then the memory that its kernels use.
    graph: CapturedGraph,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
}

impl Replay {
    /// Runs `f` on `inputs`, which are all on one device. On a GPU the outputs are overwritten by
    /// the next run: copy those that are needed longer.
    pub fn run<E: From<Error>>(
        &mut self,
        inputs: &[Tensor],
        f: impl FnOnce(&[Tensor]) -> Result<Vec<Tensor>, E>,
    ) -> Result<Vec<Tensor>, E> {
        let gpu = inputs.first().and_then(Tensor::gpu);
        on_device(gpu, f, |f| f(inputs), |gpu, f| self.run_on(gpu, inputs, f))
    }

    fn run_on<E: From<Error>>(
        &mut self,
        gpu: &'static Gpu,
        inputs: &[Tensor],
        f: impl FnOnce(&[Tensor]) -> Result<Vec<Tensor>, E>,
    ) -> Result<Vec<Tensor>, E> {
        let metas: Vec<_> = inputs.iter().map(Tensor::meta).collect();
        if self.warm.as_ref() != Some(&metas) {
            // The old recording's memory goes back before the new shapes ask for theirs.
            self.recorded = None;
            let outputs = f(inputs)?;
            self.warm = Some(metas);
            return Ok(outputs);
        }
        let recorded = match &mut self.recorded {
            Some(recorded) => recorded,
            empty => {
                // Memory that nobody else sees, to be overwritten before each run.
                let inputs = inputs.iter().map(Tensor::copy).collect::<Result<Vec<_>, Error>>()?;
                let (graph, outputs) = CapturedGraph::record(gpu, || f(&inputs))?;
                empty.insert(Recorded { graph, inputs, outputs })
            }
        };
        for (own, input) in recorded.inputs.iter().zip(inputs) {
            crate::cuda::copy(gpu, own.cuda_view()?, input.cuda_view()?)?;
        }
        recorded.graph.launch()?;
        Ok(recorded.outputs.clone())
    }
}
