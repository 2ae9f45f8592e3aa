//! Rust's operators for tensors and references to them: `+`, `-`, `*` and `/` of two tensors, or of
//! a tensor and a number on either side, and the unary `-`.
//!
//! Each is the method of the same meaning, whose shapes may not fit, so each gives a [`Result`]:
//!
//! ```
//! use engine::Tensor;
//! let x = Tensor::from_slice(&[1.0, 2.0], &[2])?;
//! let y = (&x * &x)? - 1.0;
//! assert_eq!(y?.to_f64_vec()?, [0.0, 3.0]);
//! assert_eq!((1.0 / &x)?.to_f64_vec()?, [1.0, 0.5]);
//! assert!((&x + &Tensor::from_slice(&[1.0, 2.0, 3.0], &[3])?).is_err());
//! # Ok::<_, engine::Error>(())
//! ```

use crate::{Result, Tensor};
use std::ops::{Add, Div, Mul, Neg, Sub};

macro_rules! operators {
    ($($Trait:ident::$method:ident: |$x:ident, $number:ident| $right:expr, $left:expr;)*) => {$(
        of_two!($Trait::$method: &Tensor, &Tensor);
        of_two!($Trait::$method: &Tensor, Tensor);
        of_two!($Trait::$method: Tensor, &Tensor);
        of_two!($Trait::$method: Tensor, Tensor);
        with_number!($Trait::$method: &Tensor, |$x, $number| $right, $left);
        with_number!($Trait::$method: Tensor, |$x, $number| $right, $left);
    )*};
}

macro_rules! of_two {
    ($Trait:ident::$method:ident: $Left:ty, $Right:ty) => {
        impl $Trait<$Right> for $Left {
            type Output = Result<Tensor>;

            fn $method(self, other: $Right) -> Result<Tensor> {
                Tensor::$method(&self, &other)
            }
        }
    };
}

macro_rules! with_number {
    (
        $Trait:ident::$method:ident: $Operand:ty,
        |$x:ident, $number:ident| $right:expr, $left:expr
    ) => {
        impl $Trait<f64> for $Operand {
            type Output = Result<Tensor>;

            fn $method(self, number: f64) -> Result<Tensor> {
                let ($x, $number): (&Tensor, f64) = (&self, number);
                $right
            }
        }

        impl $Trait<$Operand> for f64 {
            type Output = Result<Tensor>;

            fn $method(self, tensor: $Operand) -> Result<Tensor> {
                let ($x, $number): (&Tensor, f64) = (&tensor, self);
                $left
            }
        }
    };
}

// With the number on the right, and on the left.
operators! {
    Add::add: |x, number| x.affine(1.0, number), x.affine(1.0, number);
    Sub::sub: |x, number| x.affine(1.0, -number), x.affine(-1.0, number);
    Mul::mul: |x, number| x.scale(number), x.scale(number);
    Div::div: |x, number| x.div(&x.constant(&[number], &[])?), x.constant(&[number], &[])?.div(x);
}

impl Neg for &Tensor {
    type Output = Result<Tensor>;

    fn neg(self) -> Result<Tensor> {
        Tensor::neg(self)
    }
}

impl Neg for Tensor {
    type Output = Result<Tensor>;

    fn neg(self) -> Result<Tensor> {
        Tensor::neg(&self)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Result, Tape, Tensor};

    #[test]
    fn operators_are_the_methods_of_their_meaning() {
        let a = Tensor::from_slice(&[1.0, 3.0], &[2]).unwrap();
        let b = Tensor::from_slice(&[2.0, 4.0], &[2, 1]).unwrap();
        let values = |x: Result<Tensor>| x.unwrap().to_f64_vec().unwrap();
        assert_eq!(values(&a + &b), [3.0, 5.0, 5.0, 7.0]);
        assert_eq!(values(&a - &b), [-1.0, 1.0, -3.0, -1.0]);
        assert_eq!(values(&a * &b), [2.0, 6.0, 4.0, 12.0]);
        assert_eq!(values(&a / &b), [0.5, 1.5, 0.25, 0.75]);
        assert_eq!(values(-&a), [-1.0, -3.0]);
        assert_eq!(
            (values(-a.clone()), values(1.0 - a.clone())),
            (vec![-1.0, -3.0], vec![0.0, -2.0])
        );
        assert_eq!(values(a.clone() - &b), values(&a - &b));
        assert_eq!(values(&a / b.clone()), values(a.clone() / b.clone()));
        assert_eq!((values(&a + 2.0), values(2.0 + &a)), (vec![3.0, 5.0], vec![3.0, 5.0]));
        assert_eq!((values(&a - 2.0), values(2.0 - &a)), (vec![-1.0, 1.0], vec![1.0, -1.0]));
        assert_eq!((values(&a * 2.0), values(2.0 * &a)), (vec![2.0, 6.0], vec![2.0, 6.0]));
        assert_eq!((values(&a / 3.0), values(3.0 / &a)), (vec![1.0 / 3.0, 1.0], vec![3.0, 1.0]));
    }

    #[test]
    fn gradients_flow_through_operators() -> Result<()> {
        let tape = Tape::new();
        let x = tape.leaf(&Tensor::from_slice(&[2.0, 4.0], &[2])?);
        // (x² − 1)/x + 8/x
        let y = (((&x * &x)? - 1.0)? / &x)? + (8.0 / &x)?;
        let gradients = tape.backward(&y?.sum_all()?)?;
        assert_eq!(gradients.get(&x).unwrap().to_f64_vec()?, [-0.75, 0.5625]);
        Ok(())
    }
}
