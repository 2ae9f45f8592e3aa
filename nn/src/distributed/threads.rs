//! Ranks that are threads of one process.

use super::{Group, Transport, gone};
use crate::Result;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The connections of `size` ranks, to be used by a thread each.
pub fn threads(size: usize) -> Result<Vec<Group>> {
    let place = Arc::new(Place {
        meeting: Mutex::new(Meeting { brought: vec![None; size], ..Meeting::default() }),
        changed: Condvar::new(),
    });
    (0..size)
        .map(|rank| {
            let place = place.clone();
            Group::new(move || Ok(Threads { rank, size, place }))
        })
        .collect()
}

/// Where the ranks meet.
struct Place {
    meeting: Mutex<Meeting>,
    changed: Condvar,
}

#[derive(Default)]
struct Meeting {
    /// What each rank has brought to the meeting under way: a piece for each rank.
    brought: Vec<Option<Vec<Vec<u8>>>>,
    /// How many meetings are over, and what was brought to the last one. No rank comes to the next
    /// before it has taken that.
    over: u64,
    taken: Arc<Vec<Vec<Vec<u8>>>>,
    /// A rank that has left, and why.
    left: Option<(usize, String)>,
}

struct Threads {
    rank: usize,
    size: usize,
    place: Arc<Place>,
}

impl Threads {
    /// Brings a piece for each rank, and returns what all brought once they are here.
    fn meet(&self, pieces: Vec<Vec<u8>>) -> Result<Arc<Vec<Vec<Vec<u8>>>>> {
        let mut meeting = self.lock();
        let number = meeting.over;
        meeting.brought[self.rank] = Some(pieces);
        if meeting.brought.iter().all(Option::is_some) {
            let all = meeting.brought.iter_mut().filter_map(Option::take).collect();
            meeting.taken = Arc::new(all);
            meeting.over += 1;
            self.place.changed.notify_all();
        }
        while meeting.over == number {
            if let Some((rank, reason)) = &meeting.left {
                return Err(gone(format!("rank {rank}: {reason}")));
            }
            meeting = self.place.changed.wait(meeting).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(meeting.taken.clone())
    }

    fn leave(&self, reason: &str) {
        self.lock().left.get_or_insert((self.rank, reason.into()));
        self.place.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Meeting> {
        self.place.meeting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transport for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn gather(&mut self, mine: &[u8]) -> Result<Vec<Vec<u8>>> {
        let all = self.meet(vec![mine.to_vec(); self.size])?;
        Ok(all.iter().map(|pieces| pieces[self.rank].clone()).collect())
    }

    fn exchange(&mut self, pieces: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
        let all = self.meet(pieces.iter().map(|piece| piece.to_vec()).collect())?;
        Ok(all.iter().map(|pieces| pieces[self.rank].clone()).collect())
    }

    fn close(&mut self) {
        // The others may still be on their way out of the last meeting, which nobody's leaving
        // spoils.
        self.leave("it has ended");
    }

    fn abort(&mut self, reason: &str) {
        self.leave(reason);
    }
}
