//! A map plus others, enlarged: the sum of a multi-scale module's branches, without writing them at
//! full size.
//!
//! With a GELU after it, the numbers before the GELU are saved for backward.

use super::{Bilinear, BilinearOp, OutputSize, linear_axis};
use crate::dispatch::on_device;
use crate::interpolation::Alignment;
use crate::ops::gelu::{self, gelu_in_place};
use crate::ops::separable::{
    self, AxisTable, Resampled, add_resampled, add_resampled_in_place, resample,
};
use crate::ops::{Op, Saved};
use crate::rows::{RowRule, RowScale, StripPlace};
use crate::{Error, Meta, Result, Tensor, dispatch_float};

/// A map, and others that are added to it, each enlarged to its size; then a GELU, or not.
#[derive(Clone, PartialEq)]
pub(crate) struct AddBilinear {
    alignment: Alignment,
    gelu: bool,
    /// Where in the sum this is, if it is only a strip of it.
    place: Option<StripPlace>,
}

impl AddBilinear {
    /// The operation that adds the result of `resize` to a map of its size; `None` if `resize` goes
    /// by a scale.
    pub(crate) fn of(resize: &BilinearOp) -> Option<Self> {
        let Bilinear { output, alignment } = resize.0;
        let sized = matches!(output, OutputSize::Size(_));
        sized.then_some(Self { alignment, gelu: false, place: None })
    }

    /// The sum of a tensor and a [`Tensor::bilinear`], as a plan fuses it.
    #[cfg(test)]
    pub(crate) fn new(align_corners: bool) -> Self {
        Self { alignment: Alignment::new(align_corners), gelu: false, place: None }
    }

    /// The same with a GELU, if it has none.
    pub(crate) fn with_gelu(&self) -> Option<Self> {
        (!self.gelu).then(|| Self { gelu: true, ..self.clone() })
    }

    fn tables(&self, x: &Tensor, others: &[&Tensor]) -> Result<Vec<[AxisTable; 2]>> {
        let (to, inputs) = (x.shape(), others.iter().zip(1..));
        let axes = |(other, input): (&&Tensor, usize)| {
            let from = other.shape();
            let rows = match &self.place {
                None => linear_axis(self.alignment, from[2], to[2])?,
                Some(place) => {
                    let (first, height) = place.inputs[input];
                    let scale = self.scale(height, place.height);
                    AxisTable::new(from[2], to[2], |o| {
                        let (row, weights) = scale.neighbors(place.start + o);
                        (row - first, weights)
                    })?
                }
            };
            Ok([rows, linear_axis(self.alignment, from[3], to[3])?])
        };
        inputs.map(axes).collect()
    }

    fn scale(&self, from: usize, to: usize) -> RowScale {
        RowScale { alignment: self.alignment, from, to }
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

    fn rows(&self, input: usize, inputs: &[Meta]) -> Option<RowRule> {
        Some(match input {
            0 => RowRule::Same,
            _ => RowRule::Between(self.scale(inputs[input].shape[2], inputs[0].shape[2])),
        })
    }

    fn in_strip(&self, place: &StripPlace) -> Option<Self> {
        Some(Self { place: Some(place.clone()), ..self.clone() })
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
