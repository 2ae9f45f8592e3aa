//! Learning-rate schedules.

use std::f64::consts::PI;

/// Linear warm-up, then cosine annealing (Loshchilov and Hutter 2017), as in the paper's training
/// code.
///
/// Period e = 1, 2, … (an epoch there; a step, if the caller counts steps) uses base·e/warmup up to
/// e = warmup, and last + (base − last)·(1 + cos(π·(e − warmup − 1)/(total − warmup)))/2 after it.
/// So the period after the warm-up still has the rate `base`, and that of the last period is a
/// little above `last`, which period total + 1 would reach.
///
/// ```
/// let rates = nn::schedule::WarmupCosine { base: 1e-3, last: 1e-5, warmup: 10, total: 100 };
/// assert_eq!(rates.rate(1), 1e-4);
/// assert_eq!(rates.rate(10), 1e-3);
/// assert!(rates.rate(100) < 2e-5);
/// # Ok::<_, nn::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WarmupCosine {
    /// The highest rate.
    pub base: f64,
    /// The rate that the last period comes close to.
    pub last: f64,
    /// The number of periods of warm-up.
    pub warmup: u64,
    /// The total number of periods, including warm-up. If it is not greater than `warmup`, the run
    /// ends while the rate rises.
    pub total: u64,
}

impl WarmupCosine {
    /// The rate in `period`, counted from 1. After the last period it stays constant, and period 0
    /// has the rate of period 1. Rates that no optimizer takes, negative or not finite ones, are
    /// not refused here but by the [step](crate::TrainingStep::begin) that gets one.
    pub fn rate(&self, period: u64) -> f64 {
        let e = period.clamp(1, self.total.max(1));
        if e <= self.warmup {
            return self.base * e as f64 / self.warmup as f64;
        }
        let falling = self.total.saturating_sub(self.warmup).max(1);
        let progress = (e - self.warmup - 1) as f64 / falling as f64;
        self.last + (self.base - self.last) * (1.0 + (PI * progress).cos()) / 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_and_falls() {
        let schedule = WarmupCosine { base: 1e-4, last: 1e-6, warmup: 3, total: 300 };
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-15, "{a} {b}");
        close(schedule.rate(1), 1e-4 / 3.0);
        close(schedule.rate(3), 1e-4);
        // The first period after the warm-up still has the base rate.
        close(schedule.rate(4), 1e-4);
        assert!((schedule.rate(152) - 0.505e-4).abs() < 1e-6);
        assert!(schedule.rate(300) > 1e-6 && schedule.rate(300) < 1.1e-6);
        close(schedule.rate(400), schedule.rate(300));
        close(schedule.rate(0), schedule.rate(1));
        let end = schedule.last + (1e-4 - 1e-6) * (1.0 + (PI * 296.0 / 297.0).cos()) / 2.0;
        close(schedule.rate(300), end);
        let short = WarmupCosine { total: 2, ..schedule };
        close(short.rate(9), 2e-4 / 3.0);
        let none = WarmupCosine { base: 1.0, last: 0.0, warmup: 0, total: 0 };
        assert_eq!(none.rate(1), 1.0);
    }
}
