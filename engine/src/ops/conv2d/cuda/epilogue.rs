//! The epilogue as our own kernels take it.

use crate::conv::Epilogue;
use crate::{Result, Tensor};

/// The operands of an [`Epilogue`] as `convolution.cu` has them: addresses, 0 where there is none.
#[derive(Clone, Copy, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C)]
pub(super) struct EpilogueArguments {
    bias: u64,
    residual: u64,
    slope: u64,
    pre_activation: u64,
    gelu: u64,
}

impl EpilogueArguments {
    /// The addresses of contiguous operands.
    pub(super) fn new(epilogue: Epilogue<&Tensor>) -> Result<Self> {
        let Epilogue { bias, residual, pre_activation, gelu, slope, .. } =
            epilogue.try_map(|operand| operand.address())?;
        let [bias, residual, slope, pre_activation] =
            [bias, residual, slope, pre_activation].map(Option::unwrap_or_default);
        Ok(Self { bias, residual, slope, pre_activation, gelu: gelu.into() })
    }

    /// Whether every operand begins at a multiple of `unit`.
    pub(super) fn aligned(&self, unit: u64) -> bool {
        [self.bias, self.residual, self.slope, self.pre_activation]
            .iter()
            .all(|address| address % unit == 0)
    }
}
