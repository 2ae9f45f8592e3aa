//! Everything here is a bench, or a worker of `peers/`; the crate itself is empty.
