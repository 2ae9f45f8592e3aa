//! Images too large to go through a network in one piece: in strips of rows, which give the result
//! of one piece.

use super::piece::{finished, to_image, to_tensor};
use crate::error::{Error, Result};
use crate::image::Image;
use crate::model::FrozenModel;
use engine::{Strips, Tensor};
use std::ops::Range;

/// The restored `image`, by the prediction of `model` for its padded size, planned as `strips`.
///
/// # Errors
/// [`Error::NotFinite`], as of one piece.
pub(super) fn in_strips(
    model: &FrozenModel,
    strips: &Strips,
    image: &Image,
    progress: &dyn Fn(f64),
) -> Result<Image> {
    let (width, height) = (image.width, image.height);
    let padded = model.config.side_for(width);
    let read = |rows: Range<usize>| {
        Ok(to_tensor(&image.padded_rows(padded, rows))?.to_device(model.device())?)
    };
    let mut result = Image { width, height, data: Vec::with_capacity(image.data.len()) };
    let write = |first: usize, rows: Tensor| {
        // The rest is padding.
        let count = rows.dim("in_strips", 2)?.min(height.saturating_sub(first));
        let rows = finished(to_image(&rows)?.part(0, 0, width, count))?;
        result.data.extend(rows.data);
        Ok::<_, Error>(())
    };
    strips.run(read, write, progress)?;
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::degrade::Task;
    use crate::model::{Model, ModelConfig, Pooling, TapActivation, Variant};
    use crate::restore::one_piece;
    use engine::{DType, Rng};

    /// A network whose attention modules do something, which they do not where they start.
    fn model(config: ModelConfig) -> Model {
        let mut model = Model::new(&config, 1, DType::F32).unwrap();
        let mut rng = Rng::new(4);
        let factors = model.params.parameters().filter(|(_, entry)| {
            ["lamb_l", "lamb_h", "inside_all"].iter().any(|name| entry.path.ends_with(name))
        });
        let factors: Vec<_> =
            factors.map(|(id, entry)| (id, entry.value.shape().to_vec())).collect();
        for (id, shape) in factors {
            let value = Tensor::rand(&shape, -1.0, 1.0, DType::F32, &mut rng).unwrap();
            model.params.set(id, value).unwrap();
        }
        model
    }

    fn photo(width: usize, height: usize) -> Image {
        Image::from_fn(width, height, |x, y| {
            let wave = |a: f32, b: f32| 0.5 + 0.5 * (x as f32 * a + y as f32 * b).sin();
            [wave(0.3, 0.01), wave(0.02, 0.5), ((x * 7 + y * 13) % 64) as f32 / 64.0]
        })
    }

    /// The largest difference to one piece with all memory, and with the least.
    fn differences(model: &FrozenModel, width: usize, height: usize) -> [f32; 2] {
        let image = photo(width, height);
        let whole = one_piece(&model.config, &image, |x| model.predict(x)).unwrap();
        let [width, height] = [width, height].map(|side| model.config.side_for(side));
        [usize::MAX, 0].map(|bytes| {
            let strips = model.strips(width, height, bytes).unwrap();
            let restored = in_strips(model, &strips, &image, &|_| ()).unwrap();
            let pairs = restored.data.iter().zip(&whole.data);
            pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        })
    }

    #[test]
    fn every_network_gives_the_result_of_one_piece() {
        let small = ModelConfig { width: 8, n: 0, groups: 4, ..ModelConfig::default() };
        let networks = [
            small.clone(),
            ModelConfig { variant: Variant::Paper, n: 1, ..small.clone() },
            ModelConfig { modulation: false, msm: 2, ..small.clone() },
            ModelConfig { variant: Variant::Paper, modulation: false, kernel: 5, ..small.clone() },
            ModelConfig { pooling: Pooling::Max, lam: false, ..small.clone() },
            ModelConfig { pooling: Pooling::Learned, branches: vec![4, 2], ..small.clone() },
            ModelConfig {
                activation: TapActivation::Softmax,
                branches: vec![16, 2],
                ..small.clone()
            },
            ModelConfig { msm: 0, ..small },
        ];
        for config in networks {
            let model = model(config.clone()).freeze();
            for (width, height) in [(97, 333), (40, 70), (65, 1)] {
                let [most, least] = differences(&model, width, height);
                assert!(most < 1e-4 && least < 1.0 / 255.0, "{config:?}: {most} and {least}");
            }
        }
    }

    #[test]
    fn built_in_networks_give_the_result_of_one_piece() {
        for task in [Task::Derain, Task::Dehaze] {
            let (model, _) = crate::shipped::load(task).unwrap();
            let [most, least] = differences(&model.freeze(), 333, 601);
            assert!(most < 1e-4 && least < 1.0 / 255.0, "{task}: {most} and {least}");
        }
    }

    #[test]
    fn what_is_not_finite_is_an_error() {
        let config = ModelConfig { width: 8, n: 0, groups: 4, ..ModelConfig::default() };
        let mut model = Model::new(&config, 1, DType::F32).unwrap();
        let (id, shape) = model
            .params
            .parameters()
            .map(|(id, entry)| (id, entry.value.shape().to_vec()))
            .last()
            .unwrap();
        model.params.set(id, Tensor::full(&shape, f64::NAN, DType::F32).unwrap()).unwrap();
        let model = model.freeze();
        let strips = model.strips(64, 64, 0).unwrap();
        let error = in_strips(&model, &strips, &photo(50, 60), &|_| ()).unwrap_err();
        assert!(matches!(error, Error::NotFinite { .. }), "{error}");
    }
}
