//! How often and how fast phase two is tried again.

use std::time::Duration;

/// Retry policy of an action's confirm and cancel: capped exponential backoff with jitter.
///
/// After attempt `n` the next one waits between half of and the whole of `base × 2^(n-1)`, at most `cap`.
/// When `max` attempts have failed, the branch is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    max: u32,
    base: Duration,
    cap: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::new()
    }
}

impl RetryPolicy {
    /// At most 20 attempts, from 100 ms to 60 s apart.
    #[must_use]
    pub const fn new() -> Self {
        Self { max: 20, base: Duration::from_millis(100), cap: Duration::from_secs(60) }
    }

    /// The most attempts, at least 1.
    #[must_use]
    pub const fn max(mut self, max: u32) -> Self {
        self.max = if max == 0 { 1 } else { max };
        self
    }

    /// The wait after the first attempt.
    #[must_use]
    pub const fn base(mut self, base: Duration) -> Self {
        self.base = base;
        self
    }

    /// The longest wait.
    #[must_use]
    pub const fn cap(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// The most attempts.
    #[must_use]
    pub const fn attempts_max(&self) -> u32 {
        self.max
    }

    /// The wait after a failed attempt, numbered from 1.
    #[must_use]
    pub fn delay(&self, attempt: u32, random: u64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        let whole = self.base.saturating_mul(1 << doublings).min(self.cap);
        jittered(whole, random)
    }
}

/// Between half of and the whole of a duration.
pub(crate) fn jittered(whole: Duration, random: u64) -> Duration {
    let half = u64::try_from(whole.as_micros() / 2).unwrap_or(u64::MAX);
    let extra = if half == 0 { 0 } else { random % (half + 1) };
    Duration::from_micros(half.saturating_add(extra))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_base_to_cap_with_jitter_of_half() {
        let policy = RetryPolicy::new().base(Duration::from_millis(100)).cap(Duration::from_secs(1)).max(5);
        for (attempt, whole) in [(1, 100), (2, 200), (4, 800), (5, 1_000), (40, 1_000), (u32::MAX, 1_000)] {
            for random in [0, 1, 77_777, u64::MAX] {
                let delay = policy.delay(attempt, random).as_millis();
                assert!((whole / 2..=whole).contains(&delay), "attempt {attempt}: {delay}");
            }
        }
        assert_eq!(RetryPolicy::new().max(0).attempts_max(), 1);
    }
}
