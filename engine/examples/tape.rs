//! A tape: the record of a computation, the gradient that flows back, and the same by finite
//! differences.
//!
//! ```text
//! cargo run -p irnext-engine --example tape
//! ```

use engine::{Result, Tape, Tensor};

/// The mean squared error of tanh(x·w), for three rows x.
fn loss(w: &Tensor) -> Result<Tensor> {
    let x = Tensor::from_slice(&[1.0, 2.0, -1.0, 0.5, 0.0, 1.5], &[3, 2])?;
    let target = Tensor::from_slice(&[0.5, -0.5, 1.0], &[3, 1])?;
    x.matmul(w)?.tanh()?.sub(&target)?.square()?.mean_all()
}

fn main() -> Result<()> {
    let weights = [0.3, -0.2];
    let tape = Tape::new();
    let w = tape.leaf(&Tensor::from_slice(&weights, &[2, 1])?);
    let error = loss(&w)?;
    println!("loss {:.6}, recorded as\n{tape}", error.item()?);

    let gradients = tape.backward(&error)?;
    let gradient = gradients.get(&w).expect("the loss depends on w").to_f64_vec()?;
    for (i, slope) in gradient.into_iter().enumerate() {
        let at = |step: f64| {
            let mut moved = weights;
            moved[i] += step;
            loss(&Tensor::from_slice(&moved, &[2, 1])?)?.item()
        };
        let difference = (at(1e-5)? - at(-1e-5)?) / 2e-5;
        println!("w[{i}]: backward {slope:.9}, finite differences {difference:.9}");
        assert!((slope - difference).abs() < 1e-9);
    }
    Ok(())
}
