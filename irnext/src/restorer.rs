//! The restoration of photographs as a service: which model, on which device, for which photograph.

use crate::classify::{Classification, TRIAL_SIDE, classify_photo, veil, veil_map};
use crate::compute::Compute;
use crate::degrade::Task;
use crate::error::{Error, Result};
use crate::image::{Image, Note, Photo, Pixels, Plane};
use crate::model::{FrozenModel, Model};
use crate::restore::{
    MemoryLimit, Scale, Sizing, bytes_beside, check_memory, explained, finite, is_blank, mix,
    require_memory, restore, restore_at,
};
use crate::shipped;
use std::sync::OnceLock;

/// Restores photographs: detects the degradation of each, or applies one model to all. Models are
/// loaded when a photograph first needs them. Threads may share it.
///
/// ```no_run
/// use irnext::compute::Compute;
/// use irnext::image::Photo;
/// use irnext::restorer::{Outcome, Restorer};
///
/// let restorer = Restorer::detecting(Compute::default())?;
/// match restorer.restore(&Photo::read("foggy.jpg")?)? {
///     Outcome::Restored { photo, .. } => {
///         // The losses of the format.
///         photo.write("clear.jpg")?.iter().for_each(|note| println!("{note}"));
///     }
///     Outcome::LeftAlone { reason } => println!("{reason}"),
/// }
/// # Ok::<(), irnext::Error>(())
/// ```
pub struct Restorer {
    models: Models,
    compute: Compute,
    sizing: Sizing,
}

/// The veil that is white in [`Restorer::haze_map`].
const WHITE: f32 = 0.4;

enum Models {
    /// The built-in model of each task, at its index in [`Task::ALL`].
    BuiltIn(Vec<OnceLock<FrozenModel>>),
    /// One model for every photograph, and the name of its task.
    One(String, Box<FrozenModel>),
}

/// The decision about a photograph, before anything is computed.
pub enum Decision<'a> {
    /// To restore it.
    Restore(Restoration<'a>),
    /// To leave it alone, because of this classification.
    LeaveAlone(Classification),
}

/// The restoration that was chosen for a photograph.
pub struct Restoration<'a> {
    /// The name of the task, such as `dehaze`.
    pub task: &'a str,
    /// The degradation that was detected; none if the task was given.
    pub classification: Option<Classification>,
    /// How much of the restoration is applied: 1, or less if the classification is not sure.
    pub strength: f32,
    model: &'a FrozenModel,
    compute: Compute,
    sizing: Sizing,
}

/// The result for a photograph.
pub enum Outcome {
    /// It was restored.
    Restored {
        /// The restored photograph, with everything of the original but its colors.
        photo: Box<Photo>,
        /// The name of the task, such as `dehaze`.
        task: String,
        /// The degradation that was detected; none if the task was given.
        classification: Option<Classification>,
    },
    /// It needs no restoration, or it is not sure which.
    LeftAlone {
        /// The reason, for people to read.
        reason: String,
    },
}

impl Restorer {
    /// A restorer that detects each photograph's degradation and uses the built-in weights.
    ///
    /// # Errors
    /// If `compute` names a device that cannot be used.
    pub fn detecting(compute: Compute) -> Result<Self> {
        compute.check()?;
        Ok(Self::new(Models::BuiltIn(Task::ALL.map(|_| OnceLock::new()).into()), compute))
    }

    /// A restorer that removes one degradation from every photograph, with the built-in weights.
    ///
    /// # Errors
    /// Same errors as [`Restorer::detecting`].
    pub fn for_task(task: Task, compute: Compute) -> Result<Self> {
        Self::with_model(task.name(), shipped::load(task)?.0, compute)
    }

    /// A restorer that applies `model` to every photograph. `task` names its task: results
    /// are named after it, and [`Scale::Auto`] depends on it.
    ///
    /// # Errors
    /// Same errors as [`Restorer::detecting`].
    pub fn with_model(task: impl Into<String>, model: Model, compute: Compute) -> Result<Self> {
        let model = model.on(compute)?.freeze().computing_in(compute.precision);
        Ok(Self::new(Models::One(task.into(), model.into()), compute))
    }

    fn new(models: Models, compute: Compute) -> Self {
        Self { models, compute, sizing: Sizing::default() }
    }

    /// The same restorer, whose networks see photographs at `scale`; otherwise [`Scale::Auto`].
    pub fn at_scale(self, scale: Scale) -> Self {
        Self { sizing: Sizing { scale, ..self.sizing }, ..self }
    }

    /// The same restorer, which takes no more than this memory, the program included.
    /// The larger the pieces that a large photograph is restored in, the more it takes.
    pub fn within(self, memory: MemoryLimit) -> Self {
        Self { sizing: Sizing { memory, ..self.sizing }, ..self }
    }

    /// Fails if the restoration of a photograph of this width and height takes more memory than
    /// the limit or, without one, than the system has, whatever the photograph shows.
    ///
    /// # Errors
    /// [`Error::Memory`], [`Error::SystemMemory`]; or if the model cannot be loaded.
    pub(crate) fn check_memory(&self, photo: (usize, usize)) -> Result<()> {
        // Of the built-in ones that which takes least, as its network sees the smallest copy.
        let least = Task::Dehaze;
        if !self.sizing.memory.is_limited() {
            let task = match &self.models {
                Models::One(task, _) => task,
                Models::BuiltIn(_) => least.name(),
            };
            return require_memory(self.sizing.scale, task, photo);
        }
        let Restoration { task, model, .. } = match &self.models {
            Models::One(task, model) => self.restoration(task, model),
            Models::BuiltIn(_) => self.restoration_for(least)?,
        };
        check_memory(self.sizing, model, task, photo)
    }

    /// The names of the tasks that it may choose for a photograph.
    pub fn tasks(&self) -> Vec<&str> {
        match &self.models {
            Models::BuiltIn(_) => Task::ALL.map(Task::name).into(),
            Models::One(task, _) => vec![task],
        }
    }

    /// Restores a photograph, or leaves it alone.
    ///
    /// # Errors
    /// If memory does not suffice, or the device fails.
    pub fn restore(&self, photo: &Photo) -> Result<Outcome> {
        photo.check()?;
        Ok(match self.decide(&photo.visible())? {
            Decision::LeaveAlone(classification) => {
                Outcome::LeftAlone { reason: classification.verdict() }
            }
            Decision::Restore(restoration) => Outcome::Restored {
                photo: restoration.apply(photo)?.into(),
                task: restoration.task.into(),
                classification: restoration.classification,
            },
        })
    }

    /// The decision about a photograph with these pixels. Nothing is restored yet.
    ///
    /// # Errors
    /// If the model cannot be loaded onto the device.
    pub fn decide(&self, pixels: &Pixels) -> Result<Decision<'_>> {
        match &self.models {
            Models::One(task, model) => Ok(Decision::Restore(self.restoration(task, model))),
            Models::BuiltIn(_) => {
                let size = (pixels.width, pixels.height);
                let seen = self.classify(pixels).map_err(|error| explained(error, size))?;
                self.decide_by(seen)
            }
        }
    }

    /// The classification of a photograph with these pixels: that by its features
    /// ([`classify`](crate::classify)), and what a trial of the built-in network for haze shows,
    /// which takes a small copy.
    ///
    /// # Errors
    /// If the model cannot be loaded onto the device; [`Error::Config`] if the restorer has one
    /// model, for another task.
    pub fn classify(&self, pixels: &Pixels) -> Result<Classification> {
        let classification = classify_photo(pixels)?;
        if classification.small {
            return Ok(classification);
        }
        let (copy, restored) = self.try_dehazing(pixels)?;
        Ok(classification.after_trial(veil(&copy, &restored)))
    }

    /// Where [`Self::classify`] sees haze, as a gray picture of the photograph's size: how much the
    /// trial takes off the dark parts, white where that is 0.4 or more.
    ///
    /// # Errors
    /// Same errors as [`Self::classify`].
    pub fn haze_map(&self, pixels: &Pixels) -> Result<Image> {
        let (copy, restored) = self.try_dehazing(pixels)?;
        let Plane { width, height, data } = veil_map(&copy, &restored);
        let data = data.iter().flat_map(|veil| [(veil / WHITE).clamp(0.0, 1.0); 3]).collect();
        Image { width, height, data }.resize(pixels.width, pixels.height)
    }

    /// A small copy of a photograph, and that without haze.
    fn try_dehazing(&self, pixels: &Pixels) -> Result<(Image, Image)> {
        let (width, height) = (pixels.width, pixels.height);
        let trial = self.restoration_for(Task::Dehaze)?;
        let scale = Scale::Part(TRIAL_SIDE as f64 / width.max(height) as f64);
        let copy = match scale.copy(trial.task, (width, height)) {
            Some((width, height)) => pixels.resize(width, height)?,
            None => pixels.image(),
        };
        let restored = trial.finite(&mut Vec::new(), |model| restore(model, &copy))?;
        Ok((copy, restored))
    }

    fn decide_by(&self, classification: Classification) -> Result<Decision<'_>> {
        let Some(task) = classification.task() else {
            return Ok(Decision::LeaveAlone(classification));
        };
        let restoration = self.restoration_for(task)?;
        let strength = classification.strength() as f32;
        let classification = Some(classification);
        Ok(Decision::Restore(Restoration { classification, strength, ..restoration }))
    }

    /// The restoration for `task`, whatever a photograph shows.
    ///
    /// # Errors
    /// If the model cannot be loaded onto the device; [`Error::Config`] if the restorer has one
    /// model, for another task.
    pub fn restoration_for(&self, task: Task) -> Result<Restoration<'_>> {
        match &self.models {
            Models::BuiltIn(models) => {
                let model = self.built_in(&models[task as usize], task)?;
                Ok(self.restoration(task.name(), model))
            }
            Models::One(own, model) if own == task.name() => Ok(self.restoration(own, model)),
            Models::One(own, _) => {
                Err(Error::Config { reason: format!("the weights are for {own}, not for {task}") })
            }
        }
    }

    fn restoration<'a>(&self, task: &'a str, model: &'a FrozenModel) -> Restoration<'a> {
        let Self { compute, sizing, .. } = *self;
        Restoration { task, classification: None, strength: 1.0, model, compute, sizing }
    }

    fn built_in<'a>(&self, cell: &'a OnceLock<FrozenModel>, task: Task) -> Result<&'a FrozenModel> {
        if let Some(model) = cell.get() {
            return Ok(model);
        }
        // Two threads may both load it; one of the two equal models stays.
        let model = shipped::load(task)?.0.on(self.compute)?.freeze();
        Ok(cell.get_or_init(|| model.computing_in(self.compute.precision)))
    }
}

impl Restoration<'_> {
    /// The restored photograph. A gray one stays gray, also one that is stored in color, whatever
    /// the network makes of its three equal channels. The network does not see the colors of fully
    /// transparent pixels, and they stay. A picture of one even shade stays as it is, and its notes
    /// say so: whether that is fog, nobody can tell. In half precision, an output that is not
    /// finite is computed again in f32, which the photograph's notes say.
    ///
    /// # Errors
    /// If memory does not suffice, or the device fails; [`NotFinite`](crate::Error::NotFinite).
    pub fn apply(&self, photo: &Photo) -> Result<Photo> {
        self.apply_reporting(photo, &|_| ())
    }

    /// Like [`Self::apply`], but calls `progress` with the finished part of the work on a large
    /// photograph, from 0 to 1.
    ///
    /// # Errors
    /// Same errors as [`Self::apply`].
    pub fn apply_reporting(&self, photo: &Photo, progress: &dyn Fn(f64)) -> Result<Photo> {
        photo.check()?;
        let mut notes = photo.notes.clone();
        let (seen, beside) = (photo.visible(), bytes_beside(photo));
        if is_blank(&seen) {
            notes.push(Note::Blank);
            return Ok(Photo { notes, ..photo.clone() });
        }
        // A gray photo stays gray, and hidden colors are the photo's own.
        let colorless = photo.is_colorless();
        let finish = |y: usize, row: &mut [f32]| {
            mix(&seen, y, row, self.strength);
            if colorless {
                row.chunks_exact_mut(3)
                    .for_each(|pixel| pixel.fill((pixel[0] + pixel[1] + pixel[2]) / 3.0));
            }
            photo.put_back_hidden(y, row);
        };
        let (pixels, note) = self.finite(&mut notes, |model| {
            restore_at(self.sizing, model, self.task, (&seen, beside), &finish, progress)
                .map_err(|error| explained(error, photo.sides()))
        })?;
        notes.extend(note);
        Ok(Photo { pixels, notes, ..photo.without_pixels() })
    }

    /// The result of `restore` by the model or, if that is not finite, by the model in f32.
    fn finite<T>(
        &self,
        notes: &mut Vec<Note>,
        restore: impl Fn(&FrozenModel) -> Result<T>,
    ) -> Result<T> {
        let own = self.compute.precision;
        finite(own, notes, |precision| match precision == own {
            true => restore(self.model),
            false => restore(&self.model.in_f32()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Format, Image, PhotoProfile, WriteOptions};

    /// The task, or the reason for leaving the photograph alone.
    fn decided(probabilities: [f64; 6]) -> Result<String, String> {
        let restorer = Restorer::detecting(Compute::default()).unwrap();
        let reasons = vec!["colors are pale"];
        let classification = Classification { probabilities, reasons, small: false };
        match restorer.decide_by(classification).unwrap() {
            Decision::Restore(Restoration { task, classification, strength, .. }) => {
                Ok(format!("{task} at {strength}, {}", classification.unwrap()))
            }
            Decision::LeaveAlone(classification) => Err(classification.verdict()),
        }
    }

    #[test]
    fn each_degradation_has_its_own_model() {
        for (class, task) in Task::ALL.into_iter().enumerate() {
            let mut probabilities = [0.0; 6];
            probabilities[1 + class] = 1.0;
            assert!(decided(probabilities).unwrap().starts_with(task.name()));
        }
    }

    #[test]
    fn a_task_has_its_model_whatever_the_photograph_shows() {
        let all = Restorer::detecting(Compute::default()).unwrap();
        let one = Restorer::for_task(Task::Derain, Compute::default()).unwrap();
        let photo = Photo::new(Image::from_fn(64, 64, |x, y| [(x ^ y) as f32 / 63.0; 3]));
        let of = |restorer: &Restorer, task| -> Result<Image> {
            Ok(restorer.restoration_for(task)?.apply(&photo)?.image())
        };
        let derained = of(&all, Task::Derain).unwrap();
        assert_eq!(of(&one, Task::Derain).unwrap(), derained);
        assert_ne!(of(&all, Task::Desnow).unwrap(), derained);
        let error = of(&one, Task::Desnow).unwrap_err().to_string();
        assert_eq!(error, "the weights are for derain, not for desnow");
    }

    #[test]
    fn a_picture_of_one_color_stays_as_it_is_under_any_task() {
        let restorer = Restorer::detecting(Compute::default()).unwrap();
        for value in [0.0, 0.25, 0.5, 0.94, 1.0] {
            let photo = Photo::new(Image::from_fn(90, 70, |_, _| [value, 0.5, value]));
            for task in Task::ALL {
                let result = restorer.restoration_for(task).unwrap().apply(&photo).unwrap();
                assert!(result.pixels == photo.pixels && result.notes == [Note::Blank], "{task}");
            }
        }
    }

    #[test]
    fn what_is_less_than_sure_is_restored_in_part() {
        let restorer = Restorer::detecting(Compute::default()).unwrap();
        let photo = Photo::new(Image::from_fn(64, 64, |x, y| [(x ^ y) as f32 / 63.0; 3]));
        let at = |strength| {
            let restoration = restorer.restoration_for(Task::Derain).unwrap();
            Restoration { strength, ..restoration }.apply(&photo).unwrap().image()
        };
        let (none, half, all) = (at(0.0), at(0.5), at(1.0));
        assert!(all != photo.image());
        for ((none, all), half) in none.data.iter().zip(&all.data).zip(&half.data) {
            assert!((half - (all + none) / 2.0).abs() < 1e-5, "{none} {half} {all}");
        }
        let before = photo.image();
        assert!(none.data.iter().zip(&before.data).all(|(a, b)| (a - b).abs() < 1e-5));
        let mild = decided([0.2, 0.0, 0.725, 0.075, 0.0, 0.0]).unwrap();
        assert!(mild.starts_with("derain at 0.75, rain, 72 %"), "{mild}");
        assert!(mild.ends_with(", so at 75 % of its strength"), "{mild}");
    }

    #[test]
    fn clear_and_uncertain_photographs_are_left_alone() {
        assert_eq!(
            decided([0.1, 0.9, 0.0, 0.0, 0.0, 0.0]).unwrap(),
            "dehaze at 1, haze, 90 % (colors are pale)"
        );
        for (probabilities, part) in [
            ([0.9, 0.1, 0.0, 0.0, 0.0, 0.0], "no haze, rain, snow or blur found (90 % sure)"),
            ([0.4, 0.5, 0.1, 0.0, 0.0, 0.0], "perhaps haze, but only 50 % sure; less than 65 %"),
        ] {
            let why = decided(probabilities).unwrap_err();
            assert!(why.contains(part), "{why}");
        }
    }

    #[test]
    fn a_gray_photograph_stays_gray_and_keeps_its_transparency() {
        let mut rgb = Image::new(64, 64);
        rgb.data.chunks_exact_mut(3).enumerate().for_each(|(i, p)| p.fill((i % 97) as f32 / 96.0));
        let alpha = Some(vec![0.5; 64 * 64]);
        let depth = crate::image::Depth::Sixteen;
        let profile = Some(PhotoProfile::inert(vec![1, 2, 3]));
        let photo = Photo { alpha, depth, gray: true, profile, ..Photo::new(rgb) };
        let restorer = Restorer::for_task(Task::Dehaze, Compute::default()).unwrap();
        let Outcome::Restored { photo: restored, task, classification } =
            restorer.restore(&photo).unwrap()
        else {
            panic!("it was left alone")
        };
        assert_eq!((task.as_str(), classification.is_none()), ("dehaze", true));
        assert_eq!(restored.alpha, photo.alpha);
        assert_eq!(restored.profile.as_ref().unwrap().icc, [1, 2, 3]);
        assert!(restored.gray && restored.depth == depth);
        assert!(restored.pixels.iter().all(|p| p[0] == p[1] && p[1] == p[2]));
        assert_ne!(restored.image(), photo.image());
    }

    #[test]
    fn a_photograph_without_all_its_opacities_is_an_error() {
        let restorer = Restorer::detecting(Compute::default()).unwrap();
        let photo = Photo { alpha: Some(vec![0.0, 1.0]), ..Photo::new(Image::new(8, 8)) };
        assert!(matches!(restorer.restore(&photo), Err(crate::Error::Config { .. })));
        assert!(photo.to_bytes(Format::Png, &WriteOptions::default()).is_err());
    }

    #[test]
    fn gray_stored_in_color_gets_no_tint_and_hidden_colors_are_not_seen() {
        let gray = Image::from_fn(64, 64, |x, y| [((x * 3 + y * 5) % 256) as f32 / 255.0; 3]);
        let mut magenta = gray.clone();
        let mut alpha = vec![1.0; 64 * 64];
        for (x, y) in (10..30).flat_map(|x| (10..30).map(move |y| (x, y))) {
            magenta.set_pixel(x, y, [1.0, 0.0, 1.0]);
            alpha[y * 64 + x] = 0.0;
        }
        let restorer = Restorer::for_task(Task::Dehaze, Compute::default()).unwrap();
        let restored = |photo: &Photo| match restorer.restore(photo).unwrap() {
            Outcome::Restored { photo, .. } => *photo,
            Outcome::LeftAlone { reason } => panic!("{reason}"),
        };
        let photo = Photo { alpha: Some(alpha.clone()), ..Photo::new(magenta) };
        let filled = restored(&Photo::of(photo.visible().into_owned())).image();
        assert!(filled.pixels().all(|[r, g, b]| r == g && g == b));
        let result = restored(&photo);
        assert_eq!(result.alpha.as_ref(), Some(&alpha));
        for (i, pixel) in result.pixels.iter().enumerate() {
            let (x, y) = (i % 64, i / 64);
            if alpha[i] == 0.0 {
                assert_eq!(pixel, [1.0, 0.0, 1.0]);
            } else {
                assert!(pixel.iter().zip(filled.at(x, y)).all(|(a, b)| (a - b).abs() < 0.02));
            }
        }
    }
}
