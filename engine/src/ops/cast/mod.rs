//! Casts between dtypes: each element becomes the nearest number of the new type.
//!
//! Rounding is IEEE 754's, to nearest and ties to even; a number too large for a float type becomes
//! ±∞. A cast to an integer type truncates toward zero and saturates, and NaN becomes 0.
//!
//! Backward casts the gradient back. Between float types that is the usual convention: rounding is
//! a staircase, whose true derivative of 0 is of no use to anyone. Integers are not differentiable,
//! so nothing flows back through a cast from or to one. For the same reason the op check, which
//! differentiates numerically in steps of 1e-3, can check a cast only where it does not round; the
//! tests below hold the ones that do against exact values.

mod cuda;
#[cfg(any(test, feature = "checks"))]
pub(super) mod samples;

use super::{Op, apply};
use crate::ops::map;
use crate::rows::RowRule;
use crate::{DType, Element, Meta, Result, Tensor, dispatch_element};

impl Tensor {
    /// The elements as `dtype`. A tensor of that dtype is not copied.
    ///
    /// ```
    /// use engine::{DType, Tensor};
    /// let x = Tensor::from_slice(&[1.9, -1.9, 2049.0], &[3])?;
    /// assert_eq!(x.to_dtype(DType::I64)?.to_vec::<i64>()?, [1, -1, 2049]);
    /// assert_eq!(x.to_dtype(DType::F16)?.to_f64_vec()?[2], 2048.0); // 11 significant bits
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn to_dtype(&self, dtype: DType) -> Result<Tensor> {
        apply(Cast { to: dtype, from: self.dtype() }, &[self])
    }
}

#[derive(Debug)]
pub(crate) struct Cast {
    pub(crate) to: DType,
    pub(crate) from: DType,
}

impl Op for Cast {
    const NAME: &'static str = "cast";
    type Saved = ();

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        Ok(Meta { dtype: self.to, ..inputs[0].clone() })
    }

    fn forward(&self, x: &[&Tensor], _: &Meta, _: &[bool]) -> Result<(Tensor, ())> {
        Ok((cast(x[0], self.to)?, ()))
    }

    fn differentiable(&self, _: usize) -> bool {
        is_float(self.from) && is_float(self.to)
    }

    fn backward(&self, (): (), dy: &Tensor, need: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![need[0].then(|| cast(dy, self.from)).transpose()?])
    }

    fn settings(&self) -> Option<String> {
        Some(format!("{self:?}"))
    }

    fn rows(&self, _: usize, _: &[Meta]) -> Option<RowRule> {
        Some(RowRule::Same)
    }
}

fn cast(x: &Tensor, to: DType) -> Result<Tensor> {
    if x.dtype() == to {
        return Ok(x.clone());
    }
    x.on_device(|| {
    // Every type but i64 fits into f64 exactly, so going through it rounds once.
    dispatch_element!(x.dtype(), From => dispatch_element!(to, To => {
        map(Cast::NAME, x.shape(), [x], |[x]: [From; 1]| <To as Element>::from_f64(x.to_f64()))
    }))
    }, |gpu| cuda::cast(gpu, Cast::NAME, x, to))
}

fn is_float(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F64 | DType::F16 | DType::BF16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tape;

    /// `values` as `dtype`, read back as f64.
    fn through(values: &[f64], dtype: DType) -> Vec<f64> {
        Tensor::from_slice(values, &[values.len()])
            .unwrap()
            .to_dtype(dtype)
            .unwrap()
            .to_f64_vec()
            .unwrap()
    }

    #[test]
    fn halves_round_to_nearest_even_and_overflow_to_infinity() {
        // Between 2048 and 4096 half precision holds the even numbers; above 65504 the next would
        // be 65536.
        let rounded = through(
            &[2049.0, 2050.0, 2051.0, 65519.0, 65520.0, -1e6, 2f64.powi(-25), 1e-7],
            DType::F16,
        );
        assert_eq!(
            rounded,
            [
                2048.0,
                2050.0,
                2052.0,
                65504.0,
                f64::INFINITY,
                f64::NEG_INFINITY,
                0.0,
                2f64.powi(-23)
            ]
        );
    }

    #[test]
    fn the_other_floats_round_to_nearest_even_too() {
        assert_eq!(through(&[257.0, 259.0], DType::BF16), [256.0, 260.0]);
        assert_eq!(
            through(&[16_777_217.0, 16_777_219.0, 1e39], DType::F32),
            [16_777_216.0, 16_777_220.0, f64::INFINITY]
        );
        assert!(through(&[f64::NAN], DType::F16)[0].is_nan());
    }

    #[test]
    fn integers_truncate_and_saturate() {
        assert_eq!(through(&[3.9, -3.9, 300.0, f64::NAN], DType::U8), [3.0, 0.0, 255.0, 0.0]);
        assert_eq!(through(&[3.9, -3.9], DType::I64), [3.0, -3.0]);
        let large = Tensor::from_slice(&[i64::MAX], &[1]).unwrap();
        assert_eq!(large.to_dtype(DType::I64).unwrap().to_vec::<i64>().unwrap(), [i64::MAX]);
    }

    #[test]
    fn gradients_come_back_in_the_dtype_of_the_input() {
        let tape = Tape::new();
        let x = tape.leaf(&Tensor::from_slice(&[1.0f32, -2.0], &[2]).unwrap());
        // d/dx of 0.1·x² in f64, cast back: 0.2·x rounded to f32.
        let wide = x.to_dtype(DType::F64).unwrap();
        let gradients = tape
            .backward(&wide.mul(&wide).unwrap().scale(0.1).unwrap().sum_all().unwrap())
            .unwrap();
        assert_eq!(gradients.get(&x).unwrap().to_vec::<f32>().unwrap(), [0.2, -0.4]);

        let tape = Tape::new();
        let x = tape.leaf(&Tensor::from_slice(&[0.1, 3.0], &[2]).unwrap());
        let narrow = x.to_dtype(DType::F32).unwrap();
        let gradients = tape.backward(&narrow.mul(&narrow).unwrap().sum_all().unwrap()).unwrap();
        assert_eq!(gradients.get(&x).unwrap().to_vec::<f64>().unwrap(), [f64::from(0.2f32), 6.0]);
    }

    #[test]
    fn nothing_flows_back_through_integers() {
        let tape = Tape::new();
        let x = tape.leaf(&Tensor::from_slice(&[1.5, 2.5], &[2]).unwrap());
        let floor = x.to_dtype(DType::I64).unwrap().to_dtype(DType::F64).unwrap();
        let gradients = tape.backward(&floor.add(&x).unwrap().sum_all().unwrap()).unwrap();
        assert_eq!(gradients.get(&x).unwrap().to_f64_vec().unwrap(), [1.0, 1.0]);
        assert_eq!(floor.to_f64_vec().unwrap(), [1.0, 2.0]);
    }

    #[test]
    fn the_same_dtype_is_not_copied() {
        let x = Tensor::ones(&[3], DType::F32).unwrap();
        let same = x.to_dtype(DType::F32).unwrap();
        assert!(std::ptr::eq(x.raw::<f32>(), same.raw::<f32>()));
    }
}
