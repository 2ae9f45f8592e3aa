//! The operands of a step: parameters, their numbers, and the bound of their gradients.

#[cfg(doc)]
use super::rule::Rule;
use super::rule::{OP, Scalars};
use crate::cuda::Gpu;
use crate::{Error, Result, Tensor};

/// The numbers of one step, [`Scalars`] for each parameter. On a GPU they are where they were at
/// the first step, so a recorded step can be played again with those that were
/// [set](StepScalars::set) last. See [`step`](super::step) for an example.
#[derive(Debug, Default)]
pub struct StepScalars {
    pub(super) scalars: Vec<Scalars>,
    /// Their copy on a GPU, once they were used there.
    pub(super) there: Option<Tensor>,
}

impl StepScalars {
    /// Sets the numbers for the steps to come. See [`step`](super::step) for an example.
    pub fn set(&mut self, scalars: Vec<Scalars>) -> Result<()> {
        self.scalars = scalars;
        self.refresh()
    }

    /// Brings the copy on the GPU up to date, if there is one.
    pub(super) fn refresh(&mut self) -> Result<()> {
        let bytes: &[u8] = bytemuck::cast_slice(&self.scalars);
        let Some(there) = &self.there else { return Ok(()) };
        if there.meta().bytes() != bytes.len() {
            self.there = None;
            return Ok(());
        }
        let on_gpu =
            |gpu: &'static Gpu| gpu.copy_block(there.block()?, &gpu.upload(bytes)?, bytes.len());
        there.on_device(|| Ok(()), on_gpu)
    }

    pub(super) fn get(&self, index: usize) -> Result<Scalars> {
        self.scalars
            .get(index)
            .copied()
            .ok_or_else(|| Error::shape(OP, format!("there are no scalars {index}")))
    }
}

/// A clone has a copy of its own on the GPU.
impl Clone for StepScalars {
    fn clone(&self) -> Self {
        let mut copy = Self::default();
        copy.scalars.clone_from(&self.scalars);
        copy
    }
}

/// One parameter to be moved. See [`step`](super::step) for an example.
pub struct Parameter<'a> {
    /// Its value.
    pub value: &'a mut Tensor,
    /// The gradient, of the value's dtype or of a half type.
    pub gradient: &'a Tensor,
    /// The state that the rule keeps for it, in the order of [`Rule::slot_names`]; empty before the
    /// first step.
    pub slots: &'a mut Vec<Tensor>,
    /// The index of its numbers in the [`StepScalars`].
    pub scalars: usize,
}

/// The bound that gradients are scaled down to, by min(1, limit / (norm + 1e-6)) as PyTorch's
/// `clip_grad_norm_`. Where the norm is not finite, nothing is changed. See
/// [`step`](super::step) for an example.
#[derive(Clone, Copy, Debug)]
pub struct Clip<'a> {
    /// The norm that [`norm`](super::norm) found.
    pub norm: &'a Tensor,
    /// The largest norm, not negative; infinite for none.
    pub limit: f64,
}
