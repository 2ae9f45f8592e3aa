//! Several processes that do a command's work together: `train` on parts of each batch, `eval` and
//! `restore` on parts of the files.
//!
//! A [`Team`] is what commands see of it, most often of one process. Whatever one rank alone may
//! fail in, reading an image or writing a checkpoint, is followed by a [`Team::barrier`] or another
//! collective operation, in which all learn of it; so all end alike, and rank 0 saves what was
//! reached.
//! How processes are started and connected is in [`launch`]; how gradients and statistics are
//! shared, in [`nn::distributed`].

pub mod launch;
#[cfg(feature = "mpi")]
mod mpi;
mod team;

pub use team::Team;

/// What ranks compare of a list of files, for [`Team::require_equal`]: how many there are, and a
/// checksum of their names.
pub fn file_list_fingerprint(names: &[String]) -> String {
    format!("{} files (checksum {:08x})", names.len(), crc32c::crc32c(names.join("\n").as_bytes()))
}
