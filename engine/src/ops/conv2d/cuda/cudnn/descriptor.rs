//! Descriptors of cuDNN's backend: made, given attributes, completed, asked, and destroyed when
//! dropped.

use super::sys::{self, AttributeValue, CudnnLibrary, Raw};
use crate::Error;
use std::ffi::{c_int, c_void};

/// Why a call failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// cuDNN does not support this.
    Unsupported,
    /// Any other error.
    Failed(Error),
}

pub(super) type Attempt<T> = Result<T, Failure>;

/// The failure that `status`, returned by `call`, stands for, if it is one.
pub(super) fn check(library: &CudnnLibrary, call: &'static str, status: c_int) -> Attempt<()> {
    match status {
        0 => Ok(()),
        status if sys::unsupported(status) => Err(Failure::Unsupported),
        status => Err(Failure::Failed(Error::cuda(
            "cudnn",
            format!("{call}: {}", library.describe(status)),
        ))),
    }
}

/// A descriptor. cuDNN does not say whether one keeps its referents alive, so its holder does.
pub(super) struct Descriptor {
    library: &'static CudnnLibrary,
    raw: Raw,
}

// SAFETY: cuDNN's descriptors are plain objects in main memory, used by one thread at a time.
unsafe impl Send for Descriptor {}

impl Descriptor {
    pub(super) fn new(library: &'static CudnnLibrary, kind: c_int) -> Attempt<Self> {
        let mut raw = Raw(std::ptr::null_mut());
        // SAFETY: the new descriptor is written to `raw`.
        let status = unsafe { (library.cudnnBackendCreateDescriptor)(kind, &mut raw) };
        check(library, "cudnnBackendCreateDescriptor", status)?;
        Ok(Self { library, raw })
    }

    pub(super) fn raw(&self) -> Raw {
        self.raw
    }

    pub(super) fn set<V: AttributeValue>(&self, attribute: c_int, values: &[V]) -> Attempt<()> {
        let (count, values) = (values.len() as i64, values.as_ptr().cast::<c_void>());
        // SAFETY: the descriptor is alive, and there are `count` values, laid out as their type
        // says; cuDNN copies them.
        let status = unsafe {
            (self.library.cudnnBackendSetAttribute)(self.raw, attribute, V::TYPE, count, values)
        };
        check(self.library, "cudnnBackendSetAttribute", status)
    }

    /// Completes it: from now on it can be referred to, and its attributes no longer change.
    pub(super) fn complete(&self) -> Attempt<()> {
        // SAFETY: the descriptor is alive.
        let status = unsafe { (self.library.cudnnBackendFinalize)(self.raw) };
        check(self.library, "cudnnBackendFinalize", status)
    }

    /// Reads an attribute into `values`, as far as they reach, and says how many it has.
    pub(super) fn read<V: AttributeValue>(
        &self,
        attribute: c_int,
        values: &mut [V],
    ) -> Attempt<usize> {
        let (mut count, most) = (0, values.len() as i64);
        let values =
            if most == 0 { std::ptr::null_mut() } else { values.as_mut_ptr().cast::<c_void>() };
        // SAFETY: the descriptor is alive, and there is space for `most` values of this type.
        let status = unsafe {
            (self.library.cudnnBackendGetAttribute)(
                self.raw,
                attribute,
                V::TYPE,
                most,
                &mut count,
                values,
            )
        };
        check(self.library, "cudnnBackendGetAttribute", status)?;
        Ok(count.max(0) as usize)
    }

    /// The values of an attribute that has a few; `any` is one of its type.
    pub(super) fn list<V: AttributeValue>(&self, attribute: c_int, any: V) -> Attempt<Vec<V>> {
        let mut values = [any; 32];
        let count = self.read(attribute, &mut values)?;
        Ok(values[..count.min(values.len())].to_vec())
    }

    /// The descriptors of `kind` that an attribute has: cuDNN fills them in.
    pub(super) fn descriptors(&self, attribute: c_int, kind: c_int) -> Attempt<Vec<Descriptor>> {
        let count = self.read::<Raw>(attribute, &mut [])?;
        let mut filled =
            (0..count).map(|_| Descriptor::new(self.library, kind)).collect::<Attempt<Vec<_>>>()?;
        let mut raw: Vec<Raw> = filled.iter().map(Descriptor::raw).collect();
        filled.truncate(self.read(attribute, &mut raw)?);
        Ok(filled)
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: it was made in `new`, and nobody uses it after this.
        unsafe { (self.library.cudnnBackendDestroyDescriptor)(self.raw) };
    }
}
