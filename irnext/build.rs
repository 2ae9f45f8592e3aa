//! Compresses the built-in weights into the program.
//!
//! A weight file is mostly bf16. Turned left by a bit, the second byte of each number is its
//! exponent, which a few values share; the first byte has the rest, which is noise. Apart, the
//! second bytes compress to a third, which takes three tenths off a file (`shipped.rs` puts the two
//! together).

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
        let mut bytes = fs::read(&path)?;
        for pair in bytes.chunks_exact_mut(2) {
            let turned = u16::from_le_bytes([pair[0], pair[1]]).rotate_left(1);
            pair.copy_from_slice(&turned.to_le_bytes());
        }
        let of_place = |place| bytes.iter().skip(place).step_by(2);
        let planes: Vec<u8> = of_place(0).chain(of_place(1)).copied().collect();
        fs::write(Path::new(&out).join(name), compress_to_vec(&planes, 9))?;
    }
    Ok(())
}
