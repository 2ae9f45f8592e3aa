//! Tests of NCCL's library that need no group.

use super::*;

#[test]
fn without_the_library_the_message_says_what_to_do() {
    if driver::built_in().is_err() {
        return;
    }
    let message = open(Some("/nonexistent/libnccl.so.2".into())).err().unwrap().to_string();
    for part in [
        "nccl: NCCL 2.10 or later",
        "/nonexistent/libnccl.so.2",
        "pip install nvidia-nccl-cu12",
        VARIABLE,
    ] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    // A library that is another one.
    let message = open(Some("libc.so.6".into())).err().unwrap().to_string();
    assert!(message.contains("ncclGetVersion"), "{message}");
    assert!(supported((2, 10, 3)).is_ok() && supported((2, 27, 5)).is_ok());
    assert_eq!(supported((2, 9, 9)).unwrap_err(), "version 2.9.9 was found");
    assert!(supported((3, 0, 0)).is_err());
}

/// A test of NCCL itself that needs no GPU; `ENGINE_REAL_NCCL` names its library.
#[test]
fn the_real_library_has_what_is_called() {
    let Some(file) = std::env::var_os("ENGINE_REAL_NCCL") else { return };
    let library = open(Some(file)).unwrap();
    println!("NCCL {:?}", library.version().unwrap());
    let mut id = UniqueId([0; 128]);
    // SAFETY: the identity is written there.
    check(&library, "ncclGetUniqueId", unsafe { (library.ncclGetUniqueId)(&mut id) }).unwrap();
    assert!(id.0.iter().any(|&byte| byte != 0));
    assert!(library.describe(4).starts_with("invalid argument"), "{}", library.describe(4));
}
