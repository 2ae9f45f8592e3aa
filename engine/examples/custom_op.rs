//! An operation defined outside the engine: Snake (Ziyin et al., 2020), y = x + sin²(αx)/α, an
//! activation for periodic data. Its gradient is dx = dy·(1 + sin(2αx)), from the saved x.
//!
//! ```text
//! cargo run -p irnext-engine --example custom_op
//! ```
//!
//! The checks at its end, `engine::checks`, compile only with the feature of that name. In
//! `Cargo.toml`, for a crate that uses them in its tests:
//!
//! ```toml
//! [dev-dependencies]
//! engine = { package = "irnext-engine", version = "0.1", features = ["checks"] }
//! ```

use engine::checks::{Sample, SampleGenerator, Values, check};
use engine::ops::{Op, apply, map};
use engine::{Element, Error, Meta, Result, Tape, Tensor, dispatch_float};

/// x + sin²(αx)/α of every element.
fn snake(x: &Tensor, alpha: f64) -> Result<Tensor> {
    apply(Snake { alpha }, &[x])
}

#[derive(Debug)]
struct Snake {
    alpha: f64,
}

impl Op for Snake {
    const NAME: &'static str = "snake";
    /// The input, if a gradient is needed.
    type Saved = Option<Tensor>;

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        if self.alpha.is_nan() || self.alpha <= 0.0 {
            return Err(Error::shape(Self::NAME, format!("α = {} is not positive", self.alpha)));
        }
        Ok(inputs[0].clone())
    }

    fn forward(&self, x: &[&Tensor], _: &Meta, need: &[bool]) -> Result<(Tensor, Self::Saved)> {
        let y = dispatch_float!(Self::NAME, x[0].dtype(), T => {
            let alpha = <T as Element>::from_f64(self.alpha);
            map(Self::NAME, x[0].shape(), [x[0]], move |[x]: [T; 1]| {
                x + (alpha * x).sin().powi(2) / alpha
            })
        })?;
        Ok((y, need[0].then(|| x[0].clone())))
    }

    fn backward(&self, x: Self::Saved, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let gradient = |x: Tensor| {
            dispatch_float!(Self::NAME, dy.dtype(), T => {
                let twice = <T as Element>::from_f64(2.0 * self.alpha);
                map(Self::NAME, dy.shape(), [&x, dy], move |[x, dy]: [T; 2]| {
                    dy * (1.0 + (twice * x).sin())
                })
            })
        };
        Ok(vec![x.map(gradient).transpose()?])
    }

    /// Nothing else determines the result, so a plan may compute it once for constants.
    fn settings(&self) -> Option<String> {
        Some(format!("{self:?}"))
    }
}

/// A random use of it, for the check.
fn sample(c: &mut SampleGenerator) -> Sample {
    let (shape, alpha) = (c.shape(0..=4, 5), c.pick(&[0.5, 1.0, 3.0]));
    let x = c.tensor(&shape, Values::Normal);
    Sample::new(format!("α {alpha}"), vec![x], move |x| snake(&x[0], alpha))
}

fn main() -> Result<()> {
    let tape = Tape::new();
    let x = tape.leaf(&Tensor::from_slice(&[-1.0, 0.0, 1.0], &[3])?);
    let y = snake(&x, 1.0)?;
    println!("{:?}, recorded as\n{tape}", y.detach());

    // Gradients against finite differences, f32 against f64, and inputs in every layout.
    let mut worst = 0.0f64;
    for seed in 0..50 {
        let outcome = check(&sample(&mut SampleGenerator::from_seed(seed)))?;
        worst = worst.max(outcome.gradients.worst);
    }
    println!("50 samples: gradients are within {worst:.0e} of finite differences");
    Ok(())
}
