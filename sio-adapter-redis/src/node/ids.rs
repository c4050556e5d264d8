//! Names of nodes and requests: random, but out of a generator that is seeded from outside.

use std::sync::atomic::{AtomicU64, Ordering};

/// Draws names. They have to differ, not to be secret: whoever can publish to the cluster can do anything in it.
#[derive(Debug)]
pub(super) struct Ids(AtomicU64);

impl Ids {
    pub(super) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// Six characters, as the classic adapter of Node has them.
    pub(super) fn short(&self) -> Box<str> {
        let bits = self.next();
        (0..6).map(|at| char::from(ALPHABET[(bits >> (6 * at)) as usize & 63])).collect::<String>().into()
    }

    /// Sixteen hexadecimal digits, as the sharded adapter of Node has them.
    pub(super) fn long(&self) -> Box<str> {
        format!("{:016x}", self.next()).into()
    }

    /// SplitMix64: a counter, well mixed, so that one atomic addition is all that threads share.
    fn next(&self) -> u64 {
        let mut z = self.0.fetch_add(GOLDEN, Ordering::Relaxed).wrapping_add(GOLDEN);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// 2^64 divided by the golden ratio, which is odd: the counter passes every value once.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_have_the_form_of_node_s_and_differ() {
        let ids = Ids::new(1);
        let short: HashSet<_> = (0..1_000).map(|_| ids.short()).collect();
        let long: HashSet<_> = (0..1_000).map(|_| ids.long()).collect();
        assert_eq!((short.len(), long.len()), (1_000, 1_000));
        assert!(short.iter().all(|id| id.len() == 6 && id.bytes().all(|byte| ALPHABET.contains(&byte))));
        let is_hex = |id: &str| id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        assert!(long.iter().all(|id| id.len() == 16 && is_hex(id)));
    }
}
