//! Ranks that are threads of one process.

use super::{ProcessGroup, Transport, gone};
use crate::Result;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The connections of `size` ranks, to be used by a thread each.
///
/// ```
/// let groups = nn::distributed::threads(2)?;
/// let hello = |group: nn::distributed::ProcessGroup| {
///     let all = group.all_gather(format!("rank {}", group.rank()).as_bytes());
///     group.close(None);
///     all
/// };
/// let ranks: Vec<_> =
///     groups.into_iter().map(|group| std::thread::spawn(move || hello(group))).collect();
/// for rank in ranks {
///     assert_eq!(rank.join().expect("no panic")?, [b"rank 0", b"rank 1"]);
/// }
/// # Ok::<_, nn::Error>(())
/// ```
pub fn threads(size: usize) -> Result<Vec<ProcessGroup>> {
    let mailbox = Arc::new(Mailbox {
        exchange: Mutex::new(Exchange { sent: vec![None; size], ..Exchange::default() }),
        changed: Condvar::new(),
    });
    (0..size)
        .map(|rank| {
            let mailbox = mailbox.clone();
            ProcessGroup::new(move || Ok(Threads { rank, size, mailbox }))
        })
        .collect()
}

/// Where the ranks leave messages for each other.
struct Mailbox {
    exchange: Mutex<Exchange>,
    changed: Condvar,
}

#[derive(Default)]
struct Exchange {
    /// The messages of each rank in the current exchange: a piece for each rank.
    sent: Vec<Option<Vec<Vec<u8>>>>,
    /// The number of complete exchanges, and the messages of the last one. No rank begins the next
    /// before it has read them.
    completed: u64,
    received: Arc<Vec<Vec<Vec<u8>>>>,
    /// A rank that has left, and the reason.
    left: Option<(usize, String)>,
}

struct Threads {
    rank: usize,
    size: usize,
    mailbox: Arc<Mailbox>,
}

impl Threads {
    /// Sends a piece to each rank, and returns what all sent once all have.
    fn all_to_all_pieces(&self, pieces: Vec<Vec<u8>>) -> Result<Arc<Vec<Vec<Vec<u8>>>>> {
        let mut exchange = self.lock();
        let number = exchange.completed;
        exchange.sent[self.rank] = Some(pieces);
        if exchange.sent.iter().all(Option::is_some) {
            let all = exchange.sent.iter_mut().filter_map(Option::take).collect();
            exchange.received = Arc::new(all);
            exchange.completed += 1;
            self.mailbox.changed.notify_all();
        }
        while exchange.completed == number {
            if let Some((rank, reason)) = &exchange.left {
                return Err(gone(format!("rank {rank}: {reason}")));
            }
            exchange = self.mailbox.changed.wait(exchange).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(exchange.received.clone())
    }

    fn leave(&self, reason: &str) {
        self.lock().left.get_or_insert((self.rank, reason.into()));
        self.mailbox.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Exchange> {
        self.mailbox.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transport for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn all_gather(&mut self, mine: &[u8]) -> Result<Vec<Vec<u8>>> {
        let all = self.all_to_all_pieces(vec![mine.to_vec(); self.size])?;
        Ok(all.iter().map(|pieces| pieces[self.rank].clone()).collect())
    }

    fn all_to_all(&mut self, pieces: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
        let all = self.all_to_all_pieces(pieces.iter().map(|piece| piece.to_vec()).collect())?;
        Ok(all.iter().map(|pieces| pieces[self.rank].clone()).collect())
    }

    fn close(&mut self) {
        // The others may still be reading the last messages, which stay valid.
        self.leave("it has ended");
    }

    fn abort(&mut self, reason: &str) {
        self.leave(reason);
    }
}
