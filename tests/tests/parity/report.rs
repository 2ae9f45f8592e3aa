//! A test's comparisons, and the distances of the numbers.

use engine::Tensor;
use std::collections::BTreeMap;
use std::io::Write;

/// Prints a line that shows also when the test passes: the test harness holds back only what
/// `println!` prints.
pub fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").expect("standard error can be written");
}

/// The comparisons so far.
pub struct Report {
    title: String,
    groups: BTreeMap<String, Group>,
    skipped: BTreeMap<String, usize>,
    wrong: Vec<String>,
}

/// Comparisons that belong together.
#[derive(Default)]
struct Group {
    tensors: usize,
    numbers: usize,
    /// The difference nearest to its limit, that limit, and where it was.
    nearest: Option<(f64, f64, String)>,
}

impl Report {
    pub fn new(title: String) -> Self {
        Self { title, groups: BTreeMap::new(), skipped: BTreeMap::new(), wrong: Vec::new() }
    }

    /// Compares tensors of the same shape, differences being relative to the largest number
    /// expected.
    pub fn compare(
        &mut self,
        group: &str,
        key: &str,
        found: &Tensor,
        expected: &Tensor,
        limit: f64,
    ) {
        // A single number may be a tensor without dimensions.
        if found.shape() != expected.shape() && (found.numel(), expected.numel()) != (1, 1) {
            return self.fail(format!(
                "{key}: shape {:?}, expected {:?}",
                found.shape(),
                expected.shape()
            ));
        }
        let (found, expected) = (found.to_f64_vec().unwrap(), expected.to_f64_vec().unwrap());
        self.check(
            group,
            key,
            expected.len(),
            farthest(&found, &expected) / largest(&expected),
            limit,
        );
    }

    /// Notes that `numbers` numbers differ by `off`, and may by `limit`.
    pub fn check(&mut self, group: &str, key: &str, numbers: usize, off: f64, limit: f64) {
        // Infinitely far from an infinite value.
        let off = if off.is_nan() { f64::INFINITY } else { off };
        let at = self.groups.entry(group.into()).or_default();
        at.tensors += 1;
        at.numbers += numbers;
        if at.nearest.as_ref().is_none_or(|(least, of, _)| off / limit > least / of) {
            at.nearest = Some((off, limit, key.into()));
        }
        if off > limit {
            self.fail(format!("{key}: off by {off:.1e}, allowed {limit:.1e}"));
        }
    }

    /// Notes something that is not compared, and why.
    pub fn skip(&mut self, why: &str) {
        *self.skipped.entry(why.into()).or_default() += 1;
    }

    /// Notes a failure.
    pub fn fail(&mut self, what: String) {
        self.wrong.push(what);
    }

    /// Prints the report; fails the test if a number was wrong, or if there was none.
    pub fn finish(self) {
        let wrong = self.print();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// Prints the report and returns the faults, for a test that continues.
    pub fn print(mut self) -> Vec<String> {
        let numbers: usize = self.groups.values().map(|group| group.numbers).sum();
        if numbers == 0 {
            self.fail("nothing was compared".into());
        }
        let mut text = format!("parity: {}: {numbers} numbers", self.title);
        for (name, group) in &self.groups {
            let (off, limit, key) = group.nearest.as_ref().expect("a group has a comparison");
            let counts = format!("{} tensors, {} numbers", group.tensors, group.numbers);
            text +=
                &format!("\n  {name:<22} {counts:<31} off by {off:.1e} of {limit:.1e} at {key}");
        }
        for (why, count) in &self.skipped {
            text += &format!("\n  skipped: {why} ({count})");
        }
        say(&text);
        self.wrong.iter().map(|what| format!("{}: {what}", self.title)).collect()
    }
}

/// The largest difference; infinite where one is no number.
pub fn farthest(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let difference = |(a, b): (&f64, &f64)| if a == b { 0.0 } else { (a - b).abs() };
    let worst = |m: f64, d: f64| if d.is_nan() { f64::INFINITY } else { m.max(d) };
    found.iter().zip(expected).map(difference).fold(0.0, worst)
}

/// The largest finite absolute value. Never 0, so that 0 − 0 is no difference, and anything else an
/// infinite one.
pub fn largest(values: &[f64]) -> f64 {
    values.iter().filter(|v| v.is_finite()).fold(f64::MIN_POSITIVE, |m, v| m.max(v.abs()))
}

/// The root of the sum of squares.
pub fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}
