//! Randomness that is the same for the same seed on every machine and with every version of every crate.

use std::time::Duration;

/// SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A generator of its own, so that drawing from one does not shift the other.
    pub(super) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// A number below `end`, which must not be 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A number from `first` to `last`, both included.
    pub(super) fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }

    /// True so many times in ten thousand.
    pub(super) fn chance(&mut self, in_ten_thousand: u32) -> bool {
        self.below(10_000) < u64::from(in_ten_thousand)
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    pub(super) fn millis(&mut self, first: u64, last: u64) -> Duration {
        Duration::from_micros(self.between(first * 1_000, last * 1_000))
    }

    /// A duration whose order of magnitude is random too.
    pub(super) fn magnitude(&mut self, first: Duration, last: Duration) -> Duration {
        let (first, last) = (first.as_micros().max(1) as u64, last.as_micros() as u64);
        let octaves = u64::from((last / first).max(1).ilog2());
        let low = first << self.between(0, octaves);
        Duration::from_micros(self.between(low, (low * 2).min(last.max(low))))
    }
}
