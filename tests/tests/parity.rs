//! The network against PyTorch's numbers of the published code.
//!
//! The numbers are data beside the checkout (`shared/reference`, or where `IRNEXT_REFERENCE` points); without them these
//! tests say so and pass.

use engine::{DType, Tape, Tensor};
use irnext::model::{LossConfig, Model, dual_domain};
use nn::weights::WeightFile;
use nn::{Context, Mode, Params};
use std::path::PathBuf;

fn reference(name: &str) -> Option<WeightFile> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/reference"));
    let path = std::env::var_os("IRNEXT_REFERENCE").map_or_else(beside, PathBuf::from).join(name);
    if !path.exists() {
        println!("skipped: there is no {}", path.display());
        return None;
    }
    Some(WeightFile::read(&path).unwrap())
}

/// The largest difference, relative to the largest value.
fn difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.shape(), b.shape());
    let (a, b) = (a.to_f64_vec(), b.to_f64_vec());
    let scale = b.iter().fold(1e-300f64, |m, v| m.max(v.abs()));
    a.iter().zip(&b).fold(0.0, |m, (a, b)| f64::max(m, (a - b).abs() / scale))
}

struct Case {
    model: Model,
    params: Params,
    file: WeightFile,
}

/// The published weights of `weights` in f64, and the numbers of `case`.
fn case(weights: &str, case: &str) -> Option<Case> {
    let (weights, file) = (reference(weights)?, reference(case)?);
    let (model, _) = Model::from_file("reference", weights).unwrap();
    let params = model.params.to_dtype(DType::F64).unwrap();
    Some(Case { model, params, file })
}

impl Case {
    fn get(&self, name: &str) -> Tensor {
        self.file.tensors[name].to_dtype(DType::F64).unwrap()
    }
}

const W8: &str = "weights_w8_num_res2.safetensors";

#[test]
fn outputs_in_use() {
    for name in ["case_w8_eval_1x96x64.safetensors", "case_w8_train_4x64x64.safetensors"] {
        let Some(case) = case(W8, name) else { return };
        let cx = Context::new(&case.params, Mode::Eval, None);
        let outputs = case.model.network.forward(&cx, &case.get("input")).unwrap();
        for (i, output) in outputs.iter().enumerate() {
            let expected = case.file.tensors.get(&format!("out64.eval.{i}")).expect("the f64 output");
            let off = difference(output, expected);
            assert!(off < 1e-9, "{name}: output {i} is off by {off:.1e}");
        }
    }
}

#[test]
fn losses_and_gradients_in_training() {
    // The number of whole gradients in the file; the second case keeps only samples of them.
    for (name, whole) in [("case_w8_train_4x64x64.safetensors", 222), ("case_w8_train_3x64x96.safetensors", 0)] {
        let Some(case) = case(W8, name) else { return };
        let tape = Tape::new();
        let cx = Context::training(&case.params, &tape);
        let outputs = case.model.network.forward(&cx, &case.get("input")).unwrap();
        let loss = dual_domain(&outputs, &case.get("label"), LossConfig::default()).unwrap();
        for (part, value) in [("pixel", &loss.spatial), ("fft", &loss.frequency), ("total", &loss.total)] {
            let expected = case.file.tensors[&format!("loss64.train.{part}")].to_f64_vec()[0];
            let value = value.item().unwrap();
            assert!((value - expected).abs() < 1e-9 * expected, "{name}: {part} loss {value}, expected {expected}");
        }
        let pass = cx.finish();
        let gradients = pass.gradients(tape.backward(&loss.total).unwrap());
        let mut compared = 0;
        for (entry, gradient) in case.params.entries().iter().zip(&gradients) {
            // A convolution's bias before a normalisation has no gradient but rounding.
            if entry.path.ends_with("main.3.main.0.bias") && entry.path.starts_with("SCM") {
                continue;
            }
            let Some(expected) = case.file.tensors.get(&format!("grad64.train.{}", entry.path)) else { continue };
            let off = difference(gradient.as_ref().expect("a gradient"), expected);
            assert!(off < 1e-8, "{name}: the gradient of {} is off by {off:.1e}", entry.path);
            compared += 1;
        }
        assert_eq!(compared, whole, "{name}");
        let mut after = case.params.clone();
        pass.update_buffers(&mut after).unwrap();
        for entry in after.entries() {
            if let Some(expected) = case.file.tensors.get(&format!("bn_after64.{}", entry.path)) {
                assert!(difference(&entry.value, expected) < 1e-9, "{name}: {}", entry.path);
            }
        }
    }
}
