//! The import graph of each crate, read from its source text. There is no circle between files, or
//! between the files and folders of one folder, but for two groups of files in the engine. There,
//! no import points upwards in a list of layers, either.
//!
//! `use` declarations and written-out paths (`crate::a::b`, `super::c`, `child::d`) are resolved to
//! the file that defines the item, through re-exports. A re-export alone is not a dependency of the
//! file it stands in. Method calls are not seen, and test code is left out.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use tests::files_in;
use tests::source::{checks_only, item_length, tokens};

/// The engine's layers by their top-level modules, the lowest first, as ARCHITECTURE.md lists them.
/// A module imports from its own layer and from those below it. The samples of an operation belong
/// to the checks, wherever they lie.
static ENGINE_LAYERS: LazyLock<Vec<Vec<String>>> = LazyLock::new(|| {
    let page = include_str!("../../ARCHITECTURE.md");
    let list = page.split("## Inside `engine`").nth(1).and_then(|rest| rest.split("```").nth(1));
    let mut layers: Vec<Vec<String>> = Vec::new();
    for line in list.expect("a list of layers").lines().skip(1) {
        // The name of a layer, or spaces where its list goes on.
        let (name, modules) = line.split_at(18);
        if !name.trim().is_empty() {
            layers.push(Vec::new());
        }
        let modules = modules.split([',', ' ']).filter(|module| !module.is_empty());
        layers.last_mut().expect("a layer's name").extend(modules.map(String::from));
    }
    assert_eq!(layers.len(), 6);
    layers
});

/// Files of the engine that import each other, with the reason.
const ENGINE_MUTUAL: [(&[&str], &str); 2] = [
    (
        &["tape.rs", "tensor.rs", "trace.rs"],
        "a tensor has a node on the tape, whose records hold tensors",
    ),
    (
        &["cuda/event.rs", "cuda/graph.rs", "cuda/launch.rs", "cuda/memory.rs", "cuda/mod.rs"],
        "a GPU owns its memory, kernels and recorder, all of which call it",
    ),
];

/// Imports upwards that remain, with the reason.
const ENGINE_UPWARDS: [(&str, &str, &str); 0] = [];

#[test]
fn nn_has_no_import_circles() {
    refuse_circles(&Crate::read("nn").edges());
}

#[test]
fn irnext_has_no_import_circles() {
    refuse_circles(&Crate::read("irnext").edges());
}

#[test]
fn engine_imports_point_downwards() {
    let edges = Crate::read("engine").edges();
    let upwards = upwards(&edges);
    assert!(upwards.is_empty(), "engine: imports upwards: {}", upwards.join(", "));
    for (from, to, reason) in ENGINE_UPWARDS {
        let used = edges.contains(&(from.into(), to.into()));
        assert!(used, "{from} no longer imports from {to} ({reason})");
    }
    for (files, reason) in ENGINE_MUTUAL {
        let within = |(from, to): &&(String, String)| {
            files.contains(&from.as_str()) && files.contains(&to.as_str())
        };
        let mutual: Edges = edges.iter().filter(within).cloned().collect();
        let used = files.iter().all(|file| {
            mutual.iter().any(|(from, _)| from == file) && mutual.iter().any(|(_, to)| to == file)
        });
        assert!(used && circle(&mutual).is_some(), "{files:?} form no circle ({reason})");
    }
    // Samples are a layer of their own.
    let listed = |(from, to): &(String, String)| {
        let both = |files: &[&str]| files.contains(&&**from) && files.contains(&&**to);
        ENGINE_MUTUAL.iter().any(|(files, _)| both(files)) || from.ends_with("samples.rs")
    };
    refuse_circles(&edges.into_iter().filter(|edge| !listed(edge)).collect());
}

#[test]
fn the_packages_depend_on_those_below_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = include_str!("../../ARCHITECTURE.md");
    // The highest package comes first.
    let drawing = page.split("```").nth(1).expect("a drawing of the packages");
    let names = drawing.lines().skip(1).filter(|line| !line.starts_with(' '));
    let drawn: Vec<&str> = names.filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(drawn, ["irnext", "nn", "engine", "kernels"]);
    for (place, package) in drawn.iter().enumerate() {
        let manifest = fs::read_to_string(root.join(package).join("Cargo.toml")).unwrap();
        let own = drawn.iter().filter(|name| depends(&manifest, name)).collect::<Vec<_>>();
        let below = &drawn[place + 1..];
        assert!(own.iter().all(|name| below.contains(name)), "{package} depends on {own:?}");
        // The packages form a chain.
        let next = below.first();
        assert!(next.is_none_or(|next| own.contains(&next)), "{package} does not use {next:?}");
    }
    let driver = fs::read_to_string(root.join("kernels/driver/Cargo.toml")).unwrap();
    assert!(!drawn.iter().any(|name| depends(&driver, name)), "kernels/driver is the lowest");
}

/// Whether a package has a dependency of this name, on any target, other than for its tests.
fn depends(manifest: &str, name: &str) -> bool {
    let package = format!("irnext-{name}");
    let is_it = |word: &str| [name, &package].contains(&word);
    let mut listed = false;
    manifest.lines().any(|line| {
        let mut header = match line.strip_prefix('[') {
            Some(header) => header.trim_end_matches(']').split('.'),
            None => {
                let mut words = line.split(|c: char| !c.is_alphanumeric() && !"-_".contains(c));
                let is_named = words.next().is_some_and(is_it);
                return listed && (is_named || words.any(|word| word == package));
            }
        };
        listed = header.any(|part| ["dependencies", "build-dependencies"].contains(&part));
        listed && header.next().is_some_and(is_it)
    })
}

#[test]
fn a_dependency_is_found_however_it_is_written() {
    for manifest in [
        "[dependencies]\nnn.workspace = true",
        "[dependencies]\nrayon = \"1\"\nnn = { workspace = true }",
        "[dependencies]\nirnext-nn = \"0.1\"",
        "[dependencies]\nlayers = { package = \"irnext-nn\", path = \"../nn\" }",
        "[dependencies.nn]\nworkspace = true",
        "[target.'cfg(unix)'.dependencies]\nnn.workspace = true",
        "[build-dependencies]\nnn.workspace = true",
    ] {
        assert!(depends(manifest, "nn"), "{manifest}");
    }
    for manifest in [
        "[package]\nname = \"irnext-nn\"",
        "[dependencies]\nrayon.workspace = true\n[dev-dependencies]\nnn.workspace = true",
        "[dependencies]\nnnn = \"1\"\n[features]\nnn = []",
    ] {
        assert!(!depends(manifest, "nn"), "{manifest}");
    }
}

#[test]
fn every_path_of_the_architecture_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folders = ["", "irnext/src", "nn/src", "engine/src"].map(|folder| root.join(folder));
    let exists = |path: &str| {
        let mut places = folders.iter().map(|folder| folder.join(path.trim_end_matches('/')));
        places.any(|place| place.exists() || place.with_extension("rs").exists())
    };
    let page = include_str!("../../ARCHITECTURE.md");
    let quoted = page.split("```").step_by(2).flat_map(|text| text.split('`').skip(1).step_by(2));
    let paths: Vec<&str> =
        quoted.filter(|path| path.contains('/') && !path.contains(' ')).collect();
    assert!(paths.len() > 10, "only {paths:?} were found");
    let missing: Vec<&str> = paths.into_iter().filter(|path| !exists(path)).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names what does not exist: {missing:?}");
}

#[test]
fn an_import_upwards_is_found() {
    let upwards_of = |of_layout: &str| {
        let texts = [
            ("lib.rs", "mod layout; mod ops; mod plan; mod checks; pub use ops::apply;"),
            ("layout.rs", of_layout),
            ("checks/mod.rs", "pub struct OpInfo;"),
            ("plan/mod.rs", "use crate::ops; pub fn planned() { ops::apply() }"),
            ("ops/mod.rs", "use crate::layout; pub mod gelu; pub fn apply() {}"),
            (
                "ops/gelu/mod.rs",
                "#[cfg(any(test, feature = \"checks\"))] pub(super) mod samples;
                 #[cfg(any(test, feature = \"checks\"))] const INFO: crate::checks::OpInfo;
                 #[cfg(test)] mod tests { use crate::plan::planned; }",
            ),
            ("ops/gelu/samples.rs", "use crate::checks::OpInfo; use crate::plan::planned;"),
        ];
        let texts = texts.map(|(file, text)| (file.into(), text.into()));
        upwards(&Crate::from_texts(texts).edges())
    };
    assert!(upwards_of("pub struct Layout;").is_empty());
    assert_eq!(upwards_of("use crate::apply;"), ["layout.rs -> ops/mod.rs"]);
    assert_eq!(upwards_of("fn f() { crate::plan::planned() }"), ["layout.rs -> plan/mod.rs"]);
    assert_eq!(upwards_of("use crate::plan::*;"), ["layout.rs -> plan/mod.rs"]);
}

#[test]
fn circles_are_found_through_re_exports() {
    let files = |of_b: &str| {
        let texts = [
            ("lib.rs", "mod a; mod b; pub use a::A;"),
            ("a/mod.rs", "mod c; pub use c::{C, D as A}; #[cfg(test)] mod t { use crate::b::B; }"),
            ("a/c.rs", "use crate::b::B; pub struct C(B); pub struct D;"),
            ("b.rs", of_b),
        ];
        Crate::from_texts(texts.map(|(file, text)| (file.into(), text.into())))
    };
    assert_eq!(circle(&files("pub struct B; // crate::A").edges()), None);
    for of_b in ["use crate::A; pub struct B;", "use super::*; fn f() { crate::a::A }"] {
        let found = circle(&files(of_b).edges());
        assert_eq!(found, Some(vec!["a/c.rs".into(), "b.rs".into(), "a/c.rs".into()]));
    }
}

#[test]
fn circles_of_folders_are_found_at_every_depth() {
    let edges = |pairs: &[(&str, &str)]| -> Edges {
        pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect()
    };
    let there = ("i/read/mod.rs", "i/facts/a.rs");
    let back = ("i/facts/b.rs", "i/read/parts/c.rs");
    assert_eq!(circle(&between_modules(&edges(&[there, ("i/mod.rs", "i/read/mod.rs")]))), None);
    let found = circle(&between_modules(&edges(&[there, back])));
    assert_eq!(found, Some(vec!["i/facts".into(), "i/read".into(), "i/facts".into()]));
}

type Edges = BTreeSet<(String, String)>;

fn refuse_circles(edges: &Edges) {
    refuse_circle("files", edges);
    refuse_circle("modules", &between_modules(edges));
}

/// The imports between the modules of one folder, in which a folder is one module: `a/b.rs ->
/// a/c/d.rs` is `a/b -> a/c`. A folder's `mod.rs` is left to the circles of files.
fn between_modules(edges: &Edges) -> Edges {
    let modules = edges.iter().filter_map(|(from, to)| {
        let (from, to): (Vec<&str>, Vec<&str>) =
            (from.split('/').collect(), to.split('/').collect());
        let depth = from.iter().zip(&to).position(|(a, b)| a != b)?;
        let module = |path: &[&str]| path[..=depth].join("/").replace(".rs", "");
        let inside = from[depth] != "mod.rs" && to[depth] != "mod.rs";
        inside.then(|| (module(&from), module(&to)))
    });
    modules.collect()
}

fn refuse_circle(kind: &str, edges: &Edges) {
    if let Some(circle) = circle(edges) {
        panic!("a circle of imports between {kind}: {}", circle.join(" -> "));
    }
}

/// The imports from a higher layer of the engine than one's own, but for those that are listed.
fn upwards(edges: &Edges) -> Vec<String> {
    let listed = |from: &str, to: &str| ENGINE_UPWARDS.iter().any(|e| (e.0, e.1) == (from, to));
    let upwards = edges.iter().filter(|(from, to)| {
        // What all layers see: the macros, and names that could not be followed.
        ![from, to].contains(&&"lib.rs".into()) && layer(from) < layer(to) && !listed(from, to)
    });
    upwards.map(|(from, to)| format!("{from} -> {to}")).collect()
}

/// The layer of a file of the engine, counted from the lowest.
fn layer(file: &str) -> usize {
    let module = engine_module(file);
    let layer = ENGINE_LAYERS.iter().position(|modules| modules.contains(&module));
    layer.unwrap_or_else(|| panic!("engine: {module} is in no layer of ARCHITECTURE.md"))
}

/// The top-level module of the engine that a file belongs to.
fn engine_module(file: &str) -> String {
    match file.ends_with("samples.rs") {
        true => "checks".into(),
        false => file.split(['/', '.']).next().unwrap_or_default().into(),
    }
}

/// A shortest circle, if there is one.
fn circle(edges: &Edges) -> Option<Vec<String>> {
    let mut shortest: Option<Vec<String>> = None;
    for start in edges.iter().map(|(from, _)| from).collect::<BTreeSet<_>>() {
        let (mut ways, mut seen) = (vec![vec![start.clone()]], HashSet::new());
        while let Some(way) = (!ways.is_empty()).then(|| ways.remove(0)) {
            for (_, to) in edges.iter().filter(|(from, _)| Some(from) == way.last()) {
                let longer = || way.iter().chain([to]).cloned().collect::<Vec<_>>();
                if to == start && shortest.as_ref().is_none_or(|s| way.len() + 1 < s.len()) {
                    shortest = Some(longer());
                } else if seen.insert(to) {
                    ways.push(longer());
                }
            }
        }
    }
    shortest
}

/// A module: the file that it is in, its tokens without those of modules nested in it, and its
/// imports.
#[derive(Default)]
struct Module {
    file: String,
    words: Vec<String>,
    imports: Vec<Import>,
}

struct Import {
    public: bool,
    name: String,
    path: Vec<String>,
}

/// The modules of a crate by their paths from its root, and which of them are tests.
#[derive(Default)]
struct Crate {
    modules: BTreeMap<Vec<String>, Module>,
    tests: Vec<Vec<String>>,
}

impl Crate {
    fn read(name: &str) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src");
        let paths = files_in(&source, &["rs"]).into_iter();
        let relative = |path: &Path| path.strip_prefix(&source).unwrap().display().to_string();
        let texts = paths.map(|path| (relative(&path), fs::read_to_string(path).unwrap()));
        let is_read = |file: &str| !file.ends_with("tests.rs") && file != "main.rs";
        let texts: Vec<_> = texts.filter(|(file, _)| is_read(file)).collect();
        assert!(texts.len() > 3, "{}", source.display());
        Self::from_texts(texts)
    }

    fn from_texts(texts: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut found = Self::default();
        for (file, text) in texts {
            let path = file.trim_end_matches(".rs").split('/').map(String::from);
            let path = path.filter(|part| part != "mod" && part != "lib").collect();
            found.add(path, &file, &tokens(&text));
        }
        found.modules.retain(|path, _| !found.tests.iter().any(|test| path.starts_with(test)));
        found
    }

    /// Adds a module and those written out inside it.
    fn add(&mut self, path: Vec<String>, file: &str, words: &[&str]) {
        let mut module = Module { file: file.into(), ..Module::default() };
        let (mut i, mut rest) = (0, Vec::new());
        while i < words.len() {
            let tail = &words[i..];
            let word = |at: usize| tail.get(at).copied().unwrap_or_default();
            let checked = checks_only(tail);
            if checked > 0 {
                // Modules of tests are left out; those of the checks are a layer of their own.
                let is_test = !tail[..checked].contains(&"any");
                let at = tail[checked..].iter().take(6).position(|word| *word == "mod");
                if let Some(at) = at.filter(|_| is_test) {
                    let name = word(checked + at + 1).into();
                    self.tests.push(path.iter().cloned().chain([name]).collect());
                }
                i += checked + item_length(&tail[checked..]);
            } else if word(0) == "mod" && word(2) == "{" {
                let length = item_length(tail);
                let inner = path.iter().cloned().chain([word(1).into()]).collect();
                self.add(inner, file, &tail[3..length - 1]);
                i += length;
            } else if word(0) == "mod" {
                i += 3;
            } else if word(0) == "use" {
                let length = tail.iter().position(|word| *word == ";").unwrap_or(tail.len());
                let public = rest.last().is_some_and(|last| ["pub", ")"].contains(last));
                import(&tail[1..length], &mut Vec::new(), public, &mut module.imports);
                i += length;
            } else {
                rest.push(word(0));
                i += 1;
            }
        }
        module.words = rest.into_iter().map(String::from).collect();
        self.modules.insert(path, module);
    }

    /// Which file uses an item of which.
    fn edges(&self) -> Edges {
        let mut edges = Edges::new();
        for (at, module) in &self.modules {
            let words = &module.words;
            let next = |i: usize| words.get(i + 1).is_some_and(|word| word == "::");
            let mut used: Vec<Vec<String>> = module
                .imports
                .iter()
                .filter(|import| {
                    !import.public || import.name != "*" && words.contains(&import.name)
                })
                .map(|import| import.path.clone())
                .collect();
            for i in 0..words.len() {
                let is_visibility = i > 2 && words[i - 3..i] == ["pub", "(", "in"];
                if (i == 0 || words[i - 1] != "::") && next(i) && !is_visibility {
                    let parts = (i..).step_by(2).take_while(|&i| next(i)).count() + 1;
                    used.push(words[i..].iter().step_by(2).take(parts).cloned().collect());
                }
            }
            for path in used {
                let file = self.file_of(at, &path, &mut HashSet::new());
                if let Some(file) = file.filter(|file| *file != module.file) {
                    edges.insert((module.file.clone(), file));
                }
            }
        }
        edges
    }

    /// The file that defines what `path` leads to from the module `at`; none of another crate's.
    fn file_of(
        &self,
        at: &[String],
        path: &[String],
        seen: &mut HashSet<(Vec<String>, Vec<String>)>,
    ) -> Option<String> {
        if !seen.insert((at.to_vec(), path.to_vec())) {
            return None;
        }
        let mut at = at.to_vec();
        for (i, part) in path.iter().enumerate() {
            match part.as_str() {
                "crate" => at.clear(),
                "self" => {}
                "super" => drop(at.pop()),
                // Everything in the module that was named.
                "*" => break,
                part => {
                    let child: Vec<String> = at.iter().cloned().chain([part.into()]).collect();
                    if self.modules.contains_key(&child) {
                        at = child;
                        continue;
                    }
                    let module = self.modules.get(&at)?;
                    let import = module.imports.iter().find(|import| import.name == part);
                    return match import {
                        Some(import) => {
                            let longer = import.path.iter().chain(&path[i + 1..]);
                            let longer: Vec<String> = longer.cloned().collect();
                            self.file_of(&at, &longer, seen)
                        }
                        // An item of the module that was named; or, first in a path, of another
                        // crate, or of this module.
                        None => (i > 0).then(|| module.file.clone()),
                    };
                }
            }
        }
        // A module, or a function of the same name that it is re-exported with.
        self.modules.get(&at).map(|module| module.file.clone())
    }
}

/// Adds the names that a `use` declaration binds: `words` is its tree behind `prefix`.
fn import(words: &[&str], prefix: &mut Vec<String>, public: bool, imports: &mut Vec<Import>) {
    let length = prefix.len();
    let (path, tree) = words.split_at(words.iter().position(|w| *w == "{").unwrap_or(words.len()));
    prefix.extend(path.iter().filter(|word| **word != "::").map(|word| word.to_string()));
    if tree.is_empty() {
        let mut path = prefix.clone();
        let mut name = path.last().cloned().unwrap_or_default();
        if let Some(at) = path.iter().position(|word| word == "as") {
            path.truncate(at);
        }
        if path.last().is_some_and(|last| last == "self") {
            path.pop();
            name = if name == "self" { path.last().cloned().unwrap_or_default() } else { name };
        }
        imports.push(Import { public, name, path });
    } else {
        let (mut depth, mut from) = (0, 1);
        for (i, word) in tree.iter().enumerate() {
            match *word {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            if (depth == 1 && *word == "," || depth == 0) && i > from {
                import(&tree[from..i], prefix, public, imports);
            }
            if depth == 1 && *word == "," {
                from = i + 1;
            }
        }
    }
    prefix.truncate(length);
}
