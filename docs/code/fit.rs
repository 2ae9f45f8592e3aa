//! A network of one input, one output and a few hidden numbers learns a curve.

use crate::scalar_tape::{Tape, Var};

/// Output for `x` of a network with `weights`: three numbers for each hidden unit, and one more.
fn network<'t>(weights: &[Var<'t>], x: Var<'t>) -> Var<'t> {
    let (units, last) = weights.as_chunks::<3>();
    units
        .iter()
        .fold(last[0], |sum, &[slope, shift, height]| sum + height * (slope * x + shift).tanh())
}

/// Goes `steps` steps down the mean squared error over `points`; returns the error of each step.
pub fn fit(weights: &mut [f64], points: &[(f64, f64)], rate: f64, steps: usize) -> Vec<f64> {
    let step = |_| {
        let tape = Tape::default();
        let leaves: Vec<Var<'_>> = weights.iter().map(|&w| tape.leaf(w)).collect();
        let mut loss = tape.leaf(0.0);
        for &(x, y) in points {
            let miss = network(&leaves, tape.leaf(x)) - tape.leaf(y);
            loss = loss + miss * miss;
        }
        loss = loss / tape.leaf(points.len() as f64);
        let gradients = tape.backward(loss);
        weights.iter_mut().zip(&leaves).for_each(|(w, &leaf)| *w -= rate * gradients.of(leaf));
        loss.value
    };
    (0..steps).map(step).collect()
}
