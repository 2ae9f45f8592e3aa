//! From a dtype or a device, which are values, to the code that is compiled for it.

use crate::cuda::Gpu;
use crate::{DType, Error, Result};

/// The result of `on_cpu` where there is no GPU, or that of `on_gpu` for the one there is.
/// `operands` are passed to it: values that either would consume or change. The only place that
/// chooses between the two.
pub(crate) fn on_device<T, R>(
    gpu: Option<&'static Gpu>,
    operands: T,
    on_cpu: impl FnOnce(T) -> R,
    on_gpu: impl FnOnce(&'static Gpu, T) -> R,
) -> R {
    match gpu {
        None => on_cpu(operands),
        Some(gpu) => on_gpu(gpu, operands),
    }
}

/// An error that says which operation asked, if nothing computes in this type. In f16 and bf16 only
/// GPUs do: the CPU's kernels refuse them in the same words ([`dispatch_float!`]).
pub(crate) fn require_compute(op: &'static str, dtype: DType) -> Result<()> {
    match dtype {
        DType::F32 | DType::F64 | DType::F16 | DType::BF16 => Ok(()),
        DType::I64 | DType::U8 => Err(Error::dtype(op, "f32 or f64", dtype)),
    }
}

/// Runs `$body` with `$T` standing for the Rust type of a compute dtype; an error for any other
/// dtype.
///
/// ```
/// use engine::ops::map;
/// use engine::{DType, Result, Tensor, dispatch_float};
/// fn reciprocal(x: &Tensor) -> Result<Tensor> {
///     dispatch_float!("reciprocal", x.dtype(), T => {
///         map("reciprocal", x.shape(), [x], |[x]: [T; 1]| x.recip())
///     })
/// }
/// let x = Tensor::from_slice(&[2.0f32, 4.0], &[2])?;
/// assert_eq!(reciprocal(&x)?.to_vec::<f32>()?, [0.5, 0.25]);
/// let error = reciprocal(&x.to_dtype(DType::U8)?).unwrap_err();
/// assert_eq!(error.to_string(), "reciprocal: expected dtype f32 or f64, got u8");
/// # Ok::<_, engine::Error>(())
/// ```
#[macro_export]
macro_rules! dispatch_float {
    ($op:expr, $dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            $crate::DType::F32 => {
                type $T = f32;
                $body
            }
            $crate::DType::F64 => {
                type $T = f64;
                $body
            }
            other => Err($crate::Error::dtype($op, "f32 or f64", other)),
        }
    };
}

/// Runs `$body` with `$T` standing for the Rust type of any dtype.
#[macro_export]
#[doc(hidden)]
macro_rules! dispatch_element {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            $crate::DType::F32 => {
                type $T = f32;
                $body
            }
            $crate::DType::F64 => {
                type $T = f64;
                $body
            }
            $crate::DType::F16 => {
                type $T = half::f16;
                $body
            }
            $crate::DType::BF16 => {
                type $T = half::bf16;
                $body
            }
            $crate::DType::I64 => {
                type $T = i64;
                $body
            }
            $crate::DType::U8 => {
                type $T = u8;
                $body
            }
        }
    };
}
