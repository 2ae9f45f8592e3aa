//! A run of several ranks, here threads, beside one of one process: the same losses and the same
//! weights, to rounding.

mod common;

use common::prepared;
use irnext::distributed::Team;
use irnext::train::{Event, Step, TrainConfig, TrainingRun, Validation};
use nn::weights::WeightFile;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, thread};

/// Half of the run in `folder`, with its results in `out`, and with other values for some settings.
fn config(folder: &Path, out: &str, changes: &[&str]) -> TrainConfig {
    let half = ["optimizer.steps=6", "validation.every=3", "optimizer.save_every=2"];
    let changes: Vec<String> = half.iter().chain(changes).map(|change| (*change).into()).collect();
    let mut config = TrainConfig::read(&folder.join("run.toml"), &changes).unwrap();
    config.out = folder.join(out);
    config.data.clean = Some(folder.join("clean"));
    config.validation.input = Some(folder.join("hazy"));
    config.validation.target = Some(folder.join("clear"));
    config
}

/// A rank's view of a run, and its end.
type Seen = (Vec<Step>, Vec<Validation>, irnext::Result<()>);

/// Trains as a rank of `team`, until `until` is true of an event.
fn train(team: &Team, config: TrainConfig, until: impl Fn(&Event) -> bool) -> Seen {
    let (mut steps, mut validations) = (Vec::new(), Vec::new());
    let run = || {
        TrainingRun::open_in(team.clone(), config)?.train(|event| {
            match event {
                Event::Step(step) => steps.push(*step),
                Event::Validation(validation) => validations.push(*validation),
                Event::Samples { .. } => (),
            }
            !until(event)
        })
    };
    let ended = team.finish(run().map(drop));
    (steps, validations, ended)
}

/// The same as each of `size` ranks, with the configuration that `of` gives it.
fn train_on_ranks(
    size: usize,
    of: impl Fn(usize) -> TrainConfig + Sync,
    until: impl Fn(&Event) -> bool + Sync,
) -> Vec<Seen> {
    let teams: Vec<Team> =
        nn::distributed::threads(size).unwrap().into_iter().map(Team::new).collect();
    thread::scope(|scope| {
        let ranks: Vec<_> =
            teams.iter().map(|team| scope.spawn(|| train(team, of(team.rank()), &until))).collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

fn never(_: &Event) -> bool {
    false
}

/// The largest difference of two files' tensors, in parts of the largest number of each.
fn distance(a: &Path, b: &Path) -> f64 {
    let [a, b] = [a, b].map(|path| WeightFile::read(path).unwrap().tensors);
    assert_eq!(a.len(), b.len());
    let mut far = 0.0;
    for (name, x) in &a {
        let [x, y] = [x, &b[name]].map(|x| x.to_f64_vec().unwrap());
        let largest = y.iter().fold(1e-3, |m: f64, y| m.max(y.abs()));
        far = x.iter().zip(&y).fold(far, |far: f64, (x, y)| far.max((x - y).abs() / largest));
    }
    far
}

fn assert_close(name: &str, found: f64, expected: f64, tolerance: f64) {
    assert!(
        (found - expected).abs() <= tolerance * expected.abs(),
        "{name}: {found} is not {expected}"
    );
}

#[test]
fn ranks_of_half_the_batch_are_one_process_with_all_of_it() {
    let folder = prepared();
    // Adam divides by the size of a gradient, also of one that is nothing but rounding, as of a
    // bias before a normalization. Such ones go where rounding leads them, so weights are compared
    // to rounding after SGD.
    for (rule, checkpoint, tolerance) in [("adam", true, 0.1), ("sgd", false, 1e-5)] {
        let settings = |out: &str| {
            let (rule, checkpoint) =
                (format!("optimizer.rule={rule}"), format!("optimizer.checkpoint={checkpoint}"));
            config(
                folder.path(),
                &format!("{out}-{rule}"),
                &[&rule, &checkpoint, "optimizer.batch=4", "optimizer.clip=1"],
            )
        };
        let (steps, validations, ended) = train(&Team::alone(), settings("one"), never);
        ended.unwrap();
        assert_eq!((steps.len(), validations.len()), (6, 2));
        for size in [2, 4] {
            let out = format!("ranks-{size}");
            let ranks = train_on_ranks(size, |_| settings(&out), never);
            for (of_rank, scored, ended) in &ranks {
                ended.as_ref().unwrap();
                assert_eq!(
                    (of_rank, scored),
                    (&ranks[0].0, &ranks[0].1),
                    "the ranks saw different numbers"
                );
                for (found, expected) in of_rank.iter().zip(&steps) {
                    let name = format!("{size} ranks, step {}", expected.step);
                    assert_close(&name, found.loss, expected.loss, 2e-6);
                    assert_close(&name, found.spatial, expected.spatial, 2e-6);
                    assert_close(&name, found.gradient_norm, expected.gradient_norm, 1e-4);
                    assert_eq!(
                        (found.step, found.rate, found.skipped),
                        (expected.step, expected.rate, false)
                    );
                }
                for (found, expected) in scored.iter().zip(&validations) {
                    assert_eq!(found.step, expected.step);
                    assert_close("PSNR", found.psnr, expected.psnr, 1e-4);
                }
            }
            let weights = |out: &str| settings(out).out.join("weights.safetensors");
            let far = distance(&weights(&out), &weights("one"));
            assert!(
                far < tolerance,
                "{rule}, {size} ranks: the weights are {far:e} from those of one process"
            );
        }
    }
}

#[test]
fn stopped_and_resumed_ranks_end_with_the_same_bits() {
    let folder = prepared();
    let train = |out: &str, until: &(dyn Fn(&Event) -> bool + Sync)| {
        train_on_ranks(2, |_| config(folder.path(), out, &[]), until)
    };
    train("straight", &never).into_iter().for_each(|(.., ended)| ended.unwrap());
    // The last stop is at the end.
    for at in [2, 3, 6] {
        let until = |event: &Event| matches!(event, Event::Step(step) if step.step == at);
        for (steps, _, ended) in train("stopped", &until) {
            ended.unwrap();
            assert_eq!(steps.last().unwrap().step, at);
        }
    }
    for name in ["weights.safetensors", "best.safetensors"] {
        let read = |out: &str| fs::read(folder.path().join(out).join(name)).unwrap();
        assert!(read("straight") == read("stopped"), "{name} has other bits");
    }
}

#[test]
fn one_rank_that_is_told_to_stop_stops_all() {
    let folder = prepared();
    let teams: Vec<Team> =
        nn::distributed::threads(2).unwrap().into_iter().map(Team::new).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let run = |team: &Team| {
        let mut run =
            TrainingRun::open_in(team.clone(), config(folder.path(), "run", &[])).unwrap();
        if team.rank() == 1 {
            run.stop_when(stop.clone());
        }
        // Rank 1 is told so after its second step; rank 0 hears of it from there alone.
        let ended = run.train(|event| {
            if team.rank() == 1 && matches!(event, Event::Step(step) if step.step == 2) {
                stop.store(true, Ordering::Relaxed);
            }
            true
        });
        let ended = team.finish(ended);
        assert_eq!(ended.unwrap(), irnext::train::Ended::Stopped);
        run.steps().0
    };
    let steps = thread::scope(|scope| {
        let ranks: Vec<_> = teams.iter().map(|team| scope.spawn(|| run(team))).collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(steps, [2, 2]);
    assert!(folder.path().join("run/last.safetensors").exists(), "nothing was saved");
}

#[test]
fn batches_that_cannot_be_divided_are_refused_on_all_ranks() {
    let folder = prepared();
    let refused = |size: usize, of: &(dyn Fn(usize) -> TrainConfig + Sync)| {
        let ranks = train_on_ranks(size, of, never);
        ranks.into_iter().map(|(.., ended)| ended.unwrap_err().to_string()).collect::<Vec<_>>()
    };
    let uneven = refused(3, &|_| config(folder.path(), "run", &["optimizer.batch=4"]));
    assert!(
        uneven.iter().all(|error| error == "a batch of 4 does not divide into 3 equal parts"),
        "{uneven:?}"
    );
    let on_gpus = refused(2, &|_| config(folder.path(), "run", &["compute.device=cuda"]));
    // Built without GPUs, without a driver, or with the one GPU that these threads have.
    let why =
        ["built without GPU support", "libcuda.so.1", "rank 1: it has the same GPU as rank 0"];
    assert!(on_gpus.iter().all(|error| why.iter().any(|why| error.contains(why))), "{on_gpus:?}");
    let other = refused(2, &|rank| {
        config(folder.path(), "run", &[&format!("optimizer.clip={}", 0.5 + rank as f64)])
    });
    let expected =
        "rank 1: optimizer.clip is 1.5, but 0.5 on rank 0; set the same value on all ranks";
    assert!(other.iter().all(|error| error == expected), "{other:?}");
    assert!(!folder.path().join("run").exists(), "something was written");
}

#[test]
fn an_image_that_one_rank_cannot_read_ends_all_and_nothing_is_lost() {
    let folder = prepared();
    let settings =
        |_: usize| config(folder.path(), "run", &["optimizer.save_every=1000", "data.cache_mb=0"]);
    // After the second step, which rank 0 waits for.
    let until = |event: &Event| {
        if matches!(event, Event::Step(step) if step.step == 2) {
            let _ = fs::write(folder.path().join("hazy/1.png"), b"no image");
        }
        false
    };
    let ranks = train_on_ranks(2, settings, until);
    // The second of the validation pairs is rank 1's.
    let errors: Vec<String> =
        ranks.into_iter().map(|(.., ended)| ended.unwrap_err().to_string()).collect();
    assert!(errors[0].starts_with("rank 1: ") && errors[0].contains("1.png"), "{errors:?}");
    assert!(!errors[1].starts_with("rank") && errors[1].contains("1.png"), "{errors:?}");
    assert!(folder.path().join("run/last.safetensors").exists(), "nothing was saved");
}

#[test]
fn a_folder_that_somebody_trains_in_is_refused_on_all_ranks() {
    let folder = prepared();
    let settings = |_: usize| config(folder.path(), "run", &[]);
    let _first = TrainingRun::open(settings(0)).unwrap();
    for (rank, (.., ended)) in train_on_ranks(2, settings, never).into_iter().enumerate() {
        let error = ended.unwrap_err().to_string();
        assert!(error.contains("another process is training in this folder"), "{error}");
        assert_eq!(error.starts_with("rank 0: "), rank == 1, "{error}");
    }
}

#[test]
fn all_ranks_skip_a_step_that_is_not_finite() {
    let folder = prepared();
    let wild = [
        "optimizer.learning_rate=1e38",
        "optimizer.warmup=0",
        "optimizer.clip=0",
        "optimizer.save_every=1",
    ];
    for (steps, _, ended) in train_on_ranks(2, |_| config(folder.path(), "run", &wild), never) {
        assert!(ended.unwrap_err().to_string().contains("restored the checkpoint at step 1"));
        assert_eq!(
            steps.iter().map(|step| step.skipped).collect::<Vec<_>>(),
            [false, true, true, true]
        );
    }
}

#[cfg(not(feature = "mpi"))]
#[test]
fn a_program_without_mpi_does_not_do_the_work_of_one_rank_twice() {
    let folder = prepared();
    let program = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_irnext"));
        command.current_dir(folder.path()).args(arguments);
        let output = command
            .env("OMPI_COMM_WORLD_SIZE", "2")
            .env("OMPI_COMM_WORLD_RANK", "1")
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let commands: [&[&str]; 3] = [
        &["train", "run.toml"],
        &["eval", "--input", "hazy", "--target", "clear"],
        &["restore", "--task", "dehaze", "hazy", "-o", "restored"],
    ];
    for arguments in commands {
        let (success, said) = program(arguments);
        assert!(
            !success && said.contains("one of 2 processes") && said.contains("--features mpi"),
            "{said}"
        );
    }
    assert!(!folder.path().join("run").exists() && !folder.path().join("restored").exists());
    let (success, said) = program(&["train", "run.toml", "--show"]);
    assert!(success, "{said}");
}
