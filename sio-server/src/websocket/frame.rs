//! The header of a WebSocket frame and the mask over its payload.
//!
//! Pure. Checks all that one header can tell without knowing the message it belongs to; what depends on
//! the message is the business of [`Reader`](super::Reader). Spec: RFC 6455, sections 5.2 to 5.5 and 7.4.

use super::Violation;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Opcode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xA,
}

impl Opcode {
    fn from_bits(bits: u8) -> Result<Self, Violation> {
        Ok(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            opcode => return Err(Violation::OpcodeReserved { opcode }),
        })
    }

    pub(super) fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// The header of a frame from a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) fin: bool,
    /// RSV1 on the first frame of a message: the whole message is compressed.
    pub(super) compressed: bool,
    pub(super) opcode: Opcode,
    /// Length of the payload, as declared.
    pub(super) len: u64,
    pub(super) mask: [u8; 4],
    /// Length of the header itself.
    pub(super) size: usize,
}

impl Header {
    /// Reads the header at the start of `input`; `None` when there is more of it to come.
    ///
    /// `deflate` tells whether RSV1 may be used. A fault is reported with the byte that holds it, not
    /// only once the header is complete.
    #[inline]
    pub(super) fn parse(input: &[u8], deflate: bool) -> Result<Option<Self>, Violation> {
        let Some(&first) = input.first() else { return Ok(None) };
        let opcode = Opcode::from_bits(first & 0x0F)?;
        let fin = first & FIN != 0;
        let reserved = first & (RSV1 | RSV2 | RSV3);
        // Only the first frame of a data message may say that the message is compressed.
        let compressed = deflate && reserved == RSV1 && matches!(opcode, Opcode::Text | Opcode::Binary);
        if reserved != 0 && !compressed {
            return Err(Violation::ReservedBits { bits: reserved >> 4 });
        }
        if opcode.is_control() && !fin {
            return Err(Violation::ControlFragmented);
        }

        let Some(&second) = input.get(1) else { return Ok(None) };
        if second & MASKED == 0 {
            return Err(Violation::MaskMissing);
        }
        let short = second & !MASKED;
        if opcode.is_control() && short > MAX_CONTROL as u8 {
            return Err(Violation::ControlTooLong);
        }
        // A length in more bytes than it needs is against the letter of the RFC; nobody is harmed by it
        // and other servers take it, so it passes.
        let (len, size) = match (short, &input[2..]) {
            (126, [a, b, ..]) => (u64::from(u16::from_be_bytes([*a, *b])), 8),
            (127, [a, b, c, d, e, f, g, h, ..]) => {
                (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), MAX_CLIENT_HEADER)
            }
            (126 | 127, _) => return Ok(None),
            (short, _) => (u64::from(short), 6),
        };
        if len >> 63 != 0 {
            return Err(Violation::LengthInvalid);
        }
        let Some(&mask) = input.get(size - 4..).and_then(|rest| rest.first_chunk()) else {
            return Ok(None);
        };
        Ok(Some(Self { fin, compressed, opcode, len, mask, size }))
    }
}

/// Removes (or applies) the mask, in place. The first byte of `payload` is masked with `key[0]`.
#[inline]
pub(super) fn unmask(payload: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    // Eight bytes at a time, which the compiler turns into vector instructions.
    let (words, tail) = payload.as_chunks_mut();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (index, byte) in tail.iter_mut().enumerate() {
        *byte ^= key[index % 4];
    }
}

/// Turns the mask of a payload into the mask of what follows its first `offset` bytes.
pub(super) fn advance_mask(mut key: [u8; 4], offset: usize) -> [u8; 4] {
    key.rotate_left(offset % 4);
    key
}

/// Tells whether a close frame may carry this status: one that the RFC defines for the wire, one
/// registered since (up to 1014), or one of those left to libraries and applications.
pub(super) fn is_sendable_close_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

pub(super) const FIN: u8 = 0x80;
pub(super) const RSV1: u8 = 0x40;
const RSV2: u8 = 0x20;
const RSV3: u8 = 0x10;
const MASKED: u8 = 0x80;

/// Longest payload of a ping, pong or close frame.
pub(super) const MAX_CONTROL: usize = 125;

/// Longest header from a client: two bytes, a length of eight and the mask.
pub(super) const MAX_CLIENT_HEADER: usize = 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unmasking_in_two_steps_equals_unmasking_at_once() {
        let key = [0x11, 0x22, 0x33, 0x44];
        for len in 0..70 {
            let mut expected: Vec<u8> = (0..len).collect();
            for (index, byte) in expected.iter_mut().enumerate() {
                *byte ^= key[index % 4];
            }
            for split in 0..=usize::from(len) {
                let mut bytes: Vec<u8> = (0..len).collect();
                let (head, tail) = bytes.split_at_mut(split);
                unmask(head, key);
                unmask(tail, advance_mask(key, split));
                assert_eq!(bytes, expected, "{len} bytes split at {split}");
            }
        }
    }

    #[test]
    fn a_fault_is_seen_at_the_byte_that_holds_it() {
        assert_eq!(Header::parse(&[0x83], false).unwrap_err(), Violation::OpcodeReserved { opcode: 3 });
        assert_eq!(Header::parse(&[0x09], false).unwrap_err(), Violation::ControlFragmented);
        assert_eq!(Header::parse(&[0xC1], false).unwrap_err(), Violation::ReservedBits { bits: 0b100 });
        assert_eq!(Header::parse(&[0x81, 0x05], false).unwrap_err(), Violation::MaskMissing);
        assert_eq!(Header::parse(&[0x89, 0xFE], false).unwrap_err(), Violation::ControlTooLong);
        assert!(Header::parse(&[0xC1], true).unwrap().is_none());
    }

    #[test]
    fn close_codes_follow_the_registry() {
        let allowed: Vec<u16> = (0..=u16::MAX).filter(|code| is_sendable_close_code(*code)).collect();
        assert!(
            [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 3999, 4999].iter().all(|c| allowed.contains(c))
        );
        assert!(![0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000].iter().any(|c| allowed.contains(c)));
    }
}
