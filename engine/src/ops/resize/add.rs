//! A map plus others, enlarged: what a multi-scale module does with its branches, without writing
//! them at full size.
//!
//! With a GELU after it, what is kept on a tape are the numbers before it.

use super::Place;
use crate::cpu::{Axis, Resampled, add_resampled, add_resampled_in_place};
use crate::ops::gelu::{self, gelu_in_place};
use crate::ops::separable::{self, resample};
use crate::ops::{Op, Saved};
use crate::{Error, Meta, Result, Tensor, dispatch_float};

pub(super) struct AddBilinear {
    pub(super) place: Place,
    pub(super) gelu: bool,
}

impl AddBilinear {
    /// Adds `others` to `x`, whose memory nobody else sees.
    pub(super) fn in_place(&self, x: &mut Tensor, others: &[&Tensor]) -> Result<()> {
        let tables = self.tables(x, others);
        on_gpu!(x, gpu => {
            separable::cuda::add_resampled_in_place(
                gpu, Self::NAME, x, &parts(others, &tables), self.gelu
            )
        });
        dispatch_float!(Self::NAME, x.dtype(), T => {
            let finish = self.gelu.then_some(gelu_in_place::<T> as fn(&mut [T]));
            add_resampled_in_place(Self::NAME, x, &parts(others, &tables), finish)
        })
    }

    fn tables(&self, x: &Tensor, others: &[&Tensor]) -> Vec<[Axis; 2]> {
        others.iter().map(|other| self.axes(other.shape(), x.shape())).collect()
    }

    /// The tables along H and W from a map like `from` to one like `to`.
    fn axes(&self, from: &[usize], to: &[usize]) -> [Axis; 2] {
        [2, 3].map(|d| self.place.axis(from[d], to[d]))
    }
}

impl Op for AddBilinear {
    const NAME: &'static str = "add_bilinear";
    type Saved = Kept;

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

    fn forward(&self, inputs: &[&Tensor], need: &[bool]) -> Result<(Tensor, Kept)> {
        let (x, others) = (inputs[0], &inputs[1..]);
        let tables = self.tables(x, others);
        let recorded = need.contains(&true);
        on_gpu!(x, gpu => {
            let keep = self.gelu && recorded;
            let parts = parts(others, &tables);
            let (y, sum) = separable::cuda::add_resampled(
                gpu, Self::NAME, x, &parts, self.gelu, keep
            )?;
            Ok((y, Kept { tables, sum }))
        });
        let sum = dispatch_float!(Self::NAME, x.dtype(), T => {
            let finish = (self.gelu && !recorded).then_some(gelu_in_place::<T> as fn(&mut [T]));
            add_resampled(Self::NAME, x, &parts(others, &tables), finish)
        })?;
        if !(self.gelu && recorded) {
            return Ok((sum, Kept { tables, sum: None }));
        }
        Ok((sum.gelu()?, Kept { tables, sum: Some(sum) }))
    }

    fn backward(
        &self,
        Kept { tables, sum }: Kept,
        dy: &Tensor,
        need: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let dz = gelu::before(sum.as_ref(), dy)?;
        let mut gradients = vec![need[0].then(|| dz.clone())];
        for ([rows, cols], &need) in tables.iter().zip(&need[1..]) {
            let adjoint = || resample(Self::NAME, &dz, &rows.transposed(), &cols.transposed());
            gradients.push(need.then(adjoint).transpose()?);
        }
        Ok(gradients)
    }
}

fn parts<'a>(others: &[&'a Tensor], tables: &'a [[Axis; 2]]) -> Vec<Resampled<'a>> {
    others.iter().zip(tables).map(|(&x, [rows, cols])| Resampled { x, rows, cols }).collect()
}

/// Kept for the backward pass.
pub(super) struct Kept {
    /// Of each map that was added. They cost no tensor memory.
    tables: Vec<[Axis; 2]>,
    /// The sum, before a GELU.
    sum: Option<Tensor>,
}

impl Saved for Kept {
    fn bytes(&self) -> usize {
        self.sum.bytes()
    }
}
