//! How near finite differences come to a derivative, by formula, precision and step.

use engine::Float;
use std::fmt::Write;

/// 1/(1 + x²): only arithmetic, so every processor gives the same digits.
fn f<T: Float>(x: T) -> T {
    T::one() / (T::one() + x * x)
}

/// The error of both formulas at x = 0.7 with step h.
fn errors<T: Float>(h: f64) -> (f64, f64) {
    let x = T::from_f64(0.7);
    let at = |offset: f64| f(x + T::from_f64(offset)).to_f64();
    let two = (at(h) - at(-h)) / (2.0 * h);
    let four = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
    let exact = -2.0 * 0.7 / (1.0 + 0.7 * 0.7f64).powi(2);
    ((two - exact).abs(), (four - exact).abs())
}

pub fn table() -> String {
    let mut text = String::from("step     f32 two   f32 four  f64 two   f64 four\n");
    for exponent in 1..=7 {
        let h = 10f64.powi(-exponent);
        let ((a, b), (c, d)) = (errors::<f32>(h), errors::<f64>(h));
        let _ = writeln!(text, "1e-{exponent}     {a:.0e}      {b:.0e}      {c:<8.0e}  {d:.0e}");
    }
    text
}
