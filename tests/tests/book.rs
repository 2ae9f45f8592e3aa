//! The code that the book shows, run, and its output, compared with the book's; and the sources
//! that the documents name, which must exist.

#[path = "../../docs/code/differences.rs"]
mod differences;
#[path = "../../docs/code/fit.rs"]
mod fit;
#[path = "../../docs/code/printed_tape.rs"]
mod printed_tape;
#[path = "../../docs/code/scalar_tape.rs"]
mod scalar_tape;
#[path = "../../docs/code/views.rs"]
mod views;
#[path = "../../docs/code/wrong.rs"]
mod wrong;

use engine::Rng;
use scalar_tape::{Tape, Var};
use std::fs;
use std::path::{Path, PathBuf};
use tests::files_in;

/// Every operation of the scalar tape, `x` and `y` used more than once.
fn everything<'t>(x: Var<'t>, y: Var<'t>) -> Var<'t> {
    let shared = x * y - x.exp();
    (shared * shared + y) / (y * y + x.exp()) - shared.tanh()
}

#[test]
fn the_scalar_tape_agrees_with_finite_differences() {
    let value = |x: f64, y: f64| {
        let tape = Tape::default();
        everything(tape.leaf(x), tape.leaf(y)).value
    };
    let mut rng = Rng::new(1);
    for _ in 0..100 {
        let (x, y) = (rng.range(-1.5..1.5), rng.range(-1.5..1.5));
        let tape = Tape::default();
        let (a, b) = (tape.leaf(x), tape.leaf(y));
        let gradients = tape.backward(everything(a, b));
        let slope = |f: &dyn Fn(f64) -> f64| {
            let h = 1e-3;
            (8.0 * (f(h) - f(-h)) - (f(2.0 * h) - f(-2.0 * h))) / (12.0 * h)
        };
        let along_x = slope(&|h| value(x + h, y));
        let along_y = slope(&|h| value(x, y + h));
        for (gradient, difference) in [(gradients.of(a), along_x), (gradients.of(b), along_y)] {
            assert!(
                (gradient - difference).abs() < 1e-7 * difference.abs().max(1.0),
                "{gradient} {difference}"
            );
        }
    }
}

#[test]
fn the_scalar_tape_prints_as_in_the_book() {
    let tape = Tape::default();
    let (x, y) = (tape.leaf(2.0), tape.leaf(3.0));
    let z = x * y + x;
    let gradients = tape.backward(z);
    assert_eq!((gradients.of(x), gradients.of(y)), (4.0, 2.0));
    same(&tape.to_string(), include_str!("../../docs/code/scalar_tape.txt"));
}

#[test]
fn the_scalar_tape_fits_a_curve() {
    let mut rng = Rng::new(2);
    let mut weights: Vec<f64> = (0..3 * 6 + 1).map(|_| rng.range(-1.0..1.0)).collect();
    let points: Vec<(f64, f64)> =
        (0..25).map(|i| f64::from(i) / 4.0 - 3.0).map(|x| (x, x.sin())).collect();
    let errors = fit::fit(&mut weights, &points, 0.05, 5000);
    assert!(errors[0] > 0.1, "it knew already: {}", errors[0]);
    assert!(errors[4999] < 2e-3, "it learned little: {}", errors[4999]);
}

#[test]
fn views_are_as_the_book_has_them() {
    views::views().unwrap();
}

#[test]
fn tapes_print_as_in_the_book() {
    same(&printed_tape::printed(false).unwrap(), include_str!("../../docs/code/printed_tape.txt"));
    same(
        &printed_tape::printed(true).unwrap(),
        include_str!("../../docs/code/checkpointed_tape.txt"),
    );
}

#[test]
fn finite_differences_are_as_good_as_in_the_book() {
    same(&differences::table(), include_str!("../../docs/code/differences.txt"));
}

#[test]
fn a_wrong_gradient_is_found_as_in_the_book() {
    same(&wrong::complaint(), include_str!("../../docs/code/wrong.txt"));
}

#[test]
fn every_source_that_a_document_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let [documents, sources] = ["md", "rs"].map(|extension| files_in(&root, &[extension]));
    assert!(documents.len() > 30, "only {} documents were found", documents.len());

    let exists = |named: &Path| sources.iter().any(|source| source.ends_with(named));
    let mut missing = Vec::new();
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        let is_part = |letter: char| letter.is_alphanumeric() || "_-./".contains(letter);
        for word in text.split(|letter| !is_part(letter)) {
            let word = word.trim_end_matches('.');
            let named: PathBuf = word.split('/').filter(|part| *part != "..").collect();
            // The guide's operation is one for the reader to add; docs.rs is a site.
            let is_exempt = word.contains("softplus") || word.contains("docs.rs");
            if word.ends_with(".rs") && !is_exempt && !exists(&named) {
                missing.push(format!("{}: {word}", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// Fails with the right contents of the file in `docs/code`.
fn same(printed: &str, book: &str) {
    assert!(printed == book, "the book shows\n{book}\nbut this was printed\n{printed}");
}
