//! The training and test splits of a data set, found in the folders that its authors publish.

use std::fs;
use std::path::{Path, PathBuf};

use super::files::{file_name, folders};
use super::pairing::{Pair, Pairing};
use crate::error::{Error, Result};

/// Two sub-folders that belong together, in lower case (upper case is as good).
struct FolderPair {
    input: &'static str,
    target: &'static str,
    /// Whether the parent of such sub-folders is one scene of several, which together are a split.
    scene: bool,
    /// Whether files are paired by their order if their names do not pair them.
    in_order: bool,
}

const LAYOUTS: [FolderPair; 15] = [
    layout("input", "target"),
    layout("input", "groundtruth"),
    layout("hazy", "gt"),
    layout("hazy", "clear"),
    layout("haze", "clear"),
    layout("snow", "gt"),
    layout("synthetic", "gt"),
    layout("rain", "norain"),
    layout("rainy", "gt"),
    layout("rainy_image", "ground_truth"),
    layout("blur", "gt"),
    FolderPair { scene: true, ..layout("blur", "sharp") },
    FolderPair { scene: true, ..layout("real_blur", "gt") },
    FolderPair { in_order: true, ..layout("source", "target") },
    FolderPair { in_order: true, ..layout("inputc", "target") },
];

const fn layout(input: &'static str, target: &'static str) -> FolderPair {
    FolderPair { input, target, scene: false, in_order: false }
}

/// How deep below the given folder splits are looked for; RSBlur's pictures are in
/// `day/number/gt/`.
const DEPTH: usize = 4;

/// The role of a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// For training.
    Train,
    /// For choosing among trained networks.
    Validation,
    /// For the final scores.
    Test,
    /// Unknown: the folders do not name it.
    Unknown,
}

/// A part of a data set.
#[derive(Clone, Debug)]
pub struct Split {
    /// Its path below the folder that was searched, or the name of that folder if it is the split
    /// itself.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Its pairs.
    pub pairing: Pairing,
}

/// All splits at and below `root`, in the order of their names. A split is a folder with two of the
/// known sub-folders (`input` and `target`, `hazy` and `gt` or `clear`, `Snow` and `Gt`, …), one
/// with scenes that each have `blur` and `sharp` (GoPro) or `real_blur` and `gt` (RSBlur), or one
/// whose files have the known pairs of names (NH-HAZE, Rain100). RSBlur's own lists
/// (`RSBlur_real_test.txt` …), in `root` or beside it, come first.
pub fn splits(root: &Path) -> Result<Vec<Split>> {
    let mut found = listed(root)?;
    if found.is_empty() {
        look(root, root, DEPTH, &mut found)?;
    }
    if found.is_empty() {
        let known: Vec<_> =
            LAYOUTS.iter().map(|layout| format!("{}/{}", layout.input, layout.target)).collect();
        let reason = format!(
            "holds no pairs of photographs: neither sub-folders with known names ({}) nor files \
             named 1_hazy and 1_GT or rain-1 and norain-1",
            known.join(", ")
        );
        return Err(Error::data(root, reason));
    }
    Ok(found)
}

fn look(root: &Path, folder: &Path, depth: usize, found: &mut Vec<Split>) -> Result<()> {
    let whole = match pairs_in(folder)? {
        Some((_, pairing)) => Some(pairing),
        None => scenes(folder, 2)?
            .or(Some(Pairing::within(folder)?).filter(|pairing| !pairing.pairs.is_empty())),
    };
    if let Some(pairing) = whole {
        let below = folder.strip_prefix(root).unwrap_or(folder);
        let name =
            if below.as_os_str().is_empty() { own_name(root) } else { below.display().to_string() };
        found.push(Split { role: role(&name), name, pairing });
    } else if depth > 0 {
        for child in folders(folder)? {
            look(root, &child, depth - 1, found)?;
        }
    }
    Ok(())
}

/// The pairs of two sub-folders of `folder` with known names.
fn pairs_in(folder: &Path) -> Result<Option<(&'static FolderPair, Pairing)>> {
    let folders = folders(folder)?;
    let named = |name: &str| folders.iter().find(|f| file_name(f).to_lowercase() == name);
    for layout in &LAYOUTS {
        if let Some((inputs, targets)) = named(layout.input).zip(named(layout.target)) {
            let pair = if layout.in_order { Pairing::in_order } else { Pairing::of_folders };
            return Ok(Some((layout, pair(inputs, targets)?)));
        }
    }
    Ok(None)
}

/// The pairs of the scenes in `folder`, and of those below it down to `depth`, if it has any.
fn scenes(folder: &Path, depth: usize) -> Result<Option<Pairing>> {
    let mut all = Pairing::default();
    let mut any = false;
    for child in folders(folder)? {
        let name = file_name(&child);
        if role(&name) != Role::Unknown {
            return Ok(None);
        }
        let scene = match pairs_in(&child)? {
            Some((layout, pairing)) if layout.scene => Some(pairing),
            Some(_) => return Ok(None),
            None if depth > 1 => scenes(&child, depth - 1)?,
            None => None,
        };
        if let Some(pairing) = scene {
            all.add_scene(&name, pairing);
            any = true;
        }
    }
    Ok(any.then_some(all))
}

/// The splits of RSBlur's lists: a line names the ground truth and the blurred photograph, from the
/// folder above the set's.
fn listed(root: &Path) -> Result<Vec<Split>> {
    let mut found = Vec::new();
    let above = root.parent().unwrap_or(root);
    for (word, role) in [("train", Role::Train), ("val", Role::Validation), ("test", Role::Test)] {
        let name = format!("RSBlur_real_{word}.txt");
        let Some(list) =
            [root, above].map(|folder| folder.join(&name)).into_iter().find(|list| list.is_file())
        else {
            continue;
        };
        let mut pairing = Pairing::default();
        for line in fs::read_to_string(&list)
            .map_err(Error::io(&list))?
            .lines()
            .filter(|line| !line.trim().is_empty())
        {
            let mut words = line.split_whitespace();
            let (Some(target), Some(input), None) = (words.next(), words.next(), words.next())
            else {
                return Err(Error::data(
                    &list,
                    format!("expected two file names in a line, got {line:?}"),
                ));
            };
            let place = |file: &str| {
                [above, root].map(|folder| folder.join(file)).into_iter().find(|f| f.is_file())
            };
            match place(input).zip(place(target)) {
                Some((input, target)) => {
                    let name = scene_of(&target).unwrap_or_else(|| file_name(&target));
                    pairing.pairs.push(Pair { name, input, target });
                }
                None => pairing.unpaired.push(above.join(target)),
            }
        }
        found.push(Split { name, role, pairing });
    }
    Ok(found)
}

/// The name of a scene in RSBlur's lists: `0001/000022` of `…/0001/000022/gt/gt_sharp.png`.
pub(crate) fn scene_of(file: &Path) -> Option<String> {
    let number = file.parent()?.parent()?;
    Some(format!("{}/{}", file_name(number.parent()?), file_name(number)))
}

/// The role that the folder names of a path give: the last one that gives any.
fn role(path: &str) -> Role {
    let of_word = |word: &str| match word.trim_end_matches(|c: char| c.is_ascii_digit()) {
        "train" | "training" | "its" | "ots" => Some(Role::Train),
        "val" | "valid" | "validation" => Some(Role::Validation),
        "test" | "testing" | "sots" => Some(Role::Test),
        _ => ["rain100l", "rain100h"].contains(&word).then_some(Role::Test),
    };
    let of_part =
        |part: &str| part.to_lowercase().split(|c: char| !c.is_alphanumeric()).find_map(of_word);
    path.rsplit(['/', '\\']).find_map(of_part).unwrap_or(Role::Unknown)
}

/// The name of a folder, also if it was given as `.` or `..`.
fn own_name(folder: &Path) -> String {
    let absolute: PathBuf = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    file_name(&absolute)
}

#[cfg(test)]
mod tests {
    use super::super::tests::tree;
    use super::*;

    /// The splits found, as "name role pairs".
    fn found(files: &[&str]) -> Vec<String> {
        let root = tree(files);
        let splits = splits(root.path()).unwrap();
        splits
            .iter()
            .map(|s| format!("{} {:?} {}", s.name, s.role, s.pairing.pairs.len()))
            .collect()
    }

    #[test]
    fn reside() {
        let indoor = [
            "SOTS/indoor/hazy/1400_1.png",
            "SOTS/indoor/hazy/1400_2.png",
            "SOTS/indoor/gt/1400.png",
        ];
        let outdoor = ["SOTS/outdoor/hazy/0001_0.8_0.2.jpg", "SOTS/outdoor/gt/0001.png"];
        assert_eq!(
            found(&[&indoor[..], &outdoor].concat()),
            ["SOTS/indoor Test 2", "SOTS/outdoor Test 1"]
        );
        let ots = [
            "OTS/haze/part1/0005_0.8_0.04.jpg",
            "OTS/haze/part2/0005_1_0.2.jpg",
            "OTS/clear/0005.jpg",
        ];
        assert_eq!(found(&ots), ["OTS Train 2"]);
        let authors =
            ["train/hazy/1_1.png", "train/gt/1.png", "test/hazy/1400_1.png", "test/gt/1400.png"];
        assert_eq!(found(&authors), ["test Test 1", "train Train 1"]);
    }

    #[test]
    fn dense_haze_and_nh_haze() {
        assert_eq!(found(&["d/hazy/01_hazy.png", "d/GT/01_GT.png"]), ["d Unknown 1"]);
        assert_eq!(found(&["NH/01_hazy.png", "NH/01_GT.png", "NH/readme.png"]), ["NH Unknown 1"]);
    }

    #[test]
    fn rain() {
        let files =
            ["test/Rain100L/input/1.png", "test/Rain100L/target/1.png", "test/Test100/input/1.png"];
        let all =
            [&files[..], &["test/Test100/target/1.png", "train/input/7.jpg", "train/target/7.jpg"]]
                .concat();
        assert_eq!(found(&all), ["test/Rain100L Test 1", "test/Test100 Test 1", "train Train 1"]);
        assert_eq!(
            found(&["Rain100H/rain-001.png", "Rain100H/norain-001.png"]),
            ["Rain100H Test 1"]
        );
    }

    #[test]
    fn snow() {
        let files = [
            "train2500/Snow/1.tif",
            "train2500/Gt/1.tif",
            "test2000/Snow/1.jpg",
            "test2000/Gt/1.jpg",
        ];
        assert_eq!(found(&files), ["test2000 Test 1", "train2500 Train 1"]);
        let files = [
            "test/Snow100K-L/synthetic/a.jpg",
            "test/Snow100K-L/gt/a.jpg",
            "test/Snow100K-L/mask/a.jpg",
        ];
        assert_eq!(found(&files), ["test/Snow100K-L Test 1"]);
    }

    #[test]
    fn gopro() {
        let scene = |split: &str, scene: &str| {
            ["blur", "blur_gamma", "sharp"].map(|kind| format!("{split}/{scene}/{kind}/000001.png"))
        };
        let files = [
            scene("test", "GOPR0384_11_00"),
            scene("test", "GOPR0385_11_01"),
            scene("train", "GOPR0372_07_00"),
        ];
        let files: Vec<_> = files.iter().flatten().map(String::as_str).collect();
        assert_eq!(found(&files), ["test Test 2", "train Train 1"]);
        let root = tree(&files);
        assert_eq!(
            splits(root.path()).unwrap()[0].pairing.pairs[0].name,
            "GOPR0384_11_00/000001.png"
        );
        assert_eq!(found(&["valid/blur/1.png", "valid/sharp/1.png"]), ["valid Validation 1"]);
    }

    #[test]
    fn rsblur() {
        let pair = |scene: &str| {
            ["gt/gt_sharp.png", "real_blur/real_blur.png"].map(|f| format!("RSBlur/{scene}/{f}"))
        };
        let files = [pair("0001/000022"), pair("0001/000023"), pair("0019_2/000722")];
        let files: Vec<_> = files.iter().flatten().map(String::as_str).collect();
        assert_eq!(found(&files), ["RSBlur Unknown 3"]);
        let root = tree(&files);
        let line = |scene: &str| pair(scene).map(|file| file.to_string()).join(" ");
        fs::write(root.path().join("RSBlur_real_test.txt"), line("0001/000023") + "\n").unwrap();
        fs::write(
            root.path().join("RSBlur_real_train.txt"),
            line("0019_2/000722") + "\n\n" + &line("9/9"),
        )
        .unwrap();
        let splits = |folder: &Path| super::splits(folder).unwrap();
        let found = splits(&root.path().join("RSBlur"));
        assert_eq!(found.iter().map(|s| s.role).collect::<Vec<_>>(), [Role::Train, Role::Test]);
        assert_eq!(found[1].pairing.pairs[0].name, "0001/000023");
        assert_eq!((found[0].pairing.pairs.len(), found[0].pairing.unpaired.len()), (1, 1));
        fs::write(root.path().join("RSBlur_real_val.txt"), "one\n").unwrap();
        assert!(
            super::splits(&root.path().join("RSBlur")).unwrap_err().to_string().contains("one")
        );
    }

    #[test]
    fn dpdd() {
        let files = ["test_c/source/1P0A0917.png", "test_c/source/1P0A0921.png"];
        let targets =
            ["test_c/target/1P0A0916.png", "test_c/target/1P0A0920.png", "train_c/source/1.png"];
        let root = tree(&[&files[..], &targets, &["train_c/target/1.png"]].concat());
        let splits = splits(root.path()).unwrap();
        assert_eq!(splits.iter().map(|s| s.role).collect::<Vec<_>>(), [Role::Test, Role::Train]);
        let pairs = &splits[0].pairing.pairs;
        assert_eq!(file_name(&pairs[1].target), "1P0A0920.png");
        // Not where the numbers differ: then the order says nothing.
        let root = tree(&["source/1.png", "source/2.png", "target/3.png"]);
        assert_eq!(super::splits(root.path()).unwrap()[0].pairing.pairs.len(), 0);
    }

    #[test]
    fn a_folder_without_pairs_says_what_is_looked_for() {
        let message = splits(tree(&["other/a.png"]).path()).unwrap_err().to_string();
        assert!(message.contains("hazy/gt") && message.contains("1_GT"), "{message}");
        assert!(splits(Path::new("no such folder")).is_err());
    }
}
