use super::features::FIGURES;
use super::fit::{LabeledFeatures, fit};
use super::*;
use crate::compute::Compute;
use crate::data::image_files;
use crate::degrade::{Look, Task, degrade, pair};
use crate::image::Photo;
use crate::restorer::{Outcome, Restorer};
use engine::Rng;
use std::path::Path;

/// The photographs that the classifier was not fitted to.
fn held_back() -> Vec<Image> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/samples/clean");
    image_files(&folder).unwrap().iter().map(|file| Photo::read(file).unwrap().image()).collect()
}

/// Seeds of the degradations below.
const SEEDS: u64 = 8;

/// How many of the 24 pictures of each task must be recognized and acted on.
const RIGHT: [(Task, usize); 5] = [
    (Task::Dehaze, 18),
    (Task::Derain, 20),
    (Task::Desnow, 22),
    (Task::Deblur, 10),
    (Task::Defocus, 18),
];

#[test]
fn most_degradations_of_held_back_photographs_are_recognized() {
    let clear = held_back();
    let mut wrong = Vec::new();
    for (task, least) in RIGHT {
        let mut found = [0; CLASSES.len() + 1];
        for (index, photograph) in clear.iter().enumerate() {
            for seed in 0..SEEDS {
                let image = degrade(task, photograph, &mut Rng::at(seed, 0, index as u64));
                let classification = classify(&image).unwrap();
                let unsure =
                    classification.likeliest().is_some() && classification.task().is_none();
                let place =
                    CLASSES.iter().position(|class| *class == classification.likeliest()).unwrap();
                found[if unsure { CLASSES.len() } else { place }] += 1;
            }
        }
        let right = found[CLASSES.iter().position(|class| *class == Some(task)).unwrap()];
        println!(
            "{task}: {:?} and unsure {}",
            CLASSES.map(class_name).into_iter().zip(found).collect::<Vec<_>>(),
            found[6]
        );
        if right < least {
            wrong.push(format!("{task}: {right} of {}", clear.len() as u64 * SEEDS));
        }
    }
    assert!(wrong.is_empty(), "fewer than promised are classified correctly: {wrong:?}");
}

#[test]
fn clear_photographs_are_left_alone_at_any_size() {
    for photograph in held_back() {
        for percent in [100, 85, 70, 50] {
            let image = photograph
                .resampled(photograph.width * percent / 100, photograph.height * percent / 100);
            let classification = classify(&image).unwrap();
            assert_eq!(classification.task(), None, "{percent} %: {classification}");
        }
    }
}

#[test]
fn images_of_any_size_are_classified() {
    let shades: [fn(usize, usize) -> [f32; 3]; 4] = [
        |_, _| [0.0; 3],
        |_, _| [1.0; 3],
        |x, y| [((x * 7 + y * 3) % 11) as f32 / 11.0; 3],
        |x, y| [(x % 2) as f32, (y % 2) as f32, f32::NAN],
    ];
    for (width, height) in
        [(0, 0), (1, 1), (3, 500), (500, 3), (64, 64), (65, 129), (1, 4000), (1700, 1300)]
    {
        for shade in shades {
            let image = Image::from_fn(width, height, shade);
            let features = Features::of(&image);
            assert!(features.0.iter().all(|v| v.is_finite()), "{width}×{height}: {features:?}");
            let sum: f64 = classify(&image).unwrap().probabilities.iter().sum();
            assert!((sum - 1.0).abs() < 1e-9, "{width}×{height}: {sum}");
        }
    }
}

#[test]
fn large_pictures_are_looked_at_shrunk() {
    let small = Image::from_fn(1200, 900, |x, y| {
        [x as f32 / 1200.0, ((x / 9 + y / 5) % 2) as f32, y as f32 / 900.0]
    });
    let large = Image::from_fn(3600, 2700, |x, y| small.at(x / 3, y / 3));
    let (a, b) = (Features::of(&small), Features::of(&large));
    for ((a, b), (figure, ..)) in a.0.iter().zip(b.0).zip(FIGURES) {
        assert!((a - b).abs() < 0.02, "{figure}: {a} {b}");
    }
}

#[test]
fn figures_do_not_depend_on_threads() {
    let image = degrade(Task::Derain, &held_back()[0], &mut Rng::new(3));
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| Features::of(&image))
    };
    assert_eq!(with(1), with(3));
}

#[test]
fn a_classifier_is_read_as_it_was_written_and_a_damaged_one_is_not() {
    let shipped = Classifier::shipped().unwrap();
    let text = shipped.write();
    assert_eq!(&Classifier::parse(&text).unwrap(), shipped);
    for (damaged, complaint) in [
        (text.replace("\nbias", "\nbiase"), "\"bias\""),
        (text.replace("dark channel\t", "dark channel\tx"), "dark channel: a mean"),
        (text.lines().take(9).collect::<Vec<_>>().join("\n"), "row 9"),
        (String::new(), "row 1"),
        (text.replace("\nbias\t0.00000\t1.00000", "\nbias\t0.00000\t-1.00000"), "above 0"),
        (text.replace("\nbias\t0.00000\t1.00000", "\nbias\t0.00000"), "6 weights"),
    ] {
        let said = Classifier::parse(&damaged).unwrap_err();
        assert!(said.contains(complaint), "{said}");
    }
}

#[test]
fn fitting_finds_what_tells_classes_apart() {
    // Two figures tell; the others are noise.
    let mut rng = Rng::new(5);
    let mut sample = |class: usize| {
        let mut figures = std::array::from_fn(|_| rng.normal());
        match class {
            1 => figures[3] += 3.0,
            5 => figures[20] -= 3.0,
            _ => {}
        }
        LabeledFeatures { class, features: Features(figures) }
    };
    let mut samples =
        |count: usize| (0..count).map(|i| sample([0, 1, 5][i % 3])).collect::<Vec<_>>();
    let fitted = fit(&samples(600));
    let right = |sample: &&LabeledFeatures| {
        fitted.judge(&sample.features).likeliest() == CLASSES[sample.class]
    };
    let others = samples(300);
    assert!(others.iter().filter(right).count() > 240, "{}", others.iter().filter(right).count());
    let mut figures = [0.0; FIGURES.len()];
    figures[3] = 4.0;
    let classification = fitted.judge(&Features(figures));
    assert_eq!(
        (classification.task(), classification.reasons[0]),
        (Some(Task::Dehaze), FIGURES[3].1),
        "{classification}"
    );
}

fn classification(probabilities: [f64; 6]) -> Classification {
    Classification { probabilities, reasons: vec!["colors are pale"], small: false }
}

#[test]
fn unlikely_classes_are_not_acted_on() {
    let half = classification([0.2, 0.55, 0.25, 0.0, 0.0, 0.0]);
    assert_eq!((half.likeliest(), half.task()), (Some(Task::Dehaze), None));
    let sure = classification([0.1, 0.0, 0.9, 0.0, 0.0, 0.0]);
    assert_eq!((sure.task(), sure.strength()), (Some(Task::Derain), 1.0));
    assert_eq!(sure.to_string(), "rain, 90 % (colors are pale)");
    let clear = classification([0.9, 0.04, 0.0, 0.06, 0.0, 0.0]);
    assert_eq!((clear.task(), clear.to_string()), (None, "clear, 90 % (snow, 6 %)".into()));
    assert_eq!(clear.strength(), 0.0);
}

#[test]
fn haze_and_snow_ask_for_more_and_a_doubtful_restoration_is_mild() {
    let of = |class: usize, p: f64| {
        let mut probabilities = [1.0 - p, 0.0, 0.0, 0.0, 0.0, 0.0];
        probabilities[class] = p;
        classification(probabilities)
    };
    let acts = |class, p| of(class, p).task().is_some();
    assert!(acts(2, 0.62) && acts(4, 0.62) && acts(5, 0.62));
    assert!(!acts(1, 0.62) && !acts(3, 0.62) && !acts(3, 0.72) && acts(3, 0.8));
    for class in 1..CLASSES.len() {
        let strengths: Vec<f64> =
            (0..=100).map(|p| of(class, f64::from(p) / 100.0).strength()).collect();
        assert!(strengths.windows(2).all(|pair| pair[0] <= pair[1]), "{strengths:?}");
        let least = strengths.iter().find(|&&strength| strength > 0.0).unwrap();
        assert!((0.5..0.55).contains(least) && strengths[100] == 1.0, "{strengths:?}");
    }
}

#[test]
fn a_trial_tells_haze_and_leaves_what_is_likely_enough() {
    let after = |probabilities, veil| classification(probabilities).after_trial(veil);
    let sum = |judged: &Classification| judged.probabilities.iter().sum::<f64>();
    // Whatever the features say of haze, the trial knows better.
    for features in [[0.9, 0.1, 0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]] {
        let (clear, hazy) = (after(features, 0.03), after(features, 0.2));
        assert_eq!((clear.task(), hazy.task()), (None, Some(Task::Dehaze)), "{clear}; {hazy}");
        assert!((sum(&clear) - 1.0).abs() < 1e-12 && (sum(&hazy) - 1.0).abs() < 1e-12);
        assert_eq!(hazy.strength(), 1.0);
        assert!(hazy.to_string().contains("(a trial took a veil off its dark parts"), "{hazy}");
    }
    // Doubtful snow gives way to haze; likely rain keeps its probability beside it.
    let snow = after([0.2, 0.0, 0.1, 0.7, 0.0, 0.0], 0.2);
    assert_eq!(snow.task(), Some(Task::Dehaze), "{snow}");
    let rain = after([0.1, 0.1, 0.8, 0.0, 0.0, 0.0], 0.2);
    assert_eq!((rain.task(), rain.probability()), (Some(Task::Derain), 0.8), "{rain}");
    assert!(rain.probabilities[1] > 0.19 && (sum(&rain) - 1.0).abs() < 1e-12);
    // Without a veil, what the features took for haze is clear, and nothing else is likelier.
    let flat = after([0.0, 0.9, 0.0, 0.1, 0.0, 0.0], 0.0);
    assert!(flat.probabilities[0] > 0.8 && flat.probabilities[3] <= 0.1, "{flat:?}");
}

#[test]
fn the_trial_finds_haze_with_depth_and_none_in_clear_photographs() {
    let restorer = Restorer::detecting(Compute::default()).unwrap();
    let judged = |image: &Image| restorer.classify(&image.clone().into()).unwrap();
    let (mut found, mut of) = (0, 0);
    for photograph in held_back() {
        let clear = judged(&photograph);
        assert_ne!(clear.task(), Some(Task::Dehaze), "{clear}");
        for index in 0..6 {
            let mut rng = Rng::at(4, 0, index);
            let (hazy, clean) = pair(Task::Dehaze, &photograph, Look::Wild, &mut rng);
            // Some pairs are of clear pictures or of flat fields.
            if (hazy.data.iter().zip(&clean.data)).any(|(a, b)| (a - b).abs() > 0.1) {
                (found, of) =
                    (found + usize::from(judged(&hazy).task() == Some(Task::Dehaze)), of + 1);
            }
        }
    }
    println!("haze with depth is found in {found} of {of}");
    assert!(of >= 12 && 4 * found >= 3 * of, "{found} of {of}");
}

#[test]
fn the_map_of_haze_is_bright_where_a_veil_was_taken_off() {
    let restorer = Restorer::detecting(Compute::default()).unwrap();
    let clear = held_back()[1].resampled(400, 300);
    let veiled = |veil: f32| {
        let value = |v: f32| v * (1.0 - veil) + 0.85 * veil;
        Image::from_fn(400, 300, |x, y| clear.at(x, y).map(value))
    };
    let [none, some] = [0.0, 0.5].map(|veil| {
        let map = restorer.haze_map(&veiled(veil).into()).unwrap();
        assert_eq!((map.width, map.height), (400, 300));
        map.data.iter().sum::<f32>() / map.data.len() as f32
    });
    assert!(some > 0.5 && none < 0.4 * some, "{none} {some}");
}

#[test]
fn small_photographs_are_left_alone() {
    let hazy = degrade(Task::Dehaze, &held_back()[0], &mut Rng::at(0, 0, 0));
    let judged = |width, height| classify(&hazy.part(0, 0, width, height)).unwrap();
    assert_eq!(judged(400, 300).task(), Some(Task::Dehaze), "{}", judged(400, 300));
    for (width, height) in [(400, 299), (299, 384)] {
        let small = judged(width, height);
        assert_eq!((small.task(), small.likeliest()), (None, Some(Task::Dehaze)), "{small}");
        assert!(small.verdict().contains("less than 300 pixels a side"), "{}", small.verdict());
    }
}

#[test]
fn a_second_pass_over_a_result_finds_it_clear() {
    let restorer = Restorer::detecting(Compute::default()).unwrap();
    for name in ["colosseum-in-haze.jpg", "osprey-in-rain.jpg"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/samples");
        let photo = Photo::read(folder.join(name)).unwrap();
        let Outcome::Restored { photo: restored, .. } = restorer.restore(&photo).unwrap() else {
            panic!("{name} was left alone")
        };
        let again = restorer.classify(&restored.pixels).unwrap();
        assert_eq!(again.task(), None, "{name}: {again}");
    }
}
