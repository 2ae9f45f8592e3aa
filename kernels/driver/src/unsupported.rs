//! The crate on systems without a driver to load: the same functions, and the answer that there is
//! none.

use crate::{Error, Probe};

/// Fails: this platform is not supported.
pub fn load() -> Result<(), Error> {
    Err(Error::Unsupported)
}

/// Fails: this platform is not supported.
pub fn driver_version() -> Result<(u32, u32), Error> {
    Err(Error::Unsupported)
}

/// Fails: this platform is not supported.
pub fn devices() -> Result<usize, Error> {
    Err(Error::Unsupported)
}

/// Fails: this platform is not supported.
pub fn probe(_index: usize) -> Result<Probe, Error> {
    Err(Error::Unsupported)
}

/// The code as a number: there is no driver to ask for its name.
pub fn describe(code: i32) -> String {
    format!("error {code}")
}
