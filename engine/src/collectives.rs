//! The collective operations that an operation over a batch needs if several processes share the
//! batch, each of which has a part of it.

use crate::{Result, Tensor};

/// The processes, called ranks, that compute the same on the parts of one batch.
///
/// ```
/// use engine::{Collectives, Result, Tensor};
/// use std::sync::Arc;
///
/// /// One process alone.
/// struct Alone;
///
/// impl Collectives for Alone {
///     fn gather(&self, numbers: &[f64]) -> Result<Vec<Vec<f64>>> {
///         Ok(vec![numbers.to_vec()])
///     }
///
///     fn gather_on_gpu(&self, numbers: &Tensor) -> Result<Tensor> {
///         numbers.unsqueeze(0)
///     }
/// }
///
/// let ranks: Arc<dyn Collectives> = Arc::new(Alone);
/// let x = Tensor::from_slice(&[1.0, 3.0], &[2, 1, 1, 1])?;
/// let [weight, bias] = [1.0, 0.0].map(|value| Tensor::from_slice(&[value], &[1]).unwrap());
/// let (y, _) = x.batch_norm_train_among(&weight, &bias, 0.0, Some(&ranks))?;
/// assert_eq!(y.to_f64_vec()?, [-1.0, 1.0]);
/// # Ok::<_, engine::Error>(())
/// ```
pub trait Collectives: Send + Sync {
    /// The `numbers` of every rank, in the order of the ranks. Waits for the others, all of which
    /// must call this in the same order, and with as many numbers.
    ///
    /// # Errors
    /// [`Error::Ranks`](crate::Error::Ranks) if one of them is gone.
    fn gather(&self, numbers: &[f64]) -> Result<Vec<Vec<f64>>>;

    /// The `numbers`, f64 on a GPU, of every rank, in the order of the ranks, on that GPU:
    /// `[ranks, …]`. The GPU waits for the others, all of which must call this in the same order,
    /// and with as many numbers.
    ///
    /// # Errors
    /// [`Error::Cuda`](crate::Error::Cuda) if the ranks' GPUs are not connected.
    fn gather_on_gpu(&self, numbers: &Tensor) -> Result<Tensor>;
}
