//! A histogram of durations with a fixed relative error.
//!
//! Pure. Buckets are linear inside each power of two, so that recording costs a few instructions and a
//! quantile is off by at most 1/32 of its value, from nanoseconds to minutes.

use std::time::Duration;

/// Linear buckets in each power of two, as a power of two itself.
const SUB_BITS: u32 = 5;

/// Counts durations in buckets.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { buckets: vec![0; 64 << SUB_BITS], total: 0 }
    }

    pub(crate) fn clear(&mut self) {
        self.buckets.fill(0);
        self.total = 0;
    }

    pub(crate) fn record(&mut self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(nanoseconds)] += 1;
        self.total += 1;
    }

    /// The duration that the share `quantile` of the recorded ones does not exceed; nothing if none was recorded.
    pub(crate) fn quantile(&self, quantile: f64) -> Option<Duration> {
        let rank = ((self.total as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Some(Duration::from_nanos(lower_bound(index)));
            }
        }
        None
    }
}

fn bucket(value: u64) -> usize {
    let exponent = value.max(1).ilog2();
    if exponent < SUB_BITS {
        return value as usize;
    }
    let shift = exponent - SUB_BITS;
    // The leading one of the mantissa adds the first `1 << SUB_BITS`.
    ((shift as usize) << SUB_BITS) + (value >> shift) as usize
}

fn lower_bound(bucket: usize) -> u64 {
    let sub = 1 << SUB_BITS;
    if bucket < 2 * sub {
        return bucket as u64;
    }
    let shift = bucket / sub - 1;
    ((bucket - shift * sub) as u64) << shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_contiguous_and_close() {
        let mut previous = 0;
        for value in (0..100_000_u64).chain((16..40).map(|power| 3_u64 << power)) {
            let bound = lower_bound(bucket(value));
            assert!(bound <= value && value - bound <= value / 32, "{value} is put at {bound}");
            if value < 100_000 {
                assert!(bucket(value) == previous || bucket(value) == previous + 1);
                previous = bucket(value);
            }
        }
    }

    #[test]
    fn quantiles_follow_the_counts() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.quantile(0.5), None);
        for microseconds in 1..=100 {
            histogram.record(Duration::from_micros(microseconds));
        }
        let median = histogram.quantile(0.5).unwrap().as_nanos();
        let tail = histogram.quantile(0.99).unwrap().as_nanos();
        assert!((48_000..=50_000).contains(&median), "{median}");
        assert!((96_000..=99_000).contains(&tail), "{tail}");
    }
}
