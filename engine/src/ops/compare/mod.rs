//! Comparisons, element by element, with broadcasting. The result is a mask: 1 where the comparison
//! holds and 0 elsewhere, in the dtype of the operands, so that it can be summed, multiplied, or
//! given to [`Tensor::where_cond`]. PyTorch's masks are of a dtype of their own, `bool`.
//!
//! A mask does not change with its operands but in steps, so no gradient flows back through it.

#[cfg(any(test, feature = "checks"))]
pub(super) mod samples;

use super::gpu::pointwise;
use super::{Op, apply};
use crate::layout::broadcast_shape;
use crate::ops::map;
use crate::tensor::require_number;
use crate::{Element, Error, Meta, Result, Tensor, dispatch_element};
use kernels::pointwise::COMPARE;
use std::ops::Range;

/// The right side of a comparison: a tensor, or a number that is compared with every element.
///
/// ```
/// let x = engine::Tensor::from_slice(&[1.0, 2.0, 3.0], &[3])?;
/// let other = engine::Tensor::from_slice(&[3.0, 2.0, 1.0], &[3])?;
/// assert_eq!(x.lt(2.0)?.to_f64_vec()?, [1.0, 0.0, 0.0]);
/// assert_eq!(x.lt(&other)?.to_f64_vec()?, [1.0, 0.0, 0.0]);
/// # Ok::<_, engine::Error>(())
/// ```
pub trait Operand {
    /// The operand as a tensor of the dtype and on the device of `like`, the left side of `op`.
    ///
    /// ```
    /// use engine::{DType, Operand, Tensor};
    /// let bytes = Tensor::from_slice(&[1u8, 2], &[2])?;
    /// assert_eq!(2.0.tensor_like("eq", &bytes)?.dtype(), DType::U8);
    /// assert!(2.5.tensor_like("eq", &bytes).is_err());
    /// # Ok::<_, engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] if it is a number that the dtype, an integer, does not have.
    fn tensor_like(&self, op: &'static str, like: &Tensor) -> Result<Tensor>;

    /// The number that it is, if it is one.
    ///
    /// ```
    /// assert_eq!(engine::Operand::number(&2.5), Some(2.5));
    /// ```
    fn number(&self) -> Option<f64> {
        None
    }
}

impl Operand for &Tensor {
    fn tensor_like(&self, _: &'static str, _: &Tensor) -> Result<Tensor> {
        Ok((*self).clone())
    }
}

impl Operand for f64 {
    fn tensor_like(&self, op: &'static str, like: &Tensor) -> Result<Tensor> {
        require_number(op, *self, like.dtype())?;
        like.constant(&[*self], &[])
    }

    fn number(&self) -> Option<f64> {
        Some(*self)
    }
}

/// Each takes operands of any one dtype, and broadcasts them to a common shape. On a GPU it must be
/// a floating-point type. With NaN on either side all are 0, except `ne`, which is 1. A tensor of
/// integers may be compared with any number: 2 is less than 2.5, and no byte exceeds 300.
impl Tensor {
    /// 1 where `self` = `other`, and 0 elsewhere.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[1.0, 2.0, 3.0], &[3])?;
    /// assert_eq!(x.eq(2.0)?.to_f64_vec()?, [0.0, 1.0, 0.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the dtypes differ or the shapes do not broadcast together.
    pub fn eq(&self, other: impl Operand) -> Result<Tensor> {
        compare(Relation::Eq, self, other)
    }

    /// 1 where `self` ≠ `other`, and 0 elsewhere.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[1.0, f64::NAN, 3.0], &[3])?;
    /// assert_eq!(x.ne(&x)?.to_f64_vec()?, [0.0, 1.0, 0.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// Same errors as [`eq`](Tensor::eq).
    pub fn ne(&self, other: impl Operand) -> Result<Tensor> {
        compare(Relation::Ne, self, other)
    }

    /// 1 where `self` < `other`, and 0 elsewhere.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[1.0, 2.0, 3.0], &[3])?;
    /// assert_eq!(x.lt(2.0)?.to_f64_vec()?, [1.0, 0.0, 0.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// Same errors as [`eq`](Tensor::eq).
    pub fn lt(&self, other: impl Operand) -> Result<Tensor> {
        compare(Relation::Lt, self, other)
    }

    /// 1 where `self` ≤ `other`, and 0 elsewhere.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[1.0, 2.0, 3.0], &[3])?;
    /// assert_eq!(x.le(2.0)?.to_f64_vec()?, [1.0, 1.0, 0.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// Same errors as [`eq`](Tensor::eq).
    pub fn le(&self, other: impl Operand) -> Result<Tensor> {
        compare(Relation::Le, self, other)
    }

    /// 1 where `self` > `other`, and 0 elsewhere. Recorded as `lt` of the operands exchanged.
    ///
    /// ```
    /// let x = engine::Tensor::from_slice(&[1.0, 2.0, 3.0], &[3])?;
    /// assert_eq!(x.gt(2.0)?.to_f64_vec()?, [0.0, 0.0, 1.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// Same errors as [`eq`](Tensor::eq).
    pub fn gt(&self, other: impl Operand) -> Result<Tensor> {
        compare(Relation::Gt, self, other)
    }

    /// 1 where `self` ≥ `other`, and 0 elsewhere. Recorded as `le` of the operands exchanged.
    ///
    /// ```
    /// let column = engine::Tensor::from_slice(&[0.0, 1.0, 2.0], &[3, 1])?;
    /// let row = engine::Tensor::from_slice(&[0.0, 1.0, 2.0], &[3])?;
    /// let lower = column.ge(&row)?;
    /// assert_eq!(lower.to_f64_vec()?, [1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// Same errors as [`eq`](Tensor::eq).
    pub fn ge(&self, other: impl Operand) -> Result<Tensor> {
        compare(Relation::Ge, self, other)
    }
}

/// The mask of `relation` between `a` and `b`.
fn compare(relation: Relation, a: &Tensor, b: impl Operand) -> Result<Tensor> {
    let op = relation.name();
    let (relation, b) = match (b.number(), a.dtype().whole_numbers()) {
        // Every whole number relates to this one as to another that the dtype has, or all do alike.
        (Some(number), Some(range)) => match relation.to_whole(number, range) {
            Ok((relation, whole)) => (relation, a.constant(&[whole], &[])?),
            Err(true) => (Relation::Eq, a.clone()),
            Err(false) => (Relation::Ne, a.clone()),
        },
        _ => (relation, b.tensor_like(op, a)?),
    };
    // Errors name the operands in the caller's order.
    common(op, &a.meta(), &b.meta())?;
    let mask = match relation {
        Relation::Eq => apply(Compare(Eq), &[a, &b]),
        Relation::Ne => apply(Compare(Ne), &[a, &b]),
        Relation::Lt => apply(Compare(Lt), &[a, &b]),
        Relation::Le => apply(Compare(Le), &[a, &b]),
        Relation::Gt => apply(Compare(Lt), &[&b, a]),
        Relation::Ge => apply(Compare(Le), &[&b, a]),
    };
    mask.map_err(|error| error.of(op))
}

/// What a caller asks of two numbers.
#[derive(Clone, Copy, PartialEq)]
enum Relation {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Relation {
    fn name(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Ne => "ne",
            Self::Lt => "lt",
            Self::Le => "le",
            Self::Gt => "gt",
            Self::Ge => "ge",
        }
    }

    /// The relation and the whole number in `range` that say the same of whole numbers in `range`
    /// as this relation to `number`; or, if all answers are the same, the answer.
    fn to_whole(self, number: f64, range: Range<f64>) -> Result<(Self, f64), bool> {
        if number.is_nan() {
            return Err(self == Self::Ne);
        }
        if number < range.start {
            return Err(matches!(self, Self::Ne | Self::Gt | Self::Ge));
        }
        if number >= range.end {
            return Err(matches!(self, Self::Ne | Self::Lt | Self::Le));
        }
        let below = number.floor();
        match self {
            _ if below == number => Ok((self, number)),
            Self::Eq => Err(false),
            Self::Ne => Err(true),
            Self::Lt | Self::Le => Ok((Self::Le, below)),
            Self::Gt | Self::Ge => Ok((Self::Gt, below)),
        }
    }
}

/// The mask's shape and dtype, for these operands of `op`.
fn common(op: &'static str, a: &Meta, b: &Meta) -> Result<Meta> {
    if b.dtype != a.dtype {
        return Err(Error::dtype(op, a.dtype, b.dtype));
    }
    Ok(Meta { shape: broadcast_shape(op, &a.shape, &b.shape)?, dtype: a.dtype })
}

/// A relation of two numbers.
trait Comparison: Copy + std::fmt::Debug + Send + Sync + 'static {
    /// The operation's name.
    const NAME: &'static str;
    /// The number by which the GPU's kernel knows it.
    const CODE: f64;

    fn holds<T: PartialOrd>(a: &T, b: &T) -> bool;
}

macro_rules! comparisons {
    ($($Type:ident = $name:literal, $code:literal, |$a:ident, $b:ident| $holds:expr;)*) => {$(
        #[derive(Clone, Copy, Debug)]
        struct $Type;

        impl Comparison for $Type {
            const NAME: &'static str = $name;
            const CODE: f64 = $code;

            #[inline(always)]
            fn holds<T: PartialOrd>($a: &T, $b: &T) -> bool {
                $holds
            }
        }
    )*};
}

comparisons! {
    Eq = "eq", 0.0, |a, b| a == b;
    Ne = "ne", 1.0, |a, b| a != b;
    Lt = "lt", 2.0, |a, b| a < b;
    Le = "le", 3.0, |a, b| a <= b;
}

/// A [`Comparison`] of every pair of elements.
#[derive(Debug)]
struct Compare<C>(C);

impl<C: Comparison> Op for Compare<C> {
    const NAME: &'static str = C::NAME;
    type Saved = ();

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        common(C::NAME, &inputs[0], &inputs[1])
    }

    fn forward(&self, x: &[&Tensor], out: &Meta, _: &[bool]) -> Result<(Tensor, ())> {
        let on_cpu = || {
            dispatch_element!(out.dtype, T => {
                let [no, yes] = [0.0, 1.0].map(<T as Element>::from_f64);
                map(C::NAME, &out.shape, [x[0], x[1]], move |[a, b]: [T; 2]| {
                    if C::holds(&a, &b) { yes } else { no }
                })
            })
        };
        let y = x[0].on_device(on_cpu, |gpu| {
            crate::dispatch::require_compute(C::NAME, out.dtype)?;
            pointwise(gpu, COMPARE, &out.shape, x, [C::CODE, 0.0])
        })?;
        Ok((y, ()))
    }

    fn differentiable(&self, _: usize) -> bool {
        false
    }

    fn backward(&self, (): (), _: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![None, None])
    }

    fn settings(&self) -> Option<String> {
        Some(format!("{self:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Tape};

    /// The results of eq, ne, lt, le, gt and ge.
    fn all(a: &Tensor, b: &Tensor) -> [Vec<f64>; 6] {
        [a.eq(b), a.ne(b), a.lt(b), a.le(b), a.gt(b), a.ge(b)]
            .map(|mask| mask.unwrap().to_f64_vec().unwrap())
    }

    #[test]
    fn each_relation_holds_where_it_should_in_every_dtype() {
        let [a, b] = [[1.0, 2.0, 3.0], [2.0; 3]].map(|x| Tensor::from_slice(&x, &[3]).unwrap());
        for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16, DType::I64, DType::U8] {
            let [a, b] = [&a, &b].map(|x| x.to_dtype(dtype).unwrap());
            let expected = [[0., 1., 0.], [1., 0., 1.], [1., 0., 0.], [1., 1., 0.]]
                .into_iter()
                .chain([[0., 0., 1.], [0., 1., 1.]]);
            for (mask, expected) in all(&a, &b).into_iter().zip(expected) {
                assert_eq!(mask, expected, "{dtype}");
            }
            assert_eq!(a.lt(&b).unwrap().dtype(), dtype);
            assert_eq!(a.gt(2.0).unwrap().to_f64_vec().unwrap(), [0.0, 0.0, 1.0]);
        }
    }

    #[test]
    fn whole_numbers_are_compared_with_any_number() {
        let bytes = Tensor::from_slice(&[0u8, 2, 3, 255], &[4]).unwrap();
        let long = Tensor::from_slice(&[i64::MIN, 2, 3, i64::MAX], &[4]).unwrap();
        let numbers = [2.5, 2.0, -0.5, -1.0, 255.5, 256.0, 300.0, f64::NAN, f64::INFINITY]
            .into_iter()
            .chain([f64::NEG_INFINITY, 2f64.powi(63), -2f64.powi(63), -1e30, -0.0]);
        for number in numbers {
            for x in [&bytes, &long] {
                // The largest i64 rounds to 2^63 in f64, which it is less than.
                let below = |x: f64| if x == 2f64.powi(63) { x.next_down() } else { x };
                type Masked = fn(&Tensor, f64) -> Result<Tensor>;
                type Holds = fn(f64, f64) -> bool;
                let relations: [(Masked, Holds); 6] = [
                    (|x, n| x.eq(n), |x, n| x == n),
                    (|x, n| x.ne(n), |x, n| x != n),
                    (|x, n| x.lt(n), |x, n| x < n),
                    (|x, n| x.le(n), |x, n| x <= n),
                    (|x, n| x.gt(n), |x, n| x > n),
                    (|x, n| x.ge(n), |x, n| x >= n),
                ];
                for (i, (mask, holds)) in relations.into_iter().enumerate() {
                    let found = mask(x, number).unwrap();
                    assert_eq!(found.dtype(), x.dtype());
                    let values = x.to_f64_vec().unwrap().into_iter().map(below);
                    let expected: Vec<f64> =
                        values.map(|x| f64::from(u8::from(holds(x, number)))).collect();
                    assert_eq!(found.to_f64_vec().unwrap(), expected, "{i}: {x:?} {number}");
                }
            }
        }
    }

    #[test]
    fn nothing_but_inequality_holds_for_nan() {
        let nan = Tensor::scalar(f64::NAN, DType::F32).unwrap();
        let one = Tensor::ones(&[2], DType::F32).unwrap();
        for masks in [all(&nan, &one), all(&one, &nan)] {
            for (i, mask) in masks.into_iter().enumerate() {
                assert_eq!(mask, [if i == 1 { 1.0 } else { 0.0 }; 2], "comparison {i}");
            }
        }
    }

    #[test]
    fn no_gradient_flows_through_a_mask() {
        let tape = Tape::new();
        let x = tape.leaf(&Tensor::from_slice(&[-1.0, 0.5, 2.0], &[3]).unwrap());
        let y = x.mul(&x.gt(0.0).unwrap()).unwrap();
        let gradients = tape.backward(&y.sum_all().unwrap()).unwrap();
        assert_eq!(gradients.get(&x).unwrap().to_f64_vec().unwrap(), [0.0, 1.0, 1.0]);
    }

    #[test]
    fn mismatched_shapes_are_reported() {
        let single = Tensor::zeros(&[2], DType::F32).unwrap();
        let message = |result: Result<Tensor>| result.unwrap_err().to_string();
        let double = Tensor::zeros(&[2], DType::F64).unwrap();
        assert_eq!(message(single.eq(&double)), "eq: expected dtype f32, got f64");
        let three = Tensor::zeros(&[3], DType::F32).unwrap();
        assert_eq!(message(single.le(&three)), "le: shapes [2] and [3] do not broadcast together");
    }
}
