//! The `irnext` program.
fn main() {}
