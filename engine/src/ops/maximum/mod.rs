//! The larger and the smaller of two tensors, element by element, with broadcasting.
//!
//! Backward: dy where the operand was chosen, dy/2 where both are equal, and 0 elsewhere. With NaN
//! on either side the value is NaN, and both get dy. All of it as in PyTorch. On a GPU the value is
//! composed of comparisons and choices.

#[cfg(any(test, feature = "checks"))]
pub(super) mod samples;

use super::{Op, apply, arith, save_if};
use crate::ops::map;
use crate::rows::RowRule;
use crate::{Meta, Result, Tensor, dispatch_float};

impl Tensor {
    /// The larger of each two elements, broadcast to a common shape, and NaN if one of them is. The
    /// gradient is shared evenly where both are equal. [`amax`](Tensor::amax) is the largest of one
    /// tensor, and [`clamp`](Tensor::clamp) takes constant bounds.
    ///
    /// ```
    /// use engine::Tensor;
    /// let x = Tensor::from_slice(&[1.0, 5.0, 3.0, 4.0], &[2, 2])?;
    /// let row = Tensor::from_slice(&[2.0, 4.0], &[2])?;
    /// assert_eq!(x.maximum(&row)?.to_f64_vec()?, [2.0, 5.0, 3.0, 4.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the dtypes differ or are not floating-point types, or the shapes do not broadcast
    /// together.
    pub fn maximum(&self, other: &Tensor) -> Result<Tensor> {
        apply(Extremum::<true>, &[self, other])
    }

    /// The smaller of each two elements; all else as in [`maximum`](Tensor::maximum).
    ///
    /// ```
    /// use engine::Tensor;
    /// let x = Tensor::from_slice(&[1.0, 5.0, 3.0, 4.0], &[2, 2])?;
    /// let row = Tensor::from_slice(&[2.0, 4.0], &[2])?;
    /// assert_eq!(x.minimum(&row)?.to_f64_vec()?, [1.0, 4.0, 2.0, 4.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// Same errors as [`maximum`](Tensor::maximum).
    pub fn minimum(&self, other: &Tensor) -> Result<Tensor> {
        apply(Extremum::<false>, &[self, other])
    }
}

/// The larger of two tensors, or the smaller.
#[derive(Debug)]
struct Extremum<const LARGER: bool>;

impl<const LARGER: bool> Op for Extremum<LARGER> {
    const NAME: &'static str = if LARGER { "maximum" } else { "minimum" };
    /// Both operands.
    type Saved = Option<(Tensor, Tensor)>;

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        arith::infer(Self::NAME, inputs)
    }

    fn forward(&self, x: &[&Tensor], out: &Meta, need: &[bool]) -> Result<(Tensor, Self::Saved)> {
        let (a, b) = (x[0], x[1]);
        let on_cpu = || {
            dispatch_float!(Self::NAME, out.dtype, T => {
                map(Self::NAME, &out.shape, [a, b], |[a, b]: [T; 2]| {
                    let beyond = if LARGER { a >= b } else { a <= b };
                    if beyond || a.is_nan() { a } else { b }
                })
            })
        };
        let y = a.on_device(on_cpu, |_| {
            let beyond = if LARGER { a.ge(b) } else { a.le(b) }?;
            beyond.where_cond(a, &a.ne(a)?.where_cond(a, b)?)
        })?;
        let needed = need[0] || need[1];
        Ok((y, save_if(needed, a).zip(save_if(needed, b))))
    }

    fn backward(
        &self,
        saved: Self::Saved,
        dy: &Tensor,
        need: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let (half, zero) = (dy.scale(0.5)?, dy.constant(&[0.0], &[])?);
        let share = |mine: &Tensor, other: &Tensor| {
            let behind = if LARGER { mine.lt(other) } else { mine.gt(other) }?;
            behind.where_cond(&zero, &mine.eq(other)?.where_cond(&half, dy)?)
        };
        let gradient = |i: usize| {
            let saved = saved.as_ref().filter(|_| need[i]);
            saved.map(|(a, b)| if i == 0 { share(a, b) } else { share(b, a) }).transpose()
        };
        Ok(vec![gradient(0)?, gradient(1)?])
    }

    fn settings(&self) -> Option<String> {
        Some(format!("{self:?}"))
    }

    fn rows(&self, _: usize, _: &[Meta]) -> Option<RowRule> {
        Some(RowRule::Same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tape;

    const NAN: f64 = f64::NAN;
    const INF: f64 = f64::INFINITY;

    /// The value of `f`, and the gradients of both operands for dy = 2, with NaN shown as 99.
    fn of(f: fn(&Tensor, &Tensor) -> Result<Tensor>, a: &[f64], b: &[f64]) -> [Vec<f64>; 3] {
        let tape = Tape::new();
        let [a, b] = [a, b].map(|x| tape.leaf(&Tensor::from_slice(x, &[x.len()]).unwrap()));
        let y = f(&a, &b).unwrap();
        let seed = Tensor::full(y.shape(), 2.0, y.dtype()).unwrap();
        let gradients = tape.backward_from(&[&y], vec![Some(seed)]).unwrap();
        let shown = |x: &Tensor| {
            let known = |x: f64| if x.is_nan() { 99.0 } else { x };
            x.to_f64_vec().unwrap().into_iter().map(known).collect()
        };
        [&y, gradients.get(&a).unwrap(), gradients.get(&b).unwrap()].map(shown)
    }

    #[test]
    fn equal_elements_share_the_gradient_and_nan_shows() {
        let (a, b) = ([1.0, 4.0, 3.0, NAN, 0.0, INF, -INF], [2.0, 3.0, 3.0, 0.0, NAN, INF, INF]);
        let [y, da, db] = of(Tensor::maximum, &a, &b);
        assert_eq!(y, [2.0, 4.0, 3.0, 99.0, 99.0, INF, INF]);
        assert_eq!(da, [0.0, 2.0, 1.0, 2.0, 2.0, 1.0, 0.0]);
        assert_eq!(db, [2.0, 0.0, 1.0, 2.0, 2.0, 1.0, 2.0]);
        let [y, da, db] = of(Tensor::minimum, &a, &b);
        assert_eq!(y, [1.0, 3.0, 3.0, 99.0, 99.0, INF, -INF]);
        assert_eq!(da, [2.0, 0.0, 1.0, 2.0, 2.0, 1.0, 2.0]);
        assert_eq!(db, [0.0, 2.0, 1.0, 2.0, 2.0, 1.0, 0.0]);
        // Of an operand that is repeated, the shares are added up.
        assert_eq!(of(Tensor::maximum, &[1.0, 3.0, 5.0], &[3.0])[2], [3.0]);
    }

    #[test]
    fn mismatches_are_named() {
        let x = Tensor::from_slice(&[1.0, 2.0], &[2]).unwrap();
        let message = |y: Tensor| x.minimum(&y).unwrap_err().to_string();
        let other = Tensor::zeros(&[3], x.dtype()).unwrap();
        assert_eq!(message(other), "minimum: shapes [2] and [3] do not broadcast together");
        let single = Tensor::zeros(&[2], crate::DType::F32).unwrap();
        assert_eq!(message(single), "minimum: expected dtype f64, got f32");
    }
}
