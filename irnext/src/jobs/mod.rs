//! Photographs in, photographs out: which files are restored, and where the results go. Everything
//! that can be known before the work is found out here.
//!
//! [`Search`] finds the photographs, [`Plan`] makes jobs of them.

mod find;
mod plan;
#[cfg(test)]
mod tests;

pub use find::{Contents, Found, MAX_DEPTH, Search};
pub use plan::{Job, Naming, Output, Plan, Target};
