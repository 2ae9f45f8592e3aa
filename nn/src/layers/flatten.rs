//! Several dimensions as one.

use super::Module;
use crate::{Context, Cost, LayerKind, Result};
use engine::Tensor;

/// Makes a range of dimensions one, in the order in which PyTorch counts elements.
///
/// ```
/// use engine::{DType, Tensor};
/// use nn::layers::{Flatten, Module};
/// use nn::{Context, Params};
/// let (_, params) = Params::build(0, DType::F32, |_| Ok(()))?;
/// let (cx, maps) = (Context::inference(&params), Tensor::zeros(&[8, 16, 4, 4], DType::F32)?);
/// assert_eq!(Flatten::new().forward(&cx, &maps)?.shape(), [8, 16 * 4 * 4]);
/// assert_eq!(Flatten::dims(2, 3).forward(&cx, &maps)?.shape(), [8, 16, 4 * 4]);
/// # Ok::<_, nn::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flatten {
    first: usize,
    /// None: the last one of the input.
    last: Option<usize>,
}

impl Flatten {
    /// All dimensions but the first, that of the batch: `[N, …]` to `[N, elements]`.
    #[expect(clippy::new_without_default, reason = "the other layers have no default either")]
    pub fn new() -> Self {
        Self { first: 1, last: None }
    }

    /// The dimensions from `first` to `last`, both included.
    pub fn dims(first: usize, last: usize) -> Self {
        Self { first, last: Some(last) }
    }
}

impl Module for Flatten {
    /// # Errors
    /// If `x` does not have these dimensions.
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        let (first, last) = (self.first, self.last.unwrap_or(x.rank().max(1) - 1));
        if first > last || last >= x.rank() {
            let message = format!("there are no dimensions {first} to {last} in {:?}", x.shape());
            return Err(engine::Error::shape("flatten", message).into());
        }
        let shape = x.shape();
        let flat = shape[first..=last].iter().product();
        let y = x.reshape(&[&shape[..first], &[flat], &shape[last + 1..]].concat())?;
        cx.report(|| Cost::new("", LayerKind::Flatten, x, &y));
        Ok(y)
    }
}
