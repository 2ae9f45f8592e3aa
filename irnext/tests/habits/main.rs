//! What people do with photographs and a program: whole folders, twice, interrupted, with odd names
//! and odd files; pipes; a mistyped option.

mod files;
mod folders;
mod help;
mod options;
mod others;
mod runs;
mod streams;

use irnext::image::{Image, Photo};
use irnext::model::{Model, ModelConfig};
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

/// The program, to be run in `folder`.
fn command(folder: &Path, arguments: &[impl AsRef<OsStr>]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_irnext"));
    command.current_dir(folder).args(arguments).env("LC_ALL", "C.UTF-8");
    command
}

fn irnext(folder: &Path, arguments: &[impl AsRef<OsStr>]) -> Output {
    command(folder, arguments).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!text.contains("panicked"), "{text}");
    text
}

/// Runs the program, which must end with `code`; its output on both streams.
fn ends(folder: &Path, arguments: &[&str], code: i32) -> String {
    let output = irnext(folder, arguments);
    let said = format!("{}{}", out(&output), err(&output));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    said
}

/// A folder with the weights `w.safetensors` of a network that is good for nothing but speed.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = ModelConfig { width: 8, n: 0, groups: 4, ..ModelConfig::default() };
    let model = Model::new(&config, 1, engine::DType::F32).unwrap();
    let file = model.to_file(engine::DType::F16, Default::default()).unwrap();
    file.write(&folder.path().join("w.safetensors")).unwrap();
    folder
}

/// The command with those weights.
const QUICK: [&str; 3] = ["restore", "--weights", "w.safetensors"];

fn quick<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&QUICK[..], more].concat()
}

fn picture(width: usize, height: usize) -> Image {
    Image::build(width, height, |x, y| [x as f32 / width as f32, y as f32 / height as f32, 0.4])
        .unwrap()
}

/// Writes small pictures of these names, in folders that are made.
fn pictures(at: &Path, names: &[&str]) {
    for name in names {
        let path = at.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let format = path.extension().map_or("png", |e| e.to_str().unwrap());
        let file = at.join("picture").with_extension(format);
        Photo::new(picture(40, 30)).write(&file).unwrap();
        fs::rename(file, path).unwrap();
    }
}

/// The names of the files in `folder`, hidden ones too, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name != "w.safetensors")
        .collect();
    names.sort();
    names
}

/// A photograph that is not restored unless it is asked for.
fn clear() -> Image {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/samples/clean/casa-mila.jpg");
    Photo::read(sample).unwrap().image().resize(256, 192).unwrap()
}
