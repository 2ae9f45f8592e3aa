//! The boundary to NVIDIA's driver, and to the libraries that are opened at run time.
//!
//! With the feature `cuda` the boundary is `present.rs`, on the crates `cust`, `cuda-driver`,
//! `libloading` and `kernels`; no type of them is seen outside it. Without the feature it is
//! `absent.rs`: the same names, handle types without values, and the error that the program was
//! built without GPU support. So all other CUDA code is compiled in every build.
//!
//! The driver calls below are made directly, as `cust` has no way to make them on our streams or
//! fails on codes it does not know. The names are the driver's own; crate `cuda-driver` leads them
//! to it.

#[cfg_attr(feature = "cuda", path = "present.rs")]
#[cfg_attr(not(feature = "cuda"), path = "absent.rs")]
mod boundary;

use boundary::functions;
pub(crate) use boundary::{
    KernelModule, OwnedStream, PrimaryContext, SharedLibrary, built_in, describe, devices, probe,
};

use crate::{Error, Result};
use std::ffi::c_void;

pub(crate) type Stream = *mut c_void;
pub(crate) type RawEvent = *mut c_void;
pub(crate) type Graph = *mut c_void;
pub(crate) type Executable = *mut c_void;

pub(crate) const OUT_OF_MEMORY: i32 = 2;
pub(crate) const NOT_READY: i32 = 600;

functions! {
    fn cuMemAlloc_v2(address: *mut u64, bytes: usize) -> i32;
    fn cuMemFree_v2(address: u64) -> i32;
    fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> i32;
    fn cuMemAllocHost_v2(pointer: *mut *mut c_void, bytes: usize) -> i32;
    fn cuMemFreeHost(pointer: *mut c_void) -> i32;
    fn cuMemcpyHtoDAsync_v2(
        to: u64,
        from: *const c_void,
        bytes: usize,
        stream: Stream
    ) -> i32;
    fn cuMemcpyDtoHAsync_v2(
        to: *mut c_void,
        from: u64,
        bytes: usize,
        stream: Stream
    ) -> i32;
    fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: Stream) -> i32;
    fn cuMemsetD8Async(to: u64, value: u8, bytes: usize, stream: Stream) -> i32;
    fn cuStreamSynchronize(stream: Stream) -> i32;
    fn cuStreamWaitEvent(stream: Stream, event: RawEvent, flags: u32) -> i32;
    fn cuEventRecord(event: RawEvent, stream: Stream) -> i32;
    fn cuEventElapsedTime(milliseconds: *mut f32, start: RawEvent, end: RawEvent) -> i32;
    fn cuEventQuery(event: RawEvent) -> i32;
    fn cuEventCreate(event: *mut RawEvent, flags: u32) -> i32;
    fn cuEventDestroy_v2(event: RawEvent) -> i32;
    fn cuFuncSetAttribute(function: *mut c_void, attribute: i32, value: i32) -> i32;
    fn cuLaunchKernel(
        function: *mut c_void,
        grid_x: u32,
        grid_y: u32,
        grid_z: u32,
        block_x: u32,
        block_y: u32,
        block_z: u32,
        shared: u32,
        stream: Stream,
        arguments: *mut *mut c_void,
        extra: *mut *mut c_void
    ) -> i32;
    fn cuStreamBeginCapture_v2(stream: Stream, mode: i32) -> i32;
    fn cuStreamEndCapture(stream: Stream, graph: *mut Graph) -> i32;
    fn cuGraphInstantiateWithFlags(
        executable: *mut Executable,
        graph: Graph,
        flags: u64
    ) -> i32;
    fn cuGraphLaunch(executable: Executable, stream: Stream) -> i32;
    fn cuGraphExecDestroy(executable: Executable) -> i32;
    fn cuGraphDestroy(graph: Graph) -> i32;
}

/// The driver's description of a GPU.
pub(crate) struct Probe {
    /// The product's name.
    pub(crate) name: String,
    /// The compute capability, major and minor.
    pub(crate) capability: (u32, u32),
    /// The GPU's memory in bytes.
    pub(crate) memory: u64,
    /// An identifier that no other GPU has.
    pub(crate) uuid: [u8; 16],
}

/// The error that `code`, returned by `call`, stands for, if it is one.
pub(crate) fn check(call: &'static str, code: i32) -> Result<()> {
    match code {
        0 => Ok(()),
        code => Err(Error::cuda(call, describe(code))),
    }
}
