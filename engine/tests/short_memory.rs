//! Reading and making tensors where memory is short: an error that names the operation, and no
//! abort. Linux limits the memory of a process; the test runs itself in one that is limited.
#![cfg(target_os = "linux")]

use engine::{DType, Error, Result, Tensor};
use std::process::Command;

/// The limit, in KiB of addresses, and elements that fit into it once and not twice.
const LIMIT: usize = 400 << 10;
const BYTES: usize = 220 << 20;

#[test]
fn copies_that_do_not_fit_are_errors() {
    const NAME: &str = "copies_that_do_not_fit_are_errors";
    const LIMITED: &str = "ENGINE_TEST_LIMITED";
    if std::env::var_os(LIMITED).is_some() {
        return copies();
    }
    let status = Command::new("sh")
        .args(["-c", &format!("ulimit -v {LIMIT} && exec \"$0\" --exact {NAME}")])
        .arg(std::env::current_exe().unwrap())
        .envs([(LIMITED, "1"), ("RUST_TEST_THREADS", "1"), ("MALLOC_ARENA_MAX", "1")])
        .output()
        .unwrap();
    let [out, err] = [&status.stdout, &status.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(status.status.success() && out.contains("1 passed"), "{}: {out} {err}", status.status);
}

#[track_caller]
fn assert_short<T>(op: &'static str, found: Result<T>) {
    let error = found.err().expect("there is no memory for it");
    assert!(matches!(error, Error::Memory { op: Some(by), .. } if by == op), "{op}: {error}");
}

fn copies() {
    let x = Tensor::zeros(&[BYTES], DType::U8).unwrap();
    assert_short("to_vec", x.to_vec::<u8>());
    assert_short("to_f64_vec", x.to_f64_vec());
    assert_short("to_le_bytes", x.to_le_bytes());
    assert_short("copy", x.copy());
    drop(x);
    engine::memory::trim();
    let bytes = vec![0; BYTES];
    assert_short("from_le_bytes", Tensor::from_le_bytes(&bytes, &[BYTES / 8], DType::F64));
    assert_short("from_slice", Tensor::from_slice(&bytes, &[BYTES]));
    assert_short("from_nhwc", Tensor::from_nhwc(&bytes, [BYTES, 1, 1, 1]));
    drop(bytes);
    let numbers = vec![0.0; BYTES / 8];
    assert_short(
        "constant",
        Tensor::zeros(&[], DType::F64).unwrap().constant(&numbers, &[BYTES / 8]),
    );
}
