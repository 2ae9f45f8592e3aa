//! `--profile`: the time a command spent in each operation.

use engine::memory;
use engine::profile::{self, Profile, Sum};
use std::fmt::Display;

/// How many of the slowest calls are listed by shape.
const KINDS: usize = 15;

/// Runs `work` and, if `wanted`, prints the times of its operations to standard error, since
/// standard output may be JSON.
pub(super) fn profiled<T>(wanted: bool, work: impl FnOnce() -> T) -> T {
    if !wanted {
        return work();
    }
    profile::start();
    let result = work();
    eprintln!("{}", report(&profile::stop()));
    result
}

fn report(profile: &Profile) -> String {
    let (total, outside) = (profile.total(), Sum { time: profile.outside(), ..Sum::default() });
    let line = |name: &dyn Display, sum: &Sum| {
        let calls = if sum.calls > 0 { sum.calls.to_string() } else { String::new() };
        let share = 100.0 * sum.time.as_secs_f64() / profile.wall.as_secs_f64();
        let rate = sum.gflops().map_or(String::new(), |rate| format!("{rate:.1}"));
        format!("{calls:>9} {:>10.3} {share:>7.1} {rate:>8}  {name}", sum.time.as_secs_f64())
    };
    let heads = |name: &str| {
        format!("{:>9} {:>10} {:>7} {:>8}  {name}", "calls", "seconds", "share %", "GFLOP/s")
    };

    let mut lines = vec![heads("operation")];
    lines.extend(profile.operations().iter().map(|entry| line(&entry.kind, &entry.sum)));
    lines.push(line(&"outside operations", &outside));
    lines.push(line(&"wall time", &Sum { time: profile.wall, ..total }));
    let kinds = profile.entries.iter().take(KINDS);
    lines.extend([String::new(), heads(&format!("the {} slowest, by shapes", kinds.len()))]);
    lines.extend(kinds.map(|entry| line(&entry.kind, &entry.sum)));
    lines.extend([
        String::new(),
        format!("peak memory of tensors: {:.3} GB", memory::stats().peak as f64 / 1e9),
    ]);
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::profile::{CallKind, ProfileEntry};
    use std::time::Duration;

    #[test]
    fn the_table_adds_up_to_the_wall_time() {
        let entry = |backward, shapes: &str, milliseconds, flops| ProfileEntry {
            kind: CallKind { name: "conv2d", backward, shapes: shapes.into() },
            sum: Sum { calls: 2, time: Duration::from_millis(milliseconds), flops },
        };
        let entries = vec![
            entry(true, "a", 500, 0),
            entry(false, "b", 200, 4_000_000_000),
            entry(false, "c", 200, 0),
        ];
        let said = report(&Profile { entries, wall: Duration::from_secs(1) });
        let lines: Vec<Vec<&str>> =
            said.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["2", "0.500", "50.0", "conv2d", "backward"]);
        assert_eq!(lines[2], ["4", "0.400", "40.0", "10.0", "conv2d"]);
        assert_eq!(lines[3], ["0.100", "10.0", "outside", "operations"]);
        assert_eq!(lines[4], ["6", "1.000", "100.0", "4.0", "wall", "time"]);
        assert_eq!(lines[8], ["2", "0.200", "20.0", "20.0", "conv2d", "b"]);
    }
}
