//! Training learns, and stopping it changes nothing.

use irnext::data::image_files;
use irnext::image::{Image, Photo};
use irnext::train::{Event, TrainConfig, TrainingRun, Validation};
use nn::weights::WeightFile;
use std::path::Path;

/// A few small pictures with edges, slopes and texture.
fn pictures(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    for k in 0..5usize {
        let image = Image::build(96, 80, |x, y| {
            let (u, v) = (x as f32 / 96.0, y as f32 / 80.0);
            let stripes = ((x / (4 + k)) % 2) as f32;
            let disk = if (u - 0.5).hypot(v - 0.4) < 0.1 + 0.05 * k as f32 { 0.8 } else { 0.1 };
            [0.6 * disk + 0.3 * stripes, 0.2 + 0.5 * v, 0.9 - 0.8 * u * v]
        })
        .unwrap();
        Photo::new(image).write(folder.join(format!("{k}.png"))).unwrap();
    }
}

fn config(folder: &Path, out: &str, workers: usize) -> TrainConfig {
    let (clean, out) = (folder.join("clean"), folder.join(out));
    let text = format!(
        "task = \"dehaze\"\nout = {out:?}\nseed = 3\n\
         [data]\nclean = {clean:?}\ncrop = 64\nworkers = {workers}\n\
         [optimizer]\nbatch = 2\nsteps = 7\nperiod = \"step\"\nlearning_rate = 2e-3\nwarmup = \
         2\nema = 0.9\nsave_every = 2\n\
         [model]\nwidth = 8\nn = 0\ngroups = 4\n"
    );
    let file = folder.join("config.toml");
    std::fs::write(&file, text).unwrap();
    TrainConfig::read(&file, &[]).unwrap()
}

/// Runs to the end with this number of threads, after stopping and starting anew at each step of
/// `stops`.
fn train(config: &TrainConfig, threads: usize, stops: &[u64]) -> [Vec<u8>; 2] {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        for &stop in stops {
            let mut run = TrainingRun::open(config.clone()).unwrap();
            run.train(|event| !matches!(event, Event::Step(step) if step.step == stop)).unwrap();
            assert_eq!(run.steps().0, stop);
        }
        let mut run = TrainingRun::open(config.clone()).unwrap();
        run.train(|_| true).unwrap();
    });
    ["last.safetensors", "weights.safetensors"]
        .map(|name| std::fs::read(config.out.join(name)).unwrap())
}

#[test]
fn stopped_and_resumed_it_ends_with_the_same_bits_whatever_the_threads() {
    let folder = tempfile::tempdir().unwrap();
    pictures(&folder.path().join("clean"));
    let straight = train(&config(folder.path(), "straight", 1), 1, &[]);
    let stopped = train(&config(folder.path(), "stopped", 3), 2, &[1, 4, 6]);
    // The checkpoints differ in the configuration that they carry, so the comparison is by tensors
    // there.
    assert!(straight[1] == stopped[1], "the weights differ");
    let tensors = |bytes: &[u8]| {
        let file = WeightFile::from_bytes("checkpoint", bytes).unwrap();
        let mut all: Vec<_> = file
            .tensors
            .iter()
            .map(|(name, tensor)| (name.clone(), tensor.to_le_bytes().unwrap()))
            .collect();
        all.sort();
        all
    };
    assert!(tensors(&straight[0]) == tensors(&stopped[0]), "optimizer or average differ");
}

#[test]
fn a_run_with_other_settings_is_not_continued() {
    let folder = tempfile::tempdir().unwrap();
    pictures(&folder.path().join("clean"));
    let mut config = config(folder.path(), "run", 1);
    let mut run = TrainingRun::open(config.clone()).unwrap();
    run.train(|_| false).unwrap();
    // Its folder has one writer.
    drop(run);
    config.seed = 4;
    let message = TrainingRun::open(config).err().unwrap().to_string();
    assert!(message.contains("holds a run with other settings"), "{message}");
}

#[test]
fn it_learns() {
    let folder = tempfile::tempdir().unwrap();
    pictures(&folder.path().join("clean"));
    let mut config = config(folder.path(), "learns", 1);
    config.optimizer.steps = Some(60);
    config.optimizer.batch = 4;
    config.optimizer.save_every = 1000;
    let mut losses = Vec::new();
    let mut run = TrainingRun::open(config).unwrap();
    run.train(|event| {
        if let Event::Step(step) = event {
            losses.push(step.loss);
        }
        true
    })
    .unwrap();
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let (first, last) = (mean(&losses[..10]), mean(&losses[50..]));
    assert!(last < 0.8 * first, "the loss went from {first:.3} to {last:.3}");
}

#[test]
fn a_run_begins_with_the_weights_that_it_is_given() {
    let folder = tempfile::tempdir().unwrap();
    pictures(&folder.path().join("clean"));
    let first = config(folder.path(), "first", 1);
    train(&first, 1, &[]);
    let weights = first.out.join("weights.safetensors");

    let mut second = config(folder.path(), "second", 1);
    second.start = Some(weights.clone());
    let numbers = |tensor: &engine::Tensor| tensor.to_f64_vec().unwrap();
    let mut run = TrainingRun::open(second.clone()).unwrap();
    let file = WeightFile::read(&weights).unwrap();
    for (entry, value) in run.model().params.entries().iter().zip(run.model().params.values()) {
        assert_eq!(numbers(&value), numbers(&file.tensors[&entry.path]), "{}", entry.path);
    }
    run.train(|event| !matches!(event, Event::Step(step) if step.step == 2)).unwrap();
    drop(run);

    let mut other = config(folder.path(), "other", 1);
    other.start = Some(weights.clone());
    other.model.n = 1;
    let message = TrainingRun::open(other).err().unwrap().to_string();
    assert!(message.contains("weights.safetensors: its network is not the one"), "{message}");

    // The resumed run has its own numbers.
    std::fs::remove_file(&weights).unwrap();
    assert_eq!(TrainingRun::open(second.clone()).unwrap().steps().0, 2);
    second.out = folder.path().join("third");
    let message = TrainingRun::open(second).err().unwrap().to_string();
    assert!(message.contains("weights.safetensors"), "{message}");
}

#[test]
fn weights_that_were_the_best_on_other_pairs_are_scored_again() {
    let folder = tempfile::tempdir().unwrap();
    let [clean, hazy] = ["clean", "hazy"].map(|name| folder.path().join(name));
    pictures(&clean);
    std::fs::create_dir_all(&hazy).unwrap();
    let mut config = config(folder.path(), "run", 1);
    // Enough haze that the first steps, after which a network changes next to nothing, do not score
    // best.
    for file in image_files(&clean).unwrap() {
        let mut photo = Photo::read(&file).unwrap().image();
        photo.data_mut().iter_mut().for_each(|value| *value = 0.4 * *value + 0.54);
        Photo::new(photo).write(hazy.join(file.file_name().unwrap())).unwrap();
    }
    config.optimizer.steps = Some(12);
    config.optimizer.ema = 0.0;
    config.validation.every = 2;
    // Where there is nothing to remove, scores are high that hazy pairs never reach.
    config.validation.input = Some(clean.clone());
    config.validation.target = Some(clean);
    let best = |config: &TrainConfig| -> f64 {
        let file = WeightFile::from_bytes(
            "best",
            &std::fs::read(config.out.join("best.safetensors")).unwrap(),
        )
        .unwrap();
        file.metadata["irnext.psnr"].parse().unwrap()
    };
    let mut run = TrainingRun::open(config.clone()).unwrap();
    run.train(|event| !matches!(event, Event::Step(step) if step.step == 4)).unwrap();
    drop(run);
    let before = best(&config);

    config.validation.input = Some(hazy);
    let mut scores = Vec::new();
    let watch = |event: &Event| {
        if let Event::Validation(Validation { psnr, .. }) = event {
            scores.push(*psnr);
        }
        true
    };
    TrainingRun::open(config.clone()).unwrap().train(watch).unwrap();
    let highest = scores.iter().copied().fold(f64::MIN, f64::max);
    assert!(highest < before, "{scores:?} are no lower than {before}: the pairs show nothing");
    assert_eq!(best(&config), highest);
}
