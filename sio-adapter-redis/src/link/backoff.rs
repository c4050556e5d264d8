//! Pauses between attempts: doubling, bounded, and not the same for all.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::Duration,
};

/// How long to wait before the next attempt.
#[derive(Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    attempt: u32,
}

impl Backoff {
    pub(super) fn new((min, max): (Duration, Duration)) -> Self {
        Self { min, max: max.max(min), attempt: 0 }
    }

    /// Forgets the failures.
    pub(super) fn reset(&mut self) {
        self.attempt = 0;
    }

    /// Counts a failure. Returns how many there were in a row and the pause, up to a half of it taken off at random, so
    /// that nodes which lost the same Redis do not come back in step.
    pub(super) fn fail(&mut self) -> (u32, Duration) {
        let whole = self.min.saturating_mul(1 << self.attempt.min(20)).min(self.max);
        self.attempt = self.attempt.saturating_add(1);
        let off = (random() >> 40) as f64 / (1_u64 << 25) as f64; // 0 to 0.5
        (self.attempt, whole.mul_f64(1.0 - off))
    }
}

/// Gives 64 bits that other processes do not share: what the standard library seeds its hash maps with. Not secret.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_their_bound_and_differ() {
        let (min, max) = (Duration::from_millis(50), Duration::from_secs(5));
        let mut backoff = Backoff::new((min, max));
        let mut whole = min;
        let mut seen = std::collections::HashSet::new();
        for attempt in 1..100 {
            let (count, pause) = backoff.fail();
            assert_eq!(count, attempt);
            assert!(pause <= whole && pause >= whole / 2, "{attempt}: {pause:?} of {whole:?}");
            seen.insert(pause);
            whole = (whole * 2).min(max);
        }
        assert!(seen.len() > 50, "not random");
        backoff.reset();
        assert!(backoff.fail().1 <= min);
    }
}
