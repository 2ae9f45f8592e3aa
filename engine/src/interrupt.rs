//! Interrupting a computation on request, between two operations.
//!
//! Operations make new tensors and change none, so an interrupted computation leaves nothing half
//! done.

use crate::{Error, Result};
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

thread_local! {
    static STOP: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// Runs `f`. Once any thread has set `stop`, the next operation that `f` calls on this thread, and
/// the next step of a backward pass, returns [`Error::Interrupted`].
///
/// ```
/// use engine::{Error, Tensor, interruptible};
/// use std::sync::{Arc, atomic::AtomicBool, atomic::Ordering};
/// let stop = Arc::new(AtomicBool::new(false)); // shared with a signal handler, for example
/// let x = Tensor::from_slice(&[3.0], &[1])?;
/// interruptible(&stop, || {
///     assert_eq!(x.square()?.item()?, 9.0);
///     stop.store(true, Ordering::Relaxed);
///     assert_eq!(x.square().unwrap_err(), Error::Interrupted { op: "square" });
///     Ok::<_, Error>(())
/// })?;
/// # Ok::<_, engine::Error>(())
/// ```
pub fn interruptible<T>(stop: &Arc<AtomicBool>, f: impl FnOnce() -> T) -> T {
    /// Restores the previous flag, also if `f` panics.
    struct Restore(Option<Arc<AtomicBool>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            STOP.set(self.0.take());
        }
    }
    let _restore = Restore(STOP.replace(Some(Arc::clone(stop))));
    f()
}

/// An error if the operation `op` should no longer start.
pub(crate) fn check(op: &'static str) -> Result<()> {
    let stop =
        STOP.with_borrow(|stop| stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed)));
    if stop { Err(Error::Interrupted { op }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Tape, Tensor};

    #[test]
    fn no_operation_starts_once_it_is_asked_for() {
        let stop = Arc::new(AtomicBool::new(false));
        let x = Tensor::ones(&[2], DType::F32).unwrap();
        interruptible(&stop, || {
            let tape = Tape::new();
            let loss = tape.leaf(&x).square().unwrap().sum_all().unwrap();
            stop.store(true, Ordering::Relaxed);
            assert_eq!(x.square().unwrap_err(), Error::Interrupted { op: "square" });
            assert_eq!(tape.backward(&loss).err().unwrap(), Error::Interrupted { op: "reshape" });
            // Only the innermost call counts.
            interruptible(&Arc::default(), || x.square().unwrap());
            assert!(x.square().is_err());
        });
        x.square().unwrap();
    }
}
