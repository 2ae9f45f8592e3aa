//! Portable maps, which are a line of text and the samples.

use super::samples::FileSamples;
use crate::image::Depth;

/// A binary PGM (P5), PPM (P6) or, for alpha or on request, PAM (P7) file. Sixteen-bit samples are
/// big-endian.
pub(super) fn encode(samples: &FileSamples, always_pam: bool) -> Vec<u8> {
    let FileSamples { width, height, channels, .. } = samples;
    let max = match samples.depth {
        Depth::Eight => 255,
        Depth::Sixteen => 65535,
    };
    let header = match channels {
        1 if !always_pam => format!("P5\n{width} {height}\n{max}\n"),
        3 if !always_pam => format!("P6\n{width} {height}\n{max}\n"),
        _ => {
            let color = if *channels < 3 { "GRAYSCALE" } else { "RGB" };
            let alpha = if matches!(channels, 2 | 4) { "_ALPHA" } else { "" };
            format!(
                "P7\nWIDTH {width}\nHEIGHT {height}\nDEPTH {channels}\nMAXVAL {max}\nTUPLTYPE \
                 {color}{alpha}\nENDHDR\n"
            )
        }
    };
    let mut file = header.into_bytes();
    match samples.depth {
        Depth::Eight => file.extend_from_slice(&samples.bytes),
        Depth::Sixteen => {
            for pair in samples.bytes.chunks_exact(2) {
                file.extend(u16::from_ne_bytes([pair[0], pair[1]]).to_be_bytes());
            }
        }
    }
    file
}
