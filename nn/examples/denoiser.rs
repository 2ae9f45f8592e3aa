//! A denoiser: a residual network that learns the noise of a photograph, and subtracts it.
//!
//! ```sh
//! cargo run -p irnext-nn --example denoiser
//! ```
//!
//! It is trained on the left half of the photograph and scored on the right one.

use engine::{DType, Rng, Tensor};
use nn::layers::{Activation, Conv2d, Module, Sequential};
use nn::optim::Rule;
use nn::schedule::WarmupCosine;
use nn::{Builder, Context, Error, Params, Result, Trainer, loss};

const STEPS: u64 = 200;
/// The standard deviation of the noise, where white is 1.
const NOISE: f64 = 0.1;
const SIDE: usize = 128;

/// Four 3×3 convolutions with ReLU between them, around which the input goes as well.
struct Denoiser(Sequential);

impl Denoiser {
    fn new(b: &mut Builder<'_>) -> Result<Self> {
        let channels = [1, 16, 16, 16, 1];
        let mut layers = Sequential::new();
        for (i, pair) in channels.windows(2).enumerate() {
            if i > 0 {
                layers = layers.then(Activation::Relu);
            }
            layers = layers.then(Conv2d::new(&mut b.at(i), pair[0], pair[1], 3).padding(1));
        }
        Ok(Self(layers))
    }
}

impl Module for Denoiser {
    fn forward(&self, cx: &Context, x: &Tensor) -> Result<Tensor> {
        Ok(x.sub(&self.0.forward(cx, x)?)?)
    }
}

fn main() -> Result<()> {
    // A PGM file: a header of three lines, then the pixels, a byte each.
    let file = include_bytes!("data/casa-mila.pgm");
    let pixels = &file[file.len() - 2 * SIDE * SIDE..];
    let pixels: Vec<f32> = pixels.iter().map(|&pixel| f32::from(pixel) / 255.0).collect();
    let photo = Tensor::from_slice(&pixels, &[1, 1, SIDE, 2 * SIDE])?;
    let (left, right) = (photo.narrow(3, 0, SIDE)?, photo.narrow(3, SIDE, SIDE)?);

    let (net, params) = Params::build(1, DType::F32, Denoiser::new)?;
    let rates = WarmupCosine { base: 3e-3, last: 1e-5, warmup: 10, total: STEPS };
    let mut trainer = Trainer::new(params, Rule::adam()).with_ema(0.99)?;
    for step in 1..=STEPS {
        let rng = &mut Rng::at(1, 0, step);
        let crops = (0..4).map(|_| {
            let [top, first] = [0, 1].map(|_| rng.below(SIDE as u64 - 31) as usize);
            left.narrow(2, top, 32)?.narrow(3, first, 32)
        });
        let crops = crops.collect::<Result<Vec<_>, _>>()?;
        let clean = Tensor::concat(&crops.iter().collect::<Vec<_>>(), 0)?;
        let noisy = with_noise(&clean, rng)?;
        let loss = |cx: &Context| loss::charbonnier(&net.forward(cx, &noisy)?, &clean, 1e-3);
        let loss = trainer.step(rates.rate(step), loss)?;
        if step % 50 == 0 {
            println!("step {step}: loss {loss:.4}");
        }
    }

    let noisy = with_noise(&right, &mut Rng::new(2))?;
    let restored = net.forward(&Context::inference(&trainer.averaged()?), &noisy)?;
    let (before, after) = (psnr(&noisy, &right)?, psnr(&restored, &right)?);
    println!("PSNR {before:.2} dB before, {after:.2} dB after");
    match after > before + 3.0 {
        true => Ok(()),
        false => Err(Error::Setting("it has not learned to denoise".into())),
    }
}

fn with_noise(clean: &Tensor, rng: &mut Rng) -> Result<Tensor> {
    let noise = Tensor::randn(clean.shape(), DType::F32, rng)?;
    Ok(clean.add(&noise.scale(NOISE)?)?)
}

/// The peak signal-to-noise ratio, dB.
fn psnr(image: &Tensor, truth: &Tensor) -> Result<f64> {
    Ok(-10.0 * loss::mse(image, truth)?.item()?.log10())
}
