//! The driver's functions as trampolines, the call that fills their slots, and the questions before
//! `cust` is used.
//!
//! Codes are plain numbers here. `cust` reads them as an enum of the errors that CUDA 11 knew, and
//! a newer driver's code, read as that, would be undefined behavior.

use crate::{Error, Probe};
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LAZY};
use std::ffi::{CStr, c_char};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Opens the driver's library and fills the slots. A function that the driver lacks keeps returning
/// `CUDA_ERROR_STUB_LIBRARY`. The first call decides; later ones return the same at once.
///
/// # Errors
/// [`Error::NoDriver`].
pub fn load() -> Result<(), Error> {
    /// Kept open for good, since the slots point into it.
    static LIBRARY: OnceLock<Result<Library, Error>> = OnceLock::new();
    let library = LIBRARY.get_or_init(|| {
        // SAFETY: opening a library runs its initializers. Those of NVIDIA's driver, for which this
        // name stands, ask nothing of the program: they would run before `main` in any program
        // linked against it.
        let library = unsafe { Library::open(Some("libcuda.so.1"), RTLD_LAZY | RTLD_GLOBAL) }
            .map_err(|error| Error::NoDriver { reason: error.to_string() })?;
        for (name, slot) in SYMBOLS {
            // SAFETY: the symbol is only taken as an address, and every symbol has one.
            if let Ok(function) = unsafe { library.get::<*mut ()>(name.as_bytes()) } {
                slot.store(function.into_raw().cast(), Ordering::Release);
            }
        }
        Ok(library)
    });
    library.as_ref().map(|_| ()).map_err(Error::clone)
}

/// The CUDA version that the driver supports, major and minor, loading it if need be.
///
/// # Errors
/// [`Error::NoDriver`], [`Error::Refused`].
pub fn driver_version() -> Result<(u32, u32), Error> {
    load()?;
    let mut version = 0;
    check("cuDriverGetVersion", cuDriverGetVersion(&mut version))?;
    let version = u32::try_from(version).unwrap_or(0);
    Ok((version / 1000, version % 1000 / 10))
}

/// The number of GPUs that are visible, after loading the driver, starting it and checking that it
/// is new enough.
///
/// # Errors
/// [`Error::NoDriver`], [`Error::OldDriver`], and [`Error::Refused`], which is also the result
/// where there is a driver and no GPU.
pub fn devices() -> Result<usize, Error> {
    start()?;
    let mut count = 0;
    check("cuDeviceGetCount", cuDeviceGetCount(&mut count))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Asks the driver about the GPU of that number. No context is made, so nothing is allocated on it.
///
/// # Errors
/// Those of [`devices`]; [`Error::Refused`] where there is no GPU of that number.
pub fn probe(index: usize) -> Result<Probe, Error> {
    // `CUdevice_attribute`.
    const MULTIPROCESSORS: i32 = 16;
    const CAPABILITY_MAJOR: i32 = 75;
    const CAPABILITY_MINOR: i32 = 76;

    start()?;
    let mut device = 0;
    check("cuDeviceGet", cuDeviceGet(&mut device, i32::try_from(index).unwrap_or(i32::MAX)))?;
    let attribute = |which| {
        let mut value = 0;
        check("cuDeviceGetAttribute", cuDeviceGetAttribute(&mut value, which, device))?;
        Ok(u32::try_from(value).unwrap_or(0))
    };
    let mut memory = 0;
    check("cuDeviceTotalMem_v2", cuDeviceTotalMem_v2(&mut memory, device))?;
    let mut name = [0_u8; 256];
    // SAFETY: the driver writes at most the 256 bytes that the pointer leads to.
    check("cuDeviceGetName", unsafe { cuDeviceGetName(name.as_mut_ptr().cast(), 256, device) })?;
    let name = CStr::from_bytes_until_nul(&name).unwrap_or_default();
    let mut uuid = [0; 16];
    check("cuDeviceGetUuid", cuDeviceGetUuid(&mut uuid, device))?;
    Ok(Probe {
        name: name.to_string_lossy().into_owned(),
        capability: (attribute(CAPABILITY_MAJOR)?, attribute(CAPABILITY_MINOR)?),
        memory: memory as u64,
        multiprocessors: attribute(MULTIPROCESSORS)?,
        uuid,
    })
}

/// A code that a function of the driver returned, in words: its name and meaning. Only the number
/// where there is no driver to ask, or it does not know the code.
pub fn describe(code: i32) -> String {
    let ask = |function: extern "C" fn(i32, &mut *const c_char) -> i32| {
        let mut text = ptr::null();
        let known = function(code, &mut text) == 0 && !text.is_null();
        // SAFETY: the text is one of the driver's constants, which end in a zero and stay, as the
        // library does.
        known.then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy())
    };
    match load().ok().and_then(|()| ask(cuGetErrorName).zip(ask(cuGetErrorString))) {
        Some((name, text)) => format!("{name} ({text})"),
        None => format!("error {code}"),
    }
}

/// Starts the driver, which may be done any number of times, and refuses one from before CUDA 12.0.
fn start() -> Result<(), Error> {
    load()?;
    check("cuInit", cuInit(0))?;
    match driver_version()? {
        (major, minor) if major < 12 => Err(Error::OldDriver { major, minor }),
        _ => Ok(()),
    }
}

fn check(call: &'static str, code: i32) -> Result<(), Error> {
    match code {
        0 => Ok(()),
        code => Err(Error::Refused { call, code, message: describe(code) }),
    }
}

// The functions called above, by the trampolines below.
//
// SAFETY: the signatures are those of `cuda.h`; a handle of a device is its number. A function
// marked safe checks its numbers, and writes through a reference one value of its type or none.
unsafe extern "C" {
    safe fn cuInit(flags: u32) -> i32;
    safe fn cuDriverGetVersion(version: &mut i32) -> i32;
    safe fn cuDeviceGetCount(count: &mut i32) -> i32;
    safe fn cuDeviceGet(device: &mut i32, index: i32) -> i32;
    safe fn cuDeviceGetAttribute(value: &mut i32, attribute: i32, device: i32) -> i32;
    safe fn cuDeviceTotalMem_v2(bytes: &mut usize, device: i32) -> i32;
    safe fn cuDeviceGetUuid(uuid: &mut [u8; 16], device: i32) -> i32;
    fn cuDeviceGetName(name: *mut c_char, length: i32, device: i32) -> i32;
    safe fn cuGetErrorName(code: i32, text: &mut *const c_char) -> i32;
    safe fn cuGetErrorString(code: i32, text: &mut *const c_char) -> i32;
}

/// The target of a slot until the driver is loaded. It returns `CUDA_ERROR_STUB_LIBRARY`. Whoever
/// calls it passes arguments, which the calling convention lets a function ignore.
extern "C" fn missing() -> i32 {
    34
}

/// The same for the functions that put an error into words: `cust` panics where they fail.
extern "C" fn missing_text(_code: i32, text: &mut *const c_char) -> i32 {
    *text = c"the CUDA driver is not loaded".as_ptr();
    0
}

/// Jumps to where the slot points. Arguments stay where they are, in registers and on the stack,
/// and the driver's function returns to whoever called the trampoline.
#[cfg(target_arch = "x86_64")]
macro_rules! jump {
    ($slot:path) => {
        std::arch::naked_asm!("jmp qword ptr [rip + {slot}]", slot = sym $slot)
    };
}

/// The same; x16 is the register that the calling convention leaves to such jumps.
#[cfg(target_arch = "aarch64")]
macro_rules! jump {
    ($slot:path) => {
        std::arch::naked_asm!(
            "adrp x16, {slot}", "ldr x16, [x16, :lo12:{slot}]", "br x16", slot = sym $slot
        )
    };
}

/// For each symbol a slot and a trampoline, and the list of all with their names.
macro_rules! driver {
    ($($stub:ident: $($symbol:ident)*;)*) => {
        #[allow(non_upper_case_globals)]
        mod slots {
            use super::*;
            $($(pub static $symbol: AtomicPtr<()> = AtomicPtr::new($stub as *mut ());)*)*
        }

        #[allow(non_snake_case)]
        mod trampolines {
            $($(
                // SAFETY: the name is one of the driver's, which this program does not link. The
                // body touches nothing but a scratch register, and the slot always points to a
                // function that takes what callers pass.
                #[unsafe(no_mangle)]
                #[unsafe(naked)]
                unsafe extern "C" fn $symbol() {
                    jump!(super::slots::$symbol)
                }
            )*)*
        }

        const SYMBOLS: &[(&str, &AtomicPtr<()>)] = &[
            $($((stringify!($symbol), &slots::$symbol)),*),*
        ];
    };
}

// Every symbol that `cust` 0.3.2 refers to, and those of its `sys` that this project calls besides:
// stream capture, graphs and function attributes. Call another, and the linker reports it undefined
// until it is listed here.
driver! {
    missing_text:
        cuGetErrorName cuGetErrorString;
    missing:
        cuArray3DCreate_v2 cuArray3DGetDescriptor_v2 cuArrayDestroy
        cuCtxCreate_v2 cuCtxDestroy_v2 cuCtxGetApiVersion cuCtxGetCacheConfig cuCtxGetCurrent
        cuCtxGetDevice
        cuCtxGetFlags cuCtxGetLimit cuCtxGetSharedMemConfig cuCtxGetStreamPriorityRange
        cuCtxPopCurrent_v2
        cuCtxPushCurrent_v2 cuCtxSetCacheConfig cuCtxSetCurrent cuCtxSetLimit
        cuCtxSetSharedMemConfig
        cuCtxSynchronize
        cuDestroyExternalMemory
        cuDeviceGet cuDeviceGetAttribute cuDeviceGetCount cuDeviceGetName cuDeviceGetUuid
        cuDevicePrimaryCtxRelease_v2
        cuDevicePrimaryCtxReset_v2 cuDevicePrimaryCtxRetain cuDevicePrimaryCtxSetFlags_v2
        cuDeviceTotalMem_v2
        cuDriverGetVersion
        cuEventCreate cuEventDestroy_v2 cuEventElapsedTime cuEventQuery cuEventRecord
        cuEventSynchronize
        cuExternalMemoryGetMappedBuffer
        cuFuncGetAttribute cuFuncSetAttribute cuFuncSetCacheConfig cuFuncSetSharedMemConfig
        cuGraphAddKernelNode cuGraphCreate cuGraphDebugDotPrint cuGraphDestroy cuGraphExecDestroy
        cuGraphGetEdges cuGraphGetNodes cuGraphInstantiateWithFlags cuGraphInstantiate_v2
        cuGraphKernelNodeGetParams cuGraphLaunch cuGraphNodeGetType cuGraphUpload
        cuImportExternalMemory
        cuInit
        cuLaunchHostFunc cuLaunchKernel
        cuLinkAddData_v2 cuLinkComplete cuLinkCreate_v2 cuLinkDestroy
        cuMemAdvise cuMemAllocAsync cuMemAllocHost_v2 cuMemAllocManaged cuMemAlloc_v2 cuMemFreeAsync
        cuMemFreeHost cuMemFree_v2 cuMemGetInfo_v2 cuMemPrefetchAsync
        cuMemcpy2D_v2 cuMemcpyAtoH_v2 cuMemcpyDtoDAsync_v2 cuMemcpyDtoD_v2 cuMemcpyDtoHAsync_v2
        cuMemcpyDtoH_v2 cuMemcpyHtoA_v2 cuMemcpyHtoDAsync_v2 cuMemcpyHtoD_v2
        cuMemsetD16Async cuMemsetD16_v2 cuMemsetD32Async cuMemsetD32_v2 cuMemsetD8Async
        cuMemsetD8_v2
        cuModuleGetFunction cuModuleGetGlobal_v2 cuModuleLoad cuModuleLoadData cuModuleLoadDataEx
        cuModuleUnload
        cuOccupancyAvailableDynamicSMemPerBlock cuOccupancyMaxActiveBlocksPerMultiprocessor
        cuOccupancyMaxPotentialBlockSize
        cuStreamBeginCapture_v2 cuStreamCreateWithPriority cuStreamDestroy_v2 cuStreamEndCapture
        cuStreamGetFlags cuStreamGetPriority cuStreamIsCapturing cuStreamSynchronize
        cuStreamWaitEvent
        cuSurfObjectCreate cuSurfObjectDestroy cuSurfObjectGetResourceDesc
        cuTexObjectCreate cuTexObjectDestroy cuTexObjectGetResourceDesc
        cuThreadExchangeStreamCaptureMode;
}
