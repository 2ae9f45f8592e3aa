//! Compresses the built-in weights into the program.
//!
//! A weight file is mostly bf16. The second byte of each number has its sign and most of its
//! exponent, which a few values share; the first byte is noise. Apart, the second bytes compress to
//! two fifths, which takes three tenths off a file (`shipped.rs` puts the two together).

use miniz_oxide::deflate::compress_to_vec;
use std::path::Path;
use std::{env, fs, io};

const FILES: [&str; 5] = ["dehaze", "derain", "desnow", "deblur-motion", "deblur-defocus"];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let out = env::var("OUT_DIR").unwrap();
    for name in FILES {
        let path = format!("weights/{name}.safetensors");
        println!("cargo::rerun-if-changed={path}");
        let bytes = fs::read(&path)?;
        let of_place = |place| bytes.iter().skip(place).step_by(2);
        let planes: Vec<u8> = of_place(0).chain(of_place(1)).copied().collect();
        fs::write(Path::new(&out).join(name), compress_to_vec(&planes, 9))?;
    }
    Ok(())
}
