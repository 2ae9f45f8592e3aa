//! `synth` and `explain` have the manners of `restore`.

use super::*;

#[test]
fn a_bad_photograph_does_not_stop_synth() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["clean/a.jpg", "clean/b.png", "clean/c.png"]);
    let alone = ends(at, &["synth", "--task", "rain", "clean/c.png", "one"], 0);
    assert!(alone.contains("1 pair in one, derain"), "{alone}");
    fs::write(at.join("clean/bad.png"), "this is no picture").unwrap();
    // Of the same name as another.
    pictures(at, &["clean/a.png"]);
    let said = ends(at, &["synth", "--task", "derain", "clean", "pairs"], 1);
    assert!(said.contains("clean/bad.png: ") && said.contains("has the same name"), "{said}");
    assert!(said.contains("3 pairs in pairs, derain"), "{said}");
    assert_eq!(names(&at.join("pairs/input")), ["a.png", "b.png", "c.png"]);
    assert_eq!(fs::read_to_string(at.join("pairs/pairs.jsonl")).unwrap().lines().count(), 3);
    let said = ends(at, &["synth", "--sheet", "sheet.png", "clean"], 1);
    assert!(said.contains("clean/bad.png: "), "{said}");
    assert_eq!(Photo::size(at.join("sheet.png")).unwrap(), (6 * 192, 4 * 144));
    fs::create_dir(at.join("empty")).unwrap();
    let said = ends(at, &["synth", "--task", "snow", "empty", "new"], 1);
    assert!(said.contains("contains no images") && !at.join("new").exists(), "{said}");
}

#[test]
fn explain_finds_the_task_and_a_folder() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["in/a.png"]);
    let said = ends(at, &["explain", "in/a.png"], 0);
    assert!(said.contains("in/a.explain/figure-9.png"), "{said}");
    assert!(said.contains(" %"), "the classification is told: {said}");
    let size = |file: &str| Photo::size(at.join(file)).unwrap();
    assert_eq!(size("in/a.explain/haze-map.png"), size("in/a.png"));
    let said = ends(at, &["explain", "in/a.png", "--task", "fog", "-o", "maps"], 0);
    assert!(said.contains("maps/figure-9.png") && !said.contains("haze-map"), "{said}");
}
