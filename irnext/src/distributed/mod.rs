//! Several processes that share the work of a command: `train` splits each batch, `eval` and
//! `restore` split the files.
//!
//! Commands see the processes as a [`Team`], usually of one. Work that can fail on one rank alone,
//! such as reading an image or writing a checkpoint, is followed by a [`Team::barrier`] or another
//! collective operation, in which all ranks learn of the failure. So all end alike, and rank 0
//! saves the state. How processes are started and connected is in [`launch`]; how gradients and
//! statistics are shared, in [`nn::distributed`].

pub mod launch;
#[cfg(feature = "mpi")]
mod mpi;
mod team;

pub use team::Team;

/// A fingerprint of a list of files, for [`Team::require_equal`]: their number, and a checksum of
/// their names.
pub fn file_list_fingerprint(names: &[String]) -> String {
    format!("{} files (checksum {:08x})", names.len(), crc32c::crc32c(names.join("\n").as_bytes()))
}
