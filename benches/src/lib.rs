//! Everything here is a test or a bench; the crate itself is empty.
