//! A classifier of handwritten digits, trained from nothing:
//!
//! ```sh
//! cargo run -p irnext-nn --example digits
//! ```
//!
//! With a path it writes the weights there, in the format of the extension.

mod data;

use engine::{DType, Rng, Tensor};
use nn::layers::Module;
use nn::optim::Rule;
use nn::{Context, Error, Params, Trainer, loss};

const STEPS: u64 = 400;
const BATCH: usize = 64;

fn main() -> nn::Result<()> {
    let [(images, classes), (test_images, test_classes)] = data::digits()?;
    let (net, params) = Params::build(1, DType::F32, data::classifier)?;
    println!("{} images, {} parameters", images.shape()[0], params.count());

    let mut trainer = Trainer::new(params, Rule::adam());
    for step in 0..STEPS {
        // The batch of a step depends on nothing else, so a run could be resumed at any.
        let mut rng = Rng::at(1, 0, step);
        let rows: Vec<i64> = (0..BATCH).map(|_| rng.int(0..images.shape()[0] as i64)).collect();
        let rows = Tensor::from_slice(&rows, &[BATCH])?;
        let (x, y) = (images.index_select(0, &rows)?, classes.index_select(0, &rows)?);
        let loss = trainer.step(3e-3, |cx| loss::cross_entropy(&net.forward(cx, &x)?, &y))?;
        if step % 100 == 0 {
            println!("step {step:3}: loss {loss:.3}");
        }
    }

    let logits = net.forward(&Context::inference(&trainer.params), &test_images)?;
    let accuracy = data::accuracy(&logits, &test_classes)?;
    println!("{:.1} % of {} test images", 100.0 * accuracy, test_images.shape()[0]);
    if let Some(path) = std::env::args_os().nth(1) {
        trainer.params.save(path)?;
    }
    match accuracy > 0.95 {
        true => Ok(()),
        false => Err(Error::Setting("fewer than 95 % are right".into())),
    }
}
