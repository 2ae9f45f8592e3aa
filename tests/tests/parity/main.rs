//! The stack against the numbers that PyTorch gives for the published code: operations, blocks,
//! whole networks, losses, gradients, optimizer steps, schedules, restored images.
//!
//! The numbers are files. `tests/fixtures/reference` has some of them, and every run compares
//! those; the whole folder is compared as well where it is there: `shared/reference` beside the
//! checkout, or where `IRNEXT_REFERENCE` points. The comparisons follow from the files: every key
//! in them is, and one that nothing here computes is a failure.
//!
//! ```sh
//! cargo test -p tests --test parity
//! ```
//!
//! (with `--features cuda` and `IRNEXT_DEVICE=cuda` the same numbers on a GPU)
//!
//! prints how much was compared, and of each group of numbers the difference that came nearest to
//! its limit.

mod case;
mod checkpoint;
mod end_to_end;
mod modules;
mod names;
mod networks;
mod operations;
mod reference;
mod report;
mod schedule;
mod trajectory;

/// How far a number in f64 may be from PyTorch's, relative to the largest of its tensor.
const F64: f64 = 1e-9;

/// How many times as far as PyTorch's own f32 run a run in f32 may be from PyTorch's f64 run.
const MULTIPLE: f64 = 4.0;
