//! Starting a kernel: its module is compiled by the driver when one of its kernels is first used,
//! from PTX that the program carries, and the kernel is queued with its arguments.
//!
//! ```text
//! Launch { kernel: kernels::pointwise::ADD.single, dtype: DType::F32, grid: [blocks, 1, 1],
//!          block: [256, 1, 1], shared: 0 }
//!     .run(gpu, &[&y.address()?, &inputs, &loops, &constants])?;
//! ```
//!
//! A kernel's arguments carry no types across this border. Only their number and sizes can be
//! checked, against those that the kernel's PTX declares.

use super::Gpu;
use super::driver::{self, KernelModule};
use crate::{DType, Error, Result};
use kernels::Kernel;
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Mutex, OnceLock, PoisonError};

/// A value that can be handed to a kernel: plain data, laid out as C does.
pub(crate) trait Argument {
    /// Its bytes, aligned as the value is.
    fn bytes(&self) -> &[u8];
}

impl<P: bytemuck::NoUninit> Argument for P {
    fn bytes(&self) -> &[u8] {
        bytemuck::bytes_of(self)
    }
}

/// Which kernel, and over how many threads.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) kernel: Kernel,
    /// The element type it is compiled for.
    pub(crate) dtype: DType,
    /// Blocks along x, y and z.
    pub(crate) grid: [usize; 3],
    /// Threads of a block along x, y and z.
    pub(crate) block: [u32; 3],
    /// Bytes of dynamic shared memory of a block.
    pub(crate) shared: usize,
}

/// Threads of a block, by default.
pub(crate) const THREADS: u32 = 256;

/// Dynamic shared memory that needs no asking for.
const SHARED_BY_DEFAULT: usize = 48 * 1024;

/// CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES.
const MAX_DYNAMIC_SHARED: i32 = 8;

impl Launch {
    /// A launch with a thread for each of `count` elements.
    pub(crate) fn each(kernel: Kernel, dtype: DType, count: usize) -> Self {
        Self::blocks(kernel, dtype, [count.div_ceil(THREADS as usize), 1, 1])
    }

    /// A launch of a grid of blocks of [`THREADS`] threads.
    pub(crate) fn blocks(kernel: Kernel, dtype: DType, grid: [usize; 3]) -> Self {
        Self { kernel, dtype, grid, block: [THREADS, 1, 1], shared: 0 }
    }

    /// Queues the kernel. A launch without blocks does nothing.
    pub(crate) fn run(&self, gpu: &Gpu, arguments: &[&dyn Argument]) -> Result<()> {
        let Self { grid: [x, y, z], block, shared, .. } = *self;
        if x * y * z == 0 {
            return Ok(());
        }
        let (Ok(x), true, true) = (i32::try_from(x), y <= 65_535, z <= 65_535) else {
            return Err(self.refuse(format!("{:?} blocks are more than a GPU takes", self.grid)));
        };
        gpu.bind()?;
        let kernel = gpu.kernels.get(self)?;
        let sizes = || arguments.iter().map(|argument| argument.bytes().len());
        if !sizes().eq(kernel.parameters.iter().copied()) {
            return Err(self.refuse(format!(
                "arguments of {:?} bytes for parameters of {:?}",
                sizes().collect::<Vec<_>>(),
                kernel.parameters
            )));
        }
        if shared > SHARED_BY_DEFAULT {
            // SAFETY: the function belongs to a module that is never unloaded.
            let code = unsafe {
                driver::cuFuncSetAttribute(
                    kernel.function as *mut c_void,
                    MAX_DYNAMIC_SHARED,
                    shared as i32,
                )
            };
            driver::check("cuFuncSetAttribute", code)?;
        }
        let mut pointers: Vec<*mut c_void> =
            arguments.iter().map(|argument| argument.bytes().as_ptr().cast_mut().cast()).collect();
        // SAFETY: the function is loaded in the context that is current, and there is a pointer to
        // each of its parameters, of its size; the driver copies them before it returns. That the
        // kernel stays within the memory it is pointed to is the caller's part, and what the
        // emulator's address checks are for.
        let code = unsafe {
            driver::cuLaunchKernel(
                kernel.function as *mut c_void,
                x as u32,
                y as u32,
                z as u32,
                block[0],
                block[1],
                block[2],
                shared as u32,
                gpu.stream(),
                pointers.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        };
        driver::check("cuLaunchKernel", code).map_err(|error| self.refuse(error.to_string()))
    }

    fn refuse(&self, why: String) -> Error {
        Error::cuda("launch", format!("{}_{}: {why}", self.kernel.name(), self.dtype))
    }
}

/// A kernel that the driver has compiled.
struct Compiled {
    /// The driver's handle.
    function: usize,
    /// The sizes of its parameters.
    parameters: Vec<usize>,
}

/// The kernels that have been used, and the modules that have them.
pub(super) struct Kernels {
    /// For each element type, a place for each kernel.
    compiled: Vec<[OnceLock<Compiled>; Kernel::COUNT]>,
    modules: Mutex<HashMap<(DType, &'static str), KernelModule>>,
}

impl Default for Kernels {
    fn default() -> Self {
        let none = |_| std::array::from_fn(|_| OnceLock::new());
        let compiled = (0..=DType::U8 as usize).map(none).collect();
        Self { compiled, modules: Mutex::default() }
    }
}

impl Kernels {
    fn get(&self, launch: &Launch) -> Result<&Compiled> {
        let Launch { kernel, dtype, .. } = *launch;
        let place = &self.compiled[dtype as usize][kernel.index()];
        if let Some(compiled) = place.get() {
            return Ok(compiled);
        }
        let suffix = dtype.to_string();
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        let module = match modules.entry((dtype, kernel.module())) {
            std::collections::hash_map::Entry::Occupied(module) => module.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let module = KernelModule::load(kernel.module(), &suffix);
                entry.insert(module.map_err(|why| launch.refuse(why))?)
            }
        };
        let entry = format!("{}_{suffix}", kernel.name());
        let (function, parameters) = module.kernel(&entry).map_err(|why| launch.refuse(why))?;
        Ok(place.get_or_init(|| Compiled { function, parameters }))
    }
}
