//! A map plus others, enlarged: the sum of a multi-scale module's branches, without writing them at
//! full size.
//!
//! With a GELU after it, the numbers before the GELU are saved for backward.

use super::{Alignment, Bilinear, BilinearOp, OutputSize};
use crate::dispatch::on_device;
use crate::ops::gelu::{self, gelu_in_place};
use crate::ops::separable::{
    self, AxisTable, Resampled, add_resampled, add_resampled_in_place, resample,
};
use crate::ops::{Op, Saved};
use crate::{Error, Meta, Result, Tensor, dispatch_float};

/// A map, and others that are added to it, each enlarged to its size; then a GELU, or not.
#[derive(PartialEq)]
pub(crate) struct AddBilinear {
    alignment: Alignment,
    gelu: bool,
}

impl AddBilinear {
    /// The operation that adds the result of `resize` to a map of its size; `None` if `resize` goes
    /// by a scale.
    pub(crate) fn of(resize: &BilinearOp) -> Option<Self> {
        let Bilinear { output, alignment } = resize.0;
        matches!(output, OutputSize::Size(_)).then_some(Self { alignment, gelu: false })
    }

    /// The sum of a tensor and a [`Tensor::bilinear`], as a plan fuses it.
    #[cfg(test)]
    pub(crate) fn new(align_corners: bool) -> Self {
        Self { alignment: Alignment::new(align_corners), gelu: false }
    }

    /// The same with a GELU, if it has none.
    pub(crate) fn with_gelu(&self) -> Option<Self> {
        (!self.gelu).then_some(Self { alignment: self.alignment, gelu: true })
    }

    fn tables(&self, x: &Tensor, others: &[&Tensor]) -> Result<Vec<[AxisTable; 2]>> {
        others.iter().map(|other| self.axes(other.shape(), x.shape())).collect()
    }

    /// The tables along H and W from a map like `from` to one like `to`.
    fn axes(&self, from: &[usize], to: &[usize]) -> Result<[AxisTable; 2]> {
        Ok([self.alignment.axis(from[2], to[2])?, self.alignment.axis(from[3], to[3])?])
    }
}

impl Op for AddBilinear {
    const NAME: &'static str = "add_bilinear";
    type Saved = AddSaved;

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let x = separable::infer(Self::NAME, &inputs[0], Ok)?;
        if inputs.len() == 1 {
            return Err(Error::shape(
                Self::NAME,
                format!("there is nothing to add to {:?}", x.shape),
            ));
        }
        for other in &inputs[1..] {
            let other = separable::infer(Self::NAME, other, Ok)?;
            if other.dtype != x.dtype {
                return Err(Error::dtype(Self::NAME, x.dtype, other.dtype));
            }
            if other.shape[..2] != x.shape[..2] {
                let what =
                    format!("{:?} has other images or channels than {:?}", other.shape, x.shape);
                return Err(Error::shape(Self::NAME, what));
            }
        }
        Ok(x)
    }

    fn forward(&self, inputs: &[&Tensor], _: &Meta, need: &[bool]) -> Result<(Tensor, AddSaved)> {
        let (x, others) = (inputs[0], &inputs[1..]);
        let tables = self.tables(x, others)?;
        let recorded = need.contains(&true);
        let save = self.gelu && recorded;
        let on_cpu = || {
            let sum = dispatch_float!(Self::NAME, x.dtype(), T => {
                let finish = (self.gelu && !recorded).then_some(gelu_in_place::<T> as fn(&mut [T]));
                add_resampled(Self::NAME, x, &parts(others, &tables), finish)
            })?;
            Ok(if save { (sum.gelu()?, Some(sum)) } else { (sum, None) })
        };
        let (y, sum) = x.on_device(on_cpu, |gpu| {
            let parts = parts(others, &tables);
            separable::cuda::add_resampled(gpu, Self::NAME, x, &parts, self.gelu, save)
        })?;
        Ok((y, AddSaved { tables, sum }))
    }

    fn reuses(&self) -> Option<usize> {
        Some(0)
    }

    fn forward_onto(&self, others: &[&Tensor], mut x: Tensor) -> Result<Tensor> {
        let tables = self.tables(&x, others)?;
        let parts = parts(others, &tables);
        let on_cpu = |x: &mut Tensor| {
            dispatch_float!(Self::NAME, x.dtype(), T => {
                let finish = self.gelu.then_some(gelu_in_place::<T> as fn(&mut [T]));
                add_resampled_in_place(Self::NAME, x, &parts, finish)
            })
        };
        on_device(x.gpu(), &mut x, on_cpu, |gpu, x| {
            separable::cuda::add_resampled_in_place(gpu, Self::NAME, x, &parts, self.gelu)
        })?;
        Ok(x)
    }

    fn backward(
        &self,
        AddSaved { tables, sum }: AddSaved,
        dy: &Tensor,
        need: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let dz = gelu::backward_if_fused(sum.as_ref(), dy)?;
        let mut gradients = vec![need[0].then(|| dz.clone())];
        for ([rows, cols], &need) in tables.iter().zip(&need[1..]) {
            let adjoint = || resample(Self::NAME, &dz, &rows.transposed()?, &cols.transposed()?);
            gradients.push(need.then(adjoint).transpose()?);
        }
        Ok(gradients)
    }
}

fn parts<'a>(others: &[&'a Tensor], tables: &'a [[AxisTable; 2]]) -> Vec<Resampled<'a>> {
    others.iter().zip(tables).map(|(&x, [rows, cols])| Resampled { x, rows, cols }).collect()
}

/// Saved for backward.
pub(crate) struct AddSaved {
    /// The tables of each map that was added. They cost no tensor memory.
    tables: Vec<[AxisTable; 2]>,
    /// The sum, before a GELU.
    sum: Option<Tensor>,
}

impl Saved for AddSaved {
    fn bytes(&self) -> usize {
        self.sum.bytes()
    }
}
