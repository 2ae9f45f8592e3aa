//! Lines of text in the repository are at most 100 columns wide.
//!
//! Exempt are tables and pictures in Markdown, addresses, expected outputs and fixtures, generated
//! files and binary ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const WIDEST: usize = 100;

/// Extensions of files that people write.
const TEXT: [&str; 14] =
    ["rs", "md", "toml", "py", "sh", "cu", "cuh", "cpp", "h", "yml", "yaml", "css", "js", "html"];

/// Files of other names that people write.
const NAMED: [&str; 1] = [".ci/run"];

#[test]
fn lines_are_at_most_100_columns_wide() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let files = files(&root);
    assert!(files.len() > 300, "only {} files were found", files.len());
    let mut wide = Vec::new();
    for file in files {
        let text = fs::read_to_string(root.join(&file)).unwrap();
        let markdown = file.extension().is_some_and(|extension| extension == "md");
        for (number, line) in (1..).zip(text.lines()) {
            let width = line.chars().count();
            if width > WIDEST && !is_exempt(line, markdown) {
                wide.push(format!("{}:{number}: {width} columns", file.display()));
            }
        }
    }
    assert!(wide.is_empty(), "wider than {WIDEST} columns:\n{}", wide.join("\n"));
}

/// A line that cannot be broken: a row of a Markdown table, a picture, or a long address.
fn is_exempt(line: &str, markdown: bool) -> bool {
    let unbroken = markdown && (line.starts_with('|') || line.starts_with("!["));
    unbroken || line.split_whitespace().any(|word| word.contains("://") && word.len() > 60)
}

/// The tracked files, or all files of a copy without a Git repository, relative to `root`.
fn files(root: &Path) -> Vec<PathBuf> {
    let tracked = Command::new("git").args(["ls-files"]).current_dir(root).output();
    let paths: Vec<PathBuf> = match tracked {
        Ok(output) if output.status.success() => {
            String::from_utf8(output.stdout).unwrap().lines().map(PathBuf::from).collect()
        }
        _ => walk(root, Path::new("")),
    };
    paths.into_iter().filter(|path| root.join(path).is_file() && is_text(path)).collect()
}

fn is_text(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default();
    TEXT.iter().any(|text| extension == *text) || NAMED.iter().any(|name| path == Path::new(name))
}

fn walk(root: &Path, folder: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(root.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = folder.join(entry.file_name());
        let skipped = ["target", ".git", "docs/book"].iter().any(|name| path == Path::new(name));
        match entry.file_type().unwrap() {
            kind if kind.is_dir() && !skipped => paths.extend(walk(root, &path)),
            kind if kind.is_file() => paths.push(path),
            _ => {}
        }
    }
    paths
}
