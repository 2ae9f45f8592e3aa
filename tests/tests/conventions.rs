//! Conventions of the source text that no compiler checks: devices are told apart in one place of
//! the engine, and a type's name has one meaning in the three libraries.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tests::files_in;
use tests::source::{tokens, without_tests};

#[test]
fn devices_are_told_apart_in_one_place() {
    let mut asked = Vec::new();
    for (file, text) in sources("engine") {
        // Code that runs on a GPU already may ask which GPU it is.
        let cuda = file.ends_with("/cuda.rs") || file.split('/').any(|folder| folder == "cuda");
        if !cuda && file != "src/dispatch.rs" {
            let found = hand_written(&without_tests(&tokens(&text)), file == "src/tensor.rs");
            asked.extend(found.into_iter().map(|code| format!("engine/{file}: {code}")));
        }
    }
    let list = asked.join("\n");
    assert!(asked.is_empty(), "dispatch::on_device chooses between CPU and GPU, not:\n{list}");
}

#[test]
fn a_choice_of_the_device_by_hand_is_found() {
    let found = |code: &str| !hand_written(&without_tests(&tokens(code)), false).is_empty();
    for code in [
        "match x.gpu() { None => cpu(x), Some(gpu) => cuda(gpu, x) }",
        "match inputs.first().and_then(Tensor::gpu) { None => 1, Some(_) => 2 }",
        "if let Some(gpu) = x.gpu() { return cuda(gpu, x); }",
        "let Some(gpu) = x.gpu() else { return cpu(x) };",
        "if x.gpu().is_some() { 1 } else { 2 }",
        "let slow = x.gpu().is_none();",
        "x.gpu().map_or_else(|| cpu(x), |gpu| cuda(gpu, x))",
        "x.gpu().is_none_or(|gpu| gpu.is_slow())",
        "x.gpu().and_then(|gpu| cuda(gpu, x))",
        "let gpu = x.gpu(); gpu.is_some()",
        "match gpu { None => cpu(x), Some(gpu) => cuda(gpu, x) }",
        "if let Some(gpu) = gpu { return cuda(gpu, x); }",
        "let Some(gpu) = gpu else { return cpu(x) };",
        "if x.device() == Device::Cpu { 1 } else { 2 }",
        "let there = Device::Cpu != x.device();",
        "x.device().eq(&Device::Cpu)",
        "match device { Device::Cpu => 1, Device::Cuda(_) => 2 }",
        "use crate::Device::*;",
        "use crate::Device::{Cpu, Cuda};",
        "let Device::Cuda(index) = device else { return };",
        "matches!(x.device(), Device::Cuda(_))",
        "match storage { Storage::Cuda(block) => 1, _ => 2 }",
        "x.is_cuda()",
    ] {
        assert!(found(code), "not found: {code}");
    }
    for code in [
        "on_device(x.gpu(), (), |()| cpu(x), |gpu, ()| cuda(gpu, x))",
        "x.on_device(|| cpu(x), |gpu| cuda(gpu, x))",
        "let gpu = x.gpu();",
        "let here = gpu;",
        "on_device(gpu, x, |x| cpu(x), |gpu, x| cuda(gpu, x))",
        "device.gpu()?.ok_or_else(|| refuse())",
        "if x.device() != y.device() { refuse() }",
        "let device = Device::Cuda(index);",
        "// if x.gpu().is_some()",
        "#[cfg(test)] mod tests { fn f() { if x.gpu().is_some() {} } }",
    ] {
        assert!(!found(code), "wrongly found: {code}");
    }
}

/// Pieces of code that ask for the device, to choose by the answer. The module that defines where
/// elements are (`storage`) may tell kinds of storage apart.
fn hand_written(words: &[&str], storage: bool) -> Vec<String> {
    let at = |i: usize| words.get(i).copied().unwrap_or_default();
    let starts = |i: usize, expected: &[&str]| {
        expected.iter().enumerate().all(|(k, word)| at(i + k) == *word)
    };
    // What a variable of this name holds was asked for before.
    let is_subject = |i: usize| {
        at(i) == "gpu"
            && i > 0
            && ["match", "="].contains(&at(i - 1))
            && ["{", "else"].contains(&at(i + 1))
    };
    let asks = |i: usize| {
        starts(i, &[".", "gpu", "("]) || starts(i, &["Tensor", "::", "gpu"]) || is_subject(i)
    };
    let mut found = Vec::new();
    for i in 0..words.len() {
        let is_device = ["Cpu", "Cuda"].iter().any(|kind| starts(i, &["Device", "::", kind]));
        let named = is_device && {
            // Behind its number, if it has one.
            let end = if at(i + 3) == "(" { closing(words, i + 3) + 1 } else { i + 3 };
            let compared = |at: &str| ["=", "!"].contains(&at);
            let before =
                i > 1 && at(i - 1) == "=" && compared(at(i - 2)) || i > 0 && at(i - 1) == "&";
            let after = compared(at(end)) && ["=", ">"].contains(&at(end + 1));
            before || after || i > 0 && at(i - 1) == "let" || in_matches(words, i)
        };
        let kinds = ["Cpu", "Cuda"].iter().any(|kind| starts(i, &["Storage", "::", kind]));
        // Their kinds would go by names that are not looked for.
        let renamed = ["*", "{"].iter().any(|tree| starts(i, &["Device", "::", tree]));
        // The subject of a branch, up to its block.
        let head = |from: usize| {
            let length = words[from..].iter().position(|word| ["{", ";", "else"].contains(word));
            from..from + length.unwrap_or(words.len() - from)
        };
        let branch = ["if", "match", "while"].contains(&at(i))
            || at(i) == "let" && at(head(i + 1).end) == "else";
        let answers = [
            "is_some",
            "is_none",
            "is_some_and",
            "is_none_or",
            "map",
            "map_or",
            "map_or_else",
            "and_then",
            "filter",
        ];
        let call = starts(i, &["gpu", "(", ")", "."]) && answers.contains(&at(i + 4));
        let used = call || starts(i, &["gpu", "."]) && answers.contains(&at(i + 2));
        if named
            || renamed
            || kinds && !storage
            || branch && head(i + 1).any(asks)
            || used
            || at(i) == "is_cuda"
        {
            let from = i.saturating_sub(3);
            found.push(words[from..(i + 12).min(words.len())].join(" "));
        }
    }
    found
}

/// Where the bracket that opens at `open` is closed.
fn closing(words: &[&str], open: usize) -> usize {
    let mut depth = 0;
    for (i, word) in words.iter().enumerate().skip(open) {
        match *word {
            "(" => depth += 1,
            ")" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return i;
        }
    }
    words.len()
}

/// Whether the token at `i` stands inside a `matches!`.
fn in_matches(words: &[&str], i: usize) -> bool {
    let start = words[..i].windows(3).rposition(|words| words == ["matches", "!", "("]);
    start.is_some_and(|start| closing(words, start + 2) > i)
}

/// Names that several types have, and why.
const SHARED: [(&str, &str); 7] = [
    ("Error", "each library has its own"),
    ("Arguments", "those of a command, in the command's module"),
    ("Strip", "the input of a thread, in each of the two algorithms of convolutions"),
    ("Conv2d", "the operation and the layer"),
    ("ConvTranspose2d", "the operation and the layer"),
    ("AvgPool2d", "the operation and the layer"),
    ("MaxPool2d", "the operation and the layer"),
];

#[test]
fn a_name_of_a_type_has_one_meaning() {
    let mut places = BTreeMap::<String, Vec<String>>::new();
    for library in ["engine", "nn", "irnext"] {
        for (file, text) in sources(library) {
            // What stands in for the driver in a build without it has its names.
            if file.ends_with("cuda/driver/absent.rs") {
                continue;
            }
            for name in visible_types(&without_tests(&tokens(&text))) {
                places.entry(name.into()).or_default().push(format!("{library}/{file}"));
            }
        }
    }
    assert!(places.len() > 300, "only {} types were found", places.len());
    let is_shared = |name: &str| SHARED.iter().any(|(shared, _)| *shared == name);
    let (shared, wrong): (Vec<_>, Vec<_>) =
        places.iter().filter(|(_, files)| files.len() > 1).partition(|(name, _)| is_shared(name));
    assert!(wrong.is_empty(), "several types have these names: {wrong:#?}");
    assert_eq!(shared.len(), SHARED.len(), "some names are shared no longer: {shared:#?}");
}

#[test]
fn types_are_found_with_any_visibility_but_none() {
    let text = "pub struct A<T>(T); pub(crate) enum B {} pub(in crate::ops) trait C {}
                struct D; pub fn e() {} pub(super) struct F; // pub struct G;
                pub unsafe trait H {} pub union I { j: u8 } pub unsafe fn k() {}";
    assert_eq!(visible_types(&tokens(text)), ["A", "B", "C", "F", "H", "I"]);
}

/// The names of the types and traits that other modules can see; those that macros make are not
/// known.
fn visible_types<'a>(words: &[&'a str]) -> Vec<&'a str> {
    let mut names = Vec::new();
    for i in (0..words.len()).filter(|&i| words[i] == "pub") {
        let restricted = words.get(i + 1) == Some(&"(");
        let kind = if restricted { closing(words, i + 1) + 1 } else { i + 1 };
        let kind = kind + usize::from(words.get(kind) == Some(&"unsafe"));
        if let [kind, name, ..] = &words[kind.min(words.len())..]
            && ["struct", "enum", "union", "trait"].contains(kind)
            && *name != "$"
        {
            names.push(*name);
        }
    }
    names
}

/// The files of a library, without those of tests, and their text.
fn sources(library: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(library);
    let relative = |path: &Path| path.strip_prefix(&root).unwrap().display().to_string();
    let files = files_in(&root.join("src"), &["rs"]);
    let files = files.into_iter().map(|path| (relative(&path), fs::read_to_string(path).unwrap()));
    let is_test = |file: &str| file.ends_with("tests.rs") || file.contains("/tests/");
    files.filter(|(file, _)| !is_test(file)).collect()
}
