//! Samples over time: pictures of what the network makes of the same few pairs as it trains.
//!
//! Each pair has a folder in `samples/`, with `degraded.jpg`, `target.jpg`, and one
//! `step-0000500.jpg` for each time that it was restored. The number of those is bounded. A run
//! that resumes drops those of later steps, as its metrics do.

use crate::data::Source;
use crate::error::{Error, Result};
use crate::image::{Format, Image, Photo, WriteOptions};
use std::fs;
use std::path::{Path, PathBuf};

/// The samples' folder in a run's folder.
pub const SAMPLES: &str = "samples";

/// The number of pairs.
const PAIRS: usize = 3;

/// The longest side of a picture, pixels: their center at full size, where rain and blur are seen.
const SIDE: usize = 256;

/// The most steps of which there are pictures.
pub const MOST: usize = 12;

const DEGRADED: &str = "degraded.jpg";
const TARGET: &str = "target.jpg";

/// The pictures of one pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampledPair {
    /// Its name, in the characters that a folder's name may have.
    pub name: String,
    folder: PathBuf,
    /// The steps of which there are pictures, in order.
    pub steps: Vec<u64>,
}

impl SampledPair {
    /// The bytes of its pictures, with a caption for each: the degraded one, one for each step, and
    /// the ground truth. Those that cannot be read are left out.
    pub fn pictures(&self) -> Vec<(String, Vec<u8>)> {
        let ends = |caption: &str, file: &str| (caption.to_string(), self.folder.join(file));
        let steps = self.steps.iter();
        let steps = steps.map(|&step| (format!("step {step}"), self.folder.join(file_of(step))));
        let files = [ends("degraded", DEGRADED)].into_iter().chain(steps);
        let files = files.chain([ends("target", TARGET)]);
        files.filter_map(|(caption, file)| Some((caption, fs::read(file).ok()?))).collect()
    }
}

/// The pairs with pictures in the run's folder `out`, in order; none in a run without any.
///
/// # Errors
/// If the folder cannot be listed.
pub fn read(out: &Path) -> Result<Vec<SampledPair>> {
    let mut pairs = Vec::new();
    for folder in entries(&out.join(SAMPLES))? {
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
        let Some((number, name)) = name.as_deref().and_then(|name| name.split_once('-')) else {
            continue;
        };
        let Ok(number) = number.parse::<usize>() else { continue };
        let mut steps: Vec<u64> =
            entries(&folder)?.iter().filter_map(|file| step_of(file)).collect();
        steps.sort_unstable();
        pairs.push((number, SampledPair { name: name.into(), folder: folder.clone(), steps }));
    }
    pairs.sort_by(|(a, x), (b, y)| (a, &x.name).cmp(&(b, &y.name)));
    Ok(pairs.into_iter().map(|(_, pair)| pair).collect())
}

/// Those of [`read`] that have a picture of the last step: not those of other validation pairs,
/// with which the run began.
///
/// # Errors
/// If the folder cannot be listed.
pub fn current(out: &Path) -> Result<Vec<SampledPair>> {
    let mut pairs = read(out)?;
    let last = pairs.iter().flat_map(|pair| pair.steps.last()).max().copied();
    pairs.retain(|pair| pair.steps.last() == last.as_ref());
    Ok(pairs)
}

/// Removes the pictures of later steps than `step`.
///
/// # Errors
/// If one cannot be removed.
pub fn forget_after(out: &Path, step: u64) -> Result<()> {
    for pair in read(out)? {
        nn::remove_partial(&pair.folder).map_err(Error::io(&pair.folder))?;
        pair.steps.iter().filter(|&&later| later > step).try_for_each(|&step| pair.remove(step))?;
    }
    Ok(())
}

/// Whether there are pictures of `step`.
pub fn has(out: &Path, step: u64) -> bool {
    read(out).is_ok_and(|pairs| pairs.iter().any(|pair| pair.steps.contains(&step)))
}

/// Draws the first of `pairs` as `restored` makes them after `step`.
///
/// # Errors
/// If a pair cannot be read or restored, or a picture cannot be written.
pub fn draw(
    out: &Path,
    step: u64,
    pairs: &dyn Source,
    restored: impl Fn(&Image) -> Result<Image>,
) -> Result<()> {
    let folders: Vec<PathBuf> = (0..pairs.len().min(PAIRS))
        .map(|index| {
            let name = format!("{}-{}", index + 1, plain(&pairs.name(index)));
            out.join(SAMPLES).join(name)
        })
        .collect();
    for (index, folder) in folders.iter().enumerate() {
        // The cheap part that can fail comes first.
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let (degraded, target) = pairs.full(index)?;
        let [degraded, target] = [center(&degraded), center(&target)];
        write(&folder.join(DEGRADED), &degraded)?;
        write(&folder.join(TARGET), &target)?;
        write(&folder.join(file_of(step)), &restored(&degraded)?)?;
    }
    for pair in read(out)? {
        let mut steps = pair.steps.clone();
        while steps.len() > MOST {
            pair.remove(steps.remove(crowded(&steps)))?;
        }
    }
    Ok(())
}

/// The place of the step whose neighbors are closest together, so that those that stay are spread
/// evenly; neither the first nor the last.
fn crowded(steps: &[u64]) -> usize {
    let gap = |&at: &usize| steps[at + 1] - steps[at - 1];
    (1..steps.len().saturating_sub(1)).min_by_key(gap).unwrap_or(0)
}

impl SampledPair {
    fn remove(&self, step: u64) -> Result<()> {
        let file = self.folder.join(file_of(step));
        fs::remove_file(&file).map_err(Error::io(&file))
    }
}

fn file_of(step: u64) -> String {
    format!("step-{step:07}.jpg")
}

fn step_of(file: &Path) -> Option<u64> {
    let step = file.file_name()?.to_str()?.strip_prefix("step-")?.strip_suffix(".jpg")?;
    step.parse().ok().filter(|&step| file.ends_with(file_of(step)))
}

/// The contents of a folder; empty if there is no such folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder).map_err(Error::io(folder))?;
    entries.map(|entry| Ok(entry.map_err(Error::io(folder))?.path())).collect()
}

/// A name with the characters that every file system takes.
fn plain(name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || "._- ()".contains(c) { c } else { '_' };
    let name: String = name.chars().take(50).map(plain).collect();
    name.trim_end_matches(['.', ' ']).into()
}

/// The middle of an image, at most [`SIDE`] pixels wide and high.
fn center(image: &Image) -> Image {
    let (width, height) = (image.width.min(SIDE), image.height.min(SIDE));
    image.part((image.width - width) / 2, (image.height - height) / 2, width, height)
}

fn write(path: &Path, image: &Image) -> Result<()> {
    let options = WriteOptions { quality: Some(88), strip: true };
    let (jpeg, _) = Photo::new(image.clone())
        .to_bytes(Format::Jpeg, &options)
        .map_err(|reason| Error::image(path, reason))?;
    nn::write_atomically(path, &jpeg).map_err(Error::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::CropSpec;
    use engine::Rng;

    /// Pairs of a dark and a bright picture.
    struct Gray(Vec<&'static str>);

    impl Source for Gray {
        fn len(&self) -> usize {
            self.0.len()
        }

        fn name(&self, index: usize) -> String {
            self.0[index].into()
        }

        fn sample(&self, _: usize, _: &mut Rng, _: &CropSpec) -> Result<(Image, Image)> {
            unreachable!("samples draw nothing at random")
        }

        fn full(&self, _: usize) -> Result<(Image, Image)> {
            let gray = |level: f32| Image::from_fn(600, 40, |_, _| [level; 3]);
            Ok((gray(0.2), gray(0.8)))
        }
    }

    #[test]
    fn each_pair_has_its_pictures_in_order() {
        let out = tempfile::tempdir().unwrap();
        assert_eq!(read(out.path()).unwrap(), []);
        let pairs = Gray(vec!["b/<1>.png", "a.png", "c.png", "d.png"]);
        for step in [5, 10] {
            draw(out.path(), step, &pairs, |image| {
                assert_eq!((image.width, image.height), (256, 40));
                Ok(Image::from_fn(256, 40, |_, _| [step as f32 / 20.0; 3]))
            })
            .unwrap();
        }
        let found = read(out.path()).unwrap();
        let names: Vec<&str> = found.iter().map(|pair| &pair.name[..]).collect();
        assert_eq!(names, ["b__1_.png", "a.png", "c.png"]);
        let pictures = found[0].pictures();
        let captions: Vec<&str> = pictures.iter().map(|(caption, _)| &caption[..]).collect();
        assert_eq!(captions, ["degraded", "step 5", "step 10", "target"]);
        for ((_, jpeg), level) in pictures.iter().zip([0.2, 0.25, 0.5, 0.8]) {
            let picture = Photo::from_bytes(jpeg, &Default::default()).unwrap().image();
            assert!((picture.at(99, 9)[1] - level).abs() < 0.02);
        }
        assert!(has(out.path(), 10) && !has(out.path(), 6));
        forget_after(out.path(), 9).unwrap();
        assert!(read(out.path()).unwrap().iter().all(|pair| pair.steps == [5]));
    }

    #[test]
    fn their_number_is_bounded_and_they_stay_spread() {
        let out = tempfile::tempdir().unwrap();
        let pairs = Gray(vec!["a.png"]);
        for step in 1..=100 {
            draw(out.path(), 10 * step, &pairs, |image| Ok(image.clone())).unwrap();
            let steps = &read(out.path()).unwrap()[0].steps;
            assert!(steps.len() <= MOST && steps.contains(&10) && steps.contains(&(10 * step)));
        }
        let steps = &read(out.path()).unwrap()[0].steps;
        let gaps = || steps.windows(2).map(|pair| pair[1] - pair[0]);
        assert_eq!(steps.len(), MOST);
        assert!(gaps().max() <= Some(200), "{steps:?}");
    }

    #[test]
    fn files_of_others_are_left_alone() {
        let out = tempfile::tempdir().unwrap();
        let folder = out.path().join(SAMPLES).join("1-a.png");
        fs::create_dir_all(&folder).unwrap();
        for name in ["step-7.jpg", "step-0000009.png", "notes.txt"] {
            fs::write(folder.join(name), "mine").unwrap();
        }
        fs::create_dir(out.path().join(SAMPLES).join("mine")).unwrap();
        forget_after(out.path(), 0).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 3);
        assert!(read(out.path()).unwrap()[0].steps.is_empty());
    }
}
