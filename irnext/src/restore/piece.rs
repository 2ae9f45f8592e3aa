//! An image through a network in one piece: padded, predicted, cropped and clamped.

use crate::error::{Error, Result};
use crate::image::Image;
use crate::model::ModelConfig;
use engine::{DType, Tensor};

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
    finished(predicted.part(0, 0, image.width, image.height))
}

/// A prediction, clamped, if it is finite.
pub(super) fn finished(predicted: Image) -> Result<Image> {
    match predicted.data.iter().filter(|value| !value.is_finite()).count() {
        0 => Ok(predicted.clamp()),
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
