//! Computations that are run again and again on inputs of the same shapes: a step of training, the restoration of a video's frames.

use crate::{Error, Tensor};

/// A computation that is recorded where that saves time.
///
/// On the CPU every run is a call of the function. On a GPU the first is, too; the second records what the function queues,
/// and from then on the recording is played. So the function
///
/// - must queue the same for the same shapes, and may not read values of tensors while it runs;
/// - must reach what changes from run to run through its inputs, or through memory that is written in place.
///
/// Inputs of other shapes start over.
pub struct Replay<F> {
    f: F,
    /// Whether it has run on inputs like the last ones.
    #[cfg(feature = "cuda")]
    warm: Option<Vec<crate::Meta>>,
    #[cfg(feature = "cuda")]
    recorded: Option<crate::cuda::Graph>,
}

impl<F> Replay<F> {
    /// The computation `f`.
    pub fn new(f: F) -> Self {
        Self {
            f,
            #[cfg(feature = "cuda")]
            warm: None,
            #[cfg(feature = "cuda")]
            recorded: None,
        }
    }

    /// Runs it on `inputs`, which are all on one device. On a GPU the outputs are overwritten by the next run: copy what is
    /// to be kept.
    pub fn run<E: From<Error>>(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, E>
    where
        F: FnMut(&[Tensor]) -> Result<Vec<Tensor>, E>,
    {
        #[cfg(feature = "cuda")]
        if let Some(gpu) = inputs.first().and_then(Tensor::gpu) {
            return self.run_on(gpu, inputs);
        }
        (self.f)(inputs)
    }

    #[cfg(feature = "cuda")]
    fn run_on<E: From<Error>>(&mut self, gpu: &'static crate::cuda::Gpu, inputs: &[Tensor]) -> Result<Vec<Tensor>, E>
    where
        F: FnMut(&[Tensor]) -> Result<Vec<Tensor>, E>,
    {
        let metas: Vec<_> = inputs.iter().map(Tensor::meta).collect();
        if self.warm.as_ref() != Some(&metas) {
            // The old recording's memory goes back before the new shapes ask for theirs.
            self.recorded = None;
            let outputs = (self.f)(inputs)?;
            self.warm = Some(metas);
            return Ok(outputs);
        }
        if self.recorded.is_none() {
            self.recorded = Some(crate::cuda::Graph::record(gpu, inputs, &mut self.f)?);
        }
        match &self.recorded {
            Some(graph) => Ok(graph.run(inputs)?),
            None => (self.f)(inputs),
        }
    }
}
