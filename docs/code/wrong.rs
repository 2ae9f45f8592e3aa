//! A square whose gradient lacks its factor of 2, and the complaint of the gradient check.

use engine::checks::{GradCheck, gradcheck};
use engine::ops::{Op, apply};
use engine::{DType, Meta, Result, Rng, Tensor};

struct Square;

impl Op for Square {
    const NAME: &'static str = "square";
    type Saved = Tensor;

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        Ok(inputs[0].clone())
    }

    fn forward(&self, x: &[&Tensor], _: &Meta, _: &[bool]) -> Result<(Tensor, Tensor)> {
        Ok((x[0].mul(x[0])?, x[0].clone()))
    }

    fn backward(&self, x: Tensor, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(dy.mul(&x)?)])
    }
}

pub fn complaint() -> String {
    let x = Tensor::randn(&[2, 3], DType::F64, &mut Rng::new(0));
    let check = |x| gradcheck(|x| apply(Square, &[&x[0]]), &[x], &GradCheck::default());
    x.and_then(check).map_or_else(|error| format!("{error}\n"), |_| "passed\n".into())
}
