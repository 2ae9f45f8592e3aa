//! Every public function and method of `engine` and `nn` is used in an example: in the code of its
//! crate's documentation, in a program of its `examples`, or in a README.
//!
//! The sources are read as text. A method counts as used where `.name` or `::name` stands, whatever
//! its type.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use tests::files_in;

/// Functions without an example, with the reason.
const EXEMPT: [(&str, &str); 0] = [];

#[test]
fn every_public_function_of_the_engine_has_an_example() {
    refuse_missing("engine");
}

#[test]
fn every_public_function_of_nn_has_an_example() {
    refuse_missing("nn");
}

#[test]
fn functions_and_examples_are_told_apart() {
    let text = "
/// Doubles.
///
/// ```
/// assert_eq!(double(1), X.half() + third);
/// ```
pub fn double() {}
pub const fn forgotten() {}
pub(crate) fn internal() {}
impl X {
    /// As forgotten.
    pub fn half() {}
    pub fn third() {}
}
#[cfg(test)]
mod tests { pub fn of_tests() {} }";
    let functions = public_functions(text);
    assert_eq!(functions, ["double", "forgotten", ".half", ".third"]);
    let unused = functions.iter().filter(|function| !names(&doc_code(text)).contains(*function));
    assert_eq!(unused.collect::<Vec<_>>(), ["forgotten", ".third"]);
}

/// Fails with the functions of `package` that no example uses.
fn refuse_missing(package: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &PathBuf| fs::read_to_string(path).unwrap();
    let source = root.join(package).join("src");
    let mut sources = files_in(&source, &["rs"]);
    sources.retain(|path| !path.ends_with("tests.rs"));
    assert!(sources.len() > 20, "only {} sources were found", sources.len());
    let mut examples = read(&root.join(package).join("README.md"));
    examples += &read(&root.join("README.md"));
    for path in files_in(&root.join(package).join("examples"), &["rs"]) {
        examples += &read(&path);
    }
    examples.extend(sources.iter().map(|path| doc_code(&read(path))));
    let used = names(&examples);
    let exempt = |name: &str| EXEMPT.iter().any(|(function, _)| *function == name);
    let mut missing = Vec::new();
    for path in sources.iter().filter(|path| is_public(path, &source)) {
        let functions = public_functions(&read(path)).into_iter();
        let unused = functions.filter(|name| !used.contains(name) && !exempt(name));
        missing.extend(unused.map(|name| format!("{}: {name}", path.display())));
    }
    assert!(missing.is_empty(), "in no example:\n{}", missing.join("\n"));
}

/// Whether the functions of a file can be reached from outside the crate, unlike those of the
/// engine's backends and vectors and of the samples for its checks.
fn is_public(file: &Path, source: &Path) -> bool {
    let module = file.strip_prefix(source).unwrap_or(file);
    let internal = ["cpu", "cuda", "simd", "samples.rs"];
    !module.iter().any(|part| internal.iter().any(|name| part == *name))
}

/// The public functions of a source without those of its tests: `name`, or `.name` of a method.
fn public_functions(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    for line in text.lines().take_while(|line| line.trim() != "#[cfg(test)]") {
        let Some(rest) = line.trim_start().strip_prefix("pub ") else { continue };
        let rest = rest.strip_prefix("const ").unwrap_or(rest);
        let Some(rest) = rest.strip_prefix("fn ") else { continue };
        let end = rest.find(|letter: char| !is_part(letter)).unwrap_or(rest.len());
        let dot = if line.starts_with(' ') { "." } else { "" };
        names.push(format!("{dot}{}", &rest[..end]));
    }
    names
}

/// The code in the documentation of a source.
fn doc_code(text: &str) -> String {
    let (mut code, mut inside) = (String::new(), false);
    for line in text.lines() {
        let line = line.trim_start();
        let Some(line) = line.strip_prefix("///").or_else(|| line.strip_prefix("//!")) else {
            continue;
        };
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if inside {
            code.push_str(line);
            code.push('\n');
        }
    }
    code
}

/// The names in a source: `name`, and `.name` for those behind a `.` or `::`.
fn names(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_part) {
        let behind = rest[..start].ends_with(['.', ':']);
        let word = &rest[start..];
        let end = word.find(|letter: char| !is_part(letter)).unwrap_or(word.len());
        names.insert(word[..end].to_string());
        if behind {
            names.insert(format!(".{}", &word[..end]));
        }
        rest = &word[end..];
    }
    names
}

fn is_part(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}
