//! Reverse-mode differentiation of numbers, whole: a tape, the operations, and the walk back.

use std::cell::RefCell;
use std::fmt;
use std::ops::{Add, Div, Mul, Sub};

/// Every number that was computed, in the order in which it was.
#[derive(Default)]
pub struct Tape(RefCell<Vec<Record>>);

/// How one number came about.
struct Record {
    name: &'static str,
    /// Each number it was computed from, and the derivative with respect to it.
    parents: Vec<(usize, f64)>,
}

/// A number with a place on a tape.
#[derive(Clone, Copy)]
pub struct Var<'t> {
    tape: &'t Tape,
    id: usize,
    pub value: f64,
}

impl Tape {
    /// A number that gradients are wanted for.
    pub fn leaf(&self, value: f64) -> Var<'_> {
        self.record("leaf", value, &[])
    }

    fn record(&self, name: &'static str, value: f64, parents: &[(Var<'_>, f64)]) -> Var<'_> {
        let parents = parents.iter().map(|(parent, slope)| (parent.id, *slope)).collect();
        self.0.borrow_mut().push(Record { name, parents });
        Var { tape: self, id: self.0.borrow().len() - 1, value }
    }

    /// The derivative of `loss` with respect to every number on the tape.
    pub fn backward(&self, loss: Var<'_>) -> Gradients {
        let records = self.0.borrow();
        let mut gradients = vec![0.0; records.len()];
        gradients[loss.id] = 1.0;
        for (id, record) in records.iter().enumerate().rev() {
            for &(parent, slope) in &record.parents {
                // Added, not set: a number that was used twice gets its share from both uses.
                gradients[parent] += gradients[id] * slope;
            }
        }
        Gradients(gradients)
    }
}

/// What [`Tape::backward`] found.
pub struct Gradients(Vec<f64>);

impl Gradients {
    pub fn of(&self, var: Var<'_>) -> f64 {
        self.0[var.id]
    }
}

impl Var<'_> {
    pub fn exp(self) -> Self {
        let y = self.value.exp();
        self.tape.record("exp", y, &[(self, y)])
    }

    pub fn tanh(self) -> Self {
        let y = self.value.tanh();
        self.tape.record("tanh", y, &[(self, 1.0 - y * y)])
    }
}

/// An operator: its value, and its slopes toward both operands.
macro_rules! operator {
    ($Trait:ident, $method:ident, |$a:ident, $b:ident|
        $value:expr, $slope_a:expr, $slope_b:expr) => {
        impl $Trait for Var<'_> {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                let ($a, $b) = (self.value, other.value);
                self.tape.record(
                    stringify!($method),
                    $value,
                    &[(self, $slope_a), (other, $slope_b)],
                )
            }
        }
    };
}
operator!(Add, add, |a, b| a + b, 1.0, 1.0);
operator!(Sub, sub, |a, b| a - b, 1.0, -1.0);
operator!(Mul, mul, |a, b| a * b, b, a);
operator!(Div, div, |a, b| a / b, 1.0 / b, -a / (b * b));

/// One line for each record: `#2 = mul(#0 · 3, #1 · 2)`, the slope behind each parent.
impl fmt::Display for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, Record { name, parents }) in self.0.borrow().iter().enumerate() {
            let parents: Vec<String> =
                parents.iter().map(|(p, slope)| format!("#{p} · {slope}")).collect();
            writeln!(f, "#{id} = {name}({})", parents.join(", "))?;
        }
        Ok(())
    }
}
