//! The program as a person meets it: arguments in, files and messages out.

use irnext::image::{Depth, Image, Photo};
use irnext::model::{Model, ModelConfig};
use nn::weights::WeightFile;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Runs the program in `folder`.
fn irnext(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_irnext"));
    command.current_dir(folder).args(arguments).env("LC_ALL", "C.UTF-8").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn picture(width: usize, height: usize) -> Image {
    Image::build(width, height, |x, y| [x as f32 / width as f32, y as f32 / height as f32, 0.4])
        .unwrap()
}

/// A small network's weights, good for nothing but speed.
fn weights(folder: &Path) {
    let config = ModelConfig { width: 8, n: 0, groups: 4, ..ModelConfig::default() };
    let model = Model::new(&config, 1, engine::DType::F32).unwrap();
    model
        .to_file(engine::DType::F16, Default::default())
        .unwrap()
        .write(&folder.join("w.safetensors"))
        .unwrap();
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

    let run =
        irnext(at, &["restore", "--weights", "w.safetensors", "-o", "out", "in", "nowhere.png"]);
    assert!(!run.status.success());
    let (said, complained) = (text(&run.stdout), text(&run.stderr));
    for name in ["cut.png", "empty.png", "text.png", "huge.png", "nowhere.png"] {
        assert!(complained.contains(name), "{name} is not named in:\n{complained}");
        assert!(!at.join("out").join(name).exists());
    }
    assert!(!complained.contains("panicked"), "{complained}");
    for (name, size) in [("a.png", (70, 50)), ("z.jpg", (40, 90))] {
        let restored = Photo::read(at.join("out").join(name)).unwrap().image();
        assert_eq!((restored.width(), restored.height()), size);
        assert!(said.contains(name), "{said}");
    }
    assert_eq!(said.lines().count(), 2, "one line for each file that was done:\n{said}");
}

#[test]
fn each_photograph_is_restored_by_what_it_suffers_from() {
    use irnext::classify::classify;
    use irnext::degrade::{Task, degrade};
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::create_dir(at.join("in")).unwrap();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/samples/clean/casa-mila.jpg");
    let clear = Photo::read(&sample).unwrap().image().resize(400, 300).unwrap();
    for (name, task) in [("hazy", Task::Dehaze), ("rainy", Task::Derain)] {
        // One that it is sure of, and restores at full strength.
        let mut images = (0..20).map(|seed| degrade(task, &clear, &mut engine::Rng::new(seed)));
        let sure = |image: &Image| {
            let seen = classify(image).unwrap();
            seen.task() == Some(task) && seen.probability() > 0.95
        };
        let image = images.find(sure).unwrap();
        Photo::new(image).write(at.join("in").join(name).with_extension("png")).unwrap();
    }
    Photo::new(clear).write(at.join("in/clear.jpg")).unwrap();
    fs::write(at.join("in/text.png"), b"this is no picture").unwrap();

    let run = irnext(at, &["restore", "in"]);
    let (said, complained) = (text(&run.stdout), text(&run.stderr));
    assert!(!run.status.success() && complained.contains("text.png"), "{complained}");
    for part in [
        "in/hazy.png → in/hazy.dehaze.png: haze, ",
        "in/rainy.png → in/rainy.derain.png: rain, ",
        "in/clear.jpg: ",
    ] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
    let of_clear = said.lines().find(|line| line.starts_with("in/clear.jpg")).unwrap();
    assert!(of_clear.contains("left alone: no haze, rain, snow or blur found ("), "{of_clear}");
    assert!(of_clear.contains("; anyway: irnext restore --task "), "{of_clear}");
    assert!(complained.contains("2 restored, 1 left alone (seem clear), 1 failed"), "{complained}");
    assert_eq!(
        (said.lines().count(), fs::read_dir(at.join("in")).unwrap().count()),
        (3, 6),
        "{said}"
    );

    // The same weights as by name, and one may know better.
    assert!(
        irnext(at, &["restore", "--task", "dehaze", "in/hazy.png", "in/clear.jpg", "-o", "out"])
            .status
            .success()
    );
    assert_eq!(
        fs::read(at.join("in/hazy.dehaze.png")).unwrap(),
        fs::read(at.join("out/hazy.png")).unwrap()
    );
    assert!(at.join("out/clear.jpg").exists());
    // A photograph left alone is no failure, and goes to a named output as it is; `auto` may be
    // said.
    let copied = irnext(at, &["restore", "--task", "auto", "in/clear.jpg", "-o", "new.jpg"]);
    assert!(copied.status.success(), "{}", text(&copied.stderr));
    assert!(text(&copied.stdout).contains("copied as it is: no haze"), "{}", text(&copied.stdout));
    let [before, after] = ["in/clear.jpg", "new.jpg"].map(|name| fs::read(at.join(name)).unwrap());
    assert!(before == after);
    let converted = irnext(at, &["restore", "in/clear.jpg", "-o", "new.png"]);
    assert!(text(&converted.stdout).contains("converted"), "{}", text(&converted.stdout));
    let [before, after] = ["in/clear.jpg", "new.png"].map(|name| Photo::read(at.join(name)));
    assert_eq!(before.unwrap().image(), after.unwrap().image());
    // Earlier results are skipped.
    let again = irnext(at, &["restore", "in/hazy.png"]);
    let said = text(&again.stdout);
    assert!(again.status.success() && said.contains("hazy.dehaze.png already exists"), "{said}");

    weights(at);
    for (arguments, complaint) in [
        (
            ["restore", "in/hazy.png", "--task", "auto", "--weights", "w.safetensors"],
            "give either --task auto or --weights",
        ),
        (["restore", "in/hazy.png", "--task", "de-hail", "-o", "a.png"], "deblur-defocus"),
    ] {
        let run = irnext(at, &arguments);
        assert!(
            !run.status.success() && text(&run.stderr).contains(complaint),
            "{}",
            text(&run.stderr)
        );
    }
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
    let said = text(&again.stdout);
    assert!(again.status.success() && said.contains("a.restore.png already exists"), "{said}");
    let named = irnext(at, &[&arguments[..], &["-o", "a.restore.png"]].concat());
    let complained = text(&named.stderr);
    assert!(complained.contains("already exists; --overwrite"), "{complained}");
    assert_eq!(named.status.code(), Some(2));
    // Restoring a file onto itself is refused, too.
    assert!(!irnext(at, &[&arguments[..], &["-o", "a.png"]].concat()).status.success());
    assert!(irnext(at, &[&arguments[..], &["--overwrite"]].concat()).status.success());
    assert_eq!(
        fs::read(at.join("a.restore.png")).unwrap(),
        first,
        "the same photograph gives the same bytes"
    );
}

#[test]
fn a_profile_names_what_ran() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    weights(at);
    Photo::new(picture(64, 64)).write(at.join("a.png")).unwrap();
    let run = irnext(at, &["restore", "--weights", "w.safetensors", "a.png", "--profile"]);
    assert!(run.status.success(), "{}", text(&run.stderr));
    assert_eq!(text(&run.stdout).lines().count(), 1, "the profile is no result");
    let said = text(&run.stderr);
    // Which shapes are among the slowest depends on the day; that some are listed does not.
    for part in [
        "GFLOP/s  operation\n",
        "  conv2d\n",
        "  dynamic_filter\n",
        "  outside operations\n",
        "by shapes\n",
        " → ",
    ] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
    assert!(!said.contains("backward"), "{said}");
}

#[test]
fn depth_alpha_and_gray_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    weights(at);
    let gray = Image::build(33, 20, |x, _| [x as f32 / 33.0; 3]).unwrap();
    let alpha: Vec<f32> = (0..33 * 20).map(|i| (i % 7) as f32 / 6.0).collect();
    let photo = Photo { depth: Depth::Sixteen, gray: true, alpha: Some(alpha), ..Photo::new(gray) };
    photo.write(at.join("a.png")).unwrap();
    let before = Photo::read(at.join("a.png")).unwrap();
    assert!(
        irnext(at, &["restore", "--weights", "w.safetensors", "a.png", "-o", "b.png"])
            .status
            .success()
    );
    let after = Photo::read(at.join("b.png")).unwrap();
    assert!(after.gray && after.depth == Depth::Sixteen);
    assert_eq!(after.alpha, before.alpha);
}

#[test]
fn a_bad_weight_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("w.safetensors"), b"nonsense").unwrap();
    let run = irnext(at, &["restore", "--weights", "w.safetensors", "a.png"]);
    assert!(!run.status.success());
    assert!(
        text(&run.stderr).contains("w.safetensors: neither a safetensors file nor"),
        "{}",
        text(&run.stderr)
    );
}

#[test]
fn weights_are_converted_there_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    weights(at);
    let metadata = [
        "--task",
        "derain",
        "--dataset",
        "Rain13K",
        "--score",
        "psnr=38.5",
        "--score",
        "ssim=0.98",
    ];
    let there = irnext(at, &[&["convert", "w.safetensors", "w.pkl"][..], &metadata].concat());
    assert!(there.status.success(), "{}", text(&there.stderr));
    assert!(irnext(at, &["convert", "w.pkl", "back.safetensors"]).status.success());
    let [first, back] =
        ["w.safetensors", "back.safetensors"].map(|name| WeightFile::read(&at.join(name)).unwrap());
    for (name, tensor) in &first.tensors {
        assert_eq!(back.tensors[name].meta(), tensor.meta(), "{name}");
        assert_eq!(
            back.tensors[name].to_f64_vec().unwrap(),
            tensor.to_f64_vec().unwrap(),
            "{name}"
        );
    }
    assert_eq!(back.tensors.len(), first.tensors.len());
    for (key, value) in [
        ("irnext.task", "derain"),
        ("irnext.dataset", "Rain13K"),
        ("irnext.score.psnr", "38.5"),
        ("irnext.score.ssim", "0.98"),
        ("irnext.n", "0"),
        ("irnext.kernel", "3"),
        ("irnext.groups", "4"),
        ("format", "pt"),
        ("modelspec.title", "IRNeXt, derain"),
    ] {
        assert_eq!(back.metadata[key], value, "{key}");
    }
    assert!(
        !irnext(at, &["convert", "w.pkl", "back.safetensors"]).status.success(),
        "a file was overwritten"
    );
    assert!(irnext(at, &["convert", "w.pkl", "back.safetensors", "--overwrite"]).status.success());
    for refused in
        [&["convert", "w.pkl", "w.bin"][..], &["convert", "w.pkl", "x.pkl", "--score", "psnr=good"]]
    {
        assert!(!irnext(at, refused).status.success(), "{refused:?}");
    }
}

#[test]
fn two_weight_files_are_mixed() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    weights(at);
    let mut file = WeightFile::read(&at.join("w.safetensors")).unwrap();
    for tensor in file.tensors.values_mut().filter(|tensor| tensor.dtype() == engine::DType::F16) {
        let other = tensor.to_dtype(engine::DType::F32).unwrap().affine(3.0, 1.0).unwrap();
        *tensor = other.to_dtype(engine::DType::F16).unwrap();
    }
    file.write(&at.join("other.safetensors")).unwrap();
    let convert = |more: &[&str]| {
        let arguments = ["convert", "w.safetensors", "mean.safetensors", "--overwrite"];
        let arguments = [&arguments[..], &["--dtype", "f32"]].concat();
        irnext(at, &[&arguments[..], more].concat())
    };
    for (share, arguments) in
        [(0.5, &[][..]), (0.25, &["--share", "0.25"]), (1.0, &["--share", "1"])]
    {
        let run = convert(&[&["--mix", "other.safetensors"], arguments].concat());
        assert!(run.status.success(), "{}", text(&run.stderr));
        let [first, other, mean] = ["w", "other", "mean"].map(|name| {
            let file = WeightFile::read(&at.join(format!("{name}.safetensors"))).unwrap();
            let tensor = &file.tensors["Encoder.0.layers.0.main.0.main.0.weight"];
            tensor.to_f64_vec().unwrap()
        });
        for ((a, b), mean) in first.iter().zip(&other).zip(&mean) {
            assert!((a + share * (b - a) - mean).abs() < 1e-6, "{a} {b} {mean}");
        }
    }
    let wrong = Model::new(
        &ModelConfig { width: 16, n: 0, ..ModelConfig::default() },
        1,
        engine::DType::F32,
    );
    let wrong = wrong.unwrap().to_file(engine::DType::F32, Default::default()).unwrap();
    wrong.write(&at.join("wrong.safetensors")).unwrap();
    for (refused, words) in [
        (&["--mix", "wrong.safetensors"][..], "weights of different networks have no mean"),
        (&["--mix", "other.safetensors", "--share", "1.5"], "the share 1.5 is not from 0 to 1"),
        (&["--share", "0.3"], "--mix"),
    ] {
        let run = convert(refused);
        assert!(!run.status.success() && text(&run.stderr).contains(words), "{refused:?}");
    }
}

#[test]
fn a_mismatch_names_its_tensors() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    weights(at);
    let mut file = WeightFile::read(&at.join("w.safetensors")).unwrap();
    file.metadata.clear();
    let stem = file.tensors.remove("feat_extract.0.main.0.weight").unwrap();
    file.tensors.insert("feat_extract.9.weight".into(), stem.clone());
    file.tensors.insert("Decoder.0.layers.0.main.0.main.0.bias".into(), stem);
    file.write(&at.join("wrong.pth")).unwrap();
    let convert = irnext(at, &["convert", "wrong.pth", "w.pkl"]);
    let complained = text(&convert.stderr);
    for part in [
        "1 missing: feat_extract.0.main.0.weight",
        "1 unexpected: feat_extract.9.weight",
        "1 of another shape: Decoder.0.layers.0.main.0.main.0.bias is [8, 3, 3, 3], not [32]",
    ] {
        assert!(complained.contains(part), "{part} is not in {complained}");
    }
    assert!(!at.join("w.pkl").exists());
    let inspect = irnext(at, &["inspect", "wrong.pth"]);
    assert!(
        text(&inspect.stdout).contains("1 missing: feat_extract.0.main.0.weight"),
        "{}",
        text(&inspect.stdout)
    );
    assert!(inspect.status.success(), "the file is whole, if not ours");
}

#[test]
fn calls_in_a_pickle_are_listed_and_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("w.pkl"), b"cos\nsystem\n(S'touch pwned; printf \x1b[2J'\ntR.").unwrap();
    let inspect = irnext(at, &["inspect", "w.pkl"]);
    assert!(!inspect.status.success());
    let said = text(&inspect.stdout);
    assert!(said.contains("os.system('touch pwned; printf \\u{1b}[2J')"), "{said}");
    let restore = irnext(at, &["restore", "--weights", "w.pkl", "a.png"]);
    assert!(
        text(&restore.stderr).contains("w.pkl: refused")
            && text(&restore.stderr).contains("os.system")
    );
    assert!(!at.join("pwned").exists());
    let json = irnext(at, &["inspect", "--json", "w.pkl"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(json["refused"][0].as_str().unwrap().starts_with("os.system"), "{json}");
}

#[test]
fn a_whole_file_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    weights(at);
    let inspect = irnext(at, &["inspect", "w.safetensors"]);
    assert!(inspect.status.success());
    let said = text(&inspect.stdout);
    for part in [
        "w.safetensors: safetensors",
        "n = 0, width 8, 1 MSM, G = 4, K = 3",
        "feat_extract.5.main.0.bias",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}

#[test]
fn pairs_are_written_and_scored() {
    use irnext::degrade::{Look, Task, pair};
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    weights(at);
    fs::create_dir(at.join("clean")).unwrap();
    Photo::new(picture(64, 64)).write(at.join("clean/a.png")).unwrap();
    let synth = |seed: &str, out: &str| {
        irnext(at, &["synth", "--task", "derain", "--seed", seed, "clean", out])
    };
    assert!(
        synth("1", "one").status.success()
            && synth("1", "two").status.success()
            && synth("2", "three").status.success()
    );
    let input = |out: &str| fs::read(at.join(out).join("input/a.png")).unwrap();
    assert_eq!(input("one"), input("two"));
    assert_ne!(input("one"), input("three"));
    assert!(!synth("1", "one").status.success(), "it wrote over its own files");
    let record = fs::read_to_string(at.join("three/pairs.jsonl")).unwrap();
    let line: serde_json::Value = serde_json::from_str(&record).unwrap();
    assert_eq!(
        (&line["name"], &line["task"], &line["seed"]),
        (&"a.png".into(), &"derain".into(), &2.into())
    );
    // The line says enough to make the picture again.
    let source = Photo::read(at.join(line["source"].as_str().unwrap())).unwrap().image();
    let mut rng =
        engine::Rng::at(line["seed"].as_u64().unwrap(), 0, line["index"].as_u64().unwrap());
    let again = irnext::degrade::degrade("derain".parse().unwrap(), &source, &mut rng);
    Photo::new(again).write(at.join("again.png")).unwrap();
    assert_eq!(input("three"), fs::read(at.join("again.png")).unwrap());
    // Pictures have the requested look; for some, the clean side is made as well.
    for look in Look::ALL {
        let kind = look.name();
        let made = irnext(at, &["synth", "--task", "dehaze", "--look", kind, "clean", kind]);
        assert!(made.status.success(), "{}", text(&made.stderr));
        let line = fs::read_to_string(at.join(kind).join("pairs.jsonl")).unwrap();
        assert!(line.contains(&format!("\"look\":\"{kind}\"")), "{line}");
        let mut rng = engine::Rng::at(0, 0, 0);
        let (hazy, clean) = pair(Task::Dehaze, &source, look, &mut rng);
        for (side, image) in [("input", hazy), ("target", clean)] {
            Photo::new(image).write(at.join("again.png")).unwrap();
            let file = at.join(kind).join(side).join("a.png");
            assert_eq!(fs::read(file).unwrap(), fs::read(at.join("again.png")).unwrap());
        }
    }
    let run = irnext(
        at,
        &["eval", "--weights", "w.safetensors", "--input", "one/input", "--target", "one/target"],
    );
    assert!(run.status.success(), "{}", text(&run.stderr));
    assert!(text(&run.stdout).contains("mean of 1"));
}

#[test]
fn a_sheet_shows_every_task() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::create_dir(at.join("clean")).unwrap();
    let sheet = || irnext(at, &["synth", "--sheet", "sheet.png", "clean"]);
    assert!(text(&sheet().stderr).contains("contains no images"));
    Photo::new(picture(64, 64)).write(at.join("clean/a.png")).unwrap();
    Photo::new(picture(3, 90)).write(at.join("clean/b.png")).unwrap();
    assert!(sheet().status.success());
    assert_eq!(Photo::size(at.join("sheet.png")).unwrap(), (6 * 192, 2 * 144));
    assert!(text(&sheet().stderr).contains("--overwrite"), "it wrote over its own file");
    let wild = ["synth", "--task", "derain", "--look", "wild", "--sheet", "wild.png", "clean"];
    assert!(irnext(at, &wild).status.success());
    assert_eq!(Photo::size(at.join("wild.png")).unwrap(), (6 * 192, 2 * 144));
    assert!(!irnext(at, &["synth", "clean", "out"]).status.success(), "neither a task nor a sheet");
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
    // The book's example.
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
        assert!(
            panel.gray && (panel.image().width(), panel.image().height()) == (70, 50),
            "{name}"
        );
    }
    // Nothing is written if anything would be overwritten.
    fs::remove_file(at.join("seen/input.png")).unwrap();
    let again = irnext(at, &arguments);
    assert!(
        !again.status.success() && text(&again.stderr).contains("already exists"),
        "{}",
        text(&again.stderr)
    );
    assert!(!at.join("seen/input.png").exists());
    assert!(
        irnext(at, &[&arguments[..], &["--overwrite", "--block", "Encoder.1"]].concat())
            .status
            .success()
    );

    let config = ModelConfig { width: 8, n: 0, msm: 0, ..ModelConfig::default() };
    let model = Model::new(&config, 1, engine::DType::F32).unwrap();
    model
        .to_file(engine::DType::F32, Default::default())
        .unwrap()
        .write(&at.join("plain.safetensors"))
        .unwrap();
    let run = irnext(at, &["explain", "a.png", "--weights", "plain.safetensors", "-o", "plain"]);
    assert!(
        !run.status.success() && text(&run.stderr).contains("no multi-scale modules"),
        "{}",
        text(&run.stderr)
    );
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
fn the_op_check_runs_on_demand() {
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
    let text_of_config = "task = \"dehaze\"\nout = \"run\"\n[data]\nclean = \"clean\"\ncrop = \
    64\n[optimizer]\nbatch = 2\nsteps = 3\n\
                          [model]\nwidth = 8\nn = 0\ngroups = 4\n";
    fs::write(at.join("c.toml"), text_of_config).unwrap();
    let shown = irnext(at, &["train", "c.toml", "--show", "--set", "seed=9"]);
    assert!(text(&shown.stdout).contains("seed = 9") && !at.join("run").exists());
    let stopped = irnext(at, &["train", "c.toml", "--minutes", "0"]);
    assert!(text(&stopped.stdout).contains("1 of 3 steps done"), "{}", text(&stopped.stdout));
    let finished = irnext(at, &["train", "c.toml", "--profile"]);
    assert!(text(&finished.stdout).contains("3 of 3 steps done"), "{}", text(&finished.stderr));
    assert!(text(&finished.stderr).contains("  conv2d backward\n"), "{}", text(&finished.stderr));
    let converted =
        irnext(at, &["convert", "--dtype", "f16", "run/weights.safetensors", "small.safetensors"]);
    assert!(converted.status.success(), "{}", text(&converted.stderr));
    let restored =
        irnext(at, &["restore", "--weights", "small.safetensors", "clean/a.png", "-o", "a.png"]);
    assert!(restored.status.success(), "{}", text(&restored.stderr));
    assert!(text(&restored.stdout).contains("dehaze, 80×70"), "{}", text(&restored.stdout));
}

#[test]
fn a_run_can_be_watched() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for name in ["clean/a.png", "clean/b.png", "hazy/a.png", "hazy/b.png"] {
        fs::create_dir_all(at.join(name).parent().unwrap()).unwrap();
        Photo::new(picture(80, 70)).write(at.join(name)).unwrap();
    }
    let text_of_config = "task = \"dehaze\"\nout = \"run\"\n[data]\nclean = \"clean\"\ncrop = \
    64\n[optimizer]\nbatch = 2\nsteps = 4\n\
                          [validation]\ninput = \"hazy\"\ntarget = \"clean\"\nevery = \
                           2\n[model]\nwidth = 8\nn = 0\ngroups = 4\n";
    fs::write(at.join("c.toml"), text_of_config).unwrap();
    let metrics = at.join("run/metrics.jsonl");
    let lines = || -> Vec<serde_json::Value> {
        fs::read_to_string(&metrics)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    assert!(irnext(at, &["train", "c.toml", "--minutes", "0"]).status.success());
    assert_eq!(lines().len(), 1);
    // As if killed two steps after the checkpoint, in the middle of a line.
    let first = fs::read_to_string(&metrics).unwrap();
    let later = |step: &str| first.replace("\"step\":1,", &format!("\"step\":{step},"));
    fs::write(&metrics, [&first, &later("2"), &later("3")[..40]].concat()).unwrap();
    let finished = irnext(at, &["train", "c.toml"]);
    assert!(finished.status.success(), "{}", text(&finished.stderr));

    let lines = lines();
    let of = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).collect::<Vec<_>>();
    let steps =
        |kind: &str| of(kind).iter().map(|line| line["step"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(
        (steps("step"), steps("validation"), lines.len()),
        (vec![1, 2, 3, 4], vec![2, 4], 6)
    );
    for line in of("step") {
        let number =
            |key: &str| line[key].as_f64().unwrap_or_else(|| panic!("{key} is missing in {line}"));
        let sum = number("spatial") + 0.1 * number("frequency");
        assert!((number("loss") - sum).abs() < 1e-5 * sum, "{line}");
        for key in ["learning_rate", "gradient_norm", "images_per_second", "time"] {
            assert!(number(key) > 0.0, "{key} in {line}");
        }
    }
    assert!(
        of("validation")
            .iter()
            .all(|line| line["psnr"].as_f64() > Some(0.0) && line["ssim"].is_f64())
    );
    let events: Vec<_> =
        fs::read_dir(at.join("run/events")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(events.len(), 2, "one for each time it was started: {events:?}");
    let written = events.iter().map(|path| fs::read(path).unwrap()).max_by_key(Vec::len).unwrap();
    for tag in [
        "loss/total",
        "train/images_per_second",
        "validation/psnr",
        "samples/a.png",
        "samples/b.png",
    ] {
        assert!(written.windows(tag.len()).any(|part| part == tag.as_bytes()), "{tag} is missing");
    }
    let page = fs::read_to_string(at.join("run/page.html")).unwrap();
    for part in [
        "<h1>Training: run</h1>",
        "<td>4 of 4</td>",
        "<td>dehaze</td>",
        "<h2>a.png</h2>",
        "<h2>b.png</h2>",
        "<figcaption>degraded</figcaption>",
        "<figcaption>step 2</figcaption>",
        "<figcaption>step 4</figcaption>",
        "<figcaption>target</figcaption>",
        "warmup = 3",
    ] {
        assert!(page.contains(part), "{part} is missing");
    }
    assert_eq!((page.matches("<svg").count(), page.matches("<img").count()), (6, 8));
    assert!(!page.contains("://") && !page.contains("none in the log"));
    assert!(irnext(at, &["plot", "run", "-o", "same.html"]).status.success());
    assert_eq!(fs::read_to_string(at.join("same.html")).unwrap(), page);
}

/// Without validation pairs, samples are of training pairs. Where they or the page cannot be
/// written, the run says so, and goes on.
#[test]
fn a_run_ends_well_without_its_page() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::create_dir_all(at.join("clean")).unwrap();
    for name in ["clean/a.png", "clean/b.png"] {
        Photo::new(picture(80, 70)).write(at.join(name)).unwrap();
    }
    let config = |out: &str| {
        format!(
            "task = \"dehaze\"\nout = \"{out}\"\n[data]\nclean = \"clean\"\ncrop = \
             64\n[optimizer]\nbatch = 2\nsteps = 3\n[validation]\nevery = 1\n[model]\nwidth = \
             8\nn = 0\ngroups = 4\n"
        )
    };
    for out in ["with", "without"] {
        fs::create_dir(at.join(out)).unwrap();
        fs::write(at.join(format!("{out}.toml")), config(out)).unwrap();
    }
    // Samples of steps that this run has not taken.
    fs::create_dir_all(at.join("with/samples/1-a.png")).unwrap();
    fs::write(at.join("with/samples/1-a.png/step-0000009.jpg"), "of before").unwrap();
    fs::write(at.join("without/samples"), "a file").unwrap();
    fs::create_dir(at.join("without/page.html")).unwrap();
    let with = irnext(at, &["train", "with.toml"]);
    assert!(with.status.success() && with.stderr.is_empty(), "{}", text(&with.stderr));
    let page = fs::read_to_string(at.join("with/page.html")).unwrap();
    assert_eq!(page.matches("<img").count(), 2 * (3 + 2), "{page}");
    let without = irnext(at, &["train", "without.toml"]);
    let said = text(&without.stderr);
    assert!(without.status.success(), "{said}");
    assert!(said.contains("step 1: no samples were drawn: without/samples"), "{said}");
    assert_eq!((said.matches("no samples").count(), said.lines().count()), (1, 2), "{said}");
    assert!(said.contains("the page of the run was not written: without/page.html"), "{said}");
    let weights = |out: &str| fs::read(at.join(out).join("weights.safetensors")).unwrap();
    assert!(weights("with") == weights("without"), "samples change the weights");
    // A run of an earlier version, without either, has a page on its next start.
    fs::remove_file(at.join("without/samples")).unwrap();
    fs::remove_dir(at.join("without/page.html")).unwrap();
    assert!(irnext(at, &["train", "without.toml"]).status.success());
    let page = fs::read_to_string(at.join("without/page.html")).unwrap();
    assert_eq!(page.matches("<figcaption>step 3").count(), 2);
    assert_eq!(page.matches("A training pair: the run has no others.").count(), 2);
    assert!(page.contains("<td>nothing: the run is complete</td>"), "{page}");
    assert!(weights("with") == weights("without"));
    // So has a complete one whose page was deleted, whose log does not grow by that.
    let events = || fs::read_dir(at.join("with/events")).unwrap().count();
    let before = events();
    fs::remove_file(at.join("with/page.html")).unwrap();
    assert!(irnext(at, &["train", "with.toml"]).status.success());
    assert!(at.join("with/page.html").exists() && events() == before);
    let other = irnext(at, &["train", "with.toml", "--set", "seed=8"]);
    assert!(text(&other.stderr).contains("seed is 0 there, and 8 here"), "{}", text(&other.stderr));
}

#[test]
fn validation_pairs_are_checked_first_and_small_ones_counted() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for (name, side) in [("clean/a.png", 80), ("input/a.png", 64), ("input/b.png", 9)] {
        fs::create_dir_all(at.join(name).parent().unwrap()).unwrap();
        Photo::new(picture(side, side)).write(at.join(name)).unwrap();
    }
    fs::create_dir(at.join("target")).unwrap();
    let target = |side: usize| Photo::new(picture(side, 9)).write(at.join("target/b.png")).unwrap();
    fs::copy(at.join("input/a.png"), at.join("target/a.png")).unwrap();
    fs::write(
        at.join("c.toml"),
        "task = \"dehaze\"\nout = \"run\"\n[data]\nclean = \"clean\"\ncrop = 64\n\
         crops_per_image = 2\n[optimizer]\nbatch = 2\nsteps = 1\n[validation]\n\
         input = \"input\"\ntarget = \"target\"\n[model]\nwidth = 8\nn = 0\ngroups = 4\n",
    )
    .unwrap();
    target(10);
    let refused = irnext(at, &["train", "c.toml"]);
    let said = text(&refused.stderr);
    assert!(!refused.status.success() && !at.join("run").exists(), "{said}");
    assert!(said.contains("has 9x9 pixels, and its target"), "{said}");
    target(9);
    let trained = irnext(at, &["train", "c.toml"]);
    assert!(trained.status.success(), "{}", text(&trained.stderr));
    let said = text(&trained.stdout);
    assert!(said.contains("(pairs too small for it: 1)"), "{said}");
}

#[test]
fn curves_are_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for (run, level) in [("one", 0.5), ("two", 0.3)] {
        let line = |step: usize| {
            let loss = if step == 7 { "null".into() } else { (level / step as f64).to_string() };
            format!(
                "{{\"kind\":\"step\",\"step\":{step},\"time\":1.0,\"loss\":{loss},\
                 \"spatial\":0.1,\"frequency\":1.0,\
                 \"learning_rate\":1e-4,\"gradient_norm\":0.2,\
                 \"images_per_second\":2.0,\"skipped\":false}}\n"
            )
        };
        fs::create_dir(at.join(run)).unwrap();
        fs::write(at.join(run).join("metrics.jsonl"), (1..=300).map(line).collect::<String>())
            .unwrap();
    }
    let run = irnext(at, &["plot", "one", "two"]);
    assert!(run.status.success(), "{}", text(&run.stderr));
    assert_eq!(text(&run.stdout), "curves.png\n");
    let picture = Photo::read(at.join("curves.png")).unwrap().image();
    // Both colors are there, and text.
    for color in [[0.0, 114.0, 178.0], [213.0, 94.0, 0.0], [40.0, 44.0, 52.0]] {
        let same =
            |pixel: [f32; 3]| pixel.iter().zip(color).all(|(a, b)| (255.0 * a - b).abs() < 2.0);
        assert!(picture.pixels().filter(|pixel| same(*pixel)).count() > 50, "{color:?}");
    }
    let again = irnext(at, &["plot", "one"]);
    assert!(
        text(&again.stderr).contains("curves.png: already exists; --overwrite"),
        "{}",
        text(&again.stderr)
    );
    assert!(irnext(at, &["plot", "one", "--overwrite"]).status.success());
    assert!(irnext(at, &["plot", "one/metrics.jsonl", "two", "-o", "c.svg"]).status.success());
    let svg = fs::read_to_string(at.join("c.svg")).unwrap();
    assert!(
        svg.starts_with("<svg")
            && ["\none\n", "\ntwo\n", "300 steps"].iter().all(|part| svg.contains(part))
    );

    fs::create_dir(at.join("empty")).unwrap();
    fs::create_dir(at.join("new")).unwrap();
    fs::write(at.join("new/metrics.jsonl"), "{\"kind\":").unwrap();
    fs::write(at.join("list.txt"), "milk\n").unwrap();
    for (arguments, complaint) in [
        (&["empty"][..], "empty: is not the folder of a training run: it has no metrics.jsonl"),
        (&["new"], "new/metrics.jsonl: has no steps yet"),
        (&["list.txt"], "list.txt: line 1 is not a record of a training run"),
        (&["nowhere"], "nowhere: "),
        (&["one", "-o", "x.gif"], "x.gif is no file that curves can be written to"),
        (&["one"; 9], "9 runs are too many for one plot"),
    ] {
        let run = irnext(at, &[&["plot"], arguments, &["--overwrite"]].concat());
        let said = text(&run.stderr);
        assert!(
            !run.status.success() && said.contains(complaint) && !said.contains("panicked"),
            "{said}"
        );
    }
}

/// GoPro as published: two scenes to train on and one for the test, each a few frames.
fn gopro(folder: &Path) {
    for (scene, frames) in
        [("train/GOPR0372_07_00", 4), ("train/GOPR0374_11_00", 2), ("test/GOPR0384_11_00", 1)]
    {
        for (kind, gain) in [("blur", 0.8), ("blur_gamma", 0.5), ("sharp", 1.0)] {
            let at = folder.join("GOPRO_Large").join(scene).join(kind);
            fs::create_dir_all(&at).unwrap();
            for frame in 1..=frames {
                let mut picture = picture(96, 70);
                picture.data_mut().iter_mut().for_each(|v| *v *= gain);
                Photo::new(picture).write(at.join(format!("{frame:06}.png"))).unwrap();
            }
        }
    }
}

/// A recipe, with a network and crops that a test has time for.
const SMALL_GOPRO: &[&str] = &[
    "train",
    "--recipe",
    "gopro",
    "--data",
    "GOPRO_Large",
    "--out",
    "run",
    "--set",
    "data.hold_back=2",
    "--set",
    "data.crop=[64, 96]",
    "--set",
    "optimizer.batch=2",
    "--set",
    "model.width=8",
    "--set",
    "model.n=0",
];

#[test]
fn a_recipe_is_planned_tried_and_followed() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    gopro(at);
    let said = |more: &[&str]| {
        let run = irnext(at, &[SMALL_GOPRO, more].concat());
        assert!(run.status.success(), "{}", text(&run.stderr));
        text(&run.stdout)
    };
    let plan = said(&["--dry-run", "--shorten", "0.01"]);
    for part in [
        "30 epochs, warm-up 1, validation every 500 steps instead of 3000 epochs, warm-up 3, \
             validation every 50000",
        "training on 4 pairs; 2 are held back for validation (1 scenes)",
        "6 training pairs; the published count is 2103",
        "96x70: 4",
        "2 crops of 96x64",
        "2 per epoch, 60 in all, 0 done",
        "s per step (3 steps",
        "irnext eval GOPRO_Large --protocol gopro --weights run/weights.safetensors",
    ] {
        assert!(plan.contains(part), "{part} is missing:\n{plan}");
    }
    let peak: f64 =
        plan.split("memory").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    assert!(peak > 0.0, "{plan}");
    let in_folder: Vec<_> =
        fs::read_dir(at).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(in_folder, ["GOPRO_Large"], "a dry run writes nothing");

    let done = said(&["--set", "optimizer.steps=3"]);
    for part in [
        "3 of 3 steps done",
        "validation",
        "to score the weights by the protocol of their table: irnext eval GOPRO_Large",
    ] {
        assert!(done.contains(part), "{part} is missing:\n{done}");
    }
    // The command that it names works, and finds the test.
    let command = done.split("of their table: irnext ").nth(1).unwrap().lines().next().unwrap();
    let scored = irnext(at, &command.split(' ').collect::<Vec<_>>());
    assert!(scored.status.success(), "{}", text(&scored.stderr));
    assert!(text(&scored.stdout).contains("mean of 1"), "{}", text(&scored.stdout));
    assert!(said(&["--set", "optimizer.steps=3", "--dry-run"]).contains("3 in all, 3 done"));
}

#[test]
fn recipes_are_listed_printed_and_suggested() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let list = text(&irnext(at, &["recipes"]).stdout);
    assert!(
        list.lines().any(|line| line.starts_with("gopro ") && line.contains("Table 6")),
        "{list}"
    );
    let printed = irnext(at, &["recipes", "gopro"]).stdout;
    fs::write(at.join("mine.toml"), &printed).unwrap();
    let shown = |arguments: &[&str]| text(&irnext(at, arguments).stdout);
    let mine = shown(&["train", "mine.toml", "--show"]);
    assert!(mine.contains("epochs = 3000"), "{mine}");
    assert_eq!(mine, shown(&["train", "--recipe", "gopro", "--show"]));
    for arguments in [&["train", "--recipe", "gopr"][..], &["recipes", "gopr"]] {
        let unknown = irnext(at, arguments);
        let complaint = text(&unknown.stderr);
        assert!(!unknown.status.success() && complaint.contains("'gopro'"), "{complaint}");
    }
    let nowhere = irnext(at, &["train", "--recipe", "gopro"]);
    assert!(
        !nowhere.status.success() && text(&nowhere.stderr).contains("--data"),
        "{}",
        text(&nowhere.stderr)
    );
    assert!(!at.join("runs").exists());
    let both = irnext(at, &["train", "mine.toml", "--recipe", "gopro"]);
    assert!(!both.status.success());
    assert!(!irnext(at, &["train"]).status.success());
    let large = irnext(at, &["train", "--recipe", "gopro", "--shorten", "2", "--show"]);
    assert!(text(&large.stderr).contains("at most 1"), "{}", text(&large.stderr));
}

#[test]
fn photographs_without_ground_truth_are_scored_by_niqe() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    weights(at);
    fs::create_dir(at.join("photos")).unwrap();
    for name in ["a.png", "b.png"] {
        let grain = |x: usize, y: usize| 0.3 + 0.4 * ((x * x + 3 * y + x * y) % 17) as f32 / 17.0;
        let image = Image::build(200, 200, |x, y| [grain(x, y); 3]).unwrap();
        Photo::new(image).write(at.join("photos").join(name)).unwrap();
    }
    Photo::new(picture(40, 40)).write(at.join("photos/small.png")).unwrap();
    let eval = |more: &[&str]| irnext(at, &[&["eval", "--input", "photos"], more].concat());
    let run = eval(&["--weights", "w.safetensors"]);
    let table = text(&run.stdout);
    assert!(run.status.success(), "{}", text(&run.stderr));
    assert!(table.contains("mean of 3 (niqe of 2, niqe_y of 2)"), "{table}");
    assert!(table.contains("small.png (degraded): niqe: NIQE needs two blocks"), "{table}");
    assert!(table.contains("restored") && !table.contains("psnr "), "{table}");
    let refused = eval(&["--measures", "niqe,psnr"]);
    assert!(!refused.status.success());
    assert!(text(&refused.stderr).contains("psnr needs ground truth: give its folder by --target"));
}

/// Three pairs in a published layout: the inputs are darker than their targets.
fn rain100l(folder: &Path) {
    for (i, side) in [64, 70, 90].into_iter().enumerate() {
        for (kind, gain) in [("input", 0.8), ("target", 1.0)] {
            let path = folder.join(format!("Rain100L/{kind}/{i}.png"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut picture = picture(side, 64);
            picture.data_mut().iter_mut().for_each(|v| *v *= gain);
            Photo::new(picture).write(path).unwrap();
        }
    }
}

#[test]
fn eval_scores_by_protocol_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    weights(at);
    rain100l(at);
    let said = |arguments: &[&str]| {
        let run =
            irnext(at, &[&["eval", "Rain100L", "--protocol", "rain-y"][..], arguments].concat());
        assert!(run.status.success(), "{}", text(&run.stderr));
        text(&run.stdout)
    };
    let table = said(&[]);
    for part in ["psnr_y_8bit", "mean of 3", "26.90 dB", "decoder", "the input images are scored"] {
        assert!(table.contains(part), "{part} is missing:\n{table}");
    }
    assert!(!table.contains("restored  "), "{table}");
    let json = said(&[
        "--weights",
        "w.safetensors",
        "--format",
        "json",
        "--measures",
        "headline",
        "--limit",
        "2",
        "--profile",
    ]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["weights"], "w.safetensors");
    let set = &json["sets"][0];
    assert_eq!(
        (set["data_set"].as_str(), set["images"].as_array().map(Vec::len)),
        (Some("Rain100L"), Some(2))
    );
    let scores = set["means"][0]["restored"].as_object().unwrap();
    assert_eq!(scores.keys().collect::<Vec<_>>(), ["psnr_y_8bit", "ssim_y_8bit"]);
    let csv = said(&["--format", "csv", "--measures", "psnr,mae"]);
    assert_eq!(csv.lines().count(), 1 + 3 + 1, "{csv}");

    let wrong = irnext(at, &["eval", "Rain100L", "--measures", "psnr,beauty"]);
    assert!(!wrong.status.success() && text(&wrong.stderr).contains("beauty"));
    assert!(!irnext(at, &["eval", "Rain100L", "--split", "train"]).status.success());
    assert!(!irnext(at, &["eval"]).status.success());
}

#[test]
fn lpips_is_scored_with_its_weights_and_otherwise_said_to_be_missing() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    rain100l(at);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights/lpips-alex.safetensors");
    let eval = |program: &Path, more: &[&str]| {
        let mut command = Command::new(program);
        command.current_dir(at).args(["eval", "--input", "Rain100L/input", "--target"]);
        let run = command.arg("Rain100L/target").args(["--format", "csv"]).args(more).output();
        let run = run.unwrap();
        (run.status.success(), text(&run.stdout), text(&run.stderr))
    };
    let program = Path::new(env!("CARGO_BIN_EXE_irnext"));
    let header = |csv: &str| csv.lines().next().unwrap_or_default().to_string();

    // A request for it is answered with its place; a protocol has other scores, too.
    let (done, _, complained) = eval(program, &["--measures", "lpips"]);
    assert!(!done && complained.contains("--lpips FILE"), "{complained}");
    let (done, csv, complained) = eval(program, &["--protocol", "dpdd", "--measures", "headline"]);
    assert!(done && complained.contains("lpips is left out"), "{complained}");
    assert!(header(&csv).ends_with("which,psnr,ssim_uniform7,mae"), "{csv}");

    let (done, csv, complained) =
        eval(program, &["--measures", "mae", "--lpips", file.to_str().unwrap()]);
    assert!(done && header(&csv).ends_with("which,mae,lpips"), "{complained}{csv}");
    assert!(csv.lines().skip(1).all(|line| !line.ends_with(',')), "{csv}");

    // Beside the program it is found.
    let moved = at.join("irnext");
    fs::copy(program, &moved).unwrap();
    fs::copy(&file, at.join("lpips-alex.safetensors")).unwrap();
    let (done, same, complained) = eval(&moved, &["--measures", "mae,lpips"]);
    assert!(done && same == csv, "{complained}{same}");
}

#[test]
fn doctor_finds_what_is_missing_and_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    rain100l(at);
    fs::write(at.join("Rain100L/input/1.png"), b"no picture").unwrap();
    fs::remove_file(at.join("Rain100L/target/2.png")).unwrap();
    let run = irnext(at, &["doctor", "Rain100L"]);
    assert!(!run.status.success());
    let said = text(&run.stdout);
    for part in ["EXPECTED 100", "input/1.png", "UNPAIRED", "input/2.png"] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
    assert!(!irnext(at, &["doctor", "nowhere"]).status.success());
}

#[cfg(unix)]
#[test]
fn bash_completes_photographs_and_their_options() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    if !Path::new("/bin/bash").exists() {
        return;
    }
    fs::write(at.join("script"), irnext(at, &["completions", "bash"]).stdout).unwrap();
    fs::write(at.join("foggy.jpg"), "").unwrap();
    // The words that the script offers for the last one of a line; none stands for file names.
    let offered = |line: &str| {
        let run = format!(
            "source ./script; COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _irnext irnext \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD - 1]}}\"; \
             echo \"${{COMPREPLY[@]}}\""
        );
        text(&Command::new("bash").args(["-c", &run]).current_dir(at).output().unwrap().stdout)
    };
    assert_eq!(offered("irnext --ta").trim(), "--task");
    assert!(offered("irnext --task de").contains("dehaze"));
    assert_eq!(offered("irnext --output fo").trim(), "foggy.jpg");
    assert_eq!(offered("irnext fo").trim(), "");
    let script = fs::read_to_string(at.join("script")).unwrap();
    assert!(script.contains("-o default irnext"), "no file names where nothing is offered");
}

#[test]
fn completions_and_manual_pages_name_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = text(&irnext(at, &["completions", shell]).stdout);
        assert!(["restore", "overwrite"].iter().all(|word| script.contains(word)), "{script}");
        if !Path::new("/bin").join(shell).exists() {
            continue;
        }
        // What the shell itself says about the script.
        fs::write(at.join("script"), &script).unwrap();
        let checked = Command::new(shell).args(["-n", "script"]).current_dir(at).output().unwrap();
        assert!(checked.status.success(), "{shell}: {}", text(&checked.stderr));
    }
    let page = text(&irnext(at, &["man"]).stdout);
    assert!(page.contains(".TH irnext 1") && page.contains("foggy.jpg"), "{page}");
    // Not where somebody looks for the page of a command.
    let refused = irnext(at, &["man", "restore"]);
    assert!(!refused.status.success() && text(&refused.stderr).contains("slash: restore/"));
    assert!(!at.join("restore").exists());
    let written = irnext(at, &["man", "pages/"]);
    assert!(written.status.success(), "{}", text(&written.stderr));
    let restore = fs::read_to_string(at.join("pages/irnext-restore.1")).unwrap();
    assert!(restore.contains(".TH irnext-restore 1"), "{restore}");
    for file in fs::read_dir(at.join("pages")).unwrap() {
        let page = fs::read_to_string(file.unwrap().path()).unwrap();
        let version = concat!("\"irnext ", env!("CARGO_PKG_VERSION"), "\"");
        assert!(
            page.lines().any(|line| line.starts_with(".TH") && line.contains(version)),
            "{page}"
        );
        assert!(!page.contains("EXTRA") && !page.contains("help(1)"), "{page}");
    }
    assert!(restore.contains(".SH EXAMPLES\n.nf\n  irnext foggy.jpg"), "{restore}");
    assert!(restore.contains("Replace existing results"), "{restore}");
    assert!(!irnext(at, &["man", "pages"]).status.success(), "it overwrites pages");
    assert!(irnext(at, &["man", "pages", "--overwrite"]).status.success());
}
