//! Weights of a PyTorch file in a network of this library:
//!
//! ```sh
//! cargo run -p irnext-nn --example pytorch_weights
//! ```
//!
//! The file is what `torch.save({"model": net.state_dict()}, "digits.pt")` writes, and the other
//! way round `net.load_state_dict(torch.load("digits.pt")["model"])` reads it. It is read by a
//! machine that runs no code, so a file from a stranger is safe to open.

mod data;

use engine::{DType, Numerics};
use nn::layers::Module;
use nn::weights::WeightFile;
use nn::{Error, Frozen, Params};
use std::path::Path;

fn main() -> nn::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/digits.pt");
    let file = WeightFile::read(&path)?;
    let mut names: Vec<&String> = file.tensors.keys().collect();
    names.sort();
    names.iter().for_each(|name| println!("{name:9} {:?}", file.tensors[*name].shape()));

    // Every name of the network must be in the file, in the right shape, and no other.
    let origin = path.display().to_string();
    let (net, params) = Params::build_from(&origin, file.tensors, DType::F32, data::classifier)?;

    // For evaluation: weights are packed once, and layers are fused.
    let frozen = Frozen::new(&params, None, Numerics::default());
    let [_, (images, classes)] = data::digits()?;
    let logits = frozen.run(vec![images], |cx, x| Ok(vec![net.forward(cx, &x[0])?]))?;
    let accuracy = data::accuracy(&logits[0], &classes)?;
    println!("{:.1} % of the test images", 100.0 * accuracy);
    match accuracy > 0.95 {
        true => Ok(()),
        false => Err(Error::Setting("these are other weights".into())),
    }
}
