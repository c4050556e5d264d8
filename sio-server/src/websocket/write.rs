//! Frames from the server: headers, close frames, and the two constant ones.
//!
//! Pure. Server frames carry no mask, so a frame is the header followed by the payload as it is. Room for
//! [`MAX_HEADER`] bytes before a payload lets the header be put in front of it without moving anything.
//! Spec: RFC 6455, section 5.2.

use super::frame::{FIN, Opcode, RSV1};

/// Makes the header of an unfragmented frame: the array and how much of it counts.
///
/// `rsv1` marks a compressed message.
#[inline]
pub(crate) fn frame_header(opcode: Opcode, len: usize, rsv1: bool) -> ([u8; MAX_HEADER], usize) {
    let mut header = [0; MAX_HEADER];
    header[0] = FIN | if rsv1 { RSV1 } else { 0 } | opcode as u8;
    let size = match len {
        0..=125 => {
            header[1] = len as u8;
            2
        }
        126..=0xFFFF => {
            header[1] = 126;
            header[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            4
        }
        _ => {
            header[1] = 127;
            header[2..].copy_from_slice(&(len as u64).to_be_bytes());
            MAX_HEADER
        }
    };
    (header, size)
}

/// Writes the header of an uncompressed frame so that it ends at `end`, and returns where it begins.
///
/// # Panics
///
/// If `end` is past the end of `buf` or leaves no room; [`MAX_HEADER`] bytes before `end` always suffice.
#[inline]
pub(crate) fn write_header_backwards(
    buf: &mut [u8],
    end: usize,
    opcode: Opcode,
    payload_len: usize,
) -> usize {
    let (header, size) = frame_header(opcode, payload_len, false);
    let start = end - size;
    buf[start..end].copy_from_slice(&header[..size]);
    start
}

/// Makes a close frame without a reason: the array and how much of it counts.
///
/// Without a code the payload is empty, which the client reports as 1005. This is how a session is closed
/// in the normal course; a code is for a [`Violation`](super::Violation).
pub(crate) fn close_frame(code: Option<u16>) -> ([u8; 4], usize) {
    let first = FIN | Opcode::Close as u8;
    match code {
        None => ([first, 0, 0, 0], 2),
        Some(code) => {
            let [high, low] = code.to_be_bytes();
            ([first, 2, high, low], 4)
        }
    }
}

/// Longest header of a server frame: two bytes and a length of eight.
pub(crate) const MAX_HEADER: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_takes_as_few_bytes_as_it_can() {
        for (len, expected) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (0xFFFF, &[0x81, 126, 0xFF, 0xFF]),
            (0x1_0000, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let (header, size) = frame_header(Opcode::Text, len, false);
            assert_eq!(&header[..size], expected, "{len}");
        }
    }

    #[test]
    fn a_header_written_backwards_touches_the_payload() {
        let mut buf = *b"..........payload";
        let start = write_header_backwards(&mut buf, MAX_HEADER, Opcode::Binary, 7);
        assert_eq!(&buf[start..], b"\x82\x07payload");
    }

    #[test]
    fn rsv1_marks_a_compressed_frame() {
        assert_eq!(frame_header(Opcode::Binary, 3, true).0[..2], [0xC2, 3]);
    }

    #[test]
    fn a_close_frame_has_its_code_or_nothing() {
        assert_eq!(close_frame(None), ([0x88, 0, 0, 0], 2));
        assert_eq!(close_frame(Some(1009)), ([0x88, 2, 0x03, 0xF1], 4));
    }
}
