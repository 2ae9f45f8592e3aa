//! Shows the linker the empty `libcuda` that the crate `cust` asks for, wherever this package is.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let package = std::env::var("CARGO_MANIFEST_DIR").expect("Cargo sets it");
    println!("cargo::rustc-link-search=native={package}/link/lib64");
}
