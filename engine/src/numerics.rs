//! The precision and determinism that one computation may give up for speed on a GPU.

use std::cell::Cell;

thread_local! {
    static CURRENT: Cell<Numerics> = const { Cell::new(Numerics::STRICT) };
}

/// The properties that a computation on a GPU may give up for speed. They do not affect the CPU.
///
/// The default gives up nothing.
///
/// ```
/// use engine::Numerics;
/// let fast = Numerics { tf32: true, ..Numerics::default() };
/// fast.scope(|| assert!(Numerics::current().tf32)); // operations in here may use TF32
/// assert!(!Numerics::current().tf32);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Numerics {
    /// Whether cuDNN's convolutions of f32 may round their factors to TF32, which has 10 bits after
    /// the point instead of 23, to use tensor cores. The sums are in f32 either way. Off by
    /// default.
    pub tf32: bool,
    /// Whether a computation must give the same bits each time it runs on the same GPU with the
    /// same libraries. Without it, cuDNN may sum gradients in any order; our own kernels always
    /// keep to one. On by default.
    pub deterministic: bool,
    /// Whether cuDNN may compile a kernel for a convolution fused with the GELU that follows it.
    /// That takes seconds for each shape of a map, and saves a pass over the map each time. It
    /// needs NVRTC (`libnvrtc.so.12`), without which the GELU remains a pass of its own. Off by
    /// default.
    pub compiled_fusion: bool,
}

impl Numerics {
    const STRICT: Self = Self { tf32: false, deterministic: true, compiled_fusion: false };

    /// The numerics of the innermost [`Numerics::scope`] that this thread is in; the default
    /// outside any scope.
    pub fn current() -> Self {
        CURRENT.get()
    }

    /// Runs `f`, whose operations on this thread compute with these numerics.
    ///
    /// An operation recorded on a tape keeps them for its backward pass, wherever that is called. A
    /// plan computes with those of the call that runs it. A [`Replay`](crate::Replay) repeats its
    /// recording, so it keeps those of the recording.
    pub fn scope<T>(self, f: impl FnOnce() -> T) -> T {
        /// Restores the earlier value, also if `f` panics.
        struct Restore(Numerics);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0);
            }
        }
        let _restore = Restore(CURRENT.replace(self));
        f()
    }
}

impl Default for Numerics {
    fn default() -> Self {
        Self::STRICT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Tape, Tensor, checkpoint, planned};

    const TF32: Numerics = Numerics { tf32: true, ..Numerics::STRICT };
    const LOOSE: Numerics = Numerics { deterministic: false, ..Numerics::STRICT };

    /// `x` again, recorded with a backward pass that must run under `numerics`.
    fn probe(x: &Tensor, numerics: Numerics) -> Tensor {
        let tape = crate::tape::Node::tape_of(&[x]).unwrap();
        let backward = move |dy| {
            assert_eq!(Numerics::current(), numerics);
            Ok(dy)
        };
        tape.record("probe", &[x], vec![x.detach()], 0, Box::new(backward)).unwrap().swap_remove(0)
    }

    #[test]
    fn a_scope_ends_where_it_began() {
        assert_eq!(Numerics::current(), Numerics::default());
        TF32.scope(|| {
            assert_eq!(Numerics::current(), TF32);
            LOOSE.scope(|| assert_eq!(Numerics::current(), LOOSE));
            let panics = || LOOSE.scope(|| std::panic::resume_unwind(Box::new(())));
            std::panic::catch_unwind(panics).unwrap_err();
            assert_eq!(Numerics::current(), TF32);
            let elsewhere = std::thread::spawn(Numerics::current).join().unwrap();
            assert_eq!(elsewhere, Numerics::default());
        });
        assert_eq!(Numerics::current(), Numerics::default());
    }

    #[test]
    fn the_backward_pass_has_the_numerics_of_the_forward_pass() {
        let tape = Tape::new();
        let x = tape.leaf(&Tensor::from_slice(&[2.0f64], &[1]).unwrap());
        let y = TF32.scope(|| probe(&x, TF32));
        let y = LOOSE.scope(|| probe(&y, LOOSE));
        let y = TF32.scope(|| {
            let run = |y: &[Tensor]| {
                assert_eq!(Numerics::current(), TF32);
                Ok(vec![y[0].square()?])
            };
            checkpoint(&[&y], run).unwrap().swap_remove(0)
        });
        let gradients = tape.backward(&y).unwrap();
        assert_eq!(gradients.get(&x).unwrap().item().unwrap(), 4.0);
        assert_eq!(Numerics::current(), Numerics::default());
    }

    #[test]
    fn a_plan_runs_under_the_numerics_of_its_caller() {
        let tape = Tape::new();
        let x = tape.leaf(&Tensor::from_slice(&[2.0f64], &[1]).unwrap());
        let y = TF32.scope(|| {
            let run = |x: &[Tensor]| -> crate::Result<Vec<Tensor>> {
                let outputs = [x[0].meta()];
                let run = |x: &[Tensor]| Ok(vec![probe(&x[0], TF32)]);
                Ok(crate::trace::defer("probe", (), &[&x[0]], &outputs, run)?.unwrap())
            };
            planned(std::slice::from_ref(&x), run).unwrap().swap_remove(0)
        });
        tape.backward(&y).unwrap();
    }
}
