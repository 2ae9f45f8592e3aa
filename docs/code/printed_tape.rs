//! A small network, recorded and printed, plainly and checkpointed.

use engine::{Conv2dOptions, DType, Result, Rng, Tape, Tensor, checkpoint};

/// Two convolutions with a GELU between them, a target, a loss.
fn record(tape: &Tape, checkpointed: bool) -> Result<Tensor> {
    let mut rng = Rng::new(0);
    let mut draw = |shape: &[usize]| Tensor::randn(shape, DType::F32, &mut rng);
    // The photograph and the target are on no tape, as no gradient of theirs is needed.
    let (image, target) = (draw(&[1, 3, 32, 32])?, draw(&[1, 3, 32, 32])?);
    let (w1, b1) = (tape.leaf(&draw(&[16, 3, 3, 3])?), tape.leaf(&draw(&[16])?));
    let w2 = tape.leaf(&draw(&[3, 16, 3, 3])?);

    let block = |x: &[Tensor]| {
        let same_size = Conv2dOptions { padding: 1, ..Default::default() };
        let h = x[0].conv2d(&x[1], Some(&x[2]), same_size)?;
        let h = h.gelu()?;
        Ok(vec![h.conv2d(&x[3], None, same_size)?])
    };
    let inputs = [&image, &w1, &b1, &w2];
    let y = match checkpointed {
        true => checkpoint(&inputs, block)?.remove(0),
        false => block(&inputs.map(Tensor::clone))?.remove(0),
    };
    let miss = y.sub(&target)?;
    miss.mul(&miss)?.mean_all()
}

pub fn printed(checkpointed: bool) -> Result<String> {
    let tape = Tape::new();
    record(&tape, checkpointed)?;
    Ok(format!("{tape}{:.1} KiB in all\n", tape.saved_bytes() as f64 / 1024.0))
}
