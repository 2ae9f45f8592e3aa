//! The digits and the network of two examples.

use engine::{DType, Tensor};
use nn::layers::{Activation, Conv2d, Flatten, Linear, MaxPool2d, Sequential};
use nn::{Builder, Result};

/// Images `[N, 1, 8, 8]` in 0 to 1, and their classes `[N]`: those for training, and every fifth
/// for the test.
pub fn digits() -> Result<[(Tensor, Tensor); 2]> {
    let records = include_bytes!("digits.bin").chunks_exact(65).enumerate();
    let (test, train): (Vec<_>, Vec<_>) = records.partition(|(i, _)| i % 5 == 0);
    let tensors = |records: Vec<(usize, &[u8])>| -> Result<(Tensor, Tensor)> {
        let pixels = records.iter().flat_map(|(_, record)| &record[..64]);
        let pixels: Vec<f32> = pixels.map(|&pixel| f32::from(pixel) / 16.0).collect();
        let classes: Vec<i64> = records.iter().map(|(_, record)| record[64].into()).collect();
        let count = classes.len();
        Ok((
            Tensor::from_slice(&pixels, &[count, 1, 8, 8])?,
            Tensor::from_slice(&classes, &[count])?,
        ))
    };
    Ok([tensors(train)?, tensors(test)?])
}

/// In PyTorch: `nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
/// nn.Flatten(), nn.Linear(256, 10))`. It names its layers by their places, so we do as well.
pub fn classifier(b: &mut Builder<'_>) -> Result<Sequential> {
    Ok(Sequential::new()
        .then(Conv2d::new(&mut b.at(0), 1, 16, 3).padding(1))
        .then(Activation::Relu)
        .then(MaxPool2d::new(2))
        .then(Flatten::new())
        .then(Linear::new(&mut b.at(4), 16 * 4 * 4, 10)))
}

/// The fraction of `logits` whose largest is that of the class.
pub fn accuracy(logits: &Tensor, classes: &Tensor) -> Result<f64> {
    let found = logits.argmax(1)?;
    Ok(found.eq(classes)?.to_dtype(DType::F64)?.mean_all()?.item()?)
}
