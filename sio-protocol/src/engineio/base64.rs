//! Base64 as Engine.IO peers write and read it: strict when written, forgiving when read.
//!
//! Pure. Engine.IO does not say which base64 it means; Node reads it with `Buffer.from(text, "base64")`, and clients
//! rely on what that accepts.

use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::engine::{DecodePaddingMode, Engine};

/// Appends the standard, padded form of `data`.
pub(super) fn encode(data: &[u8], out: &mut String) {
    STANDARD.encode_string(data, out);
}

/// Returns how many characters [`encode`] writes for `len` bytes.
pub(super) const fn encoded_len(len: usize) -> usize {
    len.div_ceil(3) * 4
}

/// Decodes like Node's `Buffer`: both alphabets, padding optional, everything from the first `=` on ignored, other
/// characters skipped. Never fails; allocates about three quarters of the length of `text`.
pub(super) fn decode(text: &[u8]) -> Vec<u8> {
    USUAL.decode(text).unwrap_or_else(|_| decode_leniently(text))
}

fn decode_leniently(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let mut bits = 0u32;
    let mut held = 0u32;
    let sextets = text.iter().take_while(|&&byte| byte != b'=').filter_map(|&byte| sextet(byte));
    for sextet in sextets {
        bits = (bits << 6) | u32::from(sextet);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    out
}

const fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

/// What almost every client sends, read by the vectorised decoder; whatever it refuses is read again, slowly.
const USUAL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_accepts_what_node_accepts() {
        // Outputs of `Buffer.from(text, "base64")` in Node 20.
        for (text, bytes) in [
            ("YWJj", "abc"),
            ("YWI=", "ab"),
            ("YWI", "ab"),
            ("YQ==YQ==", "a"),
            ("YQ=YQ", "a"),
            ("Y=Q", ""),
            ("YWJj=ZA", "abc"),
            ("Y", ""),
            ("YWI=\nYw", "ab"),
            ("!!!!", ""),
            ("Y!W@J#j", "abc"),
            ("YWJjZ", "abc"),
            ("====YQ", ""),
            ("YR==", "a"),
            ("YWJjé", "abc"),
        ] {
            assert_eq!(decode(text.as_bytes()), bytes.as_bytes(), "{text:?}");
        }
        assert_eq!(decode(b"-_8"), [0xfb, 0xff]);
        assert_eq!(decode(b"+/8="), [0xfb, 0xff]);
    }

    #[test]
    fn encoded_len_is_the_length_that_encode_writes() {
        for len in 0..50 {
            let mut out = String::new();
            encode(&vec![7; len], &mut out);
            assert_eq!(out.len(), encoded_len(len));
            assert_eq!(decode(out.as_bytes()), vec![7; len]);
            assert_eq!(decode_leniently(out.as_bytes()), vec![7; len]);
        }
    }
}
