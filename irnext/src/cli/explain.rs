//! `irnext explain`: pictures of what happens inside a network.

use super::WeightArguments;
use super::say;
use crate::error::{Error, Result};
use crate::explain::{BLOCKS, Panel, explain};
use crate::image::{Image, Photo};
use crate::restore::WHOLE;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A degraded photograph
    photo: PathBuf,
    #[command(flatten)]
    weights: WeightArguments,
    /// A folder to write the pictures to
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// The CNNBlock whose multi-scale module to look into; Decoder.2 is the last, at full size
    #[arg(long, default_value = "Decoder.2", value_parser = BLOCKS)]
    block: String,
    /// Replace files that are there already
    #[arg(long)]
    overwrite: bool,
}

/// True if both figures could be made.
pub(super) fn run(arguments: &Arguments) -> Result<bool> {
    let (model, _) = arguments.weights.load()?;
    let image = fitting(Photo::read(&arguments.photo)?.rgb, &arguments.photo);
    let explanation = explain(&model, &image, &arguments.block)?;

    let figures = [("figure-9", Some(explanation.figure_9())), ("figure-10", explanation.figure_10())];
    let figures: Vec<Panel> = figures.into_iter().filter_map(|(name, image)| Some((name.into(), image?))).collect();
    let files: Vec<(PathBuf, &Image)> = explanation
        .panels()
        .chain(&figures)
        .map(|(name, image)| (arguments.output.join(format!("{name}.png")), image))
        .collect();
    // All or nothing.
    if let Some((path, _)) = files.iter().find(|(path, _)| path.exists() && !arguments.overwrite) {
        return Err(Error::image(path, "is there already; --overwrite replaces it"));
    }
    std::fs::create_dir_all(&arguments.output).map_err(Error::io(&arguments.output))?;
    for (path, image) in files {
        let grey = image.pixels().all(|[r, g, b]| r == g && g == b);
        Photo { grey, ..Photo::new(image.clone()) }.write(&path)?;
        say!("{}", path.display());
    }
    match &explanation.modulation {
        Some(modulation) => {
            say!("filter modulation changes the result by {:.1} % of its mean size", 100.0 * modulation.change)
        }
        None => eprintln!("irnext: no figure-10.png: this network has no filter modulation (FM) to leave out"),
    }
    Ok(explanation.modulation.is_some())
}

/// The image, or a smaller one if it is too large to go through the network in one piece.
fn fitting(image: Image, path: &Path) -> Image {
    let pixels = image.width * image.height;
    if pixels <= WHOLE {
        return image;
    }
    let ratio = (WHOLE as f64 / pixels as f64).sqrt();
    let side = |side: usize| ((side as f64 * ratio) as usize).max(1);
    let (width, height) = (side(image.width), side(image.height));
    eprintln!("irnext: {}: shrunk to {width}×{height}, {} megapixels at most", path.display(), WHOLE >> 20);
    image.resize(width, height)
}
