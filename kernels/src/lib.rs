//! The CUDA kernels, as PTX that a driver compiles for the GPU it finds.
//!
//! The sources are the `.cu` files beside this one; read `common.cuh` and `pointwise.cu` first.
//! Each is compiled once per element type by `compile.sh`, with a pinned compiler, and the results
//! in `ptx/` are committed: nobody needs a CUDA toolkit to build the project. `emulator/` runs the
//! same sources on a machine without a GPU.

/// A source, compiled for each element type.
#[derive(Debug)]
pub struct Module {
    /// The source's name, without `.cu`.
    pub name: &'static str,
    /// The PTX for f32, f64, f16 and bf16 elements.
    ptx: [&'static str; 4],
}

/// The element types' names, as kernels carry them at the end of theirs.
pub const SUFFIXES: [&str; 4] = ["f32", "f64", "f16", "bf16"];

macro_rules! modules {
    ($($name:literal),* $(,)?) => {
        /// Every source.
        pub const MODULES: &[Module] = &[$(Module {
            name: $name,
            ptx: [
                include_str!(concat!("../ptx/", $name, "_f32.ptx")),
                include_str!(concat!("../ptx/", $name, "_f64.ptx")),
                include_str!(concat!("../ptx/", $name, "_f16.ptx")),
                include_str!(concat!("../ptx/", $name, "_bf16.ptx")),
            ],
        }),*];
    };
}

modules![
    "cast",
    "convolution",
    "dynamic_filter",
    "fourier",
    "gather",
    "matmul",
    "normalize",
    "optimizer",
    "pointwise",
    "reduce",
    "region",
    "resample",
    "softmax",
    "weight_sums"
];

/// The PTX of source `name` for the element type `suffix`.
pub fn ptx(name: &str, suffix: &str) -> Option<&'static str> {
    let module = MODULES.iter().find(|module| module.name == name)?;
    Some(module.ptx[SUFFIXES.iter().position(|s| *s == suffix)?])
}

/// The sizes in bytes of the parameters of kernel `entry`, as its PTX declares them; `None` if
/// there is no such kernel.
pub fn parameters(ptx: &str, entry: &str) -> Option<Vec<usize>> {
    let declared = ptx.split_once(&format!(".visible .entry {entry}("))?.1.split_once(')')?.0;
    declared.split(',').map(str::trim).filter(|parameter| !parameter.is_empty()).map(size).collect()
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
    use std::collections::BTreeSet;
    use std::path::Path;

    /// The names in `folder` that end in `end`, without it.
    fn names(folder: &str, end: &str) -> BTreeSet<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let files = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap());
        files.filter_map(|file| file.strip_suffix(end).map(String::from)).collect()
    }

    #[test]
    fn every_source_is_listed_and_compiled_for_every_type() {
        let listed: BTreeSet<String> = MODULES.iter().map(|module| module.name.into()).collect();
        assert_eq!(listed, names("src", ".cu"));
        let compiled = listed
            .iter()
            .flat_map(|name| SUFFIXES.map(|suffix| format!("{name}_{suffix}")))
            .collect();
        assert_eq!(names("ptx", ".ptx"), compiled);
    }

    #[test]
    fn kernels_carry_their_type_and_run_on_every_supported_gpu_and_driver() {
        for module in MODULES {
            for (ptx, suffix) in module.ptx.iter().zip(SUFFIXES) {
                assert!(
                    ptx.contains("\n.version 8.0\n.target sm_70\n"),
                    "{} {suffix}",
                    module.name
                );
                let entries: Vec<&str> = ptx
                    .split(".visible .entry ")
                    .skip(1)
                    .map(|entry| entry.split('(').next().unwrap())
                    .collect();
                assert!(!entries.is_empty());
                for entry in entries {
                    assert!(
                        entry.ends_with(&format!("_{suffix}")),
                        "{entry} in {} {suffix}",
                        module.name
                    );
                    assert!(parameters(ptx, entry).is_some(), "{entry}");
                }
            }
        }
    }

    #[test]
    fn parameters_are_read_from_the_text() {
        let ptx = ".visible .entry a_f32(\n\t.param .u64 p_0,\n\t.param .align 8 .b8 \
         p_1[48],\n\t.param .f32 p_2\n)\n{";
        assert_eq!(parameters(ptx, "a_f32"), Some(vec![8, 48, 4]));
        assert_eq!(parameters(ptx, "b_f32"), None);
        assert_eq!(parameters(".visible .entry c()", "c"), Some(vec![]));
    }
}
