//! A profile: how often each operation ran, how long it took, and how much it computed.
//!
//! [`start`] begins one and [`stop`] hands it out. In between, `ops::apply` times every operation
//! forward and backward, and the tape the adding of gradients. The time is that of the thread that
//! calls, and only the operation's own time: where one is implemented through another (the gradient
//! of a bias is a sum), that one has a line of its own, and nothing counts twice. So the times of
//! one thread add up to no more than the wall time.
//!
//! There is one profile for the process. While none is running, it costs an operation one relaxed
//! load of a flag.

use crate::Meta;
use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Begins a profile; one that is running already is restarted. See [`Profile`] for an example.
pub fn start() {
    *lock() = Some(Running { since: Instant::now(), calls: HashMap::new() });
    ON.store(true, Relaxed);
}

/// Ends the profile and returns it; empty if none was running. See [`Profile`] for an example.
pub fn stop() -> Profile {
    ON.store(false, Relaxed);
    let Some(running) = lock().take() else { return Profile::default() };
    let wall = running.since.elapsed();
    Profile { entries: slowest_first(running.calls), wall }
}

/// The calls between [`start`] and [`stop`].
///
/// ```
/// use engine::{DType, Tensor, profile};
/// let x = Tensor::ones(&[8, 8], DType::F32)?;
/// profile::start();
/// x.matmul(&x)?.matmul(&x)?;
/// let profile = profile::stop();
/// let matmul = &profile.operations()[0];
/// assert_eq!((matmul.kind.to_string(), matmul.sum.calls), ("matmul".into(), 2));
/// assert_eq!(matmul.sum.flops, 2 * 2 * 8 * 8 * 8); // a multiply-add is two operations
/// assert!(matmul.sum.gflops() > Some(0.0));
/// assert!(profile.total().time + profile.outside() <= profile.wall);
/// assert_eq!(profile.entries[0].kind.to_string(), "matmul 8×8 · 8×8 → 8×8");
/// # Ok::<_, engine::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// The calls by operation and shapes, those that took longest together first.
    pub entries: Vec<ProfileEntry>,
    /// Wall time from start to stop.
    pub wall: Duration,
}

impl Profile {
    /// The calls by operation alone, forward and backward apart, those that took longest together
    /// first.
    pub fn operations(&self) -> Vec<ProfileEntry> {
        let mut sums = HashMap::<CallKind, Sum>::new();
        for ProfileEntry { kind, sum } in &self.entries {
            sums.entry(CallKind { shapes: String::new(), ..kind.clone() }).or_default().add(sum);
        }
        slowest_first(sums)
    }

    /// All calls together.
    pub fn total(&self) -> Sum {
        let mut total = Sum::default();
        self.entries.iter().for_each(|entry| total.add(&entry.sum));
        total
    }

    /// Wall time that was spent in no operation.
    pub fn outside(&self) -> Duration {
        self.wall.saturating_sub(self.total().time)
    }
}

/// Calls of one kind, and their cost. See [`Profile`] for an example.
#[derive(Clone, Debug)]
pub struct ProfileEntry {
    /// The properties that they have in common.
    pub kind: CallKind,
    /// Their cost together.
    pub sum: Sum,
}

/// An operation, or one with certain shapes; printed as
/// `conv2d backward 1×3×64×64 · 8×3×3×3 → 1×8×64×64`. See [`Profile`] for an example.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallKind {
    /// The operation's name.
    pub name: &'static str,
    /// Whether it computed gradients.
    pub backward: bool,
    /// Shapes of its inputs and of its output; empty for all.
    pub shapes: String,
}

/// The cost of several calls. See [`Profile`] for an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// The number of calls.
    pub calls: u64,
    /// Time, that of operations inside them not included.
    pub time: Duration,
    /// Floating-point operations by the definition (see `Op::flops`); 0 where they are not counted.
    pub flops: u64,
}

impl Sum {
    /// 10⁹ floating-point operations a second; `None` where they are not counted. See [`Profile`]
    /// for an example.
    pub fn gflops(&self) -> Option<f64> {
        (self.flops > 0).then(|| self.flops as f64 / 1e9 / self.time.as_secs_f64())
    }

    fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.time += other.time;
        self.flops = self.flops.saturating_add(other.flops);
    }
}

impl fmt::Display for CallKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [self.name, if self.backward { "backward" } else { "" }, &self.shapes];
        let said: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        f.pad(&said.join(" "))
    }
}

/// A call that will be timed.
pub(crate) struct Call {
    kind: CallKind,
    flops: u64,
}

impl Call {
    /// A call of `name`, if a profile is running.
    pub(crate) fn new(
        name: &'static str,
        inputs: &[Meta],
        output: &Meta,
        flops: impl FnOnce() -> u64,
    ) -> Option<Self> {
        ON.load(Relaxed).then(|| {
            let kind = CallKind { name, backward: false, shapes: shapes(inputs, output) };
            Self { kind, flops: flops() }
        })
    }

    /// The backward pass of this call, for the gradients that are marked in `need`.
    pub(crate) fn backward(self, need: &[bool]) -> Self {
        let products = need.iter().take(2).filter(|&&need| need).count() as u64;
        Self {
            kind: CallKind { backward: true, ..self.kind },
            flops: self.flops.saturating_mul(products),
        }
    }
}

/// Runs `work`, timed if there is a `call` to time.
pub(crate) fn time<R>(call: Option<Call>, work: impl FnOnce() -> R) -> R {
    let Some(call) = call else { return work() };
    let (before, start) = (INSIDE.take(), Instant::now());
    let result = work();
    let elapsed = start.elapsed();
    let own = elapsed.saturating_sub(INSIDE.replace(before + elapsed));
    if let Some(running) = lock().as_mut() {
        running.calls.entry(call.kind).or_default().add(&Sum {
            calls: 1,
            time: own,
            flops: call.flops,
        });
    }
    result
}

/// Whether a profile is running.
static ON: AtomicBool = AtomicBool::new(false);

static RUNNING: Mutex<Option<Running>> = Mutex::new(None);

thread_local! {
    /// Time of the calls that have ended inside the one that this thread is in.
    static INSIDE: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

struct Running {
    since: Instant,
    calls: HashMap<CallKind, Sum>,
}

/// The sums are whole between statements, so a panic elsewhere while they were held does no harm.
fn lock() -> MutexGuard<'static, Option<Running>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn slowest_first(sums: HashMap<CallKind, Sum>) -> Vec<ProfileEntry> {
    let mut entries: Vec<ProfileEntry> =
        sums.into_iter().map(|(kind, sum)| ProfileEntry { kind, sum }).collect();
    entries.sort_by(|a, b| b.sum.time.cmp(&a.sum.time).then_with(|| a.kind.cmp(&b.kind)));
    entries
}

/// `1×3×64×64 · 8×3×3×3 → 1×8×64×64`.
fn shapes(inputs: &[Meta], output: &Meta) -> String {
    let sizes = |meta: &Meta| match meta.shape.as_slice() {
        [] => "()".to_string(),
        shape => shape.iter().map(usize::to_string).collect::<Vec<_>>().join("×"),
    };
    let inputs: Vec<String> = inputs.iter().map(sizes).collect();
    format!("{} → {}", inputs.join(" · "), sizes(output))
}
