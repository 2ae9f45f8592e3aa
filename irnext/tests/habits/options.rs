//! The options of `restore`.

use super::*;

#[test]
fn strength_goes_from_nothing_to_more_than_all() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["a.png"]);
    let restored = |strength: &str| {
        let file = format!("{strength}.png");
        ends(at, &quick(&["a.png", "-o", &file, "--strength", strength]), 0);
        Photo::read(at.join(file)).unwrap().rgb
    };
    let before = Photo::read(at.join("a.png")).unwrap().rgb;
    assert_eq!(restored("0"), before);
    let far = |image: &Image| {
        let pairs = image.data().iter().zip(before.data());
        pairs.map(|(a, b)| f64::from((a - b).abs())).sum::<f64>()
    };
    let [half, all] = ["0.5", "1"].map(|strength| far(&restored(strength)));
    assert!((half / all - 0.5).abs() < 0.05, "{half} of {all}");
    for wrong in ["1.6", "-1", "much", "NaN"] {
        let said = ends(at, &quick(&["a.png", &format!("--strength={wrong}")]), 2);
        assert!(said.contains("from 0 to 1.5"), "{said}");
    }
}

#[test]
fn a_comparison_shows_both() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["in/a.png"]);
    ends(at, &quick(&["in", "--compare"]), 0);
    assert_eq!(names(&at.join("in")), ["a.png", "a.restore.compare.png", "a.restore.png"]);
    let read = |name: &str| Photo::read(at.join("in").join(name)).unwrap().rgb;
    let both = read("a.restore.compare.png");
    assert_eq!((both.width(), both.height()), (81, 30));
    assert_eq!(both.crop(0, 0, 40, 30), Some(read("a.png")));
    assert_eq!(both.crop(41, 0, 40, 30), Some(read("a.restore.png")));
    assert_eq!(both.pixel(40, 7), Some([1.0; 3]));
    let again = ends(at, &quick(&["in", "--compare"]), 0);
    assert!(again.contains("done before: in/a.restore.png already exists"), "{again}");
}

#[test]
fn results_have_the_format_and_the_name_that_were_asked_for() {
    let folder = folder();
    let at = folder.path();
    pictures(at, &["in/a.png", "in/b.jpg"]);
    let said = ends(at, &quick(&["in", "--format", "webp", "--suffix", "-clear"]), 0);
    assert!(said.contains("2 restored"), "{said}");
    assert_eq!(names(&at.join("in")), ["a-clear.webp", "a.png", "b-clear.webp", "b.jpg"]);
    assert!(fs::read(at.join("in/a-clear.webp")).unwrap().starts_with(b"RIFF"));
    let again = ends(at, &quick(&["in", "--format", "webp", "--suffix", "-clear"]), 0);
    assert!(again.contains("2 done before"), "{again}");
    ends(at, &quick(&["in/b.jpg", "-o", "out/", "--format", "png"]), 0);
    assert_eq!(names(&at.join("out")), ["b.png"]);
    let said = ends(at, &quick(&["in/b.jpg", "-o", "c.png", "--format", "jpg"]), 2);
    assert!(said.contains("is not the name of a jpg file"), "{said}");
    ends(at, &quick(&["in", "--suffix", "a/b"]), 2);
    ends(at, &quick(&["in", "--format", "heic"]), 2);
}

#[test]
fn quality_and_privacy_are_for_the_user_to_say() {
    let folder = folder();
    let at = folder.path();
    Photo::new(clear()).write(at.join("a.jpg")).unwrap();
    let size = |quality: &str| {
        let file = format!("{quality}.jpg");
        ends(at, &quick(&["a.jpg", "-o", &file, "--quality", quality]), 0);
        fs::metadata(at.join(file)).unwrap().len()
    };
    assert!(size("40") < size("97"));
    ends(at, &quick(&["a.jpg", "--quality", "0"]), 2);
    // A plain copy would keep the metadata.
    let said = ends(at, &["a.jpg", "-o", "b.jpg", "--strip"], 0);
    assert!(said.contains("converted, not restored: no haze"), "{said}");
}

#[test]
fn what_is_left_of_a_photograph_is_restored_if_asked_to() {
    let folder = folder();
    let at = folder.path();
    Photo::new(clear()).write(at.join("whole.jpg")).unwrap();
    let whole = fs::read(at.join("whole.jpg")).unwrap();
    fs::write(at.join("cut.jpg"), &whole[..whole.len() / 2]).unwrap();
    let said = ends(at, &quick(&["cut.jpg"]), 1);
    assert!(said.contains("or add --keep-going to restore its readable part"), "{said}");
    assert!(!at.join("cut.restore.jpg").exists());
    let said = ends(at, &quick(&["cut.jpg", "--keep-going"]), 0);
    assert!(at.join("cut.restore.jpg").exists(), "{said}");
}
