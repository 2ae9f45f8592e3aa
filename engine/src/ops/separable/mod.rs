//! Shared by pooling and resizing: operations given by a table along each axis.
//!
//! An operation gives the size of its output and its tables ([`Separable`]); value and gradient
//! follow from [`resample`] with the tables as they are, and transposed.

mod cpu;
pub(super) mod cuda;

use super::{Op, Saved, apply};
use crate::rows::RowRule;
use crate::{Error, Meta, Result, Tensor};
pub(super) use cpu::{AxisTable, Resampled, add_resampled, add_resampled_in_place};

/// A linear map of `[N, C, H, W]` that treats H and W apart.
pub(crate) trait Separable: Send + Sync + 'static {
    /// The operation's name.
    const NAME: &'static str;

    /// The output's height and width for an input of `size` (neither is 0), or the fault of it.
    fn output(&self, size: [usize; 2]) -> Result<[usize; 2], String>;

    /// The table along an axis of `from` inputs and `to` outputs, if there is memory for it.
    fn axis(&self, from: usize, to: usize) -> Result<AxisTable>;

    /// The input rows of an output row; see [`Op::rows`].
    fn rows(&self) -> Option<RowRule> {
        None
    }
}

/// Applies the linear map `rule` to `x`.
pub(super) fn apply_separable<S: Separable>(rule: S, x: &Tensor) -> Result<Tensor> {
    apply(Apply(rule), &[x])
}

/// A [`Separable`] map as an operation.
pub(crate) struct Apply<S>(pub(crate) S);

impl<S: Separable> Apply<S> {
    /// The tables along H and W from an input of shape `from` to an output of shape `to`.
    fn axes(&self, from: &[usize], to: &[usize]) -> Result<[AxisTable; 2]> {
        Ok([self.0.axis(from[2], to[2])?, self.0.axis(from[3], to[3])?])
    }
}

impl<S: Separable> Op for Apply<S> {
    const NAME: &'static str = S::NAME;
    /// The tables along H and W.
    type Saved = Tables;

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        infer(S::NAME, &inputs[0], |size| self.0.output(size))
    }

    fn rows(&self, _: usize, _: &[Meta]) -> Option<RowRule> {
        self.0.rows()
    }

    fn forward(&self, x: &[&Tensor], out: &Meta, _: &[bool]) -> Result<(Tensor, Tables)> {
        let [rows, cols] = self.axes(x[0].shape(), &out.shape)?;
        Ok((resample(S::NAME, x[0], &rows, &cols)?, Tables(rows, cols)))
    }

    fn backward(
        &self,
        Tables(rows, cols): Tables,
        dy: &Tensor,
        _: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(resample(S::NAME, dy, &rows.transposed()?, &cols.transposed()?)?)])
    }
}

/// `rows` along H and `cols` along W of `x` `[N, C, H, W]`.
pub(super) fn resample(
    op: &'static str,
    x: &Tensor,
    rows: &AxisTable,
    cols: &AxisTable,
) -> Result<Tensor> {
    x.on_device(|| cpu::resample(op, x, rows, cols), |gpu| cuda::resample(gpu, op, x, rows, cols))
}

/// The tables, saved for backward; they cost no tensor memory.
pub(crate) struct Tables(AxisTable, AxisTable);

impl Saved for Tables {
    fn bytes(&self) -> usize {
        0
    }
}

/// The shape rule of an operation on `[N, C, H, W]` that changes only H and W, to `output` of them.
pub(super) fn infer(
    op: &'static str,
    x: &Meta,
    output: impl FnOnce([usize; 2]) -> Result<[usize; 2], String>,
) -> Result<Meta> {
    crate::dispatch::require_compute(op, x.dtype)?;
    let [n, c, h, w] = x.dims4(op)?;
    if h == 0 || w == 0 {
        return Err(Error::shape(op, format!("shape {:?} has no pixels", x.shape)));
    }
    let [h, w] = output([h, w])
        .map_err(|what| Error::shape(op, format!("{what}, got shape {:?}", x.shape)))?;
    Ok(Meta { shape: vec![n, c, h, w], dtype: x.dtype })
}
