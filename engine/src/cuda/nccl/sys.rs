//! The part of NCCL that is used: its functions and numbers, declared by hand from its reference,
//! and the library, found when the program runs.

use crate::cuda::driver::{self, Stream};
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};

pub(super) type Handle = *mut c_void;

/// The identifier by which other ranks find rank 0 (`ncclUniqueId`). It is passed by value.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct UniqueId(pub(super) [u8; 128]);

/// Types of elements (`ncclDataType_t`).
pub(super) const FLOAT32: c_int = 7;
pub(super) const FLOAT64: c_int = 8;

/// The mean over ranks (`ncclRedOp_t`), from 2.10 on.
pub(super) const AVG: c_int = 4;

macro_rules! functions {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        /// The library, and the functions in it under their own names.
        #[allow(non_snake_case)]
        pub(super) struct NcclLibrary {
            $(pub(super) $name: unsafe extern "C" fn($($argument: $type),*) -> $result,)*
            /// Keeps it loaded.
            _library: driver::SharedLibrary,
        }

        impl NcclLibrary {
            /// Opens `file`, or says why not.
            pub(super) fn open(file: &OsStr) -> Result<Self, String> {
                // SAFETY: what runs as it is loaded is NCCL's, or whatever the user named instead.
                let library = unsafe { driver::SharedLibrary::open(file) }?;
                Ok(Self {
                    // SAFETY: the function has the type it gets here: that of NCCL's reference.
                    $($name: unsafe { library.function(stringify!($name))? },)*
                    _library: library,
                })
            }
        }
    };
}

functions! {
    ncclGetVersion(version: *mut c_int) -> c_int;
    ncclGetUniqueId(id: *mut UniqueId) -> c_int;
    ncclCommInitRank(communicator: *mut Handle, size: c_int, id: UniqueId, rank: c_int) -> c_int;
    ncclAllReduce(
        from: u64,
        to: u64,
        count: usize,
        kind: c_int,
        operation: c_int,
        communicator: Handle,
        stream: Stream
    ) -> c_int;
    ncclAllGather(
        from: u64, to: u64, count: usize, kind: c_int, communicator: Handle, stream: Stream
    ) -> c_int;
    ncclGroupStart() -> c_int;
    ncclGroupEnd() -> c_int;
    ncclCommAbort(communicator: Handle) -> c_int;
    ncclGetErrorString(code: c_int) -> *const c_char;
}

impl NcclLibrary {
    /// Major, minor, patch.
    pub(super) fn version(&self) -> Result<(c_int, c_int, c_int), String> {
        let mut version = 0;
        // SAFETY: one number is written.
        match unsafe { (self.ncclGetVersion)(&mut version) } {
            // Up to 2.8 it was major·1000 + minor·100 + patch.
            0 if version < 10_000 => Ok((version / 1000, version % 1000 / 100, version % 100)),
            0 => Ok((version / 10_000, version % 10_000 / 100, version % 100)),
            code => Err(self.describe(code)),
        }
    }

    /// The meaning of the code.
    pub(super) fn describe(&self, code: c_int) -> String {
        // SAFETY: the result is a text that is never freed, for any code.
        unsafe { CStr::from_ptr((self.ncclGetErrorString)(code)) }.to_string_lossy().into_owned()
    }
}
