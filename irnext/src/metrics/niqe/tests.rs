//! Scores beside those of BasicSR's functions (`basicsr/metrics/niqe.py`, NumPy 2.4, SciPy 1.17)
//! for the same pictures: in f64, with MATLAB's `imresize` instead of OpenCV's, and the difference
//! to the mean taken for 0 below 1e-9.

use super::*;

/// A number from 0 to 255 that looks random.
fn hash(x: u64, y: u64, seed: u64) -> u64 {
    let mixed = (x * 374_761_393 + y * 668_265_263 + seed * 2_246_822_519) & 0xffff_ffff;
    let mixed = ((mixed ^ (mixed >> 13)) * 1_274_126_177) & 0xffff_ffff;
    (mixed ^ (mixed >> 16)) & 255
}

/// Random numbers, `cell` pixels apart, and between them what lies between.
fn smooth(x: u64, y: u64, cell: u64, seed: u64) -> u64 {
    let ([x, along], [y, down]) = ([x / cell, x % cell], [y / cell, y % cell]);
    let row = |y| hash(x, y, seed) * (cell - along) + hash(x + 1, y, seed) * along;
    (row(y) * (cell - down) + row(y + 1) * down) / (cell * cell)
}

/// A value of 0 to 255 of a colored texture of several sizes, with some noise.
fn texture(x: usize, y: usize, channel: usize, noise: u64) -> u8 {
    let (x, y, seed) = (x as u64, y as u64, channel as u64);
    let value = 4 * smooth(x, y, 64, seed)
        + 2 * smooth(x, y, 16, seed)
        + smooth(x, y, 5, 9)
        + noise * hash(x, y, 7 + seed);
    (value / (7 + noise)) as u8
}

fn picture(width: usize, height: usize, f: impl Fn(usize, usize, usize) -> u8) -> Image {
    Image::from_fn(width, height, |x, y| [0, 1, 2].map(|c| f32::from(f(x, y, c)) / 255.0))
}

fn assert_scores(image: &Image, gray: f64, luma: f64) {
    for (niqe, expected) in [(Niqe::Gray, gray), (Niqe::Luma, luma)] {
        let found = niqe.score(image).unwrap();
        println!("{}x{} {niqe:?}: {found}", image.width, image.height);
        assert!((found / expected - 1.0).abs() < 1e-9, "{niqe:?}: {found}, not {expected}");
    }
}

#[test]
fn textures_of_any_size() {
    for (size, noise, gray, luma) in [
        ((288, 192), 1, 20.230_570_939_384_055, 21.052_857_557_657_198),
        ((395, 250), 0, 18.837_843_575_441_287, 19.417_403_417_564_04),
        ((211, 301), 4, 38.143_124_535_654_85, 37.947_318_460_845_08),
    ] {
        let image = picture(size.0, size.1, |x, y, c| texture(x, y, c, noise));
        assert_scores(&image, gray, luma);
    }
}

/// The features of flat blocks do not exist, but for a shape.
#[test]
fn flat_blocks() {
    let white = picture(300, 290, |x, y, c| if y < 100 { 255 } else { texture(x, y, c, 1) });
    assert_scores(&white, 23.724_797_776_084_614, 23.052_138_582_599_746);
}

/// On a slope the mean is the pixel itself, and rounding would decide on signs: without the limit
/// it is 14.05 and 13.41.
#[test]
fn slopes() {
    let ramp = picture(300, 290, |x, y, c| {
        if (30..200).contains(&x) && (40..160).contains(&y) { x as u8 } else { texture(x, y, c, 1) }
    });
    assert_scores(&ramp, 13.618_875_703_679_262, 13.417_997_626_884_974);
}

#[test]
fn clipped_highlights_and_shadows() {
    let clipped = picture(480, 200, |x, y, c| {
        let value = texture(x, y, c, 1);
        let stretched = (3 * i32::from(value) - 250).clamp(0, 255) as u8;
        if (150..420).contains(&x) { stretched } else { value }
    });
    assert_scores(&clipped, 15.158_945_628_873_697, 14.864_964_603_537_791);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let image = picture(395, 290, |x, y, c| texture(x, y, c, 1));
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| Niqe::Gray.score(&image).unwrap())
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn noise_and_blur_are_further_from_clean_photographs() {
    let photo = |name: &str| {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/samples/clean");
        crate::image::Photo::read(folder.join(name)).unwrap().image()
    };
    for name in ["casa-mila.jpg", "perched-osprey.jpg"] {
        let clean = photo(name);
        let mut rng = engine::Rng::new(1);
        let mut noisy = clean.clone();
        noisy.data.iter_mut().for_each(|value| *value += 0.1 * rng.normal() as f32);
        let blurred = clean.shrink(4).resampled(clean.width, clean.height);
        let [clean, noisy, blurred] =
            [clean, noisy, blurred].map(|image| Niqe::Gray.score(&image).unwrap());
        println!("{name}: {clean:.3}, with noise {noisy:.3}, blurred {blurred:.3}");
        assert!(clean < 4.0 && noisy > clean + 1.0 && blurred > clean + 1.0);
    }
}

#[test]
fn images_without_a_score_are_errors() {
    let too_few = |width, height, blocks| {
        let image = picture(width, height, |x, y, c| texture(x, y, c, 1));
        let error = Niqe::Gray.score(&image).unwrap_err();
        assert_eq!(error, Error::TooFewBlocks { blocks, width, height });
        assert!(error.to_string().contains(&format!("{width}x{height}")), "{error}");
    };
    for (width, height) in [(0, 0), (1, 1), (95, 1000), (1000, 95)] {
        too_few(width, height, 0);
    }
    too_few(96, 96, 1);
    too_few(191, 191, 1);
    let texture = |x, y, c| texture(x, y, c, 1);
    assert!(Niqe::Gray.score(&picture(192, 96, texture)).is_ok());
    // Flat ones, and one with detail in one block only.
    let half = picture(192, 96, |x, y, c| if x < 96 { texture(x, y, c) } else { 40 });
    for (image, blocks) in [(picture(400, 300, |_, _, _| 128), 0), (half, 1)] {
        let (width, height) = (image.width, image.height);
        let error = Err(Error::TooFewBlocks { blocks, width, height });
        assert_eq!(Niqe::Gray.score(&image), error);
    }
    let mut broken = picture(192, 96, texture);
    broken.data[1700] = f32::NAN;
    assert_eq!(Niqe::Gray.score(&broken), Err(Error::NotANumber));
}

#[test]
fn values_beyond_black_and_white_are_limited() {
    let image = picture(288, 192, |x, y, c| texture(x, y, c, 1));
    let stretched = |by: f32| {
        let mut image = image.clone();
        image.data.iter_mut().for_each(|value| *value = (*value - 0.5) * 9.0 * by);
        Niqe::Gray.score(&image).unwrap()
    };
    assert_eq!(stretched(1e30), stretched(f32::INFINITY));
}

#[test]
fn halving_mirrors_the_border_and_keeps_the_mean() {
    let flat = halved(&[100; 96 * 4], 96);
    assert_eq!(flat, [100.0; 48 * 2]);
    // A single pixel in the corner counts twice, by the mirror.
    let mut corner = vec![0; 96 * 96];
    corner[0] = 255;
    let half = halved(&corner, 96);
    let one = |weights: &[f64]| weights.iter().sum::<f64>();
    let expected = |x: usize| [one(&[HALVING[0], HALVING[1]]), one(&[HALVING[2], HALVING[3]])][x];
    for (x, y) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
        assert_eq!(half[y * 48 + x], 255.0 * expected(x) * expected(y), "{x} {y}");
    }
}
