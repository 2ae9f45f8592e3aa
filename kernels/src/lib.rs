//! The CUDA kernels, as PTX that a driver compiles for the GPU it finds.
//!
//! The sources are the `.cu` files beside this one; read `common.cuh` and `pointwise.cu` first.
//! Each is compiled once per element type by `compile.sh`, with a pinned compiler, and the results
//! in `ptx/` are committed: nobody needs a CUDA toolkit to build the project. `emulator/` runs the
//! same sources on a machine without a GPU.
//!
//! `build.rs` makes a constant of every kernel, in a module of its source's name, so that a program
//! that names a kernel that is not there does not compile:
//!
//! ```
//! assert_eq!(kernels::matmul::MATMUL.name(), "matmul");
//! assert_eq!(kernels::softmax::SOFTMAX.rows.name(), "softmax_rows");
//! ```

/// A kernel, for every element type it is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kernel(u16);

impl Kernel {
    /// The number of kernels.
    pub const COUNT: usize = NAMES.len();

    /// Its place among all kernels, below [`COUNT`](Self::COUNT).
    pub fn index(self) -> usize {
        self.0.into()
    }

    /// The source that has it, without `.cu`.
    pub fn module(self) -> &'static str {
        NAMES[self.index()].0
    }

    /// Its name, without the element type.
    pub fn name(self) -> &'static str {
        NAMES[self.index()].1
    }
}

/// A kernel, and its form that moves packs of 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packable {
    /// Element by element, of any strides.
    pub single: Kernel,
    /// Packs of neighboring elements.
    pub packed: Kernel,
}

/// A kernel that reduces, and its forms that read packs of 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folding {
    /// Element by element, of any strides.
    pub single: Kernel,
    /// Packs of elements of one output.
    pub rows: Kernel,
    /// Packs of elements of neighboring outputs.
    pub columns: Kernel,
}

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));

/// The element types' names, as kernels carry them at the end of theirs.
pub const SUFFIXES: [&str; 4] = ["f32", "f64", "f16", "bf16"];

/// The PTX files by name, without `.ptx`, compressed.
#[cfg(feature = "ptx")]
const PTX: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/ptx.rs"));

/// The PTX of source `module` for the element type `suffix`, if it is compiled for that.
#[cfg(feature = "ptx")]
pub fn ptx(module: &str, suffix: &str) -> Option<String> {
    let file = format!("{module}_{suffix}");
    let (_, bytes) = PTX.iter().find(|(name, _)| *name == file)?;
    let text = miniz_oxide::inflate::decompress_to_vec(bytes).expect("the build compressed it");
    Some(String::from_utf8(text).expect("PTX is ASCII"))
}

/// The kernels that `ptx` declares: their names, with the element type, and the sizes in bytes of
/// their parameters.
pub fn entries(ptx: &str) -> impl Iterator<Item = (&str, Vec<usize>)> {
    ptx.split(".visible .entry ").skip(1).filter_map(|entry| {
        let (name, rest) = entry.split_once('(')?;
        let parameters = rest.split_once(')')?.0.split(',').map(str::trim);
        let sizes = parameters.filter(|parameter| !parameter.is_empty()).map(size);
        Some((name, sizes.collect::<Option<_>>()?))
    })
}

/// The size of `.param .u64 name` or `.param .align 8 .b8 name[48]`.
fn size(parameter: &str) -> Option<usize> {
    if let Some((_, array)) = parameter.split_once('[') {
        return array.trim_end_matches(']').parse().ok();
    }
    let bits = parameter.split_whitespace().find_map(|word| {
        match word.strip_prefix('.')?.get(1..)?.parse() {
            Ok(bits @ (8 | 16 | 32 | 64)) => Some(bits),
            _ => None,
        }
    })?;
    Some(bits / 8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::fs;
    use std::path::Path;

    /// Most lines of all PTX. It is committed with every change of a kernel, and a driver compiles
    /// a whole file when the first of its kernels is used: few unrolled loops and few forms beside
    /// each other keep it small.
    const LINES: usize = 150_000;

    /// The texts in `folder` of the files whose names end in `end`, by the names without it.
    fn texts(folder: &str, end: &str) -> BTreeMap<String, String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let named = paths.filter_map(|path| {
            let name = path.file_name()?.to_str()?.strip_suffix(end)?.to_string();
            Some((name, fs::read_to_string(path).unwrap()))
        });
        named.collect()
    }

    fn all_ptx() -> BTreeMap<String, String> {
        texts("ptx", ".ptx").into_iter().chain(texts("ptx/checks", ".ptx")).collect()
    }

    #[test]
    fn every_source_is_compiled_for_its_types() {
        let expected: BTreeSet<String> = texts("src", ".cu")
            .iter()
            .flat_map(|(name, source)| {
                let only = source.lines().find_map(|line| line.strip_prefix("// Compiled for: "));
                let suffixes = SUFFIXES.into_iter().filter(move |suffix| {
                    only.is_none_or(|only| only.split(' ').any(|one| one == *suffix))
                });
                suffixes.map(move |suffix| format!("{name}_{suffix}"))
            })
            .collect();
        assert_eq!(all_ptx().into_keys().collect::<BTreeSet<_>>(), expected);
    }

    #[test]
    fn kernels_carry_their_type_and_run_on_every_supported_gpu_and_driver() {
        let all = all_ptx();
        let names = |ptx: &str, suffix: &str| {
            let named = entries(ptx).map(|(name, _)| match name.strip_suffix(suffix) {
                Some(name) => name.to_string(),
                None => panic!("{name} is among the kernels for {suffix}"),
            });
            named.collect::<BTreeSet<_>>()
        };
        for (file, ptx) in &all {
            assert!(ptx.starts_with(".version 8.0\n.target sm_70\n"), "{file}");
            let (module, suffix) = file.rsplit_once('_').unwrap();
            let entries = names(ptx, &format!("_{suffix}"));
            assert_eq!(entries.len(), ptx.matches(".visible .entry ").count(), "{file}");
            // Constants are made of the kernels for f32; f64 does without forms for speed alone.
            let of_f32 = names(&all[&format!("{module}_f32")], "_f32");
            match suffix {
                "f64" => assert!(!entries.is_empty() && entries.is_subset(&of_f32), "{file}"),
                _ => assert_eq!(entries, of_f32, "{file}"),
            }
        }
    }

    #[test]
    fn the_ptx_stays_small() {
        let lines: usize = all_ptx().values().map(|ptx| ptx.lines().count()).sum();
        assert!(lines <= LINES, "kernels/ptx has {lines} lines, more than {LINES}");
    }

    #[cfg(feature = "ptx")]
    #[test]
    fn the_library_carries_the_ptx() {
        let files = if cfg!(feature = "checks") { all_ptx() } else { texts("ptx", ".ptx") };
        assert_eq!(PTX.len(), files.len());
        for (file, text) in files {
            let (module, suffix) = file.rsplit_once('_').unwrap();
            assert!(ptx(module, suffix) == Some(text), "{file}");
        }
        assert_eq!(ptx("pointwise", "u8"), None);
    }

    #[test]
    fn parameters_are_read_from_the_text() {
        let ptx = ".visible .entry a_f32(\n\t.param .u64 p_0,\n\t.param .align 8 .b8 \
         p_1[48],\n\t.param .f32 p_2\n)\n{}\n.visible .entry b_f32()\n{}";
        let read: Vec<_> = entries(ptx).collect();
        assert_eq!(read, [("a_f32", vec![8, 48, 4]), ("b_f32", vec![])]);
    }
}
