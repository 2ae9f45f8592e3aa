//! Events: marks in a stream, which another stream or the CPU can wait for.

use super::{Gpu, driver};
use crate::{Error, Result};

/// A mark in a stream. `cust` has events, too, but they cannot be waited for twice.
pub(super) struct StreamEvent(driver::RawEvent);

// SAFETY: the driver's events may be used from any thread in which the context is current.
unsafe impl Send for StreamEvent {}

impl StreamEvent {
    /// The end of the work queued on `stream` so far. The GPU is bound in this thread.
    pub(super) fn at_the_end_of(stream: driver::Stream) -> Result<Self> {
        const DISABLE_TIMING: u32 = 2;
        Self::recorded(stream, DISABLE_TIMING)
    }

    fn recorded(stream: driver::Stream, flags: u32) -> Result<Self> {
        let mut event = std::ptr::null_mut();
        // SAFETY: the driver writes the new event's handle.
        driver::check("cuEventCreate", unsafe { driver::cuEventCreate(&mut event, flags) })?;
        let event = Self(event);
        // SAFETY: both handles are alive.
        driver::check("cuEventRecord", unsafe { driver::cuEventRecord(event.0, stream) })?;
        Ok(event)
    }

    /// Makes later work on `stream` wait for this event.
    pub(super) fn hold_back(&self, stream: driver::Stream) -> Result<()> {
        // SAFETY: both handles are alive; the driver keeps its own reference to the event.
        driver::check("cuStreamWaitEvent", unsafe { driver::cuStreamWaitEvent(stream, self.0, 0) })
    }

    /// Whether everything before it is done. True also if it failed: then the next call that waits
    /// says so.
    pub(super) fn is_over(&self) -> bool {
        // SAFETY: the handle is alive.
        unsafe { driver::cuEventQuery(self.0) != driver::NOT_READY }
    }
}

impl Drop for StreamEvent {
    fn drop(&mut self) {
        // SAFETY: the handle is ours and not used again; the driver lets waiters finish.
        unsafe { driver::cuEventDestroy_v2(self.0) };
    }
}

impl Gpu {
    /// The end of the computations queued on this GPU so far.
    pub(super) fn event(&self) -> Result<StreamEvent> {
        self.bind()?;
        StreamEvent::at_the_end_of(self.compute.raw())
    }

    /// Runs `f`, and returns the seconds that the work it queues takes, too.
    pub(crate) fn timed<R, E: From<Error>>(
        &self,
        f: impl FnOnce() -> Result<R, E>,
    ) -> Result<(R, f64), E> {
        self.bind()?;
        let start = StreamEvent::recorded(self.stream(), 0)?;
        let result = f()?;
        let end = StreamEvent::recorded(self.stream(), 0)?;
        self.synchronize()?;
        let mut milliseconds = 0.0;
        // SAFETY: both events are alive, were made for timing and are over.
        let code = unsafe { driver::cuEventElapsedTime(&mut milliseconds, start.0, end.0) };
        driver::check("cuEventElapsedTime", code)?;
        Ok((result, f64::from(milliseconds) / 1e3))
    }
}
