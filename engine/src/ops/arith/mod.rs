//! Addition, subtraction, multiplication and division, element by element, with broadcasting.
//!
//! Backward, for y = a∘b and dy: add (dy, dy); sub (dy, −dy); mul (dy·b, dy·a); div (dy/b,
//! −dy·y/b). A gradient comes back in the shape of y; where an operand was broadcast, the tape sums
//! it.

mod operators;
#[cfg(any(test, feature = "checks"))]
pub(super) mod samples;

use super::gpu::{pointwise, pointwise_into};
use super::{Op, apply, save_if};
use crate::cpu::{PIECE, for_each_piece};
use crate::dispatch::on_device;
use crate::layout::broadcast_shape;
use crate::ops::map;
use crate::rows::RowRule;
use crate::{DType, Element, Error, Meta, Result, Tensor, dispatch_float};
use kernels::Packable;

impl Tensor {
    /// `self + other`, broadcast to a common shape.
    ///
    /// ```
    /// use engine::Tensor;
    /// let m = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0], &[2, 2])?;
    /// let row = Tensor::from_slice(&[10.0, 20.0], &[2])?;
    /// assert_eq!(m.add(&row)?.to_f64_vec()?, [11.0, 22.0, 13.0, 24.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn add(&self, other: &Tensor) -> Result<Tensor> {
        apply(Add, &[self, other])
    }

    /// `self − other`, broadcast to a common shape.
    ///
    /// ```
    /// use engine::Tensor;
    /// let m = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0], &[2, 2])?;
    /// let column = Tensor::from_slice(&[1.0, 3.0], &[2, 1])?;
    /// assert_eq!(m.sub(&column)?.to_f64_vec()?, [0.0, 1.0, 0.0, 1.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn sub(&self, other: &Tensor) -> Result<Tensor> {
        apply(Sub, &[self, other])
    }

    /// `self · other`, element by element, broadcast to a common shape.
    ///
    /// ```
    /// use engine::Tensor;
    /// let m = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0], &[2, 2])?;
    /// assert_eq!(m.mul(&m)?.to_f64_vec()?, [1.0, 4.0, 9.0, 16.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn mul(&self, other: &Tensor) -> Result<Tensor> {
        apply(Mul, &[self, other])
    }

    /// `self / other`, element by element, broadcast to a common shape.
    ///
    /// ```
    /// use engine::Tensor;
    /// let m = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0], &[2, 2])?;
    /// let column = Tensor::from_slice(&[2.0, 4.0], &[2, 1])?;
    /// assert_eq!(m.div(&column)?.to_f64_vec()?, [0.5, 1.0, 0.75, 1.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn div(&self, other: &Tensor) -> Result<Tensor> {
        apply(Div, &[self, other])
    }

    /// `self · scale + shift` with constants.
    ///
    /// ```
    /// use engine::Tensor;
    /// let x = Tensor::from_slice(&[1.0, 2.0, 3.0], &[3])?;
    /// assert_eq!(x.affine(10.0, 1.0)?.to_f64_vec()?, [11.0, 21.0, 31.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn affine(&self, scale: f64, shift: f64) -> Result<Tensor> {
        apply(Affine { scale, shift }, &[self])
    }

    /// `self · scale` with a constant.
    ///
    /// ```
    /// use engine::Tensor;
    /// let x = Tensor::from_slice(&[1.0, 2.0, 3.0], &[3])?;
    /// assert_eq!(x.scale(0.5)?.to_f64_vec()?, [0.5, 1.0, 1.5]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn scale(&self, scale: f64) -> Result<Tensor> {
        self.affine(scale, 0.0).map_err(|error| error.of("scale"))
    }

    /// `−self`.
    ///
    /// ```
    /// use engine::Tensor;
    /// let x = Tensor::from_slice(&[1.0, 2.0, 3.0], &[3])?;
    /// assert_eq!(x.neg()?.to_f64_vec()?, [-1.0, -2.0, -3.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn neg(&self) -> Result<Tensor> {
        self.affine(-1.0, 0.0).map_err(|error| error.of("neg"))
    }
}

/// `earlier + gradient`, in place where nobody else holds `earlier`. The tape's accumulator.
pub(crate) fn accumulate(earlier: Tensor, gradient: &Tensor) -> Result<Tensor> {
    let on_cpu = |earlier| accumulate_on_cpu(earlier, gradient);
    on_device(earlier.gpu(), earlier, on_cpu, |gpu, earlier| {
        if !earlier.is_exclusive() {
            return earlier.add(gradient);
        }
        pointwise_into(gpu, kernels::pointwise::ADD, &earlier, &[&earlier, gradient], [0.0; 2])?;
        Ok(earlier)
    })
}

fn accumulate_on_cpu(mut earlier: Tensor, gradient: &Tensor) -> Result<Tensor> {
    dispatch_float!("accumulate", earlier.dtype(), T => {
        // Gradients of sums are broadcast, and have no memory of their own to add to.
        let alike = earlier.layout().is_dense() && earlier.layout().same_strides(gradient.layout());
        if alike && gradient.dtype() == earlier.dtype() {
            let more: &[T] = gradient.dense_data("accumulate")?;
            if let Some(sum) = earlier.exclusive_data::<T>() {
                for_each_piece(sum, PIECE, &|i, sum| {
                    sum.iter_mut().zip(&more[i * PIECE..]).for_each(|(a, b)| *a += *b);
                });
                return Ok(earlier);
            }
        }
        earlier.add(gradient)
    })
}

#[derive(Debug)]
pub(crate) struct Add;
#[derive(Debug)]
pub(crate) struct Sub;
#[derive(Debug)]
pub(crate) struct Mul;
#[derive(Debug)]
pub(crate) struct Div;

impl Op for Add {
    const NAME: &'static str = "add";
    type Saved = ();

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        infer(Self::NAME, inputs)
    }

    fn forward(&self, x: &[&Tensor], out: &Meta, _: &[bool]) -> Result<(Tensor, ())> {
        Ok((binary(kernels::pointwise::ADD, out, x[0], x[1], |a, b| a + b, |a, b| a + b)?, ()))
    }

    fn backward(&self, (): (), dy: &Tensor, need: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(need.iter().map(|&need| need.then(|| dy.detach())).collect())
    }

    fn settings(&self) -> Option<String> {
        Some(format!("{self:?}"))
    }

    fn rows(&self, _: usize, _: &[Meta]) -> Option<RowRule> {
        Some(RowRule::Same)
    }
}

impl Op for Sub {
    const NAME: &'static str = "sub";
    type Saved = ();

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        infer(Self::NAME, inputs)
    }

    fn forward(&self, x: &[&Tensor], out: &Meta, _: &[bool]) -> Result<(Tensor, ())> {
        Ok((binary(kernels::pointwise::SUB, out, x[0], x[1], |a, b| a - b, |a, b| a - b)?, ()))
    }

    fn backward(&self, (): (), dy: &Tensor, need: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![need[0].then(|| dy.detach()), need[1].then(|| dy.neg()).transpose()?])
    }

    fn settings(&self) -> Option<String> {
        Some(format!("{self:?}"))
    }

    fn rows(&self, _: usize, _: &[Meta]) -> Option<RowRule> {
        Some(RowRule::Same)
    }
}

impl Op for Mul {
    const NAME: &'static str = "mul";
    /// The other operand of each gradient that is needed.
    type Saved = (Option<Tensor>, Option<Tensor>);

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        infer(Self::NAME, inputs)
    }

    fn forward(&self, x: &[&Tensor], out: &Meta, need: &[bool]) -> Result<(Tensor, Self::Saved)> {
        let y = binary(kernels::pointwise::MUL, out, x[0], x[1], |a, b| a * b, |a, b| a * b)?;
        Ok((y, (save_if(need[1], x[0]), save_if(need[0], x[1]))))
    }

    fn backward(
        &self,
        (a, b): Self::Saved,
        dy: &Tensor,
        _: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![b.map(|b| dy.mul(&b)).transpose()?, a.map(|a| dy.mul(&a)).transpose()?])
    }

    fn settings(&self) -> Option<String> {
        Some(format!("{self:?}"))
    }

    fn rows(&self, _: usize, _: &[Meta]) -> Option<RowRule> {
        Some(RowRule::Same)
    }
}

impl Op for Div {
    const NAME: &'static str = "div";
    /// The denominator, and the quotient if the denominator's gradient is needed.
    type Saved = (Tensor, Option<Tensor>);

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        infer(Self::NAME, inputs)
    }

    fn forward(&self, x: &[&Tensor], out: &Meta, need: &[bool]) -> Result<(Tensor, Self::Saved)> {
        let y = binary(kernels::pointwise::DIV, out, x[0], x[1], |a, b| a / b, |a, b| a / b)?;
        let quotient = save_if(need[1], &y);
        Ok((y, (x[1].detach(), quotient)))
    }

    fn backward(
        &self,
        (b, y): Self::Saved,
        dy: &Tensor,
        need: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let da = dy.div(&b)?;
        let db = y.map(|y| da.mul(&y)?.neg()).transpose()?;
        Ok(vec![need[0].then_some(da), db])
    }

    fn settings(&self) -> Option<String> {
        Some(format!("{self:?}"))
    }

    fn rows(&self, _: usize, _: &[Meta]) -> Option<RowRule> {
        Some(RowRule::Same)
    }
}

#[derive(Debug)]
pub(crate) struct Affine {
    pub(crate) scale: f64,
    pub(crate) shift: f64,
}

impl Op for Affine {
    const NAME: &'static str = "affine";
    type Saved = ();

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        crate::dispatch::require_compute(Self::NAME, inputs[0].dtype)?;
        Ok(inputs[0].clone())
    }

    fn forward(&self, x: &[&Tensor], _: &Meta, _: &[bool]) -> Result<(Tensor, ())> {
        let x = x[0];
        let on_cpu = || {
            dispatch_float!(Self::NAME, x.dtype(), T => {
                let [scale, shift] = [self.scale, self.shift].map(<T as Element>::from_f64);
                map(Self::NAME, x.shape(), [x], move |[x]: [T; 1]| x * scale + shift)
            })
        };
        let y = x.on_device(on_cpu, |gpu| {
            pointwise(gpu, kernels::pointwise::AFFINE, x.shape(), &[x], [self.scale, self.shift])
        })?;
        Ok((y, ()))
    }

    fn backward(&self, (): (), dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(dy.scale(self.scale)?)])
    }

    fn settings(&self) -> Option<String> {
        Some(format!("{self:?}"))
    }

    fn rows(&self, _: usize, _: &[Meta]) -> Option<RowRule> {
        Some(RowRule::Same)
    }
}

/// Equal compute dtypes, shapes that broadcast.
pub(super) fn infer(op: &'static str, inputs: &[Meta]) -> Result<Meta> {
    let dtype = inputs[0].dtype;
    crate::dispatch::require_compute(op, dtype)?;
    if inputs[1].dtype != dtype {
        return Err(Error::dtype(op, dtype, inputs[1].dtype));
    }
    Ok(Meta { shape: broadcast_shape(op, &inputs[0].shape, &inputs[1].shape)?, dtype })
}

/// One closure, given once per compute dtype, and its kernel on a GPU.
fn binary(
    kernel: Packable,
    out: &Meta,
    a: &Tensor,
    b: &Tensor,
    single: impl Fn(f32, f32) -> f32 + Sync,
    double: impl Fn(f64, f64) -> f64 + Sync,
) -> Result<Tensor> {
    let op = kernel.single.name();
    a.on_device(
        || match a.dtype() {
            DType::F32 => map(op, &out.shape, [a, b], |[a, b]| single(a, b)),
            DType::F64 => map(op, &out.shape, [a, b], |[a, b]| double(a, b)),
            other => Err(Error::dtype(op, "f32 or f64", other)),
        },
        |gpu| pointwise(gpu, kernel, &out.shape, &[a, b], [0.0; 2]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(data: &[f64], shape: &[usize]) -> Tensor {
        Tensor::from_slice(data, shape).unwrap()
    }

    #[test]
    fn operands_broadcast_both_ways() {
        let column = tensor(&[1.0, 2.0], &[2, 1]);
        let row = tensor(&[10.0, 20.0, 30.0], &[3]);
        let sum = column.add(&row).unwrap();
        assert_eq!(sum.shape(), [2, 3]);
        assert_eq!(sum.to_f64_vec().unwrap(), [11.0, 21.0, 31.0, 12.0, 22.0, 32.0]);
        assert_eq!(column.div(&row).unwrap().to_f64_vec().unwrap()[1], 0.05);
    }

    #[test]
    fn gradients_are_added_element_by_element() {
        // More than a piece.
        let len = 2 * PIECE + 5;
        let numbers = |scale: usize| (0..len).map(|i| (i * scale) as f64).collect::<Vec<f64>>();
        let [a, b] = [1, 10].map(|scale| tensor(&numbers(scale), &[len]));
        let place = a.dense_data::<f64>("test").unwrap().as_ptr();
        let sum = accumulate(a, &b).unwrap();
        assert_eq!(sum.to_f64_vec().unwrap(), numbers(11));
        assert_eq!(sum.dense_data::<f64>("test").unwrap().as_ptr(), place);
        // A part of a buffer is added to where it lies.
        let part = tensor(&[1.0, 2.0, 3.0, 4.0, 5.0], &[5]).narrow(0, 2, 3).unwrap();
        let sum = accumulate(part, &tensor(&[10.0, 20.0, 30.0], &[3])).unwrap();
        assert_eq!(sum.to_f64_vec().unwrap(), [13.0, 24.0, 35.0]);
        // In another order, and where someone else holds the first one, it is a new tensor.
        let (square, turned) = (tensor(&[1.0, 2.0, 3.0, 4.0], &[2, 2]), [10.0, 30.0, 20.0, 40.0]);
        let turned = tensor(&turned, &[2, 2]).transpose(0, 1).unwrap();
        for (earlier, held) in [(square.copy().unwrap(), None), (square.clone(), Some(&square))] {
            let sum = accumulate(earlier, &turned).unwrap().to_f64_vec().unwrap();
            assert_eq!(sum, [11.0, 22.0, 33.0, 44.0]);
            let kept = held.is_none_or(|x| x.to_f64_vec().unwrap() == [1.0, 2.0, 3.0, 4.0]);
            assert!(kept);
        }
        let held = square.clone();
        accumulate(square, &tensor(&[1.0; 4], &[2, 2])).unwrap();
        assert_eq!(held.to_f64_vec().unwrap(), [1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn mismatches_are_named() {
        let message =
            tensor(&[1.0, 2.0], &[2]).mul(&tensor(&[1.0, 2.0, 3.0], &[3])).unwrap_err().to_string();
        assert_eq!(message, "mul: shapes [2] and [3] do not broadcast together");
        let single = Tensor::zeros(&[2], DType::F32).unwrap();
        let message = single.add(&tensor(&[1.0, 2.0], &[2])).unwrap_err().to_string();
        assert_eq!(message, "add: expected dtype f32, got f64");
    }
}
