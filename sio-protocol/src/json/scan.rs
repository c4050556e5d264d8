//! The search for the next byte of a JSON string that needs a look: quote, backslash or control character.
//!
//! Most bytes on the wire are inside strings, so this loop decides how fast long messages are. It reads eight
//! bytes at a time, and in long strings blocks that the compiler turns into vector instructions.

/// Gives the offset, at or after `from`, of the first quote, backslash or control character, or the length of
/// `bytes`.
#[inline]
pub(crate) fn find_special(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    // Short strings are the rule, and for them the first words are all there is to look at.
    for _ in 0..WORDS_BEFORE_BLOCKS {
        match word_at(bytes, at) {
            Some(word) => match special_bits(word) {
                0 => at += 8,
                bits => return at + (bits.trailing_zeros() / 8) as usize,
            },
            None => return find_in_rest(bytes, at),
        }
    }
    find_in_long(bytes, at)
}

#[inline(never)]
fn find_in_long(bytes: &[u8], from: usize) -> usize {
    let at = skip_blocks::<{ 4 * VECTOR }>(bytes, from);
    let at = skip_blocks::<{ 2 * VECTOR }>(bytes, at);
    let mut at = skip_blocks::<VECTOR>(bytes, at);
    while let Some(word) = word_at(bytes, at) {
        match special_bits(word) {
            0 => at += 8,
            bits => return at + (bits.trailing_zeros() / 8) as usize,
        }
    }
    find_in_rest(bytes, at)
}

/// Passes blocks without a special byte.
#[inline]
fn skip_blocks<const N: usize>(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<N>()) {
        // No early exit inside a block: that is what lets the compiler compare a whole vector at once.
        if block.iter().fold(false, |hit, &byte| hit | is_special(byte)) {
            break;
        }
        at += N;
    }
    at
}

/// Looks at the last bytes, fewer than a word, one by one.
#[inline]
fn find_in_rest(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while bytes.get(at).is_some_and(|&byte| !is_special(byte)) {
        at += 1;
    }
    at
}

fn word_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk::<8>().map(|chunk| u64::from_le_bytes(*chunk))
}

fn is_special(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < 0x20)
}

/// Sets the top bit of every special byte. A borrow can set one too many, but only above a true hit, and only
/// the lowest one is used.
fn special_bits(word: u64) -> u64 {
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    ((quote.wrapping_sub(ONES) & !quote) | (backslash.wrapping_sub(ONES) & !backslash) | control) & TOPS
}

const ONES: u64 = 0x0101_0101_0101_0101;
const TOPS: u64 = 0x8080_8080_8080_8080;
/// What every machine of today compares at once.
const VECTOR: usize = 16;
const WORDS_BEFORE_BLOCKS: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_special_byte_is_found_at_every_distance() {
        for special in (0..0x20).chain([b'"', b'\\']) {
            for length in 0..200 {
                let mut text = vec![0xc3; length];
                text.push(special);
                text.extend_from_slice(b"\"\\\n tail that does not count");
                assert_eq!(find_special(&text, 0), length, "byte {special} after {length}");
                for from in (0..length).step_by(7) {
                    assert_eq!(find_special(&text, from), length);
                }
            }
        }
    }

    #[test]
    fn no_other_byte_is_special() {
        for plain in (0x20..=0xff).filter(|byte| !matches!(byte, b'"' | b'\\')) {
            for length in [0, 1, 7, 8, 9, 63, 64, 65, 150] {
                assert_eq!(find_special(&vec![plain; length], 0), length);
            }
        }
    }
}
