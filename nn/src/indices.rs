//! Indices that a user gives, checked with an error that names the elements they choose.

use crate::Result;
use engine::ops::{Op, apply};
use engine::{DType, Device, Error, Meta, Tensor};
use std::marker::PhantomData;

/// What indices choose.
pub(crate) trait Named: Send + Sync + 'static {
    /// The operation that errors name.
    const OP: &'static str;

    /// Why `index` is none of `count`.
    fn out_of_range(index: i64, count: usize) -> String;
}

/// `indices`, of i64, each at least 0 and less than `count`. On the CPU they are read, in a plan
/// each time it runs; on a GPU they pass, as the host would have to wait for them.
pub(crate) fn require_below<N: Named>(indices: &Tensor, count: usize) -> Result<Tensor> {
    Ok(apply(Below { count, named: PhantomData::<N> }, &[indices])?)
}

struct Below<N> {
    count: usize,
    named: PhantomData<N>,
}

impl<N: Named> Op for Below<N> {
    const NAME: &'static str = N::OP;
    type Saved = ();

    fn infer(&self, inputs: &[Meta]) -> engine::Result<Meta> {
        match inputs[0].dtype {
            DType::I64 => Ok(inputs[0].clone()),
            other => Err(Error::dtype(N::OP, DType::I64, other)),
        }
    }

    fn forward(&self, x: &[&Tensor], _: &Meta, _: &[bool]) -> engine::Result<(Tensor, ())> {
        if x[0].device() == Device::Cpu {
            let below = |index: i64| usize::try_from(index).is_ok_and(|index| index < self.count);
            if let Some(index) = x[0].to_vec()?.into_iter().find(|&index| !below(index)) {
                return Err(Error::shape(N::OP, N::out_of_range(index, self.count)));
            }
        }
        Ok((x[0].clone(), ()))
    }

    fn differentiable(&self, _: usize) -> bool {
        false
    }

    fn backward(&self, (): (), _: &Tensor, _: &[bool]) -> engine::Result<Vec<Option<Tensor>>> {
        Ok(vec![None])
    }

    fn settings(&self) -> Option<String> {
        Some(format!("{}", self.count))
    }
}
