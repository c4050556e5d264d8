//! The header of a packet: type, number of attachments, namespace and ack id, all before the JSON text.
//!
//! Written forwards for a message that is built at once, and backwards for one whose data is there already
//! and left room before it. Spec: socket.io-protocol v5, "Packet encoding".

use crate::error::Malformed;
use crate::json::{Sink, write_u64};
use crate::limits::Limits;

use super::packet::PacketKind;

/// What stands before the data of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header<'a> {
    pub(super) kind: PacketKind,
    /// The number of attachments that follow, 0 unless the type is binary.
    pub(super) attachments: usize,
    pub(super) nsp: &'a str,
    pub(super) id: Option<u64>,
    /// Everything after the header.
    pub(super) data: &'a str,
}

/// Splits a message into header and data.
pub(super) fn scan<'a>(text: &'a str, limits: &Limits) -> Result<Header<'a>, Malformed> {
    let seen = text.chars().next().ok_or(Malformed::EmptyPacket)?;
    let (kind, binary) = match seen {
        '0' => (PacketKind::Connect, false),
        '1' => (PacketKind::Disconnect, false),
        '2' => (PacketKind::Event, false),
        '3' => (PacketKind::Ack, false),
        '4' => (PacketKind::ConnectError, false),
        '5' => (PacketKind::Event, true),
        '6' => (PacketKind::Ack, true),
        _ => return Err(Malformed::UnknownPacketType { seen }),
    };
    let rest = &text[1..];
    let (attachments, rest) = if binary { attachment_count(rest, limits)? } else { (0, rest) };
    let (nsp, rest) = namespace(rest);
    if nsp.len() > limits.max_namespace_length {
        return Err(Malformed::NamespaceTooLong { seen: nsp.len(), limit: limits.max_namespace_length });
    }
    let (id, data) = ack_id(rest)?;
    Ok(Header { kind, attachments, nsp, id, data })
}

/// "if the packet contains binary data, the number of binary attachments, then `-`"
fn attachment_count<'a>(text: &'a str, limits: &Limits) -> Result<(usize, &'a str), Malformed> {
    let (digits, rest) = split_digits(text);
    let rest = rest.strip_prefix('-').ok_or(Malformed::AttachmentCountInvalid)?;
    if digits.is_empty() {
        return Err(Malformed::AttachmentCountInvalid);
    }
    // Only a number with too many digits fails to parse.
    let seen = digits.parse::<u64>().unwrap_or(u64::MAX);
    match usize::try_from(seen) {
        Ok(0) => Err(Malformed::AttachmentCountInvalid),
        Ok(count) if count <= limits.max_attachments => Ok((count, rest)),
        _ => Err(Malformed::AttachmentsExceeded { seen, limit: limits.max_attachments }),
    }
}

/// "if the namespace is different from the main namespace (`/`), the namespace, then `,`". The comma may be
/// missing at the end of the message, and clients of revision 4 leave it out.
fn namespace(text: &str) -> (&str, &str) {
    if !text.starts_with('/') {
        return ("/", text);
    }
    text.split_once(',').unwrap_or((text, ""))
}

/// Reads an id of decimal digits. Node reads white space as digits too, which is no use to anyone and refused
/// here.
fn ack_id(text: &str) -> Result<(Option<u64>, &str), Malformed> {
    let (digits, rest) = split_digits(text);
    if digits.is_empty() {
        return Ok((None, rest));
    }
    match digits.parse() {
        Ok(id) if id <= MAX_ACK_ID => Ok((Some(id), rest)),
        _ => Err(Malformed::AckIdTooLarge { limit: MAX_ACK_ID }),
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    let length = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(length)
}

/// Gives the most bytes that the header of a packet for this namespace can take.
pub const fn header_len_max(nsp: &str) -> usize {
    1 + U64_DIGITS + 1 + nsp.len() + 1 + U64_DIGITS
}

/// Appends the header of a packet.
pub fn write_header(out: &mut String, kind: PacketKind, attachments: usize, nsp: &str, id: Option<u64>) {
    let binary = is_binary(kind, attachments);
    out.push(kind.digit(binary));
    if binary {
        write_u64(out, attachments as u64);
        out.ascii(b'-');
    }
    if !is_main(nsp) {
        out.push_str(nsp);
        out.push(',');
    }
    if let Some(id) = id {
        write_u64(out, id);
    }
}

/// Writes the header of a packet so that it ends at `end`, and gives the offset at which it starts. The data
/// can thus be written first, behind [`header_len_max`] bytes of room, when neither the ack id nor the number
/// of attachments is known yet.
///
/// # Panics
///
/// If there is not enough room before `end`, or `end` is beyond the buffer.
///
/// ```
/// use sio_protocol::socketio::{PacketKind, write_header_backwards};
///
/// let mut message = *b"..........[\"hello\"]";
/// let start = write_header_backwards(&mut message, 10, PacketKind::Event, 0, "/chat", Some(7));
/// assert_eq!(&message[start..], b"2/chat,7[\"hello\"]");
/// ```
pub fn write_header_backwards(
    buf: &mut [u8],
    end: usize,
    kind: PacketKind,
    attachments: usize,
    nsp: &str,
    id: Option<u64>,
) -> usize {
    let mut at = end;
    if let Some(id) = id {
        at = digits_backwards(buf, at, id);
    }
    if !is_main(nsp) {
        at -= 1;
        buf[at] = b',';
        let start = at - nsp.len();
        buf[start..at].copy_from_slice(nsp.as_bytes());
        at = start;
    }
    let binary = is_binary(kind, attachments);
    if binary {
        at -= 1;
        buf[at] = b'-';
        at = digits_backwards(buf, at, attachments as u64);
    }
    at -= 1;
    buf[at] = kind.digit(binary) as u8;
    at
}

fn digits_backwards(buf: &mut [u8], end: usize, number: u64) -> usize {
    let mut at = end;
    let mut rest = number;
    loop {
        at -= 1;
        buf[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return at;
        }
    }
}

fn is_binary(kind: PacketKind, attachments: usize) -> bool {
    attachments > 0 && matches!(kind, PacketKind::Event | PacketKind::Ack)
}

fn is_main(nsp: &str) -> bool {
    nsp.is_empty() || nsp == "/"
}

/// 2^53 - 1, the last integer that JavaScript counts to.
pub(crate) const MAX_ACK_ID: u64 = 9_007_199_254_740_991;
/// The most digits of an id or a count.
const U64_DIGITS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> Result<(PacketKind, usize, &str, Option<u64>, &str), Malformed> {
        scan(text, &Limits::default()).map(|h| (h.kind, h.attachments, h.nsp, h.id, h.data))
    }

    #[test]
    fn headers_are_split_from_the_data() {
        use PacketKind::*;
        for (text, expected) in [
            ("0", (Connect, 0, "/", None, "")),
            ("0/admin", (Connect, 0, "/admin", None, "")),
            ("0/admin?token=a&b={,{\"a\":1}", (Connect, 0, "/admin?token=a&b={", None, "{\"a\":1}")),
            ("2/admin[\"foo\"]", (Event, 0, "/admin[\"foo\"]", None, "")),
            ("2007[\"a\"]", (Event, 0, "/", Some(7), "[\"a\"]")),
            ("2/é,12[]", (Event, 0, "/é", Some(12), "[]")),
            ("29007199254740991[]", (Event, 0, "/", Some(9_007_199_254_740_991), "[]")),
            ("510-/a,3[]", (Event, 10, "/a", Some(3), "[]")),
            ("61-[]", (Ack, 1, "/", None, "[]")),
            ("2 [\"a\"]", (Event, 0, "/", None, " [\"a\"]")),
            ("2-1[]", (Event, 0, "/", None, "-1[]")),
        ] {
            assert_eq!(header(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn bad_headers_are_refused() {
        for (text, expected) in [
            ("", Malformed::EmptyPacket),
            ("7", Malformed::UnknownPacketType { seen: '7' }),
            ("é", Malformed::UnknownPacketType { seen: 'é' }),
            ("5[]", Malformed::AttachmentCountInvalid),
            ("5-[]", Malformed::AttachmentCountInvalid),
            ("50-[]", Malformed::AttachmentCountInvalid),
            ("5+1-[]", Malformed::AttachmentCountInvalid),
            ("50x1-[]", Malformed::AttachmentCountInvalid),
            ("51", Malformed::AttachmentCountInvalid),
            ("511-[]", Malformed::AttachmentsExceeded { seen: 11, limit: 10 }),
            ("599999999999999999999999-[]", Malformed::AttachmentsExceeded { seen: u64::MAX, limit: 10 }),
            ("29007199254740992[]", Malformed::AckIdTooLarge { limit: MAX_ACK_ID }),
            ("299999999999999999999999[]", Malformed::AckIdTooLarge { limit: MAX_ACK_ID }),
        ] {
            assert_eq!(header(text), Err(expected), "{text}");
        }
        let long = format!("0/{}", "a".repeat(4_096));
        assert_eq!(header(&long), Err(Malformed::NamespaceTooLong { seen: 4_097, limit: 4_096 }));
    }

    #[test]
    fn both_writers_agree_and_fit_the_announced_room() {
        use PacketKind::*;
        for kind in [Connect, Disconnect, Event, Ack, ConnectError] {
            for attachments in [0, 1, 10, usize::MAX] {
                for nsp in ["/", "", "/admin", "foo", "/é€"] {
                    for id in [None, Some(0), Some(7), Some(u64::MAX)] {
                        let mut forwards = String::new();
                        write_header(&mut forwards, kind, attachments, nsp, id);
                        let mut room = vec![b'.'; header_len_max(nsp) + 5];
                        let end = header_len_max(nsp);
                        let start = write_header_backwards(&mut room, end, kind, attachments, nsp, id);
                        assert_eq!(&room[start..end], forwards.as_bytes());
                        assert_eq!(&room[end..], b".....");
                    }
                }
            }
        }
    }
}
