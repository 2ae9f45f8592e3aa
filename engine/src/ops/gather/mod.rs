//! Elements of a tensor chosen by indices along a dimension, and indices as vectors of ones and
//! zeros.
//!
//! Indices are tensors of i64, as in PyTorch, so that a plan may get new ones each time it runs. On
//! the CPU one out of bounds is an error. A GPU's check would make the host wait for the result, so
//! there such an index chooses NaN, gets no gradient, and is a vector of zeros; no memory beyond
//! the tensor is touched.
//!
//! Backward adds dy to the chosen elements, `scatter_add` in PyTorch's terms. Each sum is added up
//! in the logical order of the indices, whatever the number of threads and on either device, so it
//! has the same bits every time.

mod cpu;
mod cuda;
#[cfg(any(test, feature = "checks"))]
pub(super) mod samples;

use super::view::Shape;
use super::{Op, apply};
use crate::{DType, Error, Meta, Result, Tensor, dispatch_element, dispatch_float};

impl Tensor {
    /// For each element of `indices`, the element of this tensor that has the same place except
    /// along dimension `dim`, where the index says which. The result has the shape of `indices`,
    /// which have the rank of this tensor and are in no other dimension larger. They are of i64 and
    /// on the device of this tensor.
    ///
    /// ```
    /// use engine::Tensor;
    /// let scores = Tensor::from_slice(&[0.1, 0.7, 0.2, 0.5, 0.3, 0.2], &[2, 3])?;
    /// let classes = Tensor::from_slice(&[1i64, 2], &[2, 1])?;
    /// assert_eq!(scores.gather(1, &classes)?.to_f64_vec()?, [0.7, 0.2]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the shapes do not fit or `indices` is not of i64. On the CPU, if an index is negative or
    /// not smaller than the dimension; on a GPU it chooses NaN.
    pub fn gather(&self, dim: usize, indices: &Tensor) -> Result<Tensor> {
        apply(Gather { dim }, &[self, indices])
    }

    /// The slices of this tensor along dimension `dim` that `indices` names, in their order:
    /// `indices` has one dimension, and dimension `dim` of the result its size. Recorded as
    /// `gather`.
    ///
    /// ```
    /// use engine::Tensor;
    /// let rows = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[3, 2])?;
    /// let chosen = rows.index_select(0, &Tensor::from_slice(&[2i64, 0, 2], &[3])?)?;
    /// assert_eq!(chosen.to_f64_vec()?, [5.0, 6.0, 1.0, 2.0, 5.0, 6.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// Same errors as [`gather`](Tensor::gather).
    pub fn index_select(&self, dim: usize, indices: &Tensor) -> Result<Tensor> {
        self.dim("index_select", dim)?;
        let &[count] = indices.shape() else {
            let message = format!("expected indices of one dimension, got {:?}", indices.shape());
            return Err(Error::shape("index_select", message));
        };
        let (mut along, mut shape) = (vec![1; self.rank()], self.shape().to_vec());
        (along[dim], shape[dim]) = (count, count);
        let chosen = indices.reshape(&along).and_then(|indices| indices.broadcast_to(&shape));
        chosen
            .and_then(|indices| self.gather(dim, &indices))
            .map_err(|error| error.of("index_select"))
    }

    /// Each of these indices, of i64, as a vector of `classes` numbers of `dtype`, along a new last
    /// dimension: 1 at the index and 0 elsewhere. PyTorch's `one_hot` makes integers, and finds the
    /// number of classes if it is not given.
    ///
    /// ```
    /// use engine::{DType, Tensor};
    /// let labels = Tensor::from_slice(&[2i64, 0], &[2])?;
    /// let vectors = labels.one_hot(3, DType::F32)?;
    /// assert_eq!(vectors.shape(), [2, 3]);
    /// assert_eq!(vectors.to_f64_vec()?, [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    /// # Ok::<_, engine::Error>(())
    /// ```
    ///
    /// # Errors
    /// If this tensor is not of i64. On the CPU, if an index is negative or not less than
    /// `classes`; on a GPU it becomes a vector of zeros. There `dtype` must be a floating-point
    /// type.
    pub fn one_hot(&self, classes: usize, dtype: DType) -> Result<Tensor> {
        apply(OneHot { classes, dtype }, &[self])
    }
}

#[derive(Debug)]
struct Gather {
    dim: usize,
}

impl Op for Gather {
    const NAME: &'static str = "gather";
    /// The input's shape, and the indices.
    type Saved = (Shape, Tensor);

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let [x, indices] = [&inputs[0], &inputs[1]];
        if indices.dtype != DType::I64 {
            return Err(Error::dtype(Self::NAME, DType::I64, indices.dtype));
        }
        let dim = self.dim;
        x.dim(Self::NAME, dim)?;
        let fits = |d: usize| d == dim || indices.shape[d] <= x.shape[d];
        if indices.shape.len() != x.shape.len() || !(0..x.shape.len()).all(fits) {
            let message = format!(
                "indices of shape {:?} do not fit {:?} outside dimension {dim}",
                indices.shape, x.shape
            );
            return Err(Error::shape(Self::NAME, message));
        }
        Ok(Meta { shape: indices.shape.clone(), dtype: x.dtype })
    }

    fn forward(&self, x: &[&Tensor], _: &Meta, _: &[bool]) -> Result<(Tensor, Self::Saved)> {
        let (x, indices) = (x[0], x[1]);
        let on_cpu = || {
            cpu::require_below(Self::NAME, indices, x.shape()[self.dim])?;
            dispatch_element!(x.dtype(), T => cpu::gather::<T>(self.dim, x, indices))
        };
        let y = x.on_device(on_cpu, |gpu| cuda::gather(gpu, Self::NAME, self.dim, x, indices))?;
        Ok((y, (Shape(x.shape().to_vec()), indices.detach())))
    }

    fn differentiable(&self, input: usize) -> bool {
        input == 0
    }

    fn backward(
        &self,
        (Shape(shape), indices): Self::Saved,
        dy: &Tensor,
        need: &[bool],
    ) -> Result<Vec<Option<Tensor>>> {
        let gradient = || {
            dy.on_device(
                || {
                    dispatch_float!(Self::NAME, dy.dtype(), T => {
                        cpu::scatter_add::<T>(self.dim, &shape, dy, &indices)
                    })
                },
                |gpu| cuda::scatter_add(gpu, Self::NAME, self.dim, &shape, dy, &indices),
            )
        };
        Ok(vec![need[0].then(gradient).transpose()?, None])
    }

    fn settings(&self) -> Option<String> {
        Some(format!("{self:?}"))
    }
}

#[derive(Debug)]
struct OneHot {
    classes: usize,
    dtype: DType,
}

impl Op for OneHot {
    const NAME: &'static str = "one_hot";
    type Saved = ();

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        if inputs[0].dtype != DType::I64 {
            return Err(Error::dtype(Self::NAME, DType::I64, inputs[0].dtype));
        }
        let mut shape = inputs[0].shape.clone();
        shape.push(self.classes);
        Ok(Meta { shape, dtype: self.dtype })
    }

    fn forward(&self, x: &[&Tensor], out: &Meta, _: &[bool]) -> Result<(Tensor, ())> {
        let indices = x[0];
        let on_cpu = || {
            cpu::require_below(Self::NAME, indices, self.classes)?;
            dispatch_element!(self.dtype, T => cpu::one_hot::<T>(indices, self.classes, out))
        };
        Ok((indices.on_device(on_cpu, |gpu| cuda::one_hot(gpu, Self::NAME, indices, out))?, ()))
    }

    fn differentiable(&self, _: usize) -> bool {
        false
    }

    fn backward(&self, (): (), _: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![None])
    }

    fn settings(&self) -> Option<String> {
        Some(format!("{self:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Planner, Rng, Tape};

    fn indices(data: &[i64], shape: &[usize]) -> Tensor {
        Tensor::from_slice(data, shape).unwrap()
    }

    /// The value of `f`, and the gradient of its input for this dy.
    fn both(x: &Tensor, dy: &[f64], f: impl Fn(&Tensor) -> Result<Tensor>) -> (Vec<f64>, Vec<f64>) {
        let tape = Tape::new();
        let leaf = tape.leaf(x);
        let y = f(&leaf).unwrap();
        let dy = Tensor::from_slice(dy, y.shape()).unwrap();
        let gradients = tape.backward_from(&[&y], vec![Some(dy)]).unwrap();
        (y.to_f64_vec().unwrap(), gradients.get(&leaf).unwrap().to_f64_vec().unwrap())
    }

    #[test]
    fn chosen_elements_and_their_gradients_are_those_of_pytorch() {
        let x = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3]).unwrap();
        let dy = [1.0, 10.0, 100.0, 1000.0];
        // By torch.gather and torch.index_select.
        let along_rows = indices(&[2, 2, 0, 1], &[2, 2]);
        assert_eq!(
            both(&x, &dy, |x| x.gather(1, &along_rows)),
            (vec![3.0, 3.0, 4.0, 5.0], vec![0.0, 0.0, 11.0, 100.0, 1000.0, 0.0])
        );
        let along_columns = indices(&[1, 0, 1, 1], &[2, 2]);
        assert_eq!(
            both(&x, &dy, |x| x.gather(0, &along_columns)),
            (vec![4.0, 2.0, 4.0, 5.0], vec![0.0, 10.0, 0.0, 101.0, 1000.0, 0.0])
        );
        let columns = indices(&[2, 2], &[2]);
        assert_eq!(
            both(&x, &dy, |x| x.index_select(1, &columns)),
            (vec![3.0, 3.0, 6.0, 6.0], vec![0.0, 0.0, 11.0, 0.0, 0.0, 1100.0])
        );
    }

    #[test]
    fn rows_are_chosen_in_any_dtype_and_none_is_a_choice() {
        let x = Tensor::from_slice(&[1u8, 2, 3, 4], &[2, 2]).unwrap();
        let rows = x.index_select(0, &indices(&[1, 1, 0], &[3])).unwrap();
        assert_eq!(rows.to_vec::<u8>().unwrap(), [3, 4, 3, 4, 1, 2]);
        let none = x.index_select(1, &indices(&[], &[0])).unwrap();
        assert_eq!(none.shape(), [2, 0]);
        let empty = Tensor::zeros(&[0, 3], DType::F64).unwrap();
        let (y, dx) = both(&empty, &[], |x| x.index_select(1, &indices(&[0, 2], &[2])));
        assert!(y.is_empty() && dx.is_empty());
    }

    #[test]
    fn sums_of_many_equal_indices_do_not_depend_on_threads() {
        let rng = &mut Rng::new(3);
        let count = 40_000;
        let draws: Vec<i64> = (0..count).map(|_| (rng.uniform() * 50.0) as i64).collect();
        let draws = indices(&draws, &[count]);
        let dy = Tensor::randn(&[count, 3], DType::F32, rng).unwrap();
        for (shape, dim) in [([50, 3], 0), ([3, 50], 1)] {
            let gradient = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    let tape = Tape::new();
                    let x = tape.leaf(&Tensor::zeros(&shape, DType::F32).unwrap());
                    let y = x.index_select(dim, &draws).unwrap();
                    let dy = if dim == 0 { dy.clone() } else { dy.transpose(0, 1).unwrap() };
                    let gradients = tape.backward_from(&[&y], vec![Some(dy)]).unwrap();
                    gradients.get(&x).unwrap().to_vec::<f32>().unwrap()
                })
            };
            let single = gradient(1);
            assert!(single == gradient(3), "along {dim}");
            let sum: f64 = single.iter().map(|dx| f64::from(*dx)).sum();
            let expected: f64 = dy.to_f64_vec().unwrap().iter().sum();
            assert!((sum - expected).abs() < 0.05, "{sum} {expected}");
        }
    }

    #[test]
    fn vectors_have_a_one_at_the_index_in_every_dtype() {
        for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16, DType::I64, DType::U8] {
            let vectors = indices(&[1, 0, 3], &[3, 1]).one_hot(4, dtype).unwrap();
            assert_eq!((vectors.shape(), vectors.dtype()), (&[3, 1, 4][..], dtype));
            assert_eq!(
                vectors.to_f64_vec().unwrap(),
                [0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
            );
        }
        // Rank 4 is channels-last.
        let vectors = indices(&[1, 0, 1, 1], &[1, 2, 2]).one_hot(2, DType::F32).unwrap();
        assert_eq!(vectors.to_f64_vec().unwrap(), [0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0]);
    }

    #[test]
    fn a_plan_takes_new_indices_each_time() {
        let planner = Planner::default();
        let x = Tensor::from_slice(&[1.0, 2.0, 3.0], &[3]).unwrap();
        let run = |i: &[i64]| {
            let f = |x: &[Tensor]| Ok::<_, Error>(vec![x[0].index_select(0, &x[1])?]);
            planner.run(vec![x.clone(), indices(i, &[2])], f).map(|y| y[0].to_f64_vec().unwrap())
        };
        assert_eq!(run(&[0, 2]).unwrap(), [1.0, 3.0]);
        assert_eq!(run(&[1, 1]).unwrap(), [2.0, 2.0]);
        assert!(run(&[3, 0]).is_err());
    }

    #[test]
    fn mismatched_shapes_are_reported() {
        let x = Tensor::zeros(&[2, 3], DType::F32).unwrap();
        let message = |result: Result<Tensor>| result.unwrap_err().to_string();
        for (wrong, name) in [(3, "3"), (-1, "-1"), (i64::MIN, "-9223372036854775808")] {
            assert_eq!(
                message(x.gather(1, &indices(&[0, wrong], &[2, 1]))),
                format!("gather: index {name} is out of bounds for a dimension of size 3")
            );
        }
        assert!(x.index_select(0, &indices(&[2], &[1])).is_err());
        assert!(indices(&[2], &[1]).one_hot(2, DType::F32).is_err());
        assert_eq!(
            message(x.gather(1, &indices(&[0; 3], &[3, 1]))),
            "gather: indices of shape [3, 1] do not fit [2, 3] outside dimension 1"
        );
        assert_eq!(message(x.gather(0, &x)), "gather: expected dtype i64, got f32");
        assert_eq!(message(x.one_hot(3, DType::F32)), "one_hot: expected dtype i64, got f32");
        assert_eq!(
            message(x.index_select(0, &indices(&[0], &[1, 1]))),
            "index_select: expected indices of one dimension, got [1, 1]"
        );
        assert_eq!(
            message(x.index_select(2, &indices(&[0], &[1]))),
            "index_select: there is no dimension 2 in shape [2, 3]"
        );
        assert!(indices(&[0, 1], &[2]).one_hot(usize::MAX, DType::F32).is_err());
    }
}
