//! Data types: a run-time enum outside, a trait inside the kernels.
//!
//! A tensor's dtype is a value, so no type parameter leaks into the network. A kernel is written
//! once over [`Float`], and `dispatch_float!` picks f32 or f64: the code that trains in f32 is the
//! code whose gradients are checked in f64.

use crate::simd::Vectors;
use half::{bf16, f16};
use std::fmt;
use std::ops::Range;

/// The type of a tensor's elements. The engine computes in `F32` and `F64`, on a GPU also in `F16`
/// and `BF16`; the others are stored and cast.
///
/// ```
/// use engine::DType;
/// assert_eq!((DType::BF16.to_string(), DType::BF16.size()), ("bf16".into(), 2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 double precision.
    F64,
    /// IEEE 754 half precision.
    F16,
    /// bfloat16: the upper half of an f32.
    BF16,
    /// Signed 64-bit integer: indices, classes, and counters in weight files.
    I64,
    /// Unsigned byte.
    U8,
}

impl DType {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::U8 => 1,
        }
    }

    /// The whole numbers of an integer type: from the start to below the end.
    pub(crate) fn whole_numbers(self) -> Option<Range<f64>> {
        match self {
            Self::F32 | Self::F64 | Self::F16 | Self::BF16 => None,
            Self::I64 => Some(-2f64.powi(63)..2f64.powi(63)),
            Self::U8 => Some(0.0..256.0),
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::I64 => "i64",
            Self::U8 => "u8",
        })
    }
}

/// A type that tensors can hold.
///
/// ```
/// use engine::{DType, Element};
/// assert_eq!(<f32 as Element>::DTYPE, DType::F32);
/// assert_eq!(u8::from_f64(300.7), 255);
/// assert_eq!(Element::to_f64(0.1f32), 0.10000000149011612);
/// ```
pub trait Element:
    bytemuck::Pod + Send + Sync + fmt::Debug + PartialOrd + Default + 'static
{
    /// The run-time name of this type.
    const DTYPE: DType;

    /// The nearest value of this type (integers saturate and truncate).
    fn from_f64(value: f64) -> Self;

    /// This value as f64: exact for every type but `I64` beyond 2⁵³.
    fn to_f64(self) -> f64;
}

macro_rules! element {
    ($type:ty, $dtype:ident, $from:expr, $to:expr) => {
        impl Element for $type {
            const DTYPE: DType = DType::$dtype;
            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                $from(value)
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                $to(self)
            }
        }
    };
}
element!(f32, F32, |v| v as f32, f64::from);
element!(f64, F64, |v| v, |v| v);
element!(f16, F16, f16::from_f64, f16::to_f64);
element!(bf16, BF16, bf16::from_f64, bf16::to_f64);
element!(i64, I64, |v| v as i64, |v| v as f64);
element!(u8, U8, |v| v as u8, f64::from);

/// A type that the engine computes in: f32 or f64.
///
/// ```
/// fn norm<T: engine::Float>(x: &[T]) -> T {
///     x.iter().map(|&x| x * x).sum::<T>().sqrt()
/// }
/// assert_eq!((norm(&[3.0f32, 4.0]), norm(&[5.0f64, 12.0])), (5.0, 13.0));
/// ```
pub trait Float: Element + Vectors + std::iter::Sum {}

impl Float for f32 {}
impl Float for f64 {}
