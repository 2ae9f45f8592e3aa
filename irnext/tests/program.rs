//! The program as a person meets it: arguments in, files and messages out.

use irnext::image::{Depth, Image, Photo};
use irnext::model::{Model, ModelConfig};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Runs the program in `folder`.
fn irnext(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_irnext")).current_dir(folder).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn picture(width: usize, height: usize) -> Image {
    Image::from_fn(width, height, |x, y| [x as f32 / width as f32, y as f32 / height as f32, 0.4])
}

/// A small network's weights, good for nothing but speed.
fn weights(folder: &Path) {
    let config = ModelConfig { width: 8, n: 0, groups: 4, ..ModelConfig::default() };
    let model = Model::new(&config, 1, engine::DType::F32).unwrap();
    model.to_file(engine::DType::F16, Default::default()).unwrap().write(&folder.join("w.safetensors")).unwrap();
}

#[test]
fn good_files_are_restored_and_bad_ones_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    weights(at);
    fs::create_dir(at.join("in")).unwrap();
    Photo::new(picture(70, 50)).write(at.join("in/a.png")).unwrap();
    Photo::new(picture(40, 90)).write(at.join("in/z.jpg")).unwrap();
    let whole = fs::read(at.join("in/a.png")).unwrap();
    fs::write(at.join("in/cut.png"), &whole[..whole.len() / 2]).unwrap();
    fs::write(at.join("in/empty.png"), b"").unwrap();
    fs::write(at.join("in/text.png"), b"this is no picture").unwrap();
    // A header that promises 60,000 by 60,000 pixels.
    let mut huge = whole.clone();
    huge[16..24].copy_from_slice(&[0, 0, 0xEA, 0x60, 0, 0, 0xEA, 0x60]);
    fs::write(at.join("in/huge.png"), huge).unwrap();

    let run = irnext(at, &["restore", "--weights", "w.safetensors", "-o", "out", "in", "nowhere.png"]);
    assert!(!run.status.success());
    let (said, complained) = (text(&run.stdout), text(&run.stderr));
    for name in ["cut.png", "empty.png", "text.png", "huge.png", "nowhere.png"] {
        assert!(complained.contains(name), "{name} is not named in:\n{complained}");
        assert!(!at.join("out").join(name).exists());
    }
    assert!(!complained.contains("panicked"), "{complained}");
    for (name, size) in [("a.png", (70, 50)), ("z.jpg", (40, 90))] {
        let restored = Photo::read(at.join("out").join(name)).unwrap().rgb;
        assert_eq!((restored.width, restored.height), size);
        assert!(said.contains(name), "{said}");
    }
    assert_eq!(said.lines().count(), 2, "one line for each file that was done:\n{said}");
}

#[test]
fn nothing_is_overwritten_unless_asked() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    weights(at);
    Photo::new(picture(64, 64)).write(at.join("a.png")).unwrap();
    let arguments = ["restore", "--weights", "w.safetensors", "a.png"];
    assert!(irnext(at, &arguments).status.success());
    let first = fs::read(at.join("a.restore.png")).unwrap();
    let again = irnext(at, &arguments);
    assert!(!again.status.success());
    assert!(text(&again.stderr).contains("a.restore.png: is there already"), "{}", text(&again.stderr));
    // Restoring a file onto itself is refused, too.
    assert!(!irnext(at, &[&arguments[..], &["-o", "a.png"]].concat()).status.success());
    assert!(irnext(at, &[&arguments[..], &["--overwrite"]].concat()).status.success());
    assert_eq!(fs::read(at.join("a.restore.png")).unwrap(), first, "the same photograph gives the same bytes");
}

#[test]
fn depth_alpha_and_grey_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    weights(at);
    let grey = Image::from_fn(33, 20, |x, _| [x as f32 / 33.0; 3]);
    let alpha: Vec<f32> = (0..33 * 20).map(|i| (i % 7) as f32 / 6.0).collect();
    let photo = Photo { depth: Depth::Sixteen, grey: true, alpha: Some(alpha), ..Photo::new(grey) };
    photo.write(at.join("a.png")).unwrap();
    let before = Photo::read(at.join("a.png")).unwrap();
    assert!(irnext(at, &["restore", "--weights", "w.safetensors", "a.png", "-o", "b.png"]).status.success());
    let after = Photo::read(at.join("b.png")).unwrap();
    assert!(after.grey && after.depth == Depth::Sixteen);
    assert_eq!(after.alpha, before.alpha);
}

#[test]
fn a_bad_weight_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("w.safetensors"), b"nonsense").unwrap();
    let run = irnext(at, &["restore", "--weights", "w.safetensors", "a.png"]);
    assert!(!run.status.success());
    assert!(text(&run.stderr).contains("w.safetensors: not a safetensors file"), "{}", text(&run.stderr));
}

#[test]
fn pairs_are_written_and_scored() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    weights(at);
    fs::create_dir(at.join("clean")).unwrap();
    Photo::new(picture(64, 64)).write(at.join("clean/a.png")).unwrap();
    let synth = |seed: &str, out: &str| irnext(at, &["synth", "--task", "derain", "--seed", seed, "clean", out]);
    assert!(
        synth("1", "one").status.success()
            && synth("1", "two").status.success()
            && synth("2", "three").status.success()
    );
    let input = |out: &str| fs::read(at.join(out).join("input/a.png")).unwrap();
    assert_eq!(input("one"), input("two"));
    assert_ne!(input("one"), input("three"));
    assert!(!synth("1", "one").status.success(), "it wrote over its own files");
    let run = irnext(at, &["eval", "--weights", "w.safetensors", "--input", "one/input", "--target", "one/target"]);
    assert!(run.status.success(), "{}", text(&run.stderr));
    assert!(text(&run.stdout).contains("mean of 1"));
}

#[test]
fn info_counts_what_the_paper_counts() {
    let folder = tempfile::tempdir().unwrap();
    let run = irnext(folder.path(), &["info", "--preset", "dehaze", "--size", "64", "--layers"]);
    let said = text(&run.stdout);
    assert!(said.contains("parameters: 5455241"), "{said}");
    // 38.718 G at 256², a sixteenth of it at 64², but for the convolutions of LAM on 1×1 maps.
    assert!(said.contains("multiply-adds of convolutions at 64×64: 2.420 G"), "{said}");
    assert!(said.contains("FLOPs as the paper counts them: 2.631 G"), "{said}");
    assert!(said.lines().count() > 150);
}

#[test]
fn info_shows_the_papers_tables() {
    let folder = tempfile::tempdir().unwrap();
    let run = irnext(folder.path(), &["info", "--tables"]);
    let said = text(&run.stdout);
    assert!(run.status.success(), "{}", text(&run.stderr));
    // What the book shows.
    assert_eq!(said, include_str!("../../docs/code/costs.txt"));
    assert!(!irnext(folder.path(), &["info", "--tables", "--n", "3"]).status.success());
}

#[test]
fn a_network_is_explained_in_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    weights(at);
    Photo::new(picture(70, 50)).write(at.join("a.png")).unwrap();
    let arguments = ["explain", "a.png", "--weights", "w.safetensors", "-o", "seen"];
    let run = irnext(at, &arguments);
    assert!(run.status.success(), "{}", text(&run.stderr));
    let written = fs::read_dir(at.join("seen")).unwrap().count();
    // Two images, three results, three branches, three for modulation, two figures.
    assert_eq!((written, text(&run.stdout).lines().count()), (13, 14));
    for name in ["branch-8", "branches-8-4-2", "with-fm"] {
        let panel = Photo::read(at.join("seen").join(name).with_extension("png")).unwrap();
        assert!(panel.grey && (panel.rgb.width, panel.rgb.height) == (70, 50), "{name}");
    }
    // Nothing is written if anything would be overwritten.
    fs::remove_file(at.join("seen/input.png")).unwrap();
    let again = irnext(at, &arguments);
    assert!(!again.status.success() && text(&again.stderr).contains("is there already"), "{}", text(&again.stderr));
    assert!(!at.join("seen/input.png").exists());
    assert!(irnext(at, &[&arguments[..], &["--overwrite", "--block", "Encoder.1"]].concat()).status.success());

    let config = ModelConfig { width: 8, n: 0, msm: 0, ..ModelConfig::default() };
    let model = Model::new(&config, 1, engine::DType::F32).unwrap();
    model.to_file(engine::DType::F32, Default::default()).unwrap().write(&at.join("plain.safetensors")).unwrap();
    let run = irnext(at, &["explain", "a.png", "--weights", "plain.safetensors", "-o", "plain"]);
    assert!(!run.status.success() && text(&run.stderr).contains("no multi-scale modules"), "{}", text(&run.stderr));
    assert!(!at.join("plain").exists());
}

#[test]
fn a_reader_who_goes_away_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_irnext"))
        .current_dir(folder.path())
        .args(["info", "--preset", "tiny", "--size", "64", "--layers"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn the_sweep_runs_on_demand() {
    let folder = tempfile::tempdir().unwrap();
    let run = irnext(folder.path(), &["gradcheck", "--cases", "2"]);
    let said = text(&run.stdout);
    assert!(run.status.success(), "{said}");
    for operation in ["conv2d", "gelu", "dynamic_filter", "frequency_l1"] {
        assert!(said.contains(operation), "{said}");
    }
}

#[test]
fn a_run_is_trained_stopped_and_finished() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::create_dir(at.join("clean")).unwrap();
    for name in ["clean/a.png", "clean/b.png"] {
        Photo::new(picture(80, 70)).write(at.join(name)).unwrap();
    }
    let text_of_config = "task = \"dehaze\"\nout = \"run\"\n[data]\nclean = \"clean\"\ncrop = 64\n[optimiser]\nbatch = 2\nsteps = 3\n\
                          [model]\nwidth = 8\nn = 0\ngroups = 4\n";
    fs::write(at.join("c.toml"), text_of_config).unwrap();
    let shown = irnext(at, &["train", "c.toml", "--show", "--set", "seed=9"]);
    assert!(text(&shown.stdout).contains("seed = 9") && !at.join("run").exists());
    let stopped = irnext(at, &["train", "c.toml", "--minutes", "0"]);
    assert!(text(&stopped.stdout).contains("1 of 3 steps done"), "{}", text(&stopped.stdout));
    let finished = irnext(at, &["train", "c.toml"]);
    assert!(text(&finished.stdout).contains("3 of 3 steps done"), "{}", text(&finished.stderr));
    let exported = irnext(at, &["export", "run/weights.safetensors", "small.safetensors"]);
    assert!(exported.status.success(), "{}", text(&exported.stderr));
    let restored = irnext(at, &["restore", "--weights", "small.safetensors", "clean/a.png", "-o", "a.png"]);
    assert!(restored.status.success(), "{}", text(&restored.stderr));
    assert!(text(&restored.stdout).contains("dehaze, 80×70"), "{}", text(&restored.stdout));
}
