//! An image through a network in one piece or in strips, whichever fits into memory.

use super::memory::Share;
use super::piece::one_piece;
use super::strips::in_strips;
use crate::error::Result;
use crate::image::{Image, Note};
use crate::model::FrozenModel;
use engine::memory;

/// In one piece, or in strips, whichever fits into the memory of `share`. Where the system or the
/// GPU has less than that, in strips that take less, with a note.
pub(super) fn in_pieces(
    share: Share,
    model: &FrozenModel,
    image: &Image,
    progress: &dyn Fn(f64),
) -> Result<(Image, Option<Note>)> {
    let available = share.of_network()?;
    let [width, height] = [image.width, image.height].map(|side| model.config.side_for(side));
    // The plan that is made to find it serves the restoration in one piece, too.
    let whole = model.peak_bytes(width, height)? as u64;
    let mut ran_out = false;
    if whole <= available {
        // What earlier work left free would come on top.
        let bound = || memory::Bound::new(usize::try_from(available).unwrap_or(usize::MAX));
        let _bound = share.limit.is_limited().then(bound);
        match one_piece(&model.config, image, |x| model.predict(x)) {
            Err(error) if error.is_out_of_memory() => ran_out = true,
            result => return Ok((result?, None)),
        }
    }
    let plan = |bytes: u64| {
        let strips = model.strips(width, height, usize::try_from(bytes).unwrap_or(usize::MAX))?;
        let least = strips.peak_bytes() as u64;
        if least > available && share.limit.is_limited() {
            return Err(share.refusal(least));
        }
        Ok((strips, least))
    };
    let first = if ran_out { whole / 2 } else { available };
    let (restored, repeated) =
        with_less(first, plan, |strips| in_strips(model, strips, image, progress))?;
    let note = (ran_out || repeated).then_some(Note::MemoryRanOut);
    Ok((restored, note))
}

/// The bytes that the network takes for an image of this width and height: in one piece, if
/// `available` suffices for that, or else as few as it can.
pub(super) fn bytes_within(
    available: u64,
    model: &FrozenModel,
    (width, height): (usize, usize),
) -> Result<u64> {
    let [width, height] = [width, height].map(|side| model.config.side_for(side));
    // The plan serves the restoration, too; one of strips would be made in vain.
    let whole = model.peak_bytes(width, height)? as u64;
    if whole <= available {
        return Ok(whole);
    }
    Ok(whole.min(model.strips(width, height, 0)?.peak_bytes() as u64))
}

/// The result of `attempt` by a plan that takes at most `bytes`, or by one that takes half as much
/// each time that memory runs out, as long as there is one; and whether it ran out. `plan` gives
/// the bytes that its plan takes, as well.
fn with_less<P, T>(
    bytes: u64,
    plan: impl Fn(u64) -> Result<(P, u64)>,
    attempt: impl Fn(&P) -> Result<T>,
) -> Result<(T, bool)> {
    let (mut planned, mut taken) = plan(bytes)?;
    let mut repeated = false;
    loop {
        let error = match attempt(&planned) {
            Err(error) if error.is_out_of_memory() => error,
            result => return Ok((result?, repeated)),
        };
        let (lower, takes) = plan(taken / 2)?;
        if takes >= taken {
            return Err(error);
        }
        (planned, taken, repeated) = (lower, takes, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn out_of_memory() -> crate::Error {
        engine::Error::Memory { op: None, bytes: 1 }.into()
    }

    /// Plans take from 100 bytes up. The system has `free` bytes.
    fn attempts(bytes: u64, free: u64) -> (Result<(u64, bool)>, Vec<u64>) {
        let tried = RefCell::new(Vec::new());
        let result = with_less(
            bytes,
            |bytes| Ok((bytes.max(100), bytes.max(100))),
            |&taken| {
                tried.borrow_mut().push(taken);
                if taken <= free { Ok(taken) } else { Err(out_of_memory()) }
            },
        );
        (result, tried.into_inner())
    }

    #[test]
    fn what_does_not_fit_is_tried_with_less() {
        let (result, tried) = attempts(1000, 1000);
        assert_eq!((result.unwrap(), tried), ((1000, false), vec![1000]));
        let (result, tried) = attempts(1000, 300);
        assert_eq!((result.unwrap(), tried), ((250, true), vec![1000, 500, 250]));
        // With the least, too, and no further.
        let (result, tried) = attempts(1000, 100);
        assert_eq!((result.unwrap(), tried), ((100, true), vec![1000, 500, 250, 125, 100]));
        let (result, tried) = attempts(150, 99);
        assert!(result.unwrap_err().is_out_of_memory());
        assert_eq!(tried, [150, 100]);
    }

    #[test]
    fn other_errors_are_not_repeated() {
        let calls = RefCell::new(0);
        let result = with_less(
            1000,
            |bytes| Ok(((), bytes)),
            |_| {
                *calls.borrow_mut() += 1;
                Err::<(), _>(crate::Error::NotFinite { count: 1 })
            },
        );
        assert!(matches!(result, Err(crate::Error::NotFinite { .. })) && calls.into_inner() == 1);
    }
}
