use super::*;

const KNOWN: Homography = Homography([1.002, 0.003, -1.3, -0.004, 0.999, 0.8, 1e-5, -2e-5, 1.0]);

/// Smooth waves about 0, by less than a half.
fn waves(x: f64, y: f64) -> [f64; 3] {
    [0.0, 1.0, 2.0].map(|c| {
        let fine =
            0.2 * (0.31 * x + 0.17 * y + c).sin() + 0.15 * (0.11 * x - 0.23 * y + 2.0 * c).sin();
        fine + 0.1 * (0.07 * x + 0.29 * y).cos()
    })
}

/// Gray with waves times `factor`, seen through a homography.
fn seen(width: usize, height: usize, through: Homography, factor: f64) -> Image {
    Image::from_fn(width, height, |x, y| {
        let (x, y) = through.apply(x as f64, y as f64);
        waves(x, y).map(|value| (factor * (0.5 + value)) as f32)
    })
}

/// The largest distance between where two homographies take the corners of a part of the plane.
fn apart(a: Homography, b: Homography, [left, top, right, bottom]: [f64; 4]) -> f64 {
    let corners = [(left, top), (right, top), (left, bottom), (right, bottom)];
    let distance = |(x, y)| {
        let ((ax, ay), (bx, by)) = (a.apply(x, y), b.apply(x, y));
        (ax - bx).hypot(ay - by)
    };
    corners.into_iter().map(distance).max_by(f64::total_cmp).unwrap_or(0.0)
}

fn reason(restored: &Image, truth: &Image) -> &'static str {
    match aligned(restored, truth) {
        Err(Error::Unaligned { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

/// The border distorts the found shift, if alike in OpenCV: so here the waves fade before it, and
/// all places lie inside.
#[test]
fn a_known_homography_is_recovered() {
    let (width, height) = (480, 360);
    let truth = Homography([0.985, 0.003, 1.3, -0.004, 0.98, 2.8, 1e-5, -2e-5, 1.0]);
    let seen = |through: Homography, factor: f64| -> Vec<f64> {
        let value = |i| {
            let (x, y) = through.apply((i % width) as f64, (i / width) as f64);
            let fading = (-((x - 240.0).powi(2) + (y - 180.0).powi(2)) / (2.0 * 72.0 * 72.0)).exp();
            factor * (0.5 + fading * waves(x, y)[0])
        };
        (0..width * height).map(value).collect()
    };
    let found =
        ecc::maximize(&seen(truth, 1.0), &seen(Homography::IDENTITY, 0.8), width, height).unwrap();
    let apart = apart(found, truth, [132.0, 72.0, 348.0, 288.0]);
    println!("{apart:.1e} pixels");
    assert!(apart < 1e-2, "{apart} pixels: {found:?}");
}

#[test]
fn alignment_brings_back_what_was_moved() {
    let truth = seen(240, 180, KNOWN, 1.0);
    let moved = seen(240, 180, Homography::IDENTITY, 0.9);
    assert!(psnr(&moved, &truth, View::Rgb8).unwrap() < 25.0);
    let scores = aligned(&moved, &truth).unwrap();
    assert!(scores.psnr > 45.0 && scores.ssim > 0.999, "{scores:?}");
}

#[test]
fn a_known_factor_is_recovered() {
    let image = seen(64, 64, Homography::IDENTITY, 0.8);
    let scores = aligned(&image, &seen(64, 64, Homography::IDENTITY, 1.0)).unwrap();
    assert!((scores.gain - 1.25).abs() < 1e-3, "{scores:?}");
}

#[test]
fn identical_images_stay_where_they_are() {
    let image = seen(80, 60, KNOWN, 1.0);
    let scores = aligned(&image, &image).unwrap();
    assert_eq!((scores.psnr, scores.ssim, scores.gain), (f64::INFINITY, 1.0, 1.0));
    assert!(
        apart(scores.homography, Homography::IDENTITY, [0.0, 0.0, 79.0, 59.0]) < 1e-9,
        "{scores:?}"
    );
}

/// What RSBlur's script gives for this pair with OpenCV 4.6 and scikit-image 0.24, the latter in
/// f64 as in its version 0.17. OpenCV's sums are in f32.
#[test]
fn agrees_with_opencv() {
    let truth = seen(192, 128, KNOWN, 1.0);
    let scores = aligned(&seen(192, 128, Homography::IDENTITY, 0.9), &truth).unwrap();
    let opencv = Homography([
        1.0019841194152832,
        0.002606927650049329,
        -1.261739730834961,
        -0.003645458957180381,
        0.9992467761039734,
        0.7435855269432068,
        1.1588600500544999e-05,
        -2.1635018129018135e-05,
        1.0,
    ]);
    let apart = apart(scores.homography, opencv, [0.0, 0.0, 191.0, 127.0]);
    let (psnr, ssim, gain) = (
        scores.psnr - 50.09184724818306,
        scores.ssim - 0.9996485032621266,
        scores.gain - 1.1083139,
    );
    println!("{apart:.1e} pixels, {psnr:.1e} dB, {ssim:.1e}, {gain:.1e}");
    assert!(
        apart < 2e-3 && psnr.abs() < 5e-3 && ssim.abs() < 1e-5 && gain.abs() < 1e-6,
        "{scores:?}"
    );
}

#[test]
fn threads_do_not_change_a_bit() {
    let (restored, truth) = (seen(90, 70, Homography::IDENTITY, 0.9), seen(90, 70, KNOWN, 1.0));
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| aligned(&restored, &truth).unwrap())
    };
    assert_eq!(with(1), with(5));
}

#[test]
fn images_without_common_structure_are_not_aligned() {
    let image = seen(40, 30, Homography::IDENTITY, 1.0);
    let flat = |value: f32| Image::from_fn(40, 30, |_, _| [value; 3]);
    for gray in [0.3, 1.0] {
        assert!(reason(&image, &flat(gray)).contains("one color"));
        assert!(reason(&flat(gray), &image).contains("one color"));
        assert!(reason(&flat(gray), &flat(gray)).contains("one color"));
    }
    assert!(reason(&image, &flat(0.0)).contains("one color"));
    assert!(reason(&flat(0.0), &image).contains("black"));
    assert!(reason(&flat(f32::NAN), &image).contains("not a number"));
    assert!(reason(&image, &flat(f32::NAN)).contains("not a number"));
    // The Jacobian of an image that only changes along x has no derivative along y.
    let stripes = Image::from_fn(40, 30, |x, _| [0.5 + 0.4 * (0.5 * x as f32).sin(); 3]);
    assert!(reason(&stripes, &stripes).contains("structure"));
    let negative = Image::from_fn(40, 30, |x, y| image.at(x, y).map(|value| 1.0 - value));
    assert!(reason(&negative, &image).contains("not correlated"));
}

#[test]
fn noise_gives_a_number_or_an_error() {
    for seed in 0..20 {
        let mut rng = engine::Rng::new(seed);
        let mut noise = || Image::from_fn(16, 12, |_, _| [0; 3].map(|_| rng.uniform() as f32));
        match aligned(&noise(), &noise()) {
            Ok(scores) => assert!(scores.psnr.is_finite() && scores.ssim.is_finite(), "{scores:?}"),
            Err(error) => assert!(matches!(error, Error::Unaligned { .. }), "{error}"),
        }
    }
}

#[test]
fn sizes_must_fit() {
    let small = seen(30, 10, Homography::IDENTITY, 1.0);
    assert_eq!(
        aligned(&small, &small),
        Err(Error::SmallerThanWindow { window: 11, width: 30, height: 10 })
    );
    assert_eq!(aligned(&small, &Image::new(10, 30)), Err(Error::Sizes((30, 10), (10, 30))));
    assert_eq!(aligned(&Image::new(0, 0), &Image::new(0, 0)), Err(Error::Empty));
    let least = seen(11, 11, Homography::IDENTITY, 1.0);
    assert_eq!(aligned(&least, &least).unwrap().ssim, 1.0);
}
