//! `irnext explain`: draws the feature maps inside a network.

use super::output::{check_overwrite, complain, say, signs};
use super::restorer::RestorerArguments;
use crate::error::{Error, Result};
use crate::explain::{BLOCKS, Panel, explain};
use crate::image::{Image, Photo};
use crate::model::ModelConfig;
use nn::shown;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  irnext explain rainy.jpg
      Detect the degradation, and draw where haze is seen and the feature maps of the
      network that is chosen, to rainy.explain/
  irnext explain rainy.jpg --task derain -o maps
      The same for one task, to another folder")]
pub(super) struct Arguments {
    /// Photograph with haze, rain, snow or blur
    photo: PathBuf,
    #[command(flatten)]
    restorer: RestorerArguments,
    /// Output folder for the pictures [default: beside the photograph, as NAME.explain]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// CNNBlock whose multi-scale module to draw; the default is the last one, at full resolution
    /// [default: Decoder.2]
    #[arg(long, default_value = "Decoder.2", hide_default_value = true, value_parser = BLOCKS)]
    block: String,
    /// Overwrite existing files
    #[arg(long)]
    overwrite: bool,
}

/// Draws the figures; true if both could be drawn.
pub(super) fn run(arguments: &Arguments) -> Result<bool> {
    let photo = Photo::read(&arguments.photo)?.image();
    let (weights, haze_map) = arguments.restorer.weights(&photo)?;
    let (model, _) = weights.load()?;
    let image = fitting(&model.config, photo, &arguments.photo);
    let beside = arguments.photo.with_extension("explain");
    let output = arguments.output.as_ref().unwrap_or(&beside);
    let explanation = explain(&model, &image, &arguments.block)?;

    let figures =
        [("figure-9", Some(explanation.figure_9())), ("figure-10", explanation.figure_10())];
    let figures: Vec<Panel> = figures
        .into_iter()
        .chain([("haze-map", haze_map)])
        .filter_map(|(name, image)| Some((name.into(), image?)))
        .collect();
    let files: Vec<(PathBuf, &Image)> = explanation
        .panels()
        .chain(&figures)
        .map(|(name, image)| (output.join(format!("{name}.png")), image))
        .collect();
    // All or nothing.
    files.iter().try_for_each(|(path, _)| check_overwrite(path, arguments.overwrite))?;
    std::fs::create_dir_all(output).map_err(Error::io(output))?;
    for (path, image) in files {
        let gray = image.pixels().all(|[r, g, b]| r == g && g == b);
        Photo { gray, ..Photo::new(image.clone()) }.write(&path)?;
        say!("{}", shown(&path));
    }
    match &explanation.modulation {
        Some(modulation) => {
            say!(
                "filter modulation changes the result by {:.1} % of its mean magnitude",
                100.0 * modulation.change
            )
        }
        None => complain!("no figure-10.png: this network has no filter modulation (FM)"),
    }
    Ok(explanation.modulation.is_some())
}

/// The most pixels that are explained, padding included.
const MOST: usize = 2 << 20;

/// The image, shrunk if it has more than [`MOST`] pixels with its padding.
fn fitting(config: &ModelConfig, image: Image, path: &Path) -> Image {
    let (mut width, mut height) = (image.width, image.height);
    loop {
        if padded_area(config, width, height) <= MOST || (width, height) == (1, 1) {
            break;
        }
        let ratio = (MOST as f64 / padded_area(config, width, height) as f64).sqrt();
        (width, height) = ((width as f64 * ratio) as usize, (height as f64 * ratio) as usize);
        (width, height) = (width.max(1), height.max(1));
    }
    if (width, height) == (image.width, image.height) {
        return image;
    }
    let size = format!("{width}×{height}");
    let (path, most) = (shown(&path), MOST >> 20);
    complain!("{path}: shrunk to {}, to stay within {most} megapixels", signs(&size));
    image.resampled(width, height)
}

fn padded_area(config: &ModelConfig, width: usize, height: usize) -> usize {
    config.side_for(width).saturating_mul(config.side_for(height))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_images_are_shrunk_in_proportion_and_others_left() {
        let config = ModelConfig::default();
        let fitting = |width, height| {
            let image = fitting(&config, Image::new(width, height), Path::new("a.png"));
            assert!(padded_area(&config, image.width, image.height) <= MOST);
            (image.width, image.height)
        };
        let (width, height) = fitting(4000, 1000);
        assert!(width > 2600 && width.abs_diff(4 * height) <= 8, "{width}×{height}");
        // Padded to a side of 64, it would be 64 times as large.
        assert_eq!(fitting(1, 100_000).0, 1);
        for size in [(64, 32), (1, 1), (1920, 1080)] {
            assert_eq!(fitting(size.0, size.1), size);
        }
    }
}
