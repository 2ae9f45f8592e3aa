//! A map plus others, enlarged: what a multi-scale module does with its branches, without writing them at full size.

use super::Place;
use crate::cpu::{Axis, Resampled, add_resampled, resample};
use crate::ops::{Op, Saved, separable};
use crate::{Error, Meta, Result, Tensor};

pub(super) struct AddBilinear {
    pub(super) place: Place,
}

impl AddBilinear {
    /// The tables along H and W from a map like `from` to one like `to`.
    fn axes(&self, from: &[usize], to: &[usize]) -> [Axis; 2] {
        [2, 3].map(|d| self.place.axis(from[d], to[d]))
    }
}

impl Op for AddBilinear {
    const NAME: &'static str = "add_bilinear";
    /// The tables of each map that is added.
    type Saved = Tables;

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let x = separable::infer(Self::NAME, &inputs[0], Ok)?;
        if inputs.len() == 1 {
            return Err(Error::shape(Self::NAME, format!("there is nothing to add to {:?}", x.shape)));
        }
        for other in &inputs[1..] {
            let other = separable::infer(Self::NAME, other, Ok)?;
            if other.dtype != x.dtype {
                return Err(Error::dtype(Self::NAME, x.dtype, other.dtype));
            }
            if other.shape[..2] != x.shape[..2] {
                let what = format!("{:?} has other images or channels than {:?}", other.shape, x.shape);
                return Err(Error::shape(Self::NAME, what));
            }
        }
        Ok(x)
    }

    fn forward(&self, inputs: &[&Tensor], _: &[bool]) -> Result<(Tensor, Tables)> {
        let (x, others) = (inputs[0], &inputs[1..]);
        let tables: Vec<[Axis; 2]> = others.iter().map(|other| self.axes(other.shape(), x.shape())).collect();
        let parts = others.iter().zip(&tables).map(|(&x, [rows, cols])| Resampled { x, rows, cols });
        let y = add_resampled(Self::NAME, x, &parts.collect::<Vec<_>>())?;
        Ok((y, Tables(tables)))
    }

    fn backward(&self, Tables(tables): Tables, dy: &Tensor, need: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let mut gradients = vec![need[0].then(|| dy.clone())];
        for ([rows, cols], &need) in tables.iter().zip(&need[1..]) {
            let adjoint = || resample(Self::NAME, dy, &rows.transposed(), &cols.transposed());
            gradients.push(need.then(adjoint).transpose()?);
        }
        Ok(gradients)
    }
}

/// Kept for the backward pass; they cost no tensor memory.
pub(super) struct Tables(Vec<[Axis; 2]>);

impl Saved for Tables {
    fn bytes(&self) -> usize {
        0
    }
}
