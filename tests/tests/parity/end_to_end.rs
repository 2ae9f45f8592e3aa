//! From image to image: `e2e_<weights>_1x<H>x<W>.safetensors`, of sides that need padding and of
//! sides that do not.

use crate::reference::{Folder, Tensors, folders};
use crate::report::{Report, farthest, largest};
use crate::{F64, MULTIPLE};
use engine::{DType, Padding, Tensor};
use irnext::image::{Image, Photo};
use irnext::metrics::{PooledSize, Ssim, View, psnr};
use irnext::model::Model;
use irnext::restore::{restore, to_image};
use nn::Context;

#[test]
fn images() {
    for folder in folders() {
        let names = folder.stems("e2e_", "safetensors");
        assert!(!names.is_empty(), "{} has no images", folder.name);
        for name in names {
            let mut report = Report::new(format!("{}, {name}", folder.name));
            compare(&folder, &name, &mut report);
            report.finish();
        }
    }
}

fn compare(folder: &Folder, name: &str, report: &mut Report) {
    let weights = name.strip_prefix("e2e_").and_then(|name| name.rsplit_once('_'));
    let (weights, _) = weights.unwrap_or_else(|| panic!("{name}: not e2e_<weights>_<sizes>"));
    let (model, file) = (folder.model(weights), folder.tensors(name));
    let input = &file["input"];
    // The program's own way, which limits to [0, 1].
    let restored = restore(&model.freeze(), &to_image(input).unwrap()).unwrap();
    let torch_off = file.get("out64").map_or(1e-6, |out| {
        farthest(&file["out"].to_f64_vec().unwrap(), &out.to_f64_vec().unwrap())
    });
    for (key, expected) in &file {
        match key.as_str() {
            "input" | "label" => (),
            "out64" => {
                report.compare("out, f64", key, &predict(&model, input, DType::F64), expected, F64)
            }
            "out" => {
                let off = farthest(
                    &predict(&model, input, DType::F32).to_f64_vec().unwrap(),
                    &expected.to_f64_vec().unwrap(),
                );
                report.check("out, f32", key, expected.numel(), off, MULTIPLE * torch_off);
                let limited = to_image(expected).unwrap().clamp();
                let off = farthest(&as_f64(restored.data()), &as_f64(limited.data()));
                report.check("restored image", key, expected.numel(), off, MULTIPLE * torch_off);
            }
            "saved_u8" => saved(report, &file, &restored, torch_off),
            _ if key.starts_with("official_") => score(report, &file, key, &restored),
            _ if key.starts_with("geometry.") => {
                let found = geometry(&model, input).map(|number| number as f64);
                report.check(
                    "geometry",
                    key,
                    found.len(),
                    farthest(&found, &expected.to_f64_vec().unwrap()),
                    0.5,
                );
            }
            _ => report.fail(format!("{key}: nothing here computes this")),
        }
    }
}

/// Padded by reflection to sides that the network takes, predicted at full size, cut back.
fn predict(model: &Model, input: &Tensor, dtype: DType) -> Tensor {
    let [_, _, h, w] = input.dims4("input").unwrap();
    let [_, _, bottom, right, ..] = geometry(model, input);
    let padding = Padding { bottom, right, ..Padding::default() };
    let padded = input.to_dtype(dtype).unwrap().pad_reflect(padding).unwrap();
    let params = model.params.to_dtype(dtype).unwrap();
    let [_, _, out] = model.network.forward(&Context::inference(&params), &padded).unwrap();
    out.narrow(2, 0, h).unwrap().narrow(3, 0, w).unwrap()
}

/// The numbers that the published evaluation derives from the sides: H, W, rows and columns of
/// padding, the ratio by which images are shrunk for SSIM, and the size that this gives.
fn geometry(model: &Model, input: &Tensor) -> [usize; 7] {
    let [_, _, h, w] = input.dims4("input").unwrap();
    let PooledSize { raised, ratio, pooled } = PooledSize::of([h, w]);
    let padding = |side: usize| model.config.side_for(side) - side;
    [raised[0], raised[1], padding(h), padding(w), ratio, pooled[0], pooled[1]]
}

/// The 8-bit image: PyTorch's own output rounds to its numbers exactly in a file of ours; and so
/// does our output, but where the exact one is so near to the middle between two numbers that
/// PyTorch's f32 may fall to either side.
fn saved(report: &mut Report, file: &Tensors, restored: &Image, torch_off: f64) {
    let expected = to_image(&file["saved_u8"]).unwrap();
    let expected = expected.data();
    let bytes = |image: &Image| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("saved.png");
        Photo::new(image.clone()).write(&path).unwrap();
        Photo::read(&path)
            .unwrap()
            .image()
            .data()
            .iter()
            .map(|value| (value * 255.0).round())
            .collect::<Vec<f32>>()
    };
    let theirs = bytes(&to_image(&file["out"]).unwrap().clamp());
    let differ = theirs.iter().zip(expected).filter(|(a, b)| a != b).count();
    report.check("8 bits of their output", "saved_u8", expected.len(), differ as f64, 0.5);

    let exact = to_image(file.get("out64").unwrap_or(&file["out"])).unwrap().clamp();
    let (mut differ, mut open) = (0, 0);
    for ((ours, expected), exact) in bytes(restored).iter().zip(expected).zip(exact.data()) {
        let to_middle = (f64::from(*exact) * 255.0).fract() - 0.5;
        if to_middle.abs() <= 255.0 * MULTIPLE * torch_off && (ours - expected).abs() <= 1.0 {
            open += usize::from(ours != expected);
        } else {
            differ += usize::from(ours != expected);
        }
    }
    let key = format!("saved_u8 ({open} more are within f32's rounding of a middle)");
    report.check("8 bits of ours", &key, expected.len(), f64::from(differ as u32), 0.5);
}

/// PSNR and SSIM as the published evaluation defines them, of our image.
fn score(report: &mut Report, file: &Tensors, key: &str, restored: &Image) {
    let label = to_image(&file["label"]).unwrap();
    let expected = file[key].to_f64_vec().unwrap();
    let found = match key.trim_end_matches("64") {
        "official_psnr" => psnr(restored, &label, View::Rgb).unwrap(),
        "official_ssim" => Ssim::Downscaled.score(restored, &label, View::Rgb).unwrap(),
        _ => return report.fail(format!("{key}: nothing here computes this")),
    };
    // Images are f32 here, whatever the reference was computed in. An SSIM computed in f32 has
    // rounding, magnified in flat areas.
    let limit = if key == "official_ssim" { 5e-5 } else { 1e-6 };
    report.check("scores", key, 1, (found - expected[0]).abs() / largest(&expected), limit);
}

fn as_f64(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}
