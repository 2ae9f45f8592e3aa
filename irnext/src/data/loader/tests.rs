//! The loader on counting sources, on sources that fail, and on real files.

use std::fs;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::data::{MakePair, Paired, PhotoCache, Synthetic};
use crate::image::Photo;

/// Samples whose inputs are the image's number and whose targets are a random draw.
struct Counting {
    images: usize,
    made: AtomicUsize,
}

impl Counting {
    fn new(images: usize) -> Arc<Self> {
        Arc::new(Self { images, made: AtomicUsize::new(0) })
    }
}

impl Source for Counting {
    fn len(&self) -> usize {
        self.images
    }

    fn name(&self, index: usize) -> String {
        format!("image {index}")
    }

    fn sample(&self, index: usize, rng: &mut Rng, crop: &CropSpec) -> Result<(Image, Image)> {
        self.made.fetch_add(1, Ordering::SeqCst);
        let fill = |v: f32| Image::from_fn(crop.width, crop.height, |_, _| [v; 3]);
        Ok((fill(index as f32), fill(rng.uniform() as f32)))
    }

    fn full(&self, index: usize) -> Result<(Image, Image)> {
        self.sample(index, &mut Rng::new(0), &CropSpec::square(1))
    }
}

fn config(batch: usize) -> LoaderConfig {
    LoaderConfig {
        seed: 7,
        first_step: 0,
        batch,
        part: (0, 1),
        crop: CropSpec::square(1),
        repeat: 1,
        workers: 2,
    }
}

fn batches(source: Arc<dyn Source>, config: &LoaderConfig, count: usize) -> Vec<Batch> {
    let loader = Loader::new(source, config).unwrap();
    loader.take(count).map(|batch| batch.unwrap()).collect()
}

/// The image numbers in batches of 1x1 samples.
fn images(batches: &[Batch]) -> Vec<usize> {
    let inputs = batches.iter().flat_map(|batch| batch.inputs.chunks(3));
    inputs.map(|pixel| pixel[0] as usize).collect()
}

/// Photographs of noise, each different, larger than the crops; the last one smaller.
fn noise_files(count: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for i in 0..count {
        let mut rng = Rng::at(1, 0, i as u64);
        let side = if i + 1 == count { 10 } else { 40 };
        let image = Image::from_fn(side, side + 5, |_, _| [0; 3].map(|_| rng.uniform() as f32));
        Photo::new(image).write(folder.path().join(format!("{i}.png"))).unwrap();
    }
    folder
}

fn add_noise() -> MakePair {
    Arc::new(|clean, rng| {
        let mut image = clean.clone();
        for value in &mut image.data {
            *value += 0.1 * rng.normal() as f32;
        }
        (image, clean)
    })
}

#[test]
fn the_same_for_any_number_of_threads_and_with_or_without_cache() {
    let folder = noise_files(5);
    let mut config = config(2);
    config.crop = CropSpec { max_shrink: 2.0, ..CropSpec::square(16) };
    let run = |workers: usize, budget: usize| {
        let cache = PhotoCache::new(budget);
        let source = Synthetic::open(folder.path(), add_noise(), cache).unwrap();
        batches(Arc::new(source), &LoaderConfig { workers, ..config.clone() }, 9)
    };
    let one = run(1, 0);
    assert_eq!(one, run(3, 1 << 20));
    assert_eq!((one[0].n, one[0].height, one[0].width), (2, 16, 16));
    assert_eq!(one[0].inputs.len(), 2 * 16 * 16 * 3);
    assert_ne!(one[0], one[1]);
    config.seed += 1;
    let source = Synthetic::open(folder.path(), add_noise(), PhotoCache::new(0)).unwrap();
    assert_ne!(one, batches(Arc::new(source), &config, 9));
}

#[test]
fn a_resumed_run_goes_on_where_it_was() {
    let whole = batches(Counting::new(10), &config(3), 12);
    for first_step in [1, 3, 7] {
        let config = LoaderConfig { first_step, ..config(3) };
        let rest = batches(Counting::new(10), &config, 12 - first_step as usize);
        assert_eq!(rest, whole[first_step as usize..]);
    }
}

#[test]
fn the_parts_of_a_batch_make_it_up() {
    let whole = batches(Counting::new(13), &config(6), 5);
    let parts = [0, 1, 2]
        .map(|part| batches(Counting::new(13), &LoaderConfig { part: (part, 3), ..config(6) }, 5));
    for (step, batch) in whole.iter().enumerate() {
        assert!(parts.iter().all(|part| part[step].n == 2));
        assert_eq!(parts.each_ref().map(|part| &part[step].inputs[..]).concat(), batch.inputs);
        assert_eq!(parts.each_ref().map(|part| &part[step].targets[..]).concat(), batch.targets);
    }
    let uneven =
        Loader::new(Counting::new(13), &LoaderConfig { part: (0, 4), ..config(6) }).err().unwrap();
    assert_eq!(uneven.to_string(), "a batch of 6 does not divide into 4 equal parts");
}

#[test]
fn every_epoch_takes_each_image_once_in_another_order() {
    let batches = batches(Counting::new(12), &config(4), 9);
    let mut orders = Vec::new();
    for epoch in batches.chunks(3) {
        let order = images(epoch);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..12).collect::<Vec<_>>());
        orders.push(order);
    }
    assert!(orders[0] != orders[1] && orders[1] != orders[2]);
    let draws: std::collections::BTreeSet<_> = batches
        .iter()
        .flat_map(|batch| batch.targets.chunks(3).map(|pixel| pixel[0].to_bits()))
        .collect();
    assert_eq!(draws.len(), 36, "every sample has draws of its own");
}

#[test]
fn repetition_makes_an_epoch_longer_and_the_rest_is_dropped() {
    let config = LoaderConfig { repeat: 4, ..config(5) };
    assert_eq!(config.steps_per_epoch(3).unwrap(), 2);
    let order = images(&batches(Counting::new(3), &config, 2));
    for image in 0..3 {
        let times = order.iter().filter(|&&i| i == image).count();
        assert!((2..=4).contains(&times), "{order:?}");
    }
}

#[test]
fn refuses_settings_that_make_no_batch() {
    let error = |images, config: LoaderConfig| match Loader::new(Counting::new(images), &config) {
        Ok(_) => panic!("{config:?} was accepted"),
        Err(error) => error.to_string(),
    };
    let message = error(5, config(8));
    assert!(message.contains("8 is larger than the data set"), "{message}");
    assert!(error(0, config(1)).contains("no images"));
    assert!(error(5, config(0)).contains("batch size"));
    assert!(error(5, LoaderConfig { repeat: 0, ..config(1) }).contains("0 times"));
    assert!(error(5, LoaderConfig { crop: CropSpec::square(0), ..config(1) }).contains("crop"));
}

#[test]
fn a_damaged_file_is_an_error_that_names_it() {
    let root = tempfile::tempdir().unwrap();
    for folder in ["input", "target"] {
        let photos = noise_files(3);
        fs::rename(photos.path(), root.path().join(folder)).unwrap();
    }
    let damaged = root.path().join("input/1.png");
    let bytes = fs::read(&damaged).unwrap();
    fs::write(&damaged, &bytes[..bytes.len() / 2]).unwrap();
    let [inputs, targets] = ["input", "target"].map(|folder| root.path().join(folder));
    let source = Paired::from_folders(&inputs, &targets, PhotoCache::new(1 << 20)).unwrap();
    let config = LoaderConfig { crop: CropSpec::square(8), ..config(1) };
    let mut loader = Loader::new(Arc::new(source), &config).unwrap();
    let results: Vec<_> = loader.by_ref().take(3).collect();
    let errors: Vec<_> = results.iter().filter_map(|r| r.as_ref().err()).collect();
    assert_eq!(errors.len(), 1, "the other two are whole");
    let message = errors[0].to_string();
    assert!(message.contains("input/1.png"), "{message}");
    assert!(loader.next().is_some(), "later steps follow");
}

#[test]
fn a_panic_is_an_error_that_names_the_image() {
    let folder = noise_files(1);
    let broken: MakePair = Arc::new(|_, _| panic!("no such weather"));
    let source = Synthetic::open(folder.path(), broken, PhotoCache::new(0)).unwrap();
    let mut loader = Loader::new(Arc::new(source), &config(1)).unwrap();
    for _ in 0..5 {
        let message = loader.next().unwrap().unwrap_err().to_string();
        assert!(message.contains("0.png") && message.contains("no such weather"), "{message}");
    }
}

/// Ignores the requested size.
struct WrongSize;

impl Source for WrongSize {
    fn len(&self) -> usize {
        1
    }

    fn name(&self, _: usize) -> String {
        "odd".into()
    }

    fn sample(&self, index: usize, _: &mut Rng, _: &CropSpec) -> Result<(Image, Image)> {
        self.full(index)
    }

    fn full(&self, _: usize) -> Result<(Image, Image)> {
        Ok((Image::new(2, 3), Image::new(2, 3)))
    }
}

#[test]
fn a_sample_of_another_size_is_an_error() {
    let mut loader = Loader::new(Arc::new(WrongSize), &config(1)).unwrap();
    let message = loader.next().unwrap().unwrap_err().to_string();
    assert!(message.contains("odd") && message.contains("2x3"), "{message}");
}

#[test]
fn makes_no_more_than_it_has_room_for_and_dropping_it_ends_its_threads() {
    let source = Counting::new(10);
    let mut loader = Loader::new(source.clone(), &config(3)).unwrap();
    for taken in 1..=20 {
        loader.next().unwrap().unwrap();
        let most = 3 * (taken + AHEAD as usize * 2);
        let made = source.made.load(Ordering::SeqCst);
        assert!((3 * taken..=most).contains(&made), "{made} after {taken}");
    }
    drop(loader);
    assert_eq!(Arc::strong_count(&source), 1, "no thread holds the source any more");
}

#[test]
fn dropping_it_does_not_wait_for_a_whole_batch() {
    /// Would take half an hour over a batch.
    struct Slow;
    impl Source for Slow {
        fn len(&self) -> usize {
            100_000
        }
        fn name(&self, _: usize) -> String {
            String::new()
        }
        fn sample(&self, index: usize, _: &mut Rng, _: &CropSpec) -> Result<(Image, Image)> {
            thread::sleep(std::time::Duration::from_millis(20));
            self.full(index)
        }
        fn full(&self, _: usize) -> Result<(Image, Image)> {
            Ok((Image::new(1, 1), Image::new(1, 1)))
        }
    }
    drop(Loader::new(Arc::new(Slow), &config(100_000)).unwrap());
}
