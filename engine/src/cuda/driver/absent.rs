//! The boundary of a program that was built without GPU support. Its handles have no values, so
//! nothing that takes a GPU is ever reached.

use super::Probe;
use crate::{Error, Result};
use std::ffi::OsStr;

const WITHOUT: &str = "this program was built without GPU support (cargo's feature `cuda`)";

/// CUDA_ERROR_STUB_LIBRARY.
pub(super) const STUB: i32 = 34;

/// Declares functions in place of the driver's, which all fail.
macro_rules! functions {
    ($(fn $name:ident($($argument:ident: $type:ty),* $(,)?) -> i32;)*) => {
        $(#[allow(non_snake_case)]
        pub(crate) unsafe fn $name($(_: $type),*) -> i32 {
            boundary::STUB
        })*
    };
}
pub(super) use functions;

/// An error if the program was built without GPU support.
pub(crate) fn built_in() -> Result<()> {
    Err(Error::cuda("device", WITHOUT))
}

pub(crate) fn devices() -> Result<usize, String> {
    Err(WITHOUT.into())
}

pub(crate) fn probe(_: usize) -> Result<Probe, String> {
    Err(WITHOUT.into())
}

pub(crate) fn describe(_: i32) -> String {
    WITHOUT.into()
}

pub(crate) enum PrimaryContext {}

impl PrimaryContext {
    pub(crate) fn new(_: usize) -> Result<Self, String> {
        Err(WITHOUT.into())
    }
    pub(crate) fn bind(&self) -> Result<()> {
        match *self {}
    }
}

pub(crate) enum OwnedStream {}

impl OwnedStream {
    pub(crate) fn new() -> Result<Self, String> {
        Err(WITHOUT.into())
    }
    pub(crate) fn raw(&self) -> super::Stream {
        match *self {}
    }
}

pub(crate) enum KernelModule {}

impl KernelModule {
    pub(crate) fn load(_: &str, _: &str) -> Result<Self, String> {
        Err(WITHOUT.into())
    }
    pub(crate) fn kernel(&self, _: &str) -> Result<(usize, Vec<usize>), String> {
        match *self {}
    }
}

pub(crate) enum SharedLibrary {}

impl SharedLibrary {
    pub(crate) unsafe fn open(_: &OsStr) -> Result<Self, String> {
        Err(WITHOUT.into())
    }
    pub(crate) unsafe fn function<F: Copy>(&self, _: &str) -> Result<F, String> {
        match *self {}
    }
}
