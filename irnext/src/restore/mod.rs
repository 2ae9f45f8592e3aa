//! Restores a degraded photograph.
//!
//! As in the paper's evaluation, the image is padded on the right and at the bottom, by reflection,
//! to sides that the network takes; the full-size prediction is cropped to the image and clamped to
//! [0, 1]. An image too large to go through in one piece goes through in overlapping tiles. Where a
//! network sees best in a smaller copy, its work is carried from there ([`Scale`]).

mod scale;
mod tiles;

pub use scale::Scale;

use crate::compute::Precision;
use crate::error::{Error, Result};
use crate::image::{Image, Note};
use crate::model::{FrozenModel, ModelConfig};
use engine::{DType, Tensor};
use scale::LinearFit;
use tiles::in_tiles;

/// The most pixels that go through the network in one piece: a little more than 1920×1080. Memory
/// grows with them and with the width: at width 16, about 1.2 kB a pixel.
pub(crate) const WHOLE: usize = 2 << 20;

/// Restores `image`, of any size.
///
/// ```
/// use irnext::degrade::Task;
/// use irnext::image::Image;
/// use irnext::restore::restore;
///
/// let (model, _metadata) = irnext::shipped::load(Task::Derain)?;
/// let rainy = Image::build(70, 50, |x, y| [(x * y % 50) as f32 / 50.0; 3])?;
/// let restored = restore(&model.freeze(), &rainy)?;
/// assert_eq!((restored.width(), restored.height()), (70, 50));
/// # Ok::<(), irnext::Error>(())
/// ```
pub fn restore(model: &FrozenModel, image: &Image) -> Result<Image> {
    restore_reporting(model, image, &|_| ())
}

/// Like [`restore`], but calls `progress` after each tile with the finished part of the work, from
/// 0 to 1.
pub fn restore_reporting(
    model: &FrozenModel,
    image: &Image,
    progress: &dyn Fn(f64),
) -> Result<Image> {
    let restore_piece = |image: &Image| one_piece(&model.config, image, |x| model.predict(x));
    if is_one_piece(&model.config, image.width, image.height) {
        return restore_piece(image);
    }
    in_tiles(image, restore_piece, progress)
}

/// Like [`restore_reporting`], but with the network at `scale`. `task` names the degradation.
pub(crate) fn restore_at(
    scale: Scale,
    model: &FrozenModel,
    task: &str,
    image: &Image,
    progress: &dyn Fn(f64),
) -> Result<Image> {
    let Some((width, height)) = scale.copy(task, image.width, image.height) else {
        return restore_reporting(model, image, progress);
    };
    let copy = image.resize(width, height)?;
    let restored = restore_reporting(model, &copy, progress)?;
    Ok(LinearFit::fit(&copy, &restored).apply(image))
}

/// The result of `restore` in `precision` or, if that is not finite, in f32, with a note: half
/// precision overflows where f32 does not.
pub(crate) fn finite(
    precision: Precision,
    notes: &mut Vec<Note>,
    restore: impl Fn(Precision) -> Result<Image>,
) -> Result<Image> {
    match restore(precision) {
        Err(Error::NotFinite { .. }) if precision != Precision::F32 => {
            notes.push(Note::RepeatedInF32);
            restore(Precision::F32)
        }
        restored => restored,
    }
}

/// Whether an image goes through in one piece. The padded size counts: a strip of one row is padded
/// to many.
pub(crate) fn is_one_piece(config: &ModelConfig, width: usize, height: usize) -> bool {
    config.side_for(width) * config.side_for(height) <= WHOLE
}

/// Pads, predicts, crops, clamps.
///
/// # Errors
/// [`Error::NotFinite`] if a value inside the image is not finite: clamped and rounded, it would
/// pass for black.
pub(crate) fn one_piece(
    config: &ModelConfig,
    image: &Image,
    predict: impl FnOnce(&Tensor) -> Result<Tensor>,
) -> Result<Image> {
    let padded = image.pad_reflect(config.side_for(image.width), config.side_for(image.height));
    let predicted = to_image(&predict(&to_tensor(&padded)?)?)?;
    let restored = predicted.part(0, 0, image.width, image.height);
    match restored.data.iter().filter(|value| !value.is_finite()).count() {
        0 => Ok(restored.clamp()),
        count => Err(Error::NotFinite { count }),
    }
}

/// An image as `[1, 3, H, W]`.
pub fn to_tensor(image: &Image) -> Result<Tensor> {
    Ok(Tensor::from_nhwc(&image.data, [1, 3, image.height, image.width])?)
}

/// The first image of `[N, 3, H, W]`.
pub fn to_image(x: &Tensor) -> Result<Image> {
    let [_, _, height, width] = x.dims4("to_image")?;
    let mut data = x.to_dtype(DType::F32)?.permute(&[0, 2, 3, 1])?.to_vec::<f32>()?;
    data.truncate(height * width * 3);
    Ok(Image { width, height, data })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Model;

    fn model() -> Model {
        Model::new(
            &ModelConfig { width: 8, n: 0, groups: 4, ..ModelConfig::default() },
            1,
            DType::F32,
        )
        .unwrap()
    }

    #[test]
    fn any_size_comes_back_at_its_size() {
        let model = model();
        for (width, height) in [(1, 1), (5, 3), (64, 64), (70, 33), (100, 2), (1, 40_000)] {
            let image =
                Image::from_fn(width, height, |x, y| [x as f32 / 100.0, y as f32 / 100.0, 0.5]);
            let restored = restore(&model.freeze(), &image).unwrap();
            assert_eq!((restored.width(), restored.height()), (width, height));
            assert!(restored.data.iter().all(|v| (0.0..=1.0).contains(v)));
        }
    }

    #[test]
    fn an_output_that_is_not_finite_is_an_error() {
        let image = Image::new(40, 30);
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let predict = |x: &Tensor| {
                let mut values = x.to_vec::<f32>()?;
                values[5] = value;
                Ok(Tensor::from_slice(&values, x.shape())?)
            };
            let error = one_piece(&ModelConfig::default(), &image, predict).unwrap_err();
            assert!(matches!(error, Error::NotFinite { count: 1 }), "{error}");
        }
    }

    #[test]
    fn what_overflows_in_half_precision_is_computed_again_in_f32() {
        let overflows = |precision| match precision {
            Precision::F32 => Ok(Image::new(1, 1)),
            _ => Err(Error::NotFinite { count: 3 }),
        };
        let always = |_| Err(Error::NotFinite { count: 3 });
        for precision in [Precision::F16, Precision::Bf16, Precision::Tf32] {
            let mut notes = Vec::new();
            assert!(finite(precision, &mut notes, overflows).is_ok());
            assert_eq!(notes, [Note::RepeatedInF32]);
            // Whatever is not finite in f32, either, is an error.
            assert!(finite(precision, &mut notes, always).is_err());
        }
        let (mut notes, calls) = (Vec::new(), std::cell::Cell::new(0));
        let error = finite(Precision::F32, &mut notes, |_| {
            calls.set(calls.get() + 1);
            Err(Error::NotFinite { count: 3 })
        });
        assert!(matches!(error, Err(Error::NotFinite { count: 3 })));
        assert_eq!((notes.len(), calls.get()), (0, 1));
    }

    #[test]
    fn padding_counts_toward_the_size_of_one_piece() {
        let whole = |width, height| is_one_piece(&ModelConfig::default(), width, height);
        assert!(whole(1920, 1080) && whole(1, 30_000));
        // 40,000 pixels, and 64 times as many with the padding.
        assert!(!whole(1, 40_000) && !whole(2000, 1100));
    }
}
