//! Makes a constant of every kernel that the committed PTX declares and, with the feature `ptx`,
//! compresses the PTX into the library.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=ptx");
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap()).join("ptx");
    let out = PathBuf::from(env::var("OUT_DIR").unwrap());
    let files = files(&folder)?;
    fs::write(out.join("kernels.rs"), constants(&files)?)?;
    #[cfg(feature = "ptx")]
    fs::write(out.join("ptx.rs"), compressed(files, &folder, &out)?)?;
    Ok(())
}

/// The PTX files by name, without `.ptx`.
fn files(folder: &Path) -> io::Result<BTreeMap<String, PathBuf>> {
    let mut files = BTreeMap::new();
    for folder in [folder, &folder.join("checks")] {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "ptx") {
                files.insert(path.file_stem().unwrap().to_str().unwrap().to_string(), path);
            }
        }
    }
    Ok(files)
}

/// The suffixes of a kernel's forms.
const PACKABLE: &[&str] = &["packed"];
const FOLDING: &[&str] = &["rows", "columns"];

/// A module of constants for each source, and the table of names that they are indices of. The f32
/// form of a source has every kernel.
fn constants(files: &BTreeMap<String, PathBuf>) -> io::Result<String> {
    let (mut text, mut names) = (String::new(), Vec::new());
    for (name, path) in files {
        let Some(module) = name.strip_suffix("_f32") else { continue };
        let ptx = fs::read_to_string(path)?;
        let entries: BTreeSet<&str> = ptx
            .split(".visible .entry ")
            .skip(1)
            .map(|entry| entry.split("_f32(").next().unwrap())
            .collect();
        let has = |name: &str, forms: &[&str]| {
            entries.contains(name)
                && forms.iter().all(|form| entries.contains(format!("{name}_{form}").as_str()))
        };
        let is_form = |name: &str| {
            let is = |form, forms| name.strip_suffix(form).is_some_and(|name| has(name, forms));
            is("_packed", PACKABLE) || is("_rows", FOLDING) || is("_columns", FOLDING)
        };
        writeln!(text, "/// The kernels of `{module}.cu`.\npub mod {module} {{").unwrap();
        writeln!(text, "    use super::*;").unwrap();
        for name in entries.iter().filter(|name| !is_form(name)) {
            let mut kernel = |name: String| {
                names.push(format!("({module:?}, {name:?})"));
                format!("Kernel({})", names.len() - 1)
            };
            let single = kernel(name.to_string());
            let mut with = |forms: &[&str]| {
                let form = |form: &&str| format!("{form}: {}", kernel(format!("{name}_{form}")));
                forms.iter().map(form).collect::<Vec<_>>().join(", ")
            };
            let (kind, value) = if has(name, PACKABLE) {
                ("Packable", format!("Packable {{ single: {single}, {} }}", with(PACKABLE)))
            } else if has(name, FOLDING) {
                ("Folding", format!("Folding {{ single: {single}, {} }}", with(FOLDING)))
            } else {
                ("Kernel", single)
            };
            let constant = name.to_uppercase();
            writeln!(text, "    /// `{name}`.\n    pub const {constant}: {kind} = {value};")
                .unwrap();
        }
        writeln!(text, "}}").unwrap();
    }
    let (count, names) = (names.len(), names.join(", "));
    writeln!(text, "/// The source and the name of each kernel.").unwrap();
    writeln!(text, "const NAMES: [(&str, &str); {count}] = [{names}];").unwrap();
    Ok(text)
}

/// A table of the compressed files: `(name, bytes)`.
#[cfg(feature = "ptx")]
fn compressed(files: BTreeMap<String, PathBuf>, folder: &Path, out: &Path) -> io::Result<String> {
    const LEVEL: u8 = 9;
    let mut text = String::from("&[\n");
    for (name, path) in files {
        if path.parent() != Some(folder) && env::var_os("CARGO_FEATURE_CHECKS").is_none() {
            continue;
        }
        let bytes = miniz_oxide::deflate::compress_to_vec(&fs::read(path)?, LEVEL);
        let to = out.join(&name);
        fs::write(&to, bytes)?;
        writeln!(text, "    ({name:?}, include_bytes!({to:?})),").unwrap();
    }
    Ok(text + "]\n")
}
