//! From a polling body to its packets.
//!
//! Pure and lazy: a packet is cut out when it is asked for, and borrows from the body unless that was not UTF-8.
//! Lengths that a body declares are only ever compared with the bytes that are there.

use std::borrow::Cow;
use std::iter::FusedIterator;
use std::ops::Range;

use super::super::{Malformed, Packet, Revision};

/// Iterates over the packets of one polling body. After the first error it is at its end; the packets before it are
/// valid and, as in Node, to be delivered.
///
/// Bytes that are not UTF-8 become U+FFFD, as in Node, wherever text is expected. Costs no memory but that of base64
/// being undone, or three times the body if text is expected and the body is not UTF-8.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    rev: Revision,
    body: Body<'a>,
    /// Bytes of the body that are behind us.
    position: usize,
    done: bool,
}

/// The `Content-Type` of a polling body, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BodyKind {
    /// Any type but the other one.
    Text,
    /// Exactly `application/octet-stream`. Only revision 3 has such bodies; in revision 4 the decoder yields
    /// [`Malformed::OctetStreamInRevision4`].
    OctetStream,
}

#[derive(Clone, Debug)]
enum Body<'a> {
    Text(Cow<'a, str>),
    Binary(&'a [u8]),
}

/// Where a packet of a binary body is, and what it is.
enum Cut {
    Text(Range<usize>),
    Binary(Range<usize>),
}

impl<'a> Decoder<'a> {
    /// Starts to read `body`, which a client of revision `rev` has posted.
    pub fn new(rev: Revision, kind: BodyKind, body: &'a [u8]) -> Self {
        let body = match kind {
            BodyKind::OctetStream => Body::Binary(body),
            BodyKind::Text => Body::Text(match simdutf8::basic::from_utf8(body) {
                Ok(text) => Cow::Borrowed(text),
                Err(_) => String::from_utf8_lossy(body),
            }),
        };
        Self { rev, body, position: 0, done: false }
    }

    fn advance(&mut self) -> Option<Result<Packet<'a>, Malformed>> {
        match &self.body {
            Body::Text(Cow::Borrowed(text)) => {
                let cut = cut_text(self.rev, text, &mut self.position)?;
                Some(cut.and_then(|at| Packet::decode_text(self.rev, &text[at])))
            }
            Body::Text(Cow::Owned(text)) => {
                let cut = cut_text(self.rev, text, &mut self.position)?;
                Some(cut.and_then(|at| Packet::decode_text(self.rev, &text[at]).map(Packet::into_owned)))
            }
            Body::Binary(_) if self.rev == Revision::V4 => Some(Err(Malformed::OctetStreamInRevision4)),
            Body::Binary(bytes) => Some(match cut_binary(bytes, &mut self.position)? {
                Ok(Cut::Text(at)) => decode_lossy(self.rev, &bytes[at]),
                Ok(Cut::Binary(at)) => Packet::decode_binary(self.rev, &bytes[at]),
                Err(malformed) => Err(malformed),
            }),
        }
    }
}

impl<'a> Iterator for Decoder<'a> {
    type Item = Result<Packet<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.advance();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}

impl FusedIterator for Decoder<'_> {}

fn decode_lossy(rev: Revision, bytes: &[u8]) -> Result<Packet<'_>, Malformed> {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => Packet::decode_text(rev, text),
        Cow::Owned(text) => Packet::decode_text(rev, &text).map(Packet::into_owned),
    }
}

/// Finds the next packet of a text body and moves `position` behind it.
fn cut_text(rev: Revision, body: &str, position: &mut usize) -> Option<Result<Range<usize>, Malformed>> {
    match rev {
        Revision::V4 => cut_separated(body, position).map(Ok),
        Revision::V3 => cut_prefixed(body, position),
    }
}

fn cut_separated(body: &str, position: &mut usize) -> Option<Range<usize>> {
    let start = *position;
    // A separator at the very end is followed by one more packet, an empty one; hence the position past the end.
    let rest = body.get(start..)?;
    let end = rest.find(SEPARATOR).map_or(body.len(), |at| start + at);
    *position = end + SEPARATOR.len_utf8();
    Some(start..end)
}

fn cut_prefixed(body: &str, position: &mut usize) -> Option<Result<Range<usize>, Malformed>> {
    if body.is_empty() {
        return Some(Err(Malformed::EmptyBody));
    }
    while *position < body.len() {
        let Some((length, rest)) = body[*position..].split_once(':') else {
            return Some(Err(Malformed::LengthUnterminated));
        };
        let start = body.len() - rest.len();
        let packet = parse_length(length).and_then(|units| utf16_prefix(rest, units));
        let end = match packet {
            Ok(len) => start + len,
            Err(malformed) => return Some(Err(malformed)),
        };
        *position = end;
        // "0:" is how Node's parser writes a body without packets.
        if start < end {
            return Some(Ok(start..end));
        }
    }
    None
}

/// Reads a length. Like Node, which converts it with `Number()`, takes white space around it and leading zeros; unlike
/// Node, takes no hexadecimal numbers, signs and exponents, which no client writes.
fn parse_length(text: &str) -> Result<usize, Malformed> {
    let digits = text.trim();
    if digits.is_empty() {
        return Err(Malformed::LengthNotANumber);
    }
    digits.bytes().try_fold(0, |length, byte| match byte {
        b'0'..=b'9' => Ok(append_digit(length, byte - b'0')),
        _ => Err(Malformed::LengthNotANumber),
    })
}

/// A length that does not fit stays at the maximum, which no body reaches.
fn append_digit(length: usize, digit: u8) -> usize {
    length.saturating_mul(10).saturating_add(usize::from(digit))
}

/// Returns how many bytes the first `units` UTF-16 code units of `text` take.
fn utf16_prefix(text: &str, units: usize) -> Result<usize, Malformed> {
    let truncated = Malformed::PacketTruncated { declared: units, available: text.len() };
    // No code unit takes less than a byte, so this many bytes are needed at least, and are enough if all are ASCII.
    let head = text.as_bytes().get(..units).ok_or(truncated)?;
    if head.is_ascii() {
        return Ok(units);
    }
    let mut left = units;
    for (at, char) in text.char_indices() {
        if left == 0 {
            return Ok(at);
        }
        let Some(after) = left.checked_sub(char.len_utf16()) else {
            return Err(Malformed::LengthSplitsCharacter { declared: units });
        };
        left = after;
    }
    if left == 0 { Ok(text.len()) } else { Err(truncated) }
}

/// Finds the next packet of a binary body and moves `position` behind it. An empty packet is skipped, as in the text
/// form.
fn cut_binary(body: &[u8], position: &mut usize) -> Option<Result<Cut, Malformed>> {
    while let Some((&mark, rest)) = body[*position..].split_first() {
        let (length, packet) = match parse_binary_length(rest) {
            Ok(parsed) => parsed,
            Err(malformed) => return Some(Err(malformed)),
        };
        if length > packet.len() {
            return Some(Err(Malformed::PacketTruncated { declared: length, available: packet.len() }));
        }
        let start = body.len() - packet.len();
        let at = start..start + length;
        *position = at.end;
        if length > 0 {
            return Some(Ok(if mark == 0 { Cut::Text(at) } else { Cut::Binary(at) }));
        }
    }
    None
}

/// Reads digits up to the end mark, returns their number and what follows.
fn parse_binary_length(bytes: &[u8]) -> Result<(usize, &[u8]), Malformed> {
    let mut length = 0;
    for (count, &digit) in bytes.iter().enumerate() {
        match digit {
            LENGTH_END if count == 0 => return Err(Malformed::LengthNotANumber),
            LENGTH_END => return Ok((length, &bytes[count + 1..])),
            0..=9 if count == MAX_LENGTH_DIGITS => {
                return Err(Malformed::LengthTooLong { limit: MAX_LENGTH_DIGITS });
            }
            0..=9 => length = append_digit(length, digit),
            _ => return Err(Malformed::LengthNotANumber),
        }
    }
    Err(Malformed::LengthUnterminated)
}

/// Between two packets of revision 4, "record separator" in ASCII.
pub(super) const SEPARATOR: char = '\x1e';

/// After the digits of a length in the binary form.
pub(super) const LENGTH_END: u8 = 0xff;

/// As in Node, where it is the number of digits of the greatest double.
const MAX_LENGTH_DIGITS: usize = 310;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf16_prefix_counts_units_and_returns_bytes() {
        assert_eq!(utf16_prefix("abc", 2), Ok(2));
        assert_eq!(utf16_prefix("4€😀4", 4), Ok(8));
        assert_eq!(utf16_prefix("4€😀", 4), Ok(8));
        assert_eq!(utf16_prefix("€", 0), Ok(0));
        assert_eq!(utf16_prefix("", 0), Ok(0));
        assert_eq!(utf16_prefix("4€😀", 3), Err(Malformed::LengthSplitsCharacter { declared: 3 }));
        assert_eq!(utf16_prefix("4€😀", 5), Err(Malformed::PacketTruncated { declared: 5, available: 8 }));
        let max = usize::MAX;
        assert_eq!(utf16_prefix("4", max), Err(Malformed::PacketTruncated { declared: max, available: 1 }));
    }

    #[test]
    fn a_length_is_decimal_with_leading_zeros_and_white_space_allowed() {
        assert_eq!(parse_length("12"), Ok(12));
        assert_eq!(parse_length("0012"), Ok(12));
        assert_eq!(parse_length(" 6\n"), Ok(6));
        assert_eq!(parse_length(&"9".repeat(400)), Ok(usize::MAX));
        for bad in ["", " ", "-1", "+1", "1e3", "0x6", "6.0", "٣"] {
            assert_eq!(parse_length(bad), Err(Malformed::LengthNotANumber), "{bad:?}");
        }
    }
}
