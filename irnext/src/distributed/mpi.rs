//! Ranks that are processes, connected by MPI.
//!
//! All calls are made by the thread of the transport, so MPI need not support threads
//! (`MPI_THREAD_FUNNELED`). Collective operations are started and then polled. Between two polls
//! the rank listens to the rank before it, which sends a byte every second. If a process is killed
//! or stopped, the rank after it notices, says so and ends all of them: a collective operation
//! cannot be left once it has begun.

use super::team::Team;
use crate::error::{Error, Result};
use mpi::Threading;
use mpi::datatype::{Partition, PartitionMut};
use mpi::environment::Universe;
use mpi::request::{Request, Scope, StaticScope, scope};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Destination, Source};
use nn::distributed::{ProcessGroup, Transport, gone};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

/// How often a rank sends a sign of life, and the silence after which it counts as lost.
const BEAT: Duration = Duration::from_secs(1);
const SILENCE: Duration = Duration::from_secs(15);

/// The messages: that the rank is alive, and that it will send no more.
static ALIVE: [u8; 1] = [1];
static LAST: [u8; 1] = [0];
const TAG: i32 = 1;

/// One of the `size` processes that a launcher has started.
pub(super) fn connect(size: usize) -> Result<Team> {
    Ok(Team::new(ProcessGroup::new(move || Mpi::new(size)).map_err(Error::from)?))
}

struct Mpi {
    rank: usize,
    /// The machine of each rank.
    hosts: Vec<String>,
    links: Option<Links>,
    /// When the rank before this one last sent a byte, and whether it said that it ends.
    heard: (Instant, bool),
    /// When this one listened, and when it said something.
    listened: Instant,
    said: Instant,
    saying: Option<Request<'static, [u8; 1], StaticScope>>,
}

/// The communicators for the two kinds of messages. The last field ends MPI.
struct Links {
    data: Rc<SimpleCommunicator>,
    beats: Rc<SimpleCommunicator>,
    _universe: Universe,
}

impl Mpi {
    fn new(launched: usize) -> nn::Result<Self> {
        let (universe, _) = mpi::initialize_with_threading(Threading::Funneled)
            .ok_or_else(|| gone("MPI was already initialized"))?;
        let world = universe.world();
        let (rank, size) = (world.rank() as usize, world.size() as usize);
        if size != launched {
            return Err(gone(format!(
                "{launched} processes were started, but MPI connects {size}; start them with \
                 the mpirun of the MPI that this program was built with, or with \
                 `srun --mpi=pmix`"
            )));
        }
        let (data, beats) = (Rc::new(world.duplicate()), Rc::new(world.duplicate()));
        let now = Instant::now();
        let links = Some(Links { data, beats, _universe: universe });
        let mut mpi = Self {
            rank,
            hosts: vec![String::new(); size],
            links,
            heard: (now, false),
            listened: now,
            said: now,
            saying: None,
        };
        let host = mpi::environment::processor_name().unwrap_or_default();
        let hosts = mpi.all_gather(host.as_bytes())?;
        mpi.hosts = hosts.iter().map(|host| String::from_utf8_lossy(host).into_owned()).collect();
        Ok(mpi)
    }

    fn link(
        &self,
        which: impl Fn(&Links) -> &Rc<SimpleCommunicator>,
    ) -> nn::Result<Rc<SimpleCommunicator>> {
        self.links
            .as_ref()
            .map(|links| which(links).clone())
            .ok_or_else(|| gone("the connection is closed"))
    }

    /// Waits for an operation that was started, and listens meanwhile.
    fn complete<'a, D: ?Sized, S: Scope<'a>>(&mut self, mut request: Request<'a, D, S>) {
        let begun = Instant::now();
        while let Err(unfinished) = request.test() {
            request = unfinished;
            self.heartbeat();
            // Usually this is over soon; if not, the cores are for those who compute.
            match begun.elapsed().as_micros() {
                ..200 => thread::yield_now(),
                200..20_000 => thread::sleep(Duration::from_micros(100)),
                _ => thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// Sends a message to the next rank, once the one before has been received.
    fn say(&mut self, beats: &SimpleCommunicator, word: &'static [u8; 1]) -> bool {
        if let Some(saying) = self.saying.take()
            && let Err(unfinished) = saying.test()
        {
            self.saying = Some(unfinished);
            return false;
        }
        let next = beats.process_at_rank(((self.rank + 1) % self.size()) as i32);
        self.saying = Some(next.immediate_send_with_tag(StaticScope, word, TAG));
        self.said = Instant::now();
        true
    }

    /// Receives from the rank before this one, and ends all ranks if it has been silent for too
    /// long.
    fn listen(&mut self, beats: &SimpleCommunicator) {
        let rank = (self.rank + self.size() - 1) % self.size();
        let before = beats.process_at_rank(rank as i32);
        while let Some((message, _)) = before.immediate_matched_probe_with_tag(TAG) {
            let (word, _) = message.matched_receive::<u8>();
            self.heard = (Instant::now(), [word] == LAST);
        }
        // A process that was stopped for a while, perhaps together with the others, has missed
        // messages.
        if self.listened.elapsed() >= SILENCE / 3 {
            self.heard.0 = Instant::now();
        }
        self.listened = Instant::now();
        let (when, last) = self.heard;
        if !last && when.elapsed() >= SILENCE {
            let (host, seconds) = (&self.hosts[rank], SILENCE.as_secs());
            self.end_all(&format!(
                "no sign of life from rank {rank} ({host}) for {seconds} s; all ranks end"
            ));
        }
    }

    fn end_all(&self, reason: &str) -> ! {
        let host = |rank: usize| &self.hosts[rank];
        eprintln!("irnext: rank {} of {} ({}): {reason}", self.rank, self.size(), host(self.rank));
        match &self.links {
            Some(links) => links.data.abort(1),
            None => std::process::exit(1),
        }
    }
}

impl Transport for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.hosts.len()
    }

    fn all_gather(&mut self, mine: &[u8]) -> nn::Result<Vec<Vec<u8>>> {
        let data = self.link(|links| &links.data)?;
        let (length, mut lengths) = (mine.len() as u64, vec![0u64; self.size()]);
        scope(|scope| {
            self.complete(data.immediate_all_gather_into(scope, &length, &mut lengths[..]))
        });
        let Segments { counts, starts, total } =
            Segments::of(lengths.iter().map(|length| *length as usize))?;
        let (mine, mut all) = (never_empty(mine.to_vec()), never_empty(vec![0; total]));
        let mut places = PartitionMut::new(&mut all[..], &counts[..], &starts[..]);
        let mine = &mine[..length as usize];
        scope(|scope| {
            self.complete(data.immediate_all_gather_varcount_into(scope, mine, &mut places))
        });
        Ok(cut(&all, &counts))
    }

    fn all_to_all(&mut self, pieces: &[&[u8]]) -> nn::Result<Vec<Vec<u8>>> {
        let data = self.link(|links| &links.data)?;
        let sent = never_empty(pieces.concat());
        let from = Segments::of(pieces.iter().map(|piece| piece.len()))?;
        let to = Segments::of(pieces.iter().map(|_| pieces[self.rank].len()))?;
        let mut all = never_empty(vec![0; to.total]);
        let from = Partition::new(&sent[..], &from.counts[..], &from.starts[..]);
        let mut places = PartitionMut::new(&mut all[..], &to.counts[..], &to.starts[..]);
        scope(|scope| {
            self.complete(data.immediate_all_to_all_varcount_into(scope, &from, &mut places))
        });
        Ok(cut(&all, &to.counts))
    }

    fn heartbeat(&mut self) {
        let Ok(beats) = self.link(|links| &links.beats) else { return };
        if self.said.elapsed() >= BEAT {
            self.say(&beats, &ALIVE);
        }
        self.listen(&beats);
    }

    fn close(&mut self) {
        let (Ok(data), Ok(beats)) =
            (self.link(|links| &links.data), self.link(|links| &links.beats))
        else {
            return;
        };
        self.complete(data.immediate_barrier());
        // Every message is received before MPI ends.
        while !self.say(&beats, &LAST) {
            thread::sleep(Duration::from_millis(1));
        }
        while !self.heard.1 {
            self.listen(&beats);
            thread::sleep(Duration::from_millis(1));
        }
        if let Some(saying) = self.saying.take() {
            saying.wait_without_status();
        }
        drop((data, beats));
        self.links = None;
    }

    fn abort(&mut self, reason: &str) {
        self.end_all(reason)
    }
}

/// `bytes` with one more, so that they are in memory even if there are none: the address of an
/// empty list is that by which Open MPI means that a message is in place (`MPI_IN_PLACE`).
fn never_empty(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.push(0);
    bytes
}

/// The places of the pieces of a message, in the integers that MPI takes.
struct Segments {
    counts: Vec<i32>,
    starts: Vec<i32>,
    total: usize,
}

impl Segments {
    fn of(lengths: impl Iterator<Item = usize>) -> nn::Result<Self> {
        let (mut counts, mut starts, mut total) = (Vec::new(), Vec::new(), 0usize);
        for length in lengths {
            let number = |size: usize| {
                i32::try_from(size).map_err(|_| gone("a message is larger than 2 GiB"))
            };
            counts.push(number(length)?);
            starts.push(number(total)?);
            total += length;
        }
        Ok(Self { counts, starts, total })
    }
}

/// `all`, cut into pieces of these lengths.
fn cut(mut all: &[u8], lengths: &[i32]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    for &length in lengths {
        let (piece, rest) = all.split_at(length as usize);
        pieces.push(piece.to_vec());
        all = rest;
    }
    pieces
}
