//! The program's help, the documents and the comments in the sources keep to plain English and to
//! the field's words.
//!
//! Each entry of the list is a phrase that has a better one. Code in documents is put aside, as
//! identifiers have their own history.

use clap::{Command, CommandFactory};
use std::fs;
use std::path::{Path, PathBuf};
use tests::files_in;

/// A phrase to avoid, in lower case, and a better one. A star stands for any ending. Questions may
/// contain any of them.
const AVOIDED: [(&str, &str); 36] = [
    ("room", "op module (or: space)"),
    ("rooms", "op modules"),
    ("sweep", "op check"),
    ("no finite number", "not finite"),
    ("what there is", "a noun: the devices, the contents"),
    ("what there is to", "a noun"),
    ("gone on with", "resumed"),
    ("goes on with", "resumes"),
    ("goes on from", "resumes from"),
    ("so many", "the number: the first N"),
    ("that is none", "a plain negative"),
    ("let go", "released, dropped"),
    ("what is added to", "a noun: in place, the sum"),
    ("what is", "a noun: the result, the contents"),
    ("what was", "a noun: the input, the files read"),
    ("as of code", "same errors as"),
    ("as for code", "same errors as"),
    ("so much", "the amount, or: if allocation fails"),
    ("that are no", "that are not"),
    ("that is no", "that is not"),
    ("inside the program", "built in"),
    ("is there already", "already exists"),
    ("is to be had", "is available"),
    ("in the place of", "instead of"),
    ("whatever the configuration says", "a heading: changes to the configuration"),
    ("behaviour*", "behavior"),
    ("colour*", "color"),
    ("favour*", "favor"),
    ("grey*", "gray"),
    ("licence*", "license"),
    ("neighbour*", "neighbor"),
    ("normalis*", "normalize"),
    ("optimis*", "optimize"),
    ("recognis*", "classify, detect"),
    ("unoptimis*", "unoptimize"),
    ("vectoris*", "vectorize"),
];

#[test]
fn the_help_of_every_command_uses_plain_words() {
    let mut found = Vec::new();
    let mut command = irnext::cli::Cli::command();
    command.build();
    check_command(&mut command, &mut found);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_help_of_every_command_has_one_form() {
    let mut command = irnext::cli::Cli::command();
    command.build();
    for command in command.get_subcommands_mut().filter(|command| command.get_name() != "help") {
        let name = command.get_name().to_string();
        let help = command.render_long_help().to_string();
        assert!(help.contains("\nExamples:\n"), "{name} has no examples:\n{help}");
        let is_default = |line: &str| line.trim_start().starts_with("[default: ");
        let lines: Vec<&str> = help.lines().collect();
        let apart = lines.windows(2).find(|pair| pair[0].is_empty() && is_default(pair[1]));
        assert!(apart.is_none(), "{name} has a default in a paragraph of its own:\n{help}");
        let headings = ["Options:", "Output options:", "Compute options:", "Advanced options:"];
        let places = headings.map(|heading| lines.iter().position(|line| *line == heading));
        assert!(places.iter().flatten().is_sorted(), "{name} has groups out of order:\n{help}");
    }
}

fn check_command(command: &mut Command, found: &mut Vec<String>) {
    let origin = format!("{} --help", command.get_bin_name().unwrap_or(command.get_name()));
    let help = command.render_long_help().to_string();
    assert!(help.contains("Usage"), "{origin} prints\n{help}");
    check(&origin, &help, found);
    for subcommand in command.get_subcommands_mut() {
        check_command(subcommand, found);
    }
}

#[test]
fn the_documents_use_plain_words() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files: Vec<PathBuf> = [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "docs/dependencies.md",
        "engine/README.md",
        "irnext/README.md",
        "kernels/README.md",
        "kernels/driver/README.md",
        "nn/README.md",
        "docs/samples/README.md",
        "irnext/weights/README.md",
        "benches/peers/README.md",
        "tests/fixtures/README.md",
    ]
    .map(|name| root.join(name))
    .into();
    let pages = fs::read_dir(root.join("docs/src")).unwrap().map(|entry| entry.unwrap().path());
    files.extend(pages.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    assert!(files.len() > 30, "only {} documents were found", files.len());

    let mut found = Vec::new();
    for file in files {
        let name = file.strip_prefix(&root).unwrap().display().to_string();
        check(&name, &prose(&fs::read_to_string(&file).unwrap()), &mut found);
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn comments_use_plain_words() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folders = ["benches", "engine", "irnext", "kernels", "nn", "tests"];
    let of = |folder| files_in(&root.join(folder), &["rs", "cu", "cuh", "toml", "sh"]);
    let mut files: Vec<PathBuf> = folders.into_iter().flat_map(of).collect();
    // But for this one, which lists the phrases.
    files.retain(|path| !path.ends_with(file!()));
    assert!(files.len() > 300, "only {} sources were found", files.len());
    let mut found = Vec::new();
    for path in &files {
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        let is_script = path.extension().is_some_and(|e| e == "toml" || e == "sh");
        check(&name, &comments(path, if is_script { "#" } else { "//" }), &mut found);
    }
    check("Cargo.toml", &comments(&root.join("Cargo.toml"), "#"), &mut found);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The comments of a source, each from `mark` to the end of its line.
fn comments(path: &Path, mark: &str) -> String {
    let text = fs::read_to_string(path).unwrap();
    let comments = text.lines().filter_map(|line| Some(line.split_once(mark)?.1));
    // Without the marks of documentation, so that a sentence can be followed over lines.
    let comments: Vec<&str> = comments.map(|text| text.trim_matches(['/', '!'])).collect();
    prose(&comments.join("\n"))
}

/// Notes each avoided phrase in `text`. Line breaks count as spaces.
fn check(origin: &str, text: &str, found: &mut Vec<String>) {
    // A source that changes, if only in a comment, may change the names in its committed PTX.
    let is_kernel = origin.ends_with(".cu") || origin.ends_with(".cuh");
    let is_letter = |letter: char| letter.is_alphanumeric() || letter == '_';
    let text = text.to_lowercase();
    let written: Vec<&str> = text.split_whitespace().collect();
    let words: Vec<&str> =
        written.iter().map(|word| word.trim_matches(|letter| !is_letter(letter))).collect();
    let is_asked = |at: usize| {
        written[at..]
            .iter()
            .find(|word| word.ends_with(['.', '?']))
            .is_some_and(|w| w.ends_with('?'))
    };
    for (phrase, better) in AVOIDED {
        if is_kernel && ["what is", "what was"].contains(&phrase) {
            continue;
        }
        let parts: Vec<&str> = phrase.split(' ').collect();
        let is_avoided = |window: &[&str]| match phrase.strip_suffix('*') {
            Some(stem) => window[0].starts_with(stem),
            None => window == parts,
        };
        let mut windows = words.windows(parts.len()).enumerate();
        let is_found = |(at, window): &(usize, &[&str])| is_avoided(window) && !is_asked(*at);
        if let Some((at, _)) = windows.find(is_found) {
            let context = words[at.saturating_sub(4)..words.len().min(at + 8)].join(" ");
            found.push(format!("{origin}: \"{phrase}\" (say {better}): … {context} …"));
        }
    }
}

/// Markdown without code: no fenced blocks, no code spans, no addresses of links.
fn prose(markdown: &str) -> String {
    let mut fenced = false;
    let mut lines = Vec::new();
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines.push(line);
        }
    }
    let text = lines.join("\n");
    let outside: Vec<&str> = text.split('`').step_by(2).collect();
    let mut rest = outside.join("code");
    while let Some(start) = rest.find("](") {
        let end = rest[start..].find(')').map_or(rest.len(), |length| start + length + 1);
        rest.replace_range(start..end, "");
    }
    rest
}
