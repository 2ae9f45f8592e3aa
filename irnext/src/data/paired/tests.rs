//! Pairing rules, layouts and samples, on files made for the purpose.

use std::fs;

use tempfile::TempDir;

use super::super::{files::file_name, tests::tree};
use super::*;
use crate::image::Photo;

fn open(root: &TempDir) -> Result<Paired> {
    let folder = |names: [&str; 3]| {
        names.map(|n| root.path().join(n)).into_iter().find(|f| f.is_dir()).unwrap()
    };
    let (inputs, targets) = (folder(["input", "hazy", ""]), folder(["target", "gt", "GT"]));
    Paired::from_folders(&inputs, &targets, PhotoCache::new(1 << 20))
}

/// Pairs as "input target", paths relative to the root, and the names of unpaired files.
fn pairing(root: &TempDir) -> (Vec<String>, Vec<String>) {
    let short = |path: &Path| path.strip_prefix(root.path()).unwrap().display().to_string();
    let found =
        Pairing::of_folders(&root.path().join("input"), &root.path().join("target")).unwrap();
    let pairs = found.pairs.iter().map(|p| format!("{} {}", short(&p.input), short(&p.target)));
    (pairs.collect(), found.unpaired.iter().map(|path| file_name(path)).collect())
}

#[test]
fn pairs_by_name_stem_id_and_suffix() {
    let root = tree(&[
        "input/a.png",
        "target/a.png",
        "target/a.jpg",
        "input/b.png",
        "target/b.jpg",
        "input/1400_1.png",
        "input/1400_2_x.png",
        "target/1400.png",
        "input/07_hazy.png",
        "target/07_GT.png",
        "input/late_1.png",
        "target/late_1.bmp",
        "target/late.png",
    ]);
    let (pairs, left) = pairing(&root);
    assert_eq!(
        pairs,
        [
            "input/07_hazy.png target/07_GT.png",
            "input/1400_1.png target/1400.png",
            "input/1400_2_x.png target/1400.png",
            "input/a.png target/a.png",
            "input/b.png target/b.jpg",
            "input/late_1.png target/late_1.bmp",
        ]
    );
    assert_eq!(left, ["a.jpg", "late.png"]);
    assert_eq!(open(&root).unwrap().name(1), "1400_1.png");
}

#[test]
fn lists_what_has_no_partner() {
    let root = tree(&["input/1.png", "input/2.png", "target/2.png", "target/3.png"]);
    let (pairs, left) = pairing(&root);
    assert_eq!(pairs, ["input/2.png target/2.png"]);
    assert_eq!(left, ["1.png", "3.png"]);
}

#[test]
fn refuses_what_cannot_be_paired() {
    let error = |files: &[&str]| open(&tree(files)).unwrap_err().to_string();
    assert!(error(&["input/a.png", "target/b.png"]).contains("a.png"));
    assert!(error(&["input/notes.txt", "target/b.txt"]).contains("no image files"));
    let message = error(&["input/a.png", "target/a.jpg", "target/a.bmp"]);
    assert!(message.contains("a.jpg") && message.contains("a.bmp"), "{message}");
    let nowhere = Path::new("no such folder");
    assert!(Paired::from_folders(nowhere, nowhere, PhotoCache::new(0)).is_err());
}

/// A photograph whose pixels tell their place, counted from (`x0`, `y0`).
fn write_place(path: &Path, width: usize, height: usize, x0: usize, y0: usize) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let value = |place: usize| place as f32 / 255.0;
    let image = Image::from_fn(width, height, |x, y| [value(x + x0), value(y + y0), 0.0]);
    Photo::new(image).write(path).unwrap();
}

#[test]
fn cuts_input_and_target_alike() {
    let root = tree(&[]);
    write_place(&root.path().join("input/a.png"), 30, 20, 0, 0);
    write_place(&root.path().join("target/a.png"), 30, 20, 0, 0);
    let set = open(&root).unwrap();
    let crop = CropSpec { max_shrink: 1.7, ..CropSpec::square(9) };
    for index in 0..20 {
        let (input, target) = set.sample(0, &mut Rng::at(1, 1, index), &crop).unwrap();
        assert_eq!((input.width, input.height), (9, 9));
        assert_eq!(input, target);
    }
    let (input, target) = set.full(0).unwrap();
    assert_eq!((input.width, input.height), (30, 20));
    assert_eq!(input, target);
}

#[test]
fn sizes_are_checked_before_pixels_are_read() {
    let root = tree(&[]);
    for (name, height) in [("a.png", 20), ("b.png", 21)] {
        write_place(&root.path().join("input").join(name), 30, 20, 0, 0);
        write_place(&root.path().join("target").join(name), 30, height, 0, 0);
    }
    let set = open(&root).unwrap();
    set.check_sizes(1).unwrap();
    let message = set.check_sizes(2).unwrap_err().to_string();
    assert!(
        message.contains("has 30x20 pixels") && message.contains("b.png has 30x21"),
        "{message}"
    );
    assert_eq!(message, set.full(1).unwrap_err().to_string());
}

#[test]
fn cuts_off_the_border_of_reside_ground_truth() {
    let root = tree(&[]);
    write_place(&root.path().join("hazy/1_1.png"), 30, 25, 10, 10);
    write_place(&root.path().join("gt/1.png"), 50, 45, 0, 0);
    let set = open(&root).unwrap();
    let (input, target) = set.full(0).unwrap();
    assert_eq!(input, target);
    let (input, target) = set.sample(0, &mut Rng::new(3), &CropSpec::square(8)).unwrap();
    assert_eq!(input, target);
}

#[test]
fn refuses_a_pair_of_two_sizes() {
    let root = tree(&[]);
    write_place(&root.path().join("hazy/1_1.png"), 30, 25, 0, 0);
    write_place(&root.path().join("gt/1.png"), 32, 25, 0, 0);
    let error = open(&root).unwrap().full(0).unwrap_err().to_string();
    assert!(error.contains("1_1.png") && error.contains("32x25"), "{error}");
}
