//! The trampolines as a program meets them, on a machine with a driver or without. Before loading
//! there never is one. All in one test, since loading is for the whole process.

// A trampoline is called as `cust` does it, through a declaration of its own.
#![allow(unsafe_code)]
// On other platforms there are no trampolines.
#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use cuda_driver::Error;
use std::ffi::{CStr, c_char};
use std::ptr;

const STUB_LIBRARY: i32 = 34;

// SAFETY: the signatures are those of `cuda.h`; the references stand for pointers that one value is
// written through.
unsafe extern "C" {
    safe fn cuDriverGetVersion(version: &mut i32) -> i32;
    safe fn cuGetErrorString(code: i32, text: &mut *const c_char) -> i32;
}

#[test]
fn trampolines_answer_before_loading_and_after() {
    let mut version = 0;
    assert_eq!(cuDriverGetVersion(&mut version), STUB_LIBRARY);
    assert_eq!(version, 0);

    let mut text = ptr::null();
    assert_eq!(cuGetErrorString(100, &mut text), 0);
    // SAFETY: the call returned success, so the text is there and ends in a zero.
    assert_eq!(unsafe { CStr::from_ptr(text) }, c"the CUDA driver is not loaded");

    let loaded = cuda_driver::load();
    assert_eq!(cuda_driver::load(), loaded, "the second call says what the first said");
    let code = cuDriverGetVersion(&mut version);
    match loaded {
        Ok(()) => {
            assert_eq!(code, 0);
            let (major, minor) = cuda_driver::driver_version().unwrap();
            assert_eq!((version / 1000, version % 1000 / 10), (major as i32, minor as i32));
        }
        Err(error) => {
            assert!(matches!(error, Error::NoDriver { .. }));
            let message = error.to_string();
            assert!(message.contains("libcuda.so.1") && message.contains("525"), "{message}");
            assert_eq!(code, STUB_LIBRARY);
            assert_eq!(cuda_driver::driver_version(), Err(error.clone()));
            assert_eq!(cuda_driver::devices(), Err(error.clone()));
            assert_eq!(cuda_driver::probe(0), Err(error));
        }
    }

    for code in [i32::MIN, -1, 0, 1, 34, 100, 999, 1_000_000, i32::MAX] {
        assert!(!cuda_driver::describe(code).is_empty());
    }
    if let Ok(count) = cuda_driver::devices() {
        for index in 0..count {
            assert!(cuda_driver::probe(index).unwrap().memory > 0);
        }
        for index in [count, usize::MAX] {
            assert!(matches!(
                cuda_driver::probe(index),
                Err(Error::Refused { call: "cuDeviceGet", .. })
            ));
        }
    }
}
