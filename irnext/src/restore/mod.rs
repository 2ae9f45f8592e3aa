//! Restores a degraded photograph.
//!
//! As in the paper's evaluation, the image is padded on the right and at the bottom, by reflection,
//! to sides that the network takes; the full-size prediction is cropped to the image and clamped to
//! [0, 1]. An image too large to go through in one piece goes through in strips of rows, with the
//! same result. Where a network sees best in a smaller copy, its work is carried from there
//! ([`Scale`]).

mod blank;
mod effect;
mod memory;
mod piece;
mod pieces;
mod scale;
mod strength;
mod strips;

pub(crate) use blank::is_blank;
pub use effect::Effect;
pub use memory::MemoryLimit;
pub(crate) use memory::{bytes_beside, explained};
pub(crate) use piece::one_piece;
pub use piece::{to_image, to_tensor};
pub use scale::Scale;
pub(crate) use strength::mix;

use crate::compute::Precision;
use crate::error::{Error, Result};
use crate::image::{Image, Note, Pixels};
use crate::model::FrozenModel;
use memory::{FULL_SIZE, ORDINARY, PROGRAM, Share, bytes, require};
use pieces::{bytes_within, in_pieces};
use scale::LinearFit;

/// How large photographs go through a network.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sizing {
    /// The scale at which the network sees them.
    pub scale: Scale,
    /// What it may take.
    pub memory: MemoryLimit,
}

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

/// Like [`restore`], but calls `progress` now and then with the finished part of the work, from 0
/// to 1. An image that goes through in one piece is finished at once.
pub fn restore_reporting(
    model: &FrozenModel,
    image: &Image,
    progress: &dyn Fn(f64),
) -> Result<Image> {
    let photo = (image.width, image.height);
    let share = Share { limit: MemoryLimit::default(), photo, beside: 0 };
    Ok(in_pieces(share, model, image, progress)?.0)
}

/// Like [`restore_reporting`], but with this `sizing`. `task` names the degradation. `beside` is
/// the memory that the photograph takes beside the network. `finish` gets each row of the result,
/// to change it. The note, if there is one, says that memory ran out on the way.
pub(crate) fn restore_at(
    sizing: Sizing,
    model: &FrozenModel,
    task: &str,
    (photo, beside): (&Pixels, u64),
    finish: &(dyn Fn(usize, &mut [f32]) + Sync),
    progress: &dyn Fn(f64),
) -> Result<(Pixels, Option<Note>)> {
    let size = (photo.width, photo.height);
    let share = |beside| Share { limit: sizing.memory, photo: size, beside };
    let require_result = || require(bytes(size, if photo.is_float() { 12 } else { 6 }), size);
    match sizing.scale.copy(task, size) {
        Some((width, height)) => {
            let copy = photo.resize(width, height)?;
            let (restored, note) = in_pieces(share(beside), model, &copy, progress)?;
            require_result()?;
            let lines = LinearFit::of(task, &copy, &restored);
            let change = lines.over(size);
            let pixels = Pixels::build(size, photo, |y, row| {
                photo.read(3 * y * size.0, row);
                change(y, row);
                finish(y, row);
            });
            Ok((pixels, note))
        }
        None => {
            let beside = beside.saturating_add(bytes(size, FULL_SIZE));
            let (restored, note) = in_pieces(share(beside), model, &photo.image(), progress)?;
            require_result()?;
            let pixels = Pixels::build(size, photo, |y, row| {
                row.copy_from_slice(restored.row(y));
                finish(y, row);
            });
            Ok((pixels, note))
        }
    }
}

/// Fails if the system has not the memory that the restoration of an ordinary photograph of this
/// width and height takes beside the network, at this scale, for the task of this name.
///
/// # Errors
/// [`Error::SystemMemory`].
pub(crate) fn require_memory(scale: Scale, task: &str, photo: (usize, usize)) -> Result<()> {
    require(bytes_beside_network(scale.copy(task, photo), photo), photo)
}

/// The bytes that an ordinary photograph of this width and height takes, of which the network sees
/// a `copy`, or which it sees itself.
fn bytes_beside_network(copy: Option<(usize, usize)>, photo: (usize, usize)) -> u64 {
    let per_pixel = ORDINARY + copy.map_or(FULL_SIZE, |_| 0);
    bytes(photo, per_pixel).saturating_add(PROGRAM)
}

/// Fails if the restoration of an ordinary photograph of this width and height takes more memory
/// than `sizing` allows, whatever is done to take less.
///
/// # Errors
/// [`Error::Memory`], with the bytes that would do.
pub(crate) fn check_memory(
    sizing: Sizing,
    model: &FrozenModel,
    task: &str,
    photo: (usize, usize),
) -> Result<()> {
    let Some(limit) = sizing.memory.bytes() else { return Ok(()) };
    let bytes_at = |scale: Scale, limit: u64| {
        let copy = scale.copy(task, photo);
        let beside = bytes_beside_network(copy, photo);
        let network = bytes_within(limit.saturating_sub(beside), model, copy.unwrap_or(photo))?;
        Ok::<u64, Error>(beside.saturating_add(network))
    };
    let least = bytes_at(sizing.scale, limit)?;
    if least <= limit {
        return Ok(());
    }
    let copied = Some(bytes_at(Scale::Auto, 0)?).filter(|bytes| *bytes < least);
    Err(Error::Memory { size: photo, least, limit, copied })
}

/// The result of `restore` in `precision` or, if that is not finite, in f32, with a note: half
/// precision overflows where f32 does not.
pub(crate) fn finite<T>(
    precision: Precision,
    notes: &mut Vec<Note>,
    restore: impl Fn(Precision) -> Result<T>,
) -> Result<T> {
    match restore(precision) {
        Err(Error::NotFinite { .. }) if precision != Precision::F32 => {
            notes.push(Note::RepeatedInF32);
            restore(Precision::F32)
        }
        restored => restored,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Model, ModelConfig};
    use engine::{DType, Tensor};

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

    fn bytes_per_pixel(model: &FrozenModel) -> u64 {
        (model.peak_bytes(512, 512).unwrap() as u64).div_ceil(512 * 512)
    }

    #[test]
    fn a_limit_on_memory_makes_strips_of_the_same_result_or_an_error() {
        let model = model().freeze();
        let image = Image::from_fn(700, 500, |x, y| [x as f32 / 700.0, y as f32 / 500.0, 0.5]);
        let pixels = Pixels::from(image.clone());
        let (beside, photo) = (1000, 1000 + FULL_SIZE * 700 * 500);
        let restored = |limit: u64| {
            let sizing = Sizing { memory: MemoryLimit::limited_to(limit), scale: Scale::Full };
            let reports = std::cell::Cell::new(0);
            let progress = |_| reports.set(reports.get() + 1);
            restore_at(sizing, &model, "derain", (&pixels, beside), &|_, _| (), &progress)
                .map(|(restored, _)| (restored.into_image(), reports.get()))
        };
        let whole = restore(&model, &image).unwrap();
        let (one_piece, reports) = restored(1 << 30).unwrap();
        assert!(one_piece == whole && reports == 0);
        let in_one = model.peak_bytes(704, 512).unwrap() as u64;
        let mut limits = vec![photo + in_one - 1, photo + in_one / 4 * 3];
        for limit in [photo - 1, photo, photo + in_one / 100] {
            let error = restored(limit).unwrap_err();
            let Error::Memory { least, limit: allowed, .. } = error else { panic!("{error}") };
            assert!(least > limit && allowed == limit, "{error}");
            // With what the error asks for, it works, unless that is for the photo alone.
            limits.extend((limit >= photo).then_some(least));
        }
        for limit in limits {
            let (image, reports) = restored(limit).unwrap();
            assert!(reports > 5, "{reports}");
            let off = image.data.iter().zip(&whole.data).map(|(a, b)| (a - b).abs());
            let off = off.fold(0.0, f32::max);
            assert!(off < 1.0 / 255.0, "in {limit} bytes: off by {off}");
        }
    }

    #[test]
    fn the_memory_that_a_refusal_names_suffices() {
        let (model, size) = (model().freeze(), (900, 600));
        let image = Image::from_fn(900, 600, |x, y| [x as f32 / 900.0, y as f32 / 600.0, 0.5]);
        let (pixels, beside) = (Pixels::from(image), PROGRAM + bytes(size, ORDINARY));
        for (scale, more_than_auto) in
            [(Scale::Full, true), (Scale::Part(0.4), false), (Scale::Auto, false)]
        {
            let sizing = |bytes| Sizing { memory: MemoryLimit::limited_to(bytes), scale };
            let check = |bytes| check_memory(sizing(bytes), &model, "dehaze", size);
            let error = check(1000).unwrap_err();
            let text = error.to_string();
            let Error::Memory { least, copied, .. } = error else { panic!("{error}") };
            assert!(check(least).is_ok() && check(least - 1).is_err());
            let restored =
                restore_at(sizing(least), &model, "dehaze", (&pixels, beside), &|_, _| (), &|_| ());
            assert!(restored.is_ok(), "{scale} in {least} bytes");
            // The amount in words, too, which is rounded.
            let words = text.split("at least ").nth(1).unwrap().split(" to restore").next();
            let named: MemoryLimit = words.unwrap().parse().unwrap();
            assert!(named.bytes().unwrap() >= least, "{text}");
            assert_eq!(copied.is_some(), more_than_auto, "{text}");
            assert_eq!(text.contains("; with --scale auto, "), more_than_auto, "{text}");
            assert!(copied.is_none_or(|copied| copied < least));
        }
    }

    /// It grows with the picture and with the width, and is that of a few maps.
    #[test]
    fn the_memory_of_a_network_is_known_before() {
        let model = |width: usize| {
            let config = ModelConfig { width, n: 1, ..ModelConfig::default() };
            Model::new(&config, 1, DType::F32).unwrap().freeze()
        };
        let (small, large) = (model(8), model(16));
        // A map of 16 channels takes 64 bytes for each pixel.
        let bytes = bytes_per_pixel(&large);
        assert!((128..=384).contains(&bytes), "{bytes}");
        let half = bytes_per_pixel(&small);
        assert!((bytes / 2..bytes).contains(&half), "{half} and {bytes}");
        let peak = large.peak_bytes(1024, 2048).unwrap() as u64;
        assert!(peak.abs_diff(bytes << 21) < peak / 100, "{peak}");
    }

    #[test]
    fn a_prediction_is_cropped_to_the_pixels_it_was_made_for() {
        let image = Image::from_fn(40, 30, |x, y| [x as f32 / 40.0, y as f32 / 30.0, 0.5]);
        let config = ModelConfig::default();
        let seen = std::cell::RefCell::new(Vec::new());
        let predict = |x: &Tensor| {
            *seen.borrow_mut() = x.shape().to_vec();
            Ok(x.clone())
        };
        assert_eq!(one_piece(&config, &image, predict).unwrap(), image);
        assert_eq!(*seen.borrow(), [1, 3, config.side_for(30), config.side_for(40)]);
        // Values that a network overshoots to are limited.
        let far = |x: &Tensor| Ok(x.affine(4.0, -1.0)?);
        let restored = one_piece(&config, &image, far).unwrap();
        assert_eq!([restored.at(0, 0), restored.at(39, 29)], [[0.0, 0.0, 1.0], [1.0; 3]]);
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
        let always = |_| Err::<Image, _>(Error::NotFinite { count: 3 });
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
            Err::<Image, _>(Error::NotFinite { count: 3 })
        });
        assert!(matches!(error, Err(Error::NotFinite { count: 3 })));
        assert_eq!((notes.len(), calls.get()), (0, 1));
    }
}
