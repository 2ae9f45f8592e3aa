//! Pairing rules, layouts and samples, on files made for the purpose.

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::image::Photo;

/// A folder with these (empty) files in it.
fn tree(files: &[&str]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for file in files {
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"").unwrap();
    }
    root
}

fn open(root: &TempDir) -> Result<Paired> {
    Paired::open(root.path(), PhotoCache::new(0))
}

/// Pairs as "input target", paths relative to the root.
fn pairs(set: &Paired, root: &TempDir) -> Vec<String> {
    let short = |path: &Path| path.strip_prefix(root.path()).unwrap().display().to_string();
    let pairs = set.pairs().iter();
    pairs.map(|p| format!("{} {}", short(&p.input), short(&p.target))).collect()
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
    let set = open(&root).unwrap();
    assert_eq!(
        pairs(&set, &root),
        [
            "input/07_hazy.png target/07_GT.png",
            "input/1400_1.png target/1400.png",
            "input/1400_2_x.png target/1400.png",
            "input/a.png target/a.png",
            "input/b.png target/b.jpg",
            "input/late_1.png target/late_1.bmp",
        ]
    );
    let left: Vec<_> = set.unpaired().iter().map(|path| file_name(path)).collect();
    assert_eq!(left, ["a.jpg", "late.png"]);
    assert_eq!(set.name(1), "1400_1.png");
}

#[test]
fn lists_what_has_no_partner() {
    let root = tree(&["hazy/1.png", "hazy/2.png", "GT/2.png", "GT/3.png"]);
    let set = open(&root).unwrap();
    assert_eq!(pairs(&set, &root), ["hazy/2.png GT/2.png"]);
    let left: Vec<_> = set.unpaired().iter().map(|path| file_name(path)).collect();
    assert_eq!(left, ["1.png", "3.png"]);
}

#[test]
fn knows_the_layouts_of_the_data_sets() {
    for folders in ["input target", "hazy gt", "hazy GT", "blur sharp", "Snow Gt", "inputC target"] {
        let (input, target) = folders.split_once(' ').unwrap();
        let root = tree(&[&format!("{input}/1.png"), &format!("{target}/1.png"), "blur_gamma/1.png"]);
        assert_eq!(open(&root).unwrap().len(), 1, "{folders}");
    }
}

#[test]
fn puts_scenes_together_but_not_splits() {
    let root = tree(&["s2/blur/1.png", "s2/sharp/1.png", "s1/blur/1.png", "s1/sharp/1.png"]);
    let set = open(&root).unwrap();
    let names: Vec<_> = (0..set.len()).map(|i| set.name(i)).collect();
    assert_eq!(names, ["s1/1.png", "s2/1.png"]);

    let files = ["train2500/Snow/1.png", "train2500/Gt/1.png", "test2000/Snow/1.png", "test2000/Gt/1.png"];
    let error = open(&tree(&files)).unwrap_err().to_string();
    assert!(error.contains("test2000, train2500"), "{error}");
}

#[test]
fn refuses_what_cannot_be_paired() {
    let error = |files: &[&str]| open(&tree(files)).unwrap_err().to_string();
    assert!(error(&["input/a.png", "target/b.png"]).contains("a.png"));
    assert!(error(&["input/notes.txt", "target/b.txt"]).contains("no image files"));
    assert!(error(&["other/a.png"]).contains("hazy/gt"));
    let message = error(&["input/a.png", "target/a.jpg", "target/a.bmp"]);
    assert!(message.contains("a.jpg") && message.contains("a.bmp"), "{message}");
    assert!(Paired::open(Path::new("no such folder"), PhotoCache::new(0)).is_err());
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
    let set = Paired::open(root.path(), PhotoCache::new(1 << 20)).unwrap();
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
