//! LPIPS: the distance of two images in the features of a network trained to classify photographs.
//!
//! Zhang, Isola, Efros, Shechtman and Wang, "The unreasonable effectiveness of deep features as a
//! perceptual metric", CVPR 2018. Version 0.1 with AlexNet, as `lpips.LPIPS(net='alex')` of the
//! authors' Python package computes it:
//!
//! d = Σ over the five layers l of the mean over pixels of Σ over channels c of w\[l, c\] · (x̂\[l,
//! c\] − ŷ\[l, c\])²
//!
//! where x̂\[l\] are AlexNet's activations after the l-th convolution and ReLU, divided at each
//! pixel by their norm over channels, and w ≥ 0 was fitted to people's judgments.
//! The weights are a file that is not built in; `irnext/weights/README.md` names their source.

use engine::{Conv2dOptions, DType, Tensor};
use nn::weights::WeightFile;

use super::{Error, Result, check};
use crate::image::Image;
use nn::shown;
use std::path::Path;

/// The numbers that the package subtracts from, and divides by, the red, green and blue values in
/// [-1, 1].
const SHIFT: [f32; 3] = [-0.030, -0.088, -0.188];
const SCALE: [f32; 3] = [0.458, 0.448, 0.450];

/// AlexNet's convolutions: stride, padding, and whether the largest of 3x3 pixels, 2 apart, are
/// taken before it.
const LAYERS: [(usize, usize, bool); 5] =
    [(4, 2, false), (1, 2, true), (1, 1, true), (1, 1, false), (1, 1, false)];

/// The least side of an image: 31 pixels become 7 in the first layer, 3 in the second and 1 in the
/// others.
const LEAST: usize = 31;

/// The network, ready to score images.
///
/// ```no_run
/// use irnext::image::Photo;
/// use irnext::metrics::Lpips;
///
/// let lpips = Lpips::read("lpips-alex.safetensors")?;
/// let [restored, truth] = [Photo::read("restored.png")?, Photo::read("truth.png")?];
/// println!("{:.4}", lpips.score(&restored.image(), &truth.image())?);
/// # Ok::<(), irnext::Error>(())
/// ```
pub struct Lpips {
    layers: Vec<Layer>,
}

struct Layer {
    /// `[out channels, in channels, height, width]`.
    weight: Tensor,
    /// `[out channels]`.
    bias: Tensor,
    /// The weights of the squared differences, `[1, out channels, 1, 1]`.
    linear: Tensor,
    options: Conv2dOptions,
    pooled: bool,
}

impl Lpips {
    /// The name of the weight file: in `irnext/weights` of the repository, and beside the program
    /// in the archives of releases.
    pub const FILE: &str = "lpips-alex.safetensors";

    /// Reads the weight file, [`Lpips::FILE`]. For many images, do this once.
    ///
    /// # Errors
    /// [`Error::Weights`] if `path` cannot be read, or is another network's file.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut file = WeightFile::read(path).map_err(|error| Error::Weights(error.to_string()))?;
        let mut take = |name: String| match file.tensors.remove(&name) {
            Some(tensor) => Ok(tensor.to_dtype(DType::F32)?),
            None => Err(Error::Weights(format!("{}: {name} is missing", shown(&path)))),
        };
        let layer = |(i, (stride, padding, pooled))| {
            Ok(Layer {
                weight: take(format!("conv{i}.weight"))?,
                bias: take(format!("conv{i}.bias"))?,
                linear: take(format!("lin{i}.weight"))?,
                options: Conv2dOptions { stride, padding, ..Conv2dOptions::default() },
                pooled,
            })
        };
        Ok(Self { layers: (1..).zip(LAYERS).map(layer).collect::<Result<_>>()? })
    }

    /// The distance of two images: 0 for equal ones, rarely above 1. The RGB values must be in [0,
    /// 1], so clamp a network's output first. Computed in f32, as the package does; the results
    /// differ by rounding, about 1e-7.
    ///
    /// # Errors
    /// [`Error::Sizes`], [`Error::Empty`], and [`Error::SmallerThanNetwork`] below 31 pixels a
    /// side.
    pub fn score(&self, a: &Image, b: &Image) -> Result<f64> {
        check(a, b)?;
        let (width, height) = (a.width, a.height);
        if width.min(height) < LEAST {
            return Err(Error::SmallerThanNetwork { least: LEAST, width, height });
        }
        // The two images are a batch of two.
        let data: Vec<f32> = a.pixels().chain(b.pixels()).flat_map(normalized).collect();
        let mut x = Tensor::from_nhwc(&data, [2, 3, height, width])?;
        let mut distance = 0.0;
        for layer in &self.layers {
            if layer.pooled {
                x = x.max_pool2d(3, 2)?;
            }
            x = x.conv2d(&layer.weight, Some(&layer.bias), layer.options)?.relu()?;
            distance += layer.distance(&x)?;
        }
        Ok(distance)
    }
}

impl Layer {
    /// This layer's part of the distance of the two images whose activations are `x`.
    fn distance(&self, x: &Tensor) -> Result<f64> {
        let norm = x.square()?.sum_keepdim(&[1])?.sqrt()?;
        let unit = x.div(&norm.affine(1.0, 1e-10)?)?;
        let squares = unit.narrow(0, 0, 1)?.sub(&unit.narrow(0, 1, 1)?)?.square()?;
        let weighted = squares.conv2d(&self.linear, None, Conv2dOptions::default())?;
        Ok(weighted.to_dtype(DType::F64)?.mean_all()?.item()?)
    }
}

/// RGB values in [0, 1] as the network takes them.
fn normalized(pixel: [f32; 3]) -> [f32; 3] {
    std::array::from_fn(|c| (2.0 * pixel[c] - 1.0 - SHIFT[c]) / SCALE[c])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Photo;

    /// A picture without a pattern that the eye would see.
    fn picture(width: usize, height: usize, step: usize) -> Image {
        Image::from_fn(width, height, |x, y| {
            [0, 1, 2].map(|c| ((x * x * step + 13 * y + 29 * c * x) % 256) as f32 / 255.0)
        })
    }

    fn lpips() -> Lpips {
        let weights = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights");
        Lpips::read(weights.join(Lpips::FILE)).unwrap()
    }

    fn example(name: &str) -> Image {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lpips");
        Photo::read(folder.join(name)).unwrap().image()
    }

    #[test]
    fn gives_the_published_example() {
        let lpips = lpips();
        // The package's documentation gives 0.722 and 0.138; the further digits are PyTorch's in
        // f64.
        for (name, expected) in [("ex_p0.png", 0.721_880_708_8), ("ex_p1.png", 0.137_565_608_6)] {
            let found = lpips.score(&example("ex_ref.png"), &example(name)).unwrap();
            assert!((found - expected).abs() < 1e-6, "{name}: {found}, not {expected}");
        }
    }

    #[test]
    fn odd_sizes_are_cut_as_in_pytorch() {
        let lpips = lpips();
        // PyTorch's, in f64, for the same pictures.
        for (width, height, expected) in
            [(31, 31, 0.075_621_191_1), (45, 38, 0.083_804_240_7), (97, 52, 0.170_864_933_9)]
        {
            let (a, b) = (picture(width, height, 7), picture(width, height, 11));
            let found = lpips.score(&a, &b).unwrap();
            assert!((found - expected).abs() < 1e-6, "{width}x{height}: {found}, not {expected}");
        }
    }

    #[test]
    fn a_distance_is_symmetric_and_zero_only_for_equals() {
        let lpips = lpips();
        let (a, b) = (picture(40, 33, 3), picture(40, 33, 5));
        assert_eq!(lpips.score(&a, &a).unwrap(), 0.0);
        assert!(lpips.score(&a, &b).unwrap() > 0.0);
        assert_eq!(lpips.score(&a, &b).unwrap(), lpips.score(&b, &a).unwrap());
        // Black images too, whose activations may vanish.
        let black = Image::new(40, 33);
        assert_eq!(lpips.score(&black, &black).unwrap(), 0.0);
    }

    #[test]
    fn a_value_that_is_no_number_shows() {
        let mut broken = picture(40, 33, 3);
        broken.data[1700] = f32::NAN;
        assert!(lpips().score(&broken, &picture(40, 33, 3)).unwrap().is_nan());
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let lpips = lpips();
        let (a, b) = (picture(150, 121, 3), picture(150, 121, 5));
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| lpips.score(&a, &b).unwrap())
        };
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn images_that_it_does_not_take_are_errors() {
        let lpips = lpips();
        let score =
            |width, height| lpips.score(&Image::new(width, height), &Image::new(width, height));
        assert!(score(LEAST, LEAST).is_ok());
        let error = score(30, 64).unwrap_err();
        assert_eq!(error, Error::SmallerThanNetwork { least: 31, width: 30, height: 64 });
        assert!(error.to_string().contains("30x64"));
        assert_eq!(score(0, 0), Err(Error::Empty));
        assert_eq!(
            lpips.score(&Image::new(31, 32), &Image::new(32, 31)),
            Err(Error::Sizes((31, 32), (32, 31)))
        );
    }

    #[test]
    fn other_files_are_errors() {
        let weights = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights");
        for (file, reason) in [("dehaze.safetensors", "conv1.weight"), ("none", "none")] {
            let error = Lpips::read(weights.join(file)).err().unwrap().to_string();
            assert!(error.starts_with("LPIPS: ") && error.contains(reason), "{error}");
        }
    }
}
