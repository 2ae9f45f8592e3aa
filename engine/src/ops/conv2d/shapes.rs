//! The shape rules that convolutions and their transposes share.

use crate::conv::Conv2dOptions;
use crate::{DType, Error, Meta, Result};

/// The name of the convolution in errors.
pub(super) const OP: &str = "conv2d";

/// The four sizes of an input or a weight.
pub(in crate::ops) fn as_map<'a>(op: &'static str, meta: &'a Meta) -> Result<&'a [usize; 4]> {
    let shape = meta.shape.as_slice();
    shape.try_into().map_err(|_| {
        Error::shape(op, format!("input and weight must have 4 dimensions, got {shape:?}"))
    })
}

/// The dtype that all inputs have, in which something computes.
pub(in crate::ops) fn check_dtypes(op: &'static str, inputs: &[Meta]) -> Result<DType> {
    let dtype = inputs[0].dtype;
    crate::dispatch::require_compute(op, dtype)?;
    match inputs.iter().find(|input| input.dtype != dtype) {
        Some(other) => Err(Error::dtype(op, dtype, other.dtype)),
        None => Ok(dtype),
    }
}

/// The largest stride. The gradient of the input has as many phases as the square of the stride,
/// each with a kernel of its own.
const MAX_STRIDE: usize = 1 << 10;
/// The largest padding and dilation. Distances within a padded map stay far from overflow.
const MAX_REACH: usize = 1 << 20;
/// The most elements of a kernel, of which kernels on the CPU make tables.
const MAX_TAPS: usize = 1 << 24;

/// An error if an option or the kernel's size is out of range.
pub(in crate::ops) fn check_settings(
    op: &'static str,
    options: Conv2dOptions,
    [kh, kw]: [usize; 2],
) -> Result<()> {
    let Conv2dOptions { stride, padding, dilation, groups } = options;
    let refuse = |what: String| Err(Error::shape(op, format!("{what}, got {options:?}")));
    if stride == 0 || dilation == 0 || groups == 0 {
        return refuse("stride, dilation and groups must be at least 1".into());
    }
    if stride > MAX_STRIDE || padding > MAX_REACH || dilation > MAX_REACH {
        return refuse(format!(
            "the stride may be at most {MAX_STRIDE}, padding and dilation at most {MAX_REACH}"
        ));
    }
    if kh.saturating_mul(kw) > MAX_TAPS {
        let message = format!("a {kh}×{kw} kernel has more than {MAX_TAPS} elements");
        return Err(Error::shape(op, message));
    }
    Ok(())
}

/// An error unless a bias has a number for each output channel.
pub(in crate::ops) fn check_bias(
    op: &'static str,
    bias: Option<&Meta>,
    channels: usize,
) -> Result<()> {
    match bias {
        Some(bias) if bias.shape != [channels] => Err(Error::shape(
            op,
            format!("bias {:?} does not fit {channels} output channels", bias.shape),
        )),
        _ => Ok(()),
    }
}
