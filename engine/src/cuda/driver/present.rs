//! The boundary of a program that was built with GPU support.

use super::Probe;
use crate::{Error, Result};
use cust::context::CurrentContext;
use cust::stream::StreamFlags;
use std::collections::HashMap;
use std::ffi::OsStr;

/// Declares functions of the driver.
macro_rules! functions {
    ($(fn $name:ident($($argument:ident: $type:ty),* $(,)?) -> i32;)*) => {
        unsafe extern "C" {
            $(pub(crate) fn $name($($argument: $type),*) -> i32;)*
        }
    };
}
pub(super) use functions;

/// An error if the program was built without GPU support.
pub(crate) fn built_in() -> Result<()> {
    Ok(())
}

/// The number of GPUs, or why there are none.
pub(crate) fn devices() -> Result<usize, String> {
    cuda_driver::devices().map_err(|error| error.to_string())
}

/// The driver's description of GPU number `index`.
pub(crate) fn probe(index: usize) -> Result<Probe, String> {
    let cuda_driver::Probe { name, capability, memory, uuid, .. } =
        cuda_driver::probe(index).map_err(|error| error.to_string())?;
    Ok(Probe { name, capability, memory, uuid })
}

/// The driver's name for `code`.
pub(crate) fn describe(code: i32) -> String {
    cuda_driver::describe(code)
}

/// An error of `cust`, which is not asked to display itself: it may panic where the driver has no
/// text.
fn text(error: cust::error::CudaError) -> String {
    format!("{error:?}")
}

/// The primary context of a GPU.
pub(crate) struct PrimaryContext(cust::context::Context);

impl PrimaryContext {
    /// The context of GPU number `index`, current in the calling thread.
    pub(crate) fn new(index: usize) -> Result<Self, String> {
        let device = cust::device::Device::get_device(index as u32).map_err(text)?;
        let context = cust::context::Context::new(device).map_err(text)?;
        CurrentContext::set_current(&context).map_err(text)?;
        Ok(Self(context))
    }

    /// Makes the context current in the calling thread.
    pub(crate) fn bind(&self) -> Result<()> {
        CurrentContext::set_current(&self.0)
            .map_err(|error| Error::cuda("cuCtxSetCurrent", text(error)))
    }
}

/// A stream, destroyed when dropped.
pub(crate) struct OwnedStream(cust::stream::Stream);

impl OwnedStream {
    /// A stream of the current context that does not wait for the default stream.
    pub(crate) fn new() -> Result<Self, String> {
        cust::stream::Stream::new(StreamFlags::NON_BLOCKING, None).map(Self).map_err(text)
    }

    /// The driver's handle.
    pub(crate) fn raw(&self) -> super::Stream {
        self.0.as_inner().cast()
    }
}

/// A source of kernels, compiled by the driver for the current context.
pub(crate) struct KernelModule {
    module: cust::module::Module,
    /// The sizes in bytes of the kernels' parameters.
    parameters: HashMap<String, Vec<usize>>,
}

impl KernelModule {
    /// The kernels of source `name` for the element type `suffix`.
    pub(crate) fn load(name: &str, suffix: &str) -> Result<Self, String> {
        let ptx = kernels::ptx(name, suffix).ok_or_else(|| match suffix {
            "f64" if !cfg!(feature = "checks") => {
                "this program was built without kernels in f64 (cargo's feature `checks`)".into()
            }
            _ => format!("there are no kernels {name} for this type"),
        })?;
        let parameters =
            kernels::entries(&ptx).map(|(entry, sizes)| (entry.to_string(), sizes)).collect();
        Ok(Self { module: cust::module::Module::from_ptx(&ptx, &[]).map_err(text)?, parameters })
    }

    /// The driver's handle of kernel `entry`, and the sizes in bytes of its parameters.
    pub(crate) fn kernel(&self, entry: &str) -> Result<(usize, Vec<usize>), String> {
        let parameters = self.parameters.get(entry).ok_or("there is no such kernel")?;
        let function = self.module.get_function(entry).map_err(text)?;
        Ok((function.to_raw() as usize, parameters.clone()))
    }
}

/// A shared library, opened at run time.
pub(crate) struct SharedLibrary(libloading::Library);

impl SharedLibrary {
    /// Opens `file`.
    ///
    /// # Safety
    /// The library's initializers run, and must be sound to run.
    pub(crate) unsafe fn open(file: &OsStr) -> Result<Self, String> {
        // SAFETY: the caller's part.
        unsafe { libloading::Library::new(file) }.map(Self).map_err(|error| error.to_string())
    }

    /// The function `name`.
    ///
    /// # Safety
    /// `F` is a pointer to a function of the type that the library's function has, and is not used
    /// after the library is closed.
    pub(crate) unsafe fn function<F: Copy>(&self, name: &str) -> Result<F, String> {
        // SAFETY: the caller's part.
        let symbol = unsafe { self.0.get::<F>(name.as_bytes()) };
        symbol.map(|function| *function).map_err(|error| error.to_string())
    }
}
