//! What restoration was before networks, for each task, and the rule that weights which do not beat
//! it do not ship.
//!
//! Reading order: this file → `haze`, `rain`, `blur` (the methods, each with its requirements) →
//! `plane` (their filters) → `pairs` (the scored pairs) → `score`.
//!
//! - Without settings: every task with built-in weights, on photographs that no training
//!   saw, degraded here.
//! - `IRNEXT_PAIRS=DIR` adds real pairs: `DIR/sots_outdoor/{hazy,gt}`,
//!   `DIR/rain100l/{input,target}`, `DIR/gopro_seq/{input,target}`.
//! - `IRNEXT_PHOTOS=DIR` (clean photographs) chooses the methods' parameters again and fails if
//!   they are not the best of those tried.
//!
//! `cargo test -p tests --test baselines -- --nocapture` prints the tables.

mod blur;
mod haze;
mod pairs;
mod plane;
mod rain;
mod score;

use irnext::degrade::Task;
use irnext::image::Image;

/// A method without a network.
pub struct Method {
    /// The degradation it removes.
    pub task: Task,
    /// Its name in tables.
    pub name: &'static str,
    /// Makes of a degraded picture a better one, with two parameters.
    pub apply: fn(&Image, [f32; 2]) -> Image,
    /// The parameters that are used.
    pub chosen: [f32; 2],
    /// Those that were tried on synthetic pairs; none where the method's paper has them.
    pub tried: &'static [[f32; 2]],
}

/// Sizes of Wiener's kernels, and noise beside signal.
const KERNELS: &[[f32; 2]] = &[
    [1.0, 0.3],
    [1.0, 0.1],
    [1.0, 0.03],
    [1.5, 0.1],
    [1.5, 0.03],
    [2.0, 0.3],
    [2.0, 0.1],
    [2.0, 0.03],
    [3.0, 0.1],
    [4.0, 0.3],
];
/// Radii of the mask, and the amounts added.
const MASKS: &[[f32; 2]] = &[
    [1.0, 0.25],
    [1.0, 0.5],
    [1.0, 0.75],
    [1.0, 1.0],
    [2.0, 0.25],
    [2.0, 0.5],
    [2.0, 1.0],
    [3.0, 0.25],
    [3.0, 0.5],
    [5.0, 0.25],
];

/// All of them.
pub const METHODS: [Method; 9] = [
    Method {
        task: Task::Dehaze,
        name: "dark channel",
        apply: haze::dark_channel,
        chosen: [40.0, 1e-3],
        tried: &[],
    },
    Method {
        task: Task::Derain,
        name: "median across",
        apply: rain::across_the_streaks,
        chosen: [4.0, 0.0],
        tried: &[[2.0, 0.0], [3.0, 0.0], [4.0, 0.0], [5.0, 0.0], [6.0, 0.0], [3.0, 1.0]],
    },
    Method {
        task: Task::Derain,
        name: "guided layers",
        apply: rain::guided_layers,
        chosen: [32.0, 8.0],
        tried: &[
            [4.0, 3.0],
            [8.0, 3.0],
            [8.0, 5.0],
            [8.0, 8.0],
            [16.0, 5.0],
            [16.0, 8.0],
            [16.0, 12.0],
            [32.0, 8.0],
        ],
    },
    Method {
        task: Task::Desnow,
        name: "opening, median",
        apply: rain::opening,
        chosen: [3.0, 0.1],
        tried: &[
            [1.0, 0.1],
            [2.0, 0.1],
            [2.0, 0.2],
            [3.0, 0.1],
            [3.0, 0.2],
            [3.0, 0.3],
            [4.0, 0.2],
            [4.0, 0.3],
            [5.0, 0.3],
        ],
    },
    Method {
        task: Task::Desnow,
        name: "median",
        apply: rain::square_median,
        chosen: [7.0, 0.0],
        tried: &[[3.0, 0.0], [4.0, 0.0], [5.0, 0.0], [6.0, 0.0], [7.0, 0.0]],
    },
    Method {
        task: Task::Deblur,
        name: "unsharp",
        apply: blur::unsharp,
        chosen: [1.0, 0.5],
        tried: MASKS,
    },
    Method {
        task: Task::Deblur,
        name: "Wiener, line",
        apply: blur::wiener_line,
        chosen: [1.5, 0.1],
        tried: KERNELS,
    },
    Method {
        task: Task::Defocus,
        name: "unsharp",
        apply: blur::unsharp,
        chosen: [1.0, 0.75],
        tried: MASKS,
    },
    Method {
        task: Task::Defocus,
        name: "Wiener, disk",
        apply: blur::wiener_disk,
        chosen: [1.0, 0.1],
        tried: KERNELS,
    },
];

/// The methods for a task.
pub fn methods(task: Task) -> impl Iterator<Item = &'static Method> {
    const ALL: &[Method] = &METHODS;
    ALL.iter().filter(move |method| method.task == task)
}

#[test]
fn every_task_has_a_baseline() {
    assert!(Task::ALL.into_iter().all(|task| methods(task).count() > 0));
}

#[test]
fn built_in_weights_beat_their_baselines_on_the_samples() {
    for &task in &Task::ALL {
        score::Row::of(
            task,
            &format!("{task}, synthetic"),
            &pairs::samples(task),
            irnext::protocol::Protocol::Plain,
        )
        .print()
        .must_be_earned();
    }
}

#[test]
fn built_in_weights_beat_their_baselines_on_real_pairs() {
    let Some(folder) = std::env::var_os("IRNEXT_PAIRS") else {
        println!("skipped: IRNEXT_PAIRS names no folder with real pairs");
        return;
    };
    for set in pairs::real(folder.as_ref()) {
        score::Row::of(set.task, set.name, &set.pairs, set.protocol).print().must_be_earned();
    }
}

#[test]
fn parameters_are_the_best_of_those_tried() {
    let Some(folder) = std::env::var_os("IRNEXT_PHOTOS") else {
        println!("skipped: IRNEXT_PHOTOS names no folder with clean photographs");
        return;
    };
    let mut wrong = Vec::new();
    for method in METHODS.iter().filter(|method| !method.tried.is_empty()) {
        let pairs = pairs::synthetic(method.task, folder.as_ref());
        let gain = |parameters| score::mean_psnr(&pairs, |image| (method.apply)(image, parameters));
        let found: Vec<_> =
            method.tried.iter().map(|&parameters| (parameters, gain(parameters))).collect();
        println!(
            "{}, {}: {found:.2?}; degraded {:.2}",
            method.task,
            method.name,
            score::mean_psnr(&pairs, Image::clone)
        );
        let best = found.iter().fold(f64::MIN, |best, found| best.max(found.1));
        if !found.contains(&(method.chosen, best)) {
            wrong.push(format!("{}, {}: {:?}", method.task, method.name, method.chosen));
        }
    }
    assert!(wrong.is_empty(), "better ones were tried than {wrong:#?}");
}
