//! Tests of the plan before the work, on empty files.

mod find;
mod place;
mod plan;

use super::*;
use crate::error::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A folder with empty files of these names.
fn folder(names: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    folder
}

/// By the name, as these files are empty.
fn contents(path: &Path) -> Result<FileContents> {
    let extension = path.extension().unwrap_or_default().to_string_lossy().into_owned();
    Ok(match extension.as_str() {
        "jpg" | "png" => FileContents::Photo { extension },
        "" | "jfif" => FileContents::Photo { extension: "jpg".into() },
        "heic" => FileContents::Unreadable("HEIC".into()),
        _ => FileContents::Other,
    })
}

fn search(inputs: &[PathBuf]) -> Search {
    Search::new(inputs, None, contents)
}

fn naming(output: Option<Output>) -> Naming {
    let tasks = ["dehaze", "derain"].map(String::from).to_vec();
    Naming { tasks, output, ..Naming::default() }
}

/// Where each photograph's result for the task `dehaze` goes, both below `root`.
fn pairs(plan: &JobPlan, root: &Path) -> Vec<String> {
    let below = |path: &Path| path.strip_prefix(root).unwrap_or(path).display().to_string();
    plan.jobs
        .iter()
        .map(|job| format!("{} -> {}", below(&job.from), below(&job.to.file("dehaze"))))
        .collect()
}
