//! Scores of photographs against those that scikit-image, BasicSR and pytorch_msssim give for the
//! same files.
//!
//! The files are not part of the repository: `IRNEXT_REFERENCE` names their folder, and without it
//! the test says that it was skipped.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::ssim::PooledSize;
use super::{Ssim, View, mae, psnr};
use crate::image::{Image, Photo};

fn folder() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference");
    std::env::var_os("IRNEXT_REFERENCE").map_or_else(default, PathBuf::from)
}

#[test]
fn agrees_with_the_libraries_that_papers_use() {
    let folder = folder();
    let path = folder.join("metrics.json");
    if !path.is_file() {
        println!("skipped: there is no {}", path.display());
        return;
    }
    let scores: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    // Entries that begin with "_" are comments.
    let pairs = scores.as_object().unwrap().iter();
    let pairs: Vec<_> = pairs.filter(|(name, _)| !name.starts_with('_')).collect();
    assert!(!pairs.is_empty());
    for (name, scores) in pairs {
        let read =
            |end| Photo::read(folder.join(format!("metrics/{name}_{end}.png"))).unwrap().image();
        compare(name, scores, &read("in"), &read("gt"));
    }
}

fn compare(name: &str, scores: &Value, a: &Image, b: &Image) {
    let psnr = |view| psnr(a, b, view).unwrap();
    let ssim = |variant: Ssim, view| variant.score(a, b, view).unwrap();
    let mut unseen: Vec<String> = scores.as_object().unwrap().keys().cloned().collect();
    let mut expect = |key: &str, found: f64, tolerance: f64| {
        // "a.b" is the key b in the object under the key a.
        let expected = key.split('.').fold(scores, |value, key| &value[key]).as_f64();
        let expected = expected.unwrap_or_else(|| panic!("{name} has no {key}"));
        let off = (found - expected).abs();
        println!("{name} {key}: {found} ({off:.1e} off)");
        assert!(off <= tolerance, "{name} {key}: {found}, not {expected}");
        unseen.retain(|unseen| Some(unseen.as_str()) != key.split('.').next());
    };
    expect("h", a.height as f64, 0.0);
    expect("w", a.width as f64, 0.0);
    // 8-bit values are whole numbers, and agree to rounding in f64; values that the libraries or
    // our images hold in f32, to that.
    expect("psnr_skimage_u8", psnr(View::Rgb8), 1e-11);
    expect("psnr_skimage_f32", psnr(View::Rgb), 1e-6);
    expect("ssim_skimage_u8_dr255", ssim(Ssim::Gaussian, View::Rgb8), 1e-11);
    expect("ssim_basicsr_rgb", ssim(Ssim::Gaussian, View::Rgb8), 1e-11);
    expect("ssim_skimage_f64_dr1", ssim(Ssim::Gaussian, View::Rgb), 1e-7);
    expect("ssim_skimage_f64_dr1_samplecov", ssim(Ssim::GaussianSample, View::Rgb), 1e-7);
    expect("ssim_skimage_uniform7_dr255", ssim(Ssim::Uniform, View::Rgb8), 1e-11);
    expect("ssim_pytorch_msssim_f64", ssim(Ssim::Msssim, View::Rgb), 1e-8);
    // In f32 a variance is the remainder of a difference of means: 1e-7 of them, beside (0.03)².
    expect("ssim_pytorch_msssim_f32", ssim(Ssim::Msssim, View::Rgb), 5e-5);
    expect("y_basicsr_psnr", psnr(View::Luma), 1e-11);
    expect("y_basicsr_ssim", ssim(Ssim::Gaussian, View::Luma), 1e-11);
    expect("y_ssim_skimage", ssim(Ssim::Gaussian, View::Luma), 1e-11);
    expect("y_ssim_pytorch_msssim", ssim(Ssim::Msssim, View::Luma), 1e-11);
    expect("y_matlab_rounded_psnr", psnr(View::Luma8), 1e-11);
    expect("y_matlab_rounded_ssim", ssim(Ssim::Gaussian, View::Luma8), 1e-11);
    let difference = mae(a, b, View::Rgb).unwrap() - mae(a, b, View::Rgb8).unwrap();
    assert!(difference.abs() < 1e-8, "{name}: {difference}");

    // The published evaluation, in f32. It pads the network's input, and shrinks the scored images.
    let PooledSize { raised, ratio, pooled } = PooledSize::of([a.height, a.width]);
    let [width, height] = [a.width, a.height].map(|side| side.next_multiple_of(32));
    let padded = a.pad_reflect(width, height);
    for (key, found) in [
        ("H", raised[0]),
        ("W", raised[1]),
        ("padh", padded.height - a.height),
        ("padw", padded.width - a.width),
        ("down_ratio", ratio),
        ("pool_h", pooled[0]),
        ("pool_w", pooled[1]),
    ] {
        expect(&format!("official_eval.{key}"), found as f64, 0.0);
    }
    expect("official_eval.psnr", psnr(View::Rgb), 2e-5);
    expect("official_eval.ssim", ssim(Ssim::Downscaled, View::Rgb), 5e-5);
    assert!(unseen.is_empty(), "{name}: no check of {unseen:?}");
}
