//! The driver calls that are made directly, as `cust` has no way to make them on our streams or
//! fails on codes it does not know. The names are the driver's own; crate `cuda-driver` leads them
//! to it.

use crate::{Error, Result};
use std::ffi::c_void;

pub(crate) type Stream = *mut c_void;
pub(crate) type Event = *mut c_void;
pub(crate) type Graph = *mut c_void;
pub(crate) type Executable = *mut c_void;

pub(crate) const OUT_OF_MEMORY: i32 = 2;
pub(crate) const NOT_READY: i32 = 600;

unsafe extern "C" {
    pub(crate) fn cuMemAlloc_v2(address: *mut u64, bytes: usize) -> i32;
    pub(crate) fn cuMemFree_v2(address: u64) -> i32;
    pub(crate) fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> i32;
    pub(crate) fn cuMemAllocHost_v2(pointer: *mut *mut c_void, bytes: usize) -> i32;
    pub(crate) fn cuMemFreeHost(pointer: *mut c_void) -> i32;
    pub(crate) fn cuMemcpyHtoDAsync_v2(
        to: u64,
        from: *const c_void,
        bytes: usize,
        stream: Stream,
    ) -> i32;
    pub(crate) fn cuMemcpyDtoHAsync_v2(
        to: *mut c_void,
        from: u64,
        bytes: usize,
        stream: Stream,
    ) -> i32;
    pub(crate) fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: Stream) -> i32;
    pub(crate) fn cuMemsetD8Async(to: u64, value: u8, bytes: usize, stream: Stream) -> i32;
    pub(crate) fn cuStreamSynchronize(stream: Stream) -> i32;
    pub(crate) fn cuStreamWaitEvent(stream: Stream, event: Event, flags: u32) -> i32;
    pub(crate) fn cuEventRecord(event: Event, stream: Stream) -> i32;
    pub(crate) fn cuEventElapsedTime(milliseconds: *mut f32, start: Event, end: Event) -> i32;
    pub(crate) fn cuEventQuery(event: Event) -> i32;
    pub(crate) fn cuEventCreate(event: *mut Event, flags: u32) -> i32;
    pub(crate) fn cuEventDestroy_v2(event: Event) -> i32;
    pub(crate) fn cuFuncSetAttribute(function: *mut c_void, attribute: i32, value: i32) -> i32;
    pub(crate) fn cuLaunchKernel(
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
        extra: *mut *mut c_void,
    ) -> i32;
    pub(crate) fn cuStreamBeginCapture_v2(stream: Stream, mode: i32) -> i32;
    pub(crate) fn cuStreamEndCapture(stream: Stream, graph: *mut Graph) -> i32;
    pub(crate) fn cuGraphInstantiateWithFlags(
        executable: *mut Executable,
        graph: Graph,
        flags: u64,
    ) -> i32;
    pub(crate) fn cuGraphLaunch(executable: Executable, stream: Stream) -> i32;
    pub(crate) fn cuGraphExecDestroy(executable: Executable) -> i32;
    pub(crate) fn cuGraphDestroy(graph: Graph) -> i32;
}

/// The error that `code`, returned by `call`, stands for, if it is one.
pub(crate) fn check(call: &'static str, code: i32) -> Result<()> {
    match code {
        0 => Ok(()),
        code => Err(Error::cuda(call, cuda_driver::describe(code))),
    }
}
