//! Matrix products `[.., M, K] × [.., K, N] → [.., M, N]`; the leading dimensions are batches and
//! broadcast.
//!
//! Backward, for C = A·B: dA = dC·Bᵀ and dB = Aᵀ·dC. The transposes are views: `cpu.rs` packs
//! its operands from their strides anyway.

mod cpu;
mod cuda;
#[cfg(any(test, feature = "checks"))]
pub(super) mod samples;

use super::{Op, apply, multiply_adds, save_if};
use crate::layout::broadcast_shape;
use crate::{DType, Error, Layout, Meta, Result, Tensor};

impl Tensor {
    /// The matrix product of the last two dimensions, over broadcast leading ones.
    ///
    /// ```
    /// use engine::Tensor;
    /// let a = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0], &[2, 2])?;
    /// let b = Tensor::from_slice(&[5.0, 6.0, 7.0, 8.0], &[2, 2])?;
    /// assert_eq!(a.matmul(&b)?.to_f64_vec()?, [19.0, 22.0, 43.0, 50.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    pub fn matmul(&self, other: &Tensor) -> Result<Tensor> {
        apply(MatMul, &[self, other])
    }
}

struct MatMul;

impl Op for MatMul {
    const NAME: &'static str = "matmul";
    /// The other operand of each gradient that is needed.
    type Saved = (Option<Tensor>, Option<Tensor>);

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let (a, b) = (&inputs[0], &inputs[1]);
        crate::dispatch::require_compute(Self::NAME, a.dtype)?;
        if a.dtype != b.dtype {
            return Err(Error::dtype(Self::NAME, a.dtype, b.dtype));
        }
        Ok(Meta { shape: product_shape(&a.shape, &b.shape)?, dtype: a.dtype })
    }

    fn forward(&self, x: &[&Tensor], out: &Meta, need: &[bool]) -> Result<(Tensor, Self::Saved)> {
        Ok((product(&out.shape, x[0], x[1])?, (save_if(need[1], x[0]), save_if(need[0], x[1]))))
    }

    fn backward(
        &self,
        (a, b): Self::Saved,
        dy: &Tensor,
        _: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let by = |a: &Tensor, b: &Tensor| product(&product_shape(a.shape(), b.shape())?, a, b);
        let da = b.map(|b| by(dy, &transposed(&b))).transpose()?;
        let db = a.map(|a| by(&transposed(&a), dy)).transpose()?;
        Ok(vec![da, db])
    }

    fn flops(&self, inputs: &[Meta], output: &Meta) -> u64 {
        multiply_adds(output.numel(), &inputs[0].shape[inputs[0].shape.len() - 1..])
    }
}

fn product_shape(a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let refuse =
        || Error::shape(MatMul::NAME, format!("{a:?} × {b:?} is not [.., M, K] × [.., K, N]"));
    let ([batch_a @ .., m, k], [batch_b @ .., rows, n]) = (a, b) else {
        return Err(refuse());
    };
    if k != rows {
        return Err(refuse());
    }
    let mut shape = broadcast_shape(MatMul::NAME, batch_a, batch_b)?;
    shape.extend([m, n]);
    Ok(shape)
}

/// The product of `a` and `b`, of `shape`.
fn product(shape: &[usize], a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (batch, [m, n]) =
        (&shape[..shape.len() - 2], [shape[shape.len() - 2], shape[shape.len() - 1]]);
    let k = a.shape()[a.rank() - 1];
    let count = batch.iter().product::<usize>();
    let (a_layout, b_layout) = match a.layout().reshape(&[count * m, k]) {
        // One B for all: the rows of all batches are the rows of one product.
        Some(rows) if b.rank() == 2 => (rows, b.layout().clone()),
        _ => (
            a.layout().broadcast_to(MatMul::NAME, &[batch, &[m, k]].concat())?,
            b.layout().broadcast_to(MatMul::NAME, &[batch, &[k, n]].concat())?,
        ),
    };
    a.on_device(
        || {
            let (out, layouts) = (Layout::row_major_of(shape), [&a_layout, &b_layout]);
            // The numbers are columns to a panel: as many as fill two registers.
            let product = match a.dtype() {
                DType::F32 => Tensor::try_build_in(out, |out| {
                    cpu::multiply::<f32, 16>(out, [a.raw(), b.raw()], layouts)
                })?,
                DType::F64 => Tensor::try_build_in(out, |out| {
                    cpu::multiply::<f64, 8>(out, [a.raw(), b.raw()], layouts)
                })?,
                other => return Err(Error::dtype(MatMul::NAME, "f32 or f64", other)),
            };
            product.contiguous()
        },
        |gpu| cuda::product(gpu, MatMul::NAME, shape, [a, b], [&a_layout, &b_layout])?.contiguous(),
    )
}

/// The last two dimensions exchanged.
fn transposed(x: &Tensor) -> Tensor {
    let mut dims: Vec<usize> = (0..x.rank()).collect();
    let rank = dims.len();
    dims.swap(rank - 2, rank - 1);
    x.view(x.layout().permute(&dims))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;

    /// The definition.
    fn naive(a: &[f64], b: &[f64], m: usize, k: usize, n: usize) -> Vec<f64> {
        let element = |i: usize, j: usize| (0..k).map(|p| a[i * k + p] * b[p * n + j]).sum();
        (0..m * n).map(|at| element(at / n, at % n)).collect()
    }

    #[test]
    fn small_products_are_exact() {
        let a = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3]).unwrap();
        let b = Tensor::from_slice(&[1.0f32, 0.0, 0.0, 1.0, 10.0, 100.0], &[3, 2]).unwrap();
        assert_eq!(a.matmul(&b).unwrap().to_f64_vec().unwrap(), [31.0, 302.0, 64.0, 605.0]);
    }

    #[test]
    fn sizes_around_every_block_border_agree_with_the_definition() {
        let sizes = [
            (1, 1, 1),
            (5, 3, 17),
            (6, 256, 16),
            (97, 257, 33),
            (13, 600, 7),
            (200, 2, 530),
            (1, 40, 300),
        ];
        for (i, (m, k, n)) in sizes.into_iter().enumerate() {
            let rng = &mut Rng::new(i as u64);
            let (a, b) = (
                Tensor::randn(&[m, k], DType::F64, rng).unwrap(),
                Tensor::randn(&[k, n], DType::F64, rng).unwrap(),
            );
            let expected = naive(&a.to_f64_vec().unwrap(), &b.to_f64_vec().unwrap(), m, k, n);
            let close = |y: Tensor, tolerance: f64| {
                let worst = y
                    .to_f64_vec()
                    .unwrap()
                    .iter()
                    .zip(&expected)
                    .fold(0.0, |w, (y, e)| f64::max(w, (y - e).abs()));
                assert!(worst <= tolerance, "{m}×{k}×{n}: {worst:e}");
            };
            close(a.matmul(&b).unwrap(), 1e-12);
            // From transposed memory, too.
            let [at, bt] = [&a, &b].map(|x| transposed(&transposed(x).contiguous().unwrap()));
            close(at.matmul(&bt).unwrap(), 1e-12);
            let [a, b] = [&a, &b].map(|x| x.to_dtype(DType::F32).unwrap());
            close(a.matmul(&b).unwrap(), 1e-4);
        }
    }

    #[test]
    fn the_bits_do_not_depend_on_threads() {
        let rng = &mut Rng::new(1);
        let (a, b) = (
            Tensor::randn(&[3, 130, 300], DType::F32, rng).unwrap(),
            Tensor::randn(&[300, 600], DType::F32, rng).unwrap(),
        );
        let bits = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| a.matmul(&b).unwrap().to_vec::<f32>().unwrap())
        };
        assert!(bits(1).iter().zip(&bits(3)).all(|(a, b)| a.to_bits() == b.to_bits()));
    }

    #[test]
    fn batches_broadcast() {
        let a = Tensor::from_slice(&[1.0, 2.0, 3.0], &[3, 1, 1, 1]).unwrap();
        let b = Tensor::from_slice(&[10.0, 20.0], &[2, 1, 1]).unwrap();
        let y = a.matmul(&b).unwrap();
        assert_eq!(y.shape(), [3, 2, 1, 1]);
        assert_eq!(y.to_f64_vec().unwrap(), [10.0, 20.0, 20.0, 40.0, 30.0, 60.0]);
        assert!(y.layout().is_contiguous());
    }

    #[test]
    fn sums_over_nothing_are_zero_and_empty_products_are_empty() {
        let product = |a: &[usize], b: &[usize]| {
            Tensor::ones(a, DType::F32)
                .unwrap()
                .matmul(&Tensor::ones(b, DType::F32).unwrap())
                .unwrap()
        };
        assert_eq!(product(&[2, 0], &[0, 3]).to_f64_vec().unwrap(), [0.0; 6]);
        assert_eq!(product(&[0, 4], &[4, 3]).shape(), [0, 3]);
        assert_eq!(product(&[0, 2, 4], &[4, 3]).shape(), [0, 2, 3]);
    }

    #[test]
    fn shapes_are_named() {
        let message = |a: &[usize], b: &[usize]| {
            Tensor::zeros(a, DType::F32)
                .unwrap()
                .matmul(&Tensor::zeros(b, DType::F32).unwrap())
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            message(&[2, 3], &[2, 3]),
            "matmul: [2, 3] × [2, 3] is not [.., M, K] × [.., K, N]"
        );
        assert_eq!(message(&[3], &[3, 2]), "matmul: [3] × [3, 2] is not [.., M, K] × [.., K, N]");
        assert_eq!(
            message(&[2, 4, 3], &[5, 3, 2]),
            "matmul: shapes [2] and [5] do not broadcast together"
        );
        let mixed = Tensor::zeros(&[1, 1], DType::F32)
            .unwrap()
            .matmul(&Tensor::zeros(&[1, 1], DType::F64).unwrap());
        assert_eq!(mixed.unwrap_err().to_string(), "matmul: expected dtype f32, got f64");
    }
}
