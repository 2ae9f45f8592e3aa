//! `irnext-worker` on the line protocol of `peers/worker.py`: what `peers/run.py` relies on.

use nn::weights::WeightFile;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn worker(arguments: &[&str], lines: &str) -> Output {
    let mut worker = Command::new(env!("CARGO_BIN_EXE_irnext-worker"));
    let worker =
        worker.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut worker = worker.spawn().unwrap();
    // One that has ended already reads nothing; its output says why.
    let _ = worker.stdin.take().unwrap().write_all(lines.as_bytes());
    worker.wait_with_output().unwrap()
}

fn said(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(Into::into).collect()
}

fn output_of(path: &Path) -> Vec<f64> {
    WeightFile::read(path).unwrap().tensors["output"].to_f64_vec().unwrap()
}

#[test]
fn a_prediction_and_losses() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    // Padded to sides of 64.
    assert!(
        worker(&["make", "--n", "0", "--width", "8", "--size", "2x40x64", path], "")
            .status
            .success()
    );
    let output = |name: &str| format!("{path}/{name}.safetensors");
    for (task, numbers) in [("infer", 2 * 3 * 64 * 64), ("train", 3)] {
        let lines = format!("warm\nrun\nrun\noutput {}\nmemory\n", output(task));
        let said = said(&worker(&["serve", "--threads", "2", task, path], &lines));
        assert!(said.len() == 6 && said[0].starts_with("ready ") && said[4] == "ok", "{said:?}");
        assert!([1, 2, 3, 5].iter().all(|&i| said[i].parse::<f64>().is_ok()), "{said:?}");
        assert_eq!(output_of(Path::new(&output(task))).len(), numbers);
    }
    // A LAM that is the identity, or a BatchNorm that changes nothing, would hide mistakes.
    let weights = WeightFile::read(&folder.path().join("weights.safetensors")).unwrap().tensors;
    for name in ["lamb_l", "lamb_h", "inside_all", "bn.running_mean", "bn.bias"] {
        let name = format!("Encoder.0.layers.0.main.1.dynas.0.{name}");
        assert!(weights[&name].to_f64_vec().unwrap().iter().all(|&v| v != 0.0), "{name}");
    }
    // The weights move by Adam's rate.
    let losses = output_of(Path::new(&output("train")));
    assert!(
        losses
            .windows(2)
            .all(|pair| pair[0] != pair[1] && (pair[0] - pair[1]).abs() < 0.1 * pair[0]),
        "{losses:?}"
    );
}

#[test]
fn an_error_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let missing = worker(&["serve", "--threads", "1", "infer", path], "");
    assert!(!missing.status.success());
    let said = said(&missing);
    assert!(
        said.len() == 1 && said[0].starts_with("error ") && said[0].contains("weights.safetensors"),
        "{said:?}"
    );
    for size in ["2x64", "0x64x64", "1x64x64x", "1x64x64x2"] {
        let refused = worker(&["make", "--n", "0", "--width", "8", "--size", size, path], "");
        assert!(
            !refused.status.success()
                && String::from_utf8_lossy(&refused.stderr).contains("4x256x256"),
            "{size}"
        );
    }
}
